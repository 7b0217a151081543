//! The facts and the verdict on one page.

use std::fmt::{self, Display};

use super::facts::{
    Device, Facts, Include, LinkState, Match, Process, Reply, Resolver, Seen, Stopped, TableState,
    Whereto,
};
use super::judge::{Finding, Verdict, own_version};
use super::units::{Millis, Span};
use crate::output::page::{Colour, Page};
use crate::pulse::{Beat, Watch};
use crate::routing::prefix::Family;
use crate::routing::way::Way;

/// The whole page: the facts part by part, then what was found.
pub fn show(facts: &Facts, verdict: &Verdict, coloured: bool) -> String {
    let mut page = Page::new(coloured);
    headline(&mut page, verdict);
    devices(&mut page, facts);
    redirect(&mut page, facts);
    routing(&mut page, facts);
    page.title(&"watch");
    page.fact(&"sync --watch", seen(&facts.watch));
    resolver(&mut page, &facts.resolver);
    let problems = (Colour::Red, '!');
    findings(
        &mut page,
        "problems, and what to do",
        problems,
        &verdict.problems,
    );
    findings(
        &mut page,
        "not seen",
        (Colour::Yellow, '?'),
        &verdict.unseen,
    );
    findings(&mut page, "notes", (Colour::Bold, '-'), &verdict.notes);
    page.text()
}

/// Why something was not seen is told among the findings.
fn seen(fact: &Seen<impl Display>) -> &dyn Display {
    match fact {
        Ok(fact) => fact,
        Err(_) => &"not seen",
    }
}

fn headline(page: &mut Page, verdict: &Verdict) {
    let problems = verdict.problems.len();
    let many = format!("{problems} problems");
    let (colour, state): (_, &dyn Display) = match (problems, verdict.unseen.len()) {
        (0, 0) => (Colour::Green, &"healthy"),
        (0, _) => (
            Colour::Yellow,
            &"no problem seen, but not everything could be seen",
        ),
        (1, _) => (Colour::Red, &"1 problem"),
        _ => (Colour::Red, &many),
    };
    page.verdict(&own_version(), colour, state);
}

fn devices(page: &mut Page, facts: &Facts) {
    page.title(&"WAN devices");
    match &facts.devices {
        Ok(devices) => {
            for device in devices {
                page.fact(&device.name, device);
            }
        }
        Err(_) => page.fact(&"-", &"not seen"),
    }
}

fn redirect(page: &mut Page, facts: &Facts) {
    page.title(&"redirect");
    page.fact(&"groups", &Groups(facts));
    page.fact(&"table", seen(&facts.table));
    match &facts.include {
        Some(include) => page.fact(&"fw4 include", include),
        None => page.fact(&"fw4 include", &"not wanted"),
    }
}

fn routing(page: &mut Page, facts: &Facts) {
    page.title(&"routing");
    let Ok(difference) = &facts.routing else {
        return page.fact(&"-", &"not seen");
    };
    for (family, name) in [(Family::Ipv6, "IPv6"), (Family::Ipv4, "IPv4")] {
        // The words of rules and routes begin with their family.
        let of = |lines: &[String]| lines.iter().filter(|line| line.contains(name)).count();
        let wanted = of(&difference.wanted);
        match (wanted, of(&difference.changes) + of(&difference.misplaced)) {
            (0, 0) => page.fact(&name, &"not separated"),
            (_, 0) => page.fact(&name, &format_args!("{wanted} rules and routes, as wanted")),
            (_, due) => page.fact(
                &name,
                &format_args!("{wanted} rules and routes wanted, {due} to be mended"),
            ),
        }
        for (marked, name) in [(true, "  marked to"), (false, "  unmarked to")] {
            if let Some(way) = far(facts, family, marked) {
                page.fact(&name, &way.course);
            }
        }
    }
}

/// The way to somewhere far.
fn far(facts: &Facts, family: Family, marked: bool) -> Option<&Way> {
    let mut asked = facts.ways.iter().flatten();
    let found = asked.find(|one| {
        matches!(one.to, Whereto::Far)
            && Family::of(one.packet.to) == family
            && (one.packet.mark != 0) == marked
    });
    found?.way.as_ref().ok()
}

fn resolver(page: &mut Page, resolver: &Resolver) {
    page.title(&"resolver");
    for listener in &resolver.listeners {
        page.fact(&listener.addr, &listener.reply);
    }
    match &resolver.process {
        Some(Ok(process)) => {
            let Process { name, pid, .. } = process;
            let may = if process.may_mark { "may" } else { "may not" };
            let mark = resolver.mark;
            page.fact(
                &"mark",
                &format_args!("{name} (pid {pid}) {may} set {mark}"),
            );
        }
        Some(Err(_)) => page.fact(&"mark", &"not seen"),
        None => {}
    }
    let Some(Ok(servers)) = &resolver.servers else {
        return;
    };
    if !servers.is_empty() {
        page.title(&"servers");
        page.row(&[
            &"address", &"state", &"for", &"usual", &"queries", &"failed",
        ]);
    }
    for server in servers {
        let usual: &dyn Display = match server.usual_us {
            Some(us) => &Millis(us),
            None => &"-",
        };
        page.row(&[
            &server.server,
            &server.state,
            &Span(server.since_s),
            usual,
            &server.queries,
            &server.failures,
        ]);
    }
}

fn findings(page: &mut Page, title: &str, (colour, mark): (Colour, char), findings: &[Finding]) {
    if !findings.is_empty() {
        page.title(&title);
    }
    for finding in findings {
        page.bullet(colour, mark, finding);
    }
}

/// The groups, and where their DNS goes.
struct Groups<'a>(&'a Facts);

impl Display for Groups<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for group in &self.0.groups {
            match &group.gid {
                Ok(Some(gid)) => write!(f, "{} ({gid}), ", group.name)?,
                Ok(None) => write!(f, "{} (does not exist), ", group.name)?,
                Err(_) => write!(f, "{} (not seen), ", group.name)?,
            }
        }
        write!(f, "to port {}", self.0.port)
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

impl Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(link) = &self.link else {
            return f.write_str("does not exist");
        };
        f.write_str(match link {
            LinkState { up: false, .. } => "down",
            LinkState { carrier: false, .. } => "up, no carrier",
            LinkState { .. } => "up",
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

impl Display for TableState {
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
        write!(f, "{}, {}", self.path.display(), seen(&self.state))?;
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
                write!(f, "answers in {}", Millis::of(*took))
            }
            Self::Foreign(Some(who)) => write!(f, "answers, but is {who}"),
            Self::Foreign(None) => f.write_str("answers, but is another program"),
            Self::Closed => f.write_str("nobody listens"),
            Self::Silent => f.write_str("does not answer"),
            Self::Failed(_) => f.write_str("cannot be asked"),
        }
    }
}

#[cfg(test)]
mod tests;
