//! All parts put in place, once; and taken away again.
use crate::config::Config;
use crate::redirect::{self, include};
/// Why not everything is in place.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The table.
    #[error(transparent)]
    Redirect(#[from] redirect::Error),
    /// The file for fw4.
    #[error(transparent)]
    Include(#[from] include::Error),
}
/// Puts table, include, rules and routes in place.
///
/// # Errors
/// What could not be done; everything else was.
pub fn sync(config: &Config) -> Result<(), Error> {
    let table = redirect::wanted(config)?;
    redirect::sync(&table)?;
    if let Some(path) = &config.redirect.include {
        include::write(path, &table)?;
    }
    Ok(())
}
/// Removes what [`sync`] made.
///
/// # Errors
/// What could not be done; everything else was.
pub fn clear(config: &Config) -> Result<(), Error> {
    redirect::clear()?;
    if let Some(path) = &config.redirect.include {
        include::remove(path)?;
    }
    Ok(())
}
