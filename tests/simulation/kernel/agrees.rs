//! The model beside the kernel of the machine: the same requests to both, the
//! same verdicts, tables, rules and ways from both.
//!
//! Needs a network namespace of its own, with root's rights in it:
//! tests/simulation.bats makes one.

use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};

use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestRng, TestRunner};
use rtnetlink::packet_core::{Emitable, NetlinkBuffer, NetlinkHeader, Parseable};
use rtnetlink::packet_route::address::{AddressAttribute, AddressFlags, AddressMessage};
use rtnetlink::packet_route::link::{InfoKind, LinkAttribute, LinkFlags, LinkInfo, LinkMessage};
use rtnetlink::packet_route::route::{RouteAttribute, RouteFlags, RouteMessage, RouteType};
use rtnetlink::packet_route::rule::RuleMessage;
use rtnetlink::sys::Socket;
use rtnetlink::sys::protocols::NETLINK_ROUTE;

use super::fib6::shares;
use super::net::{Family, Net, net};
use super::netlink::{address_family, bytes, dumped, dumped_rule, message_of_rule};
use super::rules::{Action, Rule};
use super::{
    ADD, APPEND, DEFAULT, Errno, Flow, Hop, How, Kernel, Kind, LO, LOCAL, MAIN, PREPEND, REPLACE,
    Route, Verdict,
};

const DEVICES: [&str; 4] = ["br-wan", "wwan0", "bat0", "br-client"];
const V6: [&str; 6] = [
    "2001:db8:77::2/64",
    "2001:db8:78::2/64",
    "fd00:111::2/64",
    "2001:db8:50::2/64",
    "fe80::77/64",
    "2001:db8:77::3/128",
];
const V4: [&str; 5] = [
    "192.168.77.2/24",
    "10.20.0.2/16",
    "192.168.78.2/24",
    "100.64.7.2/30",
    "198.51.100.7/32",
];
const TO6: [&str; 10] = [
    "::/0",
    "::/0",
    "::/1",
    "2000::/3",
    "2001:db8::/32",
    "2001:db8:77::/64",
    "2001:db8:ff::/48",
    "2001:db8:ff::53/128",
    "fe80::/64",
    "fd00:111::/64",
];
const FROM6: [&str; 3] = ["2001:db8:77::/64", "2001:db8:78::/64", "2001:db8::/32"];
const TO4: [&str; 8] = [
    "0.0.0.0/0",
    "0.0.0.0/0",
    "0.0.0.0/1",
    "128.0.0.0/1",
    "192.168.77.0/24",
    "198.51.100.0/24",
    "198.51.100.2/32",
    "10.0.0.0/8",
];
const VIA6: [&str; 5] = [
    "fe80::1",
    "fe80::2",
    "2001:db8:77::1",
    "2001:db8:78::1",
    "fd00:111::1",
];
const VIA4: [&str; 4] = [
    "192.168.77.1",
    "192.168.77.254",
    "10.20.0.1",
    "192.168.78.1",
];
const TARGETS: [&str; 13] = [
    "2001:db8:ff::53",
    "2001:db8:ff::1",
    "2001:db8:77::9",
    "2001:db8:50::9",
    "fd00:111::9",
    "2a00::1",
    "9000::1",
    "198.51.100.2",
    "198.51.100.9",
    "192.168.77.9",
    "10.20.0.9",
    "9.9.9.9",
    "192.168.78.2",
];
const TABLES: [u32; 5] = [MAIN, MAIN, 1, 1, 1000];
const METRICS: [u32; 6] = [0, 256, 512, 512, 1024, 65535];

/// What is done to both; numbers are places in the lists above.
#[derive(Debug, Clone)]
enum Op {
    Link {
        dev: usize,
        up: bool,
    },
    Addr {
        dev: usize,
        v6: bool,
        addr: usize,
        noprefixroute: bool,
    },
    DelAddr {
        nth: usize,
    },
    Route(RouteOp),
    /// Deletes the nth route; with `loose` only by table and destination.
    DelRoute {
        nth: usize,
        loose: bool,
    },
    Rule(RuleOp),
    DelRule {
        nth: usize,
    },
}

#[derive(Debug, Clone)]
struct RouteOp {
    v6: bool,
    how: usize,
    table: usize,
    to: usize,
    from: Option<usize>,
    kind: usize,
    dev: usize,
    via: Option<usize>,
    /// A second next hop.
    second: Option<(usize, usize)>,
    metric: usize,
    proto: u8,
    pref: u8,
    onlink: bool,
}

#[derive(Debug, Clone)]
struct RuleOp {
    v6: bool,
    priority: usize,
    mark: Option<(u32, u32)>,
    from: Option<usize>,
    to: Option<usize>,
    iif: Option<usize>,
    invert: bool,
    action: usize,
    suppress: Option<u8>,
}

fn route_op() -> impl Strategy<Value = RouteOp> {
    let often_none = |range| prop::option::weighted(0.25, range);
    (
        (
            any::<bool>(),
            0..5_usize,
            0..TABLES.len(),
            0..10_usize,
            often_none(0..FROM6.len()),
        ),
        (
            0..20_usize,
            0..DEVICES.len(),
            prop::option::weighted(0.7, 0..5_usize),
        ),
        prop::option::weighted(0.1, (0..DEVICES.len(), 0..5_usize)),
        (
            0..METRICS.len(),
            3..5_u8,
            prop_oneof![3 => Just(0_u8), 1 => Just(1), 1 => Just(3)],
        ),
        prop::bool::weighted(0.1),
    )
        .prop_map(
            |(
                (v6, how, table, to, from),
                (kind, dev, via),
                second,
                (metric, proto, pref),
                onlink,
            )| RouteOp {
                v6,
                how,
                table,
                to,
                from,
                kind,
                dev,
                via,
                second,
                metric,
                proto,
                pref,
                onlink,
            },
        )
}

fn rule_op() -> impl Strategy<Value = RuleOp> {
    (
        (any::<bool>(), 0..6_usize),
        prop::option::weighted(
            0.5,
            prop_oneof![
                Just((1, 1)),
                Just((2, 3)),
                Just((0, 1)),
                Just((1, u32::MAX))
            ],
        ),
        prop::option::weighted(0.3, 0..5_usize),
        prop::option::weighted(0.2, 0..10_usize),
        prop::option::weighted(0.3, 0..2_usize),
        prop::bool::weighted(0.1),
        0..12_usize,
        prop::option::weighted(0.3, prop_oneof![Just(0_u8), Just(1), Just(64)]),
    )
        .prop_map(
            |((v6, priority), mark, from, to, iif, invert, action, suppress)| RuleOp {
                v6,
                priority,
                mark,
                from,
                to,
                iif,
                invert,
                action,
                suppress,
            },
        )
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        2 => (0..DEVICES.len(), prop::bool::weighted(0.8)).prop_map(|(dev, up)| Op::Link { dev, up }),
        4 => (0..DEVICES.len(), any::<bool>(), 0..6_usize, any::<bool>())
            .prop_map(|(dev, v6, addr, noprefixroute)| Op::Addr { dev, v6, addr, noprefixroute }),
        1 => (0..8_usize).prop_map(|nth| Op::DelAddr { nth }),
        9 => route_op().prop_map(Op::Route),
        2 => (0..12_usize, prop::bool::weighted(0.3)).prop_map(|(nth, loose)| Op::DelRoute { nth, loose }),
        4 => rule_op().prop_map(Op::Rule),
        1 => (0..8_usize).prop_map(|nth| Op::DelRule { nth }),
    ]
}

impl RouteOp {
    fn lower(&self, kernel: &Kernel) -> (Route, How) {
        let index = |dev: usize| kernel.index(DEVICES[dev]).unwrap();
        let via = |via: usize| match self.v6 {
            true => VIA6[via % VIA6.len()].parse().unwrap(),
            false => VIA4[via % VIA4.len()].parse().unwrap(),
        };
        let to = match self.v6 {
            true => net(TO6[self.to % TO6.len()]),
            false => net(TO4[self.to % TO4.len()]),
        };
        let kind = match self.kind {
            0 => Kind::Unreachable,
            1 => Kind::Blackhole,
            2 => Kind::Prohibit,
            3 => Kind::Throw,
            _ => Kind::Unicast,
        };
        let table = TABLES[self.table];
        let mut route = match kind {
            Kind::Unicast => Route::new(table, to, index(self.dev), self.via.map(via)),
            kind => Route::reject(table, to, kind),
        };
        if let (Kind::Unicast, Some((dev, gateway)), Some(_)) = (kind, self.second, self.via) {
            route.hops.push(Hop {
                dev: index(dev),
                via: Some(via(gateway)),
                onlink: false,
                dead: false,
            });
        }
        for hop in &mut route.hops {
            hop.onlink = self.onlink && kind == Kind::Unicast && hop.via.is_some();
        }
        route.metric = METRICS[self.metric];
        route.proto = self.proto;
        if self.v6 {
            route.pref = self.pref;
            route.src = self.from.map(|from| net(FROM6[from % FROM6.len()]));
        }
        let how = [ADD, APPEND, PREPEND, REPLACE, APPEND][self.how];
        (route, how)
    }
}

impl RuleOp {
    fn lower(&self) -> Rule {
        let family = if self.v6 { Family::V6 } else { Family::V4 };
        let priority = [1, 2, 100, 10000, 32767, 90005][self.priority];
        let action = match self.action {
            0 => Action::Unreachable,
            1 => Action::Blackhole,
            2 => Action::Prohibit,
            3 => Action::Nop,
            4 => Action::Goto(20000),
            5 => Action::ToTable(MAIN),
            6 => Action::ToTable(1000),
            7 => Action::Unspec,
            _ => Action::ToTable(1),
        };
        let own = |at: usize| match self.v6 {
            true => net(V6[at % V6.len()]),
            false => net(V4[at % V4.len()]),
        };
        let to = |at: usize| match self.v6 {
            true => net(TO6[at % TO6.len()]),
            false => net(TO4[at % TO4.len()]),
        };
        let mut rule = Rule::new(family, priority, action);
        // A prefix of no length is none.
        rule.from = self.from.map(own).filter(|net| net.len > 0);
        rule.to = self.to.map(to).filter(|net| net.len > 0);
        rule.iif = self.iif.map(|iif| ["lo", "bat0"][iif].into());
        if let Some((mark, mask)) = self.mark {
            (rule.mark, rule.mask) = (mark, mask);
        }
        rule.invert = self.invert;
        if matches!(action, Action::ToTable(_)) {
            rule.suppress = self.suppress;
        }
        rule
    }
}

/// The kernel of the machine, in a namespace of this test's own.
struct Machine {
    socket: Socket,
    sequence: u32,
}

impl Machine {
    /// Makes the devices. Their numbers are those that the model gives.
    fn new() -> Self {
        let mut socket = Socket::new(NETLINK_ROUTE).unwrap();
        socket.bind_auto().unwrap();
        let mut machine = Self {
            socket,
            sequence: 0,
        };
        for name in ["lo"].iter().chain(&DEVICES) {
            let mut link = LinkMessage::default();
            if *name == "lo" {
                link.header.index = LO;
                link.header.flags = LinkFlags::Up;
                link.header.change_mask = LinkFlags::Up;
                machine
                    .request(libc::RTM_NEWLINK, 0, &bytes(&link))
                    .unwrap();
                continue;
            }
            // Some kernels have no dummy; both kinds have a carrier and no ARP.
            let made = [InfoKind::Dummy, InfoKind::Ifb].map(|kind| {
                link.attributes = vec![
                    LinkAttribute::IfName((*name).into()),
                    LinkAttribute::LinkInfo(vec![LinkInfo::Kind(kind)]),
                ];
                let flags = super::netlink::CREATE | super::netlink::EXCL;
                machine.request(libc::RTM_NEWLINK, flags, &bytes(&link))
            });
            let is_made = made.iter().any(Result::is_ok);
            assert!(is_made, "{name}: {made:?}: is this a namespace of its own?");
            // No link-local address of the kernel's own (IN6_ADDR_GEN_MODE_NONE).
            let setting = format!("/proc/sys/net/ipv6/conf/{name}/addr_gen_mode");
            std::fs::write(setting, "1").unwrap();
        }
        machine
    }

    fn request(&mut self, kind: u16, flags: u16, body: &[u8]) -> Result<Vec<Vec<u8>>, Errno> {
        self.sequence += 1;
        let mut header = NetlinkHeader::default();
        header.length = (16 + body.len()) as u32;
        header.message_type = kind;
        header.flags = flags | (libc::NLM_F_REQUEST | libc::NLM_F_ACK) as u16;
        header.sequence_number = self.sequence;
        let mut message = bytes(&header);
        message.extend(body);
        self.socket.send(&message, 0).unwrap();
        let mut answers = Vec::new();
        loop {
            let mut buffer = Vec::with_capacity(64 * 1024);
            self.socket.recv(&mut buffer, 0).unwrap();
            let mut rest = buffer.as_slice();
            while let Ok(message) = NetlinkBuffer::new_checked(rest) {
                match i32::from(message.message_type()) {
                    libc::NLMSG_DONE => return Ok(answers),
                    libc::NLMSG_ERROR => {
                        let errno = i32::from_ne_bytes(message.payload()[..4].try_into().unwrap());
                        return if errno == 0 { Ok(answers) } else { Err(-errno) };
                    }
                    _ => answers.push(message.payload().to_vec()),
                }
                let length = (message.length() as usize).next_multiple_of(4);
                rest = rest.get(length..).unwrap_or_default();
            }
        }
    }

    fn dump(&mut self, kind: u16, body: &impl Emitable) -> Vec<Vec<u8>> {
        self.request(kind, libc::NLM_F_DUMP as u16, &bytes(body))
            .unwrap()
    }

    fn addr(
        &mut self,
        kind: u16,
        dev: u32,
        addr: IpAddr,
        len: u8,
        noprefixroute: bool,
    ) -> Result<(), Errno> {
        let mut message = AddressMessage::default();
        message.header.family = address_family(Family::of(addr));
        message.header.prefix_len = len;
        message.header.index = dev;
        message.attributes.push(AddressAttribute::Local(addr));
        if addr.is_ipv6() {
            let mut flags = AddressFlags::Nodad;
            if noprefixroute {
                flags |= AddressFlags::Noprefixroute;
            }
            message.attributes.push(AddressAttribute::Flags(flags));
        }
        let flags = match kind {
            libc::RTM_NEWADDR => super::netlink::CREATE | super::netlink::EXCL,
            _ => 0,
        };
        self.request(kind, flags, &bytes(&message)).map(drop)
    }

    fn set_link(&mut self, index: u32, up: bool) {
        let mut link = LinkMessage::default();
        link.header.index = index;
        link.header.change_mask = LinkFlags::Up;
        link.header.flags.set(LinkFlags::Up, up);
        self.request(libc::RTM_NEWLINK, 0, &bytes(&link)).unwrap();
    }

    fn routes(&mut self, family: Family, model: &Kernel) -> Vec<Route> {
        let mut request = RouteMessage::default();
        request.header.address_family = address_family(family);
        let dump = self.dump(libc::RTM_GETROUTE, &request);
        dump.iter()
            .map(|body| RouteMessage::parse(body.as_slice()).unwrap())
            .filter(|message| !message.header.flags.contains(RouteFlags::Cloned))
            .flat_map(|message| dumped(&message, model))
            .collect()
    }

    fn rules(&mut self, family: Family) -> Vec<Rule> {
        let mut request = RuleMessage::default();
        request.header.family = address_family(family);
        let dump = self.dump(libc::RTM_GETRULE, &request);
        dump.iter()
            .filter_map(|body| dumped_rule(&RuleMessage::parse(body.as_slice()).unwrap()))
            .collect()
    }

    /// `ip route get`.
    fn way(&mut self, flow: Flow) -> Verdict {
        let mut request = RouteMessage::default();
        request.header.address_family = address_family(Family::of(flow.dst));
        request.header.destination_prefix_length = Family::of(flow.dst).width();
        request
            .attributes
            .push(RouteAttribute::Destination(flow.dst.into()));
        if let Some(src) = flow.src {
            request.header.source_prefix_length = Family::of(src).width();
            request.attributes.push(RouteAttribute::Source(src.into()));
        }
        if flow.mark != 0 {
            request.attributes.push(RouteAttribute::Mark(flow.mark));
        }
        let answer = match self.request(libc::RTM_GETROUTE, 0, &bytes(&request)) {
            Ok(answer) => answer,
            Err(errno) => return Verdict::Error(errno),
        };
        let message = RouteMessage::parse(answer[0].as_slice()).unwrap();
        let (mut dev, mut via) = (0, None);
        for attribute in &message.attributes {
            match attribute {
                RouteAttribute::Oif(index) => dev = *index,
                RouteAttribute::CacheInfo(info) if info.error != 0 => {
                    return Verdict::Error(-info.error.cast_signed());
                }
                RouteAttribute::Gateway(_) | RouteAttribute::Via(_) => {
                    via = super::netlink::via_of(attribute);
                }
                _ => {}
            }
        }
        match message.header.kind {
            RouteType::Unicast => Verdict::Out { dev, via },
            _ => Verdict::Local,
        }
    }

    /// The source that a socket gets, as `connect` on one with the mark says.
    fn source(dst: IpAddr, mark: u32) -> Result<IpAddr, Errno> {
        let any: SocketAddr = ("::".parse::<IpAddr>().unwrap(), 0).into();
        let socket = UdpSocket::bind(any).unwrap();
        let failed = |error: io::Error| error.raw_os_error().unwrap();
        socket2::SockRef::from(&socket)
            .set_mark(mark)
            .map_err(failed)?;
        socket.connect((dst, 53)).map_err(failed)?;
        Ok(socket.local_addr().unwrap().ip())
    }

    /// Nothing but the devices, down, is left.
    fn reset(&mut self, model: &Kernel) {
        for family in [Family::V4, Family::V6] {
            let foreign = |rule: &Rule| {
                ![LOCAL, MAIN, DEFAULT]
                    .iter()
                    .any(|t| *rule == boot_rule(family, *t))
            };
            while let Some(rule) = self.rules(family).into_iter().find(foreign) {
                let message = message_of_rule(&rule);
                self.request(libc::RTM_DELRULE, 0, &bytes(&message))
                    .unwrap();
            }
            // Asked to delete one without an action, the kernel deletes the first
            // of its priority.
            let present = self.rules(family);
            let lost = super::rules::of_boot().into_iter();
            for rule in lost.filter(|r| r.family == family && !present.contains(r)) {
                let flags = super::netlink::CREATE | super::netlink::EXCL;
                let message = message_of_rule(&rule);
                let _ = self.request(libc::RTM_NEWRULE, flags, &bytes(&message));
            }
        }
        for name in DEVICES {
            let index = model.index(name).unwrap();
            self.set_link(index, false);
            for text in V4.iter().chain(&V6) {
                let (addr, len) = parse(text);
                let _ = self.addr(libc::RTM_DELADDR, index, addr, len, false);
            }
        }
        for family in [Family::V4, Family::V6] {
            for route in self.routes(family, model) {
                if route.table != LOCAL {
                    let message = model.message_of(&route, &[&route]);
                    let _ = self.request(libc::RTM_DELROUTE, 0, &bytes(&message));
                }
            }
        }
    }
}

fn boot_rule(family: Family, table: u32) -> Rule {
    let priority = match table {
        LOCAL => 0,
        MAIN => 32766,
        _ => 32767,
    };
    Rule {
        proto: super::KERNEL,
        ..Rule::new(family, priority, Action::ToTable(table))
    }
}

fn parse(text: &str) -> (IpAddr, u8) {
    let (addr, len) = text.split_once('/').unwrap();
    (addr.parse().unwrap(), len.parse().unwrap())
}

/// A model with the machine's devices, all down.
fn model() -> Kernel {
    let mut kernel = Kernel::boot();
    for name in DEVICES {
        kernel.add_link(name);
    }
    kernel
}

/// Does it to both; says what each made of it.
fn perform(
    op: &Op,
    model: &mut Kernel,
    machine: &mut Machine,
) -> Option<(Result<(), Errno>, Result<(), Errno>)> {
    let both = |kind, flags, body: Vec<u8>, model: &mut Kernel, machine: &mut Machine| {
        let theirs = machine.request(kind, flags, &body).map(drop);
        let ours = model.request(kind, flags, &body, &mut |_| ());
        Some((ours, theirs))
    };
    match op {
        Op::Link { dev, up } => {
            let index = model.index(DEVICES[*dev])?;
            machine.set_link(index, *up);
            model.set_link(index, *up);
            None
        }
        Op::Addr {
            dev,
            v6,
            addr,
            noprefixroute,
        } => {
            let index = model.index(DEVICES[*dev])?;
            let text = if *v6 {
                V6[addr % V6.len()]
            } else {
                V4[addr % V4.len()]
            };
            let (addr, len) = parse(text);
            // On one device at a time, and IPv6 only on what is up.
            if model.addrs.iter().any(|other| other.addr == addr) || *v6 && !model.is_up(index) {
                return None;
            }
            let noprefixroute = *noprefixroute && *v6;
            let theirs = machine.addr(libc::RTM_NEWADDR, index, addr, len, noprefixroute);
            let ours = model.add_addr(index, addr, len, noprefixroute);
            if *v6 {
                // The kernel makes its route in a worker.
                let flow = Flow::own(addr, None, 0);
                let host = Net::host(addr);
                for _ in 0..10_000 {
                    let known = machine.routes(Family::V6, model);
                    if known.iter().any(|r| r.table == LOCAL && r.dst == host) {
                        break;
                    }
                }
                let _ = flow;
            }
            Some((ours, theirs))
        }
        Op::DelAddr { nth } => {
            let addr = *model.addrs.iter().filter(|a| a.dev != LO).nth(*nth)?;
            let theirs = machine.addr(libc::RTM_DELADDR, addr.dev, addr.addr, addr.len, false);
            Some((model.del_addr(addr.dev, addr.addr), theirs))
        }
        Op::Route(op) => {
            let (route, how) = op.lower(model);
            let hops: Vec<Route> = match route.family() {
                Family::V4 => vec![route.clone()],
                Family::V6 => route
                    .hops
                    .iter()
                    .map(|hop| Route {
                        hops: vec![*hop],
                        ..route.clone()
                    })
                    .collect(),
            };
            let hops: Vec<&Route> = hops.iter().collect();
            let body = bytes(&model.message_of(&route, &hops));
            both(libc::RTM_NEWROUTE, how.flags(), body, model, machine)
        }
        Op::DelRoute { nth, loose } => {
            let others = |route: &&Route| route.table != LOCAL && route.proto != super::KERNEL;
            let mut route = model.routes.iter().filter(others).nth(*nth)?.clone();
            if *loose && route.kind == Kind::Unicast {
                route.hops.clear();
                route.metric = 0;
                route.proto = 0;
                route.scope = super::NOWHERE;
            }
            let hops: Vec<Route> = vec![route.clone()];
            let hops: Vec<&Route> = match route.hops.is_empty() {
                true => vec![],
                false => hops.iter().collect(),
            };
            let body = bytes(&model.message_of(&route, &hops));
            both(libc::RTM_DELROUTE, 0, body, model, machine)
        }
        Op::Rule(op) => {
            let body = bytes(&message_of_rule(&op.lower()));
            let flags = super::netlink::CREATE | super::netlink::EXCL;
            both(libc::RTM_NEWRULE, flags, body, model, machine)
        }
        Op::DelRule { nth } => {
            let foreign = |rule: &&Rule| rule.proto != super::KERNEL;
            let rule = model.rules.iter().filter(foreign).nth(*nth)?.clone();
            let body = bytes(&message_of_rule(&rule));
            both(libc::RTM_DELRULE, 0, body, model, machine)
        }
    }
}

/// As a sorted list of words: the order between prefixes is the tree's.
fn words(routes: impl IntoIterator<Item = Route>) -> Vec<String> {
    let mut routes: Vec<Route> = routes.into_iter().collect();
    let all = routes.clone();
    for route in routes
        .iter_mut()
        .filter(|r| r.family() == Family::V6 && shares(r))
    {
        let like = |other: &&Route| {
            (other.table, other.dst, other.src, other.metric)
                == (route.table, route.dst, route.src, route.metric)
                && shares(other)
        };
        // A message of several next hops has the rest from the first.
        if all.iter().filter(like).count() > 1 {
            (route.pref, route.proto) = (0, 0);
        }
    }
    let mut words: Vec<String> = routes
        .into_iter()
        // Broadcast, multicast and the router's own anycast are none of ours.
        .filter(|r| {
            matches!(
                r.kind,
                Kind::Unicast
                    | Kind::Local
                    | Kind::Unreachable
                    | Kind::Blackhole
                    | Kind::Prohibit
                    | Kind::Throw
            )
        })
        .filter(|r| r.dst != net("ff00::/8"))
        .map(|route| format!("{route:?}"))
        .collect();
    words.sort();
    words
}

#[derive(Default)]
struct Count {
    states: u32,
    ways: u32,
    sources: u32,
}

fn compare(model: &Kernel, machine: &mut Machine, count: &mut Count) -> Result<(), String> {
    for family in [Family::V4, Family::V6] {
        let ours: Vec<&Rule> = model
            .rules
            .iter()
            .filter(|rule| rule.family == family)
            .collect();
        let theirs = machine.rules(family);
        if !ours.iter().copied().eq(&theirs) {
            return Err(format!("rules\n  model  {ours:?}\n  kernel {theirs:?}"));
        }
        let theirs = words(machine.routes(family, model));
        let ours = words(
            model
                .routes
                .iter()
                .filter(|r| r.family() == family)
                .cloned(),
        );
        if ours != theirs {
            let missing: Vec<_> = theirs.iter().filter(|r| !ours.contains(r)).collect();
            let surplus: Vec<_> = ours.iter().filter(|r| !theirs.contains(r)).collect();
            return Err(format!(
                "routes\n  only the kernel has {missing:#?}\n  only the model has {surplus:#?}"
            ));
        }
    }
    count.states += 1;
    let targets = TARGETS.iter().map(|text| text.parse::<IpAddr>().unwrap());
    for dst in targets {
        let own = model
            .addrs
            .iter()
            .filter(|addr| addr.dev != LO)
            .map(|addr| addr.addr);
        let sources: Vec<Option<IpAddr>> = std::iter::once(None)
            .chain(
                own.filter(|addr| addr.is_ipv4() == dst.is_ipv4())
                    .take(2)
                    .map(Some),
            )
            .collect();
        for mark in [0, 1] {
            for src in &sources {
                let flow = Flow::own(dst, *src, mark);
                let (ours, theirs) = (model.way(flow), machine.way(flow));
                count.ways += 1;
                if !ours.contains(&theirs) {
                    return Err(format!("{flow:?}\n  model  {ours:?}\n  kernel {theirs:?}"));
                }
            }
            if dst.is_ipv6() {
                let flow = Flow::own(dst, None, mark);
                let ours = model.connect(flow).map(|(_, source)| source);
                let theirs = Machine::source(dst, mark);
                count.sources += 1;
                // Several next hops: several sources.
                if model.way(flow).len() == 1 && ours != theirs {
                    return Err(format!(
                        "source of {flow:?}\n  model  {ours:?}\n  kernel {theirs:?}"
                    ));
                }
            }
        }
    }
    Ok(())
}

fn replay(history: &[Op], machine: &mut Machine, count: &mut Count) -> Result<(), String> {
    let mut model = model();
    machine.reset(&model);
    for dev in 0..DEVICES.len() {
        perform(&Op::Link { dev, up: true }, &mut model, machine);
    }
    for (at, op) in history.iter().enumerate() {
        let step = |what: String| format!("after step {at}, {op:?}: {what}");
        if let Some((ours, theirs)) = perform(op, &mut model, machine)
            && ours != theirs
        {
            return Err(step(format!(
                "the model says {ours:?}, the kernel {theirs:?}"
            )));
        }
        compare(&model, machine, count).map_err(step)?;
    }
    Ok(())
}

/// `KERNEL_HISTORIES` (200) random histories from `KERNEL_SEED` (1).
#[test]
#[ignore = "needs a network namespace of its own: tests/simulation.bats"]
fn the_model_is_the_kernel() {
    let number = |name, default| std::env::var(name).map_or(default, |text| text.parse().unwrap());
    let histories = number("KERNEL_HISTORIES", 200);
    let mut seed = [0; 32];
    seed[..4].copy_from_slice(&number("KERNEL_SEED", 1_u32).to_le_bytes());
    let config = Config {
        cases: histories,
        failure_persistence: None,
        max_shrink_iters: 2000,
        ..Config::default()
    };
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &seed);
    let mut runner = TestRunner::new_with_rng(config, rng);
    let shared = std::cell::RefCell::new((Machine::new(), Count::default()));
    let result = runner.run(&prop::collection::vec(op(), 1..30), |history| {
        let (machine, count) = &mut *shared.borrow_mut();
        replay(&history, machine, count).map_err(TestCaseError::fail)
    });
    let (_, count) = &*shared.borrow();
    if let Err(error) = result {
        panic!("{error}");
    }
    println!(
        "{} states, {} ways, {} sources: no difference",
        count.states, count.ways, count.sources
    );
}
