//! What rules and routes there must be, made from the configuration and what the
//! kernel has: pure. Which rules is in `rules`, what becomes of routes that lead
//! away in `moved`.

mod moved;
mod rules;
mod standing;
mod view;

use rtnetlink::packet_route::route::RouteType;

use super::index::Index;
pub use super::obstacle::Obstacle;
use super::prefix::{Family, Prefix};
use super::route::{MAIN, Route};
use super::rule::Rule;
pub use super::state::Present;
use crate::config::Routing;
pub(super) use moved::is_moved;
use moved::original;
pub(super) use rules::tables_behind_main;
use view::{View, is_wan};

/// Where marked packets end when the WAN has no route; nothing of the WAN's may
/// come after it. Gluon's number.
pub(super) const UNREACHABLE_METRIC: u32 = 65535;
/// How many routes of the WAN, of each family, are looked at and held: as many as
/// the kernel itself took in for long (net.ipv6.route.max_size). A home network
/// has a handful; more are somebody's flood.
pub const MAX_ROUTES: usize = 4096;

/// What there must be.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Wanted {
    /// The rules.
    pub rules: Vec<Rule>,
    /// The routes of ours: unreachable first, then those that others need to
    /// reach their router.
    pub routes: Vec<Route>,
    /// Routes in main that lead away and must not be there. Their copies are
    /// among `routes`, unless somebody else put them into the table.
    pub misplaced: Vec<Route>,
    /// Routes that were moved and are to stand in main again, because they are
    /// not ours to hold any longer.
    pub returned: Vec<Route>,
    /// What stands in the way, and is not ours to change.
    pub obstacles: Vec<Obstacle>,
    /// Whether more is wanted once this is done: a rule that somebody else's has
    /// overtaken is made anew, off, then on.
    pub more: bool,
}

/// Makes the wanted state.
#[must_use]
pub fn wanted(routing: &Routing, present: &Present) -> Wanted {
    let mut wanted = Wanted::default();
    for family in Family::ALL {
        let managed = family.is_in(routing);
        if managed {
            let view = View::new(routing, present, family);
            let (mut rules, more) = rules::wanted(&view);
            wanted.rules.append(&mut rules);
            wanted.more |= more;
            routes(&view, &mut wanted);
        }
        for route in &present.table {
            let given_up = !managed || !is_wan(present, route.device);
            if route.family() == family && is_moved(route) && given_up {
                wanted.returned.push(original(route));
            }
        }
    }
    wanted
}

/// What is wanted when nothing is: that what was moved stands where it stood.
#[must_use]
pub fn nothing(present: &Present) -> Wanted {
    let mut wanted = Wanted::default();
    for route in &present.table {
        if is_moved(route) {
            wanted.returned.push(original(route));
        }
    }
    wanted
}

/// What only the guard keeps from leaving through devices that are none of the
/// WAN's. `name` knows the names of devices.
pub(super) fn unlisted(
    routing: &Routing,
    present: &Present,
    name: fn(u32) -> String,
) -> Vec<Obstacle> {
    let mut found = Vec::new();
    for route in &present.table {
        let leads_astray = route.table == routing.table
            && route.is_default()
            && route.kind == RouteType::Unicast
            && !route.is_ours()
            && !is_wan(present, route.device);
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

/// The routes of one family.
fn routes(view: &View, wanted: &mut Wanted) {
    let unreachable = unreachable(view);
    let is_there =
        |route: &Route| route.path() == unreachable.path() && route.metric == unreachable.metric;
    if !view.foreign.iter().any(|route| is_there(route)) {
        wanted.routes.push(unreachable);
    }
    let (mut networks, mut fresh) = (Vec::new(), Vec::new());
    for &route in &view.main {
        if !view.has_its_address(route) {
            continue;
        }
        if view.is_own_network(route) {
            networks.push(route);
            continue;
        }
        match mixed(view, route) {
            None => fresh.push(route),
            Some(obstacle) if wanted.obstacles.contains(&obstacle) => {}
            Some(obstacle) => wanted.obstacles.push(obstacle),
        }
    }
    let (mut moved, too_many) = moved::wanted(view, &fresh, MAX_ROUTES);
    if too_many || moved.len() == MAX_ROUTES {
        wanted.obstacles.push(Obstacle::TooMany {
            family: view.family,
            limit: MAX_ROUTES,
            table: view.routing.table,
        });
    }
    let known = Index::by_place(view.foreign.iter().copied().chain(&moved));
    networks.retain(|route| !route.is_expired() && !known.has(&route.path()));
    networks.truncate(MAX_ROUTES);
    wanted
        .routes
        .extend(networks.iter().map(|route| view.copy(route)));
    // A router is accepted only when the way to it is known: on-link ones first.
    let on_link = moved.extract_if(.., |route| !route.leads_away());
    wanted.routes.extend(on_link);
    wanted.routes.append(&mut moved);
    wanted.misplaced.extend(fresh.into_iter().cloned());
}

/// What marked packets find at least.
fn unreachable(view: &View) -> Route {
    let everything = Prefix {
        addr: view.family.unspecified(),
        len: 0,
    };
    let mut route = Route::ours(view.routing.table, everything, 0);
    route.kind = RouteType::Unreachable;
    route.metric = UNREACHABLE_METRIC;
    // IPv6 lists every route with one, medium for what never had any.
    route.preference = (view.family == Family::Ipv6).then_some(0);
    route
}

/// Whether a route that leads away leads elsewhere too, so that the kernel could
/// take away both or none.
fn mixed(view: &View, route: &Route) -> Option<Obstacle> {
    let elsewhere = |other: &Route| {
        other.multipath
            && other.destination == route.destination
            && other.table == MAIN
            && (other.metric, other.protocol) == (route.metric, route.protocol)
            && !is_wan(view.present, other.device)
    };
    if !route.multipath || !view.present.main.iter().any(elsewhere) {
        return None;
    }
    let mut links = view.present.links.iter();
    let device = links.find(|link| link.index == route.device);
    Some(Obstacle::Mixed {
        family: view.family,
        destination: route.destination.to_string(),
        metric: route.metric,
        device: device.map(|link| link.name.clone()).unwrap_or_default(),
    })
}
