//! What rules and routes there must be, made from the configuration and what the
//! kernel has: pure. Which rules is in `rules`, what becomes of routes that lead
//! away in `moved`.

use rtnetlink::packet_route::route::RouteType;

use super::index::Index;
use super::moved::{self, is_moved, original};
pub use super::obstacle::Obstacle;
use super::route::{Family, MAIN, Prefix, Route, Rule};
use super::rules;
pub use super::state::Present;
use super::view::{View, is_wan};
use crate::config::Routing;

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
}

/// Makes the wanted state.
#[must_use]
pub fn wanted(routing: &Routing, present: &Present) -> Wanted {
    let mut wanted = Wanted::default();
    for family in Family::ALL {
        let managed = family.is_in(routing);
        if managed {
            let view = View {
                routing,
                present,
                family,
            };
            wanted.rules.append(&mut rules::wanted(view));
            routes(view, &mut wanted);
        }
        let moved = present
            .table
            .iter()
            .filter(|route| route.family() == family && is_moved(route));
        let given_up = moved.filter(|route| !managed || !is_wan(present, route.device));
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
fn routes(view: View, wanted: &mut Wanted) {
    let unreachable = unreachable(view);
    let already =
        |route: &Route| route.path() == unreachable.path() && route.metric == unreachable.metric;
    if !view.foreign().any(already) {
        wanted.routes.push(unreachable);
    }
    let (networks, away): (Vec<&Route>, Vec<&Route>) = (view.in_main())
        .filter(|route| view.has_its_address(route))
        .partition(|route| view.is_own_network(route));
    let mut fresh = Vec::new();
    for route in away {
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
    let known = Index::by_place(view.foreign().chain(&moved));
    let copied = networks
        .into_iter()
        .filter(|route| !route.is_expired() && !known.has(&route.path()))
        .take(MAX_ROUTES);
    wanted.routes.extend(copied.map(|route| view.copy(route)));
    // A router is accepted only when the way to it is known: on-link ones first.
    let (mut on_link, mut behind): (Vec<Route>, Vec<Route>) =
        moved.drain(..).partition(|route| !route.leads_away());
    wanted.routes.append(&mut on_link);
    wanted.routes.append(&mut behind);
    wanted.misplaced.extend(fresh.into_iter().cloned());
}

/// What marked packets find at least.
fn unreachable(view: View) -> Route {
    let everything = Prefix {
        addr: view.family.unspecified(),
        len: 0,
    };
    Route {
        kind: RouteType::Unreachable,
        metric: UNREACHABLE_METRIC,
        // IPv6 lists every route with one, medium for what never had any.
        preference: (view.family == Family::Ipv6).then_some(0),
        ..Route::ours(view.routing.table, everything, 0)
    }
}

/// Whether a route that leads away leads elsewhere too, so that the kernel could
/// take away both or none.
fn mixed(view: View, route: &Route) -> Option<Obstacle> {
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
