//! What the kernel says and hears over rtnetlink(7), to and from values.

mod address;
mod nexthop;
mod route;
mod rule;

use rtnetlink::packet_route::AddressFamily;

use super::prefix::Family;
pub use address::{address, all_addresses};
pub use nexthop::{Nexthop, nexthop, one_nexthop, with_nexthop};
pub use route::{key_of_route, named, of_route, routes};
pub use rule::{of_rule, rule};

/// What `ip` writes where a table's number does not fit the header's byte.
const RT_TABLE_COMPAT: u8 = 252;
/// RTNH_F_ONLINK.
const ONLINK: u32 = 4;

/// AF_INET or AF_INET6.
#[must_use]
pub fn address_family(family: Family) -> AddressFamily {
    match family {
        Family::Ipv4 => AddressFamily::Inet,
        Family::Ipv6 => AddressFamily::Inet6,
    }
}

/// None for what is no concern of ours.
fn family(family: AddressFamily) -> Option<Family> {
    match family {
        AddressFamily::Inet => Some(Family::Ipv4),
        AddressFamily::Inet6 => Some(Family::Ipv6),
        _ => None,
    }
}

/// A table's number for the header, and for an attribute where that is too
/// small for it.
#[must_use]
pub fn table(table: u32) -> (u8, Option<u32>) {
    match u8::try_from(table) {
        Ok(small) => (small, None),
        Err(_) => (RT_TABLE_COMPAT, Some(table)),
    }
}
