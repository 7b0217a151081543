//! What the nftables rules of others do to the packets that matter here.

use std::net::IpAddr;

use nftnl::nftnl_sys::libc;

use crate::config::{Config, Server};
use crate::routing::prefix::Family;
use crate::ruleset::walk::{Packet, walk};
use crate::ruleset::{self, Ruleset};
use crate::status::facts::{Done, Purpose, Seen};

const UDP: u8 = libc::IPPROTO_UDP as u8;
const TCP: u8 = libc::IPPROTO_TCP as u8;
const LOOPBACK: &str = "lo";
const DNS_PORT: u16 = 53;
/// What anybody sends: HTTPS.
const WEB_PORT: u16 = 443;

/// Leads the look-ups of the first group that exists (`gid`), the queries of the
/// resolver (`uid`) and what everybody sends through the rules of others.
pub fn others(
    config: &Config,
    device: Option<&str>,
    servers: &[Server],
    gid: Option<u32>,
    uid: Option<u32>,
) -> Seen<Vec<Done>> {
    let messages = ruleset::read().map_err(|refused| refused.to_string())?;
    let ruleset = Ruleset::of(&messages);
    let mut done = Vec::new();
    for (purpose, packet) in packets(config, device, servers, gid, uid) {
        for deed in walk(&ruleset, &packet) {
            done.push(Done { purpose, deed });
        }
    }
    Ok(done)
}

fn packets(
    config: &Config,
    device: Option<&str>,
    servers: &[Server],
    gid: Option<u32>,
    uid: Option<u32>,
) -> Vec<(Purpose, Packet)> {
    let mut all = Vec::new();
    // libc asks the primary resolver of this node.
    for (tcp, protocol) in [(true, TCP), (false, UDP)] {
        if gid.is_some() {
            let lookup = Packet {
                destination: Some(vec![127, 0, 0, 1]),
                device: Some(LOOPBACK.into()),
                gid,
                ..packet(Family::Ipv4, protocol, DNS_PORT)
            };
            all.push((Purpose::Lookup { tcp }, lookup));
        }
    }
    for family in Family::ALL {
        let separated = family.is_in(&config.routing);
        let server = servers.iter().find(|one| Family::of(one.addr) == family);
        // Whoever asks nobody in IPv4 does not care what becomes of it there.
        if server.is_some() || separated {
            let query = Packet {
                destination: server.map(|one| octets(one.addr)),
                device: device.map(str::to_owned),
                uid,
                mark: config.routing.mark.value,
                ..packet(family, UDP, server.map_or(DNS_PORT, |one| one.port))
            };
            all.push((Purpose::Query { separated }, query));
        }
        if separated {
            let plain = Packet {
                uid: Some(0),
                gid: Some(0),
                ..packet(family, TCP, WEB_PORT)
            };
            all.push((Purpose::Plain, plain));
        }
    }
    all
}

/// A packet of which nothing else is known.
fn packet(family: Family, protocol: u8, port: u16) -> Packet {
    Packet {
        family: match family {
            Family::Ipv4 => libc::NFPROTO_IPV4 as u8,
            Family::Ipv6 => libc::NFPROTO_IPV6 as u8,
        },
        protocol,
        port,
        destination: None,
        device: None,
        uid: None,
        gid: None,
        mark: 0,
    }
}

fn octets(addr: IpAddr) -> Vec<u8> {
    match addr {
        IpAddr::V4(addr) => addr.octets().into(),
        IpAddr::V6(addr) => addr.octets().into(),
    }
}
