//! Each fact that is wrong gives its finding, and no other.

use super::*;
use crate::health::Health;
use crate::pulse::{Beat, Watch};
use crate::redirect::Counted;
use crate::status::facts::{
    Growth, Listener, Process, Reply, Resolver, ServerHealth, Setup, Stopped,
};
use std::time::Duration;

/// A node on which everything is right.
pub(in crate::status) fn healthy() -> Facts {
    let link = LinkState {
        up: true,
        carrier: true,
        addresses: vec!["192.0.2.9/24".into()],
        global: vec!["192.0.2.9".parse().unwrap()],
    };
    let server = ServerHealth {
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
        setup: Setup {
            refused: Vec::new(),
            left_out: Vec::new(),
            wanted_user: "gluon-wan".into(),
            user: Ok(Some("gluon-wan".into())),
            own_group: None,
        },
        devices: Ok(vec![Device {
            name: "br-wan".into(),
            link: Some(link),
        }]),
        groups: vec![FoundGroup {
            name: "gluon-fastd".into(),
            gid: Ok(Some(800)),
        }],
        port: 54,
        table: Ok(TableState {
            state: Match::Equal,
            redirected: Counted {
                packets: 3,
                bytes: 180,
            },
            stopped: Stopped::default(),
            growth: None,
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

fn link(facts: &mut Facts) -> &mut LinkState {
    facts.devices.as_mut().unwrap()[0].link.as_mut().unwrap()
}

fn server(facts: &mut Facts) -> &mut ServerHealth {
    &mut servers(facts)[0]
}

fn servers(facts: &mut Facts) -> &mut Vec<ServerHealth> {
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
        *link(facts) = LinkState::default();
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
        facts.groups.push(FoundGroup {
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
            servers(facts).push(ServerHealth {
                server: "192.0.2.2".into(),
                state,
                ..ServerHealth::default()
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
        assert_eq!(verdict.unseen[0].advice, "why");
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

#[test]
fn the_setup() {
    problem(
        "config",
        "gluon-wan:3: x: a default stands in",
        "correct it",
        |facts| {
            facts.setup.refused = vec!["gluon-wan:3: x".into()];
        },
    );
    note("the server ::1 is this node", |facts| {
        facts.setup.left_out = vec!["the server ::1 is this node".into()];
    });
    note("no user gluon-wan: the resolver runs as nobody", |facts| {
        facts.setup.user = Ok(Some("nobody".into()));
    });
    problem(
        "resolver",
        "there is no user gluon-wan: the resolver does not start",
        "option user",
        |facts| {
            facts.setup.user = Ok(None);
        },
    );
    problem(
        "resolver",
        "DNS of group nogroup is redirected",
        "another group",
        |facts| {
            facts.setup.own_group = Some("nogroup".into());
        },
    );
    assert_eq!(
        with(|facts| facts.setup.user = Err("why".into()))
            .unseen
            .len(),
        1
    );
}

#[test]
fn what_was_stopped_since_the_last_look() {
    let grown = |stopped| {
        move |facts: &mut Facts| {
            let since_s = 60;
            facts.table.as_mut().unwrap().growth = Some(Growth { since_s, stopped });
        }
    };
    let none = Stopped::default();
    assert_eq!(with(grown(none)), Verdict::default());
    note(
        "4 packets with the mark were stopped before they left elsewhere than through the WAN in the 60 s",
        grown(Stopped { marked: 4, ..none }),
    );
    note(
        "5 packets of DNS of the VPN daemons",
        grown(Stopped {
            unredirected: 5,
            ..none
        }),
    );
    note(
        "6 packets without the mark",
        grown(Stopped {
            unmarked: 6,
            ..none
        }),
    );
    let mut facts = healthy();
    grown(Stopped { marked: 4, ..none })(&mut facts);
    facts.routing.as_mut().unwrap().changes.push("add x".into());
    assert!(
        judge(&facts).notes[0]
            .advice
            .contains("problem with routing above")
    );
}

/// The next of a row of numbers that looks like chance (xorshift).
fn next(state: &mut u64) -> u64 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    *state
}

#[test]
fn a_hundred_random_healthy_nodes_give_no_alarm() {
    let mut state = 88_172_645_463_325_252;
    for node in 0..100 {
        let mut dice = |sides: u64| next(&mut state) % sides;
        let mut facts = healthy();
        let table = facts.table.as_mut().unwrap();
        table.redirected.packets = dice(1_000_000);
        table.stopped.marked = dice(100);
        table.growth = (dice(2) == 0).then(|| Growth {
            since_s: dice(100_000),
            stopped: Stopped {
                marked: dice(9),
                unredirected: dice(2),
                unmarked: dice(2),
            },
        });
        if dice(3) == 0 {
            facts.include = None;
        }
        if dice(2) == 0 {
            facts.setup.user = Ok(Some("nobody".into()));
        }
        for _ in 0..dice(3) {
            facts.groups.push(FoundGroup {
                name: "gluon-mesh-vpn".into(),
                gid: Ok((dice(2) == 0).then_some(801)),
            });
        }
        let extra = Device {
            name: "wwan0".into(),
            link: (dice(2) == 0).then(LinkState::default),
        };
        facts
            .devices
            .as_mut()
            .unwrap()
            .extend((dice(2) == 0).then_some(extra));
        for _ in 0..dice(4) {
            let states = Health::ALL;
            servers(&mut facts).push(ServerHealth {
                server: format!("192.0.2.{}", dice(250)),
                state: states[dice(5) as usize],
                since_s: dice(1_000_000),
                usual_us: (dice(2) == 0).then(|| dice(5_000_000)),
                queries: dice(1_000),
                failures: dice(10),
            });
        }
        facts.watch = Ok(match dice(3) {
            0 => Watch::None,
            _ => Watch::Here(Beat {
                pid: 9,
                idle_s: dice(1_000_000),
                mended: dice(200) as u32,
                ..Beat::default()
            }),
        });
        let verdict = judge(&facts);
        assert!(verdict.is_healthy(), "node {node}: {verdict:?}\n{facts:#?}");
    }
}
