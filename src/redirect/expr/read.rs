//! Expressions as the kernel shows them, and what else it says of a rule.

use std::ops::AddAssign;

use nftnl::nftnl_sys::{self as sys, libc};

use super::{Ct, Expr, Header, Meta, NEXTHOP6, ORIGINAL, PROTO_SPECIFIED, REGISTER};
use crate::netlink::Attrs;
use crate::redirect::set::{Data, Set};

/// The attributes of expressions, all numbers in network order
/// (linux/netfilter/nf_tables.h).
pub(super) mod attr {
    pub const EXPR_NAME: u16 = 1;
    pub const EXPR_DATA: u16 = 2;
    pub const DATA_VALUE: u16 = 1;
    pub const DATA_VERDICT: u16 = 2;
    pub const VERDICT_CODE: u16 = 1;
    pub const VERDICT_CHAIN: u16 = 2;
    pub const META_DREG: u16 = 1;
    pub const META_KEY: u16 = 2;
    pub const META_SREG: u16 = 3;
    pub const PAYLOAD_DREG: u16 = 1;
    pub const PAYLOAD_BASE: u16 = 2;
    pub const PAYLOAD_OFFSET: u16 = 3;
    pub const PAYLOAD_LEN: u16 = 4;
    pub const BITWISE_SREG: u16 = 1;
    pub const BITWISE_DREG: u16 = 2;
    pub const BITWISE_MASK: u16 = 4;
    pub const BITWISE_XOR: u16 = 5;
    pub const BITWISE_OP: u16 = 6;
    pub const CMP_SREG: u16 = 1;
    pub const CMP_OP: u16 = 2;
    pub const CMP_DATA: u16 = 3;
    pub const LOOKUP_SET: u16 = 1;
    pub const LOOKUP_SREG: u16 = 2;
    pub const LOOKUP_FLAGS: u16 = 5;
    pub const COUNTER_BYTES: u16 = 1;
    pub const COUNTER_PACKETS: u16 = 2;
    pub const IMMEDIATE_DREG: u16 = 1;
    pub const IMMEDIATE_DATA: u16 = 2;
    pub const REDIR_REG_PROTO_MIN: u16 = 1;
    pub const REDIR_REG_PROTO_MAX: u16 = 2;
    pub const REDIR_FLAGS: u16 = 3;
    pub const RT_DREG: u16 = 1;
    pub const RT_KEY: u16 = 2;
    pub const CT_DREG: u16 = 1;
    pub const CT_KEY: u16 = 2;
    pub const CT_DIRECTION: u16 = 3;
    pub const CT_SREG: u16 = 4;
}

const REG_1: Option<u32> = Some(REGISTER);

impl Expr {
    /// Reads one element of NFTA_RULE_EXPRESSIONS; `sets` knows the sets of
    /// the table by name.
    pub fn read(attrs: Attrs, sets: &dyn Fn(&[u8]) -> Option<Set>) -> Self {
        let name = attrs.name(attr::EXPR_NAME).unwrap_or_default();
        let data = attrs.nest(attr::EXPR_DATA);
        let known = match name {
            b"meta" => Self::read_meta(data),
            b"payload" => Self::read_payload(data),
            b"bitwise" => Self::read_bitwise(data),
            b"cmp" => Self::read_cmp(data),
            b"lookup" => Self::read_lookup(data, sets),
            b"ct" => Self::read_ct(data),
            b"rt" => Self::read_rt(data),
            b"counter" => Some(Self::Counter),
            b"immediate" => Self::read_immediate(data),
            b"redir" => Self::read_redirect(data),
            _ => None,
        };
        known.unwrap_or_else(|| Self::Other(String::from_utf8_lossy(name).into_owned()))
    }

    fn read_meta(data: Attrs) -> Option<Self> {
        let meta = Meta::of_key(data.u32(attr::META_KEY)?)?;
        match (data.u32(attr::META_DREG), data.u32(attr::META_SREG)) {
            (REG_1, None) => Some(Self::Meta(meta)),
            (None, REG_1) => Some(Self::SetMeta(meta)),
            _ => None,
        }
    }

    fn read_payload(data: Attrs) -> Option<Self> {
        (data.u32(attr::PAYLOAD_DREG) == REG_1).then_some(())?;
        let base = data.u32(attr::PAYLOAD_BASE)?;
        let mut headers = [Header::Network, Header::Transport].into_iter();
        Some(Self::Payload {
            header: headers.find(|header| header.base() == base)?,
            offset: data.u32(attr::PAYLOAD_OFFSET)?,
            length: data.u32(attr::PAYLOAD_LEN)?,
        })
    }

    fn read_cmp(data: Attrs) -> Option<Self> {
        (data.u32(attr::CMP_SREG) == REG_1).then_some(())?;
        let value = Data::new(data.nest(attr::CMP_DATA).get(attr::DATA_VALUE)?)?;
        match libc::c_int::try_from(data.u32(attr::CMP_OP)?).ok()? {
            libc::NFT_CMP_EQ => Some(Self::Equals(value)),
            libc::NFT_CMP_NEQ => Some(Self::Differs(value)),
            _ => None,
        }
    }

    fn read_bitwise(data: Attrs) -> Option<Self> {
        let value = |kind| {
            let bytes = data.nest(kind).get(attr::DATA_VALUE)?;
            Some(u32::from_ne_bytes(bytes.try_into().ok()?))
        };
        // Kernels before 5.6 know no other operation and show none.
        let masks = data.u32(attr::BITWISE_SREG) == REG_1
            && data.u32(attr::BITWISE_DREG) == REG_1
            && data.u32(attr::BITWISE_OP).unwrap_or(0) == 0;
        masks.then_some(Self::Bitwise {
            mask: value(attr::BITWISE_MASK)?,
            xor: value(attr::BITWISE_XOR)?,
        })
    }

    fn read_lookup(data: Attrs, sets: &dyn Fn(&[u8]) -> Option<Set>) -> Option<Self> {
        let inverted = data.u32(attr::LOOKUP_FLAGS).is_some_and(|flags| flags != 0);
        (data.u32(attr::LOOKUP_SREG) == REG_1 && !inverted).then_some(())?;
        sets(data.name(attr::LOOKUP_SET)?).map(Self::In)
    }

    fn read_ct(data: Attrs) -> Option<Self> {
        if data.u32(attr::CT_DREG) == REG_1 && data.get(attr::CT_DIRECTION).is_none() {
            let key = data.u32(attr::CT_KEY)?;
            let mut all = [Ct::State, Ct::Direction].into_iter();
            return all.find(|ct| ct.key() == key).map(Self::Ct);
        }
        let sets_zone = data.u32(attr::CT_SREG) == REG_1
            && data.u32(attr::CT_KEY) == Some(libc::NFT_CT_ZONE as u32)
            && data.get(attr::CT_DIRECTION) == Some(&[ORIGINAL]);
        sets_zone.then_some(Self::SetOriginalZone)
    }

    fn read_rt(data: Attrs) -> Option<Self> {
        let is_nexthop =
            data.u32(attr::RT_DREG) == REG_1 && data.u32(attr::RT_KEY) == Some(NEXTHOP6);
        is_nexthop.then_some(Self::Nexthop6)
    }

    fn read_immediate(data: Attrs) -> Option<Self> {
        let register = data.u32(attr::IMMEDIATE_DREG)?;
        let loaded = data.nest(attr::IMMEDIATE_DATA);
        if register == libc::NFT_REG_VERDICT as u32 {
            let verdict = loaded.nest(attr::DATA_VERDICT);
            return match verdict.u32(attr::VERDICT_CODE)?.cast_signed() {
                libc::NF_ACCEPT => Some(Self::Accept),
                libc::NF_DROP => Some(Self::Drop),
                libc::NFT_GOTO => {
                    let chain = verdict.name(attr::VERDICT_CHAIN)?;
                    Some(Self::Goto(String::from_utf8_lossy(chain).into_owned()))
                }
                _ => None,
            };
        }
        (Some(register) == REG_1).then_some(())?;
        Data::new(loaded.get(attr::DATA_VALUE)?).map(Self::Load)
    }

    /// The kernel shows one port as a range of one.
    fn read_redirect(data: Attrs) -> Option<Self> {
        let min = data.u32(attr::REDIR_REG_PROTO_MIN);
        let max = data.u32(attr::REDIR_REG_PROTO_MAX).or(min);
        let flags = data.u32(attr::REDIR_FLAGS);
        (min == REG_1 && max == REG_1 && flags == Some(PROTO_SPECIFIED)).then_some(Self::Redirect)
    }
}

/// What counters have counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counted {
    /// Packets.
    pub packets: u64,
    /// Their bytes.
    pub bytes: u64,
}

impl AddAssign for Counted {
    fn add_assign(&mut self, other: Self) {
        self.packets = self.packets.saturating_add(other.packets);
        self.bytes = self.bytes.saturating_add(other.bytes);
    }
}

/// What each `counter` among a rule's expressions has counted, together.
pub fn counted(exprs: Attrs) -> Counted {
    let mut all = Counted::default();
    for (_, expr) in exprs {
        let expr = Attrs(expr);
        if expr.name(attr::EXPR_NAME) == Some(b"counter") {
            let data = expr.nest(attr::EXPR_DATA);
            let number = |kind| data.u64(kind).unwrap_or(0);
            all += Counted {
                packets: number(attr::COUNTER_PACKETS),
                bytes: number(attr::COUNTER_BYTES),
            };
        }
    }
    all
}

/// The comment in the user data of a table, chain or rule: type, length and
/// value, one byte each for the first two (libnftnl/udata.h). nft may put more
/// beside it, which says nothing about what the table does.
pub fn comment(userdata: &[u8]) -> Option<String> {
    let mut rest = userdata;
    while let [kind, len, tail @ ..] = rest {
        let value = tail.get(..usize::from(*len))?;
        if u32::from(*kind) == sys::NFTNL_UDATA_RULE_COMMENT {
            let text = value.strip_suffix(&[0]).unwrap_or(value);
            return Some(String::from_utf8_lossy(text).into_owned());
        }
        rest = &tail[value.len()..];
    }
    None
}
