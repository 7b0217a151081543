//! The steps on one page, then the verdict.

use std::fmt::{self, Display};

use super::facts::{Exchange, Seen, Trace, Upstream};
use crate::output::page::{Colour, Page};
use crate::routing::way::{Course, Way};
use crate::status::Millis;

/// The whole page.
pub fn show(trace: &Trace, fault: Option<&str>, coloured: bool) -> String {
    let mut page = Page::new(coloured);
    let Trace {
        name, group, gid, ..
    } = trace;
    let (colour, word) = match fault {
        None => (Colour::Green, "found, and the way to it is the WAN's"),
        Some(_) => (Colour::Red, "does not work"),
    };
    page.verdict(&format_args!("{name} as {group} ({gid})"), colour, &word);
    lookup(&mut page, trace);
    upstreams(&mut page, trace);
    if !trace.answers.is_empty() {
        page.title(&format_args!("a packet with mark {} would go", trace.mark));
        for target in &trace.answers {
            page.fact(&target.addr, &Taken(&target.way));
        }
    }
    if let Some(fault) = fault {
        page.title(&"the first thing that is wrong");
        page.bullet(Colour::Red, '!', &fault);
    }
    page.text()
}

fn lookup(page: &mut Page, trace: &Trace) {
    let lookup = &trace.lookup;
    page.title(&"look-up");
    page.fact(
        &"asks",
        &format_args!("{} (first in {})", lookup.primary, lookup.file.display()),
    );
    for reply in &lookup.replies {
        page.fact(&reply.kind, reply);
    }
    match &lookup.redirected {
        Ok(0) => page.fact(
            &"redirected",
            &"no, the counter of the redirect did not move",
        ),
        Ok(1) => page.fact(&"redirected", &"yes, 1 flow"),
        Ok(moved) => page.fact(&"redirected", &format_args!("yes, {moved} flows")),
        Err(why) => page.fact(&"redirected", &format_args!("not seen: {why}")),
    }
    let who = lookup.answered_by.as_deref();
    page.fact(&"answers there", &who.unwrap_or("nobody says who it is"));
}

fn upstreams(page: &mut Page, trace: &Trace) {
    let upstreams = match &trace.upstreams {
        Ok(upstreams) => upstreams,
        Err(why) => {
            page.title(&"servers");
            return page.fact(&"-", &format_args!("not known: {why}"));
        }
    };
    page.title(&format_args!(
        "servers, asked the same from here with mark {}",
        trace.mark
    ));
    if upstreams.is_empty() {
        return page.fact(&"-", &"none is known");
    }
    for upstream in upstreams {
        page.fact(&upstream.server, upstream);
        for reply in &upstream.replies {
            page.fact(&format_args!("  {}", reply.kind), reply);
        }
        let name = &"  resolver";
        match upstream.asked {
            None => {}
            Some(0) => page.fact(name, &"asked it not once meanwhile"),
            Some(1) => page.fact(name, &"asked it once meanwhile"),
            Some(many) => page.fact(name, &format_args!("asked it {many} times meanwhile")),
        }
    }
}

/// Which way a packet takes, and by which rule.
struct Taken<'a>(&'a Seen<Way>);

impl Display for Taken<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Ok(Way { course, rule, .. }) => match (course, rule) {
                (Course::Here, _) | (_, None) => course.fmt(f),
                (_, Some(rule)) => write!(f, "{course} ({rule})"),
            },
            Err(why) => write!(f, "not known: {why}"),
        }
    }
}

impl Display for Upstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Taken(&self.way).fmt(f)?;
        match self.source {
            Some(source) => write!(f, ", from {source}"),
            None => Ok(()),
        }
    }
}

impl Display for Exchange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            at, took, outcome, ..
        } = self;
        let (at, took) = (Millis::of(*at), Millis::of(*took));
        write!(f, "{outcome} after {took} (asked at {at})")
    }
}
