//! Each fact that is wrong gives its finding, and no other.

use super::*;
use crate::pulse::{Beat, Watch};
use crate::redirect::Counted;
use crate::status::facts::{LeakedServer, Link};
use std::time::Duration;

/// A node on which everything is right.
pub(in crate::status) fn healthy() -> Facts {
    let link = Link {
        up: true,
        carrier: true,
        addresses: vec!["192.0.2.9/24".into()],
        global: vec!["192.0.2.9".parse().unwrap()],
    };
    let server = Server {
        server: "192.0.2.1".into(),
        state: Health::Up,
        since_s: 90,
        usual_us: Some(1250),
        queries: 7,
        failures: 1,
    };
    let reply = Reply::Ours {
        took: Duration::from_micros(340),
        version: own_version().into(),
    };
    let listener = |addr: &str| Listener {
        addr: addr.parse().unwrap(),
        reply: reply.clone(),
    };
    Facts {
        devices: Ok(vec![Device {
            name: "br-wan".into(),
            link: Some(link),
        }]),
        groups: vec![Group {
            name: "gluon-fastd".into(),
            gid: Ok(Some(800)),
        }],
        port: 54,
        table: Ok(Table {
            state: Match::Equal,
            redirected: Counted {
                packets: 3,
                bytes: 180,
            },
            stopped: Counted::default(),
        }),
        include: Some(Include {
            path: "/run/redirect.nft".into(),
            state: Ok(Match::Equal),
            linked: Some(true),
        }),
        routing: Ok(Difference {
            wanted: vec!["IPv6 rule fwmark 0x1/0x1 lookup 1 priority 1".into()],
            misplaced: Vec::new(),
            changes: Vec::new(),
            obstacles: Vec::new(),
        }),
        ways: Ok(ways::tests::as_promised()),
        others: Ok(Vec::new()),
        watch: Ok(Watch::Here(Beat {
            pid: 8,
            idle_s: 4,
            ..Beat::default()
        })),
        resolver: Resolver {
            listeners: vec![listener("127.0.0.1:54"), listener("[::1]:54")],
            process: Some(Ok(Process {
                pid: 7,
                uid: 453,
                name: "gluon-wan".into(),
                may_mark: true,
            })),
            servers: Some(Ok(vec![server])),
            source: "/var/resolv.conf".into(),
            mark: crate::config::Mark { value: 1, mask: 1 },
        },
        leaks: Leaks::default(),
    }
}

/// The verdict on a healthy node of which something was changed.
fn with(change: impl FnOnce(&mut Facts)) -> Verdict {
    let mut facts = healthy();
    change(&mut facts);
    judge(&facts)
}

/// Exactly one problem, with these words in what and advice.
#[track_caller]
fn problem(part: &str, what: &str, advice: &str, change: impl FnOnce(&mut Facts)) {
    let verdict = with(change);
    assert!(!verdict.is_healthy());
    let [found] = verdict.problems.as_slice() else {
        panic!("expected one problem: {verdict:?}");
    };
    assert_eq!(found.part, part);
    assert!(found.what.contains(what), "{found:?}");
    assert!(found.advice.contains(advice), "{found:?}");
    assert_eq!(
        (&verdict.notes, &verdict.unseen),
        (&Vec::new(), &Vec::new())
    );
}

/// Exactly one note, and healthy all the same.
#[track_caller]
fn note(what: &str, change: impl FnOnce(&mut Facts)) {
    let verdict = with(change);
    assert!(verdict.is_healthy(), "{verdict:?}");
    let [found] = verdict.notes.as_slice() else {
        panic!("expected one note: {verdict:?}");
    };
    assert!(found.what.contains(what), "{found:?}");
}

fn link(facts: &mut Facts) -> &mut Link {
    facts.devices.as_mut().unwrap()[0].link.as_mut().unwrap()
}

fn server(facts: &mut Facts) -> &mut Server {
    &mut servers(facts)[0]
}

fn servers(facts: &mut Facts) -> &mut Vec<Server> {
    facts.resolver.servers.as_mut().unwrap().as_mut().unwrap()
}

fn routing(facts: &mut Facts) -> &mut Difference {
    facts.routing.as_mut().unwrap()
}

#[test]
fn nothing_is_said_of_a_healthy_node() {
    assert_eq!(judge(&healthy()), Verdict::default());
    assert!(Verdict::default().is_healthy());
}

#[test]
fn devices() {
    problem("devices", "no device br-wan", "list device", |facts| {
        facts.devices.as_mut().unwrap()[0].link = None;
    });
    problem("devices", "br-wan is down", "ip link set up", |facts| {
        *link(facts) = Link::default();
    });
    problem("devices", "no carrier", "cable", |facts| {
        link(facts).carrier = false;
    });
    problem("devices", "no address", "home router", |facts| {
        link(facts).global.clear();
    });
    note("no device wwan0", |facts| {
        facts.devices.as_mut().unwrap().push(Device {
            name: "wwan0".into(),
            link: None,
        });
    });
}

#[test]
fn redirect() {
    problem("redirect", "is missing", SYNC, |facts| {
        facts.table.as_mut().unwrap().state = Match::Absent;
    });
    problem("redirect", "not as it must be", SYNC, |facts| {
        facts.table.as_mut().unwrap().state = Match::Different;
    });
    problem("redirect", "no group gluon-fastd", "list group", |facts| {
        // Then there is no table either, and sync could not make one.
        facts.groups[0].gid = Ok(None);
        facts.table.as_mut().unwrap().state = Match::Absent;
    });
    note("no group gluon-mesh-vpn", |facts| {
        facts.groups.push(Group {
            name: "gluon-mesh-vpn".into(),
            gid: Ok(None),
        });
    });
}

#[test]
fn include() {
    fn include(facts: &mut Facts) -> &mut Include {
        facts.include.as_mut().unwrap()
    }
    problem("include", "is missing", SYNC, |facts| {
        include(facts).state = Ok(Match::Absent);
    });
    problem("include", "not as it must be", SYNC, |facts| {
        include(facts).state = Ok(Match::Different);
    });
    problem("include", "fw4 does not load", "ln -sf", |facts| {
        include(facts).linked = Some(false);
    });
    let without_fw4 = with(|facts| include(facts).linked = None);
    assert_eq!(without_fw4, Verdict::default());
    assert_eq!(with(|facts| facts.include = None), Verdict::default());
}

#[test]
fn rules_and_routes() {
    problem(
        "routing",
        "add a; add b; add c; and 2 more",
        SYNC,
        |facts| {
            routing(facts).changes = ["add a", "add b", "add c", "d", "e"]
                .map(String::from)
                .into();
        },
    );
    problem("leaks", "default via fe80::1", "ip6table", |facts| {
        routing(facts).misplaced = vec!["IPv6 route default via fe80::1".into()];
    });
    problem("routing", "rp_filter=1", "", |facts| {
        routing(facts).obstacles = vec![crate::routing::wanted::Obstacle::ReversePath {
            device: "br-wan".into(),
            mode: "strict",
            value: 1,
            consequence: "none",
        }];
    });
}

#[test]
fn listeners() {
    fn reply(facts: &mut Facts, reply: Reply) {
        facts.resolver.listeners[1].reply = reply;
    }
    problem(
        "resolver",
        "nobody listens on [::1]:54",
        "restart",
        |facts| {
            reply(facts, Reply::Closed);
        },
    );
    problem(
        "resolver",
        "no answer from 127.0.0.1:54 and [::1]:54",
        "restart",
        |facts| {
            reply(facts, Reply::Silent);
            facts.resolver.listeners[0].reply = Reply::Silent;
        },
    );
    problem(
        "resolver",
        "is not gluon-wan but dnsmasq-2.89",
        "stop",
        |facts| {
            reply(facts, Reply::Foreign(Some("dnsmasq-2.89".into())));
        },
    );
    problem("resolver", "cannot be asked: no route", "lo", |facts| {
        reply(facts, Reply::Failed("no route".into()));
    });
    note("is gluon-wan 0.0.1", |facts| {
        let took = Duration::ZERO;
        let version = "gluon-wan 0.0.1".into();
        reply(facts, Reply::Ours { took, version });
    });
    problem(
        "resolver",
        "no capability to set mark 0x1/0x1",
        "restart",
        |facts| {
            facts.resolver.process = Some(Ok(Process {
                pid: 7,
                uid: 453,
                name: "dnsmasq".into(),
                may_mark: false,
            }));
        },
    );
}

#[test]
fn servers_of_the_resolver() {
    problem(
        "resolver",
        "no server is known",
        "/var/resolv.conf",
        |facts| {
            servers(facts).clear();
        },
    );
    for state in [Health::Silent, Health::Failing, Health::Unreachable] {
        let what = format!("no server works: 192.0.2.1 is {state}");
        problem("resolver", &what, "home router", |facts| {
            server(facts).state = state;
        });
        note(&format!("192.0.2.2 is {state}"), |facts| {
            servers(facts).push(Server {
                server: "192.0.2.2".into(),
                state,
                ..Server::default()
            });
        });
    }
    note("no server was asked", |facts| {
        server(facts).state = Health::Unknown;
    });
    problem(
        "resolver",
        "are not known: no answer over TCP",
        "restart",
        |facts| {
            facts.resolver.servers = Some(Err("no answer over TCP".into()));
        },
    );
}

#[test]
fn leaks() {
    problem(
        "leaks",
        "192.0.2.1 of the WAN is in /etc/resolv.conf",
        "peerdns",
        |facts| {
            facts.leaks.servers = vec![LeakedServer {
                server: "192.0.2.1".into(),
                file: "/etc/resolv.conf".into(),
            }];
        },
    );
    problem("leaks", "interface wan gives", "peerdns '0'", |facts| {
        facts.leaks.peerdns = vec!["wan".into()];
    });
}

#[test]
fn what_was_not_seen_is_not_healthy() {
    let changes: [fn(&mut Facts); 7] = [
        |facts| facts.devices = Err("why".into()),
        |facts| facts.groups[0].gid = Err("why".into()),
        |facts| facts.table = Err("why".into()),
        |facts| facts.include.as_mut().unwrap().state = Err("why".into()),
        |facts| facts.routing = Err("why".into()),
        |facts| facts.resolver.process = Some(Err("why".into())),
        |facts| facts.leaks.unread = vec![("/etc/config/network".into(), "why".into())],
    ];
    for change in changes {
        let verdict = with(change);
        assert!(!verdict.is_healthy());
        assert_eq!(verdict.unseen.len(), 1, "{verdict:?}");
        assert_eq!(verdict.unseen[0].reason, "why");
    }
}

#[test]
fn the_watch() {
    fn beat(facts: &mut Facts) -> &mut Beat {
        match &mut facts.watch {
            Ok(Watch::Here(beat)) => beat,
            other => panic!("{other:?}"),
        }
    }
    note("there is no watch", |facts| facts.watch = Ok(Watch::None));
    problem("watch", "was killed", "restart", |facts| {
        facts.watch = Ok(Watch::Ended);
    });
    problem("watch", "pid 8) is stopped", "kill -CONT 8", |facts| {
        beat(facts).stopped = true;
    });
    problem(
        "watch",
        "cannot put everything in place: routing: x",
        "",
        |facts| {
            beat(facts).trouble = vec!["routing: x".into()];
        },
    );
    note(
        "61 changes were made in the last hour, the last one: add",
        |facts| {
            beat(facts).mended = 61;
            beat(facts).changes = vec![(3, "add".into())];
        },
    );
    assert!(with(|facts| beat(facts).mended = 60).notes.is_empty());
    assert_eq!(
        with(|facts| facts.watch = Err("why".into())).unseen.len(),
        1
    );
}
