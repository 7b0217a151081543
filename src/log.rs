//! One line on standard error per event worth waking for.
//!
//! procd, systemd and a terminal all take standard error as it is; time and
//! level are theirs to add. Nothing is logged per query.

use std::error::Error;
use std::fmt::Arguments;
use std::io::Write;

/// Writes one line, prefixed with the program's name.
///
/// A closed or full standard error is no reason to stop serving, so a failed
/// write is ignored (`eprintln!` would panic).
pub fn line(message: Arguments<'_>) {
    let _ = writeln!(std::io::stderr().lock(), "gluon-wan: {message}");
}

/// An error and all that caused it, in one line.
#[must_use]
pub fn chain(error: &dyn Error) -> String {
    let mut message = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        message = format!("{message}: {error}");
        source = error.source();
    }
    message
}

/// Logs one event: `log!("{device} is gone")`.
#[macro_export]
macro_rules! log {
    ($($arg:tt)*) => { $crate::log::line(format_args!($($arg)*)) };
}
