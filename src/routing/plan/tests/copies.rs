//! What a copy in the WAN's table is, and which of several stays.

use rtnetlink::packet_route::route::RouteScope;

use super::*;

#[test]
fn a_copy_is_ours_and_stands_alone() {
    let mut linked = route("2001:db8:1::/64 dev br-wan proto 2 metric 256 expires 9 multipath");
    linked.nexthop = Some(7);
    linked.scope = RouteScope::Link;
    let mut narrow = route("192.0.2.0/24 dev br-wan");
    narrow.scope = RouteScope::Link;
    let mut present = present(&[], &[]);
    present.main = vec![linked, narrow];
    let routing = Routing {
        ipv4: true,
        ..config()
    };
    let wanted = wanted(&routing, &present);
    let copy_of = |network: &str| {
        let network: std::net::IpAddr = network.parse().unwrap();
        let mut copies = wanted.routes.iter();
        copies
            .find(|copy| copy.destination.addr == network)
            .unwrap()
    };
    let copy = copy_of("2001:db8:1::");
    assert_eq!((copy.table, copy.protocol), (1, PROTOCOL));
    assert_eq!(
        (copy.expires, copy.nexthop, copy.multipath),
        (None, None, false)
    );
    assert_eq!(copy.scope, RouteScope::Universe);
    // IPv4 needs the scope: a router is looked for within it.
    assert_eq!(copy_of("192.0.2.0").scope, RouteScope::Link);
}

#[test]
fn what_goes_back_to_main_is_nobodys_copy_any_more() {
    let ours = "::/0 via fe80::1 dev br-wan table 7 proto 54 metric 9";
    let returned = nothing(&present(&[], &[ours])).returned;
    assert_eq!(returned, routes(&["::/0 via fe80::1 dev br-wan metric 9"]));
}

#[test]
fn a_router_is_on_link_only_by_a_network_of_its_own_device() {
    let ours = "::/0 via 2001:db8::1 dev br-wan table 1 proto 54 metric 1024";
    for network in [
        "2001:db8::/64 dev wwan0 table 1 metric 256",
        "2001:db8::/64 via fe80::9 dev br-wan table 1 metric 256",
        "2001:db8:1::/64 dev br-wan table 1 metric 256",
        "unreachable 2001:db8::/64 dev br-wan table 1 metric 256",
        "::/0 dev br-wan table 1 metric 256",
        "2001:db8::/64 dev br-wan table 7 metric 256",
    ] {
        let changes = changes(&present(&[], &[UNREACHABLE, network, ours]));
        assert_eq!(changes.len(), 1, "{network}: {changes:?}");
        assert!(changes[0].starts_with("remove IPv6 route default via 2001:db8::1 "));
    }
}

#[test]
fn of_two_copies_the_one_in_the_table_stays() {
    let here = "::/0 via fe80::1 dev br-wan table 1 proto 54 metric 20";
    let there = "::/0 via fe80::1 dev br-wan table 7 proto 54 metric 10";
    assert_eq!(
        changes(&present(&[], &[UNREACHABLE, there, here])),
        ["remove IPv6 route default via fe80::1 dev br-wan table 7 metric 10"]
    );
}

#[test]
fn routers_of_one_metric_keep_their_order() {
    let main = [
        "::/0 via fe80::1 dev br-wan proto 9 metric 1024 expires 1800",
        "::/0 via fe80::2 dev br-wan proto 9 metric 1024 expires 1800",
    ];
    let table = [
        UNREACHABLE,
        "::/0 via fe80::1 dev br-wan table 1 proto 54 metric 1025 expires 9",
        "::/0 via fe80::2 dev br-wan table 1 proto 54 metric 1024 expires 9",
    ];
    let present = present(&main, &table);
    let wanted = wanted(&config(), &present);
    let plan = plan(&wanted, &present);
    assert_eq!(plan.len(), 2, "{plan:?}");
    assert!(plan.iter().all(Change::is_refresh), "{plan:?}");
}

#[test]
fn only_a_longer_life_is_no_news() {
    let present = present(&["::/0 via fe80::1 dev br-wan proto 9 metric 9"], &[]);
    let wanted = wanted(&config(), &present);
    let plan = plan(&wanted, &present);
    assert!(!plan.is_empty());
    assert!(!plan.iter().any(Change::is_refresh), "{plan:?}");
}

#[test]
fn another_table_is_not_ours_to_count_on() {
    assert_eq!(
        changes(&present(&[], &["unreachable ::/0 table 7 metric 65535"])),
        ["add IPv6 route unreachable default table 1 metric 65535"]
    );
}

#[test]
fn an_obstacle_is_named_once() {
    let main = [
        "::/0 via fe80::1 dev br-wan multipath",
        "::/0 via fe80::2 dev br-wan multipath",
        "::/0 via fe80::3 dev bat0 multipath",
    ];
    assert_eq!(wanted(&config(), &present(&main, &[])).obstacles.len(), 1);
}
