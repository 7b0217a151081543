//! The chains that send the DNS of the groups to the resolver, and see to it that
//! it goes nowhere else.

use super::chain::{Base, Chain, FIRST_OF_NAT, Hook, Kind, LATE, Rule};
use super::mark::LOOPBACK;
use super::set::Numbers;
use super::statement::{Nfproto, Statement};
use crate::config::Mark;

/// The chain that redirects.
pub const REDIRECT: &str = "dns_redirect";
/// The chain that stops what was not redirected.
pub const GUARD: &str = "dns_guard";
/// The chain that stops what is said about late answers.
pub const ERRORS: &str = "error_guard";
const DNS_PORT: u16 = 53;
/// The longest comment that nft takes: NFTNL_UDATA_COMMENT_MAXLEN, without NUL.
const MAX_COMMENT: usize = 127;

/// The conntrack zone of the groups' own flows: another one for another port, so that
/// no flow stays with the old one. Others number their zones from 1, or by devices.
pub fn zone(port: u16) -> u16 {
    54_000 + port % 10_000
}

/// Gives the groups' queries flows of their own. Without the zone, conntrack takes a
/// query from the same source port to the same server, by whomever and up to minutes
/// ago, for the same flow, and address translation goes by what was decided then.
///
/// Answers find the flow without the zone, since only its first direction is in it. TCP
/// is left out: a connection is new with its SYN, and what Linux sends for a socket that
/// has gone, acknowledgements and resets, has no group any more and must find its flow.
/// Where it must not, see [`own_connections`].
pub fn own_flows(gids: &Numbers, port: u16) -> Rule {
    Rule {
        statements: vec![
            Statement::OfGroup(gids.clone()),
            Statement::UdpTo(DNS_PORT),
            Statement::OriginalZone(zone(port)),
        ],
        comment: None,
    }
}

/// Gives connections to servers of the WAN flows of their own. When Linux has forgotten
/// such a connection, it answers what still comes with a reset that has no mark: without
/// the zone it finds no flow, and [`error_guard`] stops it.
pub fn own_connections(mark: Mark, port: u16) -> Rule {
    Rule {
        statements: vec![
            Statement::Marked(mark),
            Statement::TcpTo(DNS_PORT),
            Statement::OriginalZone(zone(port)),
        ],
        comment: None,
    }
}

/// Redirects the first packet of each flow, and address translation the rest. `names` are
/// the groups' for the comment.
pub fn redirect(names: &[&str], gids: &Numbers, port: u16) -> Chain {
    Chain {
        name: REDIRECT,
        base: Some(Base {
            kind: Kind::Nat,
            hook: Hook::Output,
            priority: FIRST_OF_NAT,
        }),
        rules: vec![Rule {
            statements: vec![
                Statement::OfGroup(gids.clone()),
                Statement::TcpOrUdp,
                Statement::To(DNS_PORT),
                Statement::Counter,
                Statement::RedirectTo(port),
            ],
            comment: Some(listed(names)),
        }],
    }
}

/// Stops the groups' DNS that does not go to the resolver: nobody has translated it
/// (`notrack`), or its socket is bound to a device and takes it there all the same.
pub fn guard(gids: &Numbers, port: u16, base: Base) -> Chain {
    let to_resolver = vec![
        Statement::Through(LOOPBACK.into()),
        Statement::To(port),
        Statement::Accept,
    ];
    let all_others = vec![
        Statement::OfGroup(gids.clone()),
        Statement::TcpOrUdp,
        Statement::ToAny(Numbers::from(&[DNS_PORT.into(), port.into()][..])),
        Statement::Counter,
        Statement::Drop,
    ];
    Chain {
        name: GUARD,
        base: Some(base),
        rules: vec![
            Rule {
                statements: to_resolver,
                comment: None,
            },
            Rule {
                statements: all_others,
                comment: Some("gluon-wan: DNS that is not redirected, or bound to a device".into()),
            },
        ],
    }
}

/// Stops what Linux says, by itself and without a mark, about an answer that found its
/// socket closed, when nobody waits for it any more. Over UDP it repeats the start of the
/// answer, with the name that was looked up.
pub fn error_guard() -> Chain {
    let passes = |which| Rule {
        statements: vec![which, Statement::Accept],
        comment: None,
    };
    let stopped = |mut which: Vec<Statement>| {
        which.extend([Statement::Counter, Statement::Drop]);
        Rule {
            statements: which,
            comment: Some("gluon-wan: tells of a look-up".into()),
        }
    };
    let about = |family| Statement::UnreachableAbout {
        family,
        source_port: DNS_PORT,
    };
    Chain {
        name: ERRORS,
        base: Some(Base {
            kind: Kind::Filter,
            hook: Hook::Output,
            priority: LATE,
        }),
        rules: vec![
            passes(Statement::Through(LOOPBACK.into())),
            passes(Statement::Sent),
            stopped(vec![about(Nfproto::Ipv4)]),
            stopped(vec![about(Nfproto::Ipv6)]),
            stopped(vec![Statement::TcpTo(DNS_PORT), Statement::OfNoFlow]),
        ],
    }
}

/// The groups' names, as many as a comment has room for.
fn listed(names: &[&str]) -> String {
    const MORE: &str = ", ...";
    let mut comment = String::from("gluon-wan: ");
    for (at, name) in names.iter().enumerate() {
        let separator = if at == 0 { "" } else { ", " };
        let last = at + 1 == names.len();
        let reserved = if last { 0 } else { MORE.len() };
        if comment.len() + separator.len() + name.len() + reserved > MAX_COMMENT {
            comment.push_str(MORE.trim_start_matches(if at == 0 { ", " } else { "" }));
            break;
        }
        comment.push_str(separator);
        comment.push_str(name);
    }
    comment
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_comment_never_gets_longer_than_nft_takes() {
        let comment = |lengths: &[usize]| {
            let names: Vec<String> = lengths.iter().map(|&len| "n".repeat(len)).collect();
            listed(&names.iter().map(String::as_str).collect::<Vec<_>>())
        };
        assert_eq!(comment(&[116]).len(), 127);
        assert_eq!(comment(&[117]), "gluon-wan: ...");
        assert_eq!(comment(&[50, 64]).len(), 127);
        assert!(comment(&[50, 65]).ends_with("n, ..."));
        assert!(comment(&[8; 50]).ends_with("n, ..."));
        for first in 1..120 {
            for second in 1..120 {
                let comment = comment(&[first, second, 3]);
                assert!(comment.len() <= MAX_COMMENT, "{first} {second}");
            }
        }
    }

    #[test]
    fn another_port_is_another_zone_and_none_is_the_usual_one() {
        assert_ne!(zone(54), zone(5454));
        for port in 1..=u16::MAX {
            assert!(zone(port) >= 54_000, "{port}");
        }
    }
}
