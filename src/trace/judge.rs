//! The first thing that is wrong, in one sentence: pure.
//!
//! In the order in which a look-up goes, because what comes later fails with what
//! came before.

use std::fmt::{self, Display};
use std::net::IpAddr;

use super::facts::{Outcome, Seen, Target, Trace, Upstream};
use crate::routing::way::{Course, Way};
use crate::status::probe::OURS;

/// RFC 1035, section 4.1.1.
const CODES: [&str; 6] = [
    "NOERROR", "FORMERR", "SERVFAIL", "NXDOMAIN", "NOTIMP", "REFUSED",
];

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
    let closed = |outcome: &Outcome| matches!(outcome, Outcome::Closed);
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
    for one in upstreams {
        if let Some(fault) = way_fault(trace, None, &one.way) {
            return Some(format!("a query to the server {} {fault}", one.server));
        }
    }
    let mut each = String::new();
    for Upstream {
        server, replies, ..
    } in upstreams
    {
        let comma = if each.is_empty() { "" } else { ", " };
        let said = replies.first().map(|reply| reply.outcome.to_string());
        each += &format!("{comma}{server} {}", said.unwrap_or_default());
    }
    Some(format!(
        "no server of the WAN helps: {each}; does the home router reach the internet?"
    ))
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
            reply.kind, reply.outcome
        ),
        None if replies
            .iter()
            .any(|reply| matches!(reply.outcome, Outcome::Code(3))) =>
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
    let mut taken = String::new();
    if let Some(rule) = &way.rule {
        taken += &format!(", taken by {rule}");
    }
    if let Some(route) = &way.route {
        taken += if taken.is_empty() {
            ", taken by "
        } else {
            ", "
        };
        taken += route;
    }
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
impl Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Addresses(addrs) => match addrs.split_first() {
                None => f.write_str("has none"),
                Some((first, others)) => {
                    write!(f, "{first}")?;
                    others.iter().try_for_each(|addr| write!(f, ", {addr}"))
                }
            },
            Self::Code(code) => match CODES.get(usize::from(*code)) {
                Some(name) => write!(f, "says {name}"),
                None => write!(f, "says RCODE {code}"),
            },
            Self::Silent => f.write_str("is silent"),
            Self::Closed => f.write_str("refuses (nobody listens there)"),
            Self::Failed(why) => write!(f, "cannot be asked ({why})"),
        }
    }
}

#[cfg(test)]
mod tests;
