//! The facts and the verdict on one page.

use std::fmt::{self, Display};

use super::facts::{
    Device, Facts, Include, Link, Match, Reply, Resolver, Server, Stopped, Table, Whereto,
};
use super::judge::{Finding, Unseen, Verdict, own_version};
use crate::output::page::{Colour, Page};
use crate::pulse::{Beat, Watch};
use crate::routing::route::Family;
use crate::routing::way::Way;

const SECOND: u64 = 1;
const MINUTE: u64 = 60 * SECOND;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;

/// The whole page: the facts part by part, then what was found.
pub fn show(facts: &Facts, verdict: &Verdict) -> Page {
    let mut page = Page::default();
    headline(&mut page, verdict);
    devices(&mut page, facts);
    redirect(&mut page, facts);
    routing(&mut page, facts);
    page.title("watch");
    match &facts.watch {
        Ok(watch) => page.fact("sync --watch", watch),
        Err(_) => page.fact("sync --watch", "not seen"),
    }
    resolver(&mut page, &facts.resolver);
    findings(&mut page, verdict);
    page
}

fn headline(page: &mut Page, verdict: &Verdict) {
    let (colour, state) = match (verdict.problems.len(), verdict.unseen.len()) {
        (0, 0) => (Colour::Green, "healthy".into()),
        (0, _) => (
            Colour::Yellow,
            "no problem seen, but not everything could be seen".into(),
        ),
        (1, _) => (Colour::Red, "1 problem".into()),
        (many, _) => (Colour::Red, format!("{many} problems")),
    };
    page.verdict(own_version(), colour, state);
}

fn devices(page: &mut Page, facts: &Facts) {
    page.title("WAN devices");
    match &facts.devices {
        Ok(devices) => devices
            .iter()
            .for_each(|device| page.fact(&device.name, device)),
        Err(_) => page.fact("-", "not seen"),
    }
}

fn redirect(page: &mut Page, facts: &Facts) {
    page.title("redirect");
    let groups = facts.groups.iter().map(|group| match &group.gid {
        Ok(Some(gid)) => format!("{} ({gid})", group.name),
        Ok(None) => format!("{} (does not exist)", group.name),
        Err(_) => format!("{} (not seen)", group.name),
    });
    let groups: Vec<String> = groups.collect();
    page.fact(
        "groups",
        format_args!("{}, to port {}", groups.join(", "), facts.port),
    );
    match &facts.table {
        Ok(table) => page.fact("table", table),
        Err(_) => page.fact("table", "not seen"),
    }
    match &facts.include {
        Some(include) => page.fact("fw4 include", include),
        None => page.fact("fw4 include", "not wanted"),
    }
}

fn routing(page: &mut Page, facts: &Facts) {
    page.title("routing");
    let Ok(difference) = &facts.routing else {
        return page.fact("-", "not seen");
    };
    for (family, name) in [(Family::Ipv6, "IPv6"), (Family::Ipv4, "IPv4")] {
        // The words of rules and routes begin with their family.
        let of = |lines: &[String]| lines.iter().filter(|line| line.contains(name)).count();
        let (wanted, due) = (of(&difference.wanted), of(&difference.changes));
        match (wanted, due + of(&difference.misplaced)) {
            (0, 0) => page.fact(name, "not separated"),
            (wanted, 0) => page.fact(name, format_args!("{wanted} rules and routes, as wanted")),
            (wanted, due) => page.fact(
                name,
                format_args!("{wanted} rules and routes wanted, {due} to be mended"),
            ),
        }
        for (marked, what) in [(true, "marked to"), (false, "unmarked to")] {
            if let Some(way) = far(facts, family, marked) {
                page.fact(format_args!("  {what}"), &way.course);
            }
        }
    }
}

/// The way to somewhere far.
fn far(facts: &Facts, family: Family, marked: bool) -> Option<&Way> {
    let mut asked = facts.ways.iter().flatten();
    let found = asked.find(|one| {
        one.to == Whereto::Far
            && Family::of(one.packet.to) == family
            && (one.packet.mark != 0) == marked
    });
    found?.way.as_ref().ok()
}

fn resolver(page: &mut Page, resolver: &Resolver) {
    page.title("resolver");
    for listener in &resolver.listeners {
        page.fact(listener.addr, &listener.reply);
    }
    match &resolver.process {
        Some(Ok(process)) => {
            let may = if process.may_mark { "may" } else { "may not" };
            page.fact(
                "mark",
                format_args!(
                    "{} (pid {}) {may} set {}",
                    process.name, process.pid, resolver.mark
                ),
            );
        }
        Some(Err(_)) => page.fact("mark", "not seen"),
        None => {}
    }
    let servers: Vec<&Server> = resolver.servers.iter().flatten().flatten().collect();
    if !servers.is_empty() {
        page.title("servers");
        let columns = ["address", "state", "for", "usual", "queries", "failed"];
        let mut rows = vec![columns.map(str::to_owned).to_vec()];
        rows.extend(servers.into_iter().map(row));
        page.table(rows);
    }
}

fn row(server: &Server) -> Vec<String> {
    let usual = server.usual_us.map(|us| Millis(us.into()).to_string());
    vec![
        server.server.clone(),
        server.state.to_string(),
        Span(server.since_s).to_string(),
        usual.unwrap_or_else(|| "-".into()),
        server.queries.to_string(),
        server.failures.to_string(),
    ]
}

fn findings(page: &mut Page, verdict: &Verdict) {
    if !verdict.problems.is_empty() {
        page.title("problems, and what to do");
    }
    for problem in &verdict.problems {
        page.bullet(Colour::Red, '!', problem);
    }
    if !verdict.unseen.is_empty() {
        page.title("not seen");
    }
    for unseen in &verdict.unseen {
        page.bullet(Colour::Yellow, '?', unseen);
    }
    if !verdict.notes.is_empty() {
        page.title("notes");
    }
    for note in &verdict.notes {
        page.bullet(Colour::Bold, '-', note);
    }
}

impl Display for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("is not there"),
            Self::Ended => f.write_str("has ended"),
            Self::Here(beat) => beat.fmt(f),
        }
    }
}

impl Display for Beat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = if self.stopped { "stopped" } else { "watches" };
        write!(
            f,
            "{state} (pid {}), looked {} ago, mended in the last hour: {}",
            self.pid,
            Span(self.idle_s),
            self.mended
        )?;
        match self.changes.first() {
            Some((ago, change)) => write!(f, ", last {} ago: {change}", Span(*ago)),
            None => Ok(()),
        }
    }
}

impl Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { part, what, advice } = self;
        write!(f, "{part}: {what}")?;
        match advice.as_str() {
            "" => Ok(()),
            advice => write!(f, ": {advice}"),
        }
    }
}

impl Display for Unseen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { part, what, reason } = self;
        write!(f, "{part}: {what}: {reason}")
    }
}

impl Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(link) = &self.link else {
            return f.write_str("does not exist");
        };
        f.write_str(match link {
            Link { up: false, .. } => "down",
            Link { carrier: false, .. } => "up, no carrier",
            Link { .. } => "up",
        })?;
        link.addresses
            .iter()
            .try_for_each(|addr| write!(f, ", {addr}"))
    }
}

impl Display for Match {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Equal => "as wanted",
            Self::Different => "differs",
            Self::Absent => "missing",
        })
    }
}

impl Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "inet gluon_wan, {}", self.state)?;
        match self.state {
            Match::Absent => Ok(()),
            _ => {
                let Stopped {
                    marked,
                    unredirected,
                    unmarked,
                } = self.stopped;
                let redirected = self.redirected.packets;
                write!(f, ", packets redirected: {redirected}, stopped: {marked}")?;
                if unredirected > 0 {
                    write!(f, ", DNS not redirected: {unredirected}")?;
                }
                if unmarked > 0 {
                    write!(f, ", unmarked: {unmarked}")?;
                }
                Ok(())
            }
        }
    }
}

impl Display for Include {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, ", self.path.display())?;
        match &self.state {
            Ok(state) => write!(f, "{state}")?,
            Err(_) => f.write_str("not seen")?,
        }
        f.write_str(match self.linked {
            Some(true) => ", loaded by fw4",
            Some(false) => ", not loaded by fw4",
            None => ", no fw4 here",
        })
    }
}

impl Display for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ours { took, .. } => {
                write!(f, "answers in {}", Millis(took.as_micros()))
            }
            Self::Foreign(Some(who)) => write!(f, "answers, but is {who}"),
            Self::Foreign(None) => f.write_str("answers, but is another program"),
            Self::Closed => f.write_str("nobody listens"),
            Self::Silent => f.write_str("does not answer"),
            Self::Failed(_) => f.write_str("cannot be asked"),
        }
    }
}

/// Microseconds, shown as milliseconds.
struct Millis(u128);

impl Display for Millis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tenths = (self.0 + 50) / 100;
        write!(f, "{}.{} ms", tenths / 10, tenths % 10)
    }
}

/// Seconds, shown in the largest unit of which there are some.
struct Span(u64);

impl Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let units = [(DAY, "d"), (HOUR, "h"), (MINUTE, "min")];
        let (unit, name) = units
            .into_iter()
            .find(|(unit, _)| self.0 >= *unit)
            .unwrap_or((SECOND, "s"));
        write!(f, "{} {name}", self.0 / unit)
    }
}

#[cfg(test)]
mod tests;
