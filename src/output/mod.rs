//! How things are shown: to people on a page, to programs as JSON.
//!
//! Names of devices, commands and servers are others' words. Here, and nowhere
//! else, they become text that no terminal obeys.

pub mod json;
pub mod page;
pub mod read;

use std::fmt::{self, Display, Write};
use std::fs::File;
use std::io;
use std::os::fd::AsFd;

/// Writes a text to standard output: in one piece, so without std's buffers.
///
/// # Errors
/// A full disk, a closed pipe.
pub fn show(text: &str) -> io::Result<()> {
    let out = io::stdout().as_fd().try_clone_to_owned();
    let written = out.and_then(|out| io::Write::write_all(&mut File::from(out), text.as_bytes()));
    written.map_err(|error| {
        io::Error::new(
            error.kind(),
            format!("cannot write to standard output: {error}"),
        )
    })
}

/// Appends a text of which all but printable ASCII is written by `escape`.
fn put(to: &mut String, text: &dyn Display, escape: fn(&mut String, char) -> fmt::Result) {
    // Writing to a String does not fail.
    let _ = write!(Escaped(to, escape), "{text}");
}

struct Escaped<'a>(&'a mut String, fn(&mut String, char) -> fmt::Result);

impl Write for Escaped<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let Self(to, escape) = self;
        text.chars().try_for_each(|c| escape(to, c))
    }
}
