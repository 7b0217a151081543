//! What rules are made of, in nft's sense of the word: each knows how nft writes
//! it and which expressions nf_tables makes of it, in one place, so that the text
//! for fw4 and the table in the kernel cannot differ.

use std::collections::BTreeSet;
use std::ffi::CString;
use std::fmt;

use nftnl::nftnl_sys::libc;

use super::expr::{Ct, Expr, Header, Meta, Set};
use crate::config::Mark;

/// IFNAMSIZ of linux/if.h.
const NAME_LEN: usize = libc::IFNAMSIZ;
const TCP: u8 = libc::IPPROTO_TCP as u8;
const UDP: u8 = libc::IPPROTO_UDP as u8;
/// In the upper half of a packet's priority while it is remembered that the packet
/// was marked. tc writes class ids so, as MAJOR:MINOR, in hexadecimal; `gW`.
const TAG: u32 = 0x6757_0000;
const TAG_BITS: u32 = 0xffff_0000;

/// One statement of a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Statement {
    /// The socket was made by a process of one of these groups, at least one.
    OfGroup(BTreeSet<u32>),
    /// TCP or UDP.
    TcpOrUdp,
    /// UDP to this port.
    UdpTo(u16),
    /// To this port, of whatever transport protocol has ports.
    To(u16),
    /// To one of these ports, at least one.
    ToAny(BTreeSet<u16>),
    /// The packet has this mark.
    Marked(Mark),
    /// The packet has another mark, or none.
    NotMarked(Mark),
    /// A program has sent it: it has a socket. What is forwarded has none, nor have
    /// the answers of the kernel itself.
    Sent,
    /// It belongs to a flow that began on its side.
    OfOwnFlow,
    /// An IPv6 packet that leaves by way of a router, which has a link-local address,
    /// as all have that are found by router advertisements.
    ByIpv6Router,
    /// The packet is of this family.
    OfFamily(Nfproto),
    /// It leaves through this device.
    Through(String),
    /// It does not leave through this device.
    NotThrough(String),
    /// An ICMP error: nobody listens on the port that a UDP packet from this port
    /// was for.
    UnreachableAbout {
        /// Of both packets.
        family: Nfproto,
        /// Where the packet came from that the error is about.
        source_port: u16,
    },
    /// Nothing is remembered of the packet, and there is room for it.
    Untagged,
    /// Remembers something of the packet until it leaves the hook, beside the priority
    /// that it has, which must be below 65536. All that Linux gives to packets are.
    Tag,
    /// Something is remembered.
    Tagged,
    /// Forgets it; the priority is what it was.
    Untag,
    /// Gives the packet this mark, and leaves other bits alone.
    SetMark(Mark),
    /// Has conntrack look for the flow's first direction in this zone.
    OriginalZone(u16),
    /// Counts packets and bytes.
    Counter,
    /// To this port of this host.
    RedirectTo(u16),
    /// On with the next chain.
    Accept,
    /// Ends it.
    Drop,
    /// On in this chain, and not back.
    Goto(&'static str),
}

/// One of the two families of a table of family inet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Nfproto {
    /// IPv4.
    Ipv4,
    /// IPv6.
    Ipv6,
}

impl Nfproto {
    /// NFPROTO_*.
    fn number(self) -> u8 {
        match self {
            Self::Ipv4 => libc::NFPROTO_IPV4 as u8,
            Self::Ipv6 => libc::NFPROTO_IPV6 as u8,
        }
    }

    /// What nft calls it.
    fn name(self) -> &'static str {
        match self {
            Self::Ipv4 => "ipv4",
            Self::Ipv6 => "ipv6",
        }
    }

    /// Its ICMP.
    fn icmp(self) -> Icmp {
        match self {
            Self::Ipv4 => Icmp {
                name: "icmp",
                protocol: libc::IPPROTO_ICMP as u8,
                port_unreachable: [3, 3],
                inner_protocol: 8 + 9,
                inner_source_port: 8 + 20,
            },
            Self::Ipv6 => Icmp {
                name: "icmpv6",
                protocol: libc::IPPROTO_ICMPV6 as u8,
                port_unreachable: [1, 4],
                inner_protocol: 8 + 6,
                inner_source_port: 8 + 40,
            },
        }
    }
}

/// ICMP of a family (RFC 792, RFC 4443). Offsets are counted from its own header, of
/// 8 bytes, behind which the packet follows that the error is about; without IP
/// options or extension headers, which no DNS server sends.
struct Icmp {
    /// What nft calls it.
    name: &'static str,
    /// IPPROTO_*.
    protocol: u8,
    /// Type and code.
    port_unreachable: [u8; 2],
    /// Where the inner packet's header says what follows it.
    inner_protocol: u32,
    /// Where the inner UDP header starts.
    inner_source_port: u32,
}

impl Statement {
    /// The expressions, in their order.
    pub fn exprs(&self) -> Vec<Expr> {
        match self {
            Self::OfGroup(gids) => {
                let one = |gid: u32| gid.to_ne_bytes().to_vec();
                vec![Expr::Meta(Meta::SkGid), among(gids, one, Set::Gids)]
            }
            Self::TcpOrUdp => vec![
                Expr::Meta(Meta::L4Proto),
                Expr::In(Set::Protocols([TCP, UDP].into())),
            ],
            Self::UdpTo(port) => {
                let udp = [Expr::Meta(Meta::L4Proto), Expr::Equals(vec![UDP])];
                [udp.to_vec(), Self::To(*port).exprs()].concat()
            }
            Self::To(port) => vec![DESTINATION_PORT, Expr::Equals(port.to_be_bytes().into())],
            Self::ToAny(ports) => {
                let one = |port: u16| port.to_be_bytes().to_vec();
                vec![DESTINATION_PORT, among(ports, one, Set::Ports)]
            }
            Self::Marked(mark) => {
                let equals = Expr::Equals(mark.value.to_ne_bytes().into());
                [bits_of(*mark), vec![equals]].concat()
            }
            Self::NotMarked(mark) => {
                let differs = Expr::Differs(mark.value.to_ne_bytes().into());
                [bits_of(*mark), vec![differs]].concat()
            }
            Self::Sent => vec![
                Expr::Meta(Meta::SkUid),
                Expr::Differs(NOBODY.to_ne_bytes().into()),
            ],
            Self::OfOwnFlow => vec![
                Expr::Ct(Ct::State),
                leave(ESTABLISHED | NEW),
                Expr::Differs(vec![0; 4]),
                Expr::Ct(Ct::Direction),
                Expr::Equals(vec![0]),
            ],
            Self::ByIpv6Router => vec![
                Expr::Meta(Meta::NfProto),
                Expr::Equals(vec![Nfproto::Ipv6.number()]),
                IPV6_DESTINATION,
                Expr::Differs(LINK_LOCAL.into()),
                Expr::Nexthop6,
                Expr::Equals(LINK_LOCAL.into()),
            ],
            Self::OfFamily(family) => vec![
                Expr::Meta(Meta::NfProto),
                Expr::Equals(vec![family.number()]),
            ],
            Self::Through(device) => {
                vec![Expr::Meta(Meta::OifName), Expr::Equals(padded(device))]
            }
            Self::NotThrough(device) => {
                vec![Expr::Meta(Meta::OifName), Expr::Differs(padded(device))]
            }
            Self::UnreachableAbout {
                family,
                source_port,
            } => unreachable_about(*family, *source_port),
            Self::Untagged => has_tag(0),
            Self::Tagged => has_tag(TAG),
            Self::Tag => vec![
                Expr::Meta(Meta::Priority),
                replace(TAG, TAG),
                Expr::SetMeta(Meta::Priority),
            ],
            Self::Untag => vec![
                Expr::Meta(Meta::Priority),
                leave(!TAG_BITS),
                Expr::SetMeta(Meta::Priority),
            ],
            // nft has no look at the old mark when none of it stays.
            Self::SetMark(mark) if mark.mask == u32::MAX => vec![
                Expr::Load(mark.value.to_ne_bytes().into()),
                Expr::SetMeta(Meta::Mark),
            ],
            Self::SetMark(mark) => vec![
                Expr::Meta(Meta::Mark),
                replace(mark.mask, mark.value),
                Expr::SetMeta(Meta::Mark),
            ],
            Self::OriginalZone(zone) => {
                vec![Expr::Load(zone.to_ne_bytes().into()), Expr::SetOriginalZone]
            }
            Self::Counter => vec![Expr::Counter],
            Self::RedirectTo(port) => {
                vec![Expr::Load(port.to_be_bytes().into()), Expr::Redirect]
            }
            Self::Accept => vec![Expr::Accept],
            Self::Drop => vec![Expr::Drop],
            Self::Goto(chain) => vec![Expr::Goto(CString::new(*chain).unwrap_or_default())],
        }
    }
}

/// Bytes 2 and 3 of the header in TCP and UDP.
const DESTINATION_PORT: Expr = Expr::Payload {
    header: Header::Transport,
    offset: 2,
    length: 2,
};
/// The start of the address.
const IPV6_DESTINATION: Expr = Expr::Payload {
    header: Header::Network,
    offset: 24,
    length: 2,
};
/// How link-local addresses start in practice, fe80::/16.
const LINK_LOCAL: [u8; 2] = [0xfe, 0x80];
/// The one number that no user has.
const NOBODY: u32 = u32::MAX;
/// Bits of conntrack's state (NF_CT_STATE_BIT of linux/netfilter/nf_conntrack_common.h).
const ESTABLISHED: u32 = 2;
const NEW: u32 = 8;

/// The bits of the packet mark that count.
fn bits_of(mark: Mark) -> Vec<Expr> {
    let bits = (mark.mask != u32::MAX).then_some(leave(mark.mask));
    std::iter::once(Expr::Meta(Meta::Mark))
        .chain(bits)
        .collect()
}

/// nft needs no set for one element.
fn among<T: Copy + Ord>(
    all: &BTreeSet<T>,
    bytes: impl Fn(T) -> Vec<u8>,
    set: impl Fn(BTreeSet<T>) -> Set,
) -> Expr {
    match all.first() {
        Some(&one) if all.len() == 1 => Expr::Equals(bytes(one)),
        _ => Expr::In(set(all.clone())),
    }
}

/// Leaves these bits.
fn leave(mask: u32) -> Expr {
    Expr::Bitwise { mask, xor: 0 }
}

/// Makes `value` of the bits of `mask`.
fn replace(mask: u32, value: u32) -> Expr {
    Expr::Bitwise {
        mask: !mask,
        xor: value,
    }
}

fn has_tag(tag: u32) -> Vec<Expr> {
    vec![
        Expr::Meta(Meta::Priority),
        leave(TAG_BITS),
        Expr::Equals(tag.to_ne_bytes().into()),
    ]
}

/// A device's name as nf_tables compares it.
fn padded(device: &str) -> Vec<u8> {
    let mut name = device.as_bytes().to_vec();
    name.resize(NAME_LEN, 0);
    name
}

fn unreachable_about(family: Nfproto, source_port: u16) -> Vec<Expr> {
    let icmp = family.icmp();
    let at = |offset, length| Expr::Payload {
        header: Header::Transport,
        offset,
        length,
    };
    vec![
        Expr::Meta(Meta::NfProto),
        Expr::Equals(vec![family.number()]),
        Expr::Meta(Meta::L4Proto),
        Expr::Equals(vec![icmp.protocol]),
        at(0, 2),
        Expr::Equals(icmp.port_unreachable.into()),
        at(icmp.inner_protocol, 1),
        Expr::Equals(vec![UDP]),
        at(icmp.inner_source_port, 2),
        Expr::Equals(source_port.to_be_bytes().into()),
    ]
}

/// As nft lists it.
impl fmt::Display for Statement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OfGroup(gids) => write!(f, "meta skgid {}", listed(gids)),
            Self::TcpOrUdp => write!(f, "meta l4proto {{ tcp, udp }}"),
            Self::UdpTo(port) => write!(f, "udp dport {port}"),
            Self::To(port) => write!(f, "th dport {port}"),
            Self::ToAny(ports) => write!(f, "th dport {}", listed(ports)),
            Self::Marked(Mark { value, mask }) if *mask == u32::MAX => {
                write!(f, "meta mark {value:#010x}")
            }
            Self::Marked(Mark { value, mask }) => {
                write!(f, "meta mark & {mask:#010x} == {value:#010x}")
            }
            Self::NotMarked(Mark { value, mask }) if *mask == u32::MAX => {
                write!(f, "meta mark != {value:#010x}")
            }
            Self::NotMarked(Mark { value, mask }) => {
                write!(f, "meta mark & {mask:#010x} != {value:#010x}")
            }
            Self::Sent => write!(f, "meta skuid != {NOBODY}"),
            Self::OfOwnFlow => write!(f, "ct state established,new ct direction original"),
            Self::ByIpv6Router => {
                write!(f, "ip6 daddr != fe80::/16 rt ip6 nexthop fe80::/16")
            }
            Self::OfFamily(family) => write!(f, "meta nfproto {}", family.name()),
            Self::Through(device) => write!(f, "oifname \"{}\"", quoted(device)),
            Self::NotThrough(device) => write!(f, "oifname != \"{}\"", quoted(device)),
            Self::UnreachableAbout {
                family,
                source_port,
            } => {
                let Icmp {
                    name,
                    inner_protocol,
                    inner_source_port,
                    ..
                } = family.icmp();
                // Offsets and lengths in bits.
                write!(
                    f,
                    "{name} type destination-unreachable {name} code port-unreachable \
                     @th,{},8 {UDP:#x} @th,{},16 {source_port:#x}",
                    inner_protocol * 8,
                    inner_source_port * 8
                )
            }
            Self::Untagged => write!(f, "meta priority & {:x}:0 == none", TAG_BITS >> 16),
            Self::Tagged => {
                write!(
                    f,
                    "meta priority & {:x}:0 == {:x}:0",
                    TAG_BITS >> 16,
                    TAG >> 16
                )
            }
            Self::Tag => write!(f, "meta priority set meta priority | {:x}:0", TAG >> 16),
            Self::Untag => write!(f, "meta priority set meta priority & 0:{:x}", !TAG_BITS),
            Self::SetMark(Mark { value, mask }) if *mask == u32::MAX => {
                write!(f, "meta mark set {value:#010x}")
            }
            Self::SetMark(Mark { value, mask }) => {
                write!(f, "meta mark set meta mark ")?;
                // What is set needs no deletion before.
                let kept = !mask | value;
                if kept != u32::MAX {
                    write!(f, "& {kept:#010x} ")?;
                }
                write!(f, "| {value:#010x}")
            }
            Self::OriginalZone(zone) => write!(f, "ct original zone set {zone}"),
            Self::Counter => write!(f, "counter"),
            Self::RedirectTo(port) => write!(f, "redirect to :{port}"),
            Self::Accept => write!(f, "accept"),
            Self::Drop => write!(f, "drop"),
            Self::Goto(chain) => write!(f, "goto {chain}"),
        }
    }
}

fn listed<T: fmt::Display>(all: &BTreeSet<T>) -> String {
    let all: Vec<String> = all.iter().map(T::to_string).collect();
    match all.as_slice() {
        [one] => one.clone(),
        all => format!("{{ {} }}", all.join(", ")),
    }
}

/// At its end an asterisk would stand for any other end.
fn quoted(device: &str) -> String {
    match device.strip_suffix('*') {
        Some(start) => format!("{start}\\*"),
        None => device.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_in_network_order_and_groups_marks_and_zones_in_the_hosts() {
        let gid = 0x0001_0203_u32;
        assert_eq!(
            Statement::OfGroup([gid].into()).exprs(),
            [
                Expr::Meta(Meta::SkGid),
                Expr::Equals(gid.to_ne_bytes().into())
            ]
        );
        assert_eq!(
            Statement::OfGroup([801, 800].into()).exprs()[1],
            Expr::In(Set::Gids([800, 801].into()))
        );
        assert_eq!(
            Statement::UdpTo(0x1234).exprs(),
            [
                Expr::Meta(Meta::L4Proto),
                Expr::Equals(vec![17]),
                DESTINATION_PORT,
                Expr::Equals(vec![0x12, 0x34]),
            ]
        );
        assert_eq!(
            Statement::RedirectTo(0x1234).exprs(),
            [Expr::Load(vec![0x12, 0x34]), Expr::Redirect]
        );
        assert_eq!(
            Statement::OriginalZone(0x1234).exprs()[0],
            Expr::Load(0x1234_u16.to_ne_bytes().into())
        );
        assert_eq!(
            Statement::NotThrough("wan".into()).exprs()[1],
            Expr::Differs(b"wan\0\0\0\0\0\0\0\0\0\0\0\0\0".to_vec())
        );
    }

    #[test]
    fn a_mark_is_some_bits_or_all() {
        let exprs = |mark: Mark| (Statement::Marked(mark), Statement::SetMark(mark));
        let (value, mask) = (0x10_u32, 0xf0);
        let (matches, sets) = exprs(Mark { value, mask });
        assert_eq!(matches.to_string(), "meta mark & 0x000000f0 == 0x00000010");
        let and = Expr::Bitwise { mask, xor: 0 };
        let bytes = value.to_ne_bytes().to_vec();
        assert_eq!(
            matches.exprs(),
            [Expr::Meta(Meta::Mark), and, Expr::Equals(bytes.clone())]
        );
        assert_eq!(
            sets.to_string(),
            "meta mark set meta mark & 0xffffff1f | 0x00000010"
        );
        let bits = Expr::Bitwise {
            mask: !mask,
            xor: value,
        };
        assert_eq!(
            sets.exprs(),
            [Expr::Meta(Meta::Mark), bits, Expr::SetMeta(Meta::Mark)]
        );
        let (matches, sets) = exprs(Mark {
            value,
            mask: u32::MAX,
        });
        assert_eq!(matches.to_string(), "meta mark 0x00000010");
        assert_eq!(matches.exprs().len(), 2);
        assert_eq!(sets.to_string(), "meta mark set 0x00000010");
        assert_eq!(sets.exprs(), [Expr::Load(bytes), Expr::SetMeta(Meta::Mark)]);
        let whole = Statement::SetMark(Mark { value: 1, mask: 1 });
        assert_eq!(whole.to_string(), "meta mark set meta mark | 0x00000001");
    }

    #[test]
    fn what_is_remembered_takes_nothing_from_the_priority() {
        let priority = |statement: Statement, old: u32| match statement.exprs()[..] {
            [
                _,
                Expr::Bitwise { mask, xor },
                Expr::SetMeta(Meta::Priority),
            ] => (old & mask) ^ xor,
            _ => panic!("{statement:?}"),
        };
        for old in [0, 6, 0xffff] {
            let tagged = priority(Statement::Tag, old);
            assert_eq!(tagged, 0x6757_0000 | old);
            assert_eq!(priority(Statement::Untag, tagged), old);
        }
    }

    #[test]
    fn an_asterisk_is_itself() {
        let text = |name: &str| Statement::Through(name.into()).to_string();
        assert_eq!(text("w*n"), "oifname \"w*n\"");
        assert_eq!(text("wan*"), "oifname \"wan\\*\"");
    }
}
