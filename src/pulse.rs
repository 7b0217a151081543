//! What the watch says of itself, for whoever asks how it does: a lock that it
//! holds for life, and a small file beside it, written at every look.
//!
//! A process can be killed at any time, so a file alone does not tell whether
//! there is a watch. A lock does: the kernel lets go of it with the process. Both
//! are root's, in a directory of root's, so nobody else can pretend.

use std::fmt::Write as _;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, ErrorKind, Write as _};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use nix::fcntl::{Flock, FlockArg};
use nix::time::{ClockId, clock_gettime};

use crate::input;

/// In memory (tmpfs), made by root.
const DIR: &str = "/var/run/gluon-wan";
const FILE: &str = "watch";
const LOCK: &str = "watch.lock";
/// Nobody else may so much as hold the lock.
const MODE: u32 = 0o600;
const DIR_MODE: u32 = 0o755;
/// A look of `status` may hold the lock for some microseconds; so often is it
/// tried again, after so long.
const TRIES: (u32, Duration) = (10, Duration::from_millis(20));
const MINUTE: u64 = 60;
/// For how many minutes it is counted what was mended.
const COUNTED: u64 = 60;
/// How many of the changes are told.
const TOLD: usize = 5;
/// More is not read.
const MAX_FILE: usize = 64 * 1024;
/// How long one line may be.
const MAX_LINE: usize = 400;

/// The watch's side.
pub struct Pulse {
    /// Held for life.
    _lock: Flock<File>,
    dir: PathBuf,
    /// How much was mended in which minute of the system's life.
    counts: Vec<(u64, u32)>,
    /// The last few changes, with the second.
    told: Vec<(u64, String)>,
    /// When it was written last, while there was nothing to tell but the time.
    written: Option<u64>,
}

/// How the watch does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Watch {
    /// There has been none since the system started, or it was stopped in order.
    None,
    /// It was killed or broke off.
    Ended,
    /// It is there.
    Here(Beat),
}

/// What a watch that is there says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Beat {
    /// Its process.
    pub pid: u32,
    /// Whether somebody stopped it (SIGSTOP).
    pub stopped: bool,
    /// For how many seconds it had nothing to look at.
    pub idle_s: u64,
    /// How many changes it made in the last hour.
    pub mended: u32,
    /// The last of them, the newest first, and how many seconds ago.
    pub changes: Vec<(u64, String)>,
    /// What it could not put in place, as of the last look.
    pub trouble: Vec<String>,
}

impl Pulse {
    /// Takes the lock.
    ///
    /// # Errors
    /// Another watch has it; the directory cannot be made.
    pub fn open() -> io::Result<Self> {
        Self::in_dir(Path::new(DIR))
    }

    fn in_dir(dir: &Path) -> io::Result<Self> {
        DirBuilder::new()
            .recursive(true)
            .mode(DIR_MODE)
            .create(dir)?;
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(MODE)
            .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK)
            .open(dir.join(LOCK))?;
        for _ in 0..TRIES.0 {
            match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
                Ok(lock) => {
                    return Ok(Self {
                        _lock: lock,
                        dir: dir.to_owned(),
                        counts: Vec::new(),
                        told: Vec::new(),
                        written: None,
                    });
                }
                Err((back, _)) => file = back,
            }
            thread::sleep(TRIES.1);
        }
        Err(io::Error::other("another watch runs already"))
    }

    /// Something was mended: one change, in words.
    pub fn mended(&mut self, change: &str) {
        let now = seconds();
        let minute = now / MINUTE;
        match self.counts.last_mut() {
            Some((last, count)) if *last == minute => *count = count.saturating_add(1),
            _ => self.counts.push((minute, 1)),
        }
        self.counts.retain(|(then, _)| then + COUNTED >= minute);
        self.told.insert(0, (now, one_line(change)));
        self.told.truncate(TOLD);
        self.written = None;
    }

    /// It has looked, and `trouble` is what it could not put in place. Best
    /// effort: a full /var/run is no reason not to watch.
    pub fn looked(&mut self, trouble: &[&str]) {
        let now = seconds();
        // Events may come by the thousand.
        if trouble.is_empty() && self.written == Some(now) {
            return;
        }
        self.written = trouble.is_empty().then_some(now);
        let _ = self.write(now, trouble);
    }

    fn write(&self, now: u64, trouble: &[&str]) -> io::Result<()> {
        let mut text = format!("pid {}\nlooked {now}\n", std::process::id());
        // Writing to a String does not fail.
        for (minute, count) in &self.counts {
            let _ = writeln!(text, "count {minute} {count}");
        }
        for (time, change) in &self.told {
            let _ = writeln!(text, "mended {time} {change}");
        }
        for line in trouble {
            let _ = writeln!(text, "trouble {}", one_line(line));
        }
        let (path, new) = (self.dir.join(FILE), self.dir.join("watch.new"));
        // Of a watch that was killed.
        let _ = fs::remove_file(&new);
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(MODE)
            .open(&new)?;
        file.write_all(text.as_bytes())?;
        fs::rename(&new, &path)
    }
}

impl Drop for Pulse {
    /// Ended in order: nobody needs to wonder where it is.
    fn drop(&mut self) {
        let _ = fs::remove_file(self.dir.join(FILE));
    }
}

/// How the watch does. Needs root.
///
/// # Errors
/// Its files cannot be read.
pub fn watch() -> io::Result<Watch> {
    of_dir(Path::new(DIR))
}

fn of_dir(dir: &Path) -> io::Result<Watch> {
    let missing = |error: &io::Error| error.kind() == ErrorKind::NotFound;
    let lock = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK)
        .open(dir.join(LOCK));
    let lock = match lock {
        Err(error) if missing(&error) => return Ok(Watch::None),
        lock => lock?,
    };
    let there = match Flock::lock(lock, FlockArg::LockSharedNonblock) {
        Ok(_) => false,
        Err((_, nix::errno::Errno::EWOULDBLOCK)) => true,
        Err((_, errno)) => return Err(errno.into()),
    };
    let path = dir.join(FILE);
    let is_ours = match fs::symlink_metadata(&path) {
        Ok(meta) => meta.is_file() && meta.uid() == nix::unistd::geteuid().as_raw(),
        Err(error) if missing(&error) => false,
        Err(error) => return Err(error),
    };
    Ok(match (is_ours, there) {
        (true, false) => Watch::Ended,
        (false, false) => Watch::None,
        // It has not looked yet.
        (false, true) => Watch::Here(Beat::default()),
        (true, true) => {
            let (bytes, _) = input::read(&path, MAX_FILE)?;
            Watch::Here(beat(&String::from_utf8_lossy(&bytes), seconds()))
        }
    })
}

/// Reads what [`Pulse::write`] wrote. Unknown words are a newer version's.
fn beat(text: &str, now: u64) -> Beat {
    let mut beat = Beat::default();
    for line in text.lines() {
        let Some((key, value)) = line.split_once(' ') else {
            continue;
        };
        let pair = || {
            let (number, rest) = value.split_once(' ')?;
            Some((number.parse::<u64>().ok()?, rest))
        };
        match key {
            "pid" => beat.pid = value.parse().unwrap_or(0),
            "looked" => beat.idle_s = now.saturating_sub(value.parse().unwrap_or(now)),
            "count" => {
                let of_the_hour = |minute: u64| minute + COUNTED > now / MINUTE;
                if let Some((minute, count)) = pair()
                    && of_the_hour(minute)
                {
                    beat.mended = beat.mended.saturating_add(count.parse().unwrap_or(0));
                }
            }
            "mended" => {
                if let Some((time, change)) = pair() {
                    beat.changes.push((now.saturating_sub(time), change.into()));
                }
            }
            "trouble" => beat.trouble.push(value.into()),
            _ => {}
        }
    }
    beat.stopped = is_stopped(beat.pid);
    beat
}

/// States T and t of proc_pid_stat(5): stopped by a signal or a tracer.
fn is_stopped(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // The name before it may have blanks and parentheses.
    let state = stat
        .rsplit_once(") ")
        .and_then(|(_, rest)| rest.chars().next());
    matches!(state, Some('T' | 't'))
}

/// Seconds of the system's life: a clock that nobody sets.
fn seconds() -> u64 {
    let now = clock_gettime(ClockId::CLOCK_BOOTTIME);
    now.map_or(0, |now| u64::try_from(now.tv_sec()).unwrap_or(0))
}

fn one_line(text: &str) -> String {
    let line = text.chars().map(|c| if c.is_control() { ' ' } else { c });
    line.take(MAX_LINE).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A directory that goes with the test.
    struct Dir(PathBuf);

    impl Dir {
        fn new(name: &str) -> Self {
            let name = format!("gluon-wan-pulse-{name}.{}", std::process::id());
            let dir = std::env::temp_dir().join(name);
            let _ = fs::remove_dir_all(&dir);
            Self(dir)
        }
    }

    impl Drop for Dir {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn a_watch_is_there_as_long_as_it_lives() {
        let dir = Dir::new("lives");
        assert_eq!(of_dir(&dir.0).unwrap(), Watch::None);
        let mut pulse = Pulse::in_dir(&dir.0).unwrap();
        assert_eq!(of_dir(&dir.0).unwrap(), Watch::Here(Beat::default()));
        pulse.mended("redirect: table\nwritten");
        pulse.mended("routing: add");
        pulse.looked(&["routing: cannot"]);
        let Watch::Here(beat) = of_dir(&dir.0).unwrap() else {
            panic!()
        };
        assert_eq!(beat.pid, std::process::id());
        assert!(!beat.stopped && beat.idle_s <= 1 && beat.mended == 2);
        assert_eq!(beat.changes[0].1, "routing: add");
        assert_eq!(beat.changes[1].1, "redirect: table written");
        assert_eq!(beat.trouble, ["routing: cannot"]);
        assert!(Pulse::in_dir(&dir.0).is_err(), "there is one");
        drop(pulse);
        assert_eq!(of_dir(&dir.0).unwrap(), Watch::None);
    }

    #[test]
    fn one_that_was_killed_has_ended() {
        let dir = Dir::new("killed");
        let mut pulse = Pulse::in_dir(&dir.0).unwrap();
        pulse.looked(&[]);
        let left = fs::read(dir.0.join(FILE)).unwrap();
        drop(pulse);
        fs::write(dir.0.join(FILE), left).unwrap();
        assert_eq!(of_dir(&dir.0).unwrap(), Watch::Ended);
    }

    #[test]
    fn what_is_older_than_an_hour_does_not_count() {
        let text =
            "pid 0\nlooked 7190\ncount 59 4\ncount 61 2\ncount 119 1\nmended 7100 x y\nnew z\n";
        let found = beat(text, 7200);
        assert_eq!((found.idle_s, found.mended), (10, 3));
        assert_eq!(found.changes, [(100, "x y".to_owned())]);
        assert_eq!(
            beat("pid\n\0 x\ncount 1\nmended a b\nlooked -\n", 9),
            Beat::default()
        );
    }
}
