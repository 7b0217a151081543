//! How things are shown: to people on a page, to programs as JSON.
//!
//! Names of devices, commands and servers are others' words. Here, and nowhere
//! else, they become text that no terminal obeys.

pub mod json;
pub mod page;

use std::io::{self, Write};

/// Writes a text to standard output.
///
/// # Errors
/// A full disk, a closed pipe.
pub fn show(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    let written = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    written.map_err(|error| {
        io::Error::new(
            error.kind(),
            format!("cannot write to standard output: {error}"),
        )
    })
}
