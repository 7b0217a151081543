//! What rtnetlink's messages carry (linux/rtnetlink.h, linux/fib_rules.h): pure.
//!
//! Their headers are rtnetlink's types. Attributes are read one by one, by who
//! wants them, and what nobody here looks at stays bytes: as values they would be
//! forty kilobytes of program.

use std::net::IpAddr;

use rtnetlink::packet_core::Emitable;
use rtnetlink::packet_route::AddressFamily;

use super::attributes::{Attrs, attributes, put};

/// Length of struct rtmsg.
pub const ROUTE_HEADER: usize = 12;
/// Length of struct fib_rule_hdr.
pub const RULE_HEADER: usize = 12;
/// Length of struct ifinfomsg.
pub const LINK_HEADER: usize = 16;
/// Length of struct rtnexthop.
const HOP_HEADER: usize = 8;
/// Length of the family before the address in struct rtvia.
const VIA_FAMILY: usize = 2;

/// RTA_*, in host order. musl's libc has only the older ones.
pub mod rta {
    pub use libc::{
        RTA_CACHEINFO as CACHEINFO, RTA_DST as DST, RTA_GATEWAY as GATEWAY, RTA_MARK as MARK,
        RTA_METRICS as METRICS, RTA_MULTIPATH as MULTIPATH, RTA_OIF as OIF, RTA_PREFSRC as PREFSRC,
        RTA_PRIORITY as PRIORITY, RTA_SRC as SRC, RTA_TABLE as TABLE,
    };
    /// A router of the other family (RFC 8950).
    pub const VIA: u16 = 18;
    /// RFC 4191.
    pub const PREF: u16 = 20;
    /// How packets are wrapped.
    pub const ENCAP_TYPE: u16 = 21;
    /// And in what.
    pub const ENCAP: u16 = 22;
    /// Seconds, in a request.
    pub const EXPIRES: u16 = 23;
    /// Whose socket sends.
    pub const UID: u16 = 25;
    /// The protocol above IP.
    pub const IP_PROTO: u16 = 27;
    /// Its destination port, in network order.
    pub const DPORT: u16 = 29;
    /// The number of a nexthop object.
    pub const NH_ID: u16 = 30;
}

/// FRA_* of linux/fib_rules.h, in host order unless said.
pub mod fra {
    /// The network of the destination; its length is in the header.
    pub const DST: u16 = 1;
    /// And of the source.
    pub const SRC: u16 = 2;
    /// The device that it comes from.
    pub const IIFNAME: u16 = 3;
    /// The priority to go on with.
    pub const GOTO: u16 = 4;
    /// The rule's own.
    pub const PRIORITY: u16 = 6;
    /// The mark.
    pub const FWMARK: u16 = 10;
    /// The number of a tunnel, in network order.
    pub const TUN_ID: u16 = 12;
    /// Routes with shorter prefixes do not count.
    pub const SUPPRESS_PREFIXLEN: u16 = 14;
    /// Where it looks.
    pub const TABLE: u16 = 15;
    /// Which bits of the mark count.
    pub const FWMASK: u16 = 16;
    /// The device that its socket is bound to.
    pub const OIFNAME: u16 = 17;
    /// Whose socket sends, from and to.
    pub const UID_RANGE: u16 = 20;
    /// RTPROT_*: who made it.
    pub const PROTOCOL: u16 = 21;
    /// The protocol above IP.
    pub const IP_PROTO: u16 = 22;
    /// Its source port, from and to.
    pub const SPORT_RANGE: u16 = 23;
    /// Its destination port, from and to.
    pub const DPORT_RANGE: u16 = 24;
}

/// A request that begins with this header.
#[must_use]
pub fn request(header: &dyn Emitable) -> Vec<u8> {
    let mut body = vec![0; header.buffer_len()];
    header.emit(&mut body);
    body
}

/// Appends an attribute that is a number.
pub fn put_number(body: &mut Vec<u8>, kind: u16, number: u32) {
    put(body, kind, &number.to_ne_bytes());
}

/// Appends an attribute that is an address.
pub fn put_ip(body: &mut Vec<u8>, kind: u16, addr: IpAddr) {
    match addr {
        IpAddr::V4(addr) => put(body, kind, &addr.octets()),
        IpAddr::V6(addr) => put(body, kind, &addr.octets()),
    }
}

/// Appends the router of a route of this family.
pub fn put_gateway(body: &mut Vec<u8>, family: AddressFamily, addr: IpAddr) {
    let own = match addr {
        IpAddr::V4(_) => AddressFamily::Inet,
        IpAddr::V6(_) => AddressFamily::Inet6,
    };
    if own == family {
        return put_ip(body, rta::GATEWAY, addr);
    }
    let mut via = u16::from(u8::from(own)).to_ne_bytes().to_vec();
    match addr {
        IpAddr::V4(addr) => via.extend(addr.octets()),
        IpAddr::V6(addr) => via.extend(addr.octets()),
    }
    put(body, rta::VIA, &via);
}

/// A number, or the one that it starts with.
#[must_use]
pub fn number(value: &[u8]) -> Option<u32> {
    value.first_chunk().map(|bytes| u32::from_ne_bytes(*bytes))
}

/// An address of either family.
#[must_use]
pub fn ip(value: &[u8]) -> Option<IpAddr> {
    match value.len() {
        4 => <[u8; 4]>::try_from(value).ok().map(IpAddr::from),
        16 => <[u8; 16]>::try_from(value).ok().map(IpAddr::from),
        _ => None,
    }
}

/// The router of an RTA_VIA.
#[must_use]
pub fn via(value: &[u8]) -> Option<IpAddr> {
    ip(value.get(VIA_FAMILY..)?)
}

/// One next hop of several (struct rtnexthop).
#[derive(Debug, Clone, Copy)]
pub struct Hop<'a> {
    /// RTNH_F_*.
    pub flags: u8,
    /// Index of its device.
    pub device: u32,
    /// What else is said of it.
    pub attrs: Attrs<'a>,
}

/// The next hops of an RTA_MULTIPATH. What is cut off ends them.
#[derive(Debug, Clone, Copy)]
pub struct Hops<'a>(pub &'a [u8]);

impl<'a> Iterator for Hops<'a> {
    type Item = Hop<'a>;

    fn next(&mut self) -> Option<Hop<'a>> {
        let header = self.0.first_chunk::<HOP_HEADER>()?;
        let length = usize::from(u16::from_ne_bytes([header[0], header[1]])).max(HOP_HEADER);
        let hop = self.0.get(..length)?;
        self.0 = self.0.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some(Hop {
            flags: header[2],
            device: number(&header[4..])?,
            attrs: attributes(hop, HOP_HEADER),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_and_routers_are_read_as_they_are_put() {
        let (four, six) = ("192.0.2.1", "2001:db8::1");
        for (addr, family, kind) in [
            (four, AddressFamily::Inet, rta::GATEWAY),
            (six, AddressFamily::Inet6, rta::GATEWAY),
            (six, AddressFamily::Inet, rta::VIA),
            (four, AddressFamily::Inet6, rta::VIA),
        ] {
            let addr: IpAddr = addr.parse().unwrap();
            let mut body = Vec::new();
            put_gateway(&mut body, family, addr);
            let (found, value) = Attrs(&body).next().unwrap();
            assert_eq!(found, kind);
            let read = if kind == rta::VIA { via } else { ip };
            assert_eq!(read(value), Some(addr));
        }
        assert_eq!(
            (ip(&[1, 2, 3]), via(&[2]), number(&[1, 2, 3])),
            (None, None, None)
        );
        assert_eq!(number(&7_u32.to_ne_bytes()), Some(7));
    }

    #[test]
    fn next_hops_end_where_they_are_cut_off() {
        let mut list = Vec::new();
        for device in [7_u32, 8] {
            list.extend(16_u16.to_ne_bytes());
            list.extend([4, 0]);
            list.extend(device.to_ne_bytes());
            put_ip(&mut list, rta::GATEWAY, [192, 0, 2, 1].into());
        }
        let devices = |list: &[u8]| Hops(list).map(|hop| hop.device).collect::<Vec<_>>();
        assert_eq!(devices(&list), [7, 8]);
        let hop = Hops(&list).next().unwrap();
        assert_eq!(hop.flags, 4);
        assert_eq!(hop.attrs.get(rta::GATEWAY), Some(&[192, 0, 2, 1][..]));
        for length in 0..list.len() {
            let whole: &[u32] = if length < 16 { &[] } else { &[7] };
            assert_eq!(devices(&list[..length]), whole, "{length}");
        }
        // Shorter than its own header.
        list[..2].copy_from_slice(&0_u16.to_ne_bytes());
        assert_eq!(devices(&list)[0], 7);
    }
}
