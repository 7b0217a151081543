//! From what is wanted and what is there to the changes, in their order: pure.
//!
//! Nothing is taken away before what replaces it stands, and marked packets are
//! caught by the unreachable route before the rule sends them to the table.

use std::fmt;

use rtnetlink::packet_route::route::RouteType;

use super::index::Index;
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
    plan.moves(&wanted.misplaced);
    let returned = wanted.returned.iter().cloned();
    plan.changes.extend(returned.map(Change::Return));
    plan.surplus();
    plan.changes
}

struct Plan<'a> {
    present: &'a Present,
    /// Routes in main that lead away.
    misplaced: Index,
    /// What becomes of them in the table, by place among `copied`.
    copies: Vec<(Path, u32)>,
    copied: Vec<(&'a Route, bool)>,
    /// The routes of `present.table`, by place.
    listed: Index,
    /// Whether that one may stay, if it is ours.
    kept: Vec<bool>,
    /// Our rules, until one is found to be wanted.
    rules: Vec<&'a Rule>,
    changes: Vec<Change>,
}

impl<'a> Plan<'a> {
    fn new(wanted: &'a Wanted, present: &'a Present) -> Self {
        Self {
            present,
            misplaced: Index::by_place(wanted.misplaced.iter()),
            copies: Vec::new(),
            copied: Vec::new(),
            listed: Index::by_place(present.table.iter()),
            kept: vec![false; present.table.len()],
            rules: present.rules.iter().filter(|rule| rule.is_ours()).collect(),
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

    /// Ours with the same table, path and metric. A second one differs in what
    /// these leave out.
    fn find(&self, route: &Route) -> Option<(usize, &'a Route)> {
        let path = route.path();
        let mut places = self.listed.all(&path).map(|place| place as usize);
        let place = places.find(|&place| {
            let one = &self.present.table[place];
            one.is_ours() && (one.table, one.metric) == (route.table, route.metric)
        })?;
        Some((place, &self.present.table[place]))
    }

    fn route(&mut self, route: &'a Route) {
        let found = self.find(route).map(|(place, found)| {
            self.kept[place] = true;
            found
        });
        let right = found.filter(|found| found.does_the_same_as(route));
        if self.misplaced.has(&route.path()) {
            // Its lifetime is newer than that of the copy.
            let immortal = right.is_some_and(|found| found.expires.is_none());
            let refreshable = right.is_some() && (!immortal || route.expires.is_none());
            if found.is_none() || refreshable {
                let place = self.copied.len() as u32;
                self.copies.push((route.path(), place));
                self.copied.push((route, refreshable));
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

    fn moves(&mut self, misplaced: &[Route]) {
        let copies = Index::of(self.copies.drain(..));
        for from in misplaced {
            let place = copies.all(&from.path()).next();
            let (copy, known) = match place.map(|place| self.copied[place as usize]) {
                Some((copy, known)) => (Some(copy.clone()), known),
                None => (None, false),
            };
            let from = from.clone();
            self.changes.push(Change::Move { copy, from, known });
        }
    }

    fn surplus(&mut self) {
        let rules = self.rules.iter();
        let rules = rules.map(|&rule| Change::RemoveRule(rule.clone()));
        self.changes.extend(rules);
        // A router goes before the way to it.
        for leads_away in [true, false] {
            let listed = self.present.table.iter().zip(&self.kept);
            let surplus = listed.filter(|(route, kept)| {
                route.is_ours() && !**kept && route.leads_away() == leads_away
            });
            let removals = surplus.map(|(route, _)| Change::RemoveRoute(route.clone()));
            self.changes.extend(removals);
        }
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
