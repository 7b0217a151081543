//! Default routes of the WAN: which of them stand in its table, and in which
//! order: pure.
//!
//! A default route of the WAN moves: into the WAN's table, then out of main.
//! From then on its copy stands without an original, and is taken for valid as
//! long as
//!
//! * it has not expired: a copy of what a router advertised carries the rest of
//!   the advertised lifetime, which the kernel counts down and every new
//!   advertisement refreshes, because the kernel then puts the route into main
//!   again;
//! * its router has not taken its advertisement back (`Present::withdrawn`);
//! * its device is there, and its router on-link: link-local, or within an
//!   on-link prefix of the device, which goes with the address that DHCP gave;
//! * nothing took its place: for a route without a lifetime, another default
//!   route of the same device and metric in main, which could not be there
//!   beside it.
//!
//! The kernel itself drops it when the device goes down.

use std::collections::HashSet;
use std::net::IpAddr;

use rtnetlink::packet_route::route::RouteType;

use super::route::{MAIN, Path, Route};
use super::wanted::{Of, UNREACHABLE_METRIC};

/// RTPROT_STATIC of linux/rtnetlink.h.
const STATIC: u8 = 4;

/// Whether a route is a default route of the WAN that we hold, in any table.
pub(super) fn is_moved(route: &Route) -> bool {
    route.is_ours() && route.is_default() && route.kind == RouteType::Unicast && !route.is_expired()
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

/// A default route that should be in the table, before its metric is settled.
pub(super) struct Candidate<'a> {
    /// In main, in the table or remembered.
    pub route: &'a Route,
    /// The metric it has in the table, if it is there.
    pub current: Option<u32>,
}

impl<'a> Of<'a> {
    /// Copies in the table whose original is gone and that are still valid.
    pub(super) fn standing(&self, fresh: &[&Route]) -> Vec<Candidate<'a>> {
        let (family, table) = (self.family, self.routing.table);
        let mut seen: HashSet<Path> = fresh.iter().map(|route| route.path()).collect();
        let mut standing = Vec::new();
        // In other tables too: they were moved under another configuration.
        let listed = self
            .present
            .table
            .iter()
            .filter(|route| is_moved(route))
            .map(|route| {
                let current = (route.table == table).then_some(route.metric);
                Candidate { route, current }
            });
        let lost = self.present.moved.iter().map(|route| Candidate {
            route,
            current: None,
        });
        let mut all: Vec<Candidate<'a>> = listed.chain(lost).collect();
        // Of a route that is there twice the better one stays.
        all.sort_by_key(|candidate| (candidate.current.is_none(), candidate.route.metric));
        all.retain(|candidate| candidate.route.family() == family);
        for candidate in all {
            if self.is_valid(candidate.route, fresh) && seen.insert(candidate.route.path()) {
                standing.push(candidate);
            }
        }
        standing
    }

    fn is_valid(&self, copy: &Route, fresh: &[&Route]) -> bool {
        let links = &self.present.links;
        let Some(link) = links.iter().find(|link| link.index == copy.device) else {
            return false;
        };
        let gone = || {
            copy.gateway
                .is_some_and(|router| self.present.withdrawn.contains(&(copy.device, router)))
        };
        match copy.expires {
            Some(_) if copy.is_expired() || gone() => return false,
            Some(_) => {}
            None if fresh
                .iter()
                .any(|route| self.takes_the_place_of(route, copy)) =>
            {
                return false;
            }
            None => {}
        }
        link.up
            && (copy.onlink
                || copy
                    .gateway
                    .is_none_or(|router| self.is_on_link(router, copy.device)))
    }

    /// Whether `fresh` could not be in main if `copy`'s original still were. A
    /// copy's metric may be larger, see [`Self::ranked`].
    fn takes_the_place_of(&self, fresh: &Route, copy: &Route) -> bool {
        let raised = u32::try_from(self.present.links.len()).unwrap_or(1);
        fresh.device == copy.device
            && fresh.source == copy.source
            && fresh.tos == copy.tos
            && (fresh.metric..fresh.metric.saturating_add(raised)).contains(&copy.metric)
    }

    fn is_on_link(&self, router: IpAddr, device: u32) -> bool {
        match router {
            IpAddr::V6(addr) if addr.is_unicast_link_local() => true,
            router => {
                let foreign = self.in_table().filter(|route| !route.is_ours());
                self.in_main().chain(foreign).any(|route| {
                    route.device == device
                        && route.kind == RouteType::Unicast
                        && route.gateway.is_none()
                        && !route.is_default()
                        && route.destination.contains(router)
                })
            }
        }
    }

    pub(super) fn current_metric(&self, fresh: &Route) -> Option<u32> {
        let path = fresh.path();
        self.in_table()
            .filter(|r| r.is_ours() && r.path() == path)
            .map(|r| r.metric)
            .min()
    }

    /// Gives every default route a metric of its own: that of its original, and
    /// the next free one where several have the same. The kernel would share
    /// the traffic out among them (ECMP) otherwise; so the first device of the
    /// list is the uplink and the next one its spare.
    pub(super) fn ranked(&self, mut candidates: Vec<Candidate<'a>>) -> Vec<Route> {
        let position = |device: u32| {
            self.present
                .links
                .iter()
                .position(|link| link.index == device)
        };
        candidates.sort_by_key(|candidate| {
            let route = candidate.route;
            let current = candidate.current.unwrap_or(u32::MAX);
            (route.metric, position(route.device), current, route.gateway)
        });
        let taken: HashSet<u32> = self
            .in_table()
            .filter(|r| !r.is_ours() && r.is_default())
            .map(|r| r.metric)
            .collect();
        let mut next = 0;
        let mut ranked = Vec::new();
        for Candidate { route, .. } in candidates {
            let mut metric = route.metric.max(next);
            while taken.contains(&metric) {
                metric = metric.saturating_add(1);
            }
            next = metric.saturating_add(1);
            let expires = route.expires;
            // Behind the unreachable route it would be of no use.
            let metric = metric.min(UNREACHABLE_METRIC - 1);
            ranked.push(Route {
                metric,
                expires,
                ..self.copy(route)
            });
        }
        ranked
    }
}
