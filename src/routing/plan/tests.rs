//! Wanted state and plan on cases written as ip(8) writes them.

mod copies;
mod leaks;
mod uplinks;

use rtnetlink::packet_route::route::RouteType;
use rtnetlink::packet_route::rule::RuleAction;

use super::*;
use crate::config::{Mark, Routing};
use crate::routing::obstacle::Obstacle;
use crate::routing::prefix::{Family, Prefix};
use crate::routing::route::{MAIN, PROTOCOL};
use crate::routing::rule::Others;
use crate::routing::state::{Address, Link, Withdrawn};
use crate::routing::wanted::{nothing, unlisted, wanted};

const STATIC: u8 = 4;
const RA: u8 = 9;

/// Devices of the tests by index; the first two are the WAN.
const DEVICES: [(u32, &str); 3] = [(2, "br-wan"), (3, "wwan0"), (4, "bat0")];

fn number(name: &str) -> u32 {
    DEVICES
        .iter()
        .find(|(_, device)| *device == name)
        .unwrap()
        .0
}

fn name(index: u32) -> String {
    let device = DEVICES.iter().find(|(number, _)| *number == index);
    device.map_or("?", |(_, name)| name).into()
}

/// `[unreachable] PREFIX [from PREFIX] [via ADDR] [dev NAME] [table NUMBER]
/// [proto NUMBER] [metric NUMBER] [expires SECONDS] [src ADDR] [onlink]
/// [multipath]`
fn route(text: &str) -> Route {
    let mut words = text.split_whitespace().peekable();
    let unreachable = words.next_if_eq(&"unreachable").is_some();
    let prefix = |text: &str| {
        let (addr, len) = text.split_once('/').unwrap();
        Prefix {
            addr: addr.parse().unwrap(),
            len: len.parse().unwrap(),
        }
    };
    let mut route = Route::ours(MAIN, prefix(words.next().unwrap()), 0);
    route.protocol = STATIC;
    if unreachable {
        route.kind = RouteType::Unreachable;
    }
    if route.family() == Family::Ipv6 {
        route.preference = Some(0);
    }
    while let Some(word) = words.next() {
        match word {
            "onlink" => route.onlink = true,
            "multipath" => route.multipath = true,
            _ => {
                let value = words.next().unwrap();
                match word {
                    "from" => route.source = Some(prefix(value)),
                    "via" => route.gateway = Some(value.parse().unwrap()),
                    "dev" => route.device = number(value),
                    "table" => route.table = value.parse().unwrap(),
                    "proto" => route.protocol = value.parse().unwrap(),
                    "metric" => route.metric = value.parse().unwrap(),
                    "expires" => route.expires = Some(value.parse().unwrap()),
                    "src" => route.prefsrc = Some(value.parse().unwrap()),
                    _ => panic!("{word}"),
                }
            }
        }
    }
    route
}

fn routes(texts: &[&str]) -> Vec<Route> {
    texts.iter().map(|text| route(text)).collect()
}

fn lookup() -> Rule {
    Rule {
        family: Family::Ipv6,
        protocol: PROTOCOL,
        priority: 1,
        mark: Some(Mark { value: 1, mask: 1 }),
        table: 1,
        action: RuleAction::ToTable,
        others: Others::default(),
    }
}

fn guard() -> Rule {
    Rule {
        priority: 2,
        table: 0,
        action: RuleAction::Unreachable,
        ..lookup()
    }
}

/// An address of br-wan.
fn address(text: &str) -> Address {
    let (addr, len) = text.split_once('/').unwrap();
    let addr = addr.parse().unwrap();
    Address {
        device: 2,
        addr,
        network: Prefix::around(addr, len.parse().unwrap()),
        preferred: true,
    }
}

/// IPv6, both devices there, both rules in place.
fn present(main: &[&str], table: &[&str]) -> Present {
    let link = |&(index, name): &(u32, &str)| Link {
        index,
        name: name.into(),
        up: true,
    };
    Present {
        links: DEVICES[..2].iter().map(link).collect(),
        addresses: [
            "fe80::2/64",
            "2001:db8::2/64",
            "2001:db8:1::2/64",
            "192.0.2.5/24",
        ]
        .map(address)
        .into(),
        rules: vec![lookup(), guard()],
        main: routes(main),
        table: routes(table),
        ..Present::default()
    }
}

fn config() -> Routing {
    Routing {
        devices: vec!["br-wan".into(), "wwan0".into()],
        ..Routing::default()
    }
}

fn changes_with(routing: &Routing, present: &Present) -> Vec<String> {
    let wanted = wanted(routing, present);
    let changes = plan(&wanted, present);
    changes
        .iter()
        .map(|change| change.words(&name).to_string())
        .collect()
}

fn changes(present: &Present) -> Vec<String> {
    changes_with(&config(), present)
}

const UNREACHABLE: &str = "unreachable ::/0 table 1 proto 54 metric 65535";
const UP_LINK: &str = "fe80::/64 dev br-wan proto 2 metric 256";
const OUR_LINK: &str = "fe80::/64 dev br-wan table 1 proto 54 metric 256";

#[test]
fn nothing_there() {
    let mut present = present(
        &[
            "2001:db8:2::/48 via fe80::9 dev br-wan metric 1024",
            "2001:db8:1::/64 dev br-wan proto 2 metric 256",
            "::/0 via fe80::1 dev br-wan proto 9 metric 1024 expires 1800",
        ],
        &[],
    );
    present.rules.clear();
    assert_eq!(
        changes(&present),
        [
            "add IPv6 route unreachable default table 1 metric 65535",
            "add IPv6 rule fwmark 0x1/0x1 lookup 1 priority 1",
            "add IPv6 rule fwmark 0x1/0x1 unreachable priority 2",
            "add IPv6 route 2001:db8:1::/64 dev br-wan table 1 metric 256",
            "move IPv6 route 2001:db8:2::/48 via fe80::9 dev br-wan table main metric 1024 to table 1",
            "move IPv6 route default via fe80::1 dev br-wan table main metric 1024 to table 1",
        ]
    );
}

#[test]
fn all_there_no_wan_or_only_on_link() {
    for (what, present) in [
        (
            "no device",
            Present {
                links: vec![],
                ..present(&[], &[UNREACHABLE])
            },
        ),
        ("no routes", present(&[], &[UNREACHABLE])),
        (
            "on-link only",
            present(&[UP_LINK], &[UNREACHABLE, OUR_LINK]),
        ),
        (
            "a default route that was moved",
            present(
                &[UP_LINK],
                &[
                    UNREACHABLE,
                    OUR_LINK,
                    "::/0 via fe80::1 dev br-wan table 1 proto 54 metric 9 expires 5",
                ],
            ),
        ),
        (
            "everything from netifd",
            present(
                &[UP_LINK],
                &[
                    "unreachable ::/0 table 1 metric 65535",
                    "fe80::/64 dev br-wan table 1 metric 9",
                    "2001:db8::/64 dev br-wan table 1 metric 256",
                    "::/0 via fe80::1 dev br-wan table 1 metric 512",
                ],
            ),
        ),
        (
            "routes of the mesh",
            present(&["::/0 via fe80::1 dev bat0 metric 1"], &[UNREACHABLE]),
        ),
        (
            "an expired route",
            present(&["2001:db8::/64 dev br-wan expires -3"], &[UNREACHABLE]),
        ),
    ] {
        assert!(
            changes(&present).is_empty(),
            "{what}: {:?}",
            changes(&present)
        );
    }
}

#[test]
fn rules() {
    let mark = |value, mask| Some(Mark { value, mask });
    let inverted = Others {
        inverted: true,
        ..Others::default()
    };
    let wrong = [
        (
            Rule {
                table: 2,
                ..lookup()
            },
            "fwmark 0x1/0x1 lookup 2 priority 1",
        ),
        (
            Rule {
                mark: mark(2, 2),
                ..lookup()
            },
            "fwmark 0x2/0x2 lookup 1 priority 1",
        ),
        (
            Rule {
                mark: mark(1, 3),
                ..lookup()
            },
            "fwmark 0x1/0x3 lookup 1 priority 1",
        ),
        (
            Rule {
                mark: None,
                ..lookup()
            },
            "lookup 1 priority 1",
        ),
        (
            Rule {
                priority: 7,
                ..lookup()
            },
            "fwmark 0x1/0x1 lookup 1 priority 7",
        ),
        (
            Rule {
                action: RuleAction::Unspec,
                ..lookup()
            },
            "fwmark 0x1/0x1 action 0 priority 1",
        ),
        (
            Rule {
                family: Family::Ipv4,
                ..lookup()
            },
            "fwmark 0x1/0x1 lookup 1 priority 1",
        ),
        (
            Rule {
                others: inverted,
                ..lookup()
            },
            "not fwmark 0x1/0x1 lookup 1 priority 1",
        ),
    ];
    for (rule, words) in wrong {
        let mut present = present(&[], &[UNREACHABLE]);
        let family = if rule.family == Family::Ipv4 {
            "IPv4"
        } else {
            "IPv6"
        };
        let removed = format!("remove {family} rule {words}");
        // Beside the right one, it goes; in place of the right one, that comes first.
        present.rules.insert(0, rule);
        assert_eq!(changes(&present), [removed.as_str()]);
        present.rules.retain(|rule| *rule != lookup());
        let added = "add IPv6 rule fwmark 0x1/0x1 lookup 1 priority 1";
        assert_eq!(changes(&present), [added, &removed]);
        // Somebody else's is none of our business, and none of ours.
        present.rules[0].protocol = 0;
        assert_eq!(changes(&present), [added]);
    }
    let mut present = present(&[], &[UNREACHABLE]);
    present.rules.push(lookup());
    assert_eq!(
        changes(&present),
        ["remove IPv6 rule fwmark 0x1/0x1 lookup 1 priority 1"]
    );
    present.rules[2].protocol = 0;
    assert!(changes(&present).is_empty(), "netifd's beside ours");
    // The last priority before main's leaves none for the guard.
    let routing = Routing {
        priority: 32765,
        ..config()
    };
    let rules = wanted(&routing, &present).rules;
    assert_eq!(
        rules,
        [Rule {
            priority: 32765,
            ..lookup()
        }]
    );
}

#[test]
fn ours_duplicated_or_in_wrong_places_go() {
    let present = present(
        &[UP_LINK],
        &[
            UNREACHABLE,
            OUR_LINK,
            OUR_LINK,
            "2001:db8::/64 dev br-wan table 1 proto 54 metric 256",
            "fe80::/64 dev br-wan table 7 proto 54 metric 256",
            "::/0 via fe80::1 dev br-wan table 1 proto 54 metric 9 expires 5",
            "::/0 via fe80::1 dev br-wan table 1 proto 54 metric 10 expires 5",
            "192.0.2.0/24 dev br-wan table 1 proto 54",
            "2001:db8:5::/64 dev bat0 table 1 proto 4 metric 256",
        ],
    );
    assert_eq!(
        changes(&present),
        [
            "remove IPv6 route default via fe80::1 dev br-wan table 1 metric 10",
            "remove IPv6 route fe80::/64 dev br-wan table 1 metric 256",
            "remove IPv6 route 2001:db8::/64 dev br-wan table 1 metric 256",
            "remove IPv6 route fe80::/64 dev br-wan table 7 metric 256",
            "remove IPv4 route 192.0.2.0/24 dev br-wan table 1",
        ]
    );
}

#[test]
fn a_copy_is_refreshed_only_while_its_original_is_in_main() {
    let fresh = "::/0 via fe80::1 dev br-wan proto 9 metric 1024 expires 1800";
    let ours = "::/0 via fe80::1 dev br-wan table 1 proto 54 metric 1024 expires 60";
    let present = present(&[fresh], &[UNREACHABLE, ours]);
    let wanted = wanted(&config(), &present);
    let plan = plan(&wanted, &present);
    let [change] = &plan[..] else {
        panic!("{plan:?}")
    };
    assert!(change.is_refresh());
    let Change::Move {
        copy: Some(copy),
        from,
        ..
    } = change
    else {
        panic!("{change:?}")
    };
    assert_eq!(
        (copy.expires, copy.metric, copy.table),
        (Some(1800), 1024, 1)
    );
    assert_eq!((from.protocol, from.table), (RA, MAIN));
}

#[test]
fn netifds_default_route_makes_a_copy_needless() {
    let netifd = "::/0 via fe80::1 dev br-wan table 1 metric 512";
    let fresh = "::/0 via fe80::1 dev br-wan proto 9 metric 1024";
    assert_eq!(
        changes(&present(&[fresh], &[UNREACHABLE, netifd])),
        ["remove IPv6 route default via fe80::1 dev br-wan table main metric 1024"]
    );
    let ours = "::/0 via fe80::1 dev br-wan table 1 proto 54 metric 1024";
    assert_eq!(
        changes(&present(&[], &[UNREACHABLE, netifd, ours])),
        ["remove IPv6 route default via fe80::1 dev br-wan table 1 metric 1024"]
    );
}

#[test]
fn validity_of_a_copy() {
    let ours = "::/0 via fe80::1 dev br-wan table 1 proto 54 metric 1024";
    let static_ = "::/0 via 2001:db8::1 dev br-wan table 1 proto 54 metric 1024";
    let gone = |text: &str| {
        let route = route(text);
        vec![format!("remove {}", Shown(&route, &name(route.device)))]
    };
    // Kept: without a lifetime, link-local router.
    assert!(changes(&present(&[], &[UNREACHABLE, ours])).is_empty());
    // The router is on-link only while its prefix is.
    assert_eq!(
        changes(&present(&[], &[UNREACHABLE, static_])),
        gone(static_)
    );
    let prefix = "2001:db8::/64 dev br-wan table 1 proto 4 metric 256";
    assert!(changes(&present(&[], &[UNREACHABLE, prefix, static_])).is_empty());
    let onlink = format!("{static_} onlink");
    assert!(changes(&present(&[], &[UNREACHABLE, &onlink])).is_empty());
    // Another router of the same device and metric took its place …
    let next = "::/0 via fe80::2 dev br-wan metric 1024";
    let moved = "move IPv6 route default via fe80::2 dev br-wan table main metric 1024 to table 1";
    assert_eq!(
        changes(&present(&[next], &[UNREACHABLE, ours])),
        [vec![moved.into()], gone(ours)].concat()
    );
    // … but not one of another metric or device, nor that of an advertisement.
    for (fresh, ours) in [
        ("::/0 via fe80::2 dev br-wan metric 10", ours.to_owned()),
        ("::/0 via fe80::2 dev wwan0 metric 1020", ours.to_owned()),
        (
            "::/0 via fe80::2 dev br-wan proto 9 metric 1020 expires 9",
            format!("{ours} expires 9"),
        ),
    ] {
        let changes = changes(&present(&[fresh], &[UNREACHABLE, &ours]));
        assert_eq!(changes.len(), 1, "{changes:?}");
        assert!(changes[0].starts_with("move "), "{changes:?}");
    }
    // The router took its advertisement back; what has no lifetime is not its.
    let advertised = format!("{ours} expires 1800");
    let mut present = present(&[], &[UNREACHABLE, &advertised]);
    let withdrawn = |device, router: &str| Withdrawn {
        device,
        router: router.parse().unwrap(),
        was_default: false,
    };
    present.withdrawn = vec![withdrawn(2, "fe80::2"), withdrawn(3, "fe80::1")];
    assert!(changes(&present).is_empty());
    present.withdrawn.push(withdrawn(2, "fe80::1"));
    assert_eq!(changes(&present), gone(&advertised));
    present.table = routes(&[UNREACHABLE, ours]);
    assert!(changes(&present).is_empty());
    // netifd keeps the lifetime of what a router advertised to itself.
    present.withdrawn[2].was_default = true;
    assert_eq!(changes(&present), gone(ours));
}

#[test]
fn what_was_moved_comes_back_while_it_is_valid() {
    let ours = "::/0 via fe80::1 dev br-wan table 1 proto 54 metric 1024 expires 60";
    let mut present = present(&[], &[UNREACHABLE]);
    present.moved = routes(&[ours]);
    assert_eq!(
        changes(&present),
        ["add IPv6 route default via fe80::1 dev br-wan table 1 metric 1024"]
    );
    let lost = Present {
        links: present.links[1..].to_vec(),
        ..present.clone()
    };
    assert!(changes(&lost).is_empty(), "device gone");
    let mut down = present.clone();
    down.links[0].up = false;
    assert!(changes(&down).is_empty(), "device down");
    present.moved[0].expires = Some(0);
    assert!(changes(&present).is_empty(), "expired");
}

#[test]
fn default_routes_never_share_a_metric() {
    let two = present(
        &[
            "::/0 via fe80::2 dev wwan0 metric 1024",
            "::/0 via fe80::1 dev br-wan metric 1024",
            "::/0 via fe80::3 dev br-wan metric 4294967295",
        ],
        &[UNREACHABLE, "::/0 via fe80::9 dev bat0 table 1 metric 1025"],
    );
    let wanted = wanted(&config(), &two);
    let metrics: Vec<_> = wanted
        .routes
        .iter()
        .map(|r| (r.gateway, r.metric))
        .collect();
    let addr = |text: &str| Some(text.parse().unwrap());
    assert_eq!(
        metrics,
        [
            (None, 65535),
            (addr("fe80::1"), 1024),
            (addr("fe80::2"), 1026),
            (addr("fe80::3"), 65534),
        ]
    );
    // The first device of the list gets its place back from its spare.
    let back = present(
        &["::/0 via fe80::1 dev br-wan metric 1024"],
        &[
            UNREACHABLE,
            "::/0 via fe80::2 dev wwan0 table 1 proto 54 metric 1024",
        ],
    );
    assert_eq!(
        changes(&back),
        [
            "add IPv6 route default via fe80::2 dev wwan0 table 1 metric 1025",
            "move IPv6 route default via fe80::1 dev br-wan table main metric 1024 to table 1",
            "remove IPv6 route default via fe80::2 dev wwan0 table 1 metric 1024",
        ]
    );
}

#[test]
fn ipv4_on_demand() {
    let routing = Routing {
        ipv4: true,
        ipv6: false,
        ..config()
    };
    let mut present = present(
        &[
            "192.0.2.0/24 dev br-wan proto 2 src 192.0.2.5",
            "0.0.0.0/0 via 192.0.2.1 dev br-wan",
        ],
        &[UNREACHABLE],
    );
    present.rules.clear();
    assert_eq!(
        changes_with(&routing, &present),
        [
            "add IPv4 route unreachable default table 1 metric 65535",
            "add IPv4 rule fwmark 0x1/0x1 lookup 1 priority 1",
            "add IPv4 rule fwmark 0x1/0x1 unreachable priority 2",
            "add IPv4 route 192.0.2.0/24 dev br-wan table 1",
            "move IPv4 route default via 192.0.2.1 dev br-wan table main to table 1",
            "remove IPv6 route unreachable default table 1 metric 65535",
        ]
    );
}

#[test]
fn multipath_default_routes_of_ipv4() {
    let routing = Routing {
        ipv4: true,
        ipv6: false,
        ..config()
    };
    let wan = [
        "192.0.2.0/24 dev br-wan",
        "0.0.0.0/0 via 192.0.2.1 dev br-wan multipath",
        "0.0.0.0/0 via 192.0.2.2 dev wwan0 multipath",
    ];
    let all = wanted(&routing, &present(&wan, &[]));
    assert_eq!((all.misplaced.len(), all.obstacles.len()), (2, 0));
    let mesh = "0.0.0.0/0 via 10.0.0.1 dev bat0 multipath";
    let mixed = wanted(&routing, &present(&[&wan[..2], &[mesh]].concat(), &[]));
    assert_eq!(mixed.misplaced, []);
    assert_eq!(
        mixed.obstacles,
        [Obstacle::Mixed {
            family: Family::Ipv4,
            destination: "default".into(),
            metric: 0,
            device: "br-wan".into()
        }]
    );
}

#[test]
fn default_routes_through_devices_that_are_not_the_wan() {
    let through = |table: &[&str]| unlisted(&config(), &present(&[], table), name);
    assert_eq!(
        through(&[
            "::/0 via fe80::1 dev bat0 table 1 metric 5",
            "::/0 via fe80::2 dev bat0 table 1 metric 6",
        ]),
        [Obstacle::Unlisted {
            device: "bat0".into(),
            table: 1
        }]
    );
    assert_eq!(
        through(&[
            UNREACHABLE,
            "unreachable ::/0 table 1 metric 1",
            "::/0 via fe80::1 dev br-wan table 1 metric 5",
            "::/0 via fe80::1 dev bat0 table 2 metric 5",
            "::/0 via fe80::1 dev bat0 table 1 proto 54 metric 5",
            "fe80::/64 dev bat0 table 1 metric 5",
        ]),
        []
    );
}

#[test]
fn changed_attributes() {
    let mut ours = present(&[UP_LINK], &[UNREACHABLE, OUR_LINK]);
    ours.table[1].prefsrc = Some("2001:db8::2".parse().unwrap());
    assert_eq!(
        changes(&ours),
        [
            "remove IPv6 route fe80::/64 dev br-wan table 1 metric 256",
            "add IPv6 route fe80::/64 dev br-wan table 1 metric 256",
        ]
    );
    let mut default = present(
        &["::/0 via fe80::1 dev br-wan metric 9"],
        &[
            UNREACHABLE,
            "::/0 via fe80::1 dev br-wan table 1 proto 54 metric 9",
        ],
    );
    default.table[1].preference = Some(1);
    assert_eq!(
        changes(&default),
        [
            "remove IPv6 route default via fe80::1 dev br-wan table 1 metric 9",
            "add IPv6 route default via fe80::1 dev br-wan table 1 metric 9",
            "remove IPv6 route default via fe80::1 dev br-wan table main metric 9",
        ]
    );
}

#[test]
fn clearing_takes_ours_only() {
    let mut present = present(
        &["::/0 via fe80::1 dev br-wan metric 9"],
        &[
            UNREACHABLE,
            OUR_LINK,
            OUR_LINK,
            "fe80::/64 dev br-wan table 1 metric 9",
        ],
    );
    present.rules.push(Rule {
        protocol: 0,
        ..lookup()
    });
    present.table.extend(routes(&[
        "::/0 via fe80::1 dev br-wan table 1 proto 54 metric 9",
    ]));
    let nothing = nothing(&present);
    let changes = plan(&nothing, &present);
    let words: Vec<String> = changes.iter().map(|c| c.words(&name).to_string()).collect();
    assert_eq!(
        words,
        [
            "return IPv6 route default via fe80::1 dev br-wan table main metric 9",
            "remove IPv6 rule fwmark 0x1/0x1 lookup 1 priority 1",
            "remove IPv6 rule fwmark 0x1/0x1 unreachable priority 2",
            "remove IPv6 route unreachable default table 1 metric 65535",
            "remove IPv6 route default via fe80::1 dev br-wan table 1 metric 9",
            "remove IPv6 route fe80::/64 dev br-wan table 1 metric 256",
            "remove IPv6 route fe80::/64 dev br-wan table 1 metric 256",
        ]
    );
}

#[test]
fn what_was_moved_goes_with_the_table_and_back_when_it_is_not_ours_to_hold_any_longer() {
    let moved = "::/0 via fe80::1 dev br-wan table 1 proto 54 metric 9";
    let back = "return IPv6 route default via fe80::1 dev br-wan table main metric 9";
    let gone = "remove IPv6 route default via fe80::1 dev br-wan table 1 metric 9";
    let present = present(&[], &[moved]);
    let other_table = Routing {
        table: 7,
        ..config()
    };
    let changes = changes_with(&other_table, &present);
    let again = "add IPv6 route default via fe80::1 dev br-wan table 7 metric 9";
    assert!(changes.iter().any(|change| change == again), "{changes:?}");
    assert_eq!(changes.last().unwrap(), gone);
    assert!(!changes.iter().any(|change| change == back), "{changes:?}");
    let other_family = Routing {
        ipv4: true,
        ipv6: false,
        ..config()
    };
    let mut other_device = present.clone();
    other_device.links.remove(0);
    for changes in [
        changes_with(&other_family, &present),
        self::changes(&other_device),
    ] {
        let back = changes.iter().position(|change| change == back);
        let gone = changes.iter().position(|change| change == gone);
        assert!(back.is_some() && back < gone, "{changes:?}");
    }
}
