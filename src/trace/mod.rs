//! One look-up as the VPN daemon makes it, followed step by step.
//!
//! As in `status`, data flows one way: [`look`] makes the look-up and gathers
//! [`facts`], [`judge`] finds the first thing that is wrong, [`words`] and [`json`]
//! show both.
//!
//! What the resolver asked is not to be seen from outside, and other look-ups go
//! on meanwhile. So each of its servers is asked the same question here as well,
//! through a socket with the same mark, by the same way; and the resolver's own
//! counters (`health.gluon-wan`) tell which of them it asked.

mod facts;
mod json;
mod judge;
mod look;
mod words;

use std::process::ExitCode;

use crate::config::Config;
use crate::output::{self, page};
use crate::sync;

/// Why there is no trace.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nothing was asked.
    #[error("a look-up as the VPN daemon needs root: run it as root")]
    Privilege,
    /// Not a name of DNS.
    #[error("'{0}' is no name that DNS knows, expected one as vpn.example.org")]
    Name(String),
    /// Nobody to look up as.
    #[error(
        "none of the groups of `list group` exists: nothing is redirected, there is nothing to \
         follow"
    )]
    NoGroup,
    /// No random numbers; standard output is closed.
    #[error(transparent)]
    Io(#[from] std::io::Error),
}

/// Follows a look-up of `name`. Success means that a packet to an answer would
/// take the WAN.
///
/// # Errors
/// It cannot be made.
pub fn run(config: &Config, name: &str, json: bool) -> Result<ExitCode, Error> {
    sync::may_change().map_err(|_| Error::Privilege)?;
    let trace = look::follow(config, name)?;
    let fault = judge::first_fault(&trace);
    let text = match json {
        true => json::show(&trace, fault.as_deref()),
        false => words::show(&trace, fault.as_deref(), page::wants_colour()),
    };
    output::show(&text)?;
    Ok(match fault {
        None => ExitCode::SUCCESS,
        Some(_) => ExitCode::FAILURE,
    })
}
