//! Descriptors that the runtime waits for.

use std::io;
use std::os::fd::{AsFd, AsRawFd};

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

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
