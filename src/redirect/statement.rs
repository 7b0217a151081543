//! What rules are made of, in nft's sense of the word: each knows how nft writes
//! it and which expressions nf_tables makes of it, in one place, so that the text
//! for fw4 and the table in the kernel cannot differ.

use std::fmt;

use nftnl::nftnl_sys::libc;

use super::expr::{Ct, Expr, Header, Meta};
use super::set::{Data, Elements, Numbers, Set};
use crate::config::Mark;

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
    OfGroup(Numbers),
    /// TCP or UDP.
    TcpOrUdp,
    /// UDP to this port.
    UdpTo(u16),
    /// TCP to this port.
    TcpTo(u16),
    /// To this port, of whatever transport protocol has ports.
    To(u16),
    /// To one of these ports, at least one.
    ToAny(Numbers),
    /// The packet has this mark.
    Marked(Mark),
    /// The packet has another mark, or none.
    NotMarked(Mark),
    /// A program has sent it: it has a socket. What is forwarded has none, nor have
    /// the answers of the kernel itself.
    Sent,
    /// It belongs to a flow that began on its side.
    OfOwnFlow,
    /// It belongs to no flow and begins none, as a reset without a connection.
    OfNoFlow,
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
    /// Appends the expressions, in their order.
    pub fn add_to(&self, exprs: &mut Vec<Expr>) {
        let mut add = |more: &[Expr]| exprs.extend_from_slice(more);
        match self {
            Self::OfGroup(gids) => add(&[Expr::Meta(Meta::SkGid), among(Elements::Gids, gids)]),
            Self::TcpOrUdp => {
                let both = Numbers::from(&[TCP.into(), UDP.into()][..]);
                add(&[Expr::Meta(Meta::L4Proto), among(Elements::Protocols, &both)]);
            }
            Self::UdpTo(port) => add(&of_protocol_to(UDP, *port)),
            Self::TcpTo(port) => add(&of_protocol_to(TCP, *port)),
            Self::To(port) => add(&[DESTINATION_PORT, Expr::Equals(port.to_be_bytes().into())]),
            Self::ToAny(ports) => add(&[DESTINATION_PORT, among(Elements::Ports, ports)]),
            Self::Marked(mark) | Self::NotMarked(mark) => {
                let value = mark.value.to_ne_bytes().into();
                add(&[Expr::Meta(Meta::Mark)]);
                if mark.mask != u32::MAX {
                    add(&[leave(mark.mask)]);
                }
                add(&[match self {
                    Self::Marked(_) => Expr::Equals(value),
                    _ => Expr::Differs(value),
                }]);
            }
            Self::Sent => add(&[
                Expr::Meta(Meta::SkUid),
                Expr::Differs(NOBODY.to_ne_bytes().into()),
            ]),
            Self::OfOwnFlow => add(&[
                Expr::Ct(Ct::State),
                leave(ESTABLISHED | NEW),
                Expr::Differs([0; 4].into()),
                Expr::Ct(Ct::Direction),
                Expr::Equals([0].into()),
            ]),
            Self::OfNoFlow => add(&[
                Expr::Ct(Ct::State),
                leave(INVALID),
                Expr::Differs([0; 4].into()),
            ]),
            Self::ByIpv6Router => add(&[
                Expr::Meta(Meta::NfProto),
                Expr::Equals([Nfproto::Ipv6.number()].into()),
                IPV6_DESTINATION,
                Expr::Differs(LINK_LOCAL.into()),
                Expr::Nexthop6,
                Expr::Equals(LINK_LOCAL.into()),
            ]),
            Self::OfFamily(family) => add(&[
                Expr::Meta(Meta::NfProto),
                Expr::Equals([family.number()].into()),
            ]),
            Self::Through(device) => {
                add(&[Expr::Meta(Meta::OifName), Expr::Equals(padded(device))]);
            }
            Self::NotThrough(device) => {
                add(&[Expr::Meta(Meta::OifName), Expr::Differs(padded(device))]);
            }
            Self::UnreachableAbout {
                family,
                source_port,
            } => add(&unreachable_about(*family, *source_port)),
            Self::Untagged => add(&has_tag(0)),
            Self::Tagged => add(&has_tag(TAG)),
            Self::Tag => add(&[
                Expr::Meta(Meta::Priority),
                replace(TAG, TAG),
                Expr::SetMeta(Meta::Priority),
            ]),
            Self::Untag => add(&[
                Expr::Meta(Meta::Priority),
                leave(!TAG_BITS),
                Expr::SetMeta(Meta::Priority),
            ]),
            // nft has no look at the old mark when none of it stays.
            Self::SetMark(mark) if mark.mask == u32::MAX => add(&[
                Expr::Load(mark.value.to_ne_bytes().into()),
                Expr::SetMeta(Meta::Mark),
            ]),
            Self::SetMark(mark) => add(&[
                Expr::Meta(Meta::Mark),
                replace(mark.mask, mark.value),
                Expr::SetMeta(Meta::Mark),
            ]),
            Self::OriginalZone(zone) => {
                add(&[Expr::Load(zone.to_ne_bytes().into()), Expr::SetOriginalZone])
            }
            Self::Counter => add(&[Expr::Counter]),
            Self::RedirectTo(port) => {
                add(&[Expr::Load(port.to_be_bytes().into()), Expr::Redirect]);
            }
            Self::Accept => add(&[Expr::Accept]),
            Self::Drop => add(&[Expr::Drop]),
            Self::Goto(chain) => add(&[Expr::Goto((*chain).into())]),
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
const INVALID: u32 = 1;
const ESTABLISHED: u32 = 2;
const NEW: u32 = 8;

fn of_protocol_to(protocol: u8, port: u16) -> [Expr; 4] {
    [
        Expr::Meta(Meta::L4Proto),
        Expr::Equals([protocol].into()),
        DESTINATION_PORT,
        Expr::Equals(port.to_be_bytes().into()),
    ]
}

/// nft needs no set for one element.
fn among(of: Elements, numbers: &Numbers) -> Expr {
    match numbers.as_slice() {
        [one] => Expr::Equals(of.data(*one)),
        _ => Expr::In(Set {
            of,
            numbers: numbers.clone(),
        }),
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

fn has_tag(tag: u32) -> [Expr; 3] {
    [
        Expr::Meta(Meta::Priority),
        leave(TAG_BITS),
        Expr::Equals(tag.to_ne_bytes().into()),
    ]
}

/// A device's name as nf_tables compares it: filled up. The configuration has none that
/// is longer, nor has the kernel.
fn padded(device: &str) -> Data {
    let mut name = [0; libc::IFNAMSIZ];
    for (to, from) in name.iter_mut().zip(device.bytes()) {
        *to = from;
    }
    name.into()
}

fn unreachable_about(family: Nfproto, source_port: u16) -> [Expr; 10] {
    let icmp = family.icmp();
    let at = |offset, length| Expr::Payload {
        header: Header::Transport,
        offset,
        length,
    };
    [
        Expr::Meta(Meta::NfProto),
        Expr::Equals([family.number()].into()),
        Expr::Meta(Meta::L4Proto),
        Expr::Equals([icmp.protocol].into()),
        at(0, 2),
        Expr::Equals(icmp.port_unreachable.into()),
        at(icmp.inner_protocol, 1),
        Expr::Equals([UDP].into()),
        at(icmp.inner_source_port, 2),
        Expr::Equals(source_port.to_be_bytes().into()),
    ]
}

/// As nft lists it.
impl fmt::Display for Statement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OfGroup(gids) => write!(f, "meta skgid {gids}"),
            Self::TcpOrUdp => write!(f, "meta l4proto {{ tcp, udp }}"),
            Self::UdpTo(port) => write!(f, "udp dport {port}"),
            Self::TcpTo(port) => write!(f, "tcp dport {port}"),
            Self::To(port) => write!(f, "th dport {port}"),
            Self::ToAny(ports) => write!(f, "th dport {ports}"),
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
            Self::OfNoFlow => write!(f, "ct state invalid"),
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

    fn exprs(statement: &Statement) -> Vec<Expr> {
        let mut exprs = Vec::new();
        statement.add_to(&mut exprs);
        exprs
    }

    #[test]
    fn ports_are_in_network_order_and_groups_marks_and_zones_in_the_hosts() {
        let gid = 0x0001_0203_u32;
        assert_eq!(
            exprs(&Statement::OfGroup(Numbers::from(&[gid][..]))),
            [
                Expr::Meta(Meta::SkGid),
                Expr::Equals(gid.to_ne_bytes().into())
            ]
        );
        assert_eq!(
            exprs(&Statement::OfGroup(Numbers::from(&[801, 800][..])))[1],
            Expr::In(Set {
                of: Elements::Gids,
                numbers: Numbers::from(&[800, 801][..]),
            })
        );
        assert_eq!(
            exprs(&Statement::UdpTo(0x1234)),
            [
                Expr::Meta(Meta::L4Proto),
                Expr::Equals([17].into()),
                DESTINATION_PORT,
                Expr::Equals([0x12, 0x34].into()),
            ]
        );
        assert_eq!(
            exprs(&Statement::RedirectTo(0x1234)),
            [Expr::Load([0x12, 0x34].into()), Expr::Redirect]
        );
        assert_eq!(
            exprs(&Statement::OriginalZone(0x1234))[0],
            Expr::Load(0x1234_u16.to_ne_bytes().into())
        );
        assert_eq!(
            exprs(&Statement::NotThrough("wan".into()))[1],
            Expr::Differs((*b"wan\0\0\0\0\0\0\0\0\0\0\0\0\0").into())
        );
    }

    #[test]
    fn a_mark_is_some_bits_or_all() {
        let both = |mark: Mark| (Statement::Marked(mark), Statement::SetMark(mark));
        let (value, mask) = (0x10_u32, 0xf0);
        let (matches, sets) = both(Mark { value, mask });
        assert_eq!(matches.to_string(), "meta mark & 0x000000f0 == 0x00000010");
        let and = Expr::Bitwise { mask, xor: 0 };
        let bytes = Data::from(value.to_ne_bytes());
        assert_eq!(
            exprs(&matches),
            [Expr::Meta(Meta::Mark), and, Expr::Equals(bytes)]
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
            exprs(&sets),
            [Expr::Meta(Meta::Mark), bits, Expr::SetMeta(Meta::Mark)]
        );
        let (matches, sets) = both(Mark {
            value,
            mask: u32::MAX,
        });
        assert_eq!(matches.to_string(), "meta mark 0x00000010");
        assert_eq!(exprs(&matches).len(), 2);
        assert_eq!(sets.to_string(), "meta mark set 0x00000010");
        assert_eq!(exprs(&sets), [Expr::Load(bytes), Expr::SetMeta(Meta::Mark)]);
        let whole = Statement::SetMark(Mark { value: 1, mask: 1 });
        assert_eq!(whole.to_string(), "meta mark set meta mark | 0x00000001");
    }

    #[test]
    fn what_is_remembered_takes_nothing_from_the_priority() {
        let priority = |statement: Statement, old: u32| match exprs(&statement)[..] {
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
