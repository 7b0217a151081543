//! The file with the names of the WAN's devices, one a line.

use std::io::{self, ErrorKind};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::Error;
use crate::config::is_plain_device_name;
use crate::input::{self, Shown};
use crate::log::Told;

/// How long the file may be: a few names, and a comment.
const MAX_FILE: usize = 4096;
/// How many lines are complained about one by one.
const MAX_TOLD: usize = 5;
/// Nobody but the owner may write to the file.
const OTHERS_MAY_WRITE: u32 = 0o022;

/// What the file says.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Said {
    /// In the file's order. Empty where there is no file.
    pub names: Vec<String>,
    /// What cannot be used, in words.
    pub left_out: Vec<String>,
}

/// Reads the file. It names what marked packets may leave through, so only root's
/// word counts. What is bad in it is left out.
///
/// # Errors
/// The kernel's: it may be right the next time.
pub fn read(path: &Path) -> Result<Said, Error> {
    let refused = |why: &str| Said {
        names: Vec::new(),
        left_out: vec![format!("{}: {why}: left out", path.display())],
    };
    let checked = || {
        let file = input::open(path)?;
        let meta = file.metadata()?;
        if !is_roots(meta.uid(), meta.mode()) {
            return Ok(refused("not root's alone to write"));
        }
        Ok(match input::read_from(file, MAX_FILE)? {
            (_, true) => refused(&format!("longer than {MAX_FILE} bytes")),
            (bytes, false) => parse(path, &String::from_utf8_lossy(&bytes)),
        })
    };
    checked().or_else(|source: io::Error| {
        let path = path.to_owned();
        match source.kind() {
            ErrorKind::NotFound => Ok(Said::default()),
            // Ours, not the kernel's: a directory or a FIFO stays one.
            ErrorKind::Other => Ok(refused(&source.to_string())),
            _ => Err(Error::File { path, source }),
        }
    })
}

fn is_roots(uid: u32, mode: u32) -> bool {
    uid == 0 && mode & OTHERS_MAY_WRITE == 0
}

fn parse(path: &Path, text: &str) -> Said {
    let mut names = Vec::new();
    let mut bad = Told::default();
    for (line, name) in (1..).zip(text.lines().map(str::trim)) {
        if name.is_empty() || name.starts_with('#') {
            continue;
        }
        if is_plain_device_name(name) {
            names.push(name.to_owned());
            continue;
        }
        let (path, name) = (path.display(), Shown(name));
        bad.tell(MAX_TOLD, || {
            format!("{path}:{line}: '{name}' is no name of a device: left out")
        });
    }
    let Told { mut lines, more } = bad;
    if more > 0 {
        lines.push(format!(
            "{}: {more} lines more are left out",
            path.display()
        ));
    }
    Said {
        names,
        left_out: lines,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn good_lines_count_and_bad_ones_are_named() {
        let text = "# of wan and cellular\nbr-wan\n\n wwan0 \r\nbr wan\na\"b\nname-of-16-chars\n";
        let said = parse(Path::new("/x/devices"), text);
        assert_eq!(said.names, ["br-wan", "wwan0"]);
        assert_eq!(
            said.left_out,
            [
                "/x/devices:5: 'br wan' is no name of a device: left out",
                "/x/devices:6: 'a\"b' is no name of a device: left out",
                "/x/devices:7: 'name-of-16-chars' is no name of a device: left out",
            ]
        );
    }

    #[test]
    fn complaints_are_bounded() {
        let said = parse(Path::new("devices"), &"a b\n".repeat(100));
        assert_eq!(said.left_out.len(), 6);
        assert_eq!(said.left_out[5], "devices: 95 lines more are left out");
    }

    #[test]
    fn only_roots_word_counts() {
        assert!(is_roots(0, 0o100_644));
        assert!(!is_roots(0, 0o100_666) && !is_roots(0, 0o100_664));
        assert!(!is_roots(1000, 0o100_644));
    }

    #[test]
    fn no_file_says_nothing_and_what_is_no_file_is_named() {
        let said = |path: &str| read(Path::new(path)).unwrap();
        assert_eq!(said("/nonexistent/devices"), Said::default());
        let said = said("/");
        assert_eq!(said.names, [""; 0]);
        assert_eq!(said.left_out, ["/: not a regular file: left out"]);
    }
}
