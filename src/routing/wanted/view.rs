//! One family of what is present, and what its routes are: pure.

use std::net::IpAddr;

use rtnetlink::packet_route::route::{RouteScope, RouteType};

use super::super::prefix::Family;
use super::super::route::{MAIN, PROTOCOL, Route};
use super::super::rule::Rule;
use super::super::state::{Address, Present};
use crate::config::Routing;

/// No home network is wider: bits of an address's prefix, IPv6 and IPv4.
const WIDEST_NETWORK: (u8, u8) = (32, 8);
/// An on-link network that an address with all bits belongs to, as DHCPv6 gives
/// them, is no wider.
const WIDEST_AROUND: (u8, u8) = (64, 24);

/// The present state of one family.
pub(super) struct View<'a> {
    pub routing: &'a Routing,
    pub present: &'a Present,
    pub family: Family,
    /// In the order in which the kernel asks them.
    pub rules: Vec<&'a Rule>,
    /// The routes of the WAN in main. Expired ones that must leave it, too.
    pub main: Vec<&'a Route>,
    /// The WAN's table.
    pub table: Vec<&'a Route>,
    /// What others have there.
    pub foreign: Vec<&'a Route>,
    pub addresses: Vec<&'a Address>,
}

/// Whether a device is one of the WAN's.
pub(super) fn is_wan(present: &Present, device: u32) -> bool {
    present.links.iter().any(|link| link.index == device)
}

impl<'a> View<'a> {
    pub fn new(routing: &'a Routing, present: &'a Present, family: Family) -> Self {
        let mut view = Self {
            routing,
            present,
            family,
            rules: Vec::new(),
            main: Vec::new(),
            table: Vec::new(),
            foreign: Vec::new(),
            addresses: Vec::new(),
        };
        for rule in &present.rules {
            if rule.family == family {
                view.rules.push(rule);
            }
        }
        for route in &present.main {
            if route.family() == family
                && route.table == MAIN
                && route.kind == RouteType::Unicast
                && !route.is_ours()
                && is_wan(present, route.device)
            {
                view.main.push(route);
            }
        }
        for route in &present.table {
            if route.family() == family && route.table == routing.table && !route.is_expired() {
                view.table.push(route);
                if !route.is_ours() {
                    view.foreign.push(route);
                }
            }
        }
        for one in &present.addresses {
            if Family::of(one.addr) == family {
                view.addresses.push(one);
            }
        }
        view
    }

    /// Whether a route leads to a network of the WAN itself: on-link, and no
    /// wider than an address of the device says. Such a route stays in main.
    ///
    /// All others lead away, whatever they are called: who offers 0.0.0.0/1 and
    /// 128.0.0.0/1 by DHCP, 2000::/3 by a route information option or ::/1 as an
    /// on-link prefix has a default route in mind, and who offers a narrow one
    /// wants these packets (CVE-2024-3661). They have no business in main.
    pub fn is_own_network(&self, route: &Route) -> bool {
        if route.leads_away() {
            return false;
        }
        let to = route.destination;
        match to.addr {
            IpAddr::V6(addr) if addr.is_unicast_link_local() || addr.is_multicast() => return true,
            IpAddr::V4(addr) if addr.is_link_local() || addr.is_multicast() => return true,
            _ => {}
        }
        let (network, around) = match self.family {
            Family::Ipv6 => (WIDEST_NETWORK.0, WIDEST_AROUND.0),
            Family::Ipv4 => (WIDEST_NETWORK.1, WIDEST_AROUND.1),
        };
        let is_around = |one: &Address| {
            one.device == route.device
                && (to.len >= network && one.network.covers(&to)
                    || to.len >= around && to.contains(one.addr))
        };
        self.addresses.iter().any(|one| is_around(one))
            // One that has just gone takes its network along, if perhaps a little later.
            || self.present.before.iter().any(is_around)
            || to.is_host() && self.is_router(route.device, to.addr)
    }

    /// Whether the kernel would take the route: one that asks for an address which
    /// is no longer there is about to go with it.
    pub fn has_its_address(&self, route: &Route) -> bool {
        route
            .prefsrc
            .is_none_or(|addr| self.addresses.iter().any(|one| one.addr == addr))
    }

    /// Whether somebody's route has this router. The kernel takes such a route
    /// only while main says how to reach it, so the way to it stays there.
    fn is_router(&self, device: u32, addr: IpAddr) -> bool {
        let present = self.present;
        [&present.main, &present.table, &present.moved]
            .iter()
            .any(|known| {
                let mut known = known.iter();
                known.any(|route| route.device == device && route.gateway == Some(addr))
            })
    }

    /// Whether the way to a router is known: it is link-local, or within an
    /// on-link network of its device, one that was moved (a modem's default route
    /// is often on-link) among them.
    pub fn is_on_link(&self, router: IpAddr, device: u32) -> bool {
        if matches!(router, IpAddr::V6(addr) if addr.is_unicast_link_local()) {
            return true;
        }
        let leads_there = |route: &Route| {
            route.device == device
                && route.kind == RouteType::Unicast
                && !route.leads_away()
                && route.destination.contains(router)
        };
        [&self.main, &self.table].iter().any(|known| {
            let mut known = known.iter();
            // Of ours, a copy of what is in main proves nothing.
            known.any(|route| route.protocol != PROTOCOL && leads_there(route))
        })
    }

    /// The route as it should stand in the table. What keeps its original needs
    /// no lifetime: it goes when that goes.
    pub fn copy(&self, route: &Route) -> Route {
        let mut copy = route.clone();
        copy.table = self.routing.table;
        copy.protocol = PROTOCOL;
        copy.expires = None;
        copy.nexthop = None;
        copy.multipath = false;
        if self.family == Family::Ipv6 {
            // The kernel sets the others of these itself and refuses them.
            copy.scope = RouteScope::Universe;
        }
        copy
    }
}
