//! Nexthop objects (ip-nexthop(8)) from rtnetlink messages.

use std::net::IpAddr;

use super::super::route::Route;
use super::ONLINK;
use crate::netlink::attributes;
use crate::netlink::route::{ip, number, put_number};

/// Length of struct nhmsg.
const HEADER: usize = 8;
/// Length of struct nexthop_grp.
const GROUP_ENTRY: usize = 8;
/// Attributes (linux/nexthop.h).
const NHA_ID: u16 = 1;
const NHA_GROUP: u16 = 2;
const NHA_OIF: u16 = 5;
const NHA_GATEWAY: u16 = 6;

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
    let mut request = vec![0; HEADER];
    put_number(&mut request, NHA_ID, id);
    request
}

/// The nexthop object of an answer.
#[must_use]
pub fn nexthop(body: &[u8]) -> Option<Nexthop> {
    let header = body.first_chunk::<HEADER>()?;
    let mut nexthop = Nexthop {
        onlink: number(&header[4..])? & ONLINK != 0,
        ..Nexthop::default()
    };
    for (kind, value) in attributes(body, HEADER) {
        match kind {
            NHA_OIF => nexthop.device = number(value)?,
            NHA_GATEWAY => nexthop.gateway = ip(value),
            NHA_GROUP => nexthop.members = value.chunks(GROUP_ENTRY).filter_map(number).collect(),
            _ => {}
        }
    }
    Some(nexthop)
}

/// A route that the kernel told only by its nexthop object, with what that is:
/// one per next hop.
#[must_use]
pub fn with_nexthop(route: &Route, find: &mut dyn FnMut(u32) -> Option<Nexthop>) -> Vec<Route> {
    let Some(found) = route.nexthop.and_then(&mut *find) else {
        return Vec::new();
    };
    let multipath = !found.members.is_empty();
    let mut routes = Vec::new();
    let mut add = |hop: &Nexthop| {
        let mut route = route.clone();
        route.device = hop.device;
        route.gateway = hop.gateway;
        route.onlink = hop.onlink;
        route.multipath = multipath;
        routes.push(route);
    };
    if !multipath {
        add(&found);
    }
    for &member in &found.members {
        if let Some(hop) = find(member) {
            add(&hop);
        }
    }
    routes
}

#[cfg(test)]
mod tests {
    use super::super::super::prefix::Prefix;
    use super::*;
    use crate::netlink::put;

    #[test]
    fn a_nexthop_object_becomes_its_next_hops() {
        let mut body = vec![10, 0, 0, 0];
        body.extend(4_u32.to_ne_bytes());
        put(&mut body, NHA_ID, &7_u32.to_ne_bytes());
        put(&mut body, NHA_OIF, &2_u32.to_ne_bytes());
        let router: std::net::Ipv6Addr = "fe80::1".parse().unwrap();
        put(&mut body, NHA_GATEWAY, &router.octets());
        let one = nexthop(&body).unwrap();
        assert_eq!((one.device, one.onlink), (2, true));
        let mut body = vec![0; 8];
        let entry = |id: u32| [&id.to_ne_bytes()[..], &[0; 4]].concat();
        put(&mut body, NHA_GROUP, &[entry(7), entry(8)].concat());
        let group = nexthop(&body).unwrap();
        assert_eq!(group.members, [7, 8]);

        let everything = Prefix::around(router.into(), 0);
        let mut route = Route::ours(254, everything, 0);
        route.nexthop = Some(3);
        let mut known = |id| match id {
            3 => Some(group.clone()),
            7 | 8 => Some(one.clone()),
            _ => None,
        };
        let routes = with_nexthop(&route, &mut known);
        let hop = routes[0].clone();
        assert_eq!((hop.device, hop.gateway), (2, Some(router.into())));
        assert!(hop.multipath && hop.onlink && routes.len() == 2);
        route.nexthop = Some(7);
        assert!(!with_nexthop(&route, &mut known)[0].multipath);
        route.nexthop = Some(9);
        assert_eq!(with_nexthop(&route, &mut known), []);
    }
}
