//! Runs a command over the WAN.
use std::convert::Infallible;
use std::path::Path;
/// Why the command was not run.
#[derive(Debug, thiserror::Error)]
#[error("not yet")]
pub struct Error;
impl Error {
    /// As env(1).
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        125
    }
}
/// Becomes the command.
///
/// # Errors
/// When that is not possible.
pub fn run(_request: &crate::cli::Exec, _config_dir: &Path) -> Result<Infallible, Error> {
    Err(Error)
}
