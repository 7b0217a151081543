//! Each step that goes wrong is named, and the first of several.

use std::time::Duration;

use super::*;
use crate::config::Mark;
use crate::routing::way::Course;
use crate::trace::facts::{Exchange, Lookup};

fn reply(outcome: Outcome) -> Exchange {
    Exchange {
        kind: "AAAA",
        at: Duration::ZERO,
        took: Duration::from_millis(3),
        outcome,
    }
}

fn address() -> Outcome {
    Outcome::Addresses(vec!["2001:db8:51::2".parse().unwrap()])
}

fn way(device: &str) -> Seen<Way> {
    Ok(Way {
        course: Course::Out {
            device: device.into(),
            gateway: None,
            source: None,
        },
        rule: None,
        route: Some(format!("IPv6 route default dev {device} table 52")),
    })
}

fn nowhere() -> Seen<Way> {
    Ok(Way {
        course: Course::Nowhere("unreachable".into()),
        rule: None,
        route: None,
    })
}

/// A look-up with which all is well.
fn well() -> Trace {
    Trace {
        name: "vpn.example.org".into(),
        group: "gluon-fastd".into(),
        gid: 800,
        mark: Mark { value: 1, mask: 1 },
        devices: vec!["br-wan".into()],
        port: 54,
        lookup: Lookup {
            file: "/etc/resolv.conf".into(),
            primary: "127.0.0.1:53".parse().unwrap(),
            replies: vec![reply(address()), reply(Outcome::Addresses(Vec::new()))],
            redirected: Ok(2),
            answered_by: Some("gluon-wan 0.2.0".into()),
        },
        upstreams: Ok(vec![Upstream {
            server: "192.0.2.1".into(),
            asked: Some(2),
            way: way("br-wan"),
            source: None,
            replies: vec![reply(address())],
        }]),
        answers: vec![Target {
            addr: "2001:db8:51::2".parse().unwrap(),
            way: way("br-wan"),
        }],
    }
}

/// The fault after a change has these words.
#[track_caller]
fn fault(words: &str, change: impl FnOnce(&mut Trace)) {
    let mut trace = well();
    change(&mut trace);
    let found = first_fault(&trace).unwrap();
    assert!(found.contains(words), "{found}");
}

fn upstream(trace: &mut Trace) -> &mut Upstream {
    &mut trace.upstreams.as_mut().unwrap()[0]
}

#[test]
fn nothing_is_said_where_all_is_well() {
    assert_eq!(first_fault(&well()), None);
}

#[test]
fn the_redirect() {
    fault(
        "not redirected: dnsmasq-2.90 answered at 127.0.0.1:53",
        |trace| {
            trace.lookup.answered_by = Some("dnsmasq-2.90".into());
            trace.lookup.redirected = Ok(0);
            // What comes later is not the first thing.
            trace.upstreams = Err("why".into());
        },
    );
    fault(
        "dnsmasq-2.90 answered in place of our resolver, although",
        |trace| {
            trace.lookup.answered_by = Some("dnsmasq-2.90".into());
        },
    );
    fault("nobody listens on port 54", |trace| {
        trace.lookup.answered_by = None;
        trace.lookup.replies[0].outcome = Outcome::Closed;
    });
    fault("what is there does not answer", |trace| {
        trace.lookup.answered_by = None;
        trace.lookup.replies[0].outcome = Outcome::Silent;
    });
    fault("is not known: why", |trace| {
        trace.lookup.answered_by = None;
        trace.lookup.redirected = Err("why".into());
    });
}

#[test]
fn the_servers() {
    fault("does not say which servers it asks: why", |trace| {
        trace.upstreams = Err("why".into());
    });
    fault("knows no server", |trace| trace.upstreams = Ok(Vec::new()));
    fault(
        "no server of the WAN helps: 192.0.2.1 says SERVFAIL;",
        |trace| {
            upstream(trace).replies[0].outcome = Outcome::Code(2);
        },
    );
    fault(
        "a query to the server 192.0.2.1 would leave through bat0, on-link, taken by",
        |trace| {
            upstream(trace).replies[0].outcome = Outcome::Silent;
            upstream(trace).way = way("bat0");
        },
    );
    fault("server 192.0.2.1 goes nowhere (unreachable)", |trace| {
        upstream(trace).replies[0].outcome = Outcome::Failed("x".into());
        upstream(trace).way = nowhere();
    });
}

#[test]
fn the_answer() {
    fault("there is no vpn.example.org", |trace| {
        trace.lookup.replies[0].outcome = Outcome::Code(3);
    });
    fault("it has no address", |trace| {
        trace.lookup.replies[0].outcome = Outcome::Addresses(Vec::new());
    });
    fault("resolver's answer for AAAA says SERVFAIL", |trace| {
        trace.lookup.replies[0].outcome = Outcome::Code(2);
    });
}

#[test]
fn the_way_to_the_answer() {
    fault("to 2001:db8:51::2 would leave through bat0", |trace| {
        trace.answers[0].way = way("bat0");
    });
    fault("goes nowhere (unreachable)", |trace| {
        trace.answers[0].way = nowhere()
    });
    let mut trace = well();
    let ipv4 = Target {
        addr: "198.51.100.2".parse().unwrap(),
        way: way("br-wan"),
    };
    trace.answers[0].way = nowhere();
    trace.answers.push(ipv4);
    assert_eq!(first_fault(&trace), None, "one way is enough");
    trace.answers[0].way = way("bat0");
    assert!(
        first_fault(&trace).is_some(),
        "but none may lead into the mesh"
    );
}
