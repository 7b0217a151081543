//! Which routes of the WAN stand in its table, and in which order.

use super::*;

fn metrics(main: &[&str], table: &[&str]) -> Vec<(String, u32)> {
    let wanted = wanted(&config(), &present(main, table));
    let ways = wanted.routes.iter().filter(|route| route.device != 0);
    ways.map(|route| (route.gateway.unwrap().to_string(), route.metric))
        .collect()
}

fn expected(list: &[(&str, u32)]) -> Vec<(String, u32)> {
    let owned = |&(router, metric): &(&str, u32)| (router.to_owned(), metric);
    list.iter().map(owned).collect()
}

#[test]
fn the_preferred_router_comes_first() {
    let mut present = present(
        &[
            "::/0 via fe80::1 dev br-wan proto 9 metric 1024 expires 9",
            "::/0 via fe80::2 dev br-wan proto 9 metric 1024 expires 9",
            "::/0 via fe80::3 dev br-wan proto 9 metric 1024 expires 9",
        ],
        &[],
    );
    // Low, high, medium, as RFC 4191 writes them.
    for (route, preference) in present.main.iter_mut().zip([3, 1, 0]) {
        route.preference = Some(preference);
    }
    let wanted = wanted(&config(), &present);
    let order: Vec<_> = (wanted.routes.iter())
        .filter_map(|route| Some((route.gateway?.to_string(), route.metric)))
        .collect();
    assert_eq!(
        order,
        expected(&[("fe80::2", 1024), ("fe80::3", 1025), ("fe80::1", 1026)])
    );
}

#[test]
fn metrics_behind_the_unreachable_route_keep_their_order() {
    assert_eq!(
        metrics(
            &[
                "::/0 via fe80::1 dev br-wan metric 70000",
                "::/0 via fe80::2 dev br-wan metric 100000",
                "::/0 via fe80::3 dev wwan0 metric 4294967295",
                "::/0 via fe80::4 dev br-wan metric 65533",
            ],
            &["::/0 via fe80::9 dev bat0 table 1 metric 65534"],
        ),
        expected(&[
            ("fe80::4", 65530),
            ("fe80::1", 65531),
            ("fe80::2", 65532),
            ("fe80::3", 65533),
        ])
    );
}

#[test]
fn routes_that_do_not_compete_keep_their_metric() {
    assert_eq!(
        metrics(
            &[
                "::/0 via fe80::1 dev br-wan metric 512",
                "::/0 from 2001:db8::/64 via fe80::1 dev br-wan metric 512",
                "2000::/3 via fe80::1 dev br-wan metric 512",
            ],
            &[],
        ),
        expected(&[("fe80::1", 512), ("fe80::1", 512), ("fe80::1", 512)])
    );
}

const FROM: &str = "::/0 from 2001:db8::/64 via fe80::1 dev br-wan metric 512";

#[test]
fn a_socket_without_an_address_gets_one_of_the_wans() {
    let for_all = |present: &Present| {
        let wanted = wanted(&config(), present);
        let mut found = wanted
            .routes
            .into_iter()
            .filter(|route| route.is_default() && route.device != 0 && route.source.is_none());
        let one = found.next();
        assert_eq!(found.next(), None);
        one
    };
    let mut fresh = present(&[FROM], &[UNREACHABLE]);
    let route = for_all(&fresh).unwrap();
    assert_eq!(route.prefsrc, Some("2001:db8::2".parse().unwrap()));
    assert_eq!((route.protocol, route.metric, route.table), (55, 512, 1));
    // Nobody's but its own: it neither stands by itself nor goes to main.
    let mut alone = present(&[], &[UNREACHABLE]);
    alone.table.push(route);
    assert_eq!(
        changes(&alone),
        ["remove IPv6 route default via fe80::1 dev br-wan table 1 metric 512"]
    );
    assert_eq!(nothing(&alone).returned, []);
    // An address that new packets may not carry is none.
    fresh.addresses[1].preferred = false;
    assert_eq!(for_all(&fresh), None);
    // A delegated prefix has its address elsewhere.
    fresh.addresses[1].preferred = true;
    fresh.addresses[1].device = 4;
    assert!(for_all(&fresh).is_some());
    // netifd's own, in the table.
    let netifds = format!("{FROM} table 1");
    assert!(for_all(&present(&[], &[UNREACHABLE, &netifds])).is_some());
    // With one for all sources there is nothing to do.
    let all = "::/0 via fe80::1 dev br-wan table 1 metric 512";
    assert_eq!(for_all(&present(&[FROM], &[UNREACHABLE, all])), None);
}

#[test]
fn of_two_addresses_the_one_in_use_stays() {
    let other = "::/0 from 2001:db8:66::/64 via fe80::1 dev br-wan metric 512";
    let source = |present: &Present| {
        let routes = wanted(&config(), present).routes.into_iter();
        let mut for_all = routes.filter(|one| one.is_default() && one.source.is_none());
        for_all.find_map(|one| one.prefsrc).unwrap()
    };
    for (in_use, fresh) in [(FROM, other), (other, FROM)] {
        // Whichever is advertised again, and so in main again.
        for main in [
            vec![FROM, other],
            vec![other, FROM],
            vec![fresh],
            vec![in_use],
        ] {
            let copies: Vec<String> = [FROM, other]
                .iter()
                .map(|one| format!("{one} table 1 proto 54"))
                .collect();
            let addr = if in_use == FROM {
                "2001:db8::2"
            } else {
                "2001:db8:66::2"
            };
            let follows =
                format!("::/0 via fe80::1 dev br-wan src {addr} table 1 proto 55 metric 512");
            let table = [UNREACHABLE, &copies[0], &copies[1], &follows];
            let mut present = present(&main, &table);
            present.addresses.push(address("2001:db8:66::2/64"));
            assert_eq!(source(&present).to_string(), addr, "{main:?}");
        }
    }
}

#[test]
fn renumbering_leaves_nothing_behind() {
    let old = "::/0 from 2001:db8:66::/64 via fe80::1 dev br-wan table 1 proto 54 metric 512";
    let here = "::/0 from 2001:db8::/64 via fe80::1 dev br-wan table 1 proto 54 metric 512";
    let stays = |present: &Present| {
        let wanted = wanted(&config(), present);
        wanted
            .routes
            .iter()
            .any(|one| one.path() == route(old).path())
    };
    // The address comes before the route; while there is nothing newer it may
    // have been configured so.
    assert!(stays(&present(&[], &[old])));
    assert!(!stays(&present(&[FROM], &[old])));
    assert!(!stays(&present(&[], &[old, here])));
    // Who had the address knows better.
    let mut before = present(&[], &[old]);
    before.before = vec![address("2001:db8:66::2/64")];
    assert!(!stays(&before));
    before.addresses.push(address("2001:db8:66::3/64"));
    assert!(stays(&before));
    // A delegated prefix has no address yet.
    let delegated = "::/0 from 2001:db8:66::/56 via fe80::1 dev br-wan table 1 proto 54 metric 512";
    let wanted = wanted(&config(), &present(&[FROM], &[delegated]));
    assert!(
        wanted
            .routes
            .iter()
            .any(|one| one.path() == route(delegated).path())
    );
}

#[test]
fn a_route_ends_with_the_addresses_of_its_device() {
    let ours = "::/0 via fe80::1 dev br-wan table 1 proto 54 metric 512";
    let ends = |present: &Present| changes(present).iter().any(|one| one.starts_with("remove"));
    let mut left = present(&[], &[UNREACHABLE, ours]);
    left.addresses.retain(|one| !one.is_configured());
    // One that never had any may be used without.
    assert!(!ends(&left));
    left.before = vec![address("2001:db8::2/64")];
    assert!(ends(&left));
    // Another one came in time.
    left.addresses.push(address("2001:db8:9::2/64"));
    assert!(!ends(&left));
    // Without a memory, the copy of the network tells.
    left.addresses.pop();
    left.before.clear();
    left.table.push(route(
        "2001:db8::/64 dev br-wan table 1 proto 54 metric 256",
    ));
    assert_eq!(changes(&left).len(), 2, "{:?}", changes(&left));
    // What the kernel made has a lifetime of its own.
    left.table[1].expires = Some(9);
    assert_eq!(changes(&left).len(), 1);
}

#[test]
fn a_flood_of_routes_is_bounded() {
    let many: Vec<String> = (0..5000)
        .map(|number| format!("2001:db8:{number:x}::/48 via fe80::1 dev br-wan metric 1024"))
        .chain(["::/0 via fe80::1 dev br-wan metric 1024".into()])
        .collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    let flood = present(&many, &[UNREACHABLE]);
    let wanted = wanted(&config(), &flood);
    // All leave main, and the default route is among those that are kept.
    assert_eq!(wanted.misplaced.len(), 5001);
    assert_eq!(wanted.routes.len(), 1 + 4096, "with the unreachable one");
    assert!(
        wanted
            .routes
            .iter()
            .any(|route| route.is_default() && route.device != 0)
    );
    assert!(matches!(
        wanted.obstacles[..],
        [Obstacle::TooMany { limit: 4096, .. }]
    ));
}

#[test]
fn what_goes_with_its_address_is_left_to_the_kernel() {
    // Read before the address went, or remembered from before.
    let route = "0.0.0.0/0 via 192.0.2.1 dev br-wan src 192.0.2.9";
    let network = "192.0.2.0/24 dev br-wan src 192.0.2.9";
    let copy = "0.0.0.0/0 via 192.0.2.1 dev br-wan src 192.0.2.9 table 1 proto 54";
    let routing = Routing {
        ipv4: true,
        ..config()
    };
    let ipv4 = |present: &Present| {
        let mut changes = changes_with(&routing, present);
        changes.retain(|change| change.contains("dev br-wan"));
        changes
    };
    let mut going = present(&[route, network], &[]);
    going.moved = routes(&[copy]);
    assert_eq!(ipv4(&going), [""; 0]);
    going.addresses.push(address("192.0.2.9/24"));
    assert_eq!(ipv4(&going).len(), 2);
    // A network of an address that has just gone is no route to move.
    let mut gone = present(&["203.0.113.0/24 dev br-wan"], &[]);
    gone.before = vec![address("203.0.113.5/24")];
    assert_eq!(wanted(&routing, &gone).misplaced, []);
}
