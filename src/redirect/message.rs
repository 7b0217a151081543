//! What follows the header of netfilter's messages (struct nfgenmsg of
//! linux/netfilter/nfnetlink.h).

use nftnl::nftnl_sys::libc;

use super::attrs::{Attrs, put};
use super::table::NAME;

const LENGTH: usize = 4;
const INET: u8 = libc::NFPROTO_INET as u8;
/// The name of the table, in the messages of all objects.
const ATTR_TABLE: u16 = 1;

/// One message of nf_tables.
#[derive(Clone, Copy)]
pub struct Message<'a> {
    /// NFPROTO_*.
    pub family: u8,
    /// The lower half of the ruleset's generation.
    pub generation: u16,
    /// What it carries.
    pub attrs: Attrs<'a>,
}

impl<'a> Message<'a> {
    /// None where it is cut off.
    pub fn read(body: &'a [u8]) -> Option<Self> {
        let nfgenmsg = body.get(..LENGTH)?;
        Some(Self {
            family: nfgenmsg[0],
            generation: u16::from_be_bytes([nfgenmsg[2], nfgenmsg[3]]),
            attrs: Attrs(&body[LENGTH..]),
        })
    }

    /// Whether it is about our table or something in it.
    pub fn concerns_us(&self) -> bool {
        self.family == INET && self.table() == Some(NAME.as_bytes())
    }

    /// The name of the table that it is about.
    pub fn table(&self) -> Option<&'a [u8]> {
        self.attrs.name(ATTR_TABLE)
    }
}

/// The number of a message of nf_tables (NFT_MSG_*).
pub fn kind(message: libc::c_int) -> u16 {
    ((libc::NFNL_SUBSYS_NFTABLES << 8) | message) as u16
}

/// A request for what is in our table.
pub fn of_table() -> Vec<u8> {
    let mut body = of_all(INET);
    put(&mut body, ATTR_TABLE, &[NAME.as_bytes(), &[0]].concat());
    body
}

/// A request for what is in all tables of a family.
pub fn of_all(family: u8) -> Vec<u8> {
    vec![family, libc::NFNETLINK_V0 as u8, 0, 0]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_reads_as_a_message() {
        let body = of_table();
        let message = Message::read(&body).unwrap();
        assert_eq!((message.family, message.generation), (1, 0));
        assert!(message.concerns_us());
        let all = of_all(2);
        assert!(!Message::read(&all).unwrap().concerns_us());
        assert!(Message::read(&[1, 0, 0]).is_none());
    }
}
