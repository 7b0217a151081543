//! What happens to nftables, as it happens.

use std::os::fd::{AsFd, BorrowedFd};

use nftnl::nftnl_sys::libc;

use super::error::{Error, Step};
use super::table::NAME;
use crate::netlink::netfilter::Message;
use crate::netlink::{Bus, Netlink};

/// As much as the kernel gives by default; more were lost all the same.
const BACKLOG: usize = 212_992;

/// A socket that becomes readable when somebody changes nftables.
pub struct Events {
    netlink: Netlink,
    /// Whose changes are no news.
    own: u32,
}

impl Events {
    /// Listens from now on to all but what the socket with port `own` causes. It
    /// never blocks.
    ///
    /// # Errors
    /// A kernel without netfilter's netlink; no permission.
    pub fn open(own: u32) -> Result<Self, Error> {
        let groups = [libc::NFNLGRP_NFTABLES as u32];
        match Netlink::listen(Bus::Netfilter, &groups, BACKLOG) {
            Ok(netlink) => Ok(Self { netlink, own }),
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
        let lost = self
            .netlink
            .events(self.own, |event| {
                ours |= Message::read(event.body).is_some_and(|message| message.is_of(NAME));
            })
            .map_err(|error| Error::kernel(Step::Listen, error))?;
        Ok(ours || lost)
    }
}

impl AsFd for Events {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.netlink.as_fd()
    }
}
