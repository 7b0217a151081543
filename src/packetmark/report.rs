//! The one message of a process: what it says and where it goes.

use core::ffi::c_int;

use libc::{AT_FDCWD, EINVAL, EPERM, LOG_DAEMON, LOG_ERR, STDERR_FILENO};

use crate::message::Line;
use crate::process::{program, variable};

/// See socket(7), `SO_MARK`.
const MISSING: &[u8] = b"not permitted, needs CAP_NET_ADMIN (or CAP_NET_RAW since Linux 5.17)";

/// Why a socket has no mark.
pub enum Problem {
    /// `LIBPACKETMARK_MARK` is not a mark.
    Malformed,
    /// The kernel did not take the mark; `reason` is its errno.
    Refused {
        /// The mark.
        mark: u32,
        /// An errno.
        reason: c_int,
    },
}

impl Problem {
    /// What socket() fails with when it is to fail.
    pub fn errno(&self) -> c_int {
        match *self {
            Self::Malformed => EINVAL,
            Self::Refused { reason, .. } => reason,
        }
    }
}

/// Writes the message: to standard error, and where that is not `open` or is
/// /dev/null, to the system log. It may leave any errno.
pub fn write(problem: &Problem, strict: bool, open: bool) {
    let mut line = Line::new();
    compose(&mut line, problem, strict);
    let text = line.bytes();
    if open && !stderr_is_null() {
        // Not write(), which another library may interpose and a thread may be cancelled in.
        // SAFETY: the kernel reads as many bytes as the text has.
        unsafe { libc::syscall(libc::SYS_write, STDERR_FILENO, text.as_ptr(), text.len()) };
    } else {
        let length = text.len() as c_int;
        // SAFETY: the format takes a length and the address of as many bytes.
        unsafe {
            libc::syslog(
                LOG_DAEMON | LOG_ERR,
                c"%.*s".as_ptr(),
                length,
                text.as_ptr(),
            )
        };
    }
}

fn compose(line: &mut Line, problem: &Problem, strict: bool) {
    line.text(program()).text(b": libpacketmark: ");
    match *problem {
        Problem::Malformed => line
            .text(b"LIBPACKETMARK_MARK='")
            .text(variable(c"LIBPACKETMARK_MARK").unwrap_or(b""))
            .text(b"' is not a mark, expected 1 to 4294967295 or 0x1 to 0xffffffff"),
        Problem::Refused { mark, reason } => {
            line.text(b"cannot set mark ")
                .number(mark)
                .text(b" on a socket: ");
            match reason {
                EPERM => line.text(MISSING),
                other => line.text(b"errno ").number(other.unsigned_abs()),
            }
        }
    };
    let outcome: &[u8] = match strict {
        true => b"; socket() fails",
        false => b"; traffic goes out unmarked",
    };
    line.text(outcome);
}

/// Whether nobody reads standard error. dnsmasq is such a daemon: it opens its
/// upstream sockets after it has put /dev/null there.
fn stderr_is_null() -> bool {
    let mut target = [0_u8; 10];
    // SAFETY: a C string, and the kernel writes no more than the buffer takes.
    unsafe {
        libc::syscall(
            libc::SYS_readlinkat,
            AT_FDCWD,
            c"/proc/self/fd/2".as_ptr(),
            target.as_mut_ptr(),
            target.len(),
        )
    };
    target == *b"/dev/null\0"
}
