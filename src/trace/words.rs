//! The steps on one page, then the verdict.

use std::time::Duration;

use super::facts::{Exchange, Seen, Trace, Upstream};
use super::judge::said;
use crate::output::page::{Colour, Page};
use crate::routing::way::{Course, Way};

/// The whole page.
pub fn show(trace: &Trace, fault: Option<&str>) -> Page {
    let mut page = Page::default();
    let what = format!("{} as {} ({})", trace.name, trace.group, trace.gid);
    match fault {
        None => page.verdict(what, Colour::Green, "found, and the way to it is the WAN's"),
        Some(_) => page.verdict(what, Colour::Red, "does not work"),
    }
    lookup(&mut page, trace);
    upstreams(&mut page, trace);
    if !trace.answers.is_empty() {
        page.title(format_args!("a packet with mark {} would go", trace.mark));
        for target in &trace.answers {
            page.fact(target.addr, way(&target.way));
        }
    }
    if let Some(fault) = fault {
        page.title("the first thing that is wrong");
        page.bullet(Colour::Red, '!', fault);
    }
    page
}

fn lookup(page: &mut Page, trace: &Trace) {
    let lookup = &trace.lookup;
    page.title("look-up");
    page.fact(
        "asks",
        format_args!("{} (first in {})", lookup.primary, lookup.file.display()),
    );
    for reply in &lookup.replies {
        page.fact(reply.kind, exchange(reply));
    }
    match &lookup.redirected {
        Ok(0) => page.fact("redirected", "no, the counter of the redirect did not move"),
        Ok(1) => page.fact("redirected", "yes, 1 flow"),
        Ok(moved) => page.fact("redirected", format_args!("yes, {moved} flows")),
        Err(why) => page.fact("redirected", format_args!("not seen: {why}")),
    }
    let who = lookup.answered_by.as_deref();
    page.fact("answers there", who.unwrap_or("nobody says who it is"));
}

fn upstreams(page: &mut Page, trace: &Trace) {
    let upstreams = match &trace.upstreams {
        Ok(upstreams) => upstreams,
        Err(why) => {
            page.title("servers");
            return page.fact("-", format_args!("not known: {why}"));
        }
    };
    page.title(format_args!(
        "servers, asked the same from here with mark {}",
        trace.mark
    ));
    if upstreams.is_empty() {
        return page.fact("-", "none is known");
    }
    for upstream in upstreams {
        page.fact(&upstream.server, way_and_source(upstream));
        for reply in &upstream.replies {
            page.fact(format_args!("  {}", reply.kind), exchange(reply));
        }
        if let Some(asked) = upstream.asked {
            page.fact(
                "  resolver",
                format_args!("asked it {} meanwhile", times(asked)),
            );
        }
    }
}

fn times(count: u64) -> String {
    match count {
        0 => "not once".into(),
        1 => "once".into(),
        many => format!("{many} times"),
    }
}

fn way_and_source(upstream: &Upstream) -> String {
    let way = way(&upstream.way);
    match upstream.source {
        Some(source) => format!("{way}, from {source}"),
        None => way,
    }
}

fn way(way: &Seen<Way>) -> String {
    match way {
        Ok(Way { course, rule, .. }) => match (course, rule) {
            (Course::Here, _) | (_, None) => course.to_string(),
            (_, Some(rule)) => format!("{course} ({rule})"),
        },
        Err(why) => format!("not known: {why}"),
    }
}

fn exchange(reply: &Exchange) -> String {
    let at = Millis(reply.at);
    format!(
        "{} after {} (asked at {at})",
        said(&reply.outcome),
        Millis(reply.took)
    )
}

struct Millis(Duration);

impl std::fmt::Display for Millis {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let tenths = (self.0.as_micros() + 50) / 100;
        write!(f, "{}.{} ms", tenths / 10, tenths % 10)
    }
}
