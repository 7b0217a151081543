//! What the relay waits for, all of it at once: one epoll set.
//!
//! It is level-triggered: what was not taken is told again, so nothing has to be
//! read until it is empty, and a socket leaves the set when it is closed.

use std::io;
use std::os::fd::AsFd;

use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};

use super::in_flight::SocketKey;

/// As many events are taken at a time.
const BATCH: usize = 64;

/// Where something has happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Token {
    /// A client's message waits at the socket with this number.
    Client(u32),
    /// A server's message, or an ICMP error, waits at this socket.
    Server(SocketKey),
    /// The timer has run out.
    Timer,
}

impl Token {
    /// As the number that the kernel keeps for us.
    fn to_number(self) -> u64 {
        let (kind, which) = match self {
            Self::Client(which) => (0, which),
            Self::Server(which) => (1, which),
            Self::Timer => (2, 0),
        };
        kind << 32 | u64::from(which)
    }

    fn from_number(number: u64) -> Self {
        let which = number as u32;
        match number >> 32 {
            0 => Self::Client(which),
            1 => Self::Server(which),
            _ => Self::Timer,
        }
    }
}

/// The set.
pub struct EpollSet(Epoll);

impl EpollSet {
    /// Nothing is waited for yet.
    ///
    /// # Errors
    /// The kernel's limits.
    pub fn new() -> io::Result<Self> {
        Ok(Self(Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?))
    }

    /// Waits for something to read from now on, until the descriptor is closed.
    ///
    /// # Errors
    /// The kernel's limits.
    pub fn add(&self, descriptor: impl AsFd, source: Token) -> io::Result<()> {
        let event = EpollEvent::new(EpollFlags::EPOLLIN, source.to_number());
        Ok(self.0.add(descriptor, event)?)
    }

    /// Waits until something has happened. A source in it may be closed by the
    /// time it is looked at.
    ///
    /// # Errors
    /// None that the kernel has for this.
    pub fn wait<'a>(
        &self,
        batch: &'a mut Batch,
    ) -> io::Result<impl ExactSizeIterator<Item = Token> + use<'a>> {
        let count = loop {
            match self.0.wait(&mut batch.0, EpollTimeout::NONE) {
                Err(Errno::EINTR) => {}
                outcome => break outcome?,
            }
        };
        Ok(batch.0[..count]
            .iter()
            .map(|event| Token::from_number(event.data())))
    }
}

/// Room for what [`EpollSet::wait`] tells.
pub struct Batch([EpollEvent; BATCH]);

impl Batch {
    /// Nothing in it.
    #[must_use]
    pub fn new() -> Self {
        Self([EpollEvent::empty(); BATCH])
    }
}

impl Default for Batch {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_survives_the_kernel() {
        for source in [
            Token::Client(0),
            Token::Client(1),
            Token::Server(0),
            Token::Server(SocketKey::MAX),
            Token::Timer,
        ] {
            assert_eq!(Token::from_number(source.to_number()), source);
        }
    }
}
