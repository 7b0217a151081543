//! Routes of the WAN that lead away from it: which of them stand in its table,
//! and in which order: pure.
//!
//! Such a route moves: into the WAN's table, then out of main. From then on its
//! copy stands without an original, for as long as it is valid (`standing`).

use std::net::IpAddr;

use rtnetlink::packet_route::route::RouteType;

use super::super::index::Index;
use super::super::prefix::Family;
use super::super::route::{EXCEPTION, MAIN, PROTOCOL, Route};
use super::UNREACHABLE_METRIC;
use super::standing::{has_its_router, standing};
use super::view::View;

/// RTPROT_STATIC of linux/rtnetlink.h.
const STATIC: u8 = 4;
/// RFC 4191, as in a message.
const HIGH: u8 = 1;
const LOW: u8 = 3;

/// A route that should be in the table, before its metric is settled.
pub(super) struct Candidate {
    /// As it should stand there, but for its metric, which is the original's.
    pub route: Route,
    /// The metric it has in the table, if it is there.
    pub current: Option<u32>,
}

/// Whether a route is one that was moved, in any table: the only one there is.
///
/// Other routes of ours follow one that stands elsewhere. Of those through a
/// router, or default routes, these are the exception; of on-link ones, those
/// that were moved are.
pub(in crate::routing) fn is_moved(route: &Route) -> bool {
    route.protocol == protocol(route)
        && route.kind == RouteType::Unicast
        && route.table != MAIN
        // None that we made has several next hops.
        && !route.multipath
        && !route.is_expired()
}

/// What says of such a route that it was moved.
fn protocol(route: &Route) -> u8 {
    match route.leads_away() {
        true => PROTOCOL,
        false => EXCEPTION,
    }
}

/// What became the copy, as far as it is known: who made it is not, and netifd
/// calls what it makes static.
pub(super) fn original(copy: &Route) -> Route {
    let mut route = copy.clone();
    route.table = MAIN;
    route.protocol = STATIC;
    route
}

/// The routes that should be in the table because of `fresh` ones in main and of
/// those that were moved before; and whether there are more than `limit`, in
/// which case default routes come first, and then those that stand.
pub(super) fn wanted(view: &View, fresh: &[&Route], limit: usize) -> (Vec<Route>, bool) {
    let mut ours = Vec::new();
    for route in &view.table {
        if route.is_ours() {
            ours.push((route.path(), route.metric));
        }
    }
    let ours = Index::of(ours);
    let mut usable = Vec::new();
    for (place, route) in fresh.iter().enumerate() {
        if !route.is_expired() && has_its_router(view, route) {
            usable.push((route.path(), route.metric, place));
        }
    }
    let best = Index::of(
        usable
            .iter()
            .map(|&(path, metric, _)| (path, metric))
            .collect(),
    );
    let mut candidates = standing(view, fresh);
    for (path, metric, place) in usable {
        // One way only once: what netifd and the kernel both made from one
        // advertisement differs in nothing but its metric.
        if best.first(&path) == Some(metric) {
            candidates.push(Candidate {
                route: copy(view, fresh[place]),
                current: ours.first(&path),
            });
        }
    }
    let foreign = Index::by_place(view.foreign.iter().copied());
    candidates.retain(|one| !foreign.has(&one.route.path()));
    for_all_sources(view, &mut candidates);
    let too_many = candidates.len() > limit;
    if too_many {
        // Those that stand stay, lest a flood of new ones turns everything over.
        let mut first = Vec::new();
        let is_default = |one: &mut Candidate| one.route.is_default();
        first.extend(candidates.extract_if(.., is_default));
        let stands = |one: &mut Candidate| one.current.is_some();
        first.extend(candidates.extract_if(.., stands));
        first.append(&mut candidates);
        first.truncate(limit);
        candidates = first;
    }
    (ranked(view, candidates), too_many)
}

pub(super) fn copy(view: &View, route: &Route) -> Route {
    let mut copy = view.copy(route);
    copy.protocol = protocol(route);
    copy.expires = route.expires;
    copy
}

/// Default routes for packets from anywhere, where a device has only such for
/// packets from its own addresses: netifd makes them so unless it is told not to
/// (`sourcefilter`). A socket that is not bound has no address when the kernel
/// looks for its way; this route gives it one of the WAN's, whatever other
/// addresses the mesh has brought here.
fn for_all_sources(view: &View, candidates: &mut Vec<Candidate>) {
    if view.family != Family::Ipv6 {
        return;
    }
    for link in &view.present.links {
        let is_default = |route: &Route| route.is_default() && route.device == link.index;
        let mut known = Vec::new();
        let ours = candidates.iter().map(|one| &one.route);
        for route in ours.chain(view.foreign.iter().copied()) {
            if is_default(route) && route.kind == RouteType::Unicast {
                known.push(route);
            }
        }
        if known.iter().any(|route| route.source.is_none()) {
            continue;
        }
        // Of several as good the one that is in use stays.
        let is_ours = |one: &&&Route| one.protocol == EXCEPTION && is_default(one);
        let in_use = view.table.iter().find(is_ours).and_then(|one| one.prefsrc);
        let mut best = None;
        for route in known {
            if let Some(addr) = source_address(view, route) {
                let worth = (route.metric, Some(addr) != in_use, addr);
                if best.is_none_or(|(least, _)| worth < least) {
                    best = Some((worth, route));
                }
            }
        }
        let Some(((_, _, addr), route)) = best else {
            continue;
        };
        let mut route = view.copy(route);
        route.source = None;
        route.prefsrc = Some(addr);
        route.protocol = EXCEPTION;
        let path = route.path();
        let stands = |one: &&&Route| one.protocol == EXCEPTION && one.path() == path;
        candidates.push(Candidate {
            current: view.table.iter().find(stands).map(|one| one.metric),
            route,
        });
    }
}

/// An address that packets on a route for some sources may carry: of its own
/// device if it can be, else of one behind it, whose prefix was delegated here.
fn source_address(view: &View, route: &Route) -> Option<IpAddr> {
    let source = route.source?;
    let mut usable = None;
    for one in &view.addresses {
        if one.preferred && source.contains(one.addr) {
            if one.device == route.device {
                return Some(one.addr);
            }
            usable = usable.or(Some(one.addr));
        }
    }
    usable
}

/// Gives every route to one destination a metric of its own: that of its
/// original, and the next free one where several have the same. The kernel would
/// share the traffic out among them (ECMP) otherwise; so the first device of the
/// list is the uplink and the next one its spare, and the router that is to be
/// preferred (RFC 4191) comes first.
fn ranked(view: &View, mut candidates: Vec<Candidate>) -> Vec<Route> {
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
    let taken = view.foreign.iter().map(|route| (route.way(), route.metric));
    let taken = Index::of(taken.collect());
    let mut ranked: Vec<Route> = candidates.into_iter().map(|one| one.route).collect();
    for group in ranked.chunk_by_mut(|one, next| one.way() == next.way()) {
        let is_taken = |route: &Route| {
            let mut taken = taken.all(&route.way()).iter();
            taken.any(|&(_, metric)| metric == route.metric)
        };
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
