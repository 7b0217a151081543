//! What others do to a node's routing: netifd and odhcp6c (as they were seen to on
//! OpenWrt 24.10), the kernel at a router's advertisement, DHCP's option 121,
//! the mesh, and whoever has a shell.
//!
//! An event is a few requests to the kernel, which may be far apart: what we do
//! falls between them.

use std::net::IpAddr;

use proptest::prelude::*;

use crate::kernel::net::{Family, Net, net};
use crate::kernel::rules::{Action, Rule};
use crate::kernel::{ADD, APPEND, How, Kernel, Kind, LOCAL, MAIN, REPLACE, Route, STATIC};

/// The WAN's table, the mark and the protocol number, as shipped.
pub const TABLE: u32 = 1;
pub const MARK: u32 = 1;
pub const OURS: [u8; 2] = [54, 55];

pub fn is_ours(proto: u8) -> bool {
    OURS.contains(&proto)
}

/// The mark of the rule and whether a rule is one of Gluon's own.
const UNREACHABLE_METRIC: u32 = 65535;

/// The devices of the node by number.
pub const DEVICES: [&str; 4] = ["br-wan", "wwan0", "bat0", "br-client"];
/// Those of the WAN come first.
pub const UPLINKS: usize = 2;

/// An interface of netifd's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Iface {
    /// 0: on br-wan, 1: on wwan0.
    pub dev: u8,
    pub v6: bool,
    /// `ip6table 1` or `ip4table 1`.
    pub table: bool,
    /// `sourcefilter 1`, netifd's default (IPv6).
    pub filtered: bool,
    /// Which prefix the provider gives.
    pub prefix: u8,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// netifd brings an interface up, or anew with another prefix.
    IfUp(Iface),
    /// And takes it down.
    IfDown(Iface),
    /// The kernel hears a router of the WAN.
    Advertisement {
        dev: u8,
        router: u8,
        lifetime: u16,
        pref: u8,
    },
    /// Routes by DHCP's option 121, or by a router (RFC 4191): wide ones, a host
    /// route, on-link ones.
    Announced {
        dev: u8,
        what: u8,
    },
    Withdrawn {
        dev: u8,
        what: u8,
    },
    /// The mesh has a gateway.
    MeshUp {
        v6: bool,
    },
    MeshDown {
        v6: bool,
    },
    LinkUp(u8),
    LinkDown(u8),
    /// The device goes and comes back under another number.
    Remade(u8),
    /// Somebody adds a rule of his own.
    Rule {
        v6: bool,
        which: u8,
    },
    /// Somebody deletes the nth rule that is not ours.
    DelRule(u8),
    /// Somebody adds a route of his own.
    Route {
        v6: bool,
        which: u8,
        dev: u8,
    },
    /// Somebody deletes the nth route that is not ours.
    DelRoute(u8),
    /// Somebody deletes the nth rule or route of ours.
    Stolen(u8),
    /// `ip route flush table 1`.
    Flushed {
        v6: bool,
    },
    /// `ip rule flush`, which leaves the kernel's rule for `local` only, and then
    /// main's again.
    RulesFlushed {
        v6: bool,
    },
    /// netifd is restarted: all foreign rules and unreachable routes go.
    NetifdRestarted,
    /// Time passes, in seconds.
    Pass {
        seconds: u16,
        gc: bool,
    },
    /// So much happens that events get lost.
    Lost,
    /// Our daemon is killed and started again.
    Restarted,
    /// The list of the WAN's devices changes: as bits.
    Devices(u8),
    /// `nft flush ruleset`.
    TableFlushed,
}

/// One request of an event.
#[derive(Debug, Clone)]
pub enum Op {
    Route(Route, How),
    DelRoute(Route),
    Rule(Rule),
    DelRule(Rule),
    Addr {
        dev: u32,
        addr: IpAddr,
        len: u8,
        noprefixroute: bool,
    },
    DelAddr {
        dev: u32,
        addr: IpAddr,
    },
}

impl Op {
    /// Does it; what the kernel refuses is the other's concern.
    pub fn perform(&self, kernel: &mut Kernel) {
        match self {
            Self::Route(route, how) => _ = kernel.new_route(route.clone(), *how),
            Self::DelRoute(wanted) => {
                let like = |route: &Route| {
                    (route.table, route.dst, route.src, route.kind)
                        == (wanted.table, wanted.dst, wanted.src, wanted.kind)
                        && route.proto == wanted.proto
                        && (wanted.metric == 0 || route.metric == wanted.metric)
                        && route.hops.first().map(|hop| (hop.dev, hop.via))
                            == wanted.hops.first().map(|hop| (hop.dev, hop.via))
                };
                let _ = match wanted.family() {
                    Family::V4 => kernel.del_route4(like),
                    Family::V6 => kernel.del_route6(like),
                };
            }
            Self::Rule(rule) => _ = kernel.new_rule(rule.clone(), true),
            Self::DelRule(wanted) => _ = kernel.del_rule(|rule| rule == wanted),
            Self::Addr {
                dev,
                addr,
                len,
                noprefixroute,
            } => {
                _ = kernel.add_addr(*dev, *addr, *len, *noprefixroute);
            }
            Self::DelAddr { dev, addr } => _ = kernel.del_addr(*dev, *addr),
        }
    }
}

/// Metrics that netifd and odhcp6c use.
const ONLINK: u32 = 256;
const GATEWAY: u32 = 512;

impl Iface {
    pub fn device(&self) -> &'static str {
        DEVICES[usize::from(self.dev) % UPLINKS]
    }

    pub fn family(&self) -> Family {
        if self.v6 { Family::V6 } else { Family::V4 }
    }

    /// The node's own address.
    pub fn addr(&self) -> (IpAddr, u8) {
        let text = match (self.dev % 2, self.v6, self.prefix % 2) {
            (0, true, 0) => "2001:db8:77::2",
            (0, true, _) => "2001:db8:7a::2",
            (_, true, 0) => "2001:db8:78::2",
            (_, true, _) => "2001:db8:7b::2",
            (0, false, 0) => "192.168.77.2",
            (0, false, _) => "192.168.87.2",
            (_, false, 0) => "192.168.78.2",
            (_, false, _) => "192.168.88.2",
        };
        (text.parse().unwrap(), if self.v6 { 64 } else { 24 })
    }

    /// Its router.
    pub fn router(&self) -> IpAddr {
        let text = match (self.dev % 2, self.v6, self.prefix % 2) {
            (0, true, _) => "fe80::1",
            (_, true, _) => "fe80::2",
            (0, false, 0) => "192.168.77.1",
            (0, false, _) => "192.168.87.1",
            (_, false, 0) => "192.168.78.1",
            (_, false, _) => "192.168.88.1",
        };
        text.parse().unwrap()
    }

    /// The default route.
    pub fn gateway(&self, dev: u32) -> Route {
        let (addr, len) = self.addr();
        let table = if self.table { TABLE } else { MAIN };
        let mut route = Route::new(table, Net::all(self.family()), dev, Some(self.router()));
        if self.v6 {
            route.metric = GATEWAY;
            route.src = self.filtered.then_some(Net::of(addr, len));
        } else {
            // interface_ip_add_route sets the address of DHCP's lease.
            route.prefsrc = Some(addr);
        }
        route
    }

    /// Whether its default route is replaced when another one comes up.
    pub fn gives_way(&self, other: Self, kernel: &Kernel) -> bool {
        let route_of = |iface: &Self| {
            let dev = kernel.index(iface.device()).unwrap_or_default();
            iface.gateway(dev)
        };
        let (old, new) = (route_of(self), route_of(&other));
        (old.table, old.dst, old.src, old.metric) == (new.table, new.dst, new.src, new.metric)
            && kernel.routes.contains(&old)
    }

    /// What netifd makes, in its order: interface_update_proto_addr, then routes
    /// (interface-ip.c).
    fn up(&self, dev: u32) -> Vec<Op> {
        let (addr, len) = self.addr();
        let table = if self.table { TABLE } else { MAIN };
        let prefix = Net::of(addr, len);
        let mut ops = vec![Op::Addr {
            dev,
            addr,
            len,
            noprefixroute: self.v6,
        }];
        if self.table {
            ops.extend(self.rules(dev).into_iter().map(Op::Rule));
            let reject = Route::reject(TABLE, Net::all(self.family()), Kind::Unreachable);
            let unreachable = Route {
                metric: UNREACHABLE_METRIC,
                proto: STATIC,
                ..reject
            };
            // Gluon's `config route6 'wan6_unreachable'`.
            ops.push(Op::Route(unreachable, REPLACE));
        }
        if self.v6 || self.table {
            let on_link = Route {
                metric: if self.v6 { ONLINK } else { 0 },
                ..Route::new(table, prefix, dev, None)
            };
            ops.push(Op::Route(on_link, REPLACE));
        }
        ops.push(Op::Route(self.gateway(dev), REPLACE));
        ops
    }

    fn down(&self, dev: u32) -> Vec<Op> {
        let (addr, len) = self.addr();
        let table = if self.table { TABLE } else { MAIN };
        let mut ops = vec![Op::DelRoute(self.gateway(dev))];
        if self.v6 || self.table {
            let on_link = Route::new(table, Net::of(addr, len), dev, None);
            ops.push(Op::DelRoute(on_link));
        }
        if self.table {
            ops.extend(self.rules(dev).into_iter().map(Op::DelRule));
        }
        ops.push(Op::DelAddr { dev, addr });
        ops
    }

    /// 10000, 20000 and 90000 + ifindex.
    fn rules(&self, dev: u32) -> Vec<Rule> {
        let (addr, len) = self.addr();
        let rule = |priority| Rule::new(self.family(), priority, Action::ToTable(TABLE));
        vec![
            Rule {
                from: Some(Net::host(addr)),
                ..rule(10000)
            },
            Rule {
                to: Some(Net::of(addr, len)),
                ..rule(20000)
            },
            Rule {
                iif: Some("lo".into()),
                ..rule(90000 + dev)
            },
        ]
    }
}

/// What a DHCP server or a router announces besides.
fn announced(dev: u32, port: u8, what: u8) -> Vec<Route> {
    let uplink = |v6| Iface {
        dev: port,
        v6,
        table: false,
        filtered: false,
        prefix: 0,
    };
    let v4 = |to: &str, via: bool| {
        let router = uplink(false).router();
        Route::new(MAIN, net(to), dev, via.then_some(router))
    };
    let v6 = |to: &str, via: bool| {
        let router = uplink(true).router();
        Route {
            metric: GATEWAY,
            ..Route::new(MAIN, net(to), dev, via.then_some(router))
        }
    };
    match what % 7 {
        0 => vec![v4("0.0.0.0/1", true), v4("128.0.0.0/1", true)],
        1 => vec![v6("2000::/3", true)],
        2 => vec![v6("::/1", false)],
        3 => vec![v4("198.51.100.0/24", true)],
        4 => vec![v6("2001:db8:ff::/48", true)],
        5 => vec![v4("0.0.0.0/1", false)],
        _ => vec![Route {
            src: Some(net("2001:db8:77::/64")),
            ..v6("2000::/3", true)
        }],
    }
}

/// The mesh's gateway.
fn mesh(v6: bool, dev: u32) -> Route {
    match v6 {
        true => Route {
            metric: 2048,
            ..Route::new(MAIN, net("::/0"), dev, Some("fe80::111".parse().unwrap()))
        },
        false => Route {
            metric: 100,
            ..Route::new(
                MAIN,
                net("0.0.0.0/0"),
                dev,
                Some("10.111.0.1".parse().unwrap()),
            )
        },
    }
}

/// A rule that somebody might add.
fn foreign_rule(v6: bool, which: u8) -> Rule {
    let family = if v6 { Family::V6 } else { Family::V4 };
    let mesh = if v6 { "fd00:111::2" } else { "10.111.0.2" };
    let rule = |priority, table| Rule {
        proto: crate::kernel::BOOT,
        ..Rule::new(family, priority, Action::ToTable(table))
    };
    match which % 9 {
        // Gluon's own, as netifd makes it.
        0 => Rule {
            proto: 0,
            mark: 1,
            mask: 1,
            ..rule(1, TABLE)
        },
        1 => Rule {
            mark: 4,
            mask: 4,
            ..rule(100, 1000)
        },
        2 => Rule {
            from: Some(net(mesh)),
            ..rule(500, 1000)
        },
        // wg-quick's.
        3 => Rule {
            suppress: Some(0),
            ..rule(32764, MAIN)
        },
        4 => Rule {
            mark: 51820,
            mask: u32::MAX,
            invert: true,
            ..rule(32765, 51820)
        },
        5 => rule(40000, TABLE),
        6 => Rule {
            iif: Some("br-client".into()),
            ..rule(300, 1000)
        },
        7 => Rule {
            action: Action::Unreachable,
            ..rule(50000, 0)
        },
        _ => Rule {
            iif: Some("lo".into()),
            ..rule(33000, TABLE)
        },
    }
}

/// A route that somebody might add.
fn foreign_route(v6: bool, which: u8, dev: u32) -> (Route, How) {
    let to = |six: &str, four: &str| net(if v6 { six } else { four });
    let via: IpAddr = match v6 {
        true => "fe80::99".parse().unwrap(),
        false => "10.111.0.9".parse().unwrap(),
    };
    let all = to("::/0", "0.0.0.0/0");
    match which % 7 {
        0 => (
            Route::new(
                MAIN,
                to("2001:db8:aaaa::/48", "203.0.113.0/24"),
                dev,
                Some(via),
            ),
            ADD,
        ),
        1 => (
            Route {
                metric: 4000,
                ..Route::new(MAIN, all, dev, Some(via))
            },
            APPEND,
        ),
        2 => (
            Route {
                metric: 4000,
                ..Route::new(1000, all, dev, Some(via))
            },
            APPEND,
        ),
        // Into the WAN's table.
        3 => (
            Route {
                metric: 600,
                ..Route::new(TABLE, all, dev, Some(via))
            },
            APPEND,
        ),
        4 => (
            Route {
                metric: 5000,
                ..Route::reject(MAIN, all, Kind::Unreachable)
            },
            ADD,
        ),
        5 => (
            Route {
                metric: 65535,
                ..Route::reject(TABLE, all, Kind::Unreachable)
            },
            ADD,
        ),
        _ => (
            Route::new(MAIN, to("2001:db8:bbbb::/64", "203.0.114.0/24"), dev, None),
            ADD,
        ),
    }
}

impl Event {
    /// The requests that it is; what is none (time, our own daemon) is the world's
    /// to do.
    pub fn ops(&self, kernel: &Kernel) -> Vec<Op> {
        let index = |dev: u8| kernel.index(DEVICES[usize::from(dev) % DEVICES.len()]);
        let uplink = |dev: u8| kernel.index(DEVICES[usize::from(dev) % UPLINKS]);
        match *self {
            Self::IfUp(iface) => match uplink(iface.dev) {
                Some(dev) if kernel.is_up(dev) => iface.up(dev),
                _ => vec![],
            },
            Self::IfDown(iface) => uplink(iface.dev).map_or(vec![], |dev| iface.down(dev)),
            Self::Announced { dev, what } => uplink(dev).map_or(vec![], |index| {
                let routes = announced(index, dev, what).into_iter();
                routes.map(|route| Op::Route(route, REPLACE)).collect()
            }),
            Self::Withdrawn { dev, what } => uplink(dev).map_or(vec![], |index| {
                announced(index, dev, what)
                    .into_iter()
                    .map(Op::DelRoute)
                    .collect()
            }),
            Self::MeshUp { v6 } => kernel.index("bat0").map_or(vec![], |dev| {
                let (addr, len) = match v6 {
                    true => ("fd00:111::2", 64),
                    false => ("10.111.0.2", 16),
                };
                vec![
                    Op::Addr {
                        dev,
                        addr: addr.parse().unwrap(),
                        len,
                        noprefixroute: false,
                    },
                    Op::Route(mesh(v6, dev), ADD),
                ]
            }),
            Self::MeshDown { v6 } => kernel
                .index("bat0")
                .map_or(vec![], |dev| vec![Op::DelRoute(mesh(v6, dev))]),
            Self::Rule { v6, which } => vec![Op::Rule(foreign_rule(v6, which))],
            Self::DelRule(nth) => {
                let foreign =
                    |rule: &&Rule| !is_ours(rule.proto) && rule.proto != crate::kernel::KERNEL;
                let mut rules = kernel.rules.iter().filter(foreign);
                let rule = rules.nth(usize::from(nth)).cloned();
                rule.into_iter().map(Op::DelRule).collect()
            }
            Self::Route { v6, which, dev } => index(dev).map_or(vec![], |dev| {
                let (route, how) = foreign_route(v6, which, dev);
                vec![Op::Route(route, how)]
            }),
            Self::DelRoute(nth) => {
                // Without the kernel's own, its router is no neighbour any more.
                let foreign = |route: &&Route| {
                    !is_ours(route.proto)
                        && route.table != LOCAL
                        && route.proto != crate::kernel::KERNEL
                };
                let mut routes = kernel.routes.iter().filter(foreign);
                let route = routes.nth(usize::from(nth)).cloned();
                route.into_iter().map(Op::DelRoute).collect()
            }
            Self::Stolen(nth) => {
                let rules = kernel.rules.iter().filter(|rule| is_ours(rule.proto));
                let routes = kernel.routes.iter().filter(|route| is_ours(route.proto));
                let ops = rules
                    .map(|rule| Op::DelRule(rule.clone()))
                    .chain(routes.map(|route| Op::DelRoute(route.clone())));
                let all: Vec<Op> = ops.collect();
                let count = all.len().max(1);
                all.into_iter()
                    .skip(usize::from(nth) % count)
                    .take(1)
                    .collect()
            }
            Self::Flushed { v6 } => kernel
                .routes
                .iter()
                .filter(|route| route.table == TABLE && (route.family() == Family::V6) == v6)
                .map(|route| Op::DelRoute(route.clone()))
                .collect(),
            Self::RulesFlushed { v6 } => kernel
                .rules
                .iter()
                .filter(|rule| {
                    rule.proto != crate::kernel::KERNEL && (rule.family == Family::V6) == v6
                })
                .map(|rule| Op::DelRule(rule.clone()))
                .collect(),
            Self::NetifdRestarted => {
                let foreign =
                    |proto: u8| proto != STATIC && proto != 0 && proto != crate::kernel::KERNEL;
                let rules = kernel.rules.iter().filter(|rule| foreign(rule.proto));
                let rules = rules.map(|rule| Op::DelRule(rule.clone()));
                let routes = kernel
                    .routes
                    .iter()
                    .filter(|route| foreign(route.proto) && route.kind == Kind::Unreachable);
                rules
                    .chain(routes.map(|route| Op::DelRoute(route.clone())))
                    .collect()
            }
            _ => vec![],
        }
    }
}

pub fn iface() -> impl Strategy<Value = Iface> {
    (
        0..2_u8,
        any::<bool>(),
        any::<bool>(),
        any::<bool>(),
        0..2_u8,
    )
        .prop_map(|(dev, v6, table, filtered, prefix)| Iface {
            dev,
            v6,
            table,
            filtered,
            prefix,
        })
}

pub fn event() -> impl Strategy<Value = Event> {
    let lifetime = prop_oneof![Just(0_u16), Just(9), Just(600), Just(1800)];
    let pref = prop_oneof![2 => Just(0_u8), 1 => Just(1), 1 => Just(3)];
    prop_oneof![
        8 => iface().prop_map(Event::IfUp),
        4 => iface().prop_map(Event::IfDown),
        5 => (0..2_u8, 0..3_u8, lifetime, pref).prop_map(|(dev, router, lifetime, pref)| {
            Event::Advertisement { dev, router, lifetime, pref }
        }),
        2 => (0..2_u8, 0..7_u8).prop_map(|(dev, what)| Event::Announced { dev, what }),
        1 => (0..2_u8, 0..7_u8).prop_map(|(dev, what)| Event::Withdrawn { dev, what }),
        3 => any::<bool>().prop_map(|v6| Event::MeshUp { v6 }),
        3 => any::<bool>().prop_map(|v6| Event::MeshDown { v6 }),
        2 => (0..4_u8).prop_map(Event::LinkUp),
        2 => (0..4_u8).prop_map(Event::LinkDown),
        1 => (0..4_u8).prop_map(Event::Remade),
        2 => (any::<bool>(), 0..9_u8).prop_map(|(v6, which)| Event::Rule { v6, which }),
        1 => (0..6_u8).prop_map(Event::DelRule),
        2 => (any::<bool>(), 0..7_u8, 0..4_u8).prop_map(|(v6, which, dev)| Event::Route { v6, which, dev }),
        1 => (0..16_u8).prop_map(Event::DelRoute),
        2 => (0..16_u8).prop_map(Event::Stolen),
        1 => any::<bool>().prop_map(|v6| Event::Flushed { v6 }),
        1 => any::<bool>().prop_map(|v6| Event::RulesFlushed { v6 }),
        1 => Just(Event::NetifdRestarted),
        2 => (1..2000_u16, any::<bool>()).prop_map(|(seconds, gc)| Event::Pass { seconds, gc }),
        1 => Just(Event::Lost),
        1 => Just(Event::Restarted),
        1 => (1..4_u8).prop_map(Event::Devices),
        1 => Just(Event::TableFlushed),
    ]
}
