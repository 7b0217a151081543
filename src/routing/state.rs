//! What the kernel has, as far as it matters, as plain values.

use std::net::IpAddr;

use super::prefix::Prefix;
use super::route::Route;
use super::rule::Rule;

/// A device as the kernel has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// Its number; another one whenever it is made again.
    pub index: u32,
    /// Its name.
    pub name: String,
    /// Whether it is administratively up (IFF_UP).
    pub up: bool,
}

/// An address of this node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    /// Index of its device.
    pub device: u32,
    /// The address.
    pub addr: IpAddr,
    /// What is on-link because of it: its network, or the other end of a
    /// point-to-point link.
    pub network: Prefix,
    /// Whether new packets may carry it: it is neither deprecated nor still, or
    /// for good, a possible duplicate.
    pub preferred: bool,
}

impl Address {
    /// Whether it says that somebody configured the device: the kernel makes
    /// link-local addresses by itself.
    #[must_use]
    pub fn is_configured(&self) -> bool {
        !matches!(self.addr, IpAddr::V6(addr) if addr.is_unicast_link_local())
    }
}

/// A router that is none any more, or none for now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Withdrawn {
    /// Index of the device that it is behind.
    pub device: u32,
    /// Its link-local address.
    pub router: IpAddr,
    /// Whether it has been heard to be a default router before. What has no
    /// lifetime in the kernel ends with it only then: netifd keeps that for its
    /// router advertisements itself, and who configured a route by hand may
    /// have a router that never advertised itself.
    pub was_default: bool,
}

/// What the kernel has.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Present {
    /// The WAN's devices that exist, in the order of their names.
    pub links: Vec<Link>,
    /// The addresses of all devices.
    pub addresses: Vec<Address>,
    /// The rules, anybody's, in the order in which the kernel asks them.
    pub rules: Vec<Rule>,
    /// The routes of main through the WAN's devices. A multipath route is here
    /// with all its next hops.
    pub main: Vec<Route>,
    /// The routes of the WAN's table that matter, and ours wherever they are.
    pub table: Vec<Route>,
    /// Routes through the WAN's routers in further tables that somebody's rule
    /// leads to.
    pub elsewhere: Vec<Route>,
    /// What was moved earlier and should still be in the table; empty when
    /// nobody remembers.
    pub moved: Vec<Route>,
    /// The addresses at the last look; empty when nobody remembers.
    pub before: Vec<Address>,
    /// Routers that are none any more.
    pub withdrawn: Vec<Withdrawn>,
}
