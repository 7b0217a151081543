//! What the documentation promises of every configuration that is accepted.

use gluon_wan::config::{Config, Group, is_device_name};
use std::net::{Ipv4Addr, Ipv6Addr};

/// Every value is within its documented range.
pub fn in_range(config: &Config) {
    let Config {
        redirect,
        routing,
        resolver,
        static_servers,
    } = config;
    assert!((1..=50).contains(&redirect.groups.len()));
    assert!(redirect.groups.iter().all(|group| match group {
        Group::Id(id) => (1..u32::MAX).contains(id),
        Group::Name(name) => is_account(name),
    }));
    assert!(routing.devices.len() <= 50);
    assert!(routing.devices.iter().all(|name| is_device_name(name)));
    assert!(routing.ipv4 || routing.ipv6);
    assert!(routing.mark.value != 0 && routing.mark.value & !routing.mark.mask == 0);
    assert!(![0, 253, 254, 255].contains(&routing.table));
    assert!((1..=32765).contains(&routing.priority));
    assert!((1..=2).contains(&resolver.listen.len()));
    assert!(
        resolver
            .listen
            .iter()
            .all(|addr| *addr == Ipv4Addr::LOCALHOST || *addr == Ipv6Addr::LOCALHOST)
    );
    assert_ne!(resolver.port, 0);
    assert!((1..=4096).contains(&resolver.max_inflight));
    assert!(is_account(&resolver.user));
    for path in redirect.include.iter().chain([&resolver.resolv_file]) {
        assert!(path.is_absolute() && path.file_name().is_some());
        assert!(path.as_os_str().len() <= 240);
    }
    assert!(static_servers.len() <= 50);
    for server in static_servers {
        assert!(server.port != 0 && !server.addr.is_unspecified() && !server.addr.is_multicast());
    }
}

fn is_account(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|b| b.is_ascii_graphic())
}
