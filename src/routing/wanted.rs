//! What rule and routes there must be, made from the configuration and what
//! the kernel has: pure. What becomes of default routes is in `moved`.

use std::collections::HashSet;
use std::net::IpAddr;

use rtnetlink::packet_route::route::{RouteScope, RouteType};
use rtnetlink::packet_route::rule::RuleAction;

use super::kernel::Link;
use super::moved::{Candidate, is_moved, original};
use super::route::{Family, MAIN, Others, PROTOCOL, Path, Prefix, Route, Rule};
use crate::config::Routing;

/// Where marked packets end when the WAN has no route; nothing of the WAN's may
/// come after it. Gluon's number.
pub(super) const UNREACHABLE_METRIC: u32 = 65535;
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
    /// Somebody's default route in the WAN's table through a device that is none
    /// of the WAN's: what is marked takes it, and is stopped by the guard.
    #[error(
        "a default route of table {table} leads through {device}, which is none of the WAN's devices: \
         marked packets that take it are stopped; add {device} to `list device` if it is an uplink"
    )]
    Unlisted {
        /// The device.
        device: String,
        /// The WAN's table.
        table: u32,
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

/// What only the guard keeps from leaving through devices that are none of the
/// WAN's. `name` knows the names of devices.
pub(super) fn unlisted(
    routing: &Routing,
    present: &Present,
    name: impl Fn(u32) -> String,
) -> Vec<Obstacle> {
    let mut found = Vec::new();
    for route in &present.table {
        let leads_astray = route.table == routing.table
            && route.is_default()
            && route.kind == RouteType::Unicast
            && !route.is_ours()
            && !is_wan(&present.links, route.device);
        if leads_astray {
            let obstacle = Obstacle::Unlisted {
                device: name(route.device),
                table: route.table,
            };
            if !found.contains(&obstacle) {
                found.push(obstacle);
            }
        }
    }
    found
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
pub(super) struct Of<'a> {
    pub routing: &'a Routing,
    pub present: &'a Present,
    pub family: Family,
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
    pub(super) fn in_main(&self) -> impl Iterator<Item = &'a Route> + use<'a> {
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

    pub(super) fn in_table(&self) -> impl Iterator<Item = &'a Route> + use<'a> {
        let (family, table) = (self.family, self.routing.table);
        self.present.table.iter().filter(move |route| {
            route.family() == family && route.table == table && !route.is_expired()
        })
    }

    /// The route as it should stand in the table. What keeps its original needs
    /// no lifetime: it goes when that goes.
    pub(super) fn copy(&self, route: &Route) -> Route {
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
