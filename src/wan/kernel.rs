//! What the kernel knows of devices and of netifd's routes.

use nix::net::if_::{if_indextoname, if_nametoindex};
use rtnetlink::packet_core::{Emitable, Parseable};
use rtnetlink::packet_route::AddressFamily;
use rtnetlink::packet_route::route::{
    RouteAttribute, RouteHeader, RouteMessage, RouteProtocol, RouteType,
};

use crate::netlink::{Bus, Netlink, Refused};

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
        let request = request(family, table);
        let dumped = netlink.dump(libc::RTM_GETROUTE, &request, |message, kept| {
            // Kernels before 4.20 do not filter.
            let message = RouteMessage::parse(message).ok();
            kept.extend(message.and_then(|message| uplink(&message, family, table)));
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

fn request(family: AddressFamily, table: u32) -> Vec<u8> {
    let mut message = RouteMessage::default();
    message.header = RouteHeader {
        address_family: family,
        protocol: RouteProtocol::Static,
        kind: RouteType::Unicast,
        ..RouteHeader::default()
    };
    match u8::try_from(table) {
        Ok(table) => message.header.table = table,
        Err(_) => message.attributes.push(RouteAttribute::Table(table)),
    }
    let mut bytes = vec![0; message.buffer_len()];
    message.emit(&mut bytes);
    bytes
}

/// The device of a default route of netifd's in the table.
fn uplink(message: &RouteMessage, family: AddressFamily, table: u32) -> Option<u32> {
    let RouteMessage {
        header, attributes, ..
    } = message;
    let mut of_table = u32::from(header.table);
    let mut device = None;
    for attribute in attributes {
        match attribute {
            RouteAttribute::Table(table) => of_table = *table,
            RouteAttribute::Oif(index) => device = Some(*index),
            _ => {}
        }
    }
    let is_netifds_default = header.address_family == family
        && header.destination_prefix_length == 0
        && header.protocol == RouteProtocol::Static
        && header.kind == RouteType::Unicast
        && of_table == table;
    device.filter(|_| is_netifds_default)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_netifds_default_routes_of_the_table_show_an_uplink() {
        let family = AddressFamily::Inet6;
        let with = |change: fn(&mut RouteMessage)| {
            let mut message = RouteMessage::default();
            message.header = RouteHeader {
                address_family: family,
                table: 1,
                protocol: RouteProtocol::Static,
                kind: RouteType::Unicast,
                ..RouteHeader::default()
            };
            message.attributes = vec![RouteAttribute::Oif(7)];
            change(&mut message);
            uplink(&message, family, 1)
        };
        assert_eq!(with(|_| ()), Some(7));
        assert_eq!(
            with(|route| route.header.protocol = RouteProtocol::Ra),
            None
        );
        assert_eq!(
            with(|route| route.header.destination_prefix_length = 64),
            None
        );
        assert_eq!(
            with(|route| route.header.kind = RouteType::Unreachable),
            None
        );
        assert_eq!(
            with(|route| route.attributes.push(RouteAttribute::Table(2))),
            None
        );
        assert_eq!(
            with(|route| route.header.address_family = AddressFamily::Inet),
            None
        );
    }
}
