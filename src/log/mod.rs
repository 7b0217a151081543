//! One line per event worth waking for, each with its level. Nothing is logged per
//! query.
//!
//! On a terminal, and wherever somebody else collects it, standard error takes the
//! lines as they are. A service writes to syslog itself (`--syslog`): procd makes
//! an error of whatever a service writes to standard error (`instance_stderr` in its
//! service/instance.c).

mod remarks;
mod syslog;

use std::error::Error;
use std::fmt::Arguments;
use std::io::Write;
use std::sync::OnceLock;

pub use remarks::{Remarks, Told};
use syslog::Syslog;

/// None: standard error.
static SYSLOG: OnceLock<Syslog> = OnceLock::new();

/// How much a line matters (RFC 5424, table 2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// Something does not work, and somebody has to see to it.
    Error = 3,
    /// Something is not as it should be; it works, or is tried again.
    Warning = 4,
    /// News: what was done, what changed.
    Notice = 5,
    /// For the curious.
    Info = 6,
}

/// From now on, all lines go to syslog.
pub fn to_syslog() {
    // A second call changes nothing.
    let _ = SYSLOG.set(Syslog::open());
}

/// Writes one line, in one piece: its reader wakes up once, and no part of another
/// process's line comes between.
///
/// That it cannot be written is no reason to stop serving, so a closed or full
/// standard error is ignored (`eprintln!` would panic). What syslog does not take
/// goes there.
pub fn line(level: Level, message: Arguments<'_>) {
    if let Some(syslog) = SYSLOG.get()
        && syslog.send(level, message).is_ok()
    {
        return;
    }
    let _ = std::io::stderr().write_all(format!("gluon-wan: {message}\n").as_bytes());
}

/// An error and all that caused it, in one line. Some errors tell their cause
/// themselves: it is not told again.
#[must_use]
pub fn chain(error: &dyn Error) -> String {
    let mut message = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let cause = error.to_string();
        if !message.contains(&cause) {
            message = format!("{message}: {cause}");
        }
        source = error.source();
    }
    message
}

/// Something does not work, and somebody has to see to it.
#[macro_export]
macro_rules! error {
    ($($arg:tt)*) => { $crate::log::line($crate::log::Level::Error, format_args!($($arg)*)) };
}

/// Something is not as it should be: `warning!("{device} is gone")`.
#[macro_export]
macro_rules! warning {
    ($($arg:tt)*) => { $crate::log::line($crate::log::Level::Warning, format_args!($($arg)*)) };
}

/// News: `notice!("serving DNS")`.
#[macro_export]
macro_rules! notice {
    ($($arg:tt)*) => { $crate::log::line($crate::log::Level::Notice, format_args!($($arg)*)) };
}

/// For the curious.
#[macro_export]
macro_rules! info {
    ($($arg:tt)*) => { $crate::log::line($crate::log::Level::Info, format_args!($($arg)*)) };
}

pub use crate::{error, info, notice, warning};

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("{words}")]
    struct Layer {
        words: &'static str,
        source: Option<Box<Layer>>,
    }

    fn layers(words: &[&'static str]) -> Layer {
        let (first, rest) = words.split_first().unwrap();
        Layer {
            words: first,
            source: (!rest.is_empty()).then(|| Box::new(layers(rest))),
        }
    }

    #[test]
    fn a_chain_tells_every_cause_once() {
        for (words, told) in [
            (&["a"] as &[_], "a"),
            (
                &["cannot x", "cannot y", "no z"],
                "cannot x: cannot y: no z",
            ),
            (
                &["cannot x: no z (try again)", "no z"],
                "cannot x: no z (try again)",
            ),
            (
                &["cannot x: cannot y", "cannot y", "no z"],
                "cannot x: cannot y: no z",
            ),
        ] {
            assert_eq!(chain(&layers(words)), told);
        }
    }
}
