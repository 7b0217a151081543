//! The addresses that this node takes for its own: the kernel's table `local`.

use std::net::IpAddr;

use rtnetlink::packet_route::AddressFamily;
use rtnetlink::packet_route::route::{RouteHeader, RouteType};

use crate::netlink::route::{ROUTE_HEADER, ip, number, request, rta};
use crate::netlink::{Bus, Netlink, Refused, attributes};

/// The table (RT_TABLE_LOCAL of linux/rtnetlink.h).
pub const TABLE: u32 = 255;

/// What the kernel does with an address that it does not send to others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// It is the node's own.
    Own,
    /// It is everybody's on one link.
    Broadcast,
}

/// The table, as it was when it was read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Local(Vec<Entry>);

/// A route of the table.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Entry {
    kind: Kind,
    addr: IpAddr,
    len: u8,
    /// The index of the device.
    device: u32,
}

impl Local {
    /// Reads it. Needs no privilege.
    ///
    /// # Errors
    /// The kernel's.
    pub fn read() -> Result<Self, Refused> {
        let mut netlink = Netlink::open(Bus::Route)?;
        let mut entries = Vec::new();
        for family in [AddressFamily::Inet, AddressFamily::Inet6] {
            let all = request(&RouteHeader {
                address_family: family,
                table: TABLE as u8,
                ..RouteHeader::default()
            });
            let dumped = netlink.dump(libc::RTM_GETROUTE, &all, |body, kept| {
                kept.extend(entry(body, family));
            });
            match dumped {
                Ok(dumped) => entries.extend(dumped),
                // No address of this family, or a kernel without it.
                Err(refused) if refused.is(libc::ENOENT) || refused.is(libc::EOPNOTSUPP) => {}
                Err(refused) => return Err(refused),
            }
        }
        Ok(Self(entries))
    }

    /// Whether the node has no address but loopback ones: then there is no network,
    /// so no mesh either.
    #[must_use]
    pub fn is_alone(&self) -> bool {
        !self.0.is_empty() && self.0.iter().all(|entry| entry.addr.is_loopback())
    }

    /// What the kernel does with an address, none where it asks a route how to
    /// send to it. `device` is the index that a link-local address goes with: the
    /// same one is another machine's on another link.
    #[must_use]
    pub fn kind(&self, addr: IpAddr, device: Option<u32>) -> Option<Kind> {
        // These are not there while `lo` is down.
        if addr.is_loopback() {
            return Some(Kind::Own);
        }
        let entries = self.0.iter().filter(|entry| {
            entry.contains(addr) && device.is_none_or(|device| entry.device == device)
        });
        // The longest prefix counts.
        entries
            .max_by_key(|entry| entry.len)
            .map(|entry| entry.kind)
    }
}

impl Entry {
    fn contains(&self, addr: IpAddr) -> bool {
        let differ = |bits: u32| bits >= u32::from(self.len);
        match (self.addr, addr) {
            (IpAddr::V4(own), IpAddr::V4(addr)) => {
                differ((own.to_bits() ^ addr.to_bits()).leading_zeros())
            }
            (IpAddr::V6(own), IpAddr::V6(addr)) => {
                differ((own.to_bits() ^ addr.to_bits()).leading_zeros())
            }
            _ => false,
        }
    }
}

/// A route of the table; kernels before 4.20 send those of all tables.
fn entry(body: &[u8], family: AddressFamily) -> Option<Entry> {
    let header = RouteHeader::parse(body).ok()?;
    let attrs = attributes(body, ROUTE_HEADER);
    let kind = match header.kind {
        RouteType::Local | RouteType::Anycast => Kind::Own,
        RouteType::Broadcast => Kind::Broadcast,
        _ => return None,
    };
    let everything = match family {
        AddressFamily::Inet => [0; 4].into(),
        _ => [0; 16].into(),
    };
    let of_number = |kind| attrs.get(kind).and_then(number);
    let table = of_number(rta::TABLE).unwrap_or(header.table.into());
    (table == TABLE).then(|| Entry {
        kind,
        addr: attrs.get(rta::DST).and_then(ip).unwrap_or(everything),
        len: header.destination_prefix_length,
        device: of_number(rta::OIF).unwrap_or(0),
    })
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// `own` and `broadcast` as ADDR/LENGTH, all on device 7.
    pub fn local(own: &[&str], broadcast: &[&str]) -> Local {
        let entry = |kind, text: &&str| {
            let (addr, len) = text.split_once('/').unwrap();
            Entry {
                kind,
                addr: addr.parse().unwrap(),
                len: len.parse().unwrap(),
                device: 7,
            }
        };
        let own = own.iter().map(|text| entry(Kind::Own, text));
        let broadcast = broadcast.iter().map(|text| entry(Kind::Broadcast, text));
        Local(own.chain(broadcast).collect())
    }

    #[test]
    fn an_address_is_looked_up_as_the_kernel_does() {
        let local = local(
            &[
                "10.9.0.10/32",
                "198.51.100.0/24",
                "2001:db8::1/128",
                "fe80::1/128",
            ],
            &["10.9.0.255/32", "198.51.100.255/32"],
        );
        let kind = |addr: &str, device| local.kind(addr.parse().unwrap(), device);
        assert_eq!(kind("10.9.0.10", None), Some(Kind::Own));
        assert_eq!(kind("10.9.0.1", None), None);
        assert_eq!(kind("10.9.0.255", None), Some(Kind::Broadcast));
        assert_eq!(kind("198.51.100.53", None), Some(Kind::Own));
        assert_eq!(kind("198.51.100.255", None), Some(Kind::Broadcast));
        assert_eq!(kind("2001:db8::1", None), Some(Kind::Own));
        assert_eq!(kind("2001:db8::2", None), None);
        assert_eq!(kind("fe80::1", Some(7)), Some(Kind::Own));
        assert_eq!(kind("fe80::1", Some(8)), None, "on another link");
        assert_eq!(
            Local::default().kind("127.0.0.53".parse().unwrap(), None),
            Some(Kind::Own)
        );
        assert_eq!(
            Local::default().kind("::1".parse().unwrap(), None),
            Some(Kind::Own)
        );
    }

    #[test]
    fn the_kernel_shows_its_table() {
        let local = Local::read().unwrap();
        // As every machine's that runs tests: 127.0.0.0/8, and its broadcast address.
        let kind = |addr: &str| {
            let addr = addr.parse().unwrap();
            let found = local.0.iter().filter(|entry| entry.contains(addr));
            found.max_by_key(|entry| entry.len).map(|entry| entry.kind)
        };
        assert_eq!(kind("127.0.0.1"), Some(Kind::Own));
        assert_eq!(kind("127.255.255.255"), Some(Kind::Broadcast));
        assert_eq!(kind("192.0.2.1"), None);
    }
}
