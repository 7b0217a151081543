//! What follows the header of nf_tables' messages (struct nfgenmsg of
//! linux/netfilter/nfnetlink.h).

use super::attributes::{Attrs, put};

const LENGTH: usize = 4;
const INET: u8 = libc::NFPROTO_INET as u8;
/// The name of the table, in the messages of all objects.
const ATTR_TABLE: u16 = 1;

/// One message of nf_tables.
#[derive(Debug, Clone, Copy)]
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
    #[must_use]
    pub fn read(body: &'a [u8]) -> Option<Self> {
        let nfgenmsg = body.get(..LENGTH)?;
        Some(Self {
            family: nfgenmsg[0],
            generation: u16::from_be_bytes([nfgenmsg[2], nfgenmsg[3]]),
            attrs: Attrs(&body[LENGTH..]),
        })
    }

    /// Whether it is about the table `inet NAME` or something in it.
    #[must_use]
    pub fn is_of(&self, name: &str) -> bool {
        self.family == INET && self.table() == Some(name.as_bytes())
    }

    /// The name of the table that it is about.
    #[must_use]
    pub fn table(&self) -> Option<&'a [u8]> {
        self.attrs.name(ATTR_TABLE)
    }
}

/// The number of a message of nf_tables (NFT_MSG_*).
#[must_use]
pub fn kind(message: libc::c_int) -> u16 {
    ((libc::NFNL_SUBSYS_NFTABLES << 8) | message) as u16
}

/// A request for what is in the table `inet NAME`.
#[must_use]
pub fn of_table(name: &str) -> Vec<u8> {
    let mut body = of_all(INET);
    put(&mut body, ATTR_TABLE, &[name.as_bytes(), &[0]].concat());
    body
}

/// A request for what is in all tables of a family.
#[must_use]
pub fn of_all(family: u8) -> Vec<u8> {
    vec![family, libc::NFNETLINK_V0 as u8, 0, 0]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_reads_as_a_message() {
        let body = of_table("ours");
        let message = Message::read(&body).unwrap();
        assert_eq!((message.family, message.generation), (1, 0));
        assert!(message.is_of("ours") && !message.is_of("our"));
        let all = of_all(2);
        assert!(!Message::read(&all).unwrap().is_of("ours"));
        assert!(Message::read(&[1, 0, 0]).is_none());
    }
}
