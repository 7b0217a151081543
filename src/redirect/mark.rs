//! The chains that keep what is marked for the WAN out of everything else, and what is
//! not out of the WAN.
//!
//! Routing sees to that with rules and routes, and puts them back when somebody takes
//! them away. Until it has, a marked packet would go where all others go, into the mesh;
//! the guard stops it. And another ruleset may give marks of its own to all that is sent
//! and have the way looked up anew; so it is remembered in between that a packet was
//! marked, and it gets its mark back.

use super::chain::{Base, Chain, Hook, Kind, LATE, Rule};

use super::statement::{Nfproto, Statement};
use crate::config::{Mark, Routing};

/// The chain that stops what is marked and would leave elsewhere.
pub const GUARD: &str = "mark_guard";
/// The chain that stops what is not marked and would use the WAN, and sends to
/// [`GUARD`] what leaves elsewhere.
pub const WAN_GUARD: &str = "wan_guard";
/// What never leaves this host.
pub const LOOPBACK: &str = "lo";
/// The chain that gives marks back.
const RESTORE: &str = "mark_restore";

/// Remembers that a packet is marked.
pub fn remember(routing: &Routing) -> Rule {
    let mut statements = marked(routing);
    statements.extend([Statement::Untagged, Statement::Tag]);
    Rule {
        statements,
        comment: None,
    }
}

/// Marks again what was marked, behind all others that might set marks.
pub fn restore(mark: Mark) -> Chain {
    Chain {
        name: RESTORE,
        base: Some(Base {
            kind: Kind::Route,
            hook: Hook::Output,
            priority: LATE,
        }),
        rules: vec![Rule {
            statements: vec![
                Statement::Tagged,
                Statement::SetMark(mark),
                Statement::Untag,
            ],
            comment: Some("gluon-wan: what somebody took the mark from gets it back".into()),
        }],
    }
}

/// Stops what uses the wrong way out: what is marked, any device but these (in
/// [`GUARD`], which comes first), and what is not marked, the WAN.
pub fn guards(routing: &Routing, devices: &[String], base: Base) -> [Chain; 2] {
    let mut marked = marked(routing);
    marked.extend([Statement::Counter, Statement::Drop]);
    let elsewhere = std::iter::once(LOOPBACK).chain(devices.iter().map(String::as_str));
    let elsewhere = elsewhere.map(|device| Statement::NotThrough(device.into()));
    let mut by_device = vec![Rule {
        statements: elsewhere.chain([Statement::Goto(GUARD)]).collect(),
        comment: None,
    }];
    if routing.ipv6 && !devices.is_empty() {
        by_device.push(unmarked(routing.mark));
    }
    let comment = "gluon-wan: what has the mark leaves through the WAN or not at all";
    [
        Chain {
            name: GUARD,
            base: None,
            rules: vec![Rule {
                statements: marked,
                comment: Some(comment.into()),
            }],
        },
        Chain {
            name: WAN_GUARD,
            base: Some(base),
            rules: by_device,
        },
    ]
}

/// Stops what a program of this host sends into the WAN through a router without the
/// mark. Rules keep most of it back; but where the mesh has no route, Linux chooses a
/// source for an IPv6 packet by itself and looks again, and rules of others lead what has
/// an address of the WAN there (netifd's, for the answers that this host owes).
fn unmarked(mark: Mark) -> Rule {
    Rule {
        statements: vec![
            Statement::ByIpv6Router,
            Statement::NotMarked(mark),
            Statement::Sent,
            Statement::OfOwnFlow,
            Statement::Counter,
            Statement::Drop,
        ],
        comment: Some("gluon-wan: what has no mark uses no router of the WAN".into()),
    }
}

/// It is marked, and of a family that is separated.
fn marked(routing: &Routing) -> Vec<Statement> {
    let family = match (routing.ipv4, routing.ipv6) {
        (true, false) => Some(Nfproto::Ipv4),
        (false, true) => Some(Nfproto::Ipv6),
        _ => None,
    };
    let mark = Statement::Marked(routing.mark);
    let family = family.map(Statement::OfFamily);
    std::iter::once(mark).chain(family).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_family_is_named_and_both_are_not() {
        let families = |ipv4, ipv6| {
            let routing = Routing {
                ipv4,
                ipv6,
                ..Routing::default()
            };
            marked(&routing)[1..].to_vec()
        };
        assert_eq!(families(true, false), [Statement::OfFamily(Nfproto::Ipv4)]);
        assert_eq!(families(false, true), [Statement::OfFamily(Nfproto::Ipv6)]);
        assert_eq!(families(true, true), []);
    }
}
