//! The expressions of our rules: as values, as libnftnl writes them and as the
//! kernel shows them. `redir` is the one that nftnl lacks.
//!
//! Every expression works on register 1. What the kernel shows in another form
//! than ours reads as [`Expr::Other`], which equals nothing that is wanted.

use std::collections::BTreeSet;
use std::ops::AddAssign;
use std::ptr::NonNull;

use nftnl::Rule;
use nftnl::expr::{Bitwise, Cmp, CmpOp, Counter, Expression, Immediate, Meta, Payload, Register};
use nftnl::expr::{TransportHeaderField, UdpHeaderField, Verdict};
use nftnl::nftnl_sys::{self as sys, libc};
use nftnl::set::SetKey;

use super::attrs::Attrs;

/// One expression of a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Expr {
    /// `meta skgid`: the group of the process that made the socket, in host order.
    MetaSkGid,
    /// `meta l4proto`: one byte, IPPROTO_*.
    MetaL4Proto,
    /// `meta mark`: the packet mark, in host order.
    MetaMark,
    /// `meta nfproto`: one byte, NFPROTO_IPV4 or NFPROTO_IPV6.
    MetaNfProto,
    /// `oifname`: the name of the device it leaves through, filled up with NULs.
    MetaOifName,
    /// `th dport`: bytes 2 and 3 of the TCP or UDP header, in network order.
    DestinationPort,
    /// Leaves these bits of the register.
    And(u32),
    /// The register equals these bytes.
    Equals(Vec<u8>),
    /// The register does not equal these bytes.
    Differs(Vec<u8>),
    /// The register is in this set.
    In(Set),
    /// `counter`. What it has counted is no part of the value.
    Counter,
    /// Puts a port into the register, in network order.
    LoadPort(u16),
    /// `redirect to :PORT`, the port taken from the register.
    Redirect,
    /// `drop`.
    Drop,
    /// Anything else, by the name the kernel has for it.
    Other(String),
}

/// A constant anonymous set, by what is in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Set {
    /// Groups.
    Gids(BTreeSet<u32>),
    /// Transport protocols, IPPROTO_*.
    Protocols(BTreeSet<u8>),
}

/// A group as an element, nft's datatype `gid` (25), in host order.
pub struct Gid(pub u32);

/// A transport protocol as an element, nft's datatype `inet_proto` (12).
pub struct Protocol(pub u8);

impl SetKey for Gid {
    const TYPE: u32 = 25;
    const LEN: u32 = 4;

    fn data(&self) -> Box<[u8]> {
        Box::new(self.0.to_ne_bytes())
    }
}

impl SetKey for Protocol {
    const TYPE: u32 = 12;
    const LEN: u32 = 1;

    fn data(&self) -> Box<[u8]> {
        Box::new([self.0])
    }
}

/// The attributes of expressions, all numbers in network order
/// (linux/netfilter/nf_tables.h).
mod attr {
    pub const EXPR_NAME: u16 = 1;
    pub const EXPR_DATA: u16 = 2;
    pub const DATA_VALUE: u16 = 1;
    pub const DATA_VERDICT: u16 = 2;
    pub const VERDICT_CODE: u16 = 1;
    pub const META_DREG: u16 = 1;
    pub const META_KEY: u16 = 2;
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
}

const REG_1: Option<u32> = Some(Register::Reg1 as u32);
/// A port is given (NF_NAT_RANGE_PROTO_SPECIFIED of linux/netfilter/nf_nat.h).
const PROTO_SPECIFIED: u32 = 2;

impl Expr {
    /// Reads one element of NFTA_RULE_EXPRESSIONS; `sets` knows the sets of
    /// the table by name.
    pub fn read(attrs: Attrs, sets: impl Fn(&[u8]) -> Option<Set>) -> Self {
        let name = attrs.name(attr::EXPR_NAME).unwrap_or_default();
        let data = attrs.nest(attr::EXPR_DATA);
        let known = match name {
            b"meta" => Self::read_meta(data),
            b"payload" => Self::read_payload(data),
            b"bitwise" => Self::read_bitwise(data),
            b"cmp" => Self::read_cmp(data),
            b"lookup" => Self::read_lookup(data, sets),
            b"counter" => Some(Self::Counter),
            b"immediate" => Self::read_immediate(data),
            b"redir" => Self::read_redirect(data),
            _ => None,
        };
        known.unwrap_or_else(|| Self::Other(String::from_utf8_lossy(name).into_owned()))
    }

    fn read_meta(data: Attrs) -> Option<Self> {
        (data.u32(attr::META_DREG) == REG_1).then_some(())?;
        match libc::c_int::try_from(data.u32(attr::META_KEY)?).ok()? {
            libc::NFT_META_SKGID => Some(Self::MetaSkGid),
            libc::NFT_META_L4PROTO => Some(Self::MetaL4Proto),
            libc::NFT_META_MARK => Some(Self::MetaMark),
            libc::NFT_META_NFPROTO => Some(Self::MetaNfProto),
            libc::NFT_META_OIFNAME => Some(Self::MetaOifName),
            _ => None,
        }
    }

    fn read_payload(data: Attrs) -> Option<Self> {
        let is_port = data.u32(attr::PAYLOAD_DREG) == REG_1
            && data.u32(attr::PAYLOAD_BASE) == Some(libc::NFT_PAYLOAD_TRANSPORT_HEADER as u32)
            && data.u32(attr::PAYLOAD_OFFSET) == Some(2)
            && data.u32(attr::PAYLOAD_LEN) == Some(2);
        is_port.then_some(Self::DestinationPort)
    }

    fn read_cmp(data: Attrs) -> Option<Self> {
        (data.u32(attr::CMP_SREG) == REG_1).then_some(())?;
        let value = data.nest(attr::CMP_DATA).get(attr::DATA_VALUE)?.to_owned();
        match libc::c_int::try_from(data.u32(attr::CMP_OP)?).ok()? {
            libc::NFT_CMP_EQ => Some(Self::Equals(value)),
            libc::NFT_CMP_NEQ => Some(Self::Differs(value)),
            _ => None,
        }
    }

    fn read_bitwise(data: Attrs) -> Option<Self> {
        let value = |kind| data.nest(kind).get(attr::DATA_VALUE);
        // Kernels before 5.6 know no other operation and show none.
        let masks = data.u32(attr::BITWISE_SREG) == REG_1
            && data.u32(attr::BITWISE_DREG) == REG_1
            && data.u32(attr::BITWISE_OP).unwrap_or(0) == 0
            && value(attr::BITWISE_XOR) == Some(&[0; 4]);
        masks.then_some(())?;
        let mask = value(attr::BITWISE_MASK)?.try_into().ok()?;
        Some(Self::And(u32::from_ne_bytes(mask)))
    }

    fn read_lookup(data: Attrs, sets: impl Fn(&[u8]) -> Option<Set>) -> Option<Self> {
        let inverted = data.u32(attr::LOOKUP_FLAGS).is_some_and(|flags| flags != 0);
        (data.u32(attr::LOOKUP_SREG) == REG_1 && !inverted).then_some(())?;
        sets(data.name(attr::LOOKUP_SET)?).map(Self::In)
    }

    fn read_immediate(data: Attrs) -> Option<Self> {
        let register = data.u32(attr::IMMEDIATE_DREG)?;
        let loaded = data.nest(attr::IMMEDIATE_DATA);
        if register == libc::NFT_REG_VERDICT as u32 {
            let verdict = loaded.nest(attr::DATA_VERDICT);
            let drops = verdict.u32(attr::VERDICT_CODE) == Some(libc::NF_DROP as u32);
            return drops.then_some(Self::Drop);
        }
        (Some(register) == REG_1).then_some(())?;
        let value = loaded.get(attr::DATA_VALUE)?;
        Some(Self::LoadPort(u16::from_be_bytes(value.try_into().ok()?)))
    }

    /// The kernel shows one port as a range of one.
    fn read_redirect(data: Attrs) -> Option<Self> {
        let min = data.u32(attr::REDIR_REG_PROTO_MIN);
        let max = data.u32(attr::REDIR_REG_PROTO_MAX).or(min);
        let flags = data.u32(attr::REDIR_FLAGS);
        (min == REG_1 && max == REG_1 && flags == Some(PROTO_SPECIFIED)).then_some(Self::Redirect)
    }

    /// Appends the expression to a rule. [`Expr::In`] is not done here, since it
    /// needs the set; [`Expr::Other`] is only ever read.
    pub fn add_to(&self, rule: &mut Rule) {
        match self {
            Self::MetaSkGid => rule.add_expr(&Meta::SkGid),
            Self::MetaL4Proto => rule.add_expr(&Meta::L4Proto),
            Self::MetaMark => rule.add_expr(&Meta::Mark { set: false }),
            Self::MetaNfProto => rule.add_expr(&Meta::NfProto),
            Self::MetaOifName => rule.add_expr(&Meta::OifName),
            Self::DestinationPort => {
                // The same two bytes in TCP and UDP.
                let field = TransportHeaderField::Udp(UdpHeaderField::Dport);
                rule.add_expr(&Payload::Transport(field));
            }
            Self::And(mask) => rule.add_expr(&Bitwise::new(*mask, 0_u32)),
            Self::Equals(value) => rule.add_expr(&Cmp::new(CmpOp::Eq, value.as_slice())),
            Self::Differs(value) => rule.add_expr(&Cmp::new(CmpOp::Neq, value.as_slice())),
            Self::Counter => rule.add_expr(&Counter),
            Self::LoadPort(port) => {
                rule.add_expr(&Immediate::new(port.to_be_bytes(), Register::Reg1));
            }
            Self::Redirect => rule.add_expr(&Redirect),
            Self::Drop => rule.add_expr(&Verdict::Drop),
            Self::In(_) | Self::Other(_) => {}
        }
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

/// `redir` with the port in register 1.
struct Redirect;

impl Expression for Redirect {
    fn to_expr(&self, _rule: &Rule) -> NonNull<sys::nftnl_expr> {
        // SAFETY: the name is a C string, which libnftnl only compares.
        let expr = unsafe { sys::nftnl_expr_alloc(c"redir".as_ptr()) };
        let Some(expr) = NonNull::new(expr) else {
            // A few bytes could not be had. Rust's own allocations end the same way.
            std::process::abort();
        };
        let set = |attr: u32, value: u32| {
            // SAFETY: `expr` is a redir expression of ours alone, and both
            // attributes of it are numbers of 32 bits.
            unsafe { sys::nftnl_expr_set_u32(expr.as_ptr(), attr as u16, value) }
        };
        set(sys::NFTNL_EXPR_REDIR_REG_PROTO_MIN, Register::Reg1.to_raw());
        set(sys::NFTNL_EXPR_REDIR_FLAGS, PROTO_SPECIFIED);
        expr
    }
}

#[cfg(test)]
mod tests;
