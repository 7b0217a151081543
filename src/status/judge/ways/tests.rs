//! A way that is as promised is no problem; each that is not, is one.

use rtnetlink::packet_route::rule::RuleAction;

use super::*;
use crate::routing::route::PROTOCOL;
use crate::routing::way::Packet;
use crate::status::judge::{judge, tests::healthy};

const FAR: &str = "2001:503:ba3e::2:30";

/// What a healthy node answers.
pub(in crate::status) fn as_promised() -> Vec<AskedWay> {
    vec![
        far(1, out("br-wan", Some("fe80::77")), 1),
        far(0, out("bat0", Some("fe80::111")), 254),
        asked(
            Whereto::Server("fe80::77%br-wan".into()),
            "fe80::77",
            1,
            out("br-wan", None),
            1,
        ),
        asked(
            Whereto::Server("fe80::77%br-wan".into()),
            "fe80::77",
            0,
            out("br-wan", None),
            254,
        ),
        asked(Whereto::Here, "::1", 1, Course::Here, 255),
        asked(Whereto::Here, "::1", 0, Course::Here, 255),
    ]
}

fn rule(table: u32, priority: u32) -> Rule {
    Rule {
        family: Family::Ipv6,
        protocol: if table == 1 { PROTOCOL } else { 0 },
        priority,
        mark: None,
        table,
        action: RuleAction::ToTable,
        others: Default::default(),
    }
}

fn asked(to: Whereto, addr: &str, mark: u32, course: Course, table: u32) -> AskedWay {
    let way = Way {
        course,
        rule: Some(rule(table, if table == 1 { 1 } else { 5270 })),
        route: Some(format!("IPv6 route default table {table}")),
    };
    let packet = Packet {
        to: addr.parse().unwrap(),
        device: 0,
        mark,
        port: None,
        source: None,
        uid: 0,
    };
    AskedWay {
        to,
        packet,
        way: Ok(way),
    }
}

fn far(mark: u32, course: Course, table: u32) -> AskedWay {
    asked(Whereto::Far, FAR, mark, course, table)
}

fn out(device: &str, gateway: Option<&str>) -> Course {
    Course::Out {
        device: device.into(),
        gateway: gateway.map(|addr| addr.parse().unwrap()),
        source: None,
    }
}

/// The one problem with these ways, its part, words and advice.
#[track_caller]
fn problem(ways: Vec<AskedWay>) -> (&'static str, String, String) {
    let mut facts = healthy();
    facts.ways = Ok(ways);
    let verdict = judge(&facts);
    let [found] = verdict.problems.as_slice() else {
        panic!("expected one problem: {verdict:?}");
    };
    (found.part, found.what.clone(), found.advice.clone())
}

#[track_caller]
fn fine(one: AskedWay) {
    let mut facts = healthy();
    facts.ways = Ok(vec![one]);
    assert!(judge(&facts).problems.is_empty(), "{:?}", judge(&facts));
}

#[test]
fn marked_packets_leave_through_the_wan_or_not_at_all() {
    let (part, what, advice) = problem(vec![far(1, out("bat0", Some("fe80::111")), 52)]);
    assert_eq!(part, "routing");
    for words in [
        "IPv6 packets with mark 0x1/0x1 to 2001:503:ba3e::2:30",
        "they leave through bat0 via fe80::111",
        "taken by IPv6 rule lookup 52 priority 5270, IPv6 route default table 52",
    ] {
        assert!(what.contains(words), "{what}");
    }
    assert!(
        advice.contains("`option priority` in section routing below 5270"),
        "{advice}"
    );
    let nowhere = || Course::Nowhere("unreachable".into());
    fine(far(1, nowhere(), 1));
    let (_, what, _) = problem(vec![far(1, nowhere(), 52)]);
    assert!(what.contains("they go nowhere (unreachable); taken by IPv6 rule lookup 52"));
    // Ours, but what it leads to is none of the WAN's.
    let (_, _, advice) = problem(vec![far(1, out("wwan0", None), 1)]);
    assert!(advice.contains("`list device`"), "{advice}");
}

#[test]
fn a_rule_before_all_is_not_outrun() {
    let mut one = far(1, out("bat0", None), 52);
    one.way.as_mut().unwrap().rule.as_mut().unwrap().priority = 0;
    let (_, _, advice) = problem(vec![one]);
    assert!(advice.contains("behind ours"), "{advice}");
}

#[test]
fn unmarked_packets_do_not_use_a_router_of_the_wan() {
    let (part, what, advice) = problem(vec![far(0, out("br-wan", Some("fe80::77")), 7)]);
    assert_eq!(part, "leaks");
    assert!(
        what.starts_with("IPv6 packets without the mark to"),
        "{what}"
    );
    assert!(advice.contains("table 7 for everybody"), "{advice}");
    fine(far(0, Course::Nowhere("unreachable".into()), 254));
    let server = |gateway| {
        let to = Whereto::Server("2001:db8::53".into());
        asked(to, "2001:db8::53", 0, out("br-wan", gateway), 254)
    };
    fine(server(None));
    let (_, what, _) = problem(vec![server(Some("fe80::77"))]);
    assert!(what.contains("to the server 2001:db8::53"), "{what}");
}

#[test]
fn what_is_for_this_node_stays_here() {
    let (part, what, advice) =
        problem(vec![asked(Whereto::Here, "::1", 1, out("br-wan", None), 1)]);
    assert_eq!(part, "routing");
    assert!(
        what.contains("to this node's own ::1: they do not stay here but leave through br-wan")
    );
    assert!(advice.contains("ip -6 rule add pref 0 lookup local"));
    // A resolver of one's own, given as a server.
    fine(asked(
        Whereto::Server("::1".into()),
        "::1",
        1,
        Course::Here,
        255,
    ));
}

#[test]
fn one_cause_is_one_problem_and_what_is_due_is_told_alone() {
    let astray = || far(1, out("bat0", None), 52);
    problem(vec![astray(), astray()]);
    let mut facts = healthy();
    facts.ways = Ok(vec![astray()]);
    facts.routing.as_mut().unwrap().changes.push("add x".into());
    let verdict = judge(&facts);
    assert_eq!(verdict.problems.len(), 1, "{verdict:?}");
    assert!(verdict.problems[0].what.starts_with("due:"));
    facts = healthy();
    facts.ways = Err("why".into());
    assert_eq!(judge(&facts).unseen.len(), 1);
}

#[test]
fn a_source_that_the_kernel_picks_counts_only_where_it_would_pick_one() {
    let bound = || {
        let mut one = far(0, out("br-wan", Some("fe80::77")), 1);
        one.packet.source = Some("2001:db8:77::2".parse().unwrap());
        one
    };
    let mut facts = healthy();
    facts.ways = Ok([as_promised(), vec![bound()]].concat());
    assert!(judge(&facts).problems.is_empty(), "the mesh has a way");
    let nowhere = far(0, Course::Nowhere("unreachable".into()), 254);
    let (part, what, _) = problem(vec![nowhere, bound()]);
    assert_eq!(part, "leaks");
    assert!(
        what.contains("get 2001:db8:77::2 as there is no other way"),
        "{what}"
    );
}

#[test]
fn what_routing_has_told_is_told_once() {
    let unlisted = |table| Obstacle::Unlisted {
        device: "bat0".into(),
        table,
    };
    for (table, problems) in [(1, 1), (2, 2)] {
        let mut facts = healthy();
        facts.routing.as_mut().unwrap().obstacles = vec![unlisted(table)];
        facts.ways = Ok(vec![far(1, out("bat0", Some("fe80::111")), 1)]);
        assert_eq!(judge(&facts).problems.len(), problems, "table {table}");
    }
}
