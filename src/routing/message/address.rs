//! Addresses from rtnetlink messages.

use super::super::prefix::{Family, Prefix};
use super::super::state::Address;
use super::address_family;
use crate::netlink::attributes;
use crate::netlink::route::{ip, number};

/// Length of struct ifaddrmsg.
const HEADER: usize = 8;
/// Attributes (linux/if_addr.h).
const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
const IFA_FLAGS: u16 = 8;
/// IFA_F_DADFAILED, IFA_F_DEPRECATED and IFA_F_TENTATIVE.
const NOT_PREFERRED: u32 = 0x08 | 0x20 | 0x40;

/// The request for all addresses of a family.
#[must_use]
pub fn all_addresses(family: Family) -> Vec<u8> {
    let mut request = vec![0; HEADER];
    request[0] = address_family(family).into();
    request
}

/// The address of a dumped message, none for other families.
#[must_use]
pub fn address(body: &[u8]) -> Option<Address> {
    let header = body.first_chunk::<HEADER>()?;
    let mut flags = u32::from(header[2]);
    let (mut network, mut local) = (None, None);
    for (kind, value) in attributes(body, HEADER) {
        match kind {
            IFA_ADDRESS => network = ip(value),
            IFA_LOCAL => local = ip(value),
            IFA_FLAGS => flags = number(value)?,
            _ => {}
        }
    }
    let network = network.or(local)?;
    Some(Address {
        device: number(&header[4..])?,
        addr: local.unwrap_or(network),
        network: Prefix::around(network, header[1]),
        preferred: flags & NOT_PREFERRED == 0,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::netlink::put;

    #[test]
    fn addresses() {
        let mut body = vec![2, 24, 0, 0];
        body.extend(7_u32.to_ne_bytes());
        put(&mut body, IFA_ADDRESS, &[192, 0, 2, 5]);
        put(&mut body, IFA_LOCAL, &[192, 0, 2, 5]);
        let found = address(&body).unwrap();
        assert_eq!(
            (found.device, found.addr.to_string()),
            (7, "192.0.2.5".into())
        );
        assert_eq!(found.network.to_string(), "192.0.2.0/24");
        assert!(found.preferred && found.is_configured());
        // PPP: what is on-link is the other end.
        let mut body = vec![2, 32, 0, 0, 7, 0, 0, 0];
        put(&mut body, IFA_ADDRESS, &[10, 0, 0, 1]);
        put(&mut body, IFA_LOCAL, &[192, 0, 2, 5]);
        assert_eq!(address(&body).unwrap().network.to_string(), "10.0.0.1/32");
        // Deprecated, by the attribute that has room for all flags.
        let mut body = vec![10, 64, 0, 0, 7, 0, 0, 0];
        let addr: std::net::Ipv6Addr = "fe80::5".parse().unwrap();
        put(&mut body, IFA_ADDRESS, &addr.octets());
        put(&mut body, IFA_FLAGS, &0xa0_u32.to_ne_bytes());
        let found = address(&body).unwrap();
        assert_eq!(found.network.to_string(), "fe80::/64");
        assert!(!found.preferred && !found.is_configured());
        assert_eq!(address(&body[..7]), None);
        assert_eq!(address(&[10, 64, 0, 0, 7, 0, 0, 0]), None);
    }
}
