//! The netlink socket of netfilter: requests out, messages in.
//!
//! Everything here is plain bytes (linux/netlink.h, linux/netfilter/nfnetlink.h);
//! what a message means is known to those who ask.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use nftnl::nftnl_sys::libc;

use super::attrs::Attrs;

/// The largest message the kernel makes up for a reader (netlink_dump of
/// net/netlink/af_netlink.c).
const BUFFER: usize = 32 * 1024;
const HEADER: usize = 16;
const NFGENMSG: usize = 4;
const ERROR: u16 = libc::NLMSG_ERROR as u16;
const DONE: u16 = libc::NLMSG_DONE as u16;
const DUMP_INTR: u16 = libc::NLM_F_DUMP_INTR as u16;

/// A socket that never blocks: netfilter answers while it takes the request.
pub struct Netlink {
    socket: mnl::Socket,
    buffer: Box<Aligned>,
    seq: u32,
}

/// What libmnl wants of a buffer: aligned as nlmsghdr is.
#[repr(align(8))]
struct Aligned([u8; BUFFER]);

/// One message of netfilter.
#[derive(Clone, Copy)]
pub struct Message<'a> {
    /// NFPROTO_*.
    pub family: u8,
    /// Of nf_tables: the lower half of the ruleset's generation.
    pub generation: u16,
    /// What it carries.
    pub attrs: Attrs<'a>,
}

impl Netlink {
    /// Opens the socket; `groups` is the mask of multicast groups to hear.
    ///
    /// # Errors
    /// EPROTONOSUPPORT: a kernel without netfilter's netlink.
    pub fn open(groups: u32) -> io::Result<Self> {
        let socket = mnl::Socket::open(mnl::Bus::Netfilter)?;
        socket.bind(groups, 0)?;
        let this = Self {
            socket,
            buffer: Box::new(Aligned([0; BUFFER])),
            seq: 1,
        };
        let options = socket2::SockRef::from(&this);
        options.set_nonblocking(true)?;
        // libmnl leaves it open for the programs we start.
        options.set_cloexec(true)?;
        Ok(this)
    }

    /// Asks for one object (`dump` off) or for all there are, and hands every
    /// message of the answer to `each`.
    ///
    /// # Errors
    /// What the kernel says: ENOENT for an object that is not there; EINTR when
    /// it changed while the answer was on its way.
    pub fn request(
        &mut self,
        kind: u16,
        family: u8,
        dump: bool,
        attrs: &[u8],
        mut each: impl FnMut(Message),
    ) -> io::Result<()> {
        let flags = if dump {
            libc::NLM_F_DUMP
        } else {
            libc::NLM_F_ACK
        };
        self.seq += 1;
        let request = request(kind, flags as u16, self.seq, family, attrs);
        self.socket.send(&request)?;
        let mut interrupted = false;
        loop {
            for (header, body) in receive(&self.socket, &mut self.buffer)? {
                if header.seq != self.seq {
                    continue;
                }
                interrupted |= header.flags & DUMP_INTR != 0;
                match header.kind {
                    ERROR | DONE => {
                        errno(body)?;
                        let changed = io::ErrorKind::Interrupted;
                        return if interrupted {
                            Err(changed.into())
                        } else {
                            Ok(())
                        };
                    }
                    _ => {
                        if let Some(message) = message(body) {
                            each(message);
                        }
                    }
                }
            }
        }
    }

    /// Sends a batch, one transaction.
    ///
    /// # Errors
    /// The sequence number of the first message that was refused, if one was,
    /// and why. Nothing of the batch counts then.
    pub fn transact(&mut self, batch: &nftnl::FinalizedBatch) -> Result<(), (u32, io::Error)> {
        // Batches are numbered from 1: what an earlier one that failed has left
        // would be taken for an answer to this one.
        while receive(&self.socket, &mut self.buffer).is_ok() {}
        self.socket.send_all(batch).map_err(|error| (0, error))?;
        let mut unanswered = batch.sequence_numbers();
        while !unanswered.is_empty() {
            let answers = receive(&self.socket, &mut self.buffer).map_err(|error| (0, error))?;
            for (header, body) in answers.filter(|(header, _)| header.kind == ERROR) {
                errno(body).map_err(|error| (header.seq, error))?;
                unanswered.next();
            }
        }
        Ok(())
    }

    /// The events that wait, without waiting for more: none once all are read.
    ///
    /// # Errors
    /// ENOBUFS: some were lost; reading goes on.
    pub fn events(&mut self) -> io::Result<Option<impl Iterator<Item = Message<'_>>>> {
        match receive(&self.socket, &mut self.buffer) {
            Ok(messages) => Ok(Some(messages.filter_map(|(_, body)| message(body)))),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(error),
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

struct Header {
    kind: u16,
    flags: u16,
    seq: u32,
}

fn receive<'a>(
    socket: &mnl::Socket,
    buffer: &'a mut Aligned,
) -> io::Result<impl Iterator<Item = (Header, &'a [u8])>> {
    let len = socket.recv_raw(&mut buffer.0)?;
    let mut rest = buffer.0.get(..len).unwrap_or_default();
    Ok(std::iter::from_fn(move || split(&mut rest)))
}

/// Takes the first message off: its header and body. None where a message is
/// cut off; libmnl's own iterator would panic on an unpadded last one.
fn split<'a>(rest: &mut &'a [u8]) -> Option<(Header, &'a [u8])> {
    let header = rest.first_chunk::<HEADER>()?;
    let word = |at: usize| [header[at], header[at + 1], header[at + 2], header[at + 3]];
    let len = usize::try_from(u32::from_ne_bytes(word(0))).ok()?;
    let body = rest.get(HEADER..len)?;
    let header = Header {
        kind: u16::from_ne_bytes([header[4], header[5]]),
        flags: u16::from_ne_bytes([header[6], header[7]]),
        seq: u32::from_ne_bytes(word(8)),
    };
    *rest = rest.get(len.next_multiple_of(4)..).unwrap_or_default();
    Some((header, body))
}

/// What follows the header, which starts with nfgenmsg.
fn message(body: &[u8]) -> Option<Message<'_>> {
    let nfgenmsg = body.get(..NFGENMSG)?;
    Some(Message {
        family: nfgenmsg[0],
        generation: u16::from_be_bytes([nfgenmsg[2], nfgenmsg[3]]),
        attrs: Attrs(&body[NFGENMSG..]),
    })
}

/// What NLMSG_ERROR or NLMSG_DONE says: 0 or a negative errno.
fn errno(body: &[u8]) -> io::Result<()> {
    let code = body.get(..4).and_then(|code| code.try_into().ok());
    match code.map_or(0, i32::from_ne_bytes) {
        0 => Ok(()),
        code => Err(io::Error::from_raw_os_error(code.wrapping_neg())),
    }
}

fn request(kind: u16, flags: u16, seq: u32, family: u8, attrs: &[u8]) -> Vec<u8> {
    let len = HEADER + NFGENMSG + attrs.len();
    let mut bytes = Vec::with_capacity(len);
    // Lengths of requests are a few hundred bytes.
    bytes.extend((len as u32).to_ne_bytes());
    bytes.extend(kind.to_ne_bytes());
    bytes.extend((libc::NLM_F_REQUEST as u16 | flags).to_ne_bytes());
    bytes.extend(seq.to_ne_bytes());
    bytes.extend(0_u32.to_ne_bytes());
    bytes.extend([family, libc::NFNETLINK_V0 as u8, 0, 0]);
    bytes.extend(attrs);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_a_message() {
        let bytes = request(
            0x0a01,
            5,
            77,
            1,
            &[4_u16.to_ne_bytes(), 1_u16.to_ne_bytes()].concat(),
        );
        let mut two = [bytes.as_slice(), &bytes].concat();
        let mut rest = two.as_slice();
        for _ in 0..2 {
            let (header, body) = split(&mut rest).unwrap();
            assert_eq!((header.kind, header.flags, header.seq), (0x0a01, 5, 77));
            let message = message(body).unwrap();
            assert_eq!((message.family, message.generation), (1, 0));
            assert_eq!(message.attrs.count(), 1);
        }
        assert!(split(&mut rest).is_none());
        // Shorter than its own header, longer than what is there, cut off.
        for len in [0_u32, 15, 25] {
            two[..4].copy_from_slice(&len.to_ne_bytes());
            assert!(split(&mut &two[..24]).is_none(), "{len}");
        }
        assert!(split(&mut &two[..15]).is_none());
        assert!(message(&[1, 0, 0]).is_none());
    }

    #[test]
    fn the_kernels_verdict_is_an_errno() {
        let said = |code: i32| errno(&code.to_ne_bytes()).map_err(|error| error.raw_os_error());
        assert_eq!(said(0), Ok(()));
        assert_eq!(said(-libc::ENOENT), Err(Some(libc::ENOENT)));
        assert_eq!(said(i32::MIN), Err(Some(i32::MIN)));
        assert!(errno(&[]).is_ok());
    }
}
