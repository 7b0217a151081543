//! Routes of the WAN that lead away from it: which of them stand in its table,
//! and in which order: pure.
//!
//! Such a route moves: into the WAN's table, then out of main. From then on its
//! copy stands without an original, and is taken for valid as long as
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

use super::index::Index;
use super::route::{EXCEPTION, Family, MAIN, PROTOCOL, Path, Route};
use super::state::Address;
use super::view::View;
use super::wanted::UNREACHABLE_METRIC;

/// RTPROT_STATIC of linux/rtnetlink.h.
const STATIC: u8 = 4;
/// RFC 4191, as in a message.
const HIGH: u8 = 1;
const LOW: u8 = 3;
/// Bits of a prefix that a router advertises for addresses (RFC 4862).
const NETWORK: u8 = 64;

/// A route that should be in the table, before its metric is settled.
struct Candidate {
    /// As it should stand there, but for its metric, which is the original's.
    route: Route,
    /// The metric it has in the table, if it is there.
    current: Option<u32>,
}

/// Whether a route is one that was moved, in any table: the only one there is.
///
/// Other routes of ours follow one that stands elsewhere. Of those through a
/// router, or default routes, these are the exception; of on-link ones, those
/// that were moved are.
pub(super) fn is_moved(route: &Route) -> bool {
    let protocol = match route.leads_away() {
        true => PROTOCOL,
        false => EXCEPTION,
    };
    route.protocol == protocol
        && route.kind == RouteType::Unicast
        && route.table != MAIN
        // None that we made has several next hops.
        && !route.multipath
        && !route.is_expired()
}

/// What became the copy, as far as it is known: who made it is not, and netifd
/// calls what it makes static.
pub(super) fn original(copy: &Route) -> Route {
    Route {
        table: MAIN,
        protocol: STATIC,
        ..copy.clone()
    }
}

/// The routes that should be in the table because of `fresh` ones in main and of
/// those that were moved before; and whether there are more than `limit`, in
/// which case default routes come first, and then those that stand.
pub(super) fn wanted(view: View, fresh: &[&Route], limit: usize) -> (Vec<Route>, bool) {
    let ours = view.in_table().filter(|route| route.is_ours());
    let ours = Index::of(ours.map(|route| (route.path(), route.metric)));
    let mut candidates = standing(view, fresh);
    let is_usable = |route: &&Route| !route.is_expired() && has_its_router(view, route);
    let usable = || fresh.iter().copied().filter(is_usable);
    let best = Index::of(usable().map(|route| (route.path(), route.metric)));
    for route in usable() {
        let path = route.path();
        // One way only once: what netifd and the kernel both made from one
        // advertisement differs in nothing but its metric.
        if best.all(&path).next() == Some(route.metric) {
            candidates.push(Candidate {
                current: ours.all(&path).next(),
                route: copy(view, route),
            });
        }
    }
    let foreign = Index::by_place(view.foreign());
    candidates.retain(|one| !foreign.has(&one.route.path()));
    candidates.extend(for_all_sources(view, &candidates));
    let too_many = candidates.len() > limit;
    if too_many {
        // Those that stand stay, lest a flood of new ones turns everything over.
        let (mut first, others): (Vec<_>, Vec<_>) =
            (candidates.into_iter()).partition(|one| one.route.is_default());
        let (standing, new): (Vec<_>, Vec<_>) =
            others.into_iter().partition(|one| one.current.is_some());
        first.extend(standing.into_iter().chain(new));
        candidates = first;
        candidates.truncate(limit);
    }
    (ranked(view, candidates), too_many)
}

fn copy(view: View, route: &Route) -> Route {
    let protocol = match route.leads_away() {
        true => PROTOCOL,
        false => EXCEPTION,
    };
    Route {
        protocol,
        expires: route.expires,
        ..view.copy(route)
    }
}

/// Copies in the table whose original is gone and that are still valid.
fn standing(view: View, fresh: &[&Route]) -> Vec<Candidate> {
    let (family, table) = (view.family, view.routing.table);
    // In other tables too: they were moved under another configuration.
    let listed = view.present.table.iter().filter(|route| is_moved(route));
    let lost = view.present.moved.iter();
    let all = listed.map(|route| (route, (route.table == table).then_some(route.metric)));
    let all: Vec<(&Route, Option<u32>)> = all
        .chain(lost.map(|route| (route, None)))
        .filter(|(route, _)| route.family() == family && is_valid(view, route, fresh))
        .collect();
    let again = Index::by_place(fresh.iter().copied());
    let twice = Index::by_place(all.iter().map(|(route, _)| *route));
    // Of a route that is there twice the better one stays.
    let worth = |place: u32| {
        let (route, current) = all[place as usize];
        (current.is_none(), route.metric, place)
    };
    let is_best = |place: u32, path: &Path| {
        let best = twice.all(path).map(worth).min();
        best == Some(worth(place))
    };
    let candidate = |(place, &(route, current)): (u32, &(&Route, Option<u32>))| {
        let path = route.path();
        let stays = !again.has(&path) && is_best(place, &path);
        stays.then(|| Candidate {
            route: copy(view, route),
            current,
        })
    };
    (0..).zip(&all).filter_map(candidate).collect()
}

fn is_valid(view: View, copy: &Route, fresh: &[&Route]) -> bool {
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
fn has_its_router(view: View, route: &Route) -> bool {
    let is_on_link = |router| view.is_on_link(router, route.device);
    route.onlink || route.gateway.is_none_or(is_on_link)
}

/// Whether its router is none any more.
fn is_withdrawn(view: View, copy: &Route) -> bool {
    copy.is_default()
        && view.present.withdrawn.iter().any(|one| {
            (one.device, Some(one.router)) == (copy.device, copy.gateway)
                && (copy.expires.is_some() || one.was_default)
        })
}

/// Whether the device had addresses and has none any more. One that never had any
/// may be used without.
fn is_deserted(view: View, device: u32) -> bool {
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
        && !view.addresses().any(configured)
        && (view.present.before.iter().any(configured) || view.in_table().any(copied))
}

/// Whether a route for packets from some addresses is of any use. Without such
/// an address it is what a renumbering left behind, if there is a newer one.
fn has_its_source(view: View, copy: &Route, fresh: &[&Route]) -> bool {
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
            && (fresh.iter().any(|route| is_another(route)) || view.in_table().any(is_another))
    };
    let from = |one: &Address| source.contains(one.addr);
    view.addresses().any(from) || !view.present.before.iter().any(from) && !is_replaced()
}

/// Whether `fresh` could not be in main if `copy`'s original still were. A
/// copy's metric may be larger, see [`ranked`].
fn takes_the_place_of(view: View, fresh: &Route, copy: &Route) -> bool {
    let raised = u32::try_from(view.present.links.len()).unwrap_or(1);
    fresh.device == copy.device
        && fresh.destination == copy.destination
        && fresh.source == copy.source
        && fresh.tos == copy.tos
        && (fresh.metric..fresh.metric.saturating_add(raised)).contains(&copy.metric)
}

/// Default routes for packets from anywhere, where a device has only such for
/// packets from its own addresses: netifd makes them so unless it is told not to
/// (`sourcefilter`). A socket that is not bound has no address when the kernel
/// looks for its way; this route gives it one of the WAN's, whatever other
/// addresses the mesh has brought here.
fn for_all_sources(view: View, candidates: &[Candidate]) -> Vec<Candidate> {
    let mut found = Vec::new();
    if view.family != Family::Ipv6 {
        return found;
    }
    for link in &view.present.links {
        let known = || {
            let ours = candidates.iter().map(|one| &one.route);
            ours.chain(view.foreign()).filter(|route| {
                route.is_default() && route.device == link.index && route.kind == RouteType::Unicast
            })
        };
        if known().any(|route| route.source.is_none()) {
            continue;
        }
        let usable = known().filter_map(|route| Some((route, source_address(view, route)?)));
        // Of several as good the one that is in use stays.
        let in_use = view
            .in_table()
            .find(|one| one.protocol == EXCEPTION && one.is_default() && one.device == link.index);
        let in_use = in_use.and_then(|one| one.prefsrc);
        let best = usable.min_by_key(|&(route, addr)| (route.metric, Some(addr) != in_use, addr));
        let Some((route, addr)) = best else {
            continue;
        };
        let route = Route {
            source: None,
            prefsrc: Some(addr),
            protocol: EXCEPTION,
            metric: route.metric,
            ..view.copy(route)
        };
        let path = route.path();
        let stands = view
            .in_table()
            .find(|one| one.protocol == EXCEPTION && one.path() == path);
        found.push(Candidate {
            current: stands.map(|one| one.metric),
            route,
        });
    }
    found
}

/// An address that packets on a route for some sources may carry: of its own
/// device if it can be, else of one behind it, whose prefix was delegated here.
fn source_address(view: View, route: &Route) -> Option<IpAddr> {
    let source = route.source?;
    let usable = || (view.addresses()).filter(|one| one.preferred && source.contains(one.addr));
    let own = usable().find(|one| one.device == route.device);
    own.or_else(|| usable().next()).map(|one| one.addr)
}

/// Gives every route to one destination a metric of its own: that of its
/// original, and the next free one where several have the same. The kernel would
/// share the traffic out among them (ECMP) otherwise; so the first device of the
/// list is the uplink and the next one its spare, and the router that is to be
/// preferred (RFC 4191) comes first.
fn ranked(view: View, mut candidates: Vec<Candidate>) -> Vec<Route> {
    let position = |device: u32| (view.present.links.iter()).position(|link| link.index == device);
    candidates.sort_unstable_by_key(|one| {
        let route = &one.route;
        let preference = match route.preference {
            Some(HIGH) => 0,
            Some(LOW) => 2,
            _ => 1,
        };
        let current = one.current.unwrap_or(u32::MAX);
        (
            route.way(),
            (route.metric, position(route.device), preference),
            (current, route.gateway),
        )
    });
    let taken = Index::of(view.foreign().map(|route| (route.way(), route.metric)));
    let mut ranked: Vec<Route> = candidates.into_iter().map(|one| one.route).collect();
    for group in ranked.chunk_by_mut(|one, next| one.way() == next.way()) {
        let is_taken = |route: &Route| taken.all(&route.way()).any(|metric| metric == route.metric);
        let mut next = 0;
        for route in group.iter_mut() {
            route.metric = route.metric.max(next);
            while is_taken(route) {
                route.metric = route.metric.saturating_add(1);
            }
            next = route.metric.saturating_add(1);
        }
        // Behind the unreachable route it would be of no use.
        let mut last = UNREACHABLE_METRIC - 1;
        for route in group.iter_mut().rev() {
            route.metric = route.metric.min(last);
            while is_taken(route) && route.metric > 0 {
                route.metric -= 1;
            }
            last = route.metric.saturating_sub(1);
        }
    }
    ranked
}
