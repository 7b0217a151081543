//! A route and a rule as values: what makes two of them the same, and how they
//! read, which is the way ip(8) writes them.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use rtnetlink::packet_route::route::{RouteScope, RouteType};
use rtnetlink::packet_route::rule::RuleAction;

use crate::config::{Mark, Routing};
use crate::netlink::Attrs;
use crate::netlink::route::fra;

/// The route protocol (RTPROT_* of linux/rtnetlink.h, FRA_PROTOCOL of rules)
/// that says "ours". Free in the kernel's list and in OpenWrt's `rt_protos`.
pub const PROTOCOL: u8 = 54;
/// The other number of ours, for routes of which the first one would say the
/// wrong thing. A route of ours in the WAN's table that leads away (through a
/// router, or to everywhere) was moved there out of main; with this number it
/// follows another one that stands in the table. An on-link route of ours is the
/// copy of one in main; with this number it was moved.
pub const EXCEPTION: u8 = 55;
/// RT_TABLE_MAIN of linux/rtnetlink.h.
pub const MAIN: u32 = 254;
/// RT_TABLE_LOCAL: what is for this node itself.
pub const LOCAL: u32 = 255;

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

/// One route with one next hop; a multipath route is several of these.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// Its routing table.
    pub table: u32,
    /// RTPROT_*: who made it.
    pub protocol: u8,
    /// Unicast, unreachable, …
    pub kind: RouteType,
    /// Whereto.
    pub destination: Prefix,
    /// Only for packets from there (IPv6, RFC 8043).
    pub source: Option<Prefix>,
    /// Only for packets with this TOS (IPv4).
    pub tos: u8,
    /// The lower, the better.
    pub metric: u32,
    /// Index of the device, 0 for a route that needs none.
    pub device: u32,
    /// The router, none when the destination is on-link.
    pub gateway: Option<IpAddr>,
    /// Whether the router counts as on-link in any case (RTNH_F_ONLINK).
    pub onlink: bool,
    /// How far the destination is (IPv4).
    pub scope: RouteScope,
    /// Which own address packets should carry.
    pub prefsrc: Option<IpAddr>,
    /// RFC 4191, as in the message (IPv6).
    pub preference: Option<u8>,
    /// MTU, hop limit and the like: RTA_METRICS as the kernel shows it.
    pub metrics: Vec<u8>,
    /// Seconds until the kernel forgets it; 0 and less: forgotten already.
    pub expires: Option<i32>,
    /// The nexthop object (ip-nexthop(8)) that it was made with.
    pub nexthop: Option<u32>,
    /// Whether it is one next hop of several that the kernel (IPv4) can only
    /// take away together.
    pub multipath: bool,
    /// What packets are wrapped in, mostly nothing: RTA_ENCAP_TYPE and RTA_ENCAP.
    pub encap: Vec<u8>,
}

/// What the kernel tells routes of one table apart by, without the metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Path {
    kind: u8,
    destination: Prefix,
    source: Option<Prefix>,
    tos: u8,
    device: u32,
    gateway: Option<IpAddr>,
}

impl Route {
    /// An on-link route of ours to start from.
    #[must_use]
    pub fn ours(table: u32, destination: Prefix, device: u32) -> Self {
        Self {
            table,
            protocol: PROTOCOL,
            kind: RouteType::Unicast,
            destination,
            source: None,
            tos: 0,
            metric: 0,
            device,
            gateway: None,
            onlink: false,
            scope: RouteScope::Universe,
            prefsrc: None,
            preference: None,
            metrics: Vec::new(),
            expires: None,
            nexthop: None,
            multipath: false,
            encap: Vec::new(),
        }
    }

    /// The family.
    #[must_use]
    pub fn family(&self) -> Family {
        Family::of(self.destination.addr)
    }

    /// Whether it is a default route, for all sources or some.
    #[must_use]
    pub fn is_default(&self) -> bool {
        self.destination.len == 0
    }

    /// Whether it leads through a router or to everywhere, so beyond the link.
    #[must_use]
    pub fn leads_away(&self) -> bool {
        self.is_default() || self.gateway.is_some()
    }

    /// Whether it is ours.
    #[must_use]
    pub fn is_ours(&self) -> bool {
        matches!(self.protocol, PROTOCOL | EXCEPTION)
    }

    /// Whether the kernel told only the number of its nexthop object, and not
    /// where that leads (`nexthop_compat_mode=0`).
    #[must_use]
    pub fn is_told_by_nexthop(&self) -> bool {
        self.nexthop.is_some() && self.device == 0 && self.kind == RouteType::Unicast
    }

    /// Whether its time is over; the kernel keeps it listed for a while.
    #[must_use]
    pub fn is_expired(&self) -> bool {
        self.expires.is_some_and(|seconds| seconds <= 0)
    }

    /// Which way it leads, whatever its metric and protocol.
    #[must_use]
    pub fn path(&self) -> Path {
        Path {
            kind: self.kind.into(),
            destination: self.destination,
            source: self.source,
            tos: self.tos,
            device: self.device,
            gateway: self.gateway,
        }
    }

    /// What routes compete for: the same packets. The path of any such route.
    #[must_use]
    pub fn way(&self) -> Path {
        Path {
            device: 0,
            gateway: None,
            ..self.path()
        }
    }

    /// Whether the kernel would treat packets the same with either; who made
    /// them and how long they live aside.
    #[must_use]
    pub fn does_the_same_as(&self, other: &Self) -> bool {
        self.path() == other.path()
            && self.metric == other.metric
            && self.prefsrc == other.prefsrc
            && self.onlink == other.onlink
            && self.scope == other.scope
            && self.preference == other.preference
            && self.metrics == other.metrics
            && self.encap == other.encap
            && (self.protocol == EXCEPTION) == (other.protocol == EXCEPTION)
    }
}

/// One rule (ip-rule(8)).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// IPv4 or IPv6.
    pub family: Family,
    /// RTPROT_*: who made it.
    pub protocol: u8,
    /// The lower, the earlier.
    pub priority: u32,
    /// Which packets: those with this mark.
    pub mark: Option<Mark>,
    /// Where it looks, 0 when its action needs none.
    pub table: u32,
    /// What it does. `ToTable` looks in the table; one that says nothing
    /// (`Unspec`) is taken by the kernel and fails every look-up with EINVAL.
    pub action: RuleAction,
    /// What else it asks for or does, empty for what we make.
    pub others: Others,
}

/// The parts of a rule that nothing we make has: kept to tell and to delete it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Others {
    /// Bits of the destination and of the source that count.
    pub prefix_lens: (u8, u8),
    /// TOS.
    pub tos: u8,
    /// `not`.
    pub inverted: bool,
    /// Addresses, devices, ports, …: attributes as the kernel shows them.
    pub attributes: Vec<u8>,
}

impl Others {
    /// Whether they ask for packets from, or to, some addresses.
    #[must_use]
    pub fn are_of_some_addresses(&self) -> bool {
        Attrs(&self.attributes).any(|(kind, _)| matches!(kind, fra::SRC | fra::DST))
    }
}

impl Rule {
    /// Whether it is ours.
    #[must_use]
    pub fn is_ours(&self) -> bool {
        self.protocol == PROTOCOL
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

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} rule", self.family)?;
        if self.others.inverted {
            f.write_str(" not")?;
        }
        if let Some(mark) = self.mark {
            write!(f, " fwmark {mark}")?;
        }
        match self.action {
            RuleAction::ToTable => match self.table {
                MAIN => f.write_str(" lookup main")?,
                LOCAL => f.write_str(" lookup local")?,
                table => write!(f, " lookup {table}")?,
            },
            RuleAction::Unreachable => f.write_str(" unreachable")?,
            other => write!(f, " action {}", u8::from(other))?,
        }
        write!(f, " priority {}", self.priority)?;
        let plain = Others {
            inverted: self.others.inverted,
            ..Others::default()
        };
        if self.others != plain {
            f.write_str(" with more conditions")?;
        }
        Ok(())
    }
}

/// A route in words; the route itself knows its device only by number.
pub struct Shown<'a>(pub &'a Route, pub &'a str);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(route, device) = self;
        write!(f, "{} route", route.family())?;
        match route.kind {
            RouteType::Unicast => {}
            RouteType::Unreachable => f.write_str(" unreachable")?,
            other => write!(f, " type {}", u8::from(other))?,
        }
        write!(f, " {}", route.destination)?;
        if let Some(source) = &route.source {
            write!(f, " from {source}")?;
        }
        if let Some(gateway) = route.gateway {
            write!(f, " via {gateway}")?;
        }
        if route.device != 0 {
            write!(f, " dev {device}")?;
        }
        match route.table {
            MAIN => f.write_str(" table main")?,
            table => write!(f, " table {table}")?,
        }
        if route.metric != 0 {
            write!(f, " metric {}", route.metric)?;
        }
        Ok(())
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
