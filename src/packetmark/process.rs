//! What a process has from its libc: environment, name, errno.

use core::cell::UnsafeCell;
use core::ffi::{CStr, c_char, c_int};

unsafe extern "C" {
    // glibc and musl set it before any constructor runs; null when a process has no argv[0].
    static program_invocation_short_name: *const c_char;
}

/// The program's name, without directories.
pub fn program() -> &'static [u8] {
    // SAFETY: nobody writes to it after start.
    let name = unsafe { program_invocation_short_name };
    // SAFETY: libc's own string.
    unsafe { bytes(name) }.unwrap_or(b"?")
}

/// The value of an environment variable, to be read at once.
pub fn variable(name: &CStr) -> Option<&'static [u8]> {
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

/// This thread's errno.
pub fn errno() -> c_int {
    // SAFETY: no conditions.
    let place = unsafe { libc::__errno_location() };
    // SAFETY: this thread's own errno, always there.
    unsafe { *place }
}

/// Changes this thread's errno.
pub fn set_errno(value: c_int) {
    // SAFETY: no conditions.
    let place = unsafe { libc::__errno_location() };
    // SAFETY: this thread's own errno, always there.
    unsafe { *place = value }
}

/// True for one caller in this process and what it forks, whatever the thread.
///
/// libc's mutex, taken and never given back: an atomic exchange of our own would
/// bring 1.4 KB of processor detection with it on arm64.
pub fn once() -> bool {
    struct Mutex(UnsafeCell<libc::pthread_mutex_t>);
    // SAFETY: a mutex is made to be shared, and only libc touches it.
    unsafe impl Sync for Mutex {}
    static TAKEN: Mutex = Mutex(UnsafeCell::new(libc::PTHREAD_MUTEX_INITIALIZER));
    // SAFETY: initialized, and it stays where it is.
    unsafe { libc::pthread_mutex_trylock(TAKEN.0.get()) == 0 }
}
