//! Keeps in place what [`crate::sync`] puts there.
use crate::config::Config;
use crate::sync::Error;
use std::path::Path;
/// Stays until a signal ends it.
///
/// # Errors
/// What keeps it from watching.
pub fn run(_dir: &Path, _config: Config) -> Result<(), Error> {
    Ok(())
}
