//! What is in place and what is wrong.
use crate::config::Config;
use std::process::ExitCode;
/// Shows it.
///
/// # Errors
/// Standard output is closed.
pub fn run(_config: &Config, _json: bool) -> std::io::Result<ExitCode> {
    Ok(ExitCode::FAILURE)
}
