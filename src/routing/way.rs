//! Which way a packet would take: the kernel is asked (RTM_GETROUTE), and the
//! rule that sends the packet there is found among the rules.
//!
//! Nothing is sent, and no privilege is needed.

use std::fmt;
use std::net::IpAddr;

use nix::net::if_::if_indextoname;
use rtnetlink::packet_core::Parseable;
use rtnetlink::packet_route::route::{
    RouteAddress, RouteAttribute, RouteFlags, RouteMessage, RouteType, RouteVia,
};
use rtnetlink::packet_route::rule::{RuleAction, RuleAttribute};

use super::Error;
use super::kernel::Kernel;
use super::message;
use super::route::{Family, Prefix, Rule, Shown};
use crate::netlink::Refused;

/// IPPROTO_UDP of linux/in.h.
const UDP: u8 = 17;
/// How many rules a `goto` is followed through.
const MAX_RULES: usize = 4096;

/// A packet that this node might send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packet {
    /// Whereto.
    pub to: IpAddr,
    /// Index of the device of a link-local address, 0 for any.
    pub device: u32,
    /// Its mark, 0 for none.
    pub mark: u32,
    /// Its UDP destination port, none where only the address counts.
    pub port: Option<u16>,
    /// The address that its socket is bound to, none where the kernel chooses.
    pub source: Option<IpAddr>,
    /// Whose socket sends it.
    pub uid: u32,
}

/// What becomes of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Way {
    /// Where it goes.
    pub course: Course,
    /// The rule that sends it there, where it can be told.
    pub rule: Option<Rule>,
    /// The route that it takes, in words, none where there is none.
    pub route: Option<String>,
}

/// Where a packet goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Course {
    /// To this node itself.
    Here,
    /// Out.
    Out {
        /// Name of the device.
        device: String,
        /// The router, none when the destination is on-link.
        gateway: Option<IpAddr>,
        /// Which address it would come from.
        source: Option<IpAddr>,
    },
    /// Nowhere: what the sender is told.
    Nowhere(String),
}

/// Asks about ways. Remembers the rules, so it is not for long.
pub struct Ways {
    kernel: Kernel,
    /// Of [`Family::ALL`], in that order.
    rules: [Vec<Rule>; 2],
}

impl Ways {
    /// Opens a socket and reads all rules.
    ///
    /// # Errors
    /// No netlink.
    pub fn open() -> Result<Self, Error> {
        let mut kernel = Kernel::open().map_err(Error::Socket)?;
        let mut rules = |family| {
            let read = kernel.rules(family);
            let what = "rules";
            read.map_err(|source| Error::Read { what, source })
        };
        let rules = [rules(Family::Ipv6)?, rules(Family::Ipv4)?];
        Ok(Self { kernel, rules })
    }

    /// The rules of a family, the first one first.
    #[must_use]
    pub fn rules(&self, family: Family) -> &[Rule] {
        match family {
            Family::Ipv6 => &self.rules[0],
            Family::Ipv4 => &self.rules[1],
        }
    }

    /// What would become of `packet`.
    ///
    /// # Errors
    /// The kernel does not say.
    pub fn of(&mut self, packet: &Packet) -> Result<Way, Refused> {
        let mut answer = None;
        // IPv6 names the table in any case, and refuses to be asked for it.
        let named = match packet.to {
            IpAddr::V4(_) => RouteFlags::LookupTable,
            IpAddr::V6(_) => RouteFlags::empty(),
        };
        let asked = self.ask(packet, named, |message| {
            answer = Some(message);
        });
        let message = match (asked, answer) {
            (Ok(()), Some(message)) => message,
            (Ok(()), None) => return Err(std::io::Error::other("no answer").into()),
            (Err(refused), _) => return self.nowhere(packet, refused),
        };
        let mut table = u32::from(message.header.table);
        let course = course(&message, &mut table);
        let mut route = None;
        let flags = named | RouteFlags::FibMatch;
        // Before Linux 4.13 there is no such question; the way is known without.
        let _ = self.ask(packet, flags, |message| {
            if let Some(found) = message::routes(message).into_iter().next() {
                table = found.table;
                let device = device_name(found.device);
                route = Some(Shown(&found, &device).to_string());
            }
        });
        let sends = |rule: &Rule| rule.action == RuleAction::ToTable && rule.table == table;
        let rules = self.rules(Family::of(packet.to));
        Ok(Way {
            course,
            rule: first(rules, packet, sends).cloned(),
            route,
        })
    }

    /// The kernel says "no way" with one of these errors; any other is no answer.
    fn nowhere(&self, packet: &Packet, refused: Refused) -> Result<Way, Refused> {
        // Of routes and rules: unreachable, prohibit, blackhole (fib_props of
        // net/ipv4/fib_semantics.c, fib_rule_action of the two families).
        let known = [
            libc::ENETUNREACH,
            libc::EHOSTUNREACH,
            libc::EACCES,
            libc::EINVAL,
        ];
        if !known.iter().any(|&code| refused.is(code)) {
            return Err(refused);
        }
        let stops = |rule: &Rule| {
            !matches!(
                rule.action,
                RuleAction::ToTable | RuleAction::Goto | RuleAction::Nop
            )
        };
        let rules = self.rules(Family::of(packet.to));
        Ok(Way {
            course: Course::Nowhere(refused.to_string()),
            rule: first(rules, packet, stops).cloned(),
            route: None,
        })
    }

    fn ask(
        &mut self,
        packet: &Packet,
        flags: RouteFlags,
        mut take: impl FnMut(RouteMessage),
    ) -> Result<(), Refused> {
        let mut request = RouteMessage::default();
        let header = &mut request.header;
        header.address_family = message::address_family(Family::of(packet.to));
        header.destination_prefix_length = match packet.to {
            IpAddr::V4(_) => 32,
            IpAddr::V6(_) => 128,
        };
        header.flags = flags;
        let attributes = &mut request.attributes;
        attributes.push(RouteAttribute::Destination(packet.to.into()));
        if let Some(source) = packet.source {
            header.source_prefix_length = header.destination_prefix_length;
            attributes.push(RouteAttribute::Source(source.into()));
        }
        attributes.push(RouteAttribute::Mark(packet.mark));
        attributes.push(RouteAttribute::Uid(packet.uid));
        if packet.device != 0 {
            attributes.push(RouteAttribute::Oif(packet.device));
        }
        if let Some(port) = packet.port {
            attributes.push(RouteAttribute::IpProto(UDP));
            attributes.push(RouteAttribute::Dport(port));
        }
        self.kernel.way(&request, |payload| {
            if let Ok(message) = RouteMessage::parse(payload) {
                take(message);
            }
        })
    }
}

fn course(message: &RouteMessage, table: &mut u32) -> Course {
    let mut device = 0;
    let (mut gateway, mut source) = (None, None);
    for attribute in &message.attributes {
        match attribute {
            RouteAttribute::Table(number) => *table = *number,
            RouteAttribute::Oif(index) => device = *index,
            RouteAttribute::Gateway(addr) => gateway = ip(addr),
            RouteAttribute::Via(RouteVia::Inet(addr)) => gateway = Some((*addr).into()),
            RouteAttribute::Via(RouteVia::Inet6(addr)) => gateway = Some((*addr).into()),
            RouteAttribute::PrefSource(addr) => source = ip(addr),
            _ => {}
        }
    }
    match message.header.kind {
        RouteType::Local | RouteType::Anycast => Course::Here,
        RouteType::Unreachable => Course::Nowhere("unreachable".into()),
        RouteType::Prohibit => Course::Nowhere("prohibited".into()),
        RouteType::BlackHole => Course::Nowhere("dropped".into()),
        _ => Course::Out {
            device: device_name(device),
            gateway,
            source,
        },
    }
}

fn device_name(index: u32) -> String {
    let name = if_indextoname(index).ok();
    name.and_then(|name| name.into_string().ok())
        .unwrap_or_else(|| format!("#{index}"))
}

fn ip(addr: &RouteAddress) -> Option<IpAddr> {
    match addr {
        RouteAddress::Inet(addr) => Some((*addr).into()),
        RouteAddress::Inet6(addr) => Some((*addr).into()),
        _ => None,
    }
}

/// The first rule that takes the packet and is `wanted`, in the kernel's order.
#[must_use]
pub fn first<'a>(
    rules: &'a [Rule],
    packet: &Packet,
    wanted: impl Fn(&Rule) -> bool,
) -> Option<&'a Rule> {
    let mut from = 0;
    for _ in 0..MAX_RULES {
        let (at, rule) =
            (rules.iter().enumerate().skip(from)).find(|(_, rule)| may_take(rule, packet))?;
        if wanted(rule) {
            return Some(rule);
        }
        let target = rule.others.attributes.iter().find_map(|other| match other {
            RuleAttribute::Goto(priority) if rule.action == RuleAction::Goto => Some(*priority),
            _ => None,
        });
        from = at + 1;
        if let Some(target) = target {
            from += rules[from..]
                .iter()
                .take_while(|rule| rule.priority < target)
                .count();
        }
    }
    None
}

/// Whether a rule takes a packet that this node sends, as far as can be told:
/// what cannot be compared counts as equal.
#[must_use]
pub fn may_take(rule: &Rule, packet: &Packet) -> bool {
    let of_mark = rule
        .mark
        .is_none_or(|mark| packet.mark & mark.mask == mark.value);
    let (to, from) = rule.others.prefix_lens;
    let of_others = rule.others.attributes.iter().all(|other| match other {
        RuleAttribute::Destination(addr) => Prefix {
            addr: *addr,
            len: to,
        }
        .contains(packet.to),
        // Only a socket that is bound has its address already.
        RuleAttribute::Source(addr) => packet.source.is_some_and(|source| {
            Prefix {
                addr: *addr,
                len: from,
            }
            .contains(source)
        }),
        RuleAttribute::Iifname(name) => name == "lo",
        RuleAttribute::Oifname(name) => packet.device != 0 && device_name(packet.device) == *name,
        RuleAttribute::UidRange(range) => (range.start..=range.end).contains(&packet.uid),
        RuleAttribute::IpProtocol(protocol) => packet.port.is_some() && u8::from(*protocol) == UDP,
        RuleAttribute::DestinationPortRange(range) => packet
            .port
            .is_some_and(|port| (range.start..=range.end).contains(&port)),
        RuleAttribute::SourcePortRange(_) | RuleAttribute::TunId(_) => false,
        _ => true,
    });
    let takes = of_mark && rule.others.tos == 0 && of_others;
    takes != rule.others.inverted
}

impl fmt::Display for Course {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Here => f.write_str("this node"),
            Self::Out {
                device,
                gateway: Some(gateway),
                ..
            } => write!(f, "{device} via {gateway}"),
            Self::Out { device, .. } => write!(f, "{device}, on-link"),
            Self::Nowhere(why) => write!(f, "nowhere ({why})"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Mark;
    use crate::routing::route::Others;
    use rtnetlink::packet_route::rule::RulePortRange;

    const PACKET: Packet = Packet {
        to: IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1)),
        device: 0,
        mark: 1,
        port: Some(53),
        source: None,
        uid: 453,
    };

    fn rule(priority: u32, action: RuleAction, table: u32) -> Rule {
        Rule {
            family: Family::Ipv4,
            protocol: 0,
            priority,
            mark: None,
            table,
            action,
            others: Others::default(),
        }
    }

    fn with(attribute: RuleAttribute) -> Rule {
        let mut rule = rule(5, RuleAction::ToTable, 7);
        rule.others.attributes.push(attribute);
        rule.others.prefix_lens = (24, 24);
        rule
    }

    #[test]
    fn a_rule_takes_what_fulfils_all_its_conditions() {
        let net = |text: &str| RuleAttribute::Destination(text.parse().unwrap());
        let ports = |start, end| RuleAttribute::DestinationPortRange(RulePortRange { start, end });
        for (attribute, expected) in [
            (net("192.0.2.0"), true),
            (net("198.51.100.0"), false),
            (RuleAttribute::Source("192.0.2.0".parse().unwrap()), false),
            (RuleAttribute::Iifname("lo".into()), true),
            (RuleAttribute::Iifname("eth0".into()), false),
            (RuleAttribute::Oifname("eth0".into()), false),
            (ports(1, 53), true),
            (ports(54, 60), false),
            (RuleAttribute::TunId(4), false),
            (RuleAttribute::SuppressPrefixLen(0), true),
        ] {
            let mut rule = with(attribute);
            assert_eq!(may_take(&rule, &PACKET), expected, "{rule:?}");
            rule.others.inverted = true;
            assert_eq!(may_take(&rule, &PACKET), !expected, "not {rule:?}");
        }
        let mut marked = rule(5, RuleAction::ToTable, 7);
        for (value, mask, expected) in [(1, 1, true), (1, 3, true), (3, 3, false), (0, 1, false)] {
            marked.mark = Some(Mark { value, mask });
            assert_eq!(may_take(&marked, &PACKET), expected, "{value}/{mask}");
        }
    }

    #[test]
    fn the_first_one_counts_and_a_goto_jumps_over_some() {
        let table = |rule: &Rule| rule.table == 7;
        let mut jump = rule(1, RuleAction::Goto, 0);
        jump.others.attributes.push(RuleAttribute::Goto(20));
        let rules = [
            rule(0, RuleAction::ToTable, 255),
            jump,
            rule(10, RuleAction::ToTable, 7),
            rule(20, RuleAction::ToTable, 7),
        ];
        assert_eq!(first(&rules, &PACKET, table).unwrap().priority, 20);
        assert_eq!(first(&rules[2..], &PACKET, table).unwrap().priority, 10);
        assert_eq!(first(&rules[..2], &PACKET, table), None);
    }
}
