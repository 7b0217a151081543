//! Hears a router take its advertisement back: a router advertisement with a
//! lifetime of 0 (RFC 4861, section 6.2.5).
//!
//! The kernel then deletes the default route that it made itself, and looks for
//! it in main only (`rt6_get_dflt_router`). We moved it, so it finds nothing,
//! deletes nothing and tells nobody.

use std::io;
use std::mem::MaybeUninit;
use std::net::IpAddr;
use std::os::fd::{AsFd, BorrowedFd};

use socket2::{Domain, Protocol, SockFilter, Socket, Type};

/// ICMPv6 type of a router advertisement.
const ADVERTISEMENT: u32 = 134;
/// Where its lifetime is, in bytes from the ICMPv6 header; two bytes long.
const LIFETIME: u32 = 6;
/// Where the hop limit is, from the IPv6 header; 255 proves that no router
/// passed the packet on.
const HOP_LIMIT: u32 = 7;
/// Offsets from the network header, in a filter (SKF_NET_OFF of
/// linux/filter.h).
const NETWORK: u32 = (-0x10_0000_i32).cast_unsigned();

/// The raw socket. It wakes us for nothing else.
pub struct Withdrawals(Socket);

impl Withdrawals {
    /// Opens the socket. Needs CAP_NET_RAW.
    ///
    /// # Errors
    /// No such socket to be had: no IPv6, or no privilege.
    pub fn open() -> io::Result<Self> {
        let socket = Socket::new(Domain::IPV6, Type::RAW, Some(Protocol::ICMPV6))?;
        socket.set_nonblocking(true)?;
        socket.attach_filter(&filter())?;
        let withdrawals = Self(socket);
        // What came before the filter was there.
        let _ = withdrawals.drain();
        Ok(withdrawals)
    }

    /// Who took it back since the last call: device index and address.
    ///
    /// # Errors
    /// The socket's.
    pub fn drain(&self) -> io::Result<Vec<(u32, IpAddr)>> {
        let mut routers = Vec::new();
        loop {
            let mut nothing = [MaybeUninit::uninit(); 8];
            match self.0.recv_from(&mut nothing) {
                Ok((_, from)) => {
                    let from = from.as_socket_ipv6();
                    routers.extend(from.map(|from| (from.scope_id(), (*from.ip()).into())));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(routers),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}

impl AsFd for Withdrawals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Passes router advertisements with a lifetime of 0 that come from the link.
fn filter() -> [SockFilter; 8] {
    let load_byte = |offset| op(libc::BPF_LD | libc::BPF_B | libc::BPF_ABS, 0, 0, offset);
    let load_half = |offset| op(libc::BPF_LD | libc::BPF_H | libc::BPF_ABS, 0, 0, offset);
    // Goes on when equal, else as many instructions further.
    let equal_or_skip =
        |value, skip| op(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, 0, skip, value);
    let pass = |bytes| op(libc::BPF_RET | libc::BPF_K, 0, 0, bytes);
    [
        load_byte(0),
        equal_or_skip(ADVERTISEMENT, 5),
        load_half(LIFETIME),
        equal_or_skip(0, 3),
        load_byte(NETWORK + HOP_LIMIT),
        equal_or_skip(255, 1),
        pass(u32::MAX),
        pass(0),
    ]
}

fn op(code: u32, jump_true: u8, jump_false: u8, operand: u32) -> SockFilter {
    // All codes fit: they are built from single bits below 0x100.
    SockFilter::new(
        u16::try_from(code).unwrap_or(0),
        jump_true,
        jump_false,
        operand,
    )
}
