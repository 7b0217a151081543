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
    for (to, packet) in destinations(devices, servers) {
        if !Family::of(packet.to).is_in(routing) {
            continue;
        }
        for (mark, uid) in [(routing.mark.value, resolver.unwrap_or(root)), (0, root)] {
            let packet = Packet {
                mark,
                uid,
                ..packet.clone()
            };
            asked.push(ask(&mut ways, to.clone(), packet));
        }
    }
    // When IPv6 finds no way for an unbound socket, the kernel picks a source address
    // by itself, often one of the WAN's, and tries again with that
    // (ip6_dst_lookup_tail of net/ipv6/ip6_output.c): rules for that address count.
    let source = globals(devices).find(|addr| addr.is_ipv6() && routing.ipv6);
    if source.is_some() {
        let packet = Packet {
            source,
            uid: root,
            ..packet(FAR[0])
        };
        asked.push(ask(&mut ways, Whereto::Far, packet));
    }
    Ok(asked)
}

fn ask(ways: &mut Ways, to: Whereto, packet: Packet) -> AskedWay {
    let way = ways.of(&packet).map_err(|refused| refused.to_string());
    AskedWay { to, packet, way }
}

fn destinations(devices: &[Device], servers: &[Server]) -> Vec<(Whereto, Packet)> {
    let mut all = Vec::new();
    for server in servers {
        let device = match &server.device {
            Some(name) => if_nametoindex(name.as_str()).unwrap_or(0),
            None => 0,
        };
        // Without its device there is no way to ask for.
        if server.device.is_none() || device != 0 {
            let packet = Packet {
                device,
                port: Some(server.port),
                ..packet(server.addr)
            };
            all.push((Whereto::Server(server.to_string()), packet));
        }
    }
    for addr in FAR {
        all.push((Whereto::Far, packet(addr)));
    }
    let here = [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
    for addr in here.into_iter().chain(globals(devices)) {
        all.push((Whereto::Here, packet(addr)));
    }
    all
}

/// The WAN's addresses that are good for more than the link.
fn globals(devices: &[Device]) -> impl Iterator<Item = IpAddr> {
    let links = devices.iter().filter_map(|device| device.link.as_ref());
    links.flat_map(|link| link.global.iter().copied())
}

/// A packet to `to`, of which nothing else is known.
fn packet(to: IpAddr) -> Packet {
    Packet {
        to,
        device: 0,
        mark: 0,
        port: None,
        source: None,
        uid: 0,
    }
}
