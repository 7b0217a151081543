//! The first thing that is wrong, in one sentence: pure.
//!
//! In the order in which a look-up goes, because what comes later fails with what
//! came before.

use std::net::IpAddr;

use super::facts::{Outcome, Seen, Target, Trace, Upstream};
use crate::routing::way::{Course, Way};
use crate::status::probe::OURS;

/// The first thing that is wrong and what to do; none where a packet to an answer
/// would take the WAN.
pub fn first_fault(trace: &Trace) -> Option<String> {
    redirect(trace)
        .or_else(|| servers(trace))
        .or_else(|| lookup(trace))
        .or_else(|| answers(trace))
}

/// Whether the look-up came to our resolver.
fn redirect(trace: &Trace) -> Option<String> {
    let lookup = &trace.lookup;
    let primary = lookup.primary;
    let ours = |who: &String| who.starts_with(OURS);
    if lookup.answered_by.as_ref().is_some_and(ours) {
        return None;
    }
    let moved = match &lookup.redirected {
        Ok(0) => {
            return Some(format!(
                "the look-up was not redirected: {} answered at {primary}; `gluon-wan status` says \
                 what is wrong with the table or who is in front of it",
                lookup
                    .answered_by
                    .as_deref()
                    .unwrap_or("nobody, or somebody else,")
            ));
        }
        Ok(moved) => *moved,
        Err(why) => return Some(format!("whether it was redirected is not known: {why}")),
    };
    let closed = |outcome: &Outcome| *outcome == Outcome::Closed;
    if lookup.replies.iter().any(|reply| closed(&reply.outcome)) {
        return Some(format!(
            "the look-up was redirected, and nobody listens on port {}: `/etc/init.d/gluon-wan \
             restart`; `logread -e gluon-wan` says why it ended",
            trace.port
        ));
    }
    Some(match &lookup.answered_by {
        Some(who) => format!(
            "{who} answered in place of our resolver, although the counter rose by {moved}: \
             something else redirects DNS as well, or has port {}",
            trace.port
        ),
        None => format!(
            "the look-up was redirected to port {}, and what is there does not answer: \
             `/etc/init.d/gluon-wan restart`",
            trace.port
        ),
    })
}

/// Whether there is a server, and a way to one that answers.
fn servers(trace: &Trace) -> Option<String> {
    let upstreams = match &trace.upstreams {
        Ok(upstreams) => upstreams,
        Err(why) => {
            return Some(format!(
                "the resolver does not say which servers it asks: {why}"
            ));
        }
    };
    if upstreams.is_empty() {
        return Some(
            "the resolver knows no server: is the WAN up, and does the home router announce one?"
                .into(),
        );
    }
    let answers = |one: &Upstream| one.replies.iter().any(|reply| reply.outcome.is_final());
    if upstreams.iter().any(answers) {
        return None;
    }
    let astray = upstreams.iter().find_map(|one| {
        let fault = way_fault(trace, None, &one.way)?;
        Some(format!("a query to the server {} {fault}", one.server))
    });
    astray.or_else(|| {
        let each = upstreams.iter().map(|one| {
            let said = one.replies.first().map(|reply| said(&reply.outcome));
            format!("{} {}", one.server, said.unwrap_or_default())
        });
        let each: Vec<String> = each.collect();
        Some(format!(
            "no server of the WAN helps: {}; does the home router reach the internet?",
            each.join(", ")
        ))
    })
}

/// Whether the look-up itself brought an address.
fn lookup(trace: &Trace) -> Option<String> {
    let replies = &trace.lookup.replies;
    if replies
        .iter()
        .any(|reply| !reply.outcome.addresses().is_empty())
    {
        return None;
    }
    let name = &trace.name;
    let first = replies.iter().find(|reply| !reply.outcome.is_final());
    Some(match first {
        Some(reply) => format!(
            "the servers answer, but the resolver's answer for {} {}: `gluon-wan status` shows how \
             it sees them",
            reply.kind,
            said(&reply.outcome)
        ),
        None if replies
            .iter()
            .any(|reply| reply.outcome == Outcome::Code(3)) =>
        {
            format!("the WAN's servers say that there is no {name}: is it spelt right?")
        }
        None => format!("there is {name}, but it has no address"),
    })
}

/// Whether a packet to an answer would leave through the WAN.
fn answers(trace: &Trace) -> Option<String> {
    let fault = |target: &Target| way_fault(trace, Some(target.addr), &target.way);
    // A home network without IPv6 has a way to the IPv4 address only.
    let astray = |target: &&Target| {
        let nowhere = matches!(&target.way, Ok(way) if matches!(way.course, Course::Nowhere(_)));
        fault(target).is_some() && !nowhere
    };
    let target = match trace.answers.iter().find(astray) {
        Some(target) => Some(target),
        None if trace.answers.iter().any(|target| fault(target).is_none()) => None,
        None => trace.answers.first(),
    }?;
    let what = fault(target)?;
    Some(format!("a packet with the mark to {} {what}", target.addr))
}

/// What is wrong with a way of a marked packet.
fn way_fault(trace: &Trace, to: Option<IpAddr>, way: &Seen<Way>) -> Option<String> {
    let way = match way {
        Ok(way) => way,
        Err(why) => return Some(format!("takes a way that is not known: {why}")),
    };
    let taken = [
        way.rule.as_ref().map(ToString::to_string),
        way.route.clone(),
    ];
    let taken: Vec<String> = taken.into_iter().flatten().collect();
    let taken = match taken.is_empty() {
        true => String::new(),
        false => format!(", taken by {}", taken.join(", ")),
    };
    match &way.course {
        Course::Out { device, .. } if trace.devices.contains(device) => None,
        // Servers may be on this node, answers not.
        Course::Here if to.is_none() => None,
        Course::Here => Some("stays on this node".into()),
        Course::Out { .. } => Some(format!("would leave through {}{taken}", way.course)),
        Course::Nowhere(why) => Some(format!(
            "goes nowhere ({why}){taken}: the WAN has no route for it"
        )),
    }
}

/// What a server said, behind its name.
pub fn said(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Addresses(addrs) if addrs.is_empty() => "has none".into(),
        Outcome::Addresses(addrs) => {
            let addrs: Vec<String> = addrs.iter().map(ToString::to_string).collect();
            addrs.join(", ")
        }
        Outcome::Code(code) => format!("says {}", code_name(*code)),
        Outcome::Silent => "is silent".into(),
        Outcome::Closed => "refuses (nobody listens there)".into(),
        Outcome::Failed(why) => format!("cannot be asked ({why})"),
    }
}

/// RFC 1035, section 4.1.1.
fn code_name(code: u8) -> String {
    let names = [
        "NOERROR", "FORMERR", "SERVFAIL", "NXDOMAIN", "NOTIMP", "REFUSED",
    ];
    let name = names.get(usize::from(code)).copied();
    name.map_or_else(|| format!("RCODE {code}"), str::to_owned)
}

#[cfg(test)]
mod tests;
