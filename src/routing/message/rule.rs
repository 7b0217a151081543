//! Rules to and from rtnetlink messages.

use rtnetlink::packet_route::rule::{RuleAction, RuleFlags, RuleHeader};

use super::super::rule::{Others, Rule};
use super::{address_family, family, table};
use crate::config::Mark;
use crate::netlink::route::{RULE_HEADER, fra, number, put_number, request};
use crate::netlink::{attributes, put};

/// "No such limit" in FRA_SUPPRESS_PREFIXLEN, which every dumped rule carries.
const NOT_SUPPRESSED: u32 = u32::MAX;

/// The rule of a dumped message, none for other families.
#[must_use]
pub fn rule(body: &[u8]) -> Option<Rule> {
    let header = RuleHeader::parse(body).ok()?;
    let mut rule = Rule {
        family: family(header.family)?,
        protocol: 0,
        priority: 0,
        mark: None,
        table: header.table.into(),
        action: header.action,
        others: Others {
            prefix_lens: (header.dst_len, header.src_len),
            tos: header.tos,
            inverted: header.flags.contains(RuleFlags::Invert),
            attributes: Vec::new(),
        },
    };
    let mut mark = Mark { value: 0, mask: 0 };
    for (kind, value) in attributes(body, RULE_HEADER) {
        match (kind, number(value)) {
            (fra::PRIORITY, Some(priority)) => rule.priority = priority,
            (fra::FWMARK, Some(value)) => mark.value = value,
            (fra::FWMASK, Some(mask)) => mark.mask = mask,
            (fra::TABLE, Some(table)) => rule.table = table,
            (fra::PROTOCOL, _) => rule.protocol = value.first().copied().unwrap_or(0),
            (fra::SUPPRESS_PREFIXLEN, Some(NOT_SUPPRESSED)) => {}
            _ => put(&mut rule.others.attributes, kind, value),
        }
    }
    rule.mark = (mark.mask != 0).then_some(mark);
    Some(rule)
}

/// The message that makes or deletes a rule.
#[must_use]
pub fn of_rule(rule: &Rule) -> Vec<u8> {
    let others = &rule.others;
    let (small, large) = match rule.action {
        RuleAction::ToTable => table(rule.table),
        _ => (0, None),
    };
    let mut body = request(&RuleHeader {
        family: address_family(rule.family),
        dst_len: others.prefix_lens.0,
        src_len: others.prefix_lens.1,
        tos: others.tos,
        table: small,
        action: rule.action,
        flags: match others.inverted {
            true => RuleFlags::Invert,
            false => RuleFlags::empty(),
        },
    });
    if let Some(table) = large {
        put_number(&mut body, fra::TABLE, table);
    }
    put_number(&mut body, fra::PRIORITY, rule.priority);
    put(&mut body, fra::PROTOCOL, &[rule.protocol]);
    if let Some(mark) = rule.mark {
        put_number(&mut body, fra::FWMARK, mark.value);
        put_number(&mut body, fra::FWMASK, mark.mask);
    }
    body.extend(&others.attributes);
    body
}
