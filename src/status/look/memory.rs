//! What the counters were at the last look, kept for the next one in a small file
//! of root's. Best effort: without it nothing is said of growth.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use nix::time::{ClockId, clock_gettime};
use nix::unistd::geteuid;

use crate::input;
use crate::status::facts::{Growth, Stopped};

const FILE: &str = "/var/run/gluon-wan/status";
const MODE: u32 = 0o600;
const MAX_FILE: usize = 256;

/// How much was stopped since the last look, and from when that was; none where
/// nobody remembers. Remembers this one.
pub fn growth(now: Stopped) -> Option<Growth> {
    let path = Path::new(FILE);
    let time = seconds();
    let before = recall(path);
    // Others would leave a file behind that root does not take for its own.
    if geteuid().is_root() {
        let _ = remember(path, time, now);
    }
    let (then, before) = before?;
    Some(Growth {
        since_s: time.checked_sub(then)?,
        stopped: now.since(before),
    })
}

fn recall(path: &Path) -> Option<(u64, Stopped)> {
    let file = input::open(path).ok()?;
    if file.metadata().ok()?.uid() != geteuid().as_raw() {
        return None;
    }
    let (bytes, _) = input::read_from(file, MAX_FILE).ok()?;
    parse(&String::from_utf8(bytes).ok()?)
}

fn parse(text: &str) -> Option<(u64, Stopped)> {
    let mut numbers = text.split_ascii_whitespace().map(str::parse);
    let mut next = || numbers.next()?.ok();
    let then = next()?;
    let stopped = Stopped {
        marked: next()?,
        unredirected: next()?,
        unmarked: next()?,
    };
    Some((then, stopped))
}

fn remember(path: &Path, time: u64, now: Stopped) -> io::Result<()> {
    let new = path.with_extension(std::process::id().to_string());
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(MODE)
        .open(&new)?;
    let Stopped {
        marked,
        unredirected,
        unmarked,
    } = now;
    let written = writeln!(file, "{time} {marked} {unredirected} {unmarked}");
    written
        .and_then(|()| fs::rename(&new, path))
        .inspect_err(|_| {
            let _ = fs::remove_file(&new);
        })
}

/// Of the system's life.
fn seconds() -> u64 {
    let now = clock_gettime(ClockId::CLOCK_BOOTTIME);
    now.map_or(0, |now| u64::try_from(now.tv_sec()).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scratch::Scratch;

    #[test]
    fn what_is_remembered_is_recalled_and_nothing_else() {
        let scratch = Scratch::new();
        let path = scratch.join("status");
        let counts = Stopped {
            marked: 3,
            unredirected: 0,
            unmarked: 7,
        };
        remember(&path, 90, counts).unwrap();
        let recalled = recall(&path);
        fs::remove_file(&path).unwrap();
        assert_eq!(recalled, Some((90, counts)));
        assert_eq!(recall(&path), None);
        for text in ["", "1 2 3", "1 2 3 x", "-1 2 3 4"] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_table_made_anew_counts_from_0() {
        let counts = |marked| Stopped {
            marked,
            ..Stopped::default()
        };
        assert_eq!(counts(5).since(counts(3)), counts(2));
        assert_eq!(counts(2).since(counts(3)), counts(2));
    }
}
