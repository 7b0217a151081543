//! What is in place and what is wrong, for people and for programs.
//!
//! Data flows one way: [`look`] gathers [`facts`] and changes nothing, [`judge`]
//! makes a verdict of them, [`words`] and [`json`] show both.

mod facts;
mod json;
mod judge;
mod look;
mod neighbours;
mod probe;
mod process;
mod value;
mod words;

use std::io::{self, IsTerminal};
use std::path::Path;
use std::process::ExitCode;

use crate::cli;
use crate::config::Config;

/// Shows how the WAN side of the node does. Success means healthy: nothing is
/// wrong, and everything could be looked at.
///
/// # Errors
/// Standard output is closed.
pub fn run(config_dir: &Path, config: &Config, json: bool) -> io::Result<ExitCode> {
    let facts = look::gather(config_dir, config);
    let verdict = judge::judge(&facts);
    let text = if json {
        json::show(&facts, &verdict)
    } else {
        words::show(&facts, &verdict, wants_colour())
    };
    cli::show(&text)?;
    Ok(match verdict.is_healthy() {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    })
}

/// On a terminal only, and not against the user's will (no-color.org).
fn wants_colour() -> bool {
    let set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
    io::stdout().is_terminal() && !set("NO_COLOR") && !dumb
}
