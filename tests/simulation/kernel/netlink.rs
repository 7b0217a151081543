//! What the kernel says and hears over rtnetlink(7): requests, dumps and notices
//! as bytes. Attributes as inet6_rtm_newroute and rt6_fill_node of
//! net/ipv6/route.c have them, rtm_to_fib_config and fib_dump_info of
//! net/ipv4/fib_frontend.c and fib_semantics.c, fib_nl2rule and
//! fib_nl_fill_rule of net/core/fib_rules.c.

use std::net::IpAddr;

use libc::{EEXIST, EINVAL, ENODEV, ENOENT, EOPNOTSUPP, ESRCH};
use rtnetlink::packet_core::{Emitable, NlasIterator, Parseable};
use rtnetlink::packet_route::AddressFamily;
use rtnetlink::packet_route::address::{
    AddressAttribute, AddressFlags, AddressMessage, AddressScope,
};
use rtnetlink::packet_route::link::{LinkFlags, LinkHeader};
use rtnetlink::packet_route::route::{
    RouteAddress, RouteAttribute, RouteCacheInfo, RouteFlags, RouteMessage, RouteNextHop,
    RouteNextHopFlags, RouteType, RouteVia,
};
use rtnetlink::packet_route::rule::{RuleAction, RuleAttribute, RuleFlags, RuleMessage};

use super::fib6::{is_link_local, shares};
use super::net::{Family, Net};
use super::rules::{Action, Rule};
use super::{Addr, Errno, Hop, How, Kernel, Kind, Link, NOWHERE, Notice, Route};

/// NLM_F_* of linux/netlink.h.
pub const EXCL: u16 = libc::NLM_F_EXCL as u16;
pub const REPLACE: u16 = libc::NLM_F_REPLACE as u16;
pub const CREATE: u16 = libc::NLM_F_CREATE as u16;
pub const APPEND: u16 = libc::NLM_F_APPEND as u16;
/// Ticks of a second in RTA_CACHEINFO.
const USER_HZ: u64 = 100;

impl How {
    pub fn of_flags(flags: u16) -> Self {
        Self {
            create: flags & CREATE != 0,
            excl: flags & EXCL != 0,
            replace: flags & REPLACE != 0,
            append: flags & APPEND != 0,
        }
    }

    pub fn flags(self) -> u16 {
        let flag = |is_set, flag| if is_set { flag } else { 0 };
        flag(self.create, CREATE)
            | flag(self.excl, EXCL)
            | flag(self.replace, REPLACE)
            | flag(self.append, APPEND)
    }
}

/// A message as bytes.
pub fn bytes(message: &impl Emitable) -> Vec<u8> {
    let mut bytes = vec![0; message.buffer_len()];
    message.emit(&mut bytes);
    bytes
}

impl Kernel {
    /// One request of RTM_*; `take` gets what is answered besides the verdict.
    pub fn request(
        &mut self,
        kind: u16,
        flags: u16,
        body: &[u8],
        take: &mut dyn FnMut(&[u8]),
    ) -> Result<(), Errno> {
        match kind {
            libc::RTM_GETLINK => {
                let link = self.named(body).ok_or(ENODEV)?;
                take(&link_bytes(link));
                Ok(())
            }
            libc::RTM_NEWROUTE => {
                let message = RouteMessage::parse(body).map_err(|_| EINVAL)?;
                let routes = self.routes_of(message)?;
                self.new_routes(routes, flags)
            }
            libc::RTM_DELROUTE => {
                let message = RouteMessage::parse(body).map_err(|_| EINVAL)?;
                self.del_route(&message)
            }
            libc::RTM_NEWRULE => {
                let message = RuleMessage::parse(body).map_err(|_| EINVAL)?;
                let rule = rule_of(&message)?;
                self.new_rule(rule, flags & EXCL != 0)
            }
            libc::RTM_DELRULE => {
                let message = RuleMessage::parse(body).map_err(|_| EINVAL)?;
                let wanted = rule_of(&message)?;
                self.del_rule(|rule| is_wanted(rule, &wanted, &message))
            }
            _ => Err(EOPNOTSUPP),
        }
    }

    /// ip6_route_multipath_add: all or none.
    fn new_routes(&mut self, routes: Vec<Route>, flags: u16) -> Result<(), Errno> {
        let [first, more @ ..] = routes.as_slice() else {
            return Err(EINVAL);
        };
        if more.is_empty() {
            return self.new_route(first.clone(), How::of_flags(flags));
        }
        let mut routes = routes;
        for at in 0..routes.len() {
            let mut route = routes[at].clone();
            self.check_hop6(&mut route)?;
            routes[at] = route.clone();
            if routes[..at]
                .iter()
                .any(|other| other.hops[0] == route.hops[0])
            {
                return Err(EEXIST);
            }
        }
        for (at, route) in routes.iter().enumerate() {
            // Only the first may replace.
            let how = How::of_flags(match at {
                0 => flags,
                _ => flags & !(EXCL | REPLACE) | CREATE,
            });
            if let Err(errno) = self.insert6(route.clone(), how) {
                for added in &routes[..at] {
                    let body = bytes(&self.message_of(added, &[added]));
                    let _ = self.request(libc::RTM_DELROUTE, 0, &body, &mut |_| ());
                }
                return Err(errno);
            }
        }
        Ok(())
    }

    /// All objects of a kind, as bodies of messages.
    pub fn dump(&self, kind: u16, body: &[u8]) -> Result<Vec<Vec<u8>>, Errno> {
        match kind {
            libc::RTM_GETRULE => {
                let request = RuleMessage::parse(body).map_err(|_| EINVAL)?;
                let family = family(request.header.family)?;
                let rules = self.rules.iter().filter(|rule| rule.family == family);
                Ok(rules.map(|rule| bytes(&message_of_rule(rule))).collect())
            }
            libc::RTM_GETROUTE => {
                let request = RouteMessage::parse(body).map_err(|_| EINVAL)?;
                self.dump_routes(&request)
            }
            libc::RTM_GETADDR => {
                let request = AddressMessage::parse(body).map_err(|_| EINVAL)?;
                let family = family(request.header.family)?;
                let addrs = self.addrs.iter();
                let addrs = addrs.filter(|addr| Family::of(addr.addr) == family);
                Ok(addrs.map(address_bytes).collect())
            }
            libc::RTM_GETLINK => Ok(self.links.iter().map(link_bytes).collect()),
            _ => Err(EOPNOTSUPP),
        }
    }

    /// inet_dump_fib, inet6_dump_fib, with the filters of ip_valid_fib_dump_req.
    fn dump_routes(&self, request: &RouteMessage) -> Result<Vec<Vec<u8>>, Errno> {
        let family = family(request.header.address_family)?;
        let mut table = u32::from(request.header.table);
        let mut device = 0;
        for attribute in &request.attributes {
            match attribute {
                RouteAttribute::Table(number) => table = *number,
                RouteAttribute::Oif(index) => device = *index,
                _ => {}
            }
        }
        if table != 0 && !self.has_table(family, table) {
            return Err(ENOENT);
        }
        if device != 0 && self.link(device).is_none() {
            return Err(ENODEV);
        }
        let protocol = u8::from(request.header.protocol);
        let mut listed: Vec<&Route> = Vec::new();
        let mut dumped = Vec::new();
        for route in self.routes.iter().filter(|r| r.family() == family) {
            if table != 0 && route.table != table
                || protocol != 0 && route.proto != protocol
                || listed.iter().any(|other| std::ptr::eq(*other, route))
            {
                continue;
            }
            let hops = self.siblings(route);
            listed.extend(&hops);
            if device != 0 && !hops.iter().any(|hop| hop.is_through(device)) {
                continue;
            }
            dumped.push(bytes(&self.message_of(route, &hops)));
        }
        Ok(dumped)
    }

    /// IPv6: the routes that it shares traffic with, itself among them.
    fn siblings<'a>(&'a self, route: &'a Route) -> Vec<&'a Route> {
        if route.family() == Family::V4 || !shares(route) {
            return vec![route];
        }
        let like = |other: &&Route| {
            (other.table, other.dst, other.src, other.metric)
                == (route.table, route.dst, route.src, route.metric)
                && shares(other)
        };
        self.routes.iter().filter(like).collect()
    }

    /// The notices so far, as (RTM_*, body).
    pub fn told(&mut self) -> Vec<(u16, Vec<u8>)> {
        let notices = std::mem::take(&mut self.notices);
        let told = notices.into_iter().map(|notice| match notice {
            Notice::NewRoute(route) => {
                let hops = [&route];
                (libc::RTM_NEWROUTE, bytes(&self.message_of(&route, &hops)))
            }
            Notice::DelRoute(route) => {
                let hops = [&route];
                (libc::RTM_DELROUTE, bytes(&self.message_of(&route, &hops)))
            }
            Notice::NewRule(rule) => (libc::RTM_NEWRULE, bytes(&message_of_rule(&rule))),
            Notice::DelRule(rule) => (libc::RTM_DELRULE, bytes(&message_of_rule(&rule))),
            Notice::Link { link, gone: false } => (libc::RTM_NEWLINK, link_bytes(&link)),
            Notice::Link { link, gone: true } => (libc::RTM_DELLINK, link_bytes(&link)),
            Notice::Addr { addr, gone: false } => (libc::RTM_NEWADDR, address_bytes(&addr)),
            Notice::Addr { addr, gone: true } => (libc::RTM_DELADDR, address_bytes(&addr)),
        });
        told.collect()
    }

    fn named(&self, body: &[u8]) -> Option<&Link> {
        let header = LinkHeader::parse(body).ok()?;
        if header.index != 0 {
            return self.link(header.index);
        }
        let name = NlasIterator::new(body.get(16..)?)
            .map_while(Result::ok)
            .find(|nla| matches!(nla.kind(), libc::IFLA_IFNAME | libc::IFLA_ALT_IFNAME))?;
        let name = name.value().strip_suffix(&[0])?.to_vec();
        self.links.iter().find(|link| link.name.as_bytes() == name)
    }

    /// What a request for a new route asks for; of IPv6 one for each next hop.
    pub fn routes_of(&self, message: RouteMessage) -> Result<Vec<Route>, Errno> {
        let parsed = Parsed::of(&message)?;
        let mut route = parsed.route;
        route.expires = parsed.lifetime.map(|seconds| self.now + seconds * 1000);
        Ok(match route.family() {
            Family::V4 => vec![route],
            Family::V6 if route.hops.is_empty() => {
                // "Invalid: no device" only for those that lead somewhere.
                if route.kind.error().is_none() {
                    return Err(ENODEV);
                }
                vec![Route {
                    hops: Route::reject(route.table, route.dst, route.kind).hops,
                    ..route
                }]
            }
            Family::V6 => {
                let hops = route.hops.clone();
                let single = |hop| Route {
                    hops: vec![hop],
                    ..route.clone()
                };
                hops.into_iter().map(single).collect()
            }
        })
    }

    /// ip6_route_del and fib_table_delete.
    fn del_route(&mut self, message: &RouteMessage) -> Result<(), Errno> {
        let parsed = Parsed::of(message)?;
        let (wanted, family) = (parsed.route, Family::of(message_addr(message)?));
        if !self.has_table(family, wanted.table) {
            return Err(ESRCH);
        }
        let hop = wanted.hops.first().copied();
        let by_hop = |route: &Route| match (hop, route.hops.first()) {
            (None, _) => true,
            (Some(asked), Some(hop)) => {
                (asked.dev == 0 || asked.dev == hop.dev)
                    && (asked.via.is_none() || asked.via == hop.via)
            }
            (Some(_), None) => false,
        };
        let matches = |route: &Route| {
            (route.table, route.dst) == (wanted.table, wanted.dst)
                && route.src == wanted.src
                && (wanted.proto == 0 || route.proto == wanted.proto)
                && (wanted.metric == 0 || route.metric == wanted.metric)
                && by_hop(route)
        };
        if family == Family::V6 {
            let found = self.routes.iter().find(|route| matches(route)).cloned();
            self.del_route6(matches)?;
            // "if gateway was specified only delete the one hop"
            if let Some(found) =
                found.filter(|found| hop.is_none_or(|h| h.via.is_none()) && shares(found))
            {
                let like = |other: &Route| {
                    (other.table, other.dst, other.src, other.metric)
                        == (found.table, found.dst, found.src, found.metric)
                        && shares(other)
                };
                self.remove_routes(like);
            }
            return Ok(());
        }
        let kind = (message.header.kind != RouteType::Unspec).then_some(wanted.kind);
        self.del_route4(|route| {
            matches(route)
                && route.tos == wanted.tos
                && kind.is_none_or(|kind| route.kind == kind)
                && (wanted.scope == NOWHERE || route.scope == wanted.scope)
                && wanted
                    .prefsrc
                    .is_none_or(|addr| route.prefsrc == Some(addr))
        })
    }

    /// rt6_fill_node, fib_dump_info: a route with all its next hops.
    pub fn message_of(&self, route: &Route, hops: &[&Route]) -> RouteMessage {
        let mut message = RouteMessage::default();
        let header = &mut message.header;
        header.address_family = address_family(route.family());
        header.destination_prefix_length = route.dst.len;
        header.source_prefix_length = route.src.map_or(0, |src| src.len);
        header.tos = route.tos;
        header.table = u8::try_from(route.table).unwrap_or(252);
        header.protocol = route.proto.into();
        header.scope = route.scope.into();
        header.kind = route_type(route.kind);
        let attributes = &mut message.attributes;
        attributes.push(RouteAttribute::Table(route.table));
        if route.dst.len != 0 {
            attributes.push(RouteAttribute::Destination(address(route.dst.addr)));
        }
        attributes.extend(
            route
                .src
                .map(|src| RouteAttribute::Source(address(src.addr))),
        );
        if route.metric != 0 {
            attributes.push(RouteAttribute::Priority(route.metric));
        }
        attributes.extend(
            route
                .prefsrc
                .map(|src| RouteAttribute::PrefSource(address(src))),
        );
        if !route.metrics.is_empty() {
            attributes.push(RouteAttribute::Metrics(route.metrics.clone()));
        }
        let all: Vec<Hop> = match route.family() {
            Family::V4 => route.hops.clone(),
            Family::V6 => hops.iter().map(|route| route.hops[0]).collect(),
        };
        match all.as_slice() {
            [] => {}
            [hop] => {
                attributes.push(RouteAttribute::Oif(hop.dev));
                attributes.extend(hop.via.map(|via| gateway(route.family(), via)));
                if hop.onlink {
                    header.flags |= RouteFlags::Onlink;
                }
            }
            several => attributes.push(RouteAttribute::MultiPath(
                several
                    .iter()
                    .map(|hop| next_hop(route.family(), hop))
                    .collect(),
            )),
        }
        if route.family() == Family::V6 {
            attributes.push(RouteAttribute::CacheInfo(self.cache_info(route)));
            attributes.push(RouteAttribute::Preference(route.pref.into()));
        }
        message
    }

    fn cache_info(&self, route: &Route) -> RouteCacheInfo {
        // The struct cannot be made field by field.
        let mut info = RouteCacheInfo::parse(&[0; 32]).unwrap();
        if let Some(end) = route.expires {
            let ticks = |milliseconds: u64| (milliseconds * USER_HZ / 1000) as i32;
            let left = match end >= self.now {
                true => ticks(end - self.now),
                false => -ticks(self.now - end),
            };
            // 0 would say that it has none.
            info.expires = if left == 0 { -1_i32 } else { left }.cast_unsigned();
        }
        info
    }
}

/// A request as it came, before it is known what there is.
struct Parsed {
    route: Route,
    lifetime: Option<u64>,
}

impl Parsed {
    fn of(message: &RouteMessage) -> Result<Self, Errno> {
        let header = &message.header;
        let family = family(header.address_family)?;
        let mut route = Route::new(u32::from(header.table), Net::all(family), 0, None);
        route.hops.clear();
        route.proto = header.protocol.into();
        route.kind = kind(header.kind)?;
        route.tos = header.tos;
        route.scope = header.scope.into();
        let mut hop = Hop {
            dev: 0,
            via: None,
            onlink: header.flags.contains(RouteFlags::Onlink),
            dead: false,
        };
        let mut lifetime = None;
        for attribute in &message.attributes {
            match attribute {
                RouteAttribute::Table(table) => route.table = *table,
                RouteAttribute::Destination(addr) => {
                    route.dst = Net::of(ip(addr).ok_or(EINVAL)?, header.destination_prefix_length);
                }
                RouteAttribute::Source(addr) => {
                    let src = Net::of(ip(addr).ok_or(EINVAL)?, header.source_prefix_length);
                    route.src = (src.len != 0).then_some(src);
                }
                RouteAttribute::Oif(index) => hop.dev = *index,
                RouteAttribute::Gateway(_) | RouteAttribute::Via(_) => hop.via = via_of(attribute),
                RouteAttribute::Priority(metric) => route.metric = *metric,
                RouteAttribute::PrefSource(addr) => route.prefsrc = ip(addr),
                RouteAttribute::Metrics(metrics) => route.metrics = metrics.clone(),
                RouteAttribute::Preference(preference) => {
                    route.pref = match u8::from(*preference) {
                        2 => 0,
                        preference => preference,
                    };
                }
                RouteAttribute::Expires(seconds) => lifetime = Some(u64::from(*seconds)),
                RouteAttribute::CacheInfo(info) if info.expires != 0 => {
                    let ticks = info.expires.cast_signed().max(0).cast_unsigned();
                    lifetime = Some(u64::from(ticks) / USER_HZ);
                }
                RouteAttribute::MultiPath(hops) => {
                    route.hops = hops
                        .iter()
                        .map(|hop| Hop {
                            dev: hop.interface_index,
                            via: hop.attributes.iter().find_map(via_of),
                            onlink: hop.flags.contains(RouteNextHopFlags::Onlink),
                            dead: hop.flags.contains(RouteNextHopFlags::Dead),
                        })
                        .collect();
                }
                _ => {}
            }
        }
        if hop.dev != 0 || hop.via.is_some() {
            route.hops = vec![hop];
        }
        if family == Family::V6 {
            route.scope = super::UNIVERSE;
            route.tos = 0;
        }
        Ok(Self { route, lifetime })
    }
}

/// The routes of a dumped message of a real kernel.
pub fn dumped(message: &RouteMessage, kernel: &Kernel) -> Vec<Route> {
    let Ok(parsed) = Parsed::of(message) else {
        return Vec::new();
    };
    let mut route = parsed.route;
    route.expires = parsed.lifetime.map(|seconds| kernel.now + seconds * 1000);
    if route.family() == Family::V4 {
        return vec![route];
    }
    let hops = route.hops.clone();
    let single = |hop| Route {
        hops: vec![hop],
        ..route.clone()
    };
    hops.into_iter().map(single).collect()
}

pub fn via_of(attribute: &RouteAttribute) -> Option<IpAddr> {
    match attribute {
        RouteAttribute::Gateway(addr) => ip(addr),
        RouteAttribute::Via(RouteVia::Inet(addr)) => Some((*addr).into()),
        RouteAttribute::Via(RouteVia::Inet6(addr)) => Some((*addr).into()),
        _ => None,
    }
}

fn message_addr(message: &RouteMessage) -> Result<IpAddr, Errno> {
    family(message.header.address_family).map(Family::unspecified)
}

fn next_hop(family: Family, hop: &Hop) -> RouteNextHop {
    let mut next = RouteNextHop::default();
    next.interface_index = hop.dev;
    next.flags.set(RouteNextHopFlags::Onlink, hop.onlink);
    next.flags.set(RouteNextHopFlags::Dead, hop.dead);
    next.attributes
        .extend(hop.via.map(|via| gateway(family, via)));
    next
}

fn gateway(family: Family, addr: IpAddr) -> RouteAttribute {
    match addr {
        addr if Family::of(addr) == family => RouteAttribute::Gateway(address(addr)),
        IpAddr::V4(addr) => RouteAttribute::Via(RouteVia::Inet(addr)),
        IpAddr::V6(addr) => RouteAttribute::Via(RouteVia::Inet6(addr)),
    }
}

/// fib_nl2rule.
fn rule_of(message: &RuleMessage) -> Result<Rule, Errno> {
    let header = &message.header;
    let family = family(header.family)?;
    let mut rule = Rule::new(family, 0, Action::Unspec);
    let mut table = u32::from(header.table);
    let mut target = 0;
    rule.invert = header.flags.contains(RuleFlags::Invert);
    for attribute in &message.attributes {
        match attribute {
            RuleAttribute::Destination(addr) => rule.to = Some(Net::of(*addr, header.dst_len)),
            RuleAttribute::Source(addr) => rule.from = Some(Net::of(*addr, header.src_len)),
            RuleAttribute::Iifname(name) => rule.iif = Some(name.clone()),
            RuleAttribute::Oifname(name) => rule.oif = Some(name.clone()),
            RuleAttribute::Priority(priority) => rule.priority = *priority,
            RuleAttribute::Protocol(proto) => rule.proto = (*proto).into(),
            RuleAttribute::Table(number) => table = *number,
            RuleAttribute::Goto(priority) => target = *priority,
            RuleAttribute::SuppressPrefixLen(u32::MAX) => {}
            RuleAttribute::SuppressPrefixLen(len) => rule.suppress = u8::try_from(*len).ok(),
            RuleAttribute::FwMark(mark) => {
                rule.mark = *mark;
                // "if the mark value is non-zero all bits are compared unless a
                // mask is explicitly specified"
                if *mark != 0 && rule.mask == 0 {
                    rule.mask = u32::MAX;
                }
            }
            _ => {}
        }
    }
    for attribute in &message.attributes {
        if let RuleAttribute::FwMask(mask) = attribute {
            rule.mask = *mask;
        }
    }
    rule.action = match header.action {
        RuleAction::ToTable => Action::ToTable(table),
        RuleAction::Goto => Action::Goto(target),
        RuleAction::Nop => Action::Nop,
        RuleAction::Blackhole => Action::Blackhole,
        RuleAction::Unreachable => Action::Unreachable,
        RuleAction::Prohibit => Action::Prohibit,
        _ => Action::Unspec,
    };
    Ok(rule)
}

/// rule_find: what the request does not name may be anything.
fn is_wanted(rule: &Rule, wanted: &Rule, message: &RuleMessage) -> bool {
    let names = |is: fn(&RuleAttribute) -> bool| message.attributes.iter().any(is);
    let same_action = match wanted.action {
        Action::Unspec => true,
        Action::ToTable(0) => matches!(rule.action, Action::ToTable(_)),
        action => rule.action == action,
    };
    rule.family == wanted.family
        && same_action
        && (!names(|a| matches!(a, RuleAttribute::Priority(_))) || rule.priority == wanted.priority)
        && (!names(|a| matches!(a, RuleAttribute::Protocol(_))) || rule.proto == wanted.proto)
        && (wanted.iif.is_none() || rule.iif == wanted.iif)
        && (wanted.oif.is_none() || rule.oif == wanted.oif)
        && (!names(|a| matches!(a, RuleAttribute::FwMark(_))) || rule.mark == wanted.mark)
        && (wanted.mask == 0 || rule.mask == wanted.mask)
        && (wanted.suppress.is_none() || rule.suppress == wanted.suppress)
        && (wanted.from.is_none() || rule.from == wanted.from)
        && (wanted.to.is_none() || rule.to == wanted.to)
}

/// fib_nl_fill_rule.
pub fn message_of_rule(rule: &Rule) -> RuleMessage {
    let mut message = RuleMessage::default();
    let header = &mut message.header;
    header.family = address_family(rule.family);
    header.src_len = rule.from.map_or(0, |net| net.len);
    header.dst_len = rule.to.map_or(0, |net| net.len);
    if rule.invert {
        header.flags |= RuleFlags::Invert;
    }
    let attributes = &mut message.attributes;
    let (action, table) = match rule.action {
        Action::Unspec => (RuleAction::Unspec, 0),
        Action::ToTable(table) => (RuleAction::ToTable, table),
        Action::Goto(_) => (RuleAction::Goto, 0),
        Action::Nop => (RuleAction::Nop, 0),
        Action::Blackhole => (RuleAction::Blackhole, 0),
        Action::Unreachable => (RuleAction::Unreachable, 0),
        Action::Prohibit => (RuleAction::Prohibit, 0),
    };
    header.action = action;
    header.table = u8::try_from(table).unwrap_or(252);
    attributes.push(RuleAttribute::Table(table));
    attributes.push(RuleAttribute::SuppressPrefixLen(
        rule.suppress.map_or(u32::MAX, u32::from),
    ));
    attributes.extend(rule.iif.clone().map(RuleAttribute::Iifname));
    attributes.extend(rule.oif.clone().map(RuleAttribute::Oifname));
    if rule.priority != 0 {
        attributes.push(RuleAttribute::Priority(rule.priority));
    }
    if rule.mark != 0 {
        attributes.push(RuleAttribute::FwMark(rule.mark));
    }
    if rule.mask != 0 || rule.mark != 0 {
        attributes.push(RuleAttribute::FwMask(rule.mask));
    }
    if let Action::Goto(target) = rule.action {
        attributes.push(RuleAttribute::Goto(target));
    }
    attributes.push(RuleAttribute::Protocol(rule.proto.into()));
    attributes.extend(rule.to.map(|net| RuleAttribute::Destination(net.addr)));
    attributes.extend(rule.from.map(|net| RuleAttribute::Source(net.addr)));
    message
}

/// The rule of a dumped message of a real kernel.
pub fn dumped_rule(message: &RuleMessage) -> Option<Rule> {
    rule_of(message).ok()
}

/// rtnl_fill_ifinfo, as far as anybody here reads it.
fn link_bytes(link: &Link) -> Vec<u8> {
    let mut header = LinkHeader {
        index: link.index,
        ..LinkHeader::default()
    };
    header.flags.set(LinkFlags::Up, link.up);
    header.flags.set(LinkFlags::Running, link.up);
    let mut body = bytes(&header);
    let mut name = link.name.as_bytes().to_vec();
    name.push(0);
    let length = u16::try_from(4 + name.len()).unwrap();
    body.extend(length.to_ne_bytes());
    body.extend(libc::IFLA_IFNAME.to_ne_bytes());
    body.extend(&name);
    body.resize(body.len().next_multiple_of(4), 0);
    body
}

/// inet_fill_ifaddr, inet6_fill_ifaddr.
fn address_bytes(addr: &Addr) -> Vec<u8> {
    let mut message = AddressMessage::default();
    message.header.family = address_family(Family::of(addr.addr));
    message.header.prefix_len = addr.len;
    message.header.index = addr.dev;
    message.header.scope = match addr.addr {
        one if one.is_loopback() => AddressScope::Host,
        one if is_link_local(one) => AddressScope::Link,
        _ => AddressScope::Universe,
    };
    message
        .attributes
        .push(AddressAttribute::Address(addr.addr));
    if addr.addr.is_ipv4() {
        message.attributes.push(AddressAttribute::Local(addr.addr));
    }
    let mut flags = AddressFlags::Permanent;
    if addr.noprefixroute {
        flags |= AddressFlags::Noprefixroute;
    }
    message.attributes.push(AddressAttribute::Flags(flags));
    bytes(&message)
}

fn kind(kind: RouteType) -> Result<Kind, Errno> {
    Ok(match kind {
        // What a deletion leaves open.
        RouteType::Unspec | RouteType::Unicast => Kind::Unicast,
        RouteType::Local => Kind::Local,
        RouteType::Broadcast => Kind::Broadcast,
        RouteType::Unreachable => Kind::Unreachable,
        RouteType::BlackHole => Kind::Blackhole,
        RouteType::Prohibit => Kind::Prohibit,
        RouteType::Throw => Kind::Throw,
        _ => return Err(EINVAL),
    })
}

fn route_type(kind: Kind) -> RouteType {
    match kind {
        Kind::Unicast => RouteType::Unicast,
        Kind::Local => RouteType::Local,
        Kind::Broadcast => RouteType::Broadcast,
        Kind::Unreachable => RouteType::Unreachable,
        Kind::Blackhole => RouteType::BlackHole,
        Kind::Prohibit => RouteType::Prohibit,
        Kind::Throw => RouteType::Throw,
    }
}

fn ip(addr: &RouteAddress) -> Option<IpAddr> {
    match addr {
        RouteAddress::Inet(addr) => Some((*addr).into()),
        RouteAddress::Inet6(addr) => Some((*addr).into()),
        _ => None,
    }
}

fn address(addr: IpAddr) -> RouteAddress {
    match addr {
        IpAddr::V4(addr) => RouteAddress::Inet(addr),
        IpAddr::V6(addr) => RouteAddress::Inet6(addr),
    }
}

fn family(family: AddressFamily) -> Result<Family, Errno> {
    match family {
        AddressFamily::Inet => Ok(Family::V4),
        AddressFamily::Inet6 => Ok(Family::V6),
        _ => Err(libc::EAFNOSUPPORT),
    }
}

pub fn address_family(family: Family) -> AddressFamily {
    match family {
        Family::V4 => AddressFamily::Inet,
        Family::V6 => AddressFamily::Inet6,
    }
}
