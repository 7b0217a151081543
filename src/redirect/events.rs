//! What happens to nftables, as it happens.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};

use nftnl::nftnl_sys::libc;

use super::error::{Error, Step};
use super::kernel::concerns_us;
use super::netlink::Netlink;

/// A socket that becomes readable when somebody changes nftables, ourselves
/// included.
pub struct Events {
    netlink: Netlink,
}

impl Events {
    /// Listens from now on. It never blocks.
    ///
    /// # Errors
    /// A kernel without netfilter's netlink; no permission.
    pub fn open() -> Result<Self, Error> {
        let group = 1 << (libc::NFNLGRP_NFTABLES - 1);
        match Netlink::open(group) {
            Ok(netlink) => Ok(Self { netlink }),
            Err(error) => Err(Error::kernel(Step::Listen, error)),
        }
    }

    /// Reads all events there are; true when one of them may concern our table.
    ///
    /// A burst that the socket could not hold means that some were lost, so it
    /// is a reason to look and no error.
    ///
    /// # Errors
    /// The socket is broken.
    pub fn drain(&mut self) -> Result<bool, Error> {
        let mut ours = false;
        loop {
            match self.netlink.events() {
                Ok(Some(mut messages)) => ours |= messages.any(|message| concerns_us(&message)),
                Ok(None) => return Ok(ours),
                Err(error) => match error.raw_os_error() {
                    // Lost events; one that was larger than the buffer; a signal.
                    Some(libc::ENOBUFS | libc::ENOSPC) => ours = true,
                    Some(libc::EINTR) => {}
                    _ => return Err(Error::kernel(Step::Listen, error)),
                },
            }
        }
    }
}

impl AsFd for Events {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.netlink.as_fd()
    }
}

/// Tokio's `AsyncFd` asks for the raw number.
impl AsRawFd for Events {
    fn as_raw_fd(&self) -> RawFd {
        self.as_fd().as_raw_fd()
    }
}
