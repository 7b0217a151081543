//! The `socket()` that stands before libc's.

use core::ffi::{c_int, c_void};
use core::mem;
use core::sync::atomic::{AtomicBool, AtomicPtr, AtomicU32, Ordering};

use libc::{AF_INET, AF_INET6, EPERM, RTLD_NEXT, STDERR_FILENO};

use crate::capability;
use crate::kernel;
use crate::mark;
use crate::process::{self, errno, set_errno, variable};
use crate::report::{self, Problem};

type Socket = extern "C" fn(c_int, c_int, c_int) -> c_int;

/// The `socket()` behind this one; until the settings are read, [`first_socket`].
/// It is written last, so whoever reads it finds the settings in place.
static NEXT: AtomicPtr<c_void> = AtomicPtr::new(first_socket as Socket as *mut c_void);
/// What the sockets get, 0 for nothing.
static MARK: AtomicU32 = AtomicU32::new(0);
/// Whether `LIBPACKETMARK_MARK` is something that is not a mark.
static MALFORMED: AtomicBool = AtomicBool::new(false);
/// Whether a socket that does not get its mark is refused.
static STRICT: AtomicBool = AtomicBool::new(false);

/// Reads the environment before the program can change it, and before there are
/// threads and signal handlers, in which `dlsym` and `getenv` are not safe.
///
/// The constructor of another library may run first: then its `socket()` does it.
#[used]
#[unsafe(link_section = ".init_array")]
static CONSTRUCTOR: extern "C" fn() = prepare;

/// As socket(2); an IPv4 or IPv6 socket comes back with the mark.
#[unsafe(no_mangle)]
pub extern "C" fn socket(domain: c_int, kind: c_int, protocol: c_int) -> c_int {
    match domain {
        AF_INET | AF_INET6 => internet_socket(domain, kind, protocol),
        _ => next()(domain, kind, protocol),
    }
}

/// Not inlined, so that all other sockets cost no more than a jump.
#[inline(never)]
fn internet_socket(domain: c_int, kind: c_int, protocol: c_int) -> c_int {
    let fd = next()(domain, kind, protocol);
    if fd < 0 {
        return fd;
    }
    match MARK.load(Ordering::Relaxed) {
        0 if MALFORMED.load(Ordering::Relaxed) => unmarked(fd, &Problem::Malformed),
        0 => fd,
        mark => match kernel::set_mark(fd, &MARK) {
            Ok(()) => fd,
            Err(reason) => refused(fd, mark, reason),
        },
    }
}

/// A call that comes before everything else, from another library's constructor.
extern "C" fn first_socket(domain: c_int, kind: c_int, protocol: c_int) -> c_int {
    prepare();
    next()(domain, kind, protocol)
}

/// Tries again with more privilege, where there is more. Leaves errno alone.
#[cold]
fn refused(fd: c_int, mark: u32, reason: c_int) -> c_int {
    let before = errno();
    let again = match reason {
        EPERM => capability::raised(|| kernel::set_mark(fd, &MARK)),
        _ => None,
    };
    set_errno(before);
    match again {
        Some(Ok(())) => fd,
        _ => unmarked(fd, &Problem::Refused { mark, reason }),
    }
}

/// Reports a socket without its mark, and refuses it when asked to. Handing it out
/// leaves errno alone.
#[cold]
fn unmarked(fd: c_int, problem: &Problem) -> c_int {
    let before = errno();
    let strict = STRICT.load(Ordering::Relaxed);
    if process::once() {
        // When it is descriptor 2 itself, standard error was closed: what is written
        // there is data on a socket, or SIGPIPE.
        report::write(problem, strict, fd != STDERR_FILENO);
    }
    if !strict {
        set_errno(before);
        return fd;
    }
    // Not close(), which another library may interpose and a thread may be cancelled in.
    // SAFETY: the descriptor is ours, nobody has seen it yet.
    unsafe { libc::syscall(libc::SYS_close, fd) };
    set_errno(problem.errno());
    -1
}

/// The `socket()` behind this one.
fn next() -> Socket {
    let next = NEXT.load(Ordering::Acquire);
    // SAFETY: nothing but functions of this type is ever stored.
    unsafe { mem::transmute::<*mut c_void, Socket>(next) }
}

/// Reads the environment and finds the `socket()` behind this one. Threads that
/// come here at once all do the same. Leaves errno alone.
extern "C" fn prepare() {
    let before = errno();
    let mark = variable(c"LIBPACKETMARK_MARK").map_or(Some(0), mark::parse);
    MARK.store(mark.unwrap_or(0), Ordering::Relaxed);
    MALFORMED.store(mark.is_none(), Ordering::Relaxed);
    // Off only when it says so: a slip of the pen must not lose the guarantee.
    let strict = variable(c"LIBPACKETMARK_STRICT").unwrap_or(b"");
    STRICT.store(!matches!(strict, b"" | b"0"), Ordering::Relaxed);

    // SAFETY: the name is a C string.
    let mut next = unsafe { libc::dlsym(RTLD_NEXT, c"socket".as_ptr()) };
    if next.is_null() {
        next = kernel::socket as Socket as *mut c_void;
    }
    NEXT.store(next, Ordering::Release);
    set_errno(before);
}
