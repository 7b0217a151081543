//! Descriptors that the runtime waits for.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Gives what owns a descriptor the `AsRawFd` that tokio asks for, where it has
/// only `AsFd`.
pub struct Polled<T>(pub T);

impl<T: AsFd> AsFd for Polled<T> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl<T: AsFd> AsRawFd for Polled<T> {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_fd().as_raw_fd()
    }
}

/// Registers something that owns a descriptor with the runtime.
///
/// # Errors
/// The kernel's limits.
pub fn register<T: AsFd + AsRawFd>(owner: T, interest: Interest) -> io::Result<AsyncFd<T>> {
    // SAFETY: `AsFd` vouches that the descriptor is open as long as `owner`
    // lives, which `AsyncFd` takes. All that is registered here are sockets and
    // queues that never change their descriptor.
    Ok(unsafe { AsyncFd::register_with_interest(owner, interest)? })
}
