//! Reads the present state, makes what differs, and remembers what must come
//! back.

use std::time::{Duration, Instant};

use nix::net::if_::if_indextoname;

use super::apply::apply;
use super::events::{Events, Known, News};
use super::kernel::Kernel;
use super::plan::plan;
use super::prefix::Family;
use super::route::Route;
use super::state::{Address, Present, Withdrawn};
use super::wanted::{self, Wanted};
use super::{Error, Outcome, read, reverse_path};
use crate::config::Routing;
use crate::netlink::Requests;

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
            let changes = plan(&wanted, &present);
            self.withdrawn.clear();
            self.remember(&wanted, now);
            apply(&mut self.kernel, &present.links, &changes, &mut outcome);
            let changed = !changes.is_empty();
            // What an address took along may only be on its way out.
            let going = self.addresses.iter().any(|one| {
                !present.addresses.contains(one) && self.known.links.contains(&one.device)
            });
            self.addresses = present.addresses;
            outcome.obstacles = wanted.obstacles;
            let again = (more || round < AFTERTHOUGHTS) && changed || going;
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
            read::rules(&mut self.kernel, family, &mut present)?;
            read::strays(&mut self.kernel, family, None, &mut present)?;
        }
        let wanted = wanted::nothing(&present);
        let changes = plan(&wanted, &present);
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
        let (present, more) = self.read(routing, devices, now)?;
        let mut wanted = wanted::wanted(routing, &present);
        let more = more || wanted.more;
        if routing.ipv4 {
            let mut filters = reverse_path::obstacles(&present.links);
            wanted.obstacles.append(&mut filters);
        }
        let mut unlisted = wanted::unlisted(routing, &present, device_name);
        wanted.obstacles.append(&mut unlisted);
        Ok((present, wanted, more))
    }

    fn remember(&mut self, wanted: &Wanted, now: Instant) {
        let until = |seconds: i32| now + Duration::from_secs(seconds.max(0).cast_unsigned().into());
        self.moved.clear();
        for route in &wanted.routes {
            if wanted::is_moved(route) {
                self.moved.push((route.clone(), route.expires.map(until)));
            }
        }
    }

    fn remembered(&self, now: Instant) -> Vec<Route> {
        let left = |until: Instant| {
            let seconds = until.saturating_duration_since(now).as_secs();
            i32::try_from(seconds).unwrap_or(i32::MAX)
        };
        let mut routes = Vec::with_capacity(self.moved.len());
        for (route, until) in &self.moved {
            let mut route = route.clone();
            route.expires = until.map(left);
            routes.push(route);
        }
        routes
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
        let kernel = &mut self.kernel;
        read::links(kernel, devices, &mut present)?;
        let mut tables = Vec::new();
        let mut more = false;
        for family in Family::ALL {
            let managed = family.is_in(routing);
            read::rules(kernel, family, &mut present)?;
            if managed {
                more |= read::main(kernel, family, &mut present)?;
                read::table(kernel, family, routing.table, &mut present)?;
                tables.extend(read::elsewhere(
                    kernel,
                    family,
                    routing.table,
                    &mut present,
                )?);
                // After the routes: an address that is there then has not gone
                // with one of them.
                read::addresses(kernel, family, &mut present)?;
            }
            if self.swept.as_ref() != Some(routing) {
                let known = managed.then_some(routing.table);
                read::strays(kernel, family, known, &mut present)?;
            }
        }
        self.known = known(&present, tables);
        Ok((present, more))
    }
}

/// By what the next events are judged.
fn known(present: &Present, tables: Vec<u32>) -> Known {
    let links: Vec<u32> = present.links.iter().map(|link| link.index).collect();
    let (mut beside, mut sources) = (Vec::new(), Vec::new());
    for route in &present.table {
        let device = route.device;
        if !route.is_ours() && !links.contains(&device) && !beside.contains(&device) {
            beside.push(device);
        }
        if let Some(source) = route.source
            && !sources.contains(&source)
            && sources.len() < MAX_SOURCES
        {
            sources.push(source);
        }
    }
    Known {
        links,
        beside,
        tables,
        sources,
    }
}

/// The name of any device; its number where it is gone.
fn device_name(index: u32) -> String {
    match if_indextoname(index) {
        Ok(name) => name.to_string_lossy().into_owned(),
        Err(_) => format!("#{index}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::routing::prefix::Prefix;
    use crate::routing::route::MAIN;

    #[test]
    fn only_devices_of_others_routes_stand_beside_the_wans() {
        let everywhere = Prefix::around("::".parse().unwrap(), 0);
        let ours = Route::ours(1, everywhere, 2);
        let foreign = |device| Route {
            protocol: 4,
            ..Route::ours(1, everywhere, device)
        };
        let present = Present {
            table: vec![ours, foreign(9), foreign(9)],
            ..Present::default()
        };
        let known = known(&present, vec![MAIN]);
        assert_eq!((known.links, known.beside), (vec![], vec![9]));
        assert_eq!(known.tables, [MAIN]);
    }
}
