//! Which rule takes a packet: pure.

use std::net::IpAddr;

use rtnetlink::packet_route::rule::RuleAction;

use super::super::prefix::Prefix;
use super::super::rule::Rule;
use super::{Packet, UDP, device_name};
use crate::netlink::Attrs;
use crate::netlink::route::{fra, ip, number};

/// How many rules a `goto` is followed through.
const MAX_RULES: usize = 4096;

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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Mark;
    use crate::netlink::put;
    use crate::netlink::route::put_number;
    use crate::routing::prefix::Family;
    use crate::routing::rule::Others;

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
