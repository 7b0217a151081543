//! The `socket()` that stands before libc's.

use core::ffi::{CStr, c_char, c_int, c_void};
use core::mem;
use core::sync::atomic::{AtomicBool, AtomicPtr, AtomicU32, Ordering};

use libc::{AF_INET, AF_INET6, EINVAL, EPERM, RTLD_NEXT, SO_MARK, SOL_SOCKET, STDERR_FILENO};

use crate::mark;
use crate::message::Line;

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
/// Whether the one message is out.
static REPORTED: AtomicBool = AtomicBool::new(false);

unsafe extern "C" {
    // glibc and musl set it before any constructor runs; null when a process has no argv[0].
    static program_invocation_short_name: *const c_char;
}

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
        0 if MALFORMED.load(Ordering::Relaxed) => unmarked(fd, errno(), EINVAL),
        0 => fd,
        mark => marked(fd, mark),
    }
}

/// A call that comes before everything else, from another library's constructor.
extern "C" fn first_socket(domain: c_int, kind: c_int, protocol: c_int) -> c_int {
    prepare();
    next()(domain, kind, protocol)
}

/// Sets the mark. Success leaves errno alone.
fn marked(fd: c_int, mark: u32) -> c_int {
    let before = errno();
    let size = mem::size_of::<u32>() as libc::socklen_t;
    // SAFETY: the kernel reads `size` bytes from `mark`, which outlives the call.
    let result =
        unsafe { libc::setsockopt(fd, SOL_SOCKET, SO_MARK, (&raw const mark).cast(), size) };
    if result == 0 {
        fd
    } else {
        unmarked(fd, before, errno())
    }
}

/// Reports a socket without its mark, and refuses it when asked to. A socket that
/// is handed out leaves errno as it was `before`.
#[cold]
fn unmarked(fd: c_int, before: c_int, reason: c_int) -> c_int {
    // Descriptor 2 itself: standard error was closed, and a message would be data.
    if fd != STDERR_FILENO && !REPORTED.swap(true, Ordering::Relaxed) {
        report(reason);
    }
    if !STRICT.load(Ordering::Relaxed) {
        set_errno(before);
        return fd;
    }
    // Not close(), which another library may interpose and a thread may be cancelled in.
    // SAFETY: the descriptor is ours, nobody has seen it yet.
    unsafe { libc::syscall(libc::SYS_close, fd) };
    set_errno(reason);
    -1
}

/// Writes the one message. It may leave any errno.
fn report(reason: c_int) {
    // SAFETY: libc sets it up before it calls any constructor, and never changes it.
    let program = unsafe { bytes(program_invocation_short_name) };
    let mut line = Line::new();
    line.text(program.unwrap_or(b"?"))
        .text(b": libpacketmark: ");
    if MALFORMED.load(Ordering::Relaxed) {
        let value = environment(c"LIBPACKETMARK_MARK").unwrap_or(b"");
        line.text(b"LIBPACKETMARK_MARK='")
            .text(value)
            .text(b"' is not a mark, expected 1 to 4294967295 or 0x1 to 0xffffffff");
    } else {
        line.text(b"cannot set mark ")
            .number(MARK.load(Ordering::Relaxed))
            .text(b" on a socket: ");
        match reason {
            EPERM => {
                line.text(b"not permitted, needs CAP_NET_ADMIN (or CAP_NET_RAW since Linux 5.17)")
            }
            other => line.text(b"errno ").number(other.unsigned_abs()),
        };
    }
    let outcome: &[u8] = if STRICT.load(Ordering::Relaxed) {
        b"; socket() fails"
    } else {
        b"; traffic goes out unmarked"
    };
    line.text(outcome);
    let line = line.bytes();
    // Not write(), for the reasons of close().
    // SAFETY: the kernel reads as many bytes as the line has.
    unsafe { libc::syscall(libc::SYS_write, STDERR_FILENO, line.as_ptr(), line.len()) };
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
    let mark = environment(c"LIBPACKETMARK_MARK").map_or(Some(0), mark::parse);
    MARK.store(mark.unwrap_or(0), Ordering::Relaxed);
    MALFORMED.store(mark.is_none(), Ordering::Relaxed);
    // Off only when it says so: a slip of the pen must not lose the guarantee.
    let strict = environment(c"LIBPACKETMARK_STRICT").unwrap_or(b"");
    STRICT.store(!matches!(strict, b"" | b"0"), Ordering::Relaxed);

    // SAFETY: the name is a C string.
    let mut next = unsafe { libc::dlsym(RTLD_NEXT, c"socket".as_ptr()) };
    if next.is_null() {
        next = kernel_socket as Socket as *mut c_void;
    }
    NEXT.store(next, Ordering::Release);
    set_errno(before);
}

/// Where there is no other `socket()`: the system call. These architectures got one
/// of its own only with Linux 4.3, and the older multiplexer remains.
#[cfg(any(target_arch = "x86", target_arch = "s390x", target_arch = "m68k"))]
extern "C" fn kernel_socket(domain: c_int, kind: c_int, protocol: c_int) -> c_int {
    /// linux/net.h
    const SYS_SOCKET: c_int = 1;
    let arguments = [domain, kind, protocol].map(libc::c_long::from);
    // SAFETY: the kernel reads three longs.
    let fd = unsafe { libc::syscall(libc::SYS_socketcall, SYS_SOCKET, arguments.as_ptr()) };
    fd as c_int
}

/// Where there is no other `socket()`: the system call.
#[cfg(not(any(target_arch = "x86", target_arch = "s390x", target_arch = "m68k")))]
extern "C" fn kernel_socket(domain: c_int, kind: c_int, protocol: c_int) -> c_int {
    // SAFETY: three numbers; no memory of ours is involved.
    let fd = unsafe { libc::syscall(libc::SYS_socket, domain, kind, protocol) };
    fd as c_int
}

/// The value of an environment variable.
fn environment(name: &CStr) -> Option<&'static [u8]> {
    // SAFETY: the name is a C string.
    let value = unsafe { libc::getenv(name.as_ptr()) };
    // SAFETY: a C string of the environment, read at once.
    unsafe { bytes(value) }
}

/// The bytes of a C string, nothing for a null pointer.
///
/// # Safety
/// Null, or a C string that nobody changes while the bytes are used.
unsafe fn bytes(text: *const c_char) -> Option<&'static [u8]> {
    if text.is_null() {
        return None;
    }
    // SAFETY: as the caller promises.
    Some(unsafe { CStr::from_ptr(text) }.to_bytes())
}

fn errno() -> c_int {
    // SAFETY: no conditions.
    let place = unsafe { libc::__errno_location() };
    // SAFETY: this thread's own errno, always there.
    unsafe { *place }
}

fn set_errno(value: c_int) {
    // SAFETY: no conditions.
    let place = unsafe { libc::__errno_location() };
    // SAFETY: this thread's own errno, always there.
    unsafe { *place = value }
}
