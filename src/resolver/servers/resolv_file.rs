//! The file that the hotplug script writes, as resolv.conf(5) has it.

use std::io::{self, ErrorKind};
use std::path::Path;

use crate::config::Server;
use crate::input::{self, Shown};

/// A resolv file is a few lines; more than this is not one.
pub(super) const MAX_FILE: usize = 64 * 1024;
/// How many of its mistakes are told one by one. A file that is none at all has
/// thousands, and the router's log is short.
const MAX_TOLD: usize = 5;

/// The servers of a resolv file, and remarks on what does not count in it. That
/// it is not there means none: the WAN is not up yet.
///
/// # Errors
/// It is there and cannot be read.
pub fn read(path: &Path) -> io::Result<(Vec<Server>, Vec<String>)> {
    let (mut bytes, more) = match input::read(path, MAX_FILE) {
        Ok(read) => read,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Default::default()),
        Err(error) => return Err(error),
    };
    let mut remarks = Vec::new();
    if more {
        // Of the last line only a part was read, maybe half an address.
        let whole = bytes.iter().rposition(|&byte| byte == b'\n');
        bytes.truncate(whole.unwrap_or_default());
        remarks.push(format!(
            "{}: longer than {MAX_FILE} bytes: the rest is left out",
            path.display()
        ));
    }
    let (servers, mistakes) = parse(&String::from_utf8_lossy(&bytes));
    remarks.extend(told(path, &mistakes));
    Ok((servers, remarks))
}

/// What is said of the mistakes in a resolv file, by line.
fn told(path: &Path, mistakes: &[(usize, String)]) -> Vec<String> {
    let path = path.display();
    let (first, more) = mistakes.split_at(mistakes.len().min(MAX_TOLD));
    let mut remarks: Vec<String> = first
        .iter()
        .map(|(line, mistake)| format!("{path}:{line}: {mistake}: line left out"))
        .collect();
    if !more.is_empty() {
        let count = more.len();
        remarks.push(format!("{path}: and {count} lines more are left out"));
    }
    remarks
}

/// Reads resolv.conf(5): `nameserver ADDR`, also as [`Server`] is written
/// elsewhere. Other keywords are no business of a forwarder. One bad line must
/// not take the good ones with it; it comes back with its number.
#[must_use]
pub fn parse(text: &str) -> (Vec<Server>, Vec<(usize, String)>) {
    let mut servers: Vec<Server> = Vec::new();
    let mut mistakes = Vec::new();
    // Some editors begin a file with a byte order mark.
    let text = text.trim_start_matches('\u{feff}');
    for (number, line) in (1..).zip(text.lines()) {
        // `#` and `;` start a comment at the beginning of a line only; in a
        // word `#` starts the port.
        let mut words = line.split_ascii_whitespace();
        if words.next() != Some("nameserver") {
            continue;
        }
        let Some(word) = words.next() else {
            mistakes.push((number, "expected nameserver ADDRESS".into()));
            continue;
        };
        match word.parse::<Server>() {
            // What was no UTF-8 in the name of a device: another device.
            _ if word.contains(char::REPLACEMENT_CHARACTER) => {
                mistakes.push((number, format!("'{}' is not UTF-8", Shown(word))));
            }
            Ok(server) if servers.contains(&server) => {}
            Ok(server) => servers.push(server),
            Err(error) => mistakes.push((number, format!("'{}': expected {error}", Shown(word)))),
        }
    }
    (servers, mistakes)
}
