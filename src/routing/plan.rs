//! From what is wanted and what is there to the changes, in their order: pure.
//!
//! Nothing is taken away before what replaces it stands, and marked packets are
//! caught by the unreachable route before the rule sends them to the table.

use std::fmt;

use rtnetlink::packet_route::route::RouteType;

use super::index::Index;
use super::route::{Path, Route, Shown};
use super::rule::Rule;
use super::wanted::{Present, Wanted};

/// One change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change<'a> {
    /// A rule is missing.
    AddRule(&'a Rule),
    /// A rule of ours is none that is wanted, or there twice.
    RemoveRule(&'a Rule),
    /// A route is missing.
    AddRoute(&'a Route),
    /// A route of the WAN that leads away is in main: into the table with it (which
    /// also refreshes the lifetime of a copy that is there), then out of main.
    /// One change, so that the second half is not done without the first.
    Move {
        /// What it becomes in the table, none when it is there for good.
        copy: Option<&'a Route>,
        /// What it is in main.
        from: &'a Route,
        /// Whether the table has the copy already.
        known: bool,
    },
    /// A route that was moved is not ours to hold any longer.
    Return(&'a Route),
    /// A route of ours is none that is wanted.
    RemoveRoute(&'a Route),
}

/// What makes the present state the wanted one.
#[must_use]
pub fn plan<'a>(wanted: &'a Wanted, present: &'a Present) -> Vec<Change<'a>> {
    let mut plan = Plan::new(wanted, present);
    let is_block = |route: &Route| route.kind == RouteType::Unreachable;
    for route in &wanted.routes {
        if is_block(route) {
            plan.route(route);
        }
    }
    plan.missing_rules(wanted);
    for route in &wanted.routes {
        if !is_block(route) {
            plan.route(route);
        }
    }
    plan.moves(&wanted.misplaced);
    plan.changes
        .extend(wanted.returned.iter().map(Change::Return));
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
    changes: Vec<Change<'a>>,
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

    fn missing_rules(&mut self, wanted: &'a Wanted) {
        for rule in &wanted.rules {
            match self.rules.iter().position(|&present| present == rule) {
                Some(found) => {
                    self.rules.remove(found);
                }
                None => self.changes.push(Change::AddRule(rule)),
            }
        }
    }

    /// Ours with the same table, path and metric. A second one differs in what
    /// these leave out.
    fn find(&self, route: &Route) -> Option<(usize, &'a Route)> {
        for &(_, place) in self.listed.all(&route.path()) {
            let place = place as usize;
            let one = &self.present.table[place];
            if one.is_ours() && (one.table, one.metric) == (route.table, route.metric) {
                return Some((place, one));
            }
        }
        None
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
        self.changes.extend(found.map(Change::RemoveRoute));
        self.changes.push(Change::AddRoute(route));
    }

    fn moves(&mut self, misplaced: &'a [Route]) {
        let copies = Index::of(std::mem::take(&mut self.copies));
        for from in misplaced {
            let place = copies.first(&from.path());
            let copied = place.map(|place| self.copied[place as usize]);
            self.changes.push(Change::Move {
                copy: copied.map(|(copy, _)| copy),
                from,
                known: copied.is_some_and(|(_, known)| known),
            });
        }
    }

    fn surplus(&mut self) {
        let rules = self.rules.iter().copied();
        self.changes.extend(rules.map(Change::RemoveRule));
        // A router goes before the way to it.
        for leads_away in [true, false] {
            for (route, kept) in self.present.table.iter().zip(&self.kept) {
                if route.is_ours() && !kept && route.leads_away() == leads_away {
                    self.changes.push(Change::RemoveRoute(route));
                }
            }
        }
    }
}

impl Change<'_> {
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
    #[must_use]
    pub fn words<'a>(&'a self, name: &'a dyn Fn(u32) -> String) -> Words<'a> {
        Words {
            change: self,
            name,
            done: false,
        }
    }

    /// The same when it is done.
    #[must_use]
    pub fn past_words<'a>(&'a self, name: &'a dyn Fn(u32) -> String) -> Words<'a> {
        Words {
            change: self,
            name,
            done: true,
        }
    }
}

/// A change in words.
pub struct Words<'a> {
    change: &'a Change<'a>,
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
