//! The expressions that nf_tables makes rules of: as values, as libnftnl writes
//! them and as the kernel shows them.
//!
//! Every expression works on register 1. What the kernel shows in another form
//! than ours reads as [`Expr::Other`], which equals nothing that is wanted.

mod read;
mod write;

use std::ffi::CStr;

use nftnl::nftnl_sys::libc;

pub use read::{Counted, comment, counted};

use super::set::{Data, Set};

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

/// nft's name for anonymous sets; the kernel puts a number in.
pub const SET_NAME: &CStr = c"__set%d";
/// The register that all work on.
const REGISTER: u32 = libc::NFT_REG_1 as u32;
/// A port is given (NF_NAT_RANGE_PROTO_SPECIFIED of linux/netfilter/nf_nat.h).
const PROTO_SPECIFIED: u32 = 2;
/// NFT_RT_NEXTHOP6 of linux/netfilter/nf_tables.h.
const NEXTHOP6: u32 = 2;
/// IP_CT_DIR_ORIGINAL of linux/netfilter/nf_conntrack_tuple_common.h.
const ORIGINAL: u8 = 0;

#[cfg(test)]
mod tests;
