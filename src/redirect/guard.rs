//! The guard, a chain of the table: what has the mark leaves through the WAN or
//! not at all.
//!
//! Routing sees to that with rules and routes, and puts them back when somebody
//! takes them away. Until it has, a marked packet would go where all others go,
//! into the mesh; here it is stopped.

use std::fmt;

use nftnl::nftnl_sys::libc;

use super::expr::Expr;
use super::objects::{Chain, Rule};
use crate::config::{Mark, Routing};

/// The chain's name.
pub const CHAIN: &str = "mark_guard";
/// nft calls it `filter`.
const PRIORITY: i32 = 0;
const COMMENT: &str = "gluon-wan: what has the mark leaves through the WAN or not at all";
/// What is redirected, or for this node itself.
const LOOPBACK: &str = "lo";
/// IFNAMSIZ of linux/if.h.
const NAME_LEN: usize = libc::IFNAMSIZ;

/// Which packets are guarded, and what they may leave through.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Guard {
    mark: Mark,
    /// The one family that is separated, none for both.
    family: Option<Family>,
    devices: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Family {
    Ipv4,
    Ipv6,
}

impl Guard {
    /// Guards what `routing` separates; only `devices` are ways out.
    pub fn new(routing: &Routing, devices: &[String]) -> Self {
        Self {
            mark: routing.mark,
            family: match (routing.ipv4, routing.ipv6) {
                (true, false) => Some(Family::Ipv4),
                (false, true) => Some(Family::Ipv6),
                _ => None,
            },
            devices: devices.to_vec(),
        }
    }

    /// After the last decision about the way.
    pub(super) fn chain() -> Chain {
        let postrouting = libc::NF_INET_POST_ROUTING as u32;
        Chain::base(CHAIN, "filter", postrouting, PRIORITY)
    }

    /// What [`fmt::Display`] says, in the same order.
    pub(super) fn rule(&self) -> Rule {
        let mut exprs = vec![Expr::MetaMark];
        if self.has_mask() {
            exprs.push(Expr::And(self.mark.mask));
        }
        exprs.push(Expr::Equals(self.mark.value.to_ne_bytes().into()));
        if let Some(family) = self.family {
            exprs.extend([Expr::MetaNfProto, Expr::Equals(vec![family.number()])]);
        }
        for device in self.ways_out() {
            let mut name = device.as_bytes().to_vec();
            name.resize(NAME_LEN, 0);
            exprs.extend([Expr::MetaOifName, Expr::Differs(name)]);
        }
        exprs.extend([Expr::Counter, Expr::Drop]);
        Rule {
            chain: CHAIN.into(),
            exprs,
            comment: Some(COMMENT.into()),
        }
    }

    /// nft leaves out a mask of all bits.
    fn has_mask(&self) -> bool {
        self.mark.mask != u32::MAX
    }

    fn ways_out(&self) -> impl Iterator<Item = &str> {
        std::iter::once(LOOPBACK).chain(self.devices.iter().map(String::as_str))
    }
}

impl Family {
    fn number(self) -> u8 {
        match self {
            Self::Ipv4 => libc::NFPROTO_IPV4 as u8,
            Self::Ipv6 => libc::NFPROTO_IPV6 as u8,
        }
    }
}

/// The chain in nft language, as nft lists it.
impl fmt::Display for Guard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Mark { value, mask } = self.mark;
        writeln!(f, "\tchain {CHAIN} {{")?;
        writeln!(
            f,
            "\t\ttype filter hook postrouting priority filter; policy accept;"
        )?;
        write!(f, "\t\tmeta mark ")?;
        if self.has_mask() {
            write!(f, "& {mask:#010x} == ")?;
        }
        write!(f, "{value:#010x} ")?;
        match self.family {
            Some(Family::Ipv4) => write!(f, "meta nfproto ipv4 ")?,
            Some(Family::Ipv6) => write!(f, "meta nfproto ipv6 ")?,
            None => {}
        }
        for device in self.ways_out() {
            write!(f, "oifname != \"{device}\" ")?;
        }
        writeln!(f, "counter drop comment \"{COMMENT}\"")?;
        writeln!(f, "\t}}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rule_in_bytes() {
        let routing = |ipv4, ipv6, mask| Routing {
            ipv4,
            ipv6,
            mark: Mark { value: 0x10, mask },
            ..Routing::default()
        };
        let guard = |ipv4, ipv6, mask| Guard::new(&routing(ipv4, ipv6, mask), &["wan".into()]);
        let of_ipv6 = guard(false, true, 0xf0);
        assert_eq!(
            of_ipv6.rule().exprs,
            [
                Expr::MetaMark,
                Expr::And(0xf0),
                Expr::Equals(0x10_u32.to_ne_bytes().into()),
                Expr::MetaNfProto,
                Expr::Equals(vec![10]),
                Expr::MetaOifName,
                Expr::Differs(b"lo\0\0\0\0\0\0\0\0\0\0\0\0\0\0".to_vec()),
                Expr::MetaOifName,
                Expr::Differs(b"wan\0\0\0\0\0\0\0\0\0\0\0\0\0".to_vec()),
                Expr::Counter,
                Expr::Drop,
            ]
        );
        let of_ipv4 = guard(true, false, u32::MAX).rule().exprs;
        assert_eq!(
            of_ipv4[..2],
            [Expr::MetaMark, Expr::Equals(0x10_u32.to_ne_bytes().into())]
        );
        assert_eq!(of_ipv4[2..4], [Expr::MetaNfProto, Expr::Equals(vec![2])]);
        let of_both = guard(true, true, u32::MAX).rule().exprs;
        assert!(!of_both.contains(&Expr::MetaNfProto));
    }

    #[test]
    fn all_bits_of_a_mark_need_no_mask() {
        let mut routing = Routing::default();
        routing.mark.mask = u32::MAX;
        let text = Guard::new(&routing, &[]).to_string();
        assert!(
            text.contains("\t\tmeta mark 0x00000001 meta nfproto ipv6 "),
            "{text}"
        );
    }

    #[test]
    fn behind_the_last_decision_about_the_way() {
        let base = Guard::chain().base.unwrap();
        assert_eq!((base.kind.as_str(), base.hook), ("filter", 4));
    }
}
