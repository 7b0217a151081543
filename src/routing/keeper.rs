//! Reads the present state, makes what differs, and remembers what must come
//! back.

use std::time::{Duration, Instant};

use nix::net::if_::if_indextoname;
use rtnetlink::packet_route::route::RouteType;

use super::events::{Events, Known, News};
use super::kernel::{Add, Kernel};
use super::plan::{self, Change};
use super::route::{Family, MAIN, Prefix, Route};
use super::state::{Address, Link, Present, Withdrawn};
use super::wanted::{self, MAX_ROUTES, Wanted};
use super::{Error, Outcome, TOLD, moved, reverse_path, rules};
use crate::config::Routing;
use crate::netlink::{Refused, Requests};

/// How often it looks again at once, because there was more to do than it looks
/// at in one go.
const ROUNDS: usize = 64;
/// And how often, because what was changed may ask for another change: nobody else
/// tells us of what we did.
const AFTERTHOUGHTS: usize = 4;
/// As many prefixes are remembered that routes are for packets from.
const MAX_SOURCES: usize = 64;

/// Keeps rules and routes in place for as long as it lives: it remembers which
/// routes were moved, so that one that is deleted comes back.
pub struct Keeper {
    kernel: Kernel,
    known: Known,
    /// The addresses at the last look.
    addresses: Vec<Address>,
    /// With when it expires.
    moved: Vec<(Route, Option<Instant>)>,
    withdrawn: Vec<Withdrawn>,
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
            known: Known::default(),
            addresses: Vec::new(),
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

    /// What the last look found.
    #[must_use]
    pub fn known(&self) -> &Known {
        &self.known
    }

    /// Takes note of what happened: a route that the kernel dropped with its
    /// device must not come back.
    pub fn note(&mut self, news: &News) {
        self.moved
            .retain(|(route, _)| !news.lost && !news.down.contains(&route.device));
    }

    /// Takes note of routers that are none any more.
    pub fn withdraw(&mut self, routers: Vec<Withdrawn>) {
        self.withdrawn.extend(routers);
    }

    /// Puts rules and routes in place, as far as the kernel lets it. `devices` are
    /// the WAN's, by name.
    ///
    /// # Errors
    /// The present state cannot be read.
    pub fn sync(&mut self, routing: &Routing, devices: &[String]) -> Result<Outcome, Error> {
        let now = (self.clock)();
        let mut outcome = Outcome::default();
        for round in 0..ROUNDS {
            let (present, wanted, more) = self.look(routing, devices, now)?;
            let changes = plan::plan(&wanted, &present);
            self.withdrawn.clear();
            self.known.sources = sources(&present);
            for route in &present.table {
                if !self.known.links.contains(&route.device) {
                    self.known.links.push(route.device);
                }
            }
            self.remember(&wanted, now);
            apply(&mut self.kernel, &present.links, &changes, &mut outcome);
            // What an address took along may only be on its way out.
            let going = self.addresses.iter().any(|one| {
                !present.addresses.contains(one) && self.known.links.contains(&one.device)
            });
            self.addresses = present.addresses;
            outcome.obstacles = wanted.obstacles;
            let again = (more || round < AFTERTHOUGHTS) && !changes.is_empty() || going;
            if !again || !outcome.failures.is_empty() {
                break;
            }
        }
        self.swept = outcome.failures.is_empty().then(|| routing.clone());
        Ok(outcome)
    }

    /// Removes everything of ours, from all tables.
    ///
    /// # Errors
    /// The present state cannot be read; nothing was changed.
    pub fn clear(&mut self) -> Result<Outcome, Error> {
        let mut present = Present::default();
        for family in Family::ALL {
            self.read_rules(family, &mut present)?;
            self.read_strays(family, None, &mut present)?;
        }
        let changes = plan::plan(&wanted::nothing(&present), &present);
        let mut outcome = Outcome::default();
        apply(&mut self.kernel, &present.links, &changes, &mut outcome);
        Ok(outcome)
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
        let (present, wanted, _) = self.look(routing, devices, (self.clock)())?;
        Ok((present, wanted))
    }

    /// The same, and whether there is more to do than it shows.
    fn look(
        &mut self,
        routing: &Routing,
        devices: &[String],
        now: Instant,
    ) -> Result<(Present, Wanted, bool), Error> {
        let (present, mut more) = self.read(routing, devices, now)?;
        let mut wanted = wanted::wanted(routing, &present);
        // A rule that somebody else's has overtaken is made anew: off, then on.
        more |= rules::are_overtaken(routing, &present);
        if routing.ipv4 {
            wanted
                .obstacles
                .extend(reverse_path::obstacles(&present.links));
        }
        let unlisted = wanted::unlisted(routing, &present, device_name);
        wanted.obstacles.extend(unlisted);
        Ok((present, wanted, more))
    }

    fn remember(&mut self, wanted: &Wanted, now: Instant) {
        let moved = wanted.routes.iter().filter(|route| moved::is_moved(route));
        let until = |seconds: i32| now + Duration::from_secs(seconds.max(0).cast_unsigned().into());
        self.moved = moved
            .map(|route| (route.clone(), route.expires.map(until)))
            .collect();
    }

    fn remembered(&self, now: Instant) -> Vec<Route> {
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

    /// Reads what matters; and whether there is more of it.
    fn read(
        &mut self,
        routing: &Routing,
        devices: &[String],
        now: Instant,
    ) -> Result<(Present, bool), Error> {
        let mut present = Present {
            withdrawn: self.withdrawn.clone(),
            moved: self.remembered(now),
            before: self.addresses.clone(),
            ..Present::default()
        };
        for name in devices {
            let link = self.kernel.link(name).map_err(reading("network devices"))?;
            present.links.extend(link);
        }
        self.known.links = present.links.iter().map(|link| link.index).collect();
        self.known.tables.clear();
        let mut more = false;
        for family in Family::ALL {
            let managed = family.is_in(routing);
            self.read_rules(family, &mut present)?;
            if managed {
                more |= self.read_main(family, &mut present)?;
                self.read_table(family, routing.table, &mut present)?;
                self.read_elsewhere(family, routing.table, &mut present)?;
                // After the routes: an address that is there then has not gone
                // with one of them.
                let addresses = self
                    .kernel
                    .addresses(family)
                    .map_err(reading("addresses"))?;
                present.addresses.extend(addresses);
            }
            if self.swept.as_ref() != Some(routing) {
                let known = managed.then_some(routing.table);
                self.read_strays(family, known, &mut present)?;
            }
        }
        Ok((present, more))
    }

    fn read_rules(&mut self, family: Family, present: &mut Present) -> Result<(), Error> {
        let rules = self.kernel.rules(family).map_err(reading("rules"))?;
        present.rules.extend(rules);
        Ok(())
    }

    /// The routes through the WAN, and what else a multipath route of theirs has;
    /// true when there are more than are looked at.
    fn read_main(&mut self, family: Family, present: &mut Present) -> Result<bool, Error> {
        let (mut networks, mut others) = (0, 0);
        for link in &present.links {
            let routes =
                self.kernel
                    .routes_of_table(family, MAIN, Some(link.index), &mut |route| {
                        let is_wan = |link: &Link| link.index == route.device;
                        let of_other = route.multipath && !present.links.iter().any(is_wan);
                        if route.device != link.index && !of_other {
                            return false;
                        }
                        let count = match route.leads_away() {
                            true => &mut others,
                            false => &mut networks,
                        };
                        *count += 1;
                        *count <= MAX_ROUTES
                    });
            let routes = routes.map_err(reading("routes of table main"))?;
            present.main.extend(routes);
        }
        Ok(networks > MAX_ROUTES || others > MAX_ROUTES)
    }

    /// All routes of ours in the WAN's table, all default routes, and others'
    /// through the WAN.
    fn read_table(
        &mut self,
        family: Family,
        table: u32,
        present: &mut Present,
    ) -> Result<(), Error> {
        let links = &present.links;
        let mut others = 0;
        let routes = self
            .kernel
            .routes_of_table(family, table, None, &mut |route| {
                if route.is_ours() || route.is_default() {
                    return true;
                }
                others += 1;
                others <= MAX_ROUTES && links.iter().any(|link| link.index == route.device)
            });
        present
            .table
            .extend(routes.map_err(reading("routes of the WAN's table"))?);
        Ok(())
    }

    /// Ways to the WAN's routers in tables that somebody's rule behind main leads
    /// to.
    fn read_elsewhere(
        &mut self,
        family: Family,
        table: u32,
        present: &mut Present,
    ) -> Result<(), Error> {
        for table in rules::tables_behind_main(&present.rules, family, table) {
            self.known.tables.push(table);
            for link in &present.links {
                let mut one = false;
                let routes =
                    self.kernel
                        .routes_of_table(family, table, Some(link.index), &mut |route| {
                            let leads_away = route.is_default() || route.gateway.is_some();
                            let first = leads_away
                                && route.kind == RouteType::Unicast
                                && route.device == link.index
                                && !one;
                            one |= first;
                            first
                        });
                let routes = routes.map_err(reading("routes of others' tables"))?;
                present.elsewhere.extend(routes);
            }
        }
        Ok(())
    }

    /// Our routes in tables other than `known`: of an earlier configuration.
    fn read_strays(
        &mut self,
        family: Family,
        known: Option<u32>,
        present: &mut Present,
    ) -> Result<(), Error> {
        let keep = |route: &Route| Some(route.table) != known;
        let strays = self.kernel.our_routes(family, &keep);
        present.table.extend(strays.map_err(reading("routes"))?);
        Ok(())
    }
}

fn sources(present: &Present) -> Vec<Prefix> {
    let mut sources = Vec::new();
    for source in present.table.iter().filter_map(|route| route.source) {
        if !sources.contains(&source) && sources.len() < MAX_SOURCES {
            sources.push(source);
        }
    }
    sources
}

fn reading(what: &'static str) -> impl Fn(Refused) -> Error {
    move |source| Error::Read { what, source }
}

/// Makes every change, and goes on when one is refused.
fn apply(kernel: &mut Kernel, links: &[Link], changes: &[Change], outcome: &mut Outcome) {
    for change in changes {
        let result = match change {
            Change::AddRule(rule) => kernel.add_rule(rule),
            Change::RemoveRule(rule) => kernel.remove_rule(rule),
            Change::AddRoute(route) => kernel.add_route(route, Add::Beside),
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
                .tell(TOLD, || change.past_words(&name).to_string()),
            Err(refused) => {
                outcome
                    .failures
                    .0
                    .tell(TOLD, || format!("{}: {refused}", change.words(&name)));
                // The kernel will say the same of all the others.
                if refused.is(libc::EPERM) {
                    break;
                }
            }
        }
    }
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
