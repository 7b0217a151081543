//! The kernel of routing, as far as this program and those around it can tell:
//! links, addresses, rules and tables, and where a packet goes.
//!
//! It follows Linux 6.18 file by file; each module names the one it follows.
//! `agrees` compares it with the kernel of the machine, on random states.
//!
//! What it leaves out: neighbours (every router is as reachable as any other),
//! cached and redirected routes, VRFs, forwarded packets' reverse path filter.
//! Where the kernel throws dice (several next hops, several default routes with
//! one metric) the answer is the set of all that it may do.

pub mod addresses;
pub mod agrees;
pub mod fib4;
pub mod fib6;
pub mod net;
pub mod netlink;
pub mod rules;
pub mod source;

use std::net::IpAddr;

use libc::EHOSTUNREACH;
use net::{Family, Net};
use rtnetlink::packet_route::route::RouteMetric;

/// Tables of linux/rtnetlink.h.
pub const MAIN: u32 = 254;
pub const LOCAL: u32 = 255;
pub const DEFAULT: u32 = 253;
/// RTPROT_* of the same file.
pub const KERNEL: u8 = 2;
pub const BOOT: u8 = 3;
pub const STATIC: u8 = 4;
pub const RA: u8 = 9;
/// RT_SCOPE_* of the same file.
pub const UNIVERSE: u8 = 0;
pub const LINK: u8 = 253;
pub const HOST: u8 = 254;
pub const NOWHERE: u8 = 255;
/// The index of `lo` (LOOPBACK_IFINDEX).
pub const LO: u32 = 1;

/// A refusal: libc's `E…`.
pub type Errno = i32;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    pub index: u32,
    pub name: String,
    pub up: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Addr {
    pub dev: u32,
    pub addr: IpAddr,
    pub len: u8,
    /// IFA_F_NOPREFIXROUTE (IPv6).
    pub noprefixroute: bool,
}

/// RTN_* of linux/rtnetlink.h.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    Unicast,
    Local,
    Broadcast,
    Unreachable,
    Blackhole,
    Prohibit,
    Throw,
}

impl Kind {
    /// What a packet that finds it is told (fib_props of
    /// net/ipv4/fib_semantics.c, ip6_rt_type_to_error of net/ipv6/route.c).
    pub fn error(self) -> Option<Errno> {
        match self {
            Self::Unicast | Self::Local | Self::Broadcast => None,
            Self::Unreachable => Some(EHOSTUNREACH),
            Self::Blackhole => Some(libc::EINVAL),
            Self::Prohibit => Some(libc::EACCES),
            Self::Throw => Some(libc::EAGAIN),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Hop {
    pub dev: u32,
    pub via: Option<IpAddr>,
    pub onlink: bool,
    /// Its device is down, and others keep the route (IPv4).
    pub dead: bool,
}

/// A route. IPv6 keeps one for each next hop, as the kernel does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    pub table: u32,
    pub proto: u8,
    pub kind: Kind,
    pub dst: Net,
    /// IPv6, of any length but 0.
    pub src: Option<Net>,
    pub tos: u8,
    pub metric: u32,
    /// None for IPv4 routes that lead nowhere; IPv6 hangs those on `lo`.
    pub hops: Vec<Hop>,
    pub scope: u8,
    pub prefsrc: Option<IpAddr>,
    /// RFC 4191: 0 medium, 1 high, 3 low (IPv6).
    pub pref: u8,
    /// When the kernel forgets it, in milliseconds of the kernel's clock (IPv6).
    pub expires: Option<u64>,
    /// Made by the kernel from a router's advertisement (RTF_ADDRCONF).
    pub ra: bool,
    pub metrics: Vec<RouteMetric>,
}

impl Route {
    /// A unicast route with one next hop, as ip(8) would make it.
    pub fn new(table: u32, dst: Net, dev: u32, via: Option<IpAddr>) -> Self {
        Self {
            table,
            proto: STATIC,
            kind: Kind::Unicast,
            dst,
            src: None,
            tos: 0,
            metric: 0,
            hops: vec![Hop {
                dev,
                via,
                onlink: false,
                dead: false,
            }],
            scope: match dst.family() {
                Family::V4 if via.is_none() => LINK,
                _ => UNIVERSE,
            },
            prefsrc: None,
            pref: 0,
            expires: None,
            ra: false,
            metrics: Vec::new(),
        }
    }

    /// One that leads nowhere.
    pub fn reject(table: u32, dst: Net, kind: Kind) -> Self {
        let mut route = Self::new(table, dst, LO, None);
        route.kind = kind;
        if dst.family() == Family::V4 {
            route.hops.clear();
            route.scope = UNIVERSE;
        }
        route
    }

    pub fn family(&self) -> Family {
        self.dst.family()
    }

    pub fn is_through(&self, dev: u32) -> bool {
        self.hops.iter().any(|hop| hop.dev == dev)
    }
}

/// NLM_F_* of a request for a new route.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct How {
    pub create: bool,
    pub excl: bool,
    pub replace: bool,
    pub append: bool,
}

/// `ip route add`.
pub const ADD: How = How {
    create: true,
    excl: true,
    replace: false,
    append: false,
};
/// `ip route replace`.
pub const REPLACE: How = How {
    create: true,
    excl: false,
    replace: true,
    append: false,
};
/// `ip route append`.
pub const APPEND: How = How {
    create: true,
    excl: false,
    replace: false,
    append: true,
};
/// `ip route prepend`.
pub const PREPEND: How = How {
    create: true,
    excl: false,
    replace: false,
    append: false,
};

/// A packet before it has a way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Flow {
    pub dst: IpAddr,
    pub src: Option<IpAddr>,
    pub mark: u32,
    /// Where it came from: `lo` for what the node itself sends.
    pub iif: u32,
    /// Which device the socket is bound to, 0 for none.
    pub oif: u32,
}

impl Flow {
    /// What the node itself sends.
    pub fn own(dst: IpAddr, src: Option<IpAddr>, mark: u32) -> Self {
        Self {
            dst,
            src,
            mark,
            iif: LO,
            oif: 0,
        }
    }
}

/// What becomes of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    Out {
        dev: u32,
        via: Option<IpAddr>,
    },
    /// It is for the node itself.
    Local,
    /// It goes nowhere, and the sender is told so.
    Error(Errno),
}

/// What is told to who listens (multicast groups of rtnetlink(7)).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Notice {
    NewRoute(Route),
    DelRoute(Route),
    NewRule(rules::Rule),
    DelRule(rules::Rule),
    Link { link: Link, gone: bool },
    Addr { addr: Addr, gone: bool },
}

#[derive(Debug, Clone, Default)]
pub struct Kernel {
    pub links: Vec<Link>,
    pub addrs: Vec<Addr>,
    /// In their order, both families.
    pub rules: Vec<rules::Rule>,
    /// Those of one prefix stand in the order of the kernel's list.
    pub routes: Vec<Route>,
    /// Milliseconds since it booted.
    pub now: u64,
    /// What was told since somebody took it away.
    pub notices: Vec<Notice>,
    next_index: u32,
    /// Tables that have been made; IPv4 and IPv6.
    tables: Vec<(Family, u32)>,
}

impl Kernel {
    /// A machine that has just booted: `lo` is up, nothing else is there.
    pub fn boot() -> Self {
        let mut kernel = Self {
            next_index: LO,
            ..Self::default()
        };
        kernel.rules = rules::of_boot();
        let lo = kernel.add_link("lo");
        kernel.set_link(lo, true);
        kernel.notices.clear();
        kernel
    }

    pub fn link(&self, index: u32) -> Option<&Link> {
        self.links.iter().find(|link| link.index == index)
    }

    pub fn index(&self, name: &str) -> Option<u32> {
        let link = self.links.iter().find(|link| link.name == name);
        link.map(|link| link.index)
    }

    pub fn is_up(&self, index: u32) -> bool {
        self.link(index).is_some_and(|link| link.up)
    }

    /// Makes or changes a route (RTM_NEWROUTE).
    pub fn new_route(&mut self, route: Route, how: How) -> Result<(), Errno> {
        match route.family() {
            Family::V4 => self.new_route4(route, how),
            Family::V6 => self.new_route6(route, how),
        }
    }

    /// Where a packet goes: all that may happen to it, in order.
    pub fn way(&self, flow: Flow) -> Vec<Verdict> {
        let mut verdicts = match Family::of(flow.dst) {
            Family::V4 => self.way4(flow),
            Family::V6 => self.way6(flow),
        };
        verdicts.sort_unstable();
        verdicts.dedup();
        verdicts
    }

    /// Time passes. With `gc` the kernel also takes away what has expired
    /// (fib6_run_gc of net/ipv6/ip6_fib.c); it does so every 30 s.
    pub fn pass(&mut self, milliseconds: u64, gc: bool) {
        self.now += milliseconds;
        if gc {
            let now = self.now;
            self.remove_routes(|route| route.expires.is_some_and(|end| end <= now));
        }
    }

    fn is_expired(&self, route: &Route) -> bool {
        route.expires.is_some_and(|end| end <= self.now)
    }

    fn remove_routes(&mut self, which: impl Fn(&Route) -> bool) {
        let (gone, kept) = std::mem::take(&mut self.routes)
            .into_iter()
            .partition::<Vec<_>, _>(|route| which(route));
        self.routes = kept;
        self.notices.extend(gone.into_iter().map(Notice::DelRoute));
    }

    fn has_table(&self, family: Family, table: u32) -> bool {
        table == MAIN || table == LOCAL || self.tables.contains(&(family, table))
    }

    fn make_table(&mut self, family: Family, table: u32) {
        if !self.has_table(family, table) {
            self.tables.push((family, table));
        }
    }
}
