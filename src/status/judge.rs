//! From what was seen to what is wrong and what to do about it: pure.

mod others;
mod resolver;
mod setup;
mod watch;
mod ways;

use std::fmt::Display;

use super::facts::{
    Device, Facts, FoundGroup, Include, LeakedServer, Leaks, LinkState, Match, Seen, TableState,
};
use crate::routing::Difference;

/// How many due changes one line tells.
const TOLD: usize = 3;
const SYNC: &str = "`gluon-wan sync`";
/// Where fw4 looks, and under which name the package puts the link.
const FW4_LINK: &str = "/usr/share/nftables.d/ruleset-post/30-gluon-wan.nft";

/// What the facts mean.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Verdict {
    /// What keeps the WAN side from working as it must.
    pub problems: Vec<Finding>,
    /// What is worth knowing, and no reason to wake anybody.
    pub notes: Vec<Finding>,
    /// What could not be looked at, and may be wrong or right.
    pub unseen: Vec<Finding>,
}

/// Something that is wrong or worth knowing, or that was not to be seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// config, devices, redirect, include, routing, watch, resolver or leaks.
    pub part: &'static str,
    /// What is the matter.
    pub what: String,
    /// What to do, empty where `what` says it; why, where it could not be seen.
    pub advice: String,
}

impl Verdict {
    /// Nothing is wrong, and that is known.
    pub fn is_healthy(&self) -> bool {
        self.problems.is_empty() && self.unseen.is_empty()
    }
}

/// Judges all parts.
pub fn judge(facts: &Facts) -> Verdict {
    let mut verdict = Verdict::default();
    verdict.setup(&facts.setup);
    verdict.devices(&facts.devices);
    let mut groups = facts.groups.iter();
    let exists = groups.any(|group| matches!(group.gid, Ok(Some(_))));
    verdict.groups(&facts.groups, exists);
    verdict.table(&facts.table, exists);
    if let Some(include) = &facts.include {
        verdict.include(include, exists);
    }
    verdict.routing(&facts.routing);
    verdict.ways(facts);
    verdict.others(facts);
    if let Ok(TableState {
        growth: Some(growth),
        ..
    }) = &facts.table
    {
        verdict.growth(growth);
    }
    verdict.watch(&facts.watch);
    verdict.resolver(&facts.resolver);
    verdict.leaks(&facts.leaks);
    verdict
}

impl Finding {
    fn new(part: &'static str, what: &dyn Display, advice: &dyn Display) -> Self {
        Self {
            part,
            what: what.to_string(),
            advice: advice.to_string(),
        }
    }
}

impl Verdict {
    fn problem(&mut self, part: &'static str, what: &dyn Display, advice: &dyn Display) {
        self.problems.push(Finding::new(part, what, advice));
    }

    fn note(&mut self, part: &'static str, what: &dyn Display, advice: &dyn Display) {
        self.notes.push(Finding::new(part, what, advice));
    }

    fn unseen(&mut self, part: &'static str, what: &dyn Display, reason: &dyn Display) {
        self.unseen.push(Finding::new(part, what, reason));
    }

    /// What was seen; that it was not, and why, is told.
    fn seen<'a, T>(
        &mut self,
        part: &'static str,
        what: &dyn Display,
        fact: &'a Seen<T>,
    ) -> Option<&'a T> {
        match fact {
            Ok(fact) => Some(fact),
            Err(why) => {
                self.unseen(part, what, why);
                None
            }
        }
    }

    /// One WAN is enough: a second one may wait for its cable.
    fn devices(&mut self, devices: &Seen<Vec<Device>>) {
        let Some(devices) = self.seen("devices", &"the network devices", devices) else {
            return;
        };
        let mut faults = Vec::new();
        for device in devices {
            faults.extend(fault(device));
        }
        match faults.len() < devices.len() {
            true => self.notes.append(&mut faults),
            false => self.problems.append(&mut faults),
        }
    }

    fn groups(&mut self, groups: &[FoundGroup], exists: bool) {
        for FoundGroup { name, gid } in groups {
            let Some(None) = self.seen("redirect", &format_args!("group {name}"), gid) else {
                continue;
            };
            // Gluon has one group for each kind of VPN, a node only its own.
            match exists {
                true => self.note(
                    "redirect",
                    &format_args!("there is no group {name}"),
                    &"none is needed where that VPN is not installed",
                ),
                false => self.problem(
                    "redirect",
                    &format_args!("there is no group {name}, nothing is redirected"),
                    &"correct `list group` in section redirect, or install the VPN daemon",
                ),
            }
        }
    }

    fn table(&mut self, table: &Seen<TableState>, exists: bool) {
        let table = self.seen("redirect", &"table inet gluon_wan", table);
        let what = match table.map(|table| table.state) {
            Some(Match::Absent) if exists => {
                "table inet gluon_wan is missing, DNS of the VPN daemons is not redirected"
            }
            Some(Match::Different) => {
                "table inet gluon_wan is not as it must be (`gluon-wan print`)"
            }
            _ => return,
        };
        self.problem("redirect", &what, &SYNC);
    }

    fn include(&mut self, include: &Include, exists: bool) {
        let path = include.path.display();
        let what = match self.seen("include", &path, &include.state) {
            Some(Match::Absent) if exists => "is missing, fw4 would not bring the redirect back",
            Some(Match::Different) => "is not as it must be, fw4 would load another table",
            _ => "",
        };
        if !what.is_empty() {
            self.problem("include", &format_args!("{path} {what}"), &SYNC);
        }
        if include.linked == Some(false) {
            self.problem(
                "include",
                &format_args!("fw4 does not load {path}"),
                &format_args!("`ln -sf {path} {FW4_LINK}`"),
            );
        }
    }

    fn routing(&mut self, difference: &Seen<Difference>) {
        let Some(difference) = self.seen("routing", &"rules and routes", difference) else {
            return;
        };
        for route in &difference.misplaced {
            self.problem(
                "leaks",
                &format_args!("{route}: what has no mark leaves through the WAN"),
                &format_args!(
                    "{SYNC}; `option ip6table '1'` of the WAN's interface keeps IPv6 out"
                ),
            );
        }
        let due = &difference.changes;
        if !due.is_empty() {
            let mut told = due.get(..TOLD).unwrap_or(due).join("; ");
            if due.len() > TOLD {
                told += &format!("; and {} more", due.len() - TOLD);
            }
            self.problem("routing", &format_args!("due: {told}"), &SYNC);
        }
        for obstacle in &difference.obstacles {
            self.problem("routing", obstacle, &"");
        }
    }

    fn leaks(&mut self, leaks: &Leaks) {
        let network = leaks.network.display();
        let reload = "`/etc/init.d/network reload`";
        for LeakedServer { server, file } in &leaks.servers {
            let file = file.display();
            self.problem(
                "leaks",
                &format_args!("{server} of the WAN is in {file}: anybody's look-ups may go there"),
                &format_args!(
                    "`option peerdns '0'`, no `dns` in the WAN's interfaces of {network}, {reload}"
                ),
            );
        }
        for interface in &leaks.peerdns {
            self.problem(
                "leaks",
                &format_args!(
                    "interface {interface} gives its DNS servers to the primary resolver"
                ),
                &format_args!("`option peerdns '0'` for it in {network}, then {reload}"),
            );
        }
        for (path, why) in &leaks.unread {
            self.unseen("leaks", &path.display(), why);
        }
    }
}

/// Why a device is no way to the WAN.
fn fault(device: &Device) -> Option<Finding> {
    let Device { name, link } = device;
    let (what, advice) = match link {
        None => (
            format!("there is no device {name}"),
            "correct `list device` in section routing; `ip link` shows what there is",
        ),
        Some(LinkState { up: false, .. }) => (
            format!("{name} is down"),
            "`ifup wan`, or `ip link set up` where netifd does not have it",
        ),
        Some(LinkState { carrier: false, .. }) => (
            format!("{name} has no carrier"),
            "plug in the cable to the home router",
        ),
        Some(LinkState { global, .. }) if global.is_empty() => (
            format!("{name} has no address but link-local ones"),
            "does the home router answer? `ifstatus wan`, `ifstatus wan6`",
        ),
        Some(_) => return None,
    };
    Some(Finding::new("devices", &what, &advice))
}

/// As the resolver of this version calls itself.
pub fn own_version() -> &'static str {
    concat!("gluon-wan ", env!("CARGO_PKG_VERSION"))
}

#[cfg(test)]
pub(super) mod tests;
