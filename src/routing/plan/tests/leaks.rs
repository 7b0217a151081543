//! What has no mark stays off the WAN: wide routes, and rules behind main.

use super::*;
use crate::netlink::put;
use crate::netlink::route::{fra, put_ip};

fn separated() -> Routing {
    Routing {
        ipv4: true,
        ..config()
    }
}

/// Whereto the routes lead that are taken out of main.
fn taken_out(main: &[&str]) -> Vec<String> {
    let wanted = wanted(&separated(), &present(main, &[]));
    let misplaced = wanted.misplaced.iter();
    misplaced
        .map(|route| route.destination.to_string())
        .collect()
}

#[test]
fn whatever_leads_through_the_wans_router_leaves_main() {
    for route in [
        "0.0.0.0/1 via 192.0.2.1 dev br-wan",
        "198.51.100.2/32 via 192.0.2.1 dev br-wan",
        "2000::/3 via fe80::1 dev br-wan",
        "2001:db8:51::2/128 via fe80::1 dev br-wan proto 9 expires 9",
        "::/0 from 2001:db8::/64 via fe80::1 dev br-wan",
        "0.0.0.0/0 dev br-wan",
    ] {
        assert_eq!(taken_out(&[route]).len(), 1, "{route}");
    }
}

#[test]
fn on_link_routes_stay_as_wide_as_an_address_says() {
    for (route, stays) in [
        ("fe80::/64 dev br-wan proto 2 metric 256", true),
        ("ff00::/8 dev br-wan", true),
        ("169.254.0.0/16 dev br-wan", true),
        ("192.0.2.0/24 dev br-wan proto 2", true),
        ("192.0.2.128/25 dev br-wan", true),
        ("2001:db8::/64 dev br-wan", true),
        // Of no address, of another device's, or wider.
        ("203.0.113.0/24 dev br-wan", false),
        ("192.0.2.0/24 dev wwan0", false),
        ("192.0.0.0/16 dev br-wan", false),
        ("128.0.0.0/1 dev br-wan", false),
        ("::/1 dev br-wan proto 2 metric 256 expires 9", false),
        ("2001:db8::/48 dev br-wan", false),
        ("2001:db8:9::/64 dev br-wan", false),
    ] {
        assert_eq!(taken_out(&[route]).is_empty(), stays, "{route}");
    }
    // As DHCPv6 gives addresses, and as PPP does.
    let mut present = present(&["2001:db8:5::/64 dev br-wan"], &[]);
    present.addresses.push(address("2001:db8:5::7/128"));
    assert_eq!(wanted(&config(), &present).misplaced, []);
    // No network is that wide, whatever DHCP says of the address.
    present.main = routes(&["0.0.0.0/1 dev br-wan proto 2"]);
    present.addresses.push(address("100.64.0.2/1"));
    assert_eq!(wanted(&separated(), &present).misplaced.len(), 1);
}

#[test]
fn the_way_to_a_router_stays_where_the_kernel_looks_for_it() {
    let way = "203.0.113.1/32 dev br-wan";
    let through = "0.0.0.0/0 via 203.0.113.1 dev br-wan";
    assert_eq!(taken_out(&[way, through]), ["default"]);
    let moved = "0.0.0.0/0 via 203.0.113.1 dev br-wan table 1 proto 54";
    let present = present(&[way], &[UNREACHABLE, moved]);
    let wanted = wanted(&separated(), &present);
    assert_eq!(wanted.misplaced, []);
    assert!(wanted.routes.iter().any(Route::is_default));
}

#[test]
fn what_is_taken_out_stands_in_the_table_and_goes_back() {
    let present = present(
        &[
            "::/1 dev br-wan metric 256",
            "2000::/3 via fe80::1 dev br-wan metric 1024",
        ],
        &[UNREACHABLE],
    );
    let made = [
        "move IPv6 route ::/1 dev br-wan table main metric 256 to table 1",
        "move IPv6 route 2000::/3 via fe80::1 dev br-wan table main metric 1024 to table 1",
    ];
    assert_eq!(changes(&present), made);
    // Then it stands there, and is no copy of anything.
    let after = Present {
        main: Vec::new(),
        table: routes(&[
            UNREACHABLE,
            "::/1 dev br-wan table 1 proto 55 metric 256",
            "2000::/3 via fe80::1 dev br-wan table 1 proto 54 metric 1024",
        ]),
        ..present
    };
    assert_eq!(changes(&after), [""; 0]);
    let back = nothing(&after).returned;
    assert_eq!(back.len(), 2);
    assert!(
        back.iter()
            .all(|route| route.table == MAIN && !route.is_ours())
    );
    // A copy of an own network is one only as long as its original stands.
    let copy = Present {
        table: routes(&[UNREACHABLE, "::/1 dev br-wan table 1 proto 54 metric 256"]),
        ..after
    };
    assert_eq!(
        changes(&copy),
        ["remove IPv6 route ::/1 dev br-wan table 1 metric 256"]
    );
}

/// netifd's, for main, and ours.
fn with_rules(foreign: &[Rule]) -> Present {
    let main = Rule {
        protocol: 2,
        priority: 32766,
        mark: None,
        table: MAIN,
        ..lookup()
    };
    let mut present = present(&[], &[UNREACHABLE]);
    present.rules.push(main);
    present.rules.extend_from_slice(foreign);
    present.rules.sort_by_key(|rule| rule.priority);
    present
}

fn catch_all(priority: u32, table: u32) -> Rule {
    let mut rule = Rule {
        protocol: 0,
        priority,
        mark: None,
        table,
        ..lookup()
    };
    put(&mut rule.others.attributes, fra::IIFNAME, b"lo\0");
    rule
}

fn stop(priority: u32) -> Rule {
    let mut rule = Rule {
        priority,
        ..guard()
    };
    rule.others.inverted = true;
    rule
}

#[test]
fn what_has_no_mark_ends_before_anothers_catch_all() {
    let words =
        |priority: u32| format!("add IPv6 rule not fwmark 0x1/0x1 unreachable priority {priority}");
    let of = |rules: &[Rule]| changes(&with_rules(rules));
    assert_eq!(of(&[]), [""; 0]);
    assert_eq!(of(&[catch_all(90005, 1)]), [words(32767)]);
    assert_eq!(
        of(&[catch_all(90003, 1), catch_all(90005, 1)]),
        [words(32767)]
    );
    assert_eq!(of(&[catch_all(32767, 1)]), [words(32766)]);
    // What is not the WAN's is nobody's business, and keeps its place.
    assert_eq!(of(&[catch_all(40000, 42)]), [""; 0]);
    assert_eq!(
        of(&[catch_all(40000, 42), catch_all(90005, 1)]),
        [words(40001)]
    );
    assert_eq!(
        of(&[catch_all(90004, 42), catch_all(90005, 1)]),
        [words(90004)]
    );
    // Made for some packets only.
    let mut marked = catch_all(90005, 1);
    marked.mark = Some(Mark { value: 2, mask: 2 });
    let mut from = catch_all(90005, 1);
    from.others.prefix_lens = (0, 64);
    let addr = "2001:db8::".parse().unwrap();
    put_ip(&mut from.others.attributes, fra::SRC, addr);
    assert_eq!(of(&[marked, from]), [""; 0]);
    // Before main, netifd's stay as they are.
    assert_eq!(of(&[catch_all(20000, 1)]), [""; 0]);
}

#[test]
fn others_tables_are_looked_into() {
    let mut present = with_rules(&[catch_all(40000, 42)]);
    present.elsewhere = routes(&["::/0 via fe80::1 dev br-wan table 43"]);
    assert_eq!(changes(&present), [""; 0]);
    present.elsewhere = routes(&["::/0 via fe80::1 dev br-wan table 42"]);
    assert_eq!(changes(&present).len(), 1);
}

#[test]
fn the_stop_stays_while_it_is_needed_and_behind_main() {
    let mut present = with_rules(&[catch_all(90005, 1), stop(32767)]);
    assert_eq!(changes(&present), [""; 0]);
    present.rules.retain(|rule| rule.priority != 90005);
    assert_eq!(
        changes(&present),
        ["remove IPv6 rule not fwmark 0x1/0x1 unreachable priority 32767"]
    );
    // Somebody made main's rule anew: ours, of the same priority, would keep
    // everything from the mesh, so it is taken away, and made again.
    let mut present = with_rules(&[catch_all(32767, 1), stop(32766)]);
    assert_eq!(changes(&present), [""; 0]);
    let main = present.rules.iter().position(|rule| rule.table == MAIN);
    present.rules.swap(main.unwrap(), main.unwrap() + 1);
    assert_eq!(
        changes(&present),
        ["remove IPv6 rule not fwmark 0x1/0x1 unreachable priority 32766"]
    );
    assert!(wanted(&config(), &present).more);
}
