//! DNS flows from before the table.
//!
//! The nat chain sees the first packet of a flow only: what conntrack already
//! knows goes where it went. A look-up that began before the table was there is
//! asked again from the same socket for some seconds, and each packet keeps its
//! entry alive. So once the table has been written, the entries of such flows
//! are deleted, and their next packet is a first one again.

use std::io;
use std::net::{IpAddr, UdpSocket};

use nftnl::nftnl_sys::libc;

use super::attrs::{Attrs, put};
use super::netlink::Netlink;

const DNS_PORT: u16 = 53;
/// Conntrack's messages (linux/netfilter/nfnetlink_conntrack.h).
const SUBSYSTEM: u16 = (libc::NFNL_SUBSYS_CTNETLINK as u16) << 8;
const GET: u16 = SUBSYSTEM | 1;
const DELETE: u16 = SUBSYSTEM | 2;
const GET_STATS: u16 = SUBSYSTEM | 5;

/// The attributes of an entry, numbers in network order.
mod attr {
    pub const STATS_ENTRIES: u16 = 1;
    pub const TUPLE_ORIG: u16 = 1;
    pub const TUPLE_REPLY: u16 = 2;
    pub const ID: u16 = 12;
    pub const ZONE: u16 = 18;
    pub const TUPLE_IP: u16 = 1;
    pub const TUPLE_PROTO: u16 = 2;
    pub const IP_V4_SRC: u16 = 1;
    pub const IP_V6_SRC: u16 = 3;
    pub const PROTO_SRC_PORT: u16 = 2;
    pub const PROTO_DST_PORT: u16 = 3;
}

/// Deletes the conntrack entries of DNS flows that were made here and are not
/// redirected.
///
/// Conntrack knows no group, so those of other groups go as well: their next
/// packet makes a new entry. Forwarded flows stay as they are.
///
/// # Errors
/// A kernel without conntrack's netlink (kmod-nf-conntrack-netlink).
pub fn forget(netlink: &mut Netlink) -> io::Result<()> {
    let any = libc::NFPROTO_UNSPEC as u8;
    // Going through the table takes a millisecond even when it is empty.
    let mut entries = 0;
    netlink.request(GET_STATS, any, false, &[], |message| {
        entries = message.attrs.u32(attr::STATS_ENTRIES).unwrap_or(1);
    })?;
    if entries == 0 {
        return Ok(());
    }
    let mut stale = Vec::new();
    netlink.request(GET, any, true, &[], |message| {
        if is_stale(message.attrs) {
            stale.push((message.family, key(message.attrs)));
        }
    })?;
    for (family, key) in stale {
        match netlink.request(DELETE, family, false, &key, |_| {}) {
            // It ended by itself.
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => {}
            result => result?,
        }
    }
    Ok(())
}

/// To port 53, answered from port 53, sent from here.
fn is_stale(entry: Attrs) -> bool {
    let port = |tuple, end| -> Option<u16> {
        let port = entry.nest(tuple).nest(attr::TUPLE_PROTO).get(end)?;
        Some(u16::from_be_bytes(port.try_into().ok()?))
    };
    port(attr::TUPLE_ORIG, attr::PROTO_DST_PORT) == Some(DNS_PORT)
        && port(attr::TUPLE_REPLY, attr::PROTO_SRC_PORT) == Some(DNS_PORT)
        && source(entry).is_some_and(is_local)
}

fn source(entry: Attrs) -> Option<IpAddr> {
    let ip = entry.nest(attr::TUPLE_ORIG).nest(attr::TUPLE_IP);
    let v4 = ip
        .get(attr::IP_V4_SRC)
        .and_then(|bytes| <[u8; 4]>::try_from(bytes).ok());
    let v6 = ip
        .get(attr::IP_V6_SRC)
        .and_then(|bytes| <[u8; 16]>::try_from(bytes).ok());
    v4.map(IpAddr::from).or(v6.map(IpAddr::from))
}

/// Only an address of this host can be bound to. A link-local one could not
/// without its device; who sends from it asks a server on the link.
fn is_local(address: IpAddr) -> bool {
    UdpSocket::bind((address, 0)).is_ok()
}

/// What names one entry: its first direction, its zone and its id.
fn key(entry: Attrs) -> Vec<u8> {
    let mut key = Vec::new();
    let nested = libc::NLA_F_NESTED as u16;
    for (kind, flag) in [(attr::TUPLE_ORIG, nested), (attr::ZONE, 0), (attr::ID, 0)] {
        if let Some(value) = entry.get(kind) {
            put(&mut key, kind | flag, value);
        }
    }
    key
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nest(bytes: &mut Vec<u8>, kind: u16, fill: impl FnOnce(&mut Vec<u8>)) {
        let mut inner = Vec::new();
        fill(&mut inner);
        put(bytes, kind | libc::NLA_F_NESTED as u16, &inner);
    }

    /// An entry from `source` to port `to`, answered from port `from`.
    fn entry(source: [u8; 4], to: u16, from: u16) -> Vec<u8> {
        let mut bytes = Vec::new();
        nest(&mut bytes, attr::TUPLE_ORIG, |tuple| {
            nest(tuple, attr::TUPLE_IP, |ip| {
                put(ip, attr::IP_V4_SRC, &source)
            });
            nest(tuple, attr::TUPLE_PROTO, |proto| {
                put(proto, attr::PROTO_DST_PORT, &to.to_be_bytes());
            });
        });
        nest(&mut bytes, attr::TUPLE_REPLY, |tuple| {
            nest(tuple, attr::TUPLE_PROTO, |proto| {
                put(proto, attr::PROTO_SRC_PORT, &from.to_be_bytes());
            });
        });
        put(&mut bytes, attr::ID, &[1, 2, 3, 4]);
        bytes
    }

    #[test]
    fn dns_of_ours_that_is_not_redirected_is_stale() {
        let here = [127, 0, 0, 1];
        for (source, to, from, stale) in [
            (here, 53, 53, true),
            // Redirected; no DNS; forwarded for somebody else.
            (here, 53, 54, false),
            (here, 80, 80, false),
            ([192, 0, 2, 1], 53, 53, false),
        ] {
            let bytes = entry(source, to, from);
            assert_eq!(is_stale(Attrs(&bytes)), stale, "{source:?} {to} {from}");
        }
        assert!(!is_stale(Attrs(&[])));
    }

    #[test]
    fn an_entry_is_named_by_its_first_direction_and_id() {
        let bytes = entry([127, 0, 0, 1], 53, 53);
        let key = key(Attrs(&bytes));
        let kinds: Vec<u16> = Attrs(&key).map(|attr| attr.0).collect();
        assert_eq!(kinds, [attr::TUPLE_ORIG, attr::ID]);
        let orig = attr::TUPLE_ORIG;
        assert_eq!(Attrs(&key).get(orig), Attrs(&bytes).get(orig));
    }
}
