//! The expressions that nf_tables makes rules of: as values, as libnftnl writes
//! them and as the kernel shows them.
//!
//! Every expression works on register 1. What the kernel shows in another form
//! than ours reads as [`Expr::Other`], which equals nothing that is wanted.

use std::ffi::{CStr, CString};
use std::ops::AddAssign;

use nftnl::Rule;
use nftnl::nftnl_sys::{self as sys, libc};

use super::raw::{Raw, Value};
use super::set::{Data, Set};
use crate::netlink::Attrs;

/// One expression of a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Expr {
    /// Loads what is known about the packet into the register.
    Meta(Meta),
    /// Loads bytes of the packet, in network order.
    Payload {
        /// Of which header.
        header: Header,
        /// In bytes.
        offset: u32,
        /// In bytes.
        length: u32,
    },
    /// Leaves the bits of `mask` in the register, then turns those of `xor`
    /// round. Both in host order.
    Bitwise {
        /// What stays.
        mask: u32,
        /// What is turned round after that.
        xor: u32,
    },
    /// The register equals these bytes.
    Equals(Data),
    /// The register does not equal these bytes.
    Differs(Data),
    /// The register is in this set.
    In(Set),
    /// Loads these bytes into the register.
    Load(Data),
    /// Writes the register into the packet's meta data.
    SetMeta(Meta),
    /// Loads what conntrack knows about the packet.
    Ct(Ct),
    /// Loads the address of the router that an IPv6 packet goes to; where there is
    /// none on its way, of its destination.
    Nexthop6,
    /// `ct original zone set`: the flow's original direction is looked for, and
    /// made, in the conntrack zone whose number (2 bytes, host order) is in the
    /// register.
    SetOriginalZone,
    /// `counter`. What it has counted is no part of the value.
    Counter,
    /// `redirect to :PORT`, the port taken from the register.
    Redirect,
    /// `accept`.
    Accept,
    /// `drop`.
    Drop,
    /// `goto CHAIN`.
    Goto(String),
    /// Anything else, by the name the kernel has for it.
    Other(String),
}

/// What nf_tables knows about a packet besides its bytes; numbers in host order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Meta {
    /// The group of the process that made the socket. A packet without one
    /// matches no rule that asks for it.
    SkGid,
    /// The user likewise.
    SkUid,
    /// The transport protocol: one byte, IPPROTO_*.
    L4Proto,
    /// The packet mark.
    Mark,
    /// The family: one byte, NFPROTO_IPV4 or NFPROTO_IPV6.
    NfProto,
    /// The name of the device it leaves through, filled up with NULs.
    OifName,
    /// The priority that queueing disciplines go by, a class id of tc(8).
    Priority,
}

impl Meta {
    const ALL: [Self; 7] = [
        Self::SkGid,
        Self::SkUid,
        Self::L4Proto,
        Self::Mark,
        Self::NfProto,
        Self::OifName,
        Self::Priority,
    ];

    /// NFT_META_*.
    fn key(self) -> u32 {
        let key = match self {
            Self::SkGid => libc::NFT_META_SKGID,
            Self::SkUid => libc::NFT_META_SKUID,
            Self::L4Proto => libc::NFT_META_L4PROTO,
            Self::Mark => libc::NFT_META_MARK,
            Self::NfProto => libc::NFT_META_NFPROTO,
            Self::OifName => libc::NFT_META_OIFNAME,
            Self::Priority => libc::NFT_META_PRIORITY,
        };
        key as u32
    }

    fn of_key(key: u32) -> Option<Self> {
        Self::ALL.into_iter().find(|meta| meta.key() == key)
    }
}

/// Headers of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Header {
    /// IPv4 or IPv6.
    Network,
    /// TCP, UDP, and ICMP as well.
    Transport,
}

impl Header {
    /// NFT_PAYLOAD_*.
    fn base(self) -> u32 {
        let base = match self {
            Self::Network => libc::NFT_PAYLOAD_NETWORK_HEADER,
            Self::Transport => libc::NFT_PAYLOAD_TRANSPORT_HEADER,
        };
        base as u32
    }
}

/// What conntrack knows about a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ct {
    /// Its state, as one bit of 32, in host order.
    State,
    /// One byte: 0 as the first packet of the flow, 1 as the reply.
    Direction,
}

impl Ct {
    /// NFT_CT_*.
    fn key(self) -> u32 {
        let key = match self {
            Self::State => libc::NFT_CT_STATE,
            Self::Direction => libc::NFT_CT_DIRECTION,
        };
        key as u32
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

/// nft's name for anonymous sets; the kernel puts a number in.
pub const SET_NAME: &CStr = c"__set%d";
/// The register that all work on.
const REGISTER: u32 = libc::NFT_REG_1 as u32;
const REG_1: Option<u32> = Some(REGISTER);
/// A port is given (NF_NAT_RANGE_PROTO_SPECIFIED of linux/netfilter/nf_nat.h).
const PROTO_SPECIFIED: u32 = 2;
/// NFT_RT_NEXTHOP6 of linux/netfilter/nf_tables.h.
const NEXTHOP6: u32 = 2;
/// IP_CT_DIR_ORIGINAL of linux/netfilter/nf_conntrack_tuple_common.h.
const ORIGINAL: u8 = 0;

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

    /// Appends the expression to a rule; `set` is the number of the set for
    /// [`Expr::In`]. [`Expr::Other`] is only ever read.
    pub fn add_to(&self, rule: &mut Rule, set: u32) {
        let to = |attribute| (attribute, Value::U32(REGISTER));
        let verdict = (
            sys::NFTNL_EXPR_IMM_DREG,
            Value::U32(libc::NFT_REG_VERDICT as u32),
        );
        let code = |code| (sys::NFTNL_EXPR_IMM_VERDICT, number(code));
        let mut add = |name, attributes: &[_]| rule.add_expr(&Raw { name, attributes });
        match self {
            Self::Meta(meta) => add(
                c"meta",
                &[
                    (sys::NFTNL_EXPR_META_KEY, Value::U32(meta.key())),
                    to(sys::NFTNL_EXPR_META_DREG),
                ],
            ),
            Self::SetMeta(meta) => add(
                c"meta",
                &[
                    (sys::NFTNL_EXPR_META_KEY, Value::U32(meta.key())),
                    to(sys::NFTNL_EXPR_META_SREG),
                ],
            ),
            Self::Payload {
                header,
                offset,
                length,
            } => add(
                c"payload",
                &[
                    (sys::NFTNL_EXPR_PAYLOAD_BASE, Value::U32(header.base())),
                    (sys::NFTNL_EXPR_PAYLOAD_OFFSET, Value::U32(*offset)),
                    (sys::NFTNL_EXPR_PAYLOAD_LEN, Value::U32(*length)),
                    to(sys::NFTNL_EXPR_PAYLOAD_DREG),
                ],
            ),
            Self::Ct(ct) => add(
                c"ct",
                &[
                    (sys::NFTNL_EXPR_CT_KEY, Value::U32(ct.key())),
                    to(sys::NFTNL_EXPR_CT_DREG),
                ],
            ),
            Self::Nexthop6 => add(
                c"rt",
                &[
                    (sys::NFTNL_EXPR_RT_KEY, Value::U32(NEXTHOP6)),
                    to(sys::NFTNL_EXPR_RT_DREG),
                ],
            ),
            Self::Bitwise { mask, xor } => add(
                c"bitwise",
                &[
                    to(sys::NFTNL_EXPR_BITWISE_SREG),
                    to(sys::NFTNL_EXPR_BITWISE_DREG),
                    (sys::NFTNL_EXPR_BITWISE_LEN, Value::U32(4)),
                    (
                        sys::NFTNL_EXPR_BITWISE_MASK,
                        Value::Bytes(&mask.to_ne_bytes()),
                    ),
                    (
                        sys::NFTNL_EXPR_BITWISE_XOR,
                        Value::Bytes(&xor.to_ne_bytes()),
                    ),
                ],
            ),
            Self::Equals(value) | Self::Differs(value) => add(
                c"cmp",
                &[
                    to(sys::NFTNL_EXPR_CMP_SREG),
                    (
                        sys::NFTNL_EXPR_CMP_OP,
                        number(match self {
                            Self::Equals(_) => libc::NFT_CMP_EQ,
                            _ => libc::NFT_CMP_NEQ,
                        }),
                    ),
                    (sys::NFTNL_EXPR_CMP_DATA, Value::Bytes(value.as_slice())),
                ],
            ),
            Self::In(_) => add(
                c"lookup",
                &[
                    to(sys::NFTNL_EXPR_LOOKUP_SREG),
                    name(sys::NFTNL_EXPR_LOOKUP_SET, SET_NAME),
                    (sys::NFTNL_EXPR_LOOKUP_SET_ID, Value::U32(set)),
                ],
            ),
            Self::Load(value) => add(
                c"immediate",
                &[
                    to(sys::NFTNL_EXPR_IMM_DREG),
                    (sys::NFTNL_EXPR_IMM_DATA, Value::Bytes(value.as_slice())),
                ],
            ),
            Self::SetOriginalZone => add(
                c"ct",
                &[
                    (sys::NFTNL_EXPR_CT_KEY, number(libc::NFT_CT_ZONE)),
                    to(sys::NFTNL_EXPR_CT_SREG),
                    (sys::NFTNL_EXPR_CT_DIR, Value::U8(ORIGINAL)),
                ],
            ),
            Self::Counter => add(c"counter", &[]),
            Self::Redirect => add(
                c"redir",
                &[
                    to(sys::NFTNL_EXPR_REDIR_REG_PROTO_MIN),
                    (sys::NFTNL_EXPR_REDIR_FLAGS, Value::U32(PROTO_SPECIFIED)),
                ],
            ),
            Self::Accept => add(c"immediate", &[verdict, code(libc::NF_ACCEPT)]),
            Self::Drop => add(c"immediate", &[verdict, code(libc::NF_DROP)]),
            Self::Goto(chain) => {
                let chain = CString::new(chain.as_str()).unwrap_or_default();
                let chain = name(sys::NFTNL_EXPR_IMM_CHAIN, &chain);
                add(c"immediate", &[verdict, chain, code(libc::NFT_GOTO)]);
            }
            Self::Other(_) => {}
        }
    }
}

fn number(value: libc::c_int) -> Value<'static> {
    Value::U32(value.cast_unsigned())
}

fn name(attribute: u32, name: &CStr) -> (u32, Value<'_>) {
    (attribute, Value::Bytes(name.to_bytes_with_nul()))
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

#[cfg(test)]
mod tests;
