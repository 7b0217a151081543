//! A route as a value: what makes two of them the same, and how it reads, which
//! is the way ip(8) writes it.

use std::fmt;
use std::net::IpAddr;

use rtnetlink::packet_route::route::{RouteScope, RouteType};

use super::prefix::{Family, Prefix};

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
    /// Seconds until the kernel forgets it; 0 and less: forgotten already.
    pub expires: Option<i32>,
    /// The nexthop object (ip-nexthop(8)) that it was made with.
    pub nexthop: Option<u32>,
    /// Whether it is one next hop of several that the kernel (IPv4) can only
    /// take away together.
    pub multipath: bool,
    /// MTU, hop limit and the like, and what packets are wrapped in: RTA_METRICS,
    /// RTA_ENCAP_TYPE and RTA_ENCAP as the kernel shows them, mostly nothing.
    pub extras: Vec<u8>,
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
            expires: None,
            nexthop: None,
            multipath: false,
            extras: Vec::new(),
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
            && self.extras == other.extras
            && (self.protocol == EXCEPTION) == (other.protocol == EXCEPTION)
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
