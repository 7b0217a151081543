//! Routes to and from rtnetlink messages.

use rtnetlink::packet_route::route::{
    RouteFlags, RouteHeader, RouteProtocol, RouteScope, RouteType,
};

use super::super::prefix::{Family, Prefix};
use super::super::route::Route;
use super::{ONLINK, address_family, family, table};
use crate::netlink::route::{
    Hop, Hops, ROUTE_HEADER, ip, number, put_gateway, put_ip, put_number, request, rta, via,
};
use crate::netlink::{attributes, put};

/// Times in RTA_CACHEINFO come in ticks of USER_HZ, which is 100 on every
/// architecture that OpenWrt knows.
const USER_HZ: i32 = 100;
const NESTED: u16 = libc::NLA_F_NESTED as u16;
/// Where the time is in it (struct rta_cacheinfo).
const EXPIRES: usize = 8;

/// The routes of a dumped message, one per next hop. None for what can be no
/// concern of ours: other families, cached routes.
#[must_use]
pub fn routes(body: &[u8]) -> Vec<Route> {
    let mut routes = match RouteHeader::parse(body) {
        Ok(header) if !header.flags.contains(RouteFlags::Cloned) => next_hops(&header, body),
        _ => Vec::new(),
    };
    for route in &mut routes {
        if route.kind != RouteType::Unicast {
            // IPv6 hangs them on `lo`, IPv4 on nothing.
            route.device = 0;
        }
    }
    routes
}

/// The route that an answer names, cached or not.
#[must_use]
pub fn named(body: &[u8]) -> Option<Route> {
    let header = RouteHeader::parse(body).ok()?;
    next_hops(&header, body).into_iter().next()
}

fn next_hops(header: &RouteHeader, body: &[u8]) -> Vec<Route> {
    let Some(family) = family(header.address_family) else {
        return Vec::new();
    };
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
    let mut hops = Hops(&[]);
    for (kind, value) in attributes(body, ROUTE_HEADER) {
        match kind {
            rta::MULTIPATH => hops = Hops(value),
            rta::SRC => {
                let len = header.source_prefix_length;
                route.source = ip(value).map(|addr| Prefix { addr, len });
            }
            kind => take(&mut route, kind, value),
        }
    }
    let mut routes = Vec::new();
    for hop in hops {
        route.multipath = family == Family::Ipv4 || route.nexthop.is_some();
        routes.push(with_hop(&route, hop));
    }
    if routes.is_empty() {
        routes.push(route);
    }
    routes
}

fn take(route: &mut Route, kind: u16, value: &[u8]) {
    match kind {
        rta::TABLE => route.table = number(value).unwrap_or(route.table),
        rta::DST => route.destination.addr = ip(value).unwrap_or(route.destination.addr),
        rta::OIF => route.device = number(value).unwrap_or(0),
        rta::GATEWAY => route.gateway = ip(value),
        rta::VIA => route.gateway = via(value),
        rta::PRIORITY => route.metric = number(value).unwrap_or(0),
        rta::PREFSRC => route.prefsrc = ip(value),
        rta::PREF => route.preference = value.first().copied(),
        rta::CACHEINFO => route.expires = value.get(EXPIRES..).and_then(number).and_then(seconds),
        rta::NH_ID => route.nexthop = number(value),
        rta::METRICS | rta::ENCAP_TYPE => put(&mut route.extras, kind, value),
        // The kernel shows it without the flag, and takes most kinds only with it.
        rta::ENCAP => put(&mut route.extras, kind | NESTED, value),
        _ => {}
    }
}

fn with_hop(route: &Route, hop: Hop) -> Route {
    let mut route = route.clone();
    route.device = hop.device;
    route.gateway = None;
    route.onlink = u32::from(hop.flags) & ONLINK != 0;
    for (kind, value) in hop.attrs {
        take(&mut route, kind, value);
    }
    route
}

/// Rounded up, so that a copy does not die before its original.
fn seconds(ticks: u32) -> Option<i32> {
    match ticks.cast_signed() {
        0 => None,
        ticks => Some(ticks.div_euclid(USER_HZ) + i32::from(ticks.rem_euclid(USER_HZ) != 0)),
    }
}

/// The message that makes a route.
#[must_use]
pub fn of_route(route: &Route) -> Vec<u8> {
    let flags = match route.onlink {
        true => RouteFlags::Onlink,
        false => RouteFlags::empty(),
    };
    let mut body = key(route, route.scope, flags);
    if let Some(addr) = route.prefsrc {
        put_ip(&mut body, rta::PREFSRC, addr);
    }
    if let Some(preference) = route.preference {
        put(&mut body, rta::PREF, &[preference]);
    }
    body.extend(&route.extras);
    if let Some(seconds) = route.expires {
        put_number(&mut body, rta::EXPIRES, seconds.max(1).cast_unsigned());
    }
    body
}

/// The message that deletes this route and no other.
#[must_use]
pub fn key_of_route(route: &Route) -> Vec<u8> {
    // "Whatever scope" in a deletion.
    key(route, RouteScope::NoWhere, RouteFlags::empty())
}

fn key(route: &Route, scope: RouteScope, flags: RouteFlags) -> Vec<u8> {
    let family = address_family(route.family());
    let (small, large) = table(route.table);
    let mut body = request(&RouteHeader {
        address_family: family,
        destination_prefix_length: route.destination.len,
        source_prefix_length: route.source.map_or(0, |source| source.len),
        tos: route.tos,
        table: small,
        protocol: RouteProtocol::from(route.protocol),
        scope,
        kind: route.kind,
        flags,
    });
    if let Some(table) = large {
        put_number(&mut body, rta::TABLE, table);
    }
    if !route.is_default() {
        put_ip(&mut body, rta::DST, route.destination.addr);
    }
    if let Some(source) = route.source {
        put_ip(&mut body, rta::SRC, source.addr);
    }
    put_number(&mut body, rta::PRIORITY, route.metric);
    if let Some(id) = route.nexthop {
        put_number(&mut body, rta::NH_ID, id);
    } else if !route.multipath {
        if route.device != 0 {
            put_number(&mut body, rta::OIF, route.device);
        }
        if let Some(addr) = route.gateway {
            put_gateway(&mut body, family, addr);
        }
    }
    body
}
