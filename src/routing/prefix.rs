//! The two families of addresses, and prefixes of them.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::config::Routing;

/// Which of the two routing systems of the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Family {
    /// IPv6, Gluon's usual one.
    Ipv6,
    /// IPv4.
    Ipv4,
}

impl Family {
    /// Both, in the order in which they are looked after.
    pub const ALL: [Self; 2] = [Self::Ipv6, Self::Ipv4];

    /// The family of an address.
    #[must_use]
    pub fn of(addr: IpAddr) -> Self {
        match addr {
            IpAddr::V4(_) => Self::Ipv4,
            IpAddr::V6(_) => Self::Ipv6,
        }
    }

    /// Whether the WAN is to be separated in this family.
    #[must_use]
    pub fn is_in(self, routing: &Routing) -> bool {
        match self {
            Self::Ipv6 => routing.ipv6,
            Self::Ipv4 => routing.ipv4,
        }
    }

    /// `0.0.0.0` or `::`.
    #[must_use]
    pub fn unspecified(self) -> IpAddr {
        match self {
            Self::Ipv4 => Ipv4Addr::UNSPECIFIED.into(),
            Self::Ipv6 => Ipv6Addr::UNSPECIFIED.into(),
        }
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ipv6 => "IPv6",
            Self::Ipv4 => "IPv4",
        })
    }
}

/// An address and how many bits of it count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Prefix {
    /// Its other bits are 0.
    pub addr: IpAddr,
    /// 0 to 32 or 128.
    pub len: u8,
}

impl Prefix {
    /// The network of an address.
    #[must_use]
    pub fn around(addr: IpAddr, len: u8) -> Self {
        let addr = match addr {
            IpAddr::V4(addr) => {
                let host = u32::MAX.checked_shr(len.into()).unwrap_or(0);
                IpAddr::V4((u32::from(addr) & !host).into())
            }
            IpAddr::V6(addr) => {
                let host = u128::MAX.checked_shr(len.into()).unwrap_or(0);
                IpAddr::V6((u128::from(addr) & !host).into())
            }
        };
        Self { addr, len }
    }

    /// Whether all of `other` is within.
    #[must_use]
    pub fn covers(&self, other: &Self) -> bool {
        self.len <= other.len && self.contains(other.addr)
    }

    /// Whether it is one address.
    #[must_use]
    pub fn is_host(&self) -> bool {
        self.len == if self.addr.is_ipv4() { 32 } else { 128 }
    }

    /// Whether `addr` is one of the prefix's addresses.
    #[must_use]
    pub fn contains(&self, addr: IpAddr) -> bool {
        let (net, addr, width) = match (self.addr, addr) {
            (IpAddr::V4(net), IpAddr::V4(addr)) => {
                (u128::from(u32::from(net)), u128::from(u32::from(addr)), 32)
            }
            (IpAddr::V6(net), IpAddr::V6(addr)) => (u128::from(net), u128::from(addr), 128),
            _ => return false,
        };
        // A shift by the whole width is what 0 bits ask for.
        let differing = u32::from(width - self.len.min(width));
        (net ^ addr).checked_shr(differing).unwrap_or(0) == 0
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.len {
            0 => f.write_str("default"),
            len => write!(f, "{}/{len}", self.addr),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_contain_their_addresses() {
        for (net, len, addr, expected) in [
            ("192.0.2.0", 24, "192.0.2.255", true),
            ("192.0.2.0", 24, "192.0.3.0", false),
            ("192.0.2.7", 32, "192.0.2.7", true),
            ("192.0.2.7", 32, "192.0.2.6", false),
            ("0.0.0.0", 0, "255.0.0.1", true),
            ("0.0.0.0", 0, "::1", false),
            ("2001:db8::", 32, "2001:db8:ffff::1", true),
            ("2001:db8::", 32, "2001:db9::1", false),
            ("::", 0, "ffff::1", true),
            ("fe80::1", 128, "fe80::1", true),
        ] {
            let net = Prefix {
                addr: net.parse().unwrap(),
                len,
            };
            assert_eq!(
                net.contains(addr.parse().unwrap()),
                expected,
                "{net} {addr}"
            );
        }
    }
}
