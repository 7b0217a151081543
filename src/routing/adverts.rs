//! Hears the routers of the WAN: when one takes its advertisement back, with a
//! lifetime of 0 (RFC 4861, section 6.2.5), and when one's lifetime is over.
//!
//! The kernel, or netifd where that takes the advertisements, then deletes the
//! default route that it made, and looks for it in main only. We moved it, so it
//! finds nothing, deletes nothing, and nobody is told.

use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use socket2::{Domain, Protocol, SockFilter, SockRef, Socket, Type};

use super::state::Withdrawn;

/// ICMPv6 type of a router advertisement.
const ADVERTISEMENT: u32 = 134;
/// Where its lifetime is, in bytes from the ICMPv6 header; two bytes long.
const LIFETIME: usize = 6;
/// Where the hop limit is, from the IPv6 header; 255 proves that no router
/// passed the packet on.
const HOP_LIMIT: u32 = 7;
/// Offsets from the network header, in a filter (SKF_NET_OFF of
/// linux/filter.h), and of what the kernel knows besides (SKF_AD_OFF,
/// SKF_AD_IFINDEX).
const NETWORK: u32 = (-0x10_0000_i32).cast_unsigned();
const DEVICE: u32 = (-0x1000_i32).cast_unsigned() + 8;
/// More devices than this are listened to without a filter on them.
const MAX_DEVICES: usize = 50;
/// As many routers are remembered, those that spoke last.
const MAX_ROUTERS: usize = 64;

/// The routers of the WAN. Wakes us for nothing but their advertisements.
pub struct Routers {
    /// A raw one; the type is that of what gives a datagram with its sender.
    socket: UdpSocket,
    devices: Vec<u32>,
    heard: Vec<Heard>,
}

/// A router that said that it is one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Heard {
    device: u32,
    router: IpAddr,
    until: Instant,
}

impl Routers {
    /// Opens the socket. Needs CAP_NET_RAW.
    ///
    /// # Errors
    /// No such socket to be had: no IPv6, or no privilege.
    pub fn open() -> io::Result<Self> {
        let socket = Socket::new(Domain::IPV6, Type::RAW, Some(Protocol::ICMPV6))?;
        socket.set_nonblocking(true)?;
        socket.attach_filter(&filter(&[]))?;
        let mut routers = Self {
            socket: socket.into(),
            devices: Vec::new(),
            heard: Vec::new(),
        };
        // What came before the filter was there.
        let _ = routers.drain(Instant::now());
        Ok(routers)
    }

    /// Listens on these devices, by index, and on no other.
    ///
    /// # Errors
    /// The kernel's limits.
    pub fn listen_on(&mut self, devices: &[u32]) -> io::Result<()> {
        if self.devices != devices {
            SockRef::from(&self.socket).attach_filter(&filter(devices))?;
            self.devices = devices.to_vec();
            self.heard.retain(|one| devices.contains(&one.device));
        }
        Ok(())
    }

    /// Who is no router any more since the last call.
    ///
    /// # Errors
    /// The socket's.
    pub fn drain(&mut self, now: Instant) -> io::Result<Vec<Withdrawn>> {
        let mut withdrawn = Vec::new();
        let mut start = [0; LIFETIME + 2];
        loop {
            match self.socket.recv_from(&mut start) {
                Ok((length, SocketAddr::V6(from))) if length == start.len() => {
                    let lifetime = u16::from_be_bytes([start[LIFETIME], start[LIFETIME + 1]]);
                    let (device, router) = (from.scope_id(), IpAddr::from(*from.ip()));
                    let gone = hear(&mut self.heard, device, router, lifetime, now);
                    withdrawn.extend(gone.filter(|one| self.devices.contains(&one.device)));
                }
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        withdrawn.extend(expire(&mut self.heard, now));
        Ok(withdrawn)
    }

    /// When the first lifetime is over.
    #[must_use]
    pub fn next(&self) -> Option<Instant> {
        self.heard.iter().map(|one| one.until).min()
    }
}

impl AsFd for Routers {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// Takes note of an advertisement; whether it is a farewell.
fn hear(
    heard: &mut Vec<Heard>,
    device: u32,
    router: IpAddr,
    lifetime: u16,
    now: Instant,
) -> Option<Withdrawn> {
    let known = heard.len();
    heard.retain(|one| (one.device, one.router) != (device, router));
    if lifetime == 0 {
        return Some(Withdrawn {
            device,
            router,
            was_default: heard.len() < known,
        });
    }
    if heard.len() == MAX_ROUTERS {
        heard.remove(0);
    }
    heard.push(Heard {
        device,
        router,
        until: now + Duration::from_secs(lifetime.into()),
    });
    None
}

/// Takes out those whose lifetime is over.
fn expire(heard: &mut Vec<Heard>, now: Instant) -> Vec<Withdrawn> {
    let over = heard.extract_if(.., |one| one.until <= now);
    over.map(|one| Withdrawn {
        device: one.device,
        router: one.router,
        was_default: true,
    })
    .collect()
}

/// Passes router advertisements that come from the link, through one of these
/// devices.
fn filter(devices: &[u32]) -> Vec<SockFilter> {
    let load_byte = |offset| op(libc::BPF_LD | libc::BPF_B | libc::BPF_ABS, 0, 0, offset);
    let load_word = |offset| op(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, offset);
    // Goes on as many instructions further when equal, and when not.
    let equal = |value, yes, no| op(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, yes, no, value);
    let pass = |bytes| op(libc::BPF_RET | libc::BPF_K, 0, 0, bytes);
    let mut filter = vec![
        load_byte(0),
        equal(ADVERTISEMENT, 1, 0),
        pass(0),
        load_byte(NETWORK + HOP_LIMIT),
        equal(255, 1, 0),
        pass(0),
        load_word(DEVICE),
    ];
    for &device in devices.iter().take(MAX_DEVICES) {
        filter.push(equal(device, 0, 1));
        filter.push(pass(u32::MAX));
    }
    filter.push(pass(0));
    filter
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_router_is_one_until_it_says_otherwise_or_falls_silent() {
        let (mut heard, now) = (Vec::new(), Instant::now());
        let router: IpAddr = "fe80::1".parse().unwrap();
        let gone = |was_default| Withdrawn {
            device: 7,
            router,
            was_default,
        };
        // Who never said that it is one takes back nothing.
        assert_eq!(hear(&mut heard, 7, router, 0, now), Some(gone(false)));
        assert_eq!(hear(&mut heard, 7, router, 30, now), None);
        assert_eq!(
            hear(&mut heard, 8, router, 0, now).map(|one| one.device),
            Some(8)
        );
        assert_eq!(hear(&mut heard, 7, router, 0, now), Some(gone(true)));
        assert_eq!(heard, []);
        hear(&mut heard, 7, router, 30, now);
        let later = now + Duration::from_secs(20);
        hear(&mut heard, 7, router, 30, later);
        assert_eq!(expire(&mut heard, now + Duration::from_secs(31)), []);
        let over = now + Duration::from_secs(50);
        assert_eq!(expire(&mut heard, over), [gone(true)]);
        assert_eq!(expire(&mut heard, over), []);
    }

    #[test]
    fn no_more_routers_than_there_is_room_for() {
        let (mut heard, now) = (Vec::new(), Instant::now());
        for number in 0..1000_u16 {
            let router = std::net::Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, number);
            hear(&mut heard, 7, router.into(), 1800, now);
        }
        assert_eq!(heard.len(), MAX_ROUTERS);
    }
}
