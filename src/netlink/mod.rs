//! netlink(7) for all who speak it: requests and their answers, dumps,
//! transactions and events.
//!
//! Only the framing is here, of messages (`message`), of the attributes in them
//! (`attributes`), and what the messages of one bus have in common ([`netfilter`],
//! [`mod@route`]), over libmnl's socket. What they mean is known to those who ask.
//!
//! No call waits for anybody but the kernel, which answers within the system
//! call that takes the request. Dumps are read piece by piece, so ten thousand
//! routes never lie here as messages.

mod attributes;
mod message;
pub mod netfilter;
pub mod route;

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::ptr;

pub use attributes::{Attrs, attributes, put};
use message::{Answer, Messages, emit, verdict};
pub use message::{Message, Refused};
pub use mnl::Bus;
use socket2::SockRef;

/// The largest piece of a dump (netlink_dump of net/netlink/af_netlink.c).
const PIECE: usize = 32 * 1024;
/// How often a dump is begun anew when what it lists changes meanwhile.
const DUMPS: u32 = 20;
const REQUEST: u16 = libc::NLM_F_REQUEST as u16;
const DUMP: u16 = libc::NLM_F_DUMP as u16;
const ACK: u16 = libc::NLM_F_ACK as u16;

/// A netlink socket that never blocks and is not inherited by other programs.
pub struct Netlink {
    socket: mnl::Socket,
    sequence: u32,
}

/// Whoever answers requests: the kernel or, in the simulation, a model of it.
pub trait Requests {
    /// What events that these requests cause carry as their origin
    /// ([`Message::port`]).
    fn port(&self) -> u32;

    /// See [`Netlink::request`].
    ///
    /// # Errors
    /// What the kernel says.
    fn request(
        &mut self,
        kind: u16,
        flags: u16,
        body: &[u8],
        take: &mut dyn FnMut(&[u8]),
    ) -> Result<(), Refused>;

    /// One dump; false when it was interrupted by changes (NLM_F_DUMP_INTR).
    ///
    /// # Errors
    /// What the kernel says.
    fn dump_once(
        &mut self,
        kind: u16,
        body: &[u8],
        take: &mut dyn FnMut(&[u8]),
    ) -> Result<bool, Refused>;
}

impl Requests for Netlink {
    fn port(&self) -> u32 {
        Self::port(self)
    }

    fn request(
        &mut self,
        kind: u16,
        flags: u16,
        body: &[u8],
        take: &mut dyn FnMut(&[u8]),
    ) -> Result<(), Refused> {
        self.send(kind, REQUEST | ACK | flags, body)?;
        self.answer(take).map(|_| ())
    }

    fn dump_once(
        &mut self,
        kind: u16,
        body: &[u8],
        take: &mut dyn FnMut(&[u8]),
    ) -> Result<bool, Refused> {
        self.send(kind, REQUEST | DUMP, body)?;
        self.answer(take)
    }
}

/// What [`Netlink::dump`] does, whoever answers.
///
/// # Errors
/// What the kernel says; EINTR when the objects change faster than they can be
/// read.
pub fn whole_dump<T>(
    requests: &mut dyn Requests,
    kind: u16,
    body: &[u8],
    mut keep: impl FnMut(&[u8], &mut Vec<T>),
) -> Result<Vec<T>, Refused> {
    let mut kept = Vec::new();
    let take = &mut |message: Option<&[u8]>| match message {
        Some(message) => keep(message, &mut kept),
        None => kept.clear(),
    };
    dump_until_whole(requests, kind, body, take)?;
    Ok(kept)
}

/// Hands the messages of a dump to `take`, and nothing where it begins anew.
fn dump_until_whole(
    requests: &mut dyn Requests,
    kind: u16,
    body: &[u8],
    take: &mut dyn FnMut(Option<&[u8]>),
) -> Result<(), Refused> {
    for _ in 0..DUMPS {
        if requests.dump_once(kind, body, &mut |message| take(Some(message)))? {
            return Ok(());
        }
        take(None);
    }
    Err(Refused::because(
        io::Error::from_raw_os_error(libc::EINTR),
        "changes faster than it can be read",
    ))
}

/// Room for what one call receives. Only the pages that the kernel writes to
/// count, and only until the call is over: kept in each socket, or on the stack,
/// it would be a third of what a process that watches holds in memory for good.
struct Buffer(Box<[MaybeUninit<u8>]>);

impl Buffer {
    fn new() -> Self {
        Self(Box::new_uninit_slice(PIECE))
    }
}

impl Netlink {
    /// Opens a socket for requests. Needs no privilege; changes do.
    ///
    /// # Errors
    /// EPROTONOSUPPORT: a kernel without this bus.
    pub fn open(bus: Bus) -> io::Result<Self> {
        let netlink = Self::bind(bus, 0)?;
        // Each only makes things better where it is known (Linux 4.12, 4.20):
        // reasons in words, and dumps of one table or device.
        let _ = netlink.set(libc::NETLINK_EXT_ACK);
        if bus == Bus::Route {
            let _ = netlink.set(libc::NETLINK_GET_STRICT_CHK);
        }
        Ok(netlink)
    }

    /// Opens a socket for the events of multicast groups (RTNLGRP_*, NFNLGRP_*;
    /// numbers up to 32). The kernel keeps some `backlog` bytes of unread ones.
    ///
    /// # Errors
    /// EPROTONOSUPPORT: a kernel without this bus; EPERM.
    pub fn listen(bus: Bus, groups: &[u32], backlog: usize) -> io::Result<Self> {
        let joined = groups.iter().fold(0, |all, group| all | 1 << (group - 1));
        let netlink = Self::bind(bus, joined)?;
        SockRef::from(&netlink).set_recv_buffer_size(backlog)?;
        Ok(netlink)
    }

    fn bind(bus: Bus, groups: u32) -> io::Result<Self> {
        let socket = mnl::Socket::open(bus)?;
        socket.bind(groups, 0)?;
        let netlink = Self {
            socket,
            sequence: 0,
        };
        let options = SockRef::from(&netlink);
        options.set_nonblocking(true)?;
        // libmnl leaves it open for the programs we start.
        options.set_cloexec(true)?;
        Ok(netlink)
    }

    /// Turns an option of SOL_NETLINK on.
    fn set(&self, option: libc::c_int) -> io::Result<()> {
        let on: libc::c_int = 1;
        // SAFETY: the descriptor is open, and the option is an int that lives
        // and is only read during the call.
        let set = unsafe {
            libc::setsockopt(
                self.socket.as_raw_fd(),
                libc::SOL_NETLINK,
                option,
                (&raw const on).cast(),
                size_of_val(&on) as libc::socklen_t,
            )
        };
        match set {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    }

    /// The socket's port: events that its requests cause carry it as their
    /// origin ([`Message::port`]).
    #[must_use]
    pub fn port(&self) -> u32 {
        self.socket.portid()
    }

    /// Asks for one object, or has one changed, and hands the messages of the
    /// answer to `take`. `flags` are NLM_F_* besides NLM_F_REQUEST and NLM_F_ACK.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn request(
        &mut self,
        kind: u16,
        flags: u16,
        body: &[u8],
        mut take: impl FnMut(&[u8]),
    ) -> Result<(), Refused> {
        Requests::request(self, kind, flags, body, &mut take)
    }

    /// Asks for all objects of a kind. `keep` gets each message and where to
    /// put what it wants of it.
    ///
    /// When the objects change on the way, the kernel says so
    /// (NLM_F_DUMP_INTR): some may then be missing or there twice, so what was
    /// kept is dropped and the dump begins anew.
    ///
    /// # Errors
    /// What the kernel says; EINTR when they change faster than they can be read.
    pub fn dump<T>(
        &mut self,
        kind: u16,
        body: &[u8],
        keep: impl FnMut(&[u8], &mut Vec<T>),
    ) -> Result<Vec<T>, Refused> {
        whole_dump(self, kind, body, keep)
    }

    /// Sends `parts` of a batch, one transaction whose messages have the
    /// `sequence_numbers`.
    ///
    /// # Errors
    /// The sequence number of the first message that was refused, 0 when it was
    /// the batch, and why. Nothing of the batch counts then.
    pub fn transact<'a>(
        &mut self,
        parts: impl IntoIterator<Item = &'a [u8]>,
        sequence_numbers: impl ExactSizeIterator<Item = u32>,
    ) -> Result<(), (u32, Refused)> {
        // Batches are numbered from 1: what an earlier one that failed has left
        // would be taken for an answer to this one.
        let mut buffer = Buffer::new();
        while self.receive(&mut buffer).is_ok() {}
        let broken = |error: io::Error| (0, error.into());
        self.socket.send_all(parts).map_err(broken)?;
        let mut unanswered = sequence_numbers.len();
        while unanswered > 0 {
            for message in self.receive(&mut buffer).map_err(broken)? {
                if message.is_verdict() {
                    verdict(message.body).map_err(|refused| (message.sequence, refused))?;
                    unanswered = unanswered.saturating_sub(1);
                }
            }
        }
        Ok(())
    }

    /// Hands all events that wait to `take`, but for those that the socket with
    /// port `own` caused: our own doing is no news. Returns whether some were
    /// lost, because they came faster than they were read.
    ///
    /// # Errors
    /// The socket's.
    pub fn events(&mut self, own: u32, mut take: impl FnMut(Message)) -> io::Result<bool> {
        self.each_event(own, &mut take)
    }

    fn each_event(&mut self, own: u32, take: &mut dyn FnMut(Message)) -> io::Result<bool> {
        let (mut lost, mut buffer) = (false, Buffer::new());
        loop {
            match self.receive(&mut buffer) {
                Ok(messages) => messages
                    .filter(|message| message.port != own)
                    .for_each(&mut *take),
                Err(error) => match error.raw_os_error() {
                    Some(libc::EAGAIN) => return Ok(lost),
                    // Too many of them; one that is larger than the buffer.
                    Some(libc::ENOBUFS | libc::ENOSPC) => lost = true,
                    _ => return Err(error),
                },
            }
        }
    }

    fn send(&mut self, kind: u16, flags: u16, body: &[u8]) -> io::Result<()> {
        self.sequence = self.sequence.wrapping_add(1);
        let request = emit(kind, flags, self.sequence, body);
        self.socket.send(&request).map(|_| ())
    }

    /// Reads the whole answer; true unless a dump was interrupted by changes.
    fn answer(&mut self, take: &mut dyn FnMut(&[u8])) -> Result<bool, Refused> {
        let (mut answer, mut buffer) = (Answer::to(self.sequence), Buffer::new());
        while !answer.take(self.receive(&mut buffer)?, take)? {}
        Ok(!answer.interrupted)
    }

    fn receive<'a>(&self, buffer: &'a mut Buffer) -> io::Result<Messages<'a>> {
        loop {
            // With this flag it tells the length of what did not fit as well.
            match SockRef::from(self).recv_with_flags(&mut buffer.0, libc::MSG_TRUNC) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                received => {
                    let received = buffer.0.get(..received?);
                    let received = received.ok_or(io::Error::from_raw_os_error(libc::ENOSPC))?;
                    // SAFETY: so many bytes of the buffer were written just now.
                    let bytes = unsafe { &*(ptr::from_ref(received) as *const [u8]) };
                    return Ok(Messages(bytes));
                }
            }
        }
    }
}

impl AsFd for Netlink {
    fn as_fd(&self) -> BorrowedFd<'_> {
        // SAFETY: the socket is open for as long as `self` lives, and only
        // dropping it closes it.
        unsafe { BorrowedFd::borrow_raw(self.socket.as_raw_fd()) }
    }
}
