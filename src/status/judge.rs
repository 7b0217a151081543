//! From what was seen to what is wrong and what to do about it: pure.

mod others;
mod setup;
mod watch;
mod ways;

use super::facts::{
    Device, Facts, Group, Include, Leaks, Link, Listener, Match, Process, Reply, Resolver, Seen,
    Server, Table,
};
use crate::health::Health;
use crate::routing::Difference;

/// How many due changes one line tells.
const TOLD: usize = 3;
const SYNC: &str = "`gluon-wan sync`";
const RESTART: &str = "`/etc/init.d/gluon-wan restart`; `logread -e gluon-wan` says why it ended";
/// Where fw4 looks, and under which name the package puts the link.
const FW4_LINK: &str = "/usr/share/nftables.d/ruleset-post/30-gluon-wan.nft";

/// What the facts mean.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Verdict {
    /// What keeps the WAN side from working as it must.
    pub problems: Vec<Finding>,
    /// What is worth knowing, and no reason to wake anybody.
    pub notes: Vec<Finding>,
    /// What could not be looked at.
    pub unseen: Vec<Unseen>,
}

/// Something that is wrong or worth knowing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// config, devices, redirect, include, routing, watch, resolver or leaks.
    pub part: &'static str,
    /// What is the matter.
    pub what: String,
    /// What to do, empty where `what` says it.
    pub advice: String,
}

/// Something that may be wrong or right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unseen {
    /// As in [`Finding`].
    pub part: &'static str,
    /// What was to be looked at.
    pub what: String,
    /// Why it could not be.
    pub reason: String,
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
    let exists = facts
        .groups
        .iter()
        .any(|group| matches!(group.gid, Ok(Some(_))));
    verdict.groups(&facts.groups, exists);
    verdict.table(&facts.table, exists);
    if let Some(include) = &facts.include {
        verdict.include(include, exists);
    }
    verdict.routing(&facts.routing);
    verdict.ways(facts);
    verdict.others(facts);
    if let Ok(Table {
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

fn finding(part: &'static str, what: impl Into<String>, advice: impl Into<String>) -> Finding {
    Finding {
        part,
        what: what.into(),
        advice: advice.into(),
    }
}

impl Verdict {
    fn problem(&mut self, part: &'static str, what: impl Into<String>, advice: impl Into<String>) {
        self.problems.push(finding(part, what, advice));
    }

    fn note(&mut self, part: &'static str, what: impl Into<String>, advice: impl Into<String>) {
        self.notes.push(finding(part, what, advice));
    }

    fn unseen(&mut self, part: &'static str, what: impl Into<String>, reason: &str) {
        self.unseen.push(Unseen {
            part,
            what: what.into(),
            reason: reason.into(),
        });
    }

    /// One WAN is enough: a second one may wait for its cable.
    fn devices(&mut self, devices: &Seen<Vec<Device>>) {
        let devices = match devices {
            Ok(devices) => devices,
            Err(why) => return self.unseen("devices", "the network devices", why),
        };
        let faults: Vec<_> = devices.iter().filter_map(fault).collect();
        if faults.len() < devices.len() {
            self.notes.extend(faults);
        } else {
            self.problems.extend(faults);
        }
    }

    fn groups(&mut self, groups: &[Group], exists: bool) {
        const ADVICE: &str = "correct `list group` in section redirect, or install the VPN daemon";
        for Group { name, gid } in groups {
            match gid {
                Ok(Some(_)) => {}
                // Gluon has one group for each kind of VPN, a node only its own.
                Ok(None) if exists => self.note(
                    "redirect",
                    format!("there is no group {name}"),
                    "none is needed where that VPN is not installed",
                ),
                Ok(None) => self.problem(
                    "redirect",
                    format!("there is no group {name}, nothing is redirected"),
                    ADVICE,
                ),
                Err(why) => self.unseen("redirect", format!("group {name}"), why),
            }
        }
    }

    fn table(&mut self, table: &Seen<Table>, exists: bool) {
        match table {
            Ok(table) => match table.state {
                Match::Absent if exists => self.problem(
                    "redirect",
                    "table inet gluon_wan is missing, DNS of the VPN daemons is not redirected",
                    SYNC,
                ),
                Match::Different => self.problem(
                    "redirect",
                    "table inet gluon_wan is not as it must be (`gluon-wan print`)",
                    SYNC,
                ),
                Match::Absent | Match::Equal => {}
            },
            Err(why) => self.unseen("redirect", "table inet gluon_wan", why),
        }
    }

    fn include(&mut self, include: &Include, exists: bool) {
        let path = include.path.display();
        match &include.state {
            Ok(Match::Absent) if exists => self.problem(
                "include",
                format!("{path} is missing, fw4 would not bring the redirect back"),
                SYNC,
            ),
            Ok(Match::Different) => self.problem(
                "include",
                format!("{path} is not as it must be, fw4 would load another table"),
                SYNC,
            ),
            Ok(Match::Absent | Match::Equal) => {}
            Err(why) => self.unseen("include", path.to_string(), why),
        }
        if include.linked == Some(false) {
            self.problem(
                "include",
                format!("fw4 does not load {path}"),
                format!("`ln -sf {path} {FW4_LINK}`"),
            );
        }
    }

    fn routing(&mut self, difference: &Seen<Difference>) {
        let difference = match difference {
            Ok(difference) => difference,
            Err(why) => return self.unseen("routing", "rules and routes", why),
        };
        for route in &difference.misplaced {
            self.problem(
                "leaks",
                format!("{route}: what has no mark leaves through the WAN"),
                format!("{SYNC}; `option ip6table '1'` of the WAN's interface keeps IPv6 out"),
            );
        }
        if !difference.changes.is_empty() {
            let told: Vec<&str> = difference
                .changes
                .iter()
                .take(TOLD)
                .map(String::as_str)
                .collect();
            let more = match difference.changes.len().saturating_sub(TOLD) {
                0 => String::new(),
                more => format!("; and {more} more"),
            };
            self.problem("routing", format!("due: {}{more}", told.join("; ")), SYNC);
        }
        for obstacle in &difference.obstacles {
            self.problem("routing", obstacle.to_string(), "");
        }
    }

    fn resolver(&mut self, resolver: &Resolver) {
        self.listeners(&resolver.listeners);
        match &resolver.process {
            Some(Ok(process)) => self.process(process, resolver),
            Some(Err(why)) => self.unseen("resolver", "whether it may set the mark", why),
            None => {}
        }
        match &resolver.servers {
            Some(Ok(servers)) => self.servers(servers, resolver),
            Some(Err(why)) => {
                self.problem(
                    "resolver",
                    format!("its servers are not known: {why}"),
                    RESTART,
                );
            }
            None => {}
        }
    }

    /// The addresses that share a fate share a line.
    fn listeners(&mut self, listeners: &[Listener]) {
        let all = |reply: &Reply| {
            let alike = listeners.iter().filter(|one| one.reply == *reply);
            let addrs: Vec<String> = alike.map(|one| one.addr.to_string()).collect();
            addrs.join(" and ")
        };
        match all(&Reply::Closed).as_str() {
            "" => {}
            addrs => self.problem("resolver", format!("nobody listens on {addrs}"), RESTART),
        }
        match all(&Reply::Silent).as_str() {
            "" => {}
            addrs => self.problem(
                "resolver",
                format!("no answer from {addrs} in time"),
                RESTART,
            ),
        }
        for listener in listeners {
            self.listener(listener);
        }
    }

    fn listener(&mut self, listener: &Listener) {
        let addr = listener.addr;
        match &listener.reply {
            Reply::Ours { version, .. } if *version == own_version() => {}
            Reply::Ours { version, .. } => self.note(
                "resolver",
                format!("{addr} is {version}, this is {}", own_version()),
                "`/etc/init.d/gluon-wan restart`",
            ),
            Reply::Foreign(who) => self.problem(
                "resolver",
                format!(
                    "{addr} is not gluon-wan but {}",
                    who.as_deref().unwrap_or("another program")
                ),
                "stop that (gluon-wan-dnsmasq?), then `/etc/init.d/gluon-wan restart`",
            ),
            Reply::Closed | Reply::Silent => {}
            Reply::Failed(why) => self.problem(
                "resolver",
                format!("{addr} cannot be asked: {why}"),
                "is the address on lo? `ip addr show lo`",
            ),
        }
    }

    fn process(&mut self, process: &Process, resolver: &Resolver) {
        if !process.may_mark {
            let Process { name, pid, .. } = process;
            self.problem(
                "resolver",
                format!(
                    "{name} (pid {pid}) has no capability to set mark {}: its queries leave \
                     through the mesh",
                    resolver.mark
                ),
                "`/etc/init.d/gluon-wan restart`",
            );
        }
    }

    fn servers(&mut self, servers: &[Server], resolver: &Resolver) {
        let source = resolver.source.display();
        let up = servers.iter().any(|server| server.state == Health::Up);
        let down: Vec<&Server> = servers
            .iter()
            .filter(|server| server.state.is_down())
            .collect();
        if servers.is_empty() {
            self.problem(
                "resolver",
                "no server is known, every look-up fails",
                format!("is the WAN up? They come from {source}"),
            );
        } else if up {
            for server in down {
                self.note(
                    "resolver",
                    format!("{} is {}", server.server, server.state),
                    "",
                );
            }
        } else if down.is_empty() {
            self.note(
                "resolver",
                "no server was asked since the start or the last change of the network",
                "",
            );
        } else {
            let each = |server: &Server| format!("{} is {}", server.server, server.state);
            let each: Vec<String> = servers.iter().map(each).collect();
            self.problem(
                "resolver",
                format!("no server works: {}", each.join(", ")),
                format!("does the home router reach the internet? They come from {source}"),
            );
        }
    }

    fn leaks(&mut self, leaks: &Leaks) {
        let network = leaks.network.display();
        let reload = "`/etc/init.d/network reload`";
        for leaked in &leaks.servers {
            self.problem(
                "leaks",
                format!(
                    "{} of the WAN is in {}: anybody's look-ups may go there",
                    leaked.server,
                    leaked.file.display()
                ),
                format!(
                    "`option peerdns '0'`, no `dns` in the WAN's interfaces of {network}, {reload}"
                ),
            );
        }
        for interface in &leaks.peerdns {
            self.problem(
                "leaks",
                format!("interface {interface} gives its DNS servers to the primary resolver"),
                format!("`option peerdns '0'` for it in {network}, then {reload}"),
            );
        }
        for (path, why) in &leaks.unread {
            self.unseen("leaks", path.display().to_string(), why);
        }
    }
}

/// Why a device is no way to the WAN.
fn fault(device: &Device) -> Option<Finding> {
    let name = &device.name;
    let (what, advice) = match &device.link {
        None => (
            format!("there is no device {name}"),
            "correct `list device` in section routing; `ip link` shows what there is",
        ),
        Some(Link { up: false, .. }) => (
            format!("{name} is down"),
            "`ifup wan`, or `ip link set up` where netifd does not have it",
        ),
        Some(Link { carrier: false, .. }) => (
            format!("{name} has no carrier"),
            "plug in the cable to the home router",
        ),
        Some(Link { global, .. }) if global.is_empty() => (
            format!("{name} has no address but link-local ones"),
            "does the home router answer? `ifstatus wan`, `ifstatus wan6`",
        ),
        Some(_) => return None,
    };
    Some(finding("devices", what, advice))
}

/// As the resolver of this version calls itself.
pub fn own_version() -> &'static str {
    concat!("gluon-wan ", env!("CARGO_PKG_VERSION"))
}

#[cfg(test)]
pub(super) mod tests;
