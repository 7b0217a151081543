//! Which ways packets would take, as the kernel says.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use nix::net::if_::if_nametoindex;
use nix::unistd::geteuid;

use crate::config::{Routing, Server};
use crate::log;
use crate::routing::prefix::Family;
use crate::routing::way::{Packet, Ways};
use crate::status::facts::{AskedWay, Device, Seen, Whereto};

/// Far away, in both halves of each address space: servers of the root zone and
/// one that everybody knows. Nothing is sent there.
const FAR: [IpAddr; 4] = [
    IpAddr::V6(Ipv6Addr::new(0x2001, 0x503, 0xba3e, 0, 0, 0, 2, 0x30)),
    IpAddr::V6(Ipv6Addr::new(0x2801, 0x1b8, 0x10, 0, 0, 0, 0, 0xb)),
    IpAddr::V4(Ipv4Addr::new(198, 41, 0, 4)),
    IpAddr::V4(Ipv4Addr::new(9, 9, 9, 9)),
];

/// Asks for the ways, with and without the mark, of the families that are
/// separated: towards each server, somewhere far, and to this node itself.
/// `resolver` is who sends the marked queries, if that is known.
pub fn ways(
    routing: &Routing,
    devices: &[Device],
    servers: &[Server],
    resolver: Option<u32>,
) -> Seen<Vec<AskedWay>> {
    let mut ways = Ways::open().map_err(|error| log::chain(&error))?;
    let mut asked = Vec::new();
    let root = geteuid().as_raw();
    for (to, addr, device, port) in destinations(devices, servers) {
        let managed = match Family::of(addr) {
            Family::Ipv4 => routing.ipv4,
            Family::Ipv6 => routing.ipv6,
        };
        if !managed {
            continue;
        }
        for mark in [routing.mark.value, 0] {
            let packet = Packet {
                to: addr,
                device,
                mark,
                port,
                source: None,
                uid: if mark == 0 {
                    root
                } else {
                    resolver.unwrap_or(root)
                },
            };
            let way = ways.of(&packet).map_err(|refused| refused.to_string());
            let to = to.clone();
            asked.push(AskedWay { to, packet, way });
        }
    }
    if routing.ipv6 {
        asked.extend(second_try(&mut ways, devices, root));
    }
    Ok(asked)
}

/// When IPv6 finds no way for an unbound socket, the kernel picks a source address
/// by itself, often one of the WAN's, and tries again with that
/// (ip6_dst_lookup_tail of net/ipv6/ip6_output.c): rules for that address count.
fn second_try(ways: &mut Ways, devices: &[Device], uid: u32) -> Option<AskedWay> {
    let mut links = devices.iter().filter_map(|device| device.link.as_ref());
    let source = links.find_map(|link| link.global.iter().find(|addr| addr.is_ipv6()))?;
    let packet = Packet {
        to: FAR[0],
        device: 0,
        mark: 0,
        port: None,
        source: Some(*source),
        uid,
    };
    let way = ways.of(&packet).map_err(|refused| refused.to_string());
    let to = Whereto::Far;
    Some(AskedWay { to, packet, way })
}

type Destination = (Whereto, IpAddr, u32, Option<u16>);

fn destinations(devices: &[Device], servers: &[Server]) -> Vec<Destination> {
    let mut all = Vec::new();
    for server in servers {
        // Without its device there is no way to ask for.
        let index = match &server.device {
            Some(name) => if_nametoindex(name.as_str()).unwrap_or(0),
            None => 0,
        };
        if server.device.is_none() || index != 0 {
            let to = Whereto::Server(server.to_string());
            all.push((to, server.addr, index, Some(server.port)));
        }
    }
    all.extend(FAR.map(|addr| (Whereto::Far, addr, 0, None)));
    let here = [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
    let links = devices.iter().filter_map(|device| device.link.as_ref());
    let of_wan = links.flat_map(|link| link.global.iter().copied());
    all.extend(
        here.into_iter()
            .chain(of_wan)
            .map(|addr| (Whereto::Here, addr, 0, None)),
    );
    all
}
