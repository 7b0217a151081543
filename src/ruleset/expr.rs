//! The expressions that rules are made of, as far as they decide what becomes of a
//! packet (linux/netfilter/nf_tables.h, linux/netfilter/xt_*.h).

use nftnl::nftnl_sys::libc;

use crate::netlink::Attrs;

/// One expression.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expr<'a> {
    /// Loads something of the packet or its socket into a register.
    Load {
        /// What.
        what: Field,
        /// Into which register.
        register: u32,
    },
    /// Loads data.
    Immediate {
        /// The data.
        data: &'a [u8],
        /// Into which register.
        register: u32,
    },
    /// `register & mask ^ xor`.
    Bitwise {
        /// From which register.
        from: u32,
        /// Into which.
        to: u32,
        /// Bits that stay.
        mask: &'a [u8],
        /// Bits that turn.
        xor: &'a [u8],
    },
    /// Goes on where the register is, or is not, this.
    Compare {
        /// Which register.
        register: u32,
        /// `!=`.
        inverted: bool,
        /// With what.
        data: &'a [u8],
    },
    /// Goes on where the register is, or is not, among a set's elements.
    Lookup {
        /// Which register.
        register: u32,
        /// `!=`.
        inverted: bool,
        /// The name of the set.
        set: &'a [u8],
    },
    /// Goes on where the mark is, or is not, this (iptables' `-m mark`).
    MatchMark {
        /// Its bits.
        value: u32,
        /// The bits that count.
        mask: u32,
        /// `!`.
        inverted: bool,
    },
    /// Gives the packet the mark that is in a register.
    SetMark {
        /// Which register.
        register: u32,
    },
    /// `mark & !clear ^ set` (iptables' `-j MARK`).
    ChangeMark {
        /// Bits that go first.
        clear: u32,
        /// Bits that turn then.
        turn: u32,
    },
    /// To a port of this host, or to another address.
    Redirect {
        /// Where the port is, none for the packet's own.
        register: Option<u32>,
    },
    /// To this port of this host, or elsewhere (iptables' `-j REDIRECT`, `-j DNAT`).
    RedirectOfIptables {
        /// The port, none for the packet's own.
        port: Option<u16>,
    },
    /// Conntrack, and with it nat, does not see the packet.
    NoTrack,
    /// Ends with the packet.
    Drop,
    /// Ends the chain, and lets it pass.
    Accept,
    /// Back to where the chain was called, or its end.
    Return,
    /// Calls another chain; `goto` without coming back.
    Call {
        /// Which.
        chain: &'a [u8],
        /// Whether it comes back.
        back: bool,
    },
    /// Decides nothing: counters, logs, comments.
    Nothing,
    /// Anything else: it may go on or not.
    Unknown {
        /// The register that it may have changed.
        register: Option<u32>,
    },
}

/// Something of a packet or its socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Field {
    /// The mark.
    Mark,
    /// The user of the socket.
    Uid,
    /// The group of the socket.
    Gid,
    /// NFPROTO_*.
    Family,
    /// IPPROTO_*.
    Protocol,
    /// The name of the device that it leaves through.
    Device,
    /// Bytes of the transport header, at this offset.
    Transport(u32, u32),
    /// What conntrack keeps beside the mark; 0 at the start of a flow.
    FlowMark,
    /// The destination address: of IPv4 and IPv6, whole.
    Destination,
}

const EXPR_NAME: u16 = 1;
const EXPR_DATA: u16 = 2;

impl<'a> Expr<'a> {
    /// Decodes one.
    #[must_use]
    pub fn read(expr: Attrs<'a>) -> Self {
        let data = expr.nest(EXPR_DATA);
        match expr.name(EXPR_NAME).unwrap_or_default() {
            b"meta" => meta(data),
            b"payload" => payload(data),
            b"ct" => conntrack(data),
            b"immediate" => immediate(data),
            b"bitwise" => bitwise(data),
            b"cmp" => compare(data),
            b"lookup" => lookup(data),
            b"redir" => Self::Redirect {
                register: data.u32(1),
            },
            // NFT_NAT_DNAT, NFTA_NAT_REG_PROTO_MIN.
            b"nat" if data.u32(1) == Some(1) => Self::Redirect {
                register: data.u32(5),
            },
            b"notrack" => Self::NoTrack,
            b"reject" => Self::Drop,
            b"counter" | b"log" | b"nat" | b"masq" | b"last" => Self::Nothing,
            b"match" => iptables_match(data),
            b"target" => iptables_target(data),
            _ => Self::Unknown { register: None },
        }
    }
}

fn meta(data: Attrs<'_>) -> Expr<'_> {
    // NFTA_META_DREG, NFTA_META_KEY, NFTA_META_SREG.
    let what = match data.u32(2).map(|key| key as libc::c_int) {
        Some(libc::NFT_META_MARK) => Some(Field::Mark),
        Some(libc::NFT_META_SKUID) => Some(Field::Uid),
        Some(libc::NFT_META_SKGID) => Some(Field::Gid),
        Some(libc::NFT_META_NFPROTO) => Some(Field::Family),
        Some(libc::NFT_META_L4PROTO) => Some(Field::Protocol),
        Some(libc::NFT_META_OIFNAME) => Some(Field::Device),
        _ => None,
    };
    match (what, data.u32(1), data.u32(3)) {
        (Some(Field::Mark), _, Some(register)) => Expr::SetMark { register },
        // Another field of the packet: its priority, a trace of it.
        (_, None, Some(_)) => Expr::Nothing,
        (Some(what), Some(register), None) => Expr::Load { what, register },
        (_, register, _) => Expr::Unknown { register },
    }
}

fn payload(data: Attrs<'_>) -> Expr<'_> {
    // NFTA_PAYLOAD_DREG, _BASE, _OFFSET, _LEN.
    const NETWORK: u32 = 1;
    const TRANSPORT: u32 = 2;
    let register = data.u32(1);
    let what = match (data.u32(2), data.u32(3), data.u32(4)) {
        (Some(TRANSPORT), Some(offset), Some(length)) => Some(Field::Transport(offset, length)),
        (Some(NETWORK), Some(16), Some(4)) | (Some(NETWORK), Some(24), Some(16)) => {
            Some(Field::Destination)
        }
        _ => None,
    };
    match (what, register) {
        (Some(what), Some(register)) => Expr::Load { what, register },
        // Something is written into the packet.
        (_, None) => Expr::Nothing,
        (None, register) => Expr::Unknown { register },
    }
}

fn conntrack(data: Attrs<'_>) -> Expr<'_> {
    // NFTA_CT_DREG, _KEY, _SREG; NFT_CT_MARK.
    match (data.u32(1), data.u32(2), data.u32(4)) {
        (Some(register), Some(3), _) => Expr::Load {
            what: Field::FlowMark,
            register,
        },
        (None, _, Some(_)) => Expr::Nothing,
        (register, ..) => Expr::Unknown { register },
    }
}

fn immediate(data: Attrs<'_>) -> Expr<'_> {
    // NFTA_IMMEDIATE_DREG, _DATA; NFTA_DATA_VALUE, NFTA_DATA_VERDICT;
    // NFTA_VERDICT_CODE, NFTA_VERDICT_CHAIN.
    let value = data.nest(2);
    if let (Some(register), Some(bytes)) = (data.u32(1), value.get(1)) {
        return Expr::Immediate {
            data: bytes,
            register,
        };
    }
    let verdict = value.nest(2);
    let chain = verdict.name(2).unwrap_or_default();
    match verdict.u32(1).map(u32::cast_signed) {
        Some(libc::NF_DROP) => Expr::Drop,
        Some(libc::NF_ACCEPT) => Expr::Accept,
        Some(libc::NFT_RETURN) => Expr::Return,
        Some(libc::NFT_JUMP) => Expr::Call { chain, back: true },
        Some(libc::NFT_GOTO) => Expr::Call { chain, back: false },
        Some(libc::NFT_CONTINUE) => Expr::Nothing,
        _ => Expr::Unknown { register: None },
    }
}

fn bitwise(data: Attrs<'_>) -> Expr<'_> {
    // NFTA_BITWISE_SREG, _DREG, _LEN, _MASK, _XOR, _OP.
    let bytes = |kind| data.nest(kind).get(1);
    match (data.u32(1), data.u32(2), bytes(4), bytes(5), data.u32(6)) {
        (Some(from), Some(to), Some(mask), Some(xor), None | Some(0)) => Expr::Bitwise {
            from,
            to,
            mask,
            xor,
        },
        (_, to, ..) => Expr::Unknown { register: to },
    }
}

fn compare(data: Attrs<'_>) -> Expr<'_> {
    // NFTA_CMP_SREG, _OP, _DATA; NFT_CMP_EQ, NFT_CMP_NEQ.
    match (data.u32(1), data.u32(2), data.nest(3).get(1)) {
        (Some(register), Some(op @ 0..=1), Some(bytes)) => Expr::Compare {
            register,
            inverted: op == 1,
            data: bytes,
        },
        _ => Expr::Unknown { register: None },
    }
}

fn lookup(data: Attrs<'_>) -> Expr<'_> {
    // NFTA_LOOKUP_SET, _SREG, _DREG, _SET_ID, _FLAGS. With a target register it is a map.
    match (data.name(1), data.u32(2), data.u32(3)) {
        (Some(set), Some(register), None) => Expr::Lookup {
            register,
            inverted: data.u32(5).unwrap_or(0) & 1 != 0,
            set,
        },
        (_, _, register) => Expr::Unknown { register },
    }
}

/// A number of an iptables extension, whose data is a struct of the machine.
fn word(info: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(info.get(at..at + 4)?.try_into().ok()?))
}

fn iptables_match(data: Attrs<'_>) -> Expr<'_> {
    // NFTA_MATCH_NAME, _REV, _INFO.
    let info = data.get(3).unwrap_or_default();
    match (data.name(1), data.u32(2), word(info, 0), word(info, 4)) {
        (Some(b"comment"), ..) => Expr::Nothing,
        // struct xt_mark_mtinfo1.
        (Some(b"mark"), Some(1), Some(value), Some(mask)) => Expr::MatchMark {
            value,
            mask,
            inverted: info.get(8).is_some_and(|&not| not != 0),
        },
        _ => Expr::Unknown { register: None },
    }
}

/// The first port of a struct nf_nat_ipv4_multi_range_compat, which is the short
/// one, or of a struct nf_nat_range or nf_nat_range2 (linux/netfilter/nf_nat.h).
fn port_of_range(info: &[u8]) -> Option<u16> {
    let at = if info.len() <= 24 { 16 } else { 36 };
    let bytes = info.get(at..at + 2)?.try_into().ok()?;
    Some(u16::from_be_bytes(bytes)).filter(|&port| port != 0)
}

fn iptables_target(data: Attrs<'_>) -> Expr<'_> {
    // NFTA_TARGET_NAME, _REV, _INFO.
    let info = data.get(3).unwrap_or_default();
    match (data.name(1), data.u32(2)) {
        // struct xt_mark_tginfo2: mark, mask.
        (Some(b"MARK"), Some(2)) => match (word(info, 0), word(info, 4)) {
            (Some(turn), Some(clear)) => Expr::ChangeMark { clear, turn },
            _ => Expr::Unknown { register: None },
        },
        (Some(b"REDIRECT" | b"DNAT"), _) => Expr::RedirectOfIptables {
            port: port_of_range(info),
        },
        // struct xt_ct_target_info: flags, of which 1 is XT_CT_NOTRACK.
        (Some(b"CT"), _) if info.first().is_some_and(|flags| flags & 1 != 0) => Expr::NoTrack,
        (Some(b"NOTRACK"), _) => Expr::NoTrack,
        (Some(b"REJECT"), _) => Expr::Drop,
        _ => Expr::Nothing,
    }
}
