//! Routes and rules to and from rtnetlink messages (rtnetlink(7)).

use std::net::IpAddr;

use rtnetlink::packet_route::AddressFamily;
use rtnetlink::packet_route::route::{
    RouteAddress, RouteAttribute, RouteCacheInfo, RouteFlags, RouteMessage, RouteNextHop,
    RouteNextHopFlags, RouteProtocol, RouteScope, RouteType, RouteVia,
};
use rtnetlink::packet_route::rule::{RuleAction, RuleAttribute, RuleFlags, RuleMessage};

use super::route::{Family, Others, Prefix, Route, Rule};
use super::state::Address;
use crate::config::Mark;
use crate::netlink::attributes;

/// What `ip` writes where a table's number does not fit the header's byte.
const RT_TABLE_COMPAT: u8 = 252;
/// Times in RTA_CACHEINFO come in ticks of USER_HZ, which is 100 on every
/// architecture that OpenWrt knows.
const USER_HZ: i32 = 100;
/// Length of struct ifaddrmsg.
const ADDRESS_HEADER: usize = 8;
/// Length of struct nhmsg.
const NEXTHOP_HEADER: usize = 8;
/// Length of struct nexthop_grp.
const GROUP_ENTRY: usize = 8;
/// Attributes of an address and of a nexthop object (linux/if_addr.h,
/// linux/nexthop.h).
const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
const IFA_FLAGS: u16 = 8;
const NHA_ID: u16 = 1;
const NHA_GROUP: u16 = 2;
const NHA_OIF: u16 = 5;
const NHA_GATEWAY: u16 = 6;
/// IFA_F_DADFAILED, IFA_F_DEPRECATED and IFA_F_TENTATIVE.
const NOT_PREFERRED: u32 = 0x08 | 0x20 | 0x40;
/// RTNH_F_ONLINK.
const ONLINK: u32 = 4;
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
/// concern of ours: other families, cached routes.
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
        wrapped @ (RouteAttribute::Encap(_) | RouteAttribute::EncapType(_)) => {
            route.encap.push(wrapped);
        }
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
    attributes.extend(route.encap.iter().cloned());
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

/// The request for all addresses of a family.
#[must_use]
pub fn all_addresses(family: Family) -> Vec<u8> {
    let mut request = vec![0; ADDRESS_HEADER];
    request[0] = address_family(family).into();
    request
}

/// The address of a dumped message, none for other families.
#[must_use]
pub fn address(body: &[u8]) -> Option<Address> {
    let header = body.first_chunk::<ADDRESS_HEADER>()?;
    let mut flags = u32::from(header[2]);
    let (mut network, mut local) = (None, None);
    for attribute in attributes(body, ADDRESS_HEADER) {
        let (kind, value) = attribute;
        match kind {
            IFA_ADDRESS => network = bytes_of_ip(value),
            IFA_LOCAL => local = bytes_of_ip(value),
            IFA_FLAGS => flags = number(value)?,
            _ => {}
        }
    }
    let network = network.or(local)?;
    Some(Address {
        device: number(&header[4..])?,
        addr: local.unwrap_or(network),
        network: Prefix::around(network, header[1]),
        preferred: flags & NOT_PREFERRED == 0,
    })
}

/// A nexthop object (ip-nexthop(8)).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Nexthop {
    /// Index of its device, 0 for a group or a blackhole.
    pub device: u32,
    /// The router.
    pub gateway: Option<IpAddr>,
    /// Whether that counts as on-link in any case.
    pub onlink: bool,
    /// The members of a group.
    pub members: Vec<u32>,
}

/// The request for one nexthop object.
#[must_use]
pub fn one_nexthop(id: u32) -> Vec<u8> {
    let mut request = vec![0; NEXTHOP_HEADER];
    request.extend(8_u16.to_ne_bytes());
    request.extend(NHA_ID.to_ne_bytes());
    request.extend(id.to_ne_bytes());
    request
}

/// The nexthop object of an answer.
#[must_use]
pub fn nexthop(body: &[u8]) -> Option<Nexthop> {
    let header = body.first_chunk::<NEXTHOP_HEADER>()?;
    let mut nexthop = Nexthop {
        onlink: number(&header[4..])? & ONLINK != 0,
        ..Nexthop::default()
    };
    for (kind, value) in attributes(body, NEXTHOP_HEADER) {
        match kind {
            NHA_OIF => nexthop.device = number(value)?,
            NHA_GATEWAY => nexthop.gateway = bytes_of_ip(value),
            NHA_GROUP => nexthop.members = value.chunks(GROUP_ENTRY).filter_map(number).collect(),
            _ => {}
        }
    }
    Some(nexthop)
}

/// A route that the kernel told only by its nexthop object, with what that is:
/// one per next hop.
#[must_use]
pub fn with_nexthop(route: &Route, mut find: impl FnMut(u32) -> Option<Nexthop>) -> Vec<Route> {
    let Some(found) = route.nexthop.and_then(&mut find) else {
        return Vec::new();
    };
    let multipath = !found.members.is_empty();
    let hops = match multipath {
        true => found.members.into_iter().filter_map(find).collect(),
        false => vec![found],
    };
    let told = |hop: Nexthop| Route {
        device: hop.device,
        gateway: hop.gateway,
        onlink: hop.onlink,
        multipath,
        ..route.clone()
    };
    hops.into_iter().map(told).collect()
}

fn number(bytes: &[u8]) -> Option<u32> {
    bytes.first_chunk().map(|bytes| u32::from_ne_bytes(*bytes))
}

fn bytes_of_ip(bytes: &[u8]) -> Option<IpAddr> {
    match bytes.len() {
        4 => <[u8; 4]>::try_from(bytes).ok().map(IpAddr::from),
        16 => <[u8; 16]>::try_from(bytes).ok().map(IpAddr::from),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attribute(bytes: &mut Vec<u8>, kind: u16, value: &[u8]) {
        bytes.extend((4 + value.len() as u16).to_ne_bytes());
        bytes.extend(kind.to_ne_bytes());
        bytes.extend(value);
    }

    #[test]
    fn addresses() {
        let mut body = vec![2, 24, 0, 0, 7, 0, 0, 0];
        attribute(&mut body, IFA_ADDRESS, &[192, 0, 2, 5]);
        attribute(&mut body, IFA_LOCAL, &[192, 0, 2, 5]);
        let found = address(&body).unwrap();
        assert_eq!(
            (found.device, found.addr.to_string()),
            (7, "192.0.2.5".into())
        );
        assert_eq!(found.network.to_string(), "192.0.2.0/24");
        assert!(found.preferred && found.is_configured());
        // PPP: what is on-link is the other end.
        let mut body = vec![2, 32, 0, 0, 7, 0, 0, 0];
        attribute(&mut body, IFA_ADDRESS, &[10, 0, 0, 1]);
        attribute(&mut body, IFA_LOCAL, &[192, 0, 2, 5]);
        assert_eq!(address(&body).unwrap().network.to_string(), "10.0.0.1/32");
        // Deprecated, by the attribute that has room for all flags.
        let mut body = vec![10, 64, 0, 0, 7, 0, 0, 0];
        let addr: std::net::Ipv6Addr = "fe80::5".parse().unwrap();
        attribute(&mut body, IFA_ADDRESS, &addr.octets());
        attribute(&mut body, IFA_FLAGS, &0xa0_u32.to_ne_bytes());
        let found = address(&body).unwrap();
        assert_eq!(found.network.to_string(), "fe80::/64");
        assert!(!found.preferred && !found.is_configured());
        assert_eq!(address(&body[..7]), None);
        assert_eq!(address(&[10, 64, 0, 0, 7, 0, 0, 0]), None);
    }

    #[test]
    fn a_nexthop_object_becomes_its_next_hops() {
        let mut body = vec![10, 0, 0, 0, 4, 0, 0, 0];
        attribute(&mut body, NHA_ID, &7_u32.to_ne_bytes());
        attribute(&mut body, NHA_OIF, &2_u32.to_ne_bytes());
        let router: std::net::Ipv6Addr = "fe80::1".parse().unwrap();
        attribute(&mut body, NHA_GATEWAY, &router.octets());
        let one = nexthop(&body).unwrap();
        assert_eq!((one.device, one.onlink), (2, true));
        let mut body = vec![0; 8];
        let entry = |id: u8| [id, 0, 0, 0, 1, 0, 0, 0];
        attribute(&mut body, NHA_GROUP, &[entry(7), entry(8)].concat());
        let group = nexthop(&body).unwrap();
        assert_eq!(group.members, [7, 8]);

        let everything = Prefix::around(router.into(), 0);
        let mut route = Route::ours(254, everything, 0);
        route.nexthop = Some(3);
        let known = |id| match id {
            3 => Some(group.clone()),
            7 | 8 => Some(one.clone()),
            _ => None,
        };
        let routes = with_nexthop(&route, known);
        let hop = routes[0].clone();
        assert_eq!((hop.device, hop.gateway), (2, Some(router.into())));
        assert!(hop.multipath && hop.onlink && routes.len() == 2);
        route.nexthop = Some(7);
        assert!(!with_nexthop(&route, known)[0].multipath);
        route.nexthop = Some(9);
        assert_eq!(with_nexthop(&route, known), []);
    }
}
