//! What makes the resolver ask again: links and routes that have changed.

use std::io;

use rtnetlink::sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use crate::ready;

/// rtnetlink's multicast groups (RTMGRP_* of linux/rtnetlink.h): links, IPv4
/// addresses, routes and rules, IPv6 addresses, routes and rules.
const GROUPS: u32 = 0x1 | 0x10 | 0x40 | 0x80 | 0x100 | 0x400 | 0x4_0000;

/// Tells when links, addresses, routes or rules have changed.
pub struct Network {
    socket: AsyncFd<Socket>,
}

impl Network {
    /// Subscribes; needs no privilege.
    ///
    /// # Errors
    /// No rtnetlink.
    pub fn new() -> io::Result<Self> {
        let mut socket = Socket::new(NETLINK_ROUTE)?;
        socket.set_non_blocking(true)?;
        socket.bind(&SocketAddr::new(0, GROUPS))?;
        Ok(Self {
            socket: ready::register(socket, Interest::READABLE)?,
        })
    }

    /// Waits for a change and takes all that is told of it. What has changed
    /// does not matter, so neither does an overflow.
    ///
    /// # Errors
    /// The socket is broken.
    pub async fn changed(&self) -> io::Result<()> {
        let mut ready = self.socket.readable().await?;
        let mut word = [0; 1];
        loop {
            let taken = ready.try_io(|socket| {
                // The rest of a datagram is cut off.
                socket.get_ref().recv(&mut word.as_mut_slice(), 0)
            });
            match taken {
                Ok(Err(error)) if error.raw_os_error() == Some(libc::ENOBUFS) => {}
                Ok(Err(error)) => return Err(error),
                Ok(Ok(_)) => {}
                Err(_would_block) => return Ok(()),
            }
        }
    }
}
