//! All parts put in place, once; and taken away again.
use crate::config::Config;
/// Why not everything is in place.
#[derive(Debug, thiserror::Error)]
pub enum Error {}
/// Puts table, include, rules and routes in place.
///
/// # Errors
/// What could not be done; everything else was.
pub fn sync(_config: &Config) -> Result<(), Error> {
    Ok(())
}
/// Removes what [`sync`] made.
///
/// # Errors
/// What could not be done; everything else was.
pub fn clear(_config: &Config) -> Result<(), Error> {
    Ok(())
}
