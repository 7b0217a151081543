//! From what is wanted and what is there to the changes, in their order: pure.
//!
//! Nothing is taken away before what replaces it stands, and marked packets are
//! caught by the unreachable route before the rule sends them to the table.

use std::collections::{HashMap, HashSet};
use std::fmt;

use rtnetlink::packet_route::route::RouteType;

use super::route::{Path, Route, Rule, Shown};
use super::wanted::{Present, Wanted};

/// One change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// A rule is missing.
    AddRule(Rule),
    /// A rule of ours is none that is wanted, or there twice.
    RemoveRule(Rule),
    /// A route is missing.
    AddRoute(Route),
    /// A route of the WAN that leads away is in main: into the table with it (which
    /// also refreshes the lifetime of a copy that is there), then out of main.
    /// One change, so that the second half is not done without the first.
    Move {
        /// What it becomes in the table, none when it is there for good.
        copy: Option<Route>,
        /// What it is in main.
        from: Route,
        /// Whether the table has the copy already.
        known: bool,
    },
    /// A route that was moved is not ours to hold any longer.
    Return(Route),
    /// A route of ours is none that is wanted.
    RemoveRoute(Route),
}

/// What makes the present state the wanted one.
#[must_use]
pub fn plan(wanted: &Wanted, present: &Present) -> Vec<Change> {
    let mut plan = Plan::new(wanted, present);
    let (blocks, ways): (Vec<_>, Vec<_>) = wanted
        .routes
        .iter()
        .partition(|route| route.kind == RouteType::Unreachable);
    for route in blocks {
        plan.route(route);
    }
    plan.missing_rules(wanted);
    for route in ways {
        plan.route(route);
    }
    for route in &wanted.misplaced {
        plan.moved(route);
    }
    let returned = wanted.returned.iter().cloned();
    plan.changes.extend(returned.map(Change::Return));
    plan.surplus();
    plan.changes
}

struct Plan<'a> {
    /// Routes in main that lead away, by where they lead.
    misplaced: HashMap<Path, &'a Route>,
    /// Copies of those, as wanted.
    copies: HashMap<Path, (&'a Route, bool)>,
    /// Our routes by table, way and metric.
    ours: HashMap<(u32, Path, u32), &'a Route>,
    /// Those of them that may stay.
    kept: HashSet<(u32, Path, u32)>,
    /// Our rules, until one is found to be wanted.
    rules: Vec<&'a Rule>,
    /// Routes in the order of the kernel's list.
    listed: &'a [Route],
    changes: Vec<Change>,
}

fn key(route: &Route) -> (u32, Path, u32) {
    (route.table, route.path(), route.metric)
}

impl<'a> Plan<'a> {
    fn new(wanted: &'a Wanted, present: &'a Present) -> Self {
        let ours = present.table.iter().filter(|route| route.is_ours());
        Self {
            misplaced: wanted
                .misplaced
                .iter()
                .map(|route| (route.path(), route))
                .collect(),
            copies: HashMap::new(),
            ours: ours.map(|route| (key(route), route)).collect(),
            kept: HashSet::new(),
            rules: present.rules.iter().filter(|rule| rule.is_ours()).collect(),
            listed: &present.table,
            changes: Vec::new(),
        }
    }

    fn missing_rules(&mut self, wanted: &Wanted) {
        for rule in &wanted.rules {
            match self.rules.iter().position(|&present| present == rule) {
                Some(found) => {
                    self.rules.remove(found);
                }
                None => self.changes.push(Change::AddRule(rule.clone())),
            }
        }
    }

    fn route(&mut self, route: &'a Route) {
        let found = self.ours.get(&key(route)).copied();
        self.kept.insert(key(route));
        let right = found.filter(|found| found.does_the_same_as(route));
        if self.misplaced.contains_key(&route.path()) {
            // Its lifetime is newer than that of the copy.
            let immortal = right.is_some_and(|found| found.expires.is_none());
            let refreshable = right.is_some() && (!immortal || route.expires.is_none());
            if found.is_none() || refreshable {
                self.copies.insert(route.path(), (route, refreshable));
                return;
            }
        } else if right.is_some() {
            return;
        }
        // Off, then on: to the kernel both would be the same, and what it replaces
        // in place may be another's that has come with that metric.
        let wrong = found.map(|found| Change::RemoveRoute(found.clone()));
        self.changes.extend(wrong);
        self.changes.push(Change::AddRoute(route.clone()));
    }

    fn moved(&mut self, from: &Route) {
        let (copy, known) = match self.copies.get(&from.path()) {
            Some(&(copy, known)) => (Some(copy.clone()), known),
            None => (None, false),
        };
        let from = from.clone();
        self.changes.push(Change::Move { copy, from, known });
    }

    fn surplus(&mut self) {
        let rules = self
            .rules
            .iter()
            .map(|&rule| Change::RemoveRule(rule.clone()));
        self.changes.extend(rules);
        let mut once = HashSet::new();
        let mut surplus: Vec<&Route> = (self.listed.iter().filter(|route| route.is_ours()))
            // A second one with the same key differs in what the key leaves out.
            .filter(|route| !self.kept.contains(&key(route)) || !once.insert(key(route)))
            .collect();
        // A router goes before the way to it.
        surplus.sort_by_key(|route| !route.leads_away());
        let removals = surplus.into_iter().cloned().map(Change::RemoveRoute);
        self.changes.extend(removals);
    }
}

impl Change {
    /// Whether it only prolongs what stands: nothing to tell anybody about.
    #[must_use]
    pub fn is_refresh(&self) -> bool {
        matches!(
            self,
            Self::Move {
                copy: Some(_),
                known: true,
                ..
            }
        )
    }

    /// What is to be done to what; devices by the name that `name` knows.
    pub fn words<'a>(&'a self, name: &'a dyn Fn(u32) -> String) -> impl fmt::Display + 'a {
        Words {
            change: self,
            name,
            done: false,
        }
    }

    /// The same when it is done.
    pub fn past_words<'a>(&'a self, name: &'a dyn Fn(u32) -> String) -> impl fmt::Display + 'a {
        Words {
            change: self,
            name,
            done: true,
        }
    }
}

struct Words<'a> {
    change: &'a Change,
    name: &'a dyn Fn(u32) -> String,
    done: bool,
}

impl fmt::Display for Words<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (verb, past) = match self.change {
            Change::AddRule(_) | Change::AddRoute(_) => ("add", "added"),
            Change::Move { copy: Some(_), .. } => ("move", "moved"),
            Change::Return(_) => ("return", "returned"),
            Change::Move { copy: None, .. } | Change::RemoveRule(_) | Change::RemoveRoute(_) => {
                ("remove", "removed")
            }
        };
        write!(f, "{} ", if self.done { past } else { verb })?;
        match self.change {
            Change::AddRule(rule) | Change::RemoveRule(rule) => write!(f, "{rule}"),
            Change::AddRoute(route) | Change::Return(route) | Change::RemoveRoute(route) => {
                write!(f, "{}", Shown(route, &(self.name)(route.device)))
            }
            Change::Move { copy, from, .. } => {
                write!(f, "{}", Shown(from, &(self.name)(from.device)))?;
                match copy {
                    Some(copy) => write!(f, " to table {}", copy.table),
                    None => Ok(()),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
