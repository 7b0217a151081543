//! Addresses and prefixes.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Which of the kernel's two routing systems.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Family {
    V4,
    V6,
}

impl Family {
    pub fn of(addr: IpAddr) -> Self {
        match addr {
            IpAddr::V4(_) => Self::V4,
            IpAddr::V6(_) => Self::V6,
        }
    }

    /// Bits of an address.
    pub fn width(self) -> u8 {
        match self {
            Self::V4 => 32,
            Self::V6 => 128,
        }
    }

    pub fn unspecified(self) -> IpAddr {
        match self {
            Self::V4 => Ipv4Addr::UNSPECIFIED.into(),
            Self::V6 => Ipv6Addr::UNSPECIFIED.into(),
        }
    }
}

/// An address as a number whose highest bit is the address's first.
pub fn bits(addr: IpAddr) -> u128 {
    match addr {
        IpAddr::V4(addr) => u128::from(u32::from(addr)) << 96,
        IpAddr::V6(addr) => addr.into(),
    }
}

fn from_bits(family: Family, bits: u128) -> IpAddr {
    match family {
        Family::V4 => Ipv4Addr::from((bits >> 96) as u32).into(),
        Family::V6 => Ipv6Addr::from(bits).into(),
    }
}

/// A prefix; what is behind its length is 0.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Net {
    pub addr: IpAddr,
    pub len: u8,
}

impl Net {
    /// The prefix of that length that has the address.
    pub fn of(addr: IpAddr, len: u8) -> Self {
        let mask = u128::MAX.checked_shl(128 - u32::from(len)).unwrap_or(0);
        Self {
            addr: from_bits(Family::of(addr), bits(addr) & mask),
            len,
        }
    }

    pub fn all(family: Family) -> Self {
        Self::of(family.unspecified(), 0)
    }

    pub fn host(addr: IpAddr) -> Self {
        Self::of(addr, Family::of(addr).width())
    }

    pub fn family(&self) -> Family {
        Family::of(self.addr)
    }

    pub fn contains(&self, addr: IpAddr) -> bool {
        Family::of(addr) == self.family() && Self::of(addr, self.len) == *self
    }
}

/// The prefix that `text` writes, as `ADDR/LEN` or `ADDR`.
pub fn net(text: &str) -> Net {
    match text.split_once('/') {
        Some((addr, len)) => Net::of(addr.parse().unwrap(), len.parse().unwrap()),
        None => Net::host(text.parse().unwrap()),
    }
}

impl fmt::Debug for Net {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.addr, self.len)
    }
}
