//! Files that somebody else writes, and their words in our messages.

use std::fmt::{self, Write};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// How much of a word is shown.
const MAX_SHOWN: usize = 80;

/// Reads a file, but not more than `most` bytes; also tells whether there are
/// more.
///
/// # Errors
/// What the kernel says, or that it is not a regular file: a FIFO would wait
/// for its other end, and a device may never end.
pub fn read(path: &Path, most: usize) -> io::Result<(Vec<u8>, bool)> {
    read_from(open(path)?, most)
}

/// Opens a regular file, and nothing else, for reading.
///
/// # Errors
/// As [`read`].
pub fn open(path: &Path) -> io::Result<File> {
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY)
        .open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("not a regular file"));
    }
    Ok(file)
}

/// What is left of an open file, as [`read`] has it.
///
/// # Errors
/// The kernel's.
pub fn read_from(mut file: File, most: usize) -> io::Result<(Vec<u8>, bool)> {
    let mut bytes = read_piece(&mut file, most as u64 + 1)?;
    let more = bytes.len() > most;
    bytes.truncate(most);
    Ok((bytes, more))
}

/// The next bytes of an open file, at most so many.
///
/// # Errors
/// The kernel's.
pub fn read_piece(file: &mut File, most: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.take(most).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// What is in a directory, as far as it can be read.
///
/// # Errors
/// The kernel's.
pub fn entries(dir: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir)?.flatten() {
        found.push(entry.path());
    }
    Ok(found)
}

/// Text from outside as part of a message: one line, printable, and not long.
/// What is not printable ASCII is shown as Rust writes it.
pub struct Shown<'a>(pub &'a str);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut chars = self.0.chars();
        for c in chars.by_ref().take(MAX_SHOWN) {
            match c {
                '\'' | '"' => f.write_char(c)?,
                c => write!(f, "{}", c.escape_default())?,
            }
        }
        f.write_str(if chars.next().is_some() { "..." } else { "" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scratch::Scratch;

    #[test]
    fn what_is_shown_is_one_short_line() {
        let shown = |text: &str| Shown(text).to_string();
        assert_eq!(shown("it's \"a\" 0x1/0x1"), "it's \"a\" 0x1/0x1");
        assert_eq!(shown("a\n\tb\x1b\\"), r"a\n\tb\u{1b}\\");
        assert_eq!(shown("\u{feff}\u{fc}"), r"\u{feff}\u{fc}");
        assert_eq!(shown(&"x".repeat(80)), "x".repeat(80));
        assert_eq!(shown(&"x".repeat(81)), "x".repeat(80) + "...");
    }

    #[test]
    fn a_file_is_read_up_to_a_bound_and_nothing_but_a_file() {
        let scratch = Scratch::new();
        let path = scratch.join("file");
        std::fs::write(&path, "1234").unwrap();
        let (whole, cut) = (read(&path, 4), read(&path, 3));
        std::fs::remove_file(&path).unwrap();
        assert_eq!(whole.unwrap(), (b"1234".to_vec(), false));
        assert_eq!(cut.unwrap(), (b"123".to_vec(), true));

        let made = std::process::Command::new("mkfifo").arg(&path).status();
        assert!(made.unwrap().success());
        let fifo = read(&path, 4);
        std::fs::remove_file(&path).unwrap();
        for refused in [
            fifo,
            read(Path::new("/dev/zero"), 4),
            read(Path::new("/"), 4),
        ] {
            assert_eq!(refused.unwrap_err().to_string(), "not a regular file");
        }
        assert_eq!(read(&path, 4).unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}
