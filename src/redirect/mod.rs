//! The nat table `inet gluon_wan`: DNS of the VPN daemons' groups goes to the resolver.

use crate::config::Config;
use std::fmt;

/// The table as it must be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    /// todo
    pub port: u16,
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.port)
    }
}

/// Why the table is not as it must be.
#[derive(Debug, thiserror::Error)]
pub enum Error {}

/// The table that the configuration asks for.
///
/// # Errors
/// None of the groups exists.
pub fn wanted(config: &Config) -> Result<Table, Error> {
    Ok(Table {
        port: config.resolver.port,
    })
}
