//! Syslog as libc writes it, but without ever waiting: a log daemon that is stuck
//! must not stop a resolver.

use std::fmt::Arguments;
use std::io;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use super::Level;

/// Where the log daemon listens (logd, syslogd, journald).
const SOCKET: &str = "/dev/log";
/// The facility of services without their own, already in its place (LOG_DAEMON of
/// syslog.h).
const DAEMON: u8 = 3 << 3;

/// A connection to the log daemon.
pub struct Syslog(Mutex<Option<UnixDatagram>>);

impl Syslog {
    /// Connects, so that there is a socket before privileges and descriptors get
    /// scarce. A log daemon that is not there is looked for again with each line.
    pub fn open() -> Self {
        Self(Mutex::new(connect(Path::new(SOCKET)).ok()))
    }

    /// Sends a line.
    ///
    /// # Errors
    /// No log daemon, or one that takes nothing at the moment.
    pub fn send(&self, level: Level, message: Arguments<'_>) -> io::Result<()> {
        self.send_to(Path::new(SOCKET), level, message)
    }

    fn send_to(&self, path: &Path, level: Level, message: Arguments<'_>) -> io::Result<()> {
        let line = line(level, &timestamp(), std::process::id(), message);
        let mut socket = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(socket) = socket.as_ref() {
            match socket.send(line.as_bytes()) {
                Ok(_) => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Err(error),
                // It was started anew.
                Err(_) => {}
            }
        }
        *socket = None;
        let fresh = socket.insert(connect(path)?);
        fresh.send(line.as_bytes()).map(|_| ())
    }
}

fn connect(path: &Path) -> io::Result<UnixDatagram> {
    let socket = UnixDatagram::unbound()?;
    socket.set_nonblocking(true)?;
    socket.connect(path)?;
    Ok(socket)
}

/// The form that all log daemons know (RFC 3164, section 4.1), as libc writes it.
fn line(level: Level, time: &str, pid: u32, message: Arguments<'_>) -> String {
    let priority = DAEMON | level as u8;
    format!("<{priority}>{time} gluon-wan[{pid}]: {message}")
}

/// The local time, as in `Jan  2 03:04:05`. OpenWrt's logd cuts it off and takes its
/// own, so there has to be one.
fn timestamp() -> String {
    // SAFETY: all bytes 0 are a valid `tm`: integers, and a pointer that nobody
    // follows.
    let mut tm: libc::tm = unsafe { std::mem::zeroed() };
    // SAFETY: it only writes to its argument, which may be null.
    let now = unsafe { libc::time(std::ptr::null_mut()) };
    // SAFETY: both point to live values of the right type.
    unsafe { libc::localtime_r(&raw const now, &raw mut tm) };
    let mut text = [0; 32];
    let form = c"%b %e %H:%M:%S";
    // SAFETY: it writes no more than so many bytes, and reads a C string and a `tm`.
    let length = unsafe {
        libc::strftime(
            text.as_mut_ptr().cast(),
            text.len(),
            form.as_ptr(),
            &raw const tm,
        )
    };
    String::from_utf8_lossy(text.get(..length).unwrap_or_default()).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scratch::Scratch;

    #[test]
    fn a_line_has_priority_time_and_process() {
        assert_eq!(
            line(
                Level::Warning,
                "Jan  2 03:04:05",
                42,
                format_args!("x is gone")
            ),
            "<28>Jan  2 03:04:05 gluon-wan[42]: x is gone"
        );
    }

    #[test]
    fn a_timestamp_has_the_length_that_logd_cuts_off() {
        assert_eq!(timestamp().len(), 15);
    }

    #[test]
    fn a_log_daemon_may_come_late_end_and_be_stuck() {
        let scratch = Scratch::new();
        let path = scratch.join("socket");
        let syslog = Syslog(Mutex::new(None));
        let send = || syslog.send_to(&path, Level::Notice, format_args!("news"));
        assert!(send().is_err());
        for _ in 0..2 {
            let daemon = UnixDatagram::bind(&path).unwrap();
            send().unwrap();
            let mut buffer = [0; 100];
            let length = daemon.recv(&mut buffer).unwrap();
            assert!(buffer[..length].ends_with(b"]: news"));
            std::fs::remove_file(&path).unwrap();
        }
        assert!(send().is_err());
        let _stuck = UnixDatagram::bind(&path).unwrap();
        let full = (0..100_000).find_map(|_| send().err());
        assert_eq!(full.unwrap().kind(), io::ErrorKind::WouldBlock);
    }
}
