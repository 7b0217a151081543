//! Other programs: one that is asked something, and one that this process becomes.
//!
//! Both start as from a shell, whatever this process does with its signals.

use std::env;
use std::ffi::{CStr, CString, OsStr, OsString};
use std::fmt;
use std::fs::File;
use std::io::{self, ErrorKind, PipeReader, Read};
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::thread;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::spawn::{PosixSpawnAttr, PosixSpawnFileActions, PosixSpawnFlags, posix_spawnp};
use nix::sys::signal::{SigHandler, SigSet, Signal, kill, signal};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{Pid, execvp, execvpe};

/// Between two looks whether a silent program has ended: at first, and at most.
const PAUSE: (u8, u8) = (1, 20);

/// A descriptor of a program through which it speaks.
#[derive(Debug, Clone, Copy)]
pub enum Stream {
    /// Standard output.
    Out = 1,
    /// Standard error.
    Error = 2,
}

/// How much is heard of a program, and for how long.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Whoever takes longer is killed.
    pub time: Duration,
    /// What it says beyond that is not kept.
    pub bytes: usize,
}

/// What came of a program.
#[derive(Debug)]
pub struct Answer {
    /// How it ended.
    pub end: End,
    /// What it said.
    pub said: Vec<u8>,
}

/// How a program ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct End(WaitStatus);

impl End {
    /// Whether all went well.
    #[must_use]
    pub fn is_success(self) -> bool {
        matches!(self.0, WaitStatus::Exited(_, 0))
    }
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            WaitStatus::Exited(_, code) => write!(f, "exit status: {code}"),
            WaitStatus::Signaled(_, signal, _) => write!(f, "signal: {} ({signal})", signal as i32),
            _ => f.write_str("stopped"),
        }
    }
}

/// Runs a program, its name first, and hears one of its streams; the others lead
/// nowhere.
///
/// # Errors
/// It is not there, cannot be run, or takes too long.
pub fn ask(words: &[&CStr], stream: Stream, limits: Limits) -> io::Result<Answer> {
    let (mut from, to) = io::pipe()?;
    let nowhere = File::options().read(true).write(true).open("/dev/null")?;
    let pid = spawn(words, |number| match number == stream as i32 {
        true => to.as_raw_fd(),
        false => nowhere.as_raw_fd(),
    })?;
    drop(to);
    let mut said = Vec::new();
    match hear(pid, &mut from, &mut said, limits) {
        Ok(end) => Ok(Answer { end, said }),
        Err(error) => {
            let _ = kill(pid, Signal::SIGKILL);
            let _ = waitpid(pid, None);
            Err(error)
        }
    }
}

/// `stream` says what each of its first three descriptors is a copy of.
fn spawn(words: &[&CStr], stream: impl Fn(RawFd) -> RawFd) -> nix::Result<Pid> {
    let mut files = PosixSpawnFileActions::init()?;
    for number in 0..=2 {
        files.add_dup2(stream(number), number)?;
    }
    let mut attributes = PosixSpawnAttr::init()?;
    let signals = PosixSpawnFlags::POSIX_SPAWN_SETSIGMASK | PosixSpawnFlags::POSIX_SPAWN_SETSIGDEF;
    attributes.set_flags(signals)?;
    attributes.set_sigmask(&SigSet::empty())?;
    attributes.set_sigdefault(&SigSet::from(Signal::SIGPIPE))?;
    let program = words.first().copied().unwrap_or_default();
    posix_spawnp(program, &files, &attributes, words, &environment(&[]))
}

/// Until it has ended, or for as long as it may take.
fn hear(pid: Pid, from: &mut PipeReader, said: &mut Vec<u8>, limits: Limits) -> io::Result<End> {
    let deadline = Instant::now() + limits.time;
    let mut is_open = true;
    let mut pause = PAUSE.0;
    loop {
        if !is_open {
            thread::sleep(Duration::from_millis(pause.into()));
        }
        let heard = is_open && is_readable(from, pause)?;
        if heard {
            is_open = take(from, said, limits.bytes)?;
        }
        match waitpid(pid, Some(WaitPidFlag::WNOHANG))? {
            WaitStatus::StillAlive => {}
            end => {
                while is_open && is_readable(from, 0)? {
                    is_open = take(from, said, limits.bytes)?;
                }
                return Ok(End(end));
            }
        }
        if Instant::now() >= deadline {
            let seconds = limits.time.as_secs();
            let late = format!("no answer within {seconds} s");
            return Err(io::Error::new(ErrorKind::TimedOut, late));
        }
        pause = match heard {
            true => PAUSE.0,
            false => PAUSE.1.min(pause * 2),
        };
    }
}

/// Whether there is something to read, or no more, within some milliseconds.
fn is_readable(pipe: &PipeReader, milliseconds: u8) -> io::Result<bool> {
    let mut waited = [PollFd::new(pipe.as_fd(), PollFlags::POLLIN)];
    match poll(&mut waited, PollTimeout::from(milliseconds)) {
        Err(Errno::EINTR) => Ok(false),
        ready => Ok(ready? > 0),
    }
}

/// Reads what is there, and keeps `most` of all; false at the end.
fn take(from: &mut PipeReader, said: &mut Vec<u8>, most: usize) -> io::Result<bool> {
    let mut piece = [0; 2048];
    let length = from.read(&mut piece)?;
    let kept = length.min(most.saturating_sub(said.len()));
    said.extend_from_slice(&piece[..kept]);
    Ok(length > 0)
}

/// Becomes a program, its name first, with these variables in its environment
/// beside those that are there.
///
/// # Errors
/// It is always one: the program is not there or cannot be run.
#[must_use]
pub fn become_program(words: &[OsString], variables: &[(&str, OsString)]) -> io::Error {
    match try_to_become(words, variables) {
        Ok(never) => match never {},
        Err(error) => error,
    }
}

fn try_to_become(
    words: &[OsString],
    variables: &[(&str, OsString)],
) -> io::Result<std::convert::Infallible> {
    let words: Vec<CString> = words
        .iter()
        .map(|word| CString::new(word.as_bytes()))
        .collect::<Result<_, _>>()?;
    let program = words.first().map(CString::as_c_str).unwrap_or_default();
    SigSet::empty().thread_set_mask()?;
    // SAFETY: it sets no handler, so no code of ours runs at any time.
    unsafe { signal(Signal::SIGPIPE, SigHandler::SigDfl) }?;
    Ok(match variables {
        // What is no variable stays, too.
        [] => execvp(program, &words)?,
        _ => execvpe(program, &words, &environment(variables))?,
    })
}

/// Our own environment with these variables, as NAME=VALUE.
fn environment(variables: &[(&str, OsString)]) -> Vec<CString> {
    let mut all = Vec::new();
    let mut add = |mut name: OsString, value: &OsStr| {
        name.push("=");
        name.push(value);
        // The system's have no NUL, nor have ours.
        all.extend(CString::new(name.into_vec()));
    };
    for (name, value) in env::vars_os() {
        if variables.iter().all(|(ours, _)| name != *ours) {
            add(name, &value);
        }
    }
    for (name, value) in variables {
        add(name.into(), value);
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &CStr, stream: Stream, time: Duration) -> io::Result<Answer> {
        let bytes = 5;
        ask(&[c"sh", c"-c", script], stream, Limits { time, bytes })
    }

    const SOON: Duration = Duration::from_secs(10);

    #[test]
    fn the_start_of_one_stream_is_heard() {
        let script = c"echo 1234567; echo no >&2; cat";
        let answer = shell(script, Stream::Out, SOON).unwrap();
        assert_eq!(answer.said, b"12345");
        assert!(answer.end.is_success());
        let answer = shell(c"echo no; echo yes >&2; exit 3", Stream::Error, SOON).unwrap();
        assert_eq!(answer.said, b"yes\n");
        assert!(!answer.end.is_success());
        assert_eq!(answer.end.to_string(), "exit status: 3");
    }

    #[test]
    fn a_long_answer_is_read_to_its_end_and_silence_does_not_last() {
        let long = shell(c"yes | head -c 1000000", Stream::Out, SOON).unwrap();
        assert!(long.end.is_success());
        let closed = shell(c"exec 1>&-; sleep 0.1; exit 4", Stream::Out, SOON).unwrap();
        assert_eq!(closed.end.to_string(), "exit status: 4");
        let start = Instant::now();
        let late = shell(c"exec sleep 60", Stream::Out, Duration::from_millis(100)).unwrap_err();
        assert_eq!(late.to_string(), "no answer within 0 s");
        assert!(start.elapsed() < SOON);
        // What a program leaves running is not waited for.
        let left = shell(c"sleep 1 & echo x", Stream::Out, SOON).unwrap();
        assert_eq!(left.said, b"x\n");
    }

    #[test]
    fn signals_are_as_usual() {
        let killed = shell(c"kill -9 $$", Stream::Error, SOON).unwrap();
        assert_eq!(killed.end.to_string(), "signal: 9 (SIGKILL)");
        // Rust's programs ignore it.
        let piped = shell(c"kill -PIPE $$", Stream::Error, SOON).unwrap();
        assert_eq!(piped.end.to_string(), "signal: 13 (SIGPIPE)");
        let missing = ask(
            &[c"no-such-program"],
            Stream::Out,
            Limits {
                time: SOON,
                bytes: 0,
            },
        );
        assert_eq!(missing.unwrap_err().kind(), ErrorKind::NotFound);
    }

    #[test]
    fn variables_take_the_place_of_those_that_are_there() {
        let all = environment(&[("PATH", "/x".into()), ("NEW", "1".into())]);
        let paths = all
            .iter()
            .filter(|one| one.to_bytes().starts_with(b"PATH="));
        assert_eq!(paths.collect::<Vec<_>>(), [&CString::from(c"PATH=/x")]);
        assert!(all.iter().any(|one| one.as_c_str() == c"NEW=1"));
        assert_eq!(environment(&[]).len(), env::vars_os().count());
    }
}
