//! Reads what the kernel has, as far as it matters.

use rtnetlink::packet_route::route::RouteType;

use super::Error;
use super::kernel::Kernel;
use super::prefix::Family;
use super::route::{MAIN, Route};
use super::state::{Link, Present};
use super::wanted::{MAX_ROUTES, tables_behind_main};
use crate::netlink::Refused;

/// Adds the devices with these names, as far as there are such.
pub(super) fn links(
    kernel: &mut Kernel,
    names: &[String],
    present: &mut Present,
) -> Result<(), Error> {
    for name in names {
        let link = kernel.link(name).map_err(reading("network devices"))?;
        present.links.extend(link);
    }
    Ok(())
}

/// The addresses of a family.
pub(super) fn addresses(
    kernel: &mut Kernel,
    family: Family,
    present: &mut Present,
) -> Result<(), Error> {
    let mut addresses = kernel.addresses(family).map_err(reading("addresses"))?;
    present.addresses.append(&mut addresses);
    Ok(())
}

/// The rules of a family.
pub(super) fn rules(
    kernel: &mut Kernel,
    family: Family,
    present: &mut Present,
) -> Result<(), Error> {
    let mut rules = kernel.rules(family).map_err(reading("rules"))?;
    present.rules.append(&mut rules);
    Ok(())
}

/// The routes through the WAN, and what else a multipath route of theirs has;
/// true when there are more than are looked at.
pub(super) fn main(
    kernel: &mut Kernel,
    family: Family,
    present: &mut Present,
) -> Result<bool, Error> {
    let (mut networks, mut others) = (0, 0);
    let links = &present.links;
    for link in links {
        let mut keep = |route: &Route| {
            let of_other = route.multipath && !is_through(links, route);
            if route.device != link.index && !of_other {
                return false;
            }
            let count = match route.leads_away() {
                true => &mut others,
                false => &mut networks,
            };
            *count += 1;
            *count <= MAX_ROUTES
        };
        let routes = kernel.routes_of_table(family, MAIN, Some(link.index), &mut keep);
        let mut routes = routes.map_err(reading("routes of table main"))?;
        present.main.append(&mut routes);
    }
    Ok(networks > MAX_ROUTES || others > MAX_ROUTES)
}

/// All routes of ours in the WAN's table, all default routes, and others'
/// through the WAN.
pub(super) fn table(
    kernel: &mut Kernel,
    family: Family,
    table: u32,
    present: &mut Present,
) -> Result<(), Error> {
    let links = &present.links;
    let mut others = 0;
    let mut keep = |route: &Route| {
        if route.is_ours() || route.is_default() {
            return true;
        }
        others += 1;
        others <= MAX_ROUTES && is_through(links, route)
    };
    let routes = kernel.routes_of_table(family, table, None, &mut keep);
    let mut routes = routes.map_err(reading("routes of the WAN's table"))?;
    present.table.append(&mut routes);
    Ok(())
}

/// Ways to the WAN's routers in tables that somebody's rule behind main leads to;
/// which tables these are.
pub(super) fn elsewhere(
    kernel: &mut Kernel,
    family: Family,
    table: u32,
    present: &mut Present,
) -> Result<Vec<u32>, Error> {
    let tables = tables_behind_main(&present.rules, family, table);
    for &table in &tables {
        for link in &present.links {
            let mut one = false;
            let mut keep = |route: &Route| {
                let first = route.leads_away()
                    && route.kind == RouteType::Unicast
                    && route.device == link.index
                    && !one;
                one |= first;
                first
            };
            let routes = kernel.routes_of_table(family, table, Some(link.index), &mut keep);
            let mut routes = routes.map_err(reading("routes of others' tables"))?;
            present.elsewhere.append(&mut routes);
        }
    }
    Ok(tables)
}

/// Our routes in tables other than `known`: of an earlier configuration.
pub(super) fn strays(
    kernel: &mut Kernel,
    family: Family,
    known: Option<u32>,
    present: &mut Present,
) -> Result<(), Error> {
    let keep = |route: &Route| Some(route.table) != known;
    let strays = kernel.our_routes(family, &keep);
    let mut strays = strays.map_err(reading("routes"))?;
    present.table.append(&mut strays);
    Ok(())
}

fn is_through(links: &[Link], route: &Route) -> bool {
    links.iter().any(|link| link.index == route.device)
}

fn reading(what: &'static str) -> impl Fn(Refused) -> Error {
    move |source| Error::Read { what, source }
}
