//! For programs that lay down a capability without giving it up: ping of iputils
//! has CAP_NET_RAW and CAP_NET_ADMIN permitted, but in effect only for moments, and
//! opens sockets in between.

use core::ffi::c_int;

/// Those of linux/capability.h that SO_MARK takes.
const CAP_NET_ADMIN: u32 = 12;
const CAP_NET_RAW: u32 = 13;
/// The layout with two [`Words`], since Linux 2.6.26.
const LINUX_CAPABILITY_VERSION_3: u32 = 0x2008_0522;

#[repr(C)]
struct Header {
    version: u32,
    /// 0: the calling thread.
    pid: c_int,
}

/// 32 capabilities in their three sets.
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Words {
    effective: u32,
    permitted: u32,
    inheritable: u32,
}

/// Does `action` with what SO_MARK takes in effect, if this thread may have it and
/// has laid it down; otherwise it is not done. May change errno.
pub fn raised<T>(action: impl FnOnce() -> T) -> Option<T> {
    let before = get()?;
    let laid_down = (1 << CAP_NET_ADMIN | 1 << CAP_NET_RAW)
        & before.first()?.permitted
        & !before.first()?.effective;
    if laid_down == 0 {
        return None;
    }
    let mut more = before;
    more.first_mut()?.effective |= laid_down;
    set(&more)?;
    let result = action();
    set(&before);
    Some(result)
}

fn get() -> Option<[Words; 2]> {
    let mut words = [Words::default(); 2];
    // SAFETY: the kernel reads the header and writes as much as its version says.
    let result = unsafe { libc::syscall(libc::SYS_capget, &HEADER, words.as_mut_ptr()) };
    (result == 0).then_some(words)
}

fn set(words: &[Words; 2]) -> Option<()> {
    // SAFETY: the kernel reads the header and as much as its version says.
    let result = unsafe { libc::syscall(libc::SYS_capset, &HEADER, words.as_ptr()) };
    (result == 0).then_some(())
}

static HEADER: Header = Header {
    version: LINUX_CAPABILITY_VERSION_3,
    pid: 0,
};
