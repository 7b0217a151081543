//! What the kernel knows of devices and of netifd's routes.

use nix::net::if_::{if_indextoname, if_nametoindex};
use rtnetlink::packet_route::AddressFamily;
use rtnetlink::packet_route::route::{RouteHeader, RouteProtocol, RouteType};

use crate::netlink::route::{ROUTE_HEADER, number, put_number, request, rta};
use crate::netlink::{Bus, Netlink, Refused, attributes};

/// The number and the true name of the device that has this name or alternative
/// name, none where there is none.
pub fn link(name: &str) -> Option<(u32, String)> {
    let index = if_nametoindex(name).ok()?;
    Some((index, name_of(index)?))
}

fn name_of(index: u32) -> Option<String> {
    if_indextoname(index).ok()?.into_string().ok()
}

/// The devices that netifd's default routes in the table lead through: with
/// `ip6table` or `ip4table`, it puts those of an uplink there itself.
///
/// # Errors
/// The kernel's.
pub fn uplinks(table: u32) -> Result<Vec<String>, Refused> {
    let mut netlink = Netlink::open(Bus::Route)?;
    let mut names = Vec::new();
    for family in [AddressFamily::Inet, AddressFamily::Inet6] {
        let all = netifds_routes(family, table);
        let dumped = netlink.dump(libc::RTM_GETROUTE, &all, |body, kept| {
            // Kernels before 4.20 do not filter.
            kept.extend(uplink(body, family, table));
        });
        let devices: Vec<u32> = match dumped {
            // The table never had a route.
            Err(refused) if refused.is(libc::ENOENT) => continue,
            dumped => dumped?,
        };
        names.extend(devices.into_iter().filter_map(name_of));
    }
    Ok(names)
}

fn netifds_routes(family: AddressFamily, table: u32) -> Vec<u8> {
    let small = u8::try_from(table).ok();
    let mut body = request(&RouteHeader {
        address_family: family,
        table: small.unwrap_or(0),
        protocol: RouteProtocol::Static,
        kind: RouteType::Unicast,
        ..RouteHeader::default()
    });
    if small.is_none() {
        put_number(&mut body, rta::TABLE, table);
    }
    body
}

/// The device of a default route of netifd's in the table.
fn uplink(body: &[u8], family: AddressFamily, table: u32) -> Option<u32> {
    let header = RouteHeader::parse(body).ok()?;
    let attrs = attributes(body, ROUTE_HEADER);
    let of_table = attrs.get(rta::TABLE).and_then(number);
    let is_netifds_default = header.address_family == family
        && header.destination_prefix_length == 0
        && header.protocol == RouteProtocol::Static
        && header.kind == RouteType::Unicast
        && of_table.unwrap_or(header.table.into()) == table;
    let device = attrs.get(rta::OIF).and_then(number);
    device.filter(|_| is_netifds_default)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_netifds_default_routes_of_the_table_show_an_uplink() {
        let family = AddressFamily::Inet6;
        let header = || RouteHeader {
            address_family: family,
            table: 1,
            protocol: RouteProtocol::Static,
            kind: RouteType::Unicast,
            ..RouteHeader::default()
        };
        let of = |header: &RouteHeader| {
            let mut body = request(header);
            put_number(&mut body, rta::OIF, 7);
            body
        };
        assert_eq!(uplink(&of(&header()), family, 1), Some(7));
        let changes: [fn(&mut RouteHeader); 5] = [
            |header| header.protocol = RouteProtocol::Ra,
            |header| header.destination_prefix_length = 64,
            |header| header.kind = RouteType::Unreachable,
            |header| header.table = 2,
            |header| header.address_family = AddressFamily::Inet,
        ];
        for change in changes {
            let mut other = header();
            change(&mut other);
            assert_eq!(uplink(&of(&other), family, 1), None, "{other:?}");
        }
        let mut large = of(&header());
        put_number(&mut large, rta::TABLE, 1000);
        assert_eq!(uplink(&large, family, 1), None);
        assert_eq!(uplink(&large, family, 1000), Some(7));
        assert_eq!(uplink(&[0; 11], family, 1), None);
    }
}
