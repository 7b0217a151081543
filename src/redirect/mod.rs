//! The nat table `inet gluon_wan`: DNS of the VPN daemons' groups goes to the resolver.

use crate::config::Config;
use std::fmt;
use std::os::fd::{AsFd, BorrowedFd};

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
#[error("stub")]
pub struct Error;

/// What had to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Nothing.
    Unchanged,
    /// It was written.
    Written,
}

/// The table that the configuration asks for.
///
/// # Errors
/// None of the groups exists.
pub fn wanted(config: &Config) -> Result<Table, Error> {
    Ok(Table {
        port: config.resolver.port,
    })
}

/// Stub.
///
/// # Errors
/// None.
pub fn sync(_table: &Table) -> Result<Outcome, Error> {
    Ok(Outcome::Unchanged)
}

/// Stub.
///
/// # Errors
/// None.
pub fn clear() -> Result<Outcome, Error> {
    Ok(Outcome::Unchanged)
}

/// Stub.
pub mod include {
    use super::{Outcome, Table};
    use std::path::Path;

    /// Stub.
    #[derive(Debug, thiserror::Error)]
    #[error("stub")]
    pub struct Error;

    /// Stub.
    ///
    /// # Errors
    /// None.
    pub fn write(_path: &Path, _table: &Table) -> Result<Outcome, Error> {
        Ok(Outcome::Unchanged)
    }

    /// Stub.
    ///
    /// # Errors
    /// None.
    pub fn remove(_path: &Path) -> Result<Outcome, Error> {
        Ok(Outcome::Unchanged)
    }
}

/// Stub.
pub struct Events(
    std::os::unix::net::UnixStream,
    #[allow(dead_code)] std::os::unix::net::UnixStream,
);

impl Events {
    /// Stub.
    ///
    /// # Errors
    /// None.
    pub fn open() -> Result<Self, Error> {
        let (a, b) = std::os::unix::net::UnixStream::pair().map_err(|_| Error)?;
        a.set_nonblocking(true).map_err(|_| Error)?;
        Ok(Self(a, b))
    }

    /// Stub.
    ///
    /// # Errors
    /// None.
    pub fn drain(&mut self) -> Result<bool, Error> {
        Ok(false)
    }
}

impl AsFd for Events {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
