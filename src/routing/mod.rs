//! The rule for marked packets and the routing table of the WAN.
//!
//! A packet with the mark looks in the WAN's table, which holds the WAN's
//! routes and, behind them, an unreachable one: it leaves through the WAN or
//! not at all. Main has no default route through the WAN: whatever has no mark
//! takes the mesh or stays here.
//!
//! [`wanted`] says what there must be, [`plan`] what is to be done, both pure;
//! `read` and `apply` ask and change the kernel, and a [`Keeper`] leads them. What is ours carries the route protocol number
//! [`route::PROTOCOL`], so that it is found again by whoever comes next.

mod adverts;
mod apply;
mod events;
mod index;
mod keeper;
pub mod kernel;
pub mod message;
pub mod obstacle;
pub mod plan;
pub mod prefix;
mod read;
mod reverse_path;
pub mod route;
pub mod rule;
pub mod state;
pub mod wanted;
pub mod way;

use std::fmt;
use std::io;

pub use adverts::Routers;
pub use events::{Events, Known, News};
pub use keeper::Keeper;
use obstacle::Obstacle;
use plan::Change;
use route::Route;
pub use state::{Link, Withdrawn};

use crate::config::Routing;
use crate::log::Told;
use crate::netlink::Refused;

/// How many changes or failures are told one by one.
const TOLD: usize = 8;

/// Why rule and routes are not as they must be.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No netlink.
    #[error("cannot open an rtnetlink socket")]
    Socket(#[source] io::Error),
    /// The present state is not known.
    #[error("cannot read the {what}: {source}")]
    Read {
        /// The devices, rules or routes.
        what: &'static str,
        /// What the kernel said.
        source: Refused,
    },
    /// Some changes were refused; the others were made.
    #[error("{0}")]
    Changes(Failures),
}

/// The changes that were refused, each with the reason.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Failures(Told);

/// What was done.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// The changes in words. What only prolongs a lifetime is not among them.
    pub changes: Told,
    /// The changes that were refused, with the reasons.
    pub failures: Failures,
    /// What is wrong and not ours to mend.
    pub obstacles: Vec<Obstacle>,
}

/// What is wanted beside what is there.
#[derive(Debug, Clone)]
pub struct Difference {
    /// What must be there, in words.
    pub wanted: Vec<String>,
    /// Default routes of the WAN in main, in words: what has no mark takes
    /// them. `sync` moves them to the WAN's table.
    pub misplaced: Vec<String>,
    /// What else differs: the changes that `sync` would make, in words.
    pub changes: Vec<String>,
    /// What is wrong and not ours to mend.
    pub obstacles: Vec<Obstacle>,
}

/// Puts rule and routes in place, once. `devices` are the WAN's, by the names that
/// the kernel has for them.
///
/// # Errors
/// What could not be done; everything else was.
pub fn sync(routing: &Routing, devices: &[String]) -> Result<Outcome, Error> {
    Keeper::open()?.sync(routing, devices)?.whole()
}

/// Removes all rules and routes of ours, in all tables; what was moved goes back
/// to main.
///
/// # Errors
/// What could not be removed; everything else was.
pub fn clear() -> Result<Outcome, Error> {
    Keeper::open()?.clear()?.whole()
}

/// What is wanted and what differs. Needs no privilege.
///
/// # Errors
/// The present state cannot be read.
pub fn difference(routing: &Routing, devices: &[String]) -> Result<Difference, Error> {
    let (present, wanted) = Keeper::open()?.compare(routing, devices)?;
    let name = |index| apply::name_of(&present.links, index);
    let words = |route: &Route| route::Shown(route, &name(route.device)).to_string();
    let mut difference = Difference {
        wanted: wanted.rules.iter().map(ToString::to_string).collect(),
        misplaced: wanted.misplaced.iter().map(words).collect(),
        changes: Vec::new(),
        obstacles: Vec::new(),
    };
    difference.wanted.extend(wanted.routes.iter().map(words));
    for change in plan::plan(&wanted, &present) {
        if !matches!(change, Change::Move { .. }) {
            let words = change.words(&name).to_string();
            difference.changes.push(words);
        }
    }
    difference.obstacles = wanted.obstacles;
    Ok(difference)
}

impl Outcome {
    /// An error when anything was refused.
    fn whole(self) -> Result<Self, Error> {
        if self.failures.is_empty() {
            Ok(self)
        } else {
            Err(Error::Changes(self.failures))
        }
    }
}

impl Failures {
    /// Whether nothing failed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.lines.is_empty()
    }
}

impl fmt::Display for Failures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("cannot ")?;
        for (number, line) in self.0.lines.iter().enumerate() {
            f.write_str(if number == 0 { "" } else { "; " })?;
            f.write_str(line)?;
        }
        match self.0.more {
            0 => Ok(()),
            more => write!(f, "; and {more} more"),
        }
    }
}
