//! Reads the present state, makes what differs, and remembers what must come
//! back.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use nix::net::if_::if_indextoname;

use super::events::{Events, News};
use super::kernel::{Add, Kernel, Link};
use super::plan::{self, Change};
use super::route::{Family, MAIN, Route};
use super::wanted::{self, Present, Wanted};
use super::{Error, Outcome, reverse_path};
use crate::config::Routing;
use crate::netlink::{Refused, Requests};

/// Keeps rule and routes in place for as long as it lives: it remembers which
/// default routes were moved, so that one that is deleted comes back.
pub struct Keeper {
    kernel: Kernel,
    links: Vec<Link>,
    /// With when it expires.
    moved: Vec<(Route, Option<Instant>)>,
    withdrawn: Vec<(u32, IpAddr)>,
    /// The configuration for which all other tables were found to have nothing
    /// of ours. Nobody but us puts anything there.
    swept: Option<Routing>,
    /// What time it is.
    clock: fn() -> Instant,
}

impl Keeper {
    /// Opens its socket. Needs no privilege.
    ///
    /// # Errors
    /// No socket to be had.
    pub fn open() -> Result<Self, Error> {
        let kernel = Kernel::open().map_err(Error::Socket)?;
        Ok(Self::with(kernel, Instant::now))
    }

    /// Over what answers as the kernel does, with a clock of its own.
    #[must_use]
    pub fn over(requests: Box<dyn Requests>, clock: fn() -> Instant) -> Self {
        Self::with(Kernel::over(requests), clock)
    }

    fn with(kernel: Kernel, clock: fn() -> Instant) -> Self {
        Self {
            kernel,
            links: Vec::new(),
            moved: Vec::new(),
            withdrawn: Vec::new(),
            swept: None,
            clock,
        }
    }

    /// The events that concern it, its own deeds excepted.
    ///
    /// # Errors
    /// No socket to be had.
    pub fn events(&self) -> Result<Events, Error> {
        Events::open(self.kernel.port()).map_err(Error::Socket)
    }

    /// The indexes of the WAN's devices at the last look.
    #[must_use]
    pub fn known(&self) -> Vec<u32> {
        self.links.iter().map(|link| link.index).collect()
    }

    /// Takes note of what happened: a route that the kernel dropped with its
    /// device must not come back.
    pub fn note(&mut self, news: &News) {
        self.moved
            .retain(|(route, _)| !news.lost && !news.down.contains(&route.device));
    }

    /// Takes note of routers that took their advertisement back.
    pub fn withdraw(&mut self, routers: Vec<(u32, IpAddr)>) {
        self.withdrawn.extend(routers);
    }

    /// Puts rule and routes in place, as far as the kernel lets it.
    ///
    /// # Errors
    /// The present state cannot be read; nothing was changed.
    pub fn sync(&mut self, routing: &Routing, devices: &[String]) -> Result<Outcome, Error> {
        let (present, wanted) = self.compare(routing, devices)?;
        let changes = plan::plan(&wanted, &present);
        self.withdrawn.clear();
        self.remember(&wanted);
        let mut outcome = apply(&mut self.kernel, &present.links, &changes);
        self.swept = outcome.failures.is_empty().then(|| routing.clone());
        outcome.obstacles = wanted.obstacles;
        Ok(outcome)
    }

    /// Removes everything of ours, from all tables.
    ///
    /// # Errors
    /// The present state cannot be read; nothing was changed.
    pub fn clear(&mut self) -> Result<Outcome, Error> {
        let mut present = Present::default();
        for family in Family::ALL {
            read_rules(&mut self.kernel, family, &mut present)?;
            read_strays(&mut self.kernel, family, None, &mut present)?;
        }
        let changes = plan::plan(&wanted::nothing(&present), &present);
        Ok(apply(&mut self.kernel, &present.links, &changes))
    }

    /// What is there and what is wanted.
    ///
    /// # Errors
    /// The present state cannot be read.
    pub fn compare(
        &mut self,
        routing: &Routing,
        devices: &[String],
    ) -> Result<(Present, Wanted), Error> {
        let present = self.read(routing, devices)?;
        let mut wanted = wanted::wanted(routing, &present);
        if routing.ipv4 {
            wanted
                .obstacles
                .extend(reverse_path::obstacles(&present.links));
        }
        let unlisted = wanted::unlisted(routing, &present, device_name);
        wanted.obstacles.extend(unlisted);
        Ok((present, wanted))
    }

    fn remember(&mut self, wanted: &Wanted) {
        let now = (self.clock)();
        let moved = wanted
            .routes
            .iter()
            .filter(|route| route.is_default() && route.device != 0);
        let until = |seconds: i32| now + Duration::from_secs(seconds.max(0).cast_unsigned().into());
        self.moved = moved
            .map(|route| (route.clone(), route.expires.map(until)))
            .collect();
    }

    fn read(&mut self, routing: &Routing, devices: &[String]) -> Result<Present, Error> {
        let mut present = Present {
            withdrawn: self.withdrawn.clone(),
            moved: self.remembered(),
            ..Present::default()
        };
        for name in devices {
            let link = self.kernel.link(name).map_err(reading("network devices"))?;
            present.links.extend(link);
        }
        self.links.clone_from(&present.links);
        for family in Family::ALL {
            let managed = match family {
                Family::Ipv4 => routing.ipv4,
                Family::Ipv6 => routing.ipv6,
            };
            read_rules(&mut self.kernel, family, &mut present)?;
            if managed {
                read_main(&mut self.kernel, family, &mut present)?;
                read_table(&mut self.kernel, family, routing.table, &mut present)?;
            }
            if self.swept.as_ref() != Some(routing) {
                let known = managed.then_some(routing.table);
                read_strays(&mut self.kernel, family, known, &mut present)?;
            }
        }
        Ok(present)
    }

    fn remembered(&self) -> Vec<Route> {
        let now = (self.clock)();
        let left = |until: Instant| {
            let seconds = until.saturating_duration_since(now).as_secs();
            i32::try_from(seconds).unwrap_or(i32::MAX)
        };
        let routes = self.moved.iter();
        routes
            .map(|(route, until)| Route {
                expires: until.map(left),
                ..route.clone()
            })
            .collect()
    }
}

fn reading(what: &'static str) -> impl Fn(Refused) -> Error {
    move |source| Error::Read { what, source }
}

fn read_rules(kernel: &mut Kernel, family: Family, present: &mut Present) -> Result<(), Error> {
    present
        .rules
        .extend(kernel.rules(family).map_err(reading("rules"))?);
    Ok(())
}

/// The routes through the WAN, and what else a multipath route of theirs has.
fn read_main(kernel: &mut Kernel, family: Family, present: &mut Present) -> Result<(), Error> {
    let links = present.links.clone();
    let is_wan = |index| links.iter().any(|link| link.index == index);
    for link in &links {
        let routes = kernel.routes_of_table(family, MAIN, Some(link.index), |route| {
            route.device == link.index
                || route.is_default() && route.multipath && !is_wan(route.device)
        });
        present
            .main
            .extend(routes.map_err(reading("routes of table main"))?);
    }
    Ok(())
}

fn read_table(
    kernel: &mut Kernel,
    family: Family,
    table: u32,
    present: &mut Present,
) -> Result<(), Error> {
    let links = &present.links;
    let routes = kernel.routes_of_table(family, table, None, |route| {
        route.is_ours() || route.is_default() || links.iter().any(|link| link.index == route.device)
    });
    present
        .table
        .extend(routes.map_err(reading("routes of the WAN's table"))?);
    Ok(())
}

/// Our routes in tables other than `known`: of an earlier configuration.
fn read_strays(
    kernel: &mut Kernel,
    family: Family,
    known: Option<u32>,
    present: &mut Present,
) -> Result<(), Error> {
    let strays = kernel.our_routes(family, |route| Some(route.table) != known);
    present.table.extend(strays.map_err(reading("routes"))?);
    Ok(())
}

/// Makes every change, and goes on when one is refused.
fn apply(kernel: &mut Kernel, links: &[Link], changes: &[Change]) -> Outcome {
    let mut outcome = Outcome::default();
    for change in changes {
        let result = match change {
            Change::AddRule(rule) => kernel.add_rule(rule),
            Change::RemoveRule(rule) => kernel.remove_rule(rule),
            Change::AddRoute(route) => kernel.add_route(route, Add::Beside),
            Change::ReplaceRoute(route) => kernel.add_route(route, Add::InPlace),
            Change::Return(route) => kernel.add_route(route, Add::Alone),
            Change::RemoveRoute(route) => kernel.remove_route(route),
            Change::Move {
                copy: None, from, ..
            } => kernel.remove_route(from),
            Change::Move {
                copy: Some(copy),
                from,
                ..
            } => kernel
                .add_route(copy, Add::Beside)
                .and_then(|()| kernel.remove_route(from)),
        };
        let name = |index| name_of(links, index);
        match result {
            Ok(()) if change.is_refresh() => {}
            Ok(()) => outcome
                .changes
                .tell(|| change.past_words(&name).to_string()),
            Err(refused) => {
                outcome
                    .failures
                    .0
                    .tell(|| format!("{}: {refused}", change.words(&name)));
                // The kernel will say the same of all the others.
                if refused.is(libc::EPERM) {
                    break;
                }
            }
        }
    }
    outcome
}

/// The name of any device; its number where it is gone.
fn device_name(index: u32) -> String {
    match if_indextoname(index) {
        Ok(name) => name.to_string_lossy().into_owned(),
        Err(_) => format!("#{index}"),
    }
}

/// The name of a device; its number where it is none of ours.
pub(super) fn name_of(links: &[Link], index: u32) -> String {
    match links.iter().find(|link| link.index == index) {
        Some(link) => link.name.clone(),
        None => format!("#{index}"),
    }
}
