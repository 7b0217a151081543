//! What is in place and what is wrong, for people and for programs.
//!
//! Data flows one way: [`look`] gathers [`facts`] and changes nothing, [`judge`]
//! makes a verdict of them, [`words`] and [`json`] show both.

pub mod facts;
mod json;
mod judge;
mod look;
mod neighbours;
pub mod probe;
mod process;
mod units;
mod words;

pub use json::way;
pub use units::Millis;

use std::io;
use std::path::Path;
use std::process::ExitCode;

use crate::config::Reading;
use crate::output::{self, page};

/// Shows how the WAN side of the node does. Success means healthy: nothing is
/// wrong, and everything could be looked at.
///
/// # Errors
/// Standard output is closed.
pub fn run(config_dir: &Path, reading: &Reading, json: bool) -> io::Result<ExitCode> {
    let facts = look::gather(config_dir, reading);
    let verdict = judge::judge(&facts);
    let text = if json {
        json::show(&facts, &verdict)
    } else {
        words::show(&facts, &verdict, page::wants_colour())
    };
    output::show(&text)?;
    Ok(match verdict.is_healthy() {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    })
}
