//! Which routes that were moved still stand: pure.
//!
//! A copy without its original is taken for valid as long as
//!
//! * it has not expired: a copy of what a router advertised carries the rest of
//!   the advertised lifetime, which the kernel counts down and every new
//!   advertisement refreshes, because the kernel then puts the route into main
//!   again;
//! * its router is one: it has not taken its advertisement back, nor let it
//!   expire (`Present::withdrawn`);
//! * its device is there, and its router on-link: link-local, or within an
//!   on-link network of the device, which goes with the address that DHCP gave;
//! * the address that packets should carry on it, if it says one, is there;
//! * its device is configured: netifd, which deletes what it made from main and
//!   finds nothing there, takes the addresses away too;
//! * for a route that is only for packets from some addresses, such an address
//!   has not gone;
//! * nothing took its place: for a route without a lifetime, another one to the
//!   same destination, of the same device and metric, in main, which could not be
//!   there beside it.
//!
//! The kernel itself drops it when the device goes down.

use std::net::IpAddr;

use rtnetlink::packet_route::route::RouteType;

use super::super::index::Index;
use super::super::prefix::Family;
use super::super::route::{PROTOCOL, Route};
use super::super::state::Address;
use super::moved::{Candidate, copy, is_moved};
use super::view::View;

/// Bits of a prefix that a router advertises for addresses (RFC 4862).
const NETWORK: u8 = 64;

/// Copies in the table whose original is gone and that are still valid.
pub(super) fn standing(view: &View, fresh: &[&Route]) -> Vec<Candidate> {
    let mut all: Vec<(&Route, Option<u32>)> = Vec::new();
    let mut add = |route, current| {
        if view.family == Route::family(route) && is_valid(view, route, fresh) {
            all.push((route, current));
        }
    };
    for route in &view.present.table {
        // In other tables too: they were moved under another configuration.
        if is_moved(route) {
            let stands = route.table == view.routing.table;
            add(route, stands.then_some(route.metric));
        }
    }
    for route in &view.present.moved {
        add(route, None);
    }
    let again = Index::by_place(fresh.iter().copied());
    let twice = Index::by_place(all.iter().map(|&(route, _)| route));
    // Of a route that is there twice the better one stays.
    let worth = |place: u32| {
        let (route, current) = all[place as usize];
        (current.is_none(), route.metric, place)
    };
    let mut candidates = Vec::new();
    for (place, &(route, current)) in (0..).zip(&all) {
        let path = route.path();
        let mut same = twice.all(&path).iter();
        let is_best = same.all(|&(_, other)| worth(place) <= worth(other));
        if is_best && !again.has(&path) {
            candidates.push(Candidate {
                route: copy(view, route),
                current,
            });
        }
    }
    candidates
}

fn is_valid(view: &View, copy: &Route, fresh: &[&Route]) -> bool {
    let links = &view.present.links;
    let Some(link) = links.iter().find(|link| link.index == copy.device) else {
        return false;
    };
    let is_replaced = || {
        let replaces = |route: &&Route| takes_the_place_of(view, route, copy);
        fresh.iter().any(replaces)
    };
    link.up
        && !copy.is_expired()
        && view.has_its_address(copy)
        && !is_withdrawn(view, copy)
        && (copy.expires.is_some() || !is_replaced() && !is_deserted(view, copy.device))
        && has_its_router(view, copy)
        && has_its_source(view, copy, fresh)
}

/// Whether its router can be reached. IPv4 keeps a route whose router went with an
/// address of the device, but takes no copy of it.
pub(super) fn has_its_router(view: &View, route: &Route) -> bool {
    let is_on_link = |router| view.is_on_link(router, route.device);
    route.onlink || route.gateway.is_none_or(is_on_link)
}

/// Whether its router is none any more.
fn is_withdrawn(view: &View, copy: &Route) -> bool {
    copy.is_default()
        && view.present.withdrawn.iter().any(|one| {
            (one.device, Some(one.router)) == (copy.device, copy.gateway)
                && (copy.expires.is_some() || one.was_default)
        })
}

/// Whether the device had addresses and has none any more. One that never had any
/// may be used without.
fn is_deserted(view: &View, device: u32) -> bool {
    let configured = |one: &Address| {
        one.device == device && Family::of(one.addr) == Family::Ipv6 && one.is_configured()
    };
    // Without a memory: the copy of its network still stands.
    let copied = |route: &Route| {
        let of_link = |addr| matches!(addr, IpAddr::V6(addr) if addr.is_unicast_link_local());
        route.protocol == PROTOCOL
            && route.device == device
            && route.kind == RouteType::Unicast
            && !route.leads_away()
            && !of_link(route.destination.addr)
    };
    view.family == Family::Ipv6
        && !view.addresses.iter().any(|one| configured(one))
        && (view.present.before.iter().any(configured)
            || view.table.iter().any(|route| copied(route)))
}

/// Whether a route for packets from some addresses is of any use. Without such
/// an address it is what a renumbering left behind, if there is a newer one.
fn has_its_source(view: &View, copy: &Route, fresh: &[&Route]) -> bool {
    let Some(source) = copy.source else {
        return true;
    };
    let is_another = |route: &Route| {
        route.device == copy.device
            && route.destination == copy.destination
            && route.kind == RouteType::Unicast
            && route.source.is_some_and(|other| other != source)
    };
    // The address in a delegated prefix, which is shorter, comes later than the
    // route.
    let is_replaced = || {
        source.len >= NETWORK
            && [fresh, &view.table]
                .iter()
                .any(|known| known.iter().any(|route| is_another(route)))
    };
    let from = |one: &Address| source.contains(one.addr);
    view.addresses.iter().any(|one| from(one))
        || !view.present.before.iter().any(from) && !is_replaced()
}

/// Whether `fresh` could not be in main if `copy`'s original still were. A
/// copy's metric may be larger, see [`super::moved`].
fn takes_the_place_of(view: &View, fresh: &Route, copy: &Route) -> bool {
    let raised = u32::try_from(view.present.links.len()).unwrap_or(1);
    fresh.device == copy.device
        && fresh.destination == copy.destination
        && fresh.source == copy.source
        && fresh.tos == copy.tos
        && (fresh.metric..fresh.metric.saturating_add(raised)).contains(&copy.metric)
}
