//! One family of what is present, and what its routes are: pure.

use std::net::IpAddr;

use rtnetlink::packet_route::route::{RouteScope, RouteType};

use super::route::{EXCEPTION, Family, MAIN, PROTOCOL, Route};
use super::state::{Address, Present};
use crate::config::Routing;

/// No home network is wider: bits of an address's prefix, IPv6 and IPv4.
const WIDEST_NETWORK: (u8, u8) = (32, 8);
/// An on-link network that an address with all bits belongs to, as DHCPv6 gives
/// them, is no wider.
const WIDEST_AROUND: (u8, u8) = (64, 24);

/// The present state of one family.
#[derive(Clone, Copy)]
pub(super) struct View<'a> {
    pub routing: &'a Routing,
    pub present: &'a Present,
    pub family: Family,
}

/// Whether a device is one of the WAN's.
pub(super) fn is_wan(present: &Present, device: u32) -> bool {
    present.links.iter().any(|link| link.index == device)
}

impl<'a> View<'a> {
    /// The routes of the WAN in main. Expired ones that must leave it, too.
    pub fn in_main(self) -> impl Iterator<Item = &'a Route> {
        self.present.main.iter().filter(move |route| {
            route.family() == self.family
                && route.table == MAIN
                && route.kind == RouteType::Unicast
                && !route.is_ours()
                && is_wan(self.present, route.device)
        })
    }

    /// The WAN's table.
    pub fn in_table(self) -> impl Iterator<Item = &'a Route> {
        self.present.table.iter().filter(move |route| {
            route.family() == self.family
                && route.table == self.routing.table
                && !route.is_expired()
        })
    }

    /// What others have there.
    pub fn foreign(self) -> impl Iterator<Item = &'a Route> {
        self.in_table().filter(|route| !route.is_ours())
    }

    pub fn addresses(self) -> impl Iterator<Item = &'a Address> {
        let family = self.family;
        (self.present.addresses.iter()).filter(move |one| Family::of(one.addr) == family)
    }

    /// Whether a route leads to a network of the WAN itself: on-link, and no
    /// wider than an address of the device says. Such a route stays in main.
    ///
    /// All others lead away, whatever they are called: who offers 0.0.0.0/1 and
    /// 128.0.0.0/1 by DHCP, 2000::/3 by a route information option or ::/1 as an
    /// on-link prefix has a default route in mind, and who offers a narrow one
    /// wants these packets (CVE-2024-3661). They have no business in main.
    pub fn is_own_network(self, route: &Route) -> bool {
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
        // One that has just gone takes its network along, if perhaps a little later.
        let gone = self.present.before.iter();
        let of_an_address = self.addresses().chain(gone).any(|one| {
            one.device == route.device
                && (to.len >= network && one.network.covers(&to)
                    || to.len >= around && to.contains(one.addr))
        });
        of_an_address || to.is_host() && self.is_router(route.device, to.addr)
    }

    /// Whether the kernel would take the route: one that asks for an address which
    /// is no longer there is about to go with it.
    pub fn has_its_address(self, route: &Route) -> bool {
        route
            .prefsrc
            .is_none_or(|addr| self.addresses().any(|one| one.addr == addr))
    }

    /// Whether somebody's route has this router. The kernel takes such a route
    /// only while main says how to reach it, so the way to it stays there.
    fn is_router(self, device: u32, addr: IpAddr) -> bool {
        let known = self.present.main.iter().chain(&self.present.table);
        known
            .chain(&self.present.moved)
            .any(|route| route.device == device && route.gateway == Some(addr))
    }

    /// Whether the way to a router is known: it is link-local, or within an
    /// on-link network of its device, one that was moved (a modem's default route
    /// is often on-link) among them.
    pub fn is_on_link(self, router: IpAddr, device: u32) -> bool {
        match router {
            IpAddr::V6(addr) if addr.is_unicast_link_local() => true,
            router => {
                let moved = self.in_table().filter(|one| one.protocol == EXCEPTION);
                self.in_main()
                    .chain(self.foreign())
                    .chain(moved)
                    .any(|route| {
                        route.device == device
                            && route.kind == RouteType::Unicast
                            && !route.leads_away()
                            && route.destination.contains(router)
                    })
            }
        }
    }

    /// The route as it should stand in the table. What keeps its original needs
    /// no lifetime: it goes when that goes.
    pub fn copy(self, route: &Route) -> Route {
        Route {
            table: self.routing.table,
            protocol: PROTOCOL,
            expires: None,
            nexthop: None,
            multipath: false,
            // The kernel sets the others of these itself and refuses them.
            scope: match route.family() {
                Family::Ipv6 => RouteScope::Universe,
                Family::Ipv4 => route.scope,
            },
            ..route.clone()
        }
    }
}
