//! Two system calls as the kernel has them.
//!
//! libc's setsockopt() puts an error into errno, which the program must find as
//! its socket() left it. To be ready to put it back costs each socket nearly as
//! many instructions as the rest of this library (tests/bench/packetmark.sh); the
//! bare system call leaves errno alone.

use core::ffi::c_int;
use core::sync::atomic::AtomicU32;

use libc::{SO_MARK, SOL_SOCKET};

/// Sets `SO_MARK` and leaves errno alone; an error is its errno.
#[inline(always)]
pub fn set_mark(fd: c_int, mark: &'static AtomicU32) -> Result<(), c_int> {
    match bare::setsockopt(fd, SOL_SOCKET, SO_MARK, mark) {
        0 => Ok(()),
        error => Err(-error as c_int),
    }
}

#[cfg(all(target_arch = "x86_64", not(feature = "portable")))]
mod bare {
    use super::{AtomicU32, c_int};
    use core::arch::asm;

    #[inline(always)]
    pub fn setsockopt(fd: c_int, level: c_int, option: c_int, value: &'static AtomicU32) -> isize {
        let result;
        // SAFETY: the kernel reads four bytes from `value`. It changes rax, rcx and r11.
        unsafe {
            asm!(
                "syscall",
                inlateout("rax") libc::SYS_setsockopt as isize => result,
                in("edi") fd,
                in("esi") level,
                in("edx") option,
                in("r10") value.as_ptr(),
                in("r8") size_of::<u32>(),
                lateout("rcx") _,
                lateout("r11") _,
                options(nostack),
            );
        }
        result
    }
}

#[cfg(all(target_arch = "aarch64", not(feature = "portable")))]
mod bare {
    use super::{AtomicU32, c_int};
    use core::arch::asm;

    #[inline(always)]
    pub fn setsockopt(fd: c_int, level: c_int, option: c_int, value: &'static AtomicU32) -> isize {
        let result;
        // SAFETY: the kernel reads four bytes from `value`. It changes x0.
        unsafe {
            asm!(
                "svc 0",
                in("x8") libc::SYS_setsockopt,
                inlateout("x0") fd as isize => result,
                in("x1") level as isize,
                in("x2") option as isize,
                in("x3") value.as_ptr(),
                in("x4") size_of::<u32>(),
                options(nostack),
            );
        }
        result
    }
}

/// Where Rust has no inline assembly yet (MIPS), or nobody has measured.
#[cfg(any(
    feature = "portable",
    not(any(target_arch = "x86_64", target_arch = "aarch64"))
))]
mod bare {
    use super::{AtomicU32, c_int};
    use crate::process::{errno, set_errno};

    pub fn setsockopt(fd: c_int, level: c_int, option: c_int, value: &'static AtomicU32) -> isize {
        let before = errno();
        let size = size_of::<u32>() as libc::socklen_t;
        // SAFETY: the kernel reads `size` bytes from `value`.
        let result = unsafe { libc::setsockopt(fd, level, option, value.as_ptr().cast(), size) };
        if result == 0 {
            return 0;
        }
        let error = errno();
        set_errno(before);
        -error as isize
    }
}

/// What socket() is where libc's cannot be found; libc's errno. These architectures
/// got a system call of that name only with Linux 4.3, and still have the one for
/// all of them.
#[cfg(any(target_arch = "x86", target_arch = "s390x", target_arch = "m68k"))]
pub extern "C" fn socket(domain: c_int, kind: c_int, protocol: c_int) -> c_int {
    /// linux/net.h
    const SYS_SOCKET: c_int = 1;
    let arguments = [domain, kind, protocol].map(libc::c_long::from);
    // SAFETY: the kernel reads three longs.
    let fd = unsafe { libc::syscall(libc::SYS_socketcall, SYS_SOCKET, arguments.as_ptr()) };
    fd as c_int
}

/// What socket() is where libc's cannot be found; libc's errno.
#[cfg(not(any(target_arch = "x86", target_arch = "s390x", target_arch = "m68k")))]
pub extern "C" fn socket(domain: c_int, kind: c_int, protocol: c_int) -> c_int {
    // SAFETY: three numbers; no memory of ours is involved.
    let fd = unsafe { libc::syscall(libc::SYS_socket, domain, kind, protocol) };
    fd as c_int
}
