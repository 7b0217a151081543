//! Routes and rules to and from rtnetlink messages (rtnetlink(7)).

use std::net::IpAddr;

use rtnetlink::packet_route::AddressFamily;
use rtnetlink::packet_route::route::{
    RouteAddress, RouteAttribute, RouteCacheInfo, RouteFlags, RouteMessage, RouteNextHop,
    RouteNextHopFlags, RouteProtocol, RouteScope, RouteType, RouteVia,
};
use rtnetlink::packet_route::rule::{RuleAction, RuleAttribute, RuleFlags, RuleMessage};

use super::route::{Family, Others, Prefix, Route, Rule};
use crate::config::Mark;

/// What `ip` writes where a table's number does not fit the header's byte.
const RT_TABLE_COMPAT: u8 = 252;
/// Times in RTA_CACHEINFO come in ticks of USER_HZ, which is 100 on every
/// architecture that OpenWrt knows.
const USER_HZ: i32 = 100;
/// "No such limit" in FRA_SUPPRESS_PREFIXLEN, which every dumped rule carries.
const NOT_SUPPRESSED: u32 = u32::MAX;

/// AF_INET or AF_INET6.
#[must_use]
pub fn address_family(family: Family) -> AddressFamily {
    match family {
        Family::Ipv4 => AddressFamily::Inet,
        Family::Ipv6 => AddressFamily::Inet6,
    }
}

/// The routes of a dumped message, one per next hop. None for what can be no
/// concern of ours: other families, cached routes, routes into a tunnel's
/// encapsulation.
#[must_use]
pub fn routes(message: RouteMessage) -> Vec<Route> {
    let header = message.header;
    let family = match header.address_family {
        AddressFamily::Inet => Family::Ipv4,
        AddressFamily::Inet6 => Family::Ipv6,
        _ => return Vec::new(),
    };
    if header.flags.contains(RouteFlags::Cloned) {
        return Vec::new();
    }
    let destination = Prefix {
        addr: family.unspecified(),
        len: header.destination_prefix_length,
    };
    let mut route = Route {
        protocol: header.protocol.into(),
        kind: header.kind,
        tos: header.tos,
        onlink: header.flags.contains(RouteFlags::Onlink),
        scope: header.scope,
        ..Route::ours(header.table.into(), destination, 0)
    };
    let mut hops = Vec::new();
    for attribute in message.attributes {
        match attribute {
            RouteAttribute::MultiPath(list) => hops = list,
            RouteAttribute::Encap(_) | RouteAttribute::EncapType(_) => return Vec::new(),
            attribute => take(&mut route, &header.source_prefix_length, attribute),
        }
    }
    if route.kind != RouteType::Unicast {
        // IPv6 hangs them on `lo`, IPv4 on nothing.
        route.device = 0;
    }
    if hops.is_empty() {
        return vec![route];
    }
    route.multipath = family == Family::Ipv4 || route.nexthop.is_some();
    hops.into_iter().map(|hop| with_hop(&route, hop)).collect()
}

fn take(route: &mut Route, source_len: &u8, attribute: RouteAttribute) {
    match attribute {
        RouteAttribute::Table(table) => route.table = table,
        RouteAttribute::Destination(addr) => {
            if let Some(addr) = ip(&addr) {
                route.destination.addr = addr;
            }
        }
        RouteAttribute::Source(addr) => {
            let len = *source_len;
            route.source = ip(&addr).map(|addr| Prefix { addr, len });
        }
        RouteAttribute::Oif(index) => route.device = index,
        RouteAttribute::Gateway(addr) => route.gateway = ip(&addr),
        RouteAttribute::Via(RouteVia::Inet(addr)) => route.gateway = Some(addr.into()),
        RouteAttribute::Via(RouteVia::Inet6(addr)) => route.gateway = Some(addr.into()),
        RouteAttribute::Priority(metric) => route.metric = metric,
        RouteAttribute::PrefSource(addr) => route.prefsrc = ip(&addr),
        RouteAttribute::Metrics(metrics) => route.metrics = metrics,
        RouteAttribute::Preference(preference) => route.preference = Some(preference.into()),
        RouteAttribute::CacheInfo(info) => route.expires = seconds(&info),
        RouteAttribute::NhId(id) => route.nexthop = Some(id),
        _ => {}
    }
}

fn with_hop(route: &Route, hop: RouteNextHop) -> Route {
    let mut route = Route {
        device: hop.interface_index,
        gateway: None,
        onlink: hop.flags.contains(RouteNextHopFlags::Onlink),
        ..route.clone()
    };
    for attribute in hop.attributes {
        take(&mut route, &0, attribute);
    }
    route
}

fn ip(addr: &RouteAddress) -> Option<IpAddr> {
    match addr {
        RouteAddress::Inet(addr) => Some((*addr).into()),
        RouteAddress::Inet6(addr) => Some((*addr).into()),
        _ => None,
    }
}

/// Rounded up, so that a copy does not die before its original.
fn seconds(info: &RouteCacheInfo) -> Option<i32> {
    match info.expires.cast_signed() {
        0 => None,
        ticks => Some(ticks.div_euclid(USER_HZ) + i32::from(ticks.rem_euclid(USER_HZ) != 0)),
    }
}

/// The message that makes a route.
#[must_use]
pub fn of_route(route: &Route) -> RouteMessage {
    let mut message = key_of_route(route);
    message.header.scope = route.scope;
    let attributes = &mut message.attributes;
    if route.onlink {
        message.header.flags = RouteFlags::Onlink;
    }
    if let Some(addr) = route.prefsrc {
        attributes.push(RouteAttribute::PrefSource(addr.into()));
    }
    if !route.metrics.is_empty() {
        attributes.push(RouteAttribute::Metrics(route.metrics.clone()));
    }
    if let Some(preference) = route.preference {
        attributes.push(RouteAttribute::Preference(preference.into()));
    }
    if let Some(seconds) = route.expires {
        attributes.push(RouteAttribute::Expires(seconds.max(1).cast_unsigned()));
    }
    message
}

/// The message that deletes this route and no other.
#[must_use]
pub fn key_of_route(route: &Route) -> RouteMessage {
    let mut message = RouteMessage::default();
    let header = &mut message.header;
    header.address_family = address_family(route.family());
    header.destination_prefix_length = route.destination.len;
    header.tos = route.tos;
    header.protocol = RouteProtocol::from(route.protocol);
    header.kind = route.kind;
    // "Whatever scope" in a deletion; of_route sets the true one.
    header.scope = RouteScope::NoWhere;
    let attributes = &mut message.attributes;
    (header.table, _) = table(route.table);
    if let (_, Some(table)) = table(route.table) {
        attributes.push(RouteAttribute::Table(table));
    }
    if !route.is_default() {
        attributes.push(RouteAttribute::Destination(route.destination.addr.into()));
    }
    if let Some(source) = route.source {
        header.source_prefix_length = source.len;
        attributes.push(RouteAttribute::Source(source.addr.into()));
    }
    attributes.push(RouteAttribute::Priority(route.metric));
    if let Some(id) = route.nexthop {
        attributes.push(RouteAttribute::NhId(id));
    } else if !route.multipath {
        if route.device != 0 {
            attributes.push(RouteAttribute::Oif(route.device));
        }
        attributes.extend(route.gateway.map(|addr| gateway(route.family(), addr)));
    }
    message
}

/// RTA_VIA when the router is of the other family (RFC 8950).
fn gateway(family: Family, addr: IpAddr) -> RouteAttribute {
    match addr {
        addr if Family::of(addr) == family => RouteAttribute::Gateway(addr.into()),
        IpAddr::V4(addr) => RouteAttribute::Via(RouteVia::Inet(addr)),
        IpAddr::V6(addr) => RouteAttribute::Via(RouteVia::Inet6(addr)),
    }
}

/// A table's number for the header, and for an attribute where that is too
/// small for it.
#[must_use]
pub fn table(table: u32) -> (u8, Option<u32>) {
    match u8::try_from(table) {
        Ok(small) => (small, None),
        Err(_) => (RT_TABLE_COMPAT, Some(table)),
    }
}

/// The rule of a dumped message, none for other families.
#[must_use]
pub fn rule(message: RuleMessage) -> Option<Rule> {
    let header = message.header;
    let family = match header.family {
        AddressFamily::Inet => Family::Ipv4,
        AddressFamily::Inet6 => Family::Ipv6,
        _ => return None,
    };
    let mut rule = Rule {
        family,
        protocol: 0,
        priority: 0,
        mark: None,
        table: header.table.into(),
        action: header.action,
        others: Others {
            prefix_lens: (header.dst_len, header.src_len),
            tos: header.tos,
            inverted: header.flags.contains(RuleFlags::Invert),
            attributes: Vec::new(),
        },
    };
    let mut mark = Mark { value: 0, mask: 0 };
    for attribute in message.attributes {
        match attribute {
            RuleAttribute::Priority(priority) => rule.priority = priority,
            RuleAttribute::FwMark(value) => mark.value = value,
            RuleAttribute::FwMask(mask) => mark.mask = mask,
            RuleAttribute::Table(table) => rule.table = table,
            RuleAttribute::Protocol(protocol) => rule.protocol = protocol.into(),
            RuleAttribute::SuppressPrefixLen(NOT_SUPPRESSED) => {}
            other => rule.others.attributes.push(other),
        }
    }
    rule.mark = (mark.mask != 0).then_some(mark);
    Some(rule)
}

/// The message that makes or deletes a rule.
#[must_use]
pub fn of_rule(rule: &Rule) -> RuleMessage {
    let mut message = RuleMessage::default();
    let header = &mut message.header;
    header.family = address_family(rule.family);
    (header.dst_len, header.src_len) = rule.others.prefix_lens;
    header.tos = rule.others.tos;
    header.action = rule.action;
    if rule.others.inverted {
        header.flags = RuleFlags::Invert;
    }
    let attributes = &mut message.attributes;
    if rule.action == RuleAction::ToTable {
        (header.table, _) = table(rule.table);
        if let (_, Some(table)) = table(rule.table) {
            attributes.push(RuleAttribute::Table(table));
        }
    }
    attributes.push(RuleAttribute::Priority(rule.priority));
    attributes.push(RuleAttribute::Protocol(RouteProtocol::from(rule.protocol)));
    if let Some(mark) = rule.mark {
        attributes.push(RuleAttribute::FwMark(mark.value));
        attributes.push(RuleAttribute::FwMask(mark.mask));
    }
    attributes.extend(rule.others.attributes.iter().cloned());
    message
}
