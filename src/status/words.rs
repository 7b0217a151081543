//! The facts and the verdict on one screen.

use std::fmt::{self, Display, Write};

use super::facts::{Device, Facts, Include, Link, Match, Reply, Resolver, Server, Table};
use super::judge::{Finding, Unseen, Verdict, own_version};

/// Where the second column starts.
const COLUMN: usize = 18;
const SECOND: u64 = 1;
const MINUTE: u64 = 60 * SECOND;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;

/// The whole text. A line per fact, then one per problem.
pub fn show(facts: &Facts, verdict: &Verdict, colour: bool) -> String {
    let mut page = Page {
        text: String::new(),
        colour,
    };
    page.headline(verdict);
    page.devices(facts);
    page.redirect(facts);
    page.routing(facts);
    page.resolver(&facts.resolver);
    page.verdict(verdict);
    page.text
}

/// SGR parameters of ECMA-48.
#[derive(Clone, Copy)]
enum Colour {
    Bold = 1,
    Red = 31,
    Green = 32,
    Yellow = 33,
}

struct Page {
    text: String,
    colour: bool,
}

impl Page {
    fn painted(&self, colour: Colour, text: impl Display) -> String {
        match self.colour {
            true => format!("\x1b[{}m{text}\x1b[0m", colour as u8),
            false => text.to_string(),
        }
    }

    fn line(&mut self, line: impl Display) {
        // Writing to a String does not fail.
        let _ = writeln!(self.text, "{line}");
    }

    fn fact(&mut self, name: impl Display, fact: impl Display) {
        let name = name.to_string();
        self.line(format_args!("  {name:COLUMN$} {fact}"));
    }

    fn title(&mut self, title: &str) {
        let title = self.painted(Colour::Bold, title);
        self.line(title);
    }

    fn headline(&mut self, verdict: &Verdict) {
        let (colour, state) = match (verdict.problems.len(), verdict.unseen.len()) {
            (0, 0) => (Colour::Green, "healthy".into()),
            (0, _) => (
                Colour::Yellow,
                "no problem seen, but not everything could be seen".into(),
            ),
            (1, _) => (Colour::Red, "1 problem".into()),
            (many, _) => (Colour::Red, format!("{many} problems")),
        };
        let state = self.painted(colour, state);
        self.line(format_args!("{}: {state}", own_version()));
    }

    fn devices(&mut self, facts: &Facts) {
        self.title("WAN devices");
        match &facts.devices {
            Ok(devices) => {
                for device in devices {
                    self.fact(&device.name, device);
                }
            }
            Err(_) => self.fact("-", "not seen"),
        }
    }

    fn redirect(&mut self, facts: &Facts) {
        self.title("redirect");
        let groups = facts.groups.iter().map(|group| match &group.gid {
            Ok(Some(gid)) => format!("{} ({gid})", group.name),
            Ok(None) => format!("{} (does not exist)", group.name),
            Err(_) => format!("{} (not seen)", group.name),
        });
        let groups: Vec<String> = groups.collect();
        self.fact(
            "groups",
            format_args!("{}, to port {}", groups.join(", "), facts.port),
        );
        match &facts.table {
            Ok(table) => self.fact("table", table),
            Err(_) => self.fact("table", "not seen"),
        }
        match &facts.include {
            Some(include) => self.fact("fw4 include", include),
            None => self.fact("fw4 include", "not wanted"),
        }
    }

    fn routing(&mut self, facts: &Facts) {
        self.title("routing");
        let Ok(difference) = &facts.routing else {
            return self.fact("-", "not seen");
        };
        // The words of rules and routes begin with their family.
        for family in ["IPv6", "IPv4"] {
            let of = |lines: &[String]| lines.iter().filter(|line| line.contains(family)).count();
            let (wanted, due) = (of(&difference.wanted), of(&difference.changes));
            let misplaced = of(&difference.misplaced);
            match (wanted, due + misplaced) {
                (0, 0) => self.fact(family, "not separated"),
                (wanted, 0) => {
                    self.fact(family, format_args!("{wanted} rules and routes, as wanted"))
                }
                (wanted, due) => self.fact(
                    family,
                    format_args!("{wanted} rules and routes wanted, {due} to be mended"),
                ),
            }
        }
    }

    fn resolver(&mut self, resolver: &Resolver) {
        self.title("resolver");
        for listener in &resolver.listeners {
            self.fact(listener.addr, &listener.reply);
        }
        match &resolver.process {
            Some(Ok(process)) => {
                let may = if process.may_mark { "may" } else { "may not" };
                self.fact(
                    "mark",
                    format_args!(
                        "{} (pid {}) {may} set {}",
                        process.name, process.pid, resolver.mark
                    ),
                );
            }
            Some(Err(_)) => self.fact("mark", "not seen"),
            None => {}
        }
        for server in resolver.servers.iter().flatten().flatten() {
            self.fact(&server.server, server);
        }
    }

    fn verdict(&mut self, verdict: &Verdict) {
        if !verdict.problems.is_empty() {
            self.title("problems, and what to do");
            let mark = self.painted(Colour::Red, "!");
            for problem in &verdict.problems {
                self.line(format_args!("  {mark} {problem}"));
            }
        }
        if !verdict.unseen.is_empty() {
            self.title("not seen");
            let mark = self.painted(Colour::Yellow, "?");
            for unseen in &verdict.unseen {
                self.line(format_args!("  {mark} {unseen}"));
            }
        }
        if !verdict.notes.is_empty() {
            self.title("notes");
            for note in &verdict.notes {
                self.line(format_args!("  - {note}"));
            }
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
            _ => write!(
                f,
                ", packets redirected: {}, stopped: {}",
                self.redirected.packets, self.stopped.packets
            ),
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

impl Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} for {}", self.state, Span(self.since_s))?;
        if let Some(us) = self.usual_us {
            write!(f, ", usually {}", Millis(us.into()))?;
        }
        write!(f, ", {} of {} queries failed", self.failures, self.queries)
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
