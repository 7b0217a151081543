//! Which way a packet would take: the kernel is asked (RTM_GETROUTE), and the
//! rule that sends the packet there is found among the rules.
//!
//! Nothing is sent, and no privilege is needed.

use std::fmt;
use std::net::IpAddr;

use nix::net::if_::if_indextoname;
use rtnetlink::packet_route::route::{RouteFlags, RouteHeader, RouteType};
use rtnetlink::packet_route::rule::RuleAction;

use super::Error;
use super::kernel::Kernel;
use super::message;
use super::route::{Family, Prefix, Route, Rule, Shown};
use crate::netlink::route::{fra, ip, number, put_ip, put_number, request, rta};
use crate::netlink::{Attrs, Refused, put};

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
        // IPv6 names the table in any case, and refuses to be asked for it.
        let named = match packet.to {
            IpAddr::V4(_) => RouteFlags::LookupTable,
            IpAddr::V6(_) => RouteFlags::empty(),
        };
        let taken = match self.ask(packet, named, message::named) {
            Ok(Some(taken)) => taken,
            Ok(None) => return Err(std::io::Error::other("no answer").into()),
            Err(refused) => return self.nowhere(packet, refused),
        };
        // Before Linux 4.13 there is no such question; the way is known without.
        let stored = |answer: &[u8]| message::routes(answer).into_iter().next();
        let found = self.ask(packet, named | RouteFlags::FibMatch, stored);
        let found = found.ok().flatten();
        let table = found.as_ref().unwrap_or(&taken).table;
        let sends = |rule: &Rule| rule.action == RuleAction::ToTable && rule.table == table;
        let rules = self.rules(Family::of(packet.to));
        Ok(Way {
            course: course(&taken),
            rule: first(rules, packet, &sends).cloned(),
            route: found.map(|route| Shown(&route, &device_name(route.device)).to_string()),
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
            rule: first(rules, packet, &stops).cloned(),
            route: None,
        })
    }

    /// The route that the kernel names, as `read` finds it in the answer.
    fn ask(
        &mut self,
        packet: &Packet,
        flags: RouteFlags,
        read: fn(&[u8]) -> Option<Route>,
    ) -> Result<Option<Route>, Refused> {
        let bits = match packet.to {
            IpAddr::V4(_) => 32,
            IpAddr::V6(_) => 128,
        };
        let mut body = request(&RouteHeader {
            address_family: message::address_family(Family::of(packet.to)),
            destination_prefix_length: bits,
            source_prefix_length: packet.source.map_or(0, |_| bits),
            flags,
            ..RouteHeader::default()
        });
        put_ip(&mut body, rta::DST, packet.to);
        if let Some(source) = packet.source {
            put_ip(&mut body, rta::SRC, source);
        }
        put_number(&mut body, rta::MARK, packet.mark);
        put_number(&mut body, rta::UID, packet.uid);
        if packet.device != 0 {
            put_number(&mut body, rta::OIF, packet.device);
        }
        if let Some(port) = packet.port {
            put(&mut body, rta::IP_PROTO, &[UDP]);
            put(&mut body, rta::DPORT, &port.to_be_bytes());
        }
        let mut named = None;
        self.kernel.way(&body, &mut |answer| named = read(answer))?;
        Ok(named)
    }
}

fn course(route: &Route) -> Course {
    match route.kind {
        RouteType::Local | RouteType::Anycast => Course::Here,
        RouteType::Unreachable => Course::Nowhere("unreachable".into()),
        RouteType::Prohibit => Course::Nowhere("prohibited".into()),
        RouteType::BlackHole => Course::Nowhere("dropped".into()),
        _ => Course::Out {
            device: device_name(route.device),
            gateway: route.gateway,
            source: route.prefsrc,
        },
    }
}

fn device_name(index: u32) -> String {
    let name = if_indextoname(index).ok();
    name.and_then(|name| name.into_string().ok())
        .unwrap_or_else(|| format!("#{index}"))
}

/// The first rule that takes the packet and is `wanted`, in the kernel's order.
#[must_use]
pub fn first<'a>(
    rules: &'a [Rule],
    packet: &Packet,
    wanted: &dyn Fn(&Rule) -> bool,
) -> Option<&'a Rule> {
    let mut from = 0;
    for _ in 0..MAX_RULES {
        let (at, rule) =
            (rules.iter().enumerate().skip(from)).find(|(_, rule)| may_take(rule, packet))?;
        if wanted(rule) {
            return Some(rule);
        }
        from = at + 1;
        if rule.action == RuleAction::Goto
            && let Some(target) = Attrs(&rule.others.attributes)
                .get(fra::GOTO)
                .and_then(number)
        {
            while rules.get(from).is_some_and(|rule| rule.priority < target) {
                from += 1;
            }
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
    let mut others = Attrs(&rule.others.attributes);
    let of_others = others.all(|(kind, value)| fulfils(packet, rule, kind, value));
    let takes = of_mark && rule.others.tos == 0 && of_others;
    takes != rule.others.inverted
}

/// Whether a packet is what one attribute of a rule asks for.
fn fulfils(packet: &Packet, rule: &Rule, kind: u16, value: &[u8]) -> bool {
    let (to, from) = rule.others.prefix_lens;
    let is_within =
        |addr: IpAddr, len| ip(value).is_none_or(|net| Prefix { addr: net, len }.contains(addr));
    let is_named = |name: &str| value.strip_suffix(&[0]) == Some(name.as_bytes());
    match kind {
        fra::DST => is_within(packet.to, to),
        // Only a socket that is bound has its address already.
        fra::SRC => packet.source.is_some_and(|source| is_within(source, from)),
        fra::IIFNAME => is_named("lo"),
        fra::OIFNAME => packet.device != 0 && is_named(&device_name(packet.device)),
        fra::UID_RANGE => is_between(value, packet.uid),
        fra::IP_PROTO => packet.port.is_some() && value == [UDP],
        fra::DPORT_RANGE => packet
            .port
            .is_some_and(|port| is_between(value, port.into())),
        fra::SPORT_RANGE | fra::TUN_ID => false,
        _ => true,
    }
}

/// Whether a number is within a range: two numbers of the same size.
fn is_between(range: &[u8], number: u32) -> bool {
    let (start, end) = range.split_at(range.len() / 2);
    let read = |half: &[u8]| match *half {
        [a, b] => u32::from(u16::from_ne_bytes([a, b])),
        [a, b, c, d] => u32::from_ne_bytes([a, b, c, d]),
        _ => number,
    };
    (read(start)..=read(end)).contains(&number)
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

    fn with(kind: u16, value: &[u8]) -> Rule {
        let mut rule = rule(5, RuleAction::ToTable, 7);
        put(&mut rule.others.attributes, kind, value);
        rule.others.prefix_lens = (24, 24);
        rule
    }

    #[test]
    fn a_rule_takes_what_fulfils_all_its_conditions() {
        let ports = |start: u16, end: u16| [start.to_ne_bytes(), end.to_ne_bytes()].concat();
        let uids = |start: u32, end: u32| [start.to_ne_bytes(), end.to_ne_bytes()].concat();
        for (kind, value, expected) in [
            (fra::DST, vec![192, 0, 2, 0], true),
            (fra::DST, vec![198, 51, 100, 0], false),
            (fra::SRC, vec![192, 0, 2, 0], false),
            (fra::IIFNAME, b"lo\0".to_vec(), true),
            (fra::IIFNAME, b"eth0\0".to_vec(), false),
            (fra::OIFNAME, b"eth0\0".to_vec(), false),
            (fra::UID_RANGE, uids(0, 453), true),
            (fra::UID_RANGE, uids(454, u32::MAX), false),
            (fra::IP_PROTO, vec![UDP], true),
            (fra::IP_PROTO, vec![6], false),
            (fra::DPORT_RANGE, ports(1, 53), true),
            (fra::DPORT_RANGE, ports(54, 60), false),
            (fra::SPORT_RANGE, ports(1, 65535), false),
            (fra::TUN_ID, vec![0, 0, 0, 0, 0, 0, 0, 4], false),
            (fra::SUPPRESS_PREFIXLEN, vec![0; 4], true),
        ] {
            let mut rule = with(kind, &value);
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
        put_number(&mut jump.others.attributes, fra::GOTO, 20);
        let rules = [
            rule(0, RuleAction::ToTable, 255),
            jump,
            rule(10, RuleAction::ToTable, 7),
            rule(20, RuleAction::ToTable, 7),
        ];
        assert_eq!(first(&rules, &PACKET, &table).unwrap().priority, 20);
        assert_eq!(first(&rules[2..], &PACKET, &table).unwrap().priority, 10);
        assert_eq!(first(&rules[..2], &PACKET, &table), None);
    }
}
