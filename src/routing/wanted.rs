//! What rule and routes there must be, made from the configuration and what
//! the kernel has: pure.
//!
//! A default route of the WAN moves: into the WAN's table, then out of main.
//! From then on its copy stands without an original, and is taken for valid as
//! long as
//!
//! * it has not expired: a copy of what a router advertised carries the rest of
//!   the advertised lifetime, which the kernel counts down and every new
//!   advertisement refreshes, because the kernel then puts the route into main
//!   again;
//! * its router has not taken its advertisement back ([`Present::withdrawn`]);
//! * its device is there, and its router on-link: link-local, or within an
//!   on-link prefix of the device, which goes with the address that DHCP gave;
//! * nothing took its place: for a route without a lifetime, another default
//!   route of the same device and metric in main, which could not be there
//!   beside it.
//!
//! The kernel itself drops it when the device goes down.

use std::collections::HashSet;
use std::net::IpAddr;

use rtnetlink::packet_route::route::{RouteScope, RouteType};
use rtnetlink::packet_route::rule::RuleAction;

use super::kernel::Link;
use super::route::{Family, MAIN, Others, PROTOCOL, Path, Prefix, Route, Rule};
use crate::config::Routing;

/// Where marked packets end when the WAN has no route; nothing of the WAN's may
/// come after it. Gluon's number.
const UNREACHABLE_METRIC: u32 = 65535;

/// RTPROT_STATIC of linux/rtnetlink.h.
const STATIC: u8 = 4;
/// The priority of the kernel's rule for `main`.
const MAIN_PRIORITY: u32 = 32766;

/// What the kernel has, as far as it matters.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Present {
    /// The devices of the configuration that exist, in its order.
    pub links: Vec<Link>,
    /// The rules, anybody's.
    pub rules: Vec<Rule>,
    /// The routes of main through these devices. A multipath route is here
    /// with all its next hops.
    pub main: Vec<Route>,
    /// All routes of the WAN's table, and ours wherever they are.
    pub table: Vec<Route>,
    /// Default routes that were moved earlier and should still be in the table;
    /// empty when nobody remembers.
    pub moved: Vec<Route>,
    /// Routers (device index, address) that took their advertisement back.
    pub withdrawn: Vec<(u32, IpAddr)>,
}

/// What there must be.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Wanted {
    /// The rules.
    pub rules: Vec<Rule>,
    /// The routes of ours: unreachable first, then those that others need to
    /// reach their router.
    pub routes: Vec<Route>,
    /// Default routes in main that must not be there. Their copies are among
    /// `routes`, unless somebody else put them into the table.
    pub misplaced: Vec<Route>,
    /// Default routes that were moved and are to stand in main again, because
    /// they are not ours to hold any longer.
    pub returned: Vec<Route>,
    /// What stands in the way, and is not ours to change.
    pub obstacles: Vec<Obstacle>,
}

/// Something that is wrong and that we must not mend.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Obstacle {
    /// A multipath default route in main through the WAN and something else.
    #[error(
        "the IPv4 default route with metric {metric} has next hops on the WAN ({device}) and \
         elsewhere, and cannot be taken apart: make it two routes"
    )]
    Mixed {
        /// Of the route.
        metric: u32,
        /// A WAN device of it.
        device: String,
    },
    /// A reverse path filter that drops what answers marked packets.
    #[error(
        "the reverse path filter of {device} is {mode} (rp_filter={value}): {consequence}; \
         set net.ipv4.conf.all.rp_filter and net.ipv4.conf.{device}.rp_filter to 0"
    )]
    ReversePath {
        /// The WAN device.
        device: String,
        /// strict or loose
        mode: &'static str,
        /// The number that counts: the larger one of the device's and `all`'s.
        value: u8,
        /// What does not work.
        consequence: &'static str,
    },
}

/// Makes the wanted state.
#[must_use]
pub fn wanted(routing: &Routing, present: &Present) -> Wanted {
    let mut wanted = Wanted::default();
    for family in Family::ALL {
        let managed = match family {
            Family::Ipv4 => routing.ipv4,
            Family::Ipv6 => routing.ipv6,
        };
        if managed {
            wanted.rules.push(rule(routing, family));
            wanted.rules.extend(guard(routing, family));
            let of_family = Of {
                routing,
                present,
                family,
            };
            of_family.routes(&mut wanted);
        }
        let moved = present
            .table
            .iter()
            .filter(|route| route.family() == family && is_moved(route));
        let given_up = moved.filter(|route| !managed || !is_wan(&present.links, route.device));
        wanted.returned.extend(given_up.map(original));
    }
    wanted
}

/// What is wanted when nothing is: that what was moved stands where it stood.
#[must_use]
pub fn nothing(present: &Present) -> Wanted {
    let moved = present.table.iter().filter(|route| is_moved(route));
    Wanted {
        returned: moved.map(original).collect(),
        ..Wanted::default()
    }
}

/// Whether a route is a default route of the WAN that we hold, in any table.
fn is_moved(route: &Route) -> bool {
    route.is_ours() && route.is_default() && route.kind == RouteType::Unicast && !route.is_expired()
}

/// What became the copy, as far as it is known: who made it is not, and netifd
/// calls what it makes static.
fn original(copy: &Route) -> Route {
    Route {
        table: MAIN,
        protocol: STATIC,
        ..copy.clone()
    }
}

fn is_wan(links: &[Link], device: u32) -> bool {
    links.iter().any(|link| link.index == device)
}

/// Marked packets look in the WAN's table.
fn rule(routing: &Routing, family: Family) -> Rule {
    Rule {
        family,
        protocol: PROTOCOL,
        priority: routing.priority,
        mark: Some(routing.mark),
        table: routing.table,
        action: RuleAction::ToTable,
        others: Others::default(),
    }
}

/// And never look further, also in the moment between the loss of that rule, or
/// of the table's unreachable route, and its return.
fn guard(routing: &Routing, family: Family) -> Option<Rule> {
    // Of two rules with one priority the older one comes first.
    let priority = (routing.priority + 1 < MAIN_PRIORITY).then_some(routing.priority + 1)?;
    Some(Rule {
        priority,
        table: 0,
        action: RuleAction::Unreachable,
        ..rule(routing, family)
    })
}

/// What they find at least.
fn unreachable(routing: &Routing, family: Family) -> Route {
    let everything = Prefix {
        addr: family.unspecified(),
        len: 0,
    };
    Route {
        kind: RouteType::Unreachable,
        metric: UNREACHABLE_METRIC,
        // IPv6 lists every route with one, medium for what never had any.
        preference: (family == Family::Ipv6).then_some(0),
        ..Route::ours(routing.table, everything, 0)
    }
}

/// The work on one family.
struct Of<'a> {
    routing: &'a Routing,
    present: &'a Present,
    family: Family,
}

/// A default route that should be in the table, before its metric is settled.
struct Candidate<'a> {
    /// In main, in the table or remembered.
    route: &'a Route,
    /// The metric it has in the table, if it is there.
    current: Option<u32>,
}

impl<'a> Of<'a> {
    fn routes(&self, wanted: &mut Wanted) {
        let foreign: HashSet<Path> = self
            .in_table()
            .filter(|r| !r.is_ours())
            .map(Route::path)
            .collect();
        let unreachable = unreachable(self.routing, self.family);
        let already = |r: &Route| {
            !r.is_ours() && r.path() == unreachable.path() && r.metric == unreachable.metric
        };
        if !self.in_table().any(already) {
            wanted.routes.push(unreachable);
        }

        let (defaults, others): (Vec<&Route>, Vec<&Route>) =
            self.in_main().partition(|route| route.is_default());
        let mut mirrored: Vec<Route> = others.into_iter().map(|route| self.copy(route)).collect();
        mirrored.retain(|route| !foreign.contains(&route.path()));
        // A router is accepted only when the way to it is known.
        mirrored.sort_by_key(|route| route.gateway.is_some());
        wanted.routes.append(&mut mirrored);

        let mut fresh = Vec::new();
        for route in defaults {
            match self.mixed(route) {
                None => fresh.push(route),
                Some(obstacle) if wanted.obstacles.contains(&obstacle) => {}
                Some(obstacle) => wanted.obstacles.push(obstacle),
            }
        }
        let mut candidates = self.standing(&fresh);
        candidates.extend(
            fresh
                .iter()
                .filter(|route| !route.is_expired())
                .map(|&route| Candidate {
                    route,
                    current: self.current_metric(route),
                }),
        );
        candidates.retain(|candidate| !foreign.contains(&candidate.route.path()));
        wanted.routes.extend(self.ranked(candidates));
        wanted.misplaced.extend(fresh.into_iter().cloned());
    }

    /// The routes of the WAN in main.
    fn in_main(&self) -> impl Iterator<Item = &'a Route> + use<'a> {
        let (family, links) = (self.family, &self.present.links);
        self.present.main.iter().filter(move |route| {
            route.family() == family
                && route.table == MAIN
                && route.kind == RouteType::Unicast
                && !route.is_ours()
                && (route.is_default() || !route.is_expired())
                && is_wan(links, route.device)
        })
    }

    fn in_table(&self) -> impl Iterator<Item = &'a Route> + use<'a> {
        let (family, table) = (self.family, self.routing.table);
        self.present.table.iter().filter(move |route| {
            route.family() == family && route.table == table && !route.is_expired()
        })
    }

    /// The route as it should stand in the table. What keeps its original needs
    /// no lifetime: it goes when that goes.
    fn copy(&self, route: &Route) -> Route {
        Route {
            table: self.routing.table,
            protocol: PROTOCOL,
            expires: None,
            nexthop: None,
            multipath: false,
            // The kernel sets the others of these itself and refuses them.
            scope: if route.family() == Family::Ipv6 {
                RouteScope::Universe
            } else {
                route.scope
            },
            ..route.clone()
        }
    }

    /// Copies in the table whose original is gone and that are still valid.
    fn standing(&self, fresh: &[&Route]) -> Vec<Candidate<'a>> {
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

    fn current_metric(&self, fresh: &Route) -> Option<u32> {
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
    fn ranked(&self, mut candidates: Vec<Candidate<'a>>) -> Vec<Route> {
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

    /// Whether a default route leads elsewhere too.
    fn mixed(&self, route: &Route) -> Option<Obstacle> {
        let links = &self.present.links;
        let elsewhere = |other: &Route| {
            other.multipath
                && other.is_default()
                && other.family() == self.family
                && other.table == MAIN
                && (other.metric, other.protocol) == (route.metric, route.protocol)
                && !is_wan(links, other.device)
        };
        if !route.multipath || !self.present.main.iter().any(elsewhere) {
            return None;
        }
        let link = links.iter().find(|link| link.index == route.device);
        let device = link.map(|link| link.name.clone()).unwrap_or_default();
        Some(Obstacle::Mixed {
            metric: route.metric,
            device,
        })
    }
}
