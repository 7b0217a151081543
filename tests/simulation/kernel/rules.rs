//! Policy rules: net/core/fib_rules.c, with what net/ipv4/fib_rules.c and
//! net/ipv6/fib6_rules.c add.

use libc::{EACCES, EAGAIN, EEXIST, EINVAL, ENETUNREACH, ENOENT};

use super::net::{Family, Net};
use super::{DEFAULT, Errno, Flow, Kernel, LOCAL, MAIN, Notice, Route, Verdict};

/// FR_ACT_* of linux/fib_rules.h.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Action {
    /// What a request without any gets: nothing but an error for each packet.
    Unspec,
    ToTable(u32),
    /// To the first rule with that priority or, where there is none, nowhere.
    Goto(u32),
    Nop,
    Blackhole,
    Unreachable,
    Prohibit,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    pub family: Family,
    pub priority: u32,
    pub proto: u8,
    pub from: Option<Net>,
    pub to: Option<Net>,
    pub iif: Option<String>,
    pub oif: Option<String>,
    pub mark: u32,
    /// 0: any mark.
    pub mask: u32,
    pub invert: bool,
    pub action: Action,
    /// `suppress_prefixlength`.
    pub suppress: Option<u8>,
}

impl Rule {
    pub fn new(family: Family, priority: u32, action: Action) -> Self {
        Self {
            family,
            priority,
            proto: 0,
            from: None,
            to: None,
            iif: None,
            oif: None,
            mark: 0,
            mask: 0,
            invert: false,
            action,
            suppress: None,
        }
    }

    /// fib_rule_match.
    fn matches(&self, kernel: &Kernel, flow: &Flow) -> bool {
        let device = |name: &Option<String>, index| match name {
            None => true,
            Some(name) => kernel.index(name) == Some(index),
        };
        let matches = device(&self.iif, flow.iif)
            && device(&self.oif, flow.oif)
            && (self.mark ^ flow.mark) & self.mask == 0
            && self.to.is_none_or(|to| to.contains(flow.dst))
            // Without an address of its own a packet has that of nobody, and
            // FIB_RULE_FIND_SADDR is nothing that ip(8) can ask for.
            && self.from.is_none_or(|from| match (self.family, flow.src) {
                (_, Some(src)) => from.contains(src),
                (Family::V4, None) => from.contains(Family::V4.unspecified()),
                (Family::V6, None) => false,
            });
        matches != self.invert
    }
}

/// What fib4_default_rules_init and fib6_rules_net_init make.
pub fn of_boot() -> Vec<Rule> {
    let rule = |family, priority, table| Rule {
        proto: super::KERNEL,
        ..Rule::new(family, priority, Action::ToTable(table))
    };
    vec![
        rule(Family::V4, 0, LOCAL),
        rule(Family::V4, 32766, MAIN),
        rule(Family::V4, 32767, DEFAULT),
        rule(Family::V6, 0, LOCAL),
        rule(Family::V6, 32766, MAIN),
    ]
}

/// What a table said.
pub enum Found<'a> {
    /// The routes that may be taken; of IPv4 with the next hop, of IPv6 the only.
    Routes(Vec<(&'a Route, usize)>),
    /// One that leads nowhere.
    Refused(Errno),
    Nothing,
}

impl Kernel {
    /// fib_nl_newrule. A rule is there already when all of it is the same, who made
    /// it included; `not` does not count, nor do addresses that only the older one
    /// asks for (rule_exists, fib4_rule_compare).
    pub fn new_rule(&mut self, rule: Rule, excl: bool) -> Result<(), Errno> {
        if let Action::Goto(target) = rule.action
            && target <= rule.priority
        {
            return Err(EINVAL);
        }
        if rule.suppress.is_some() && !matches!(rule.action, Action::ToTable(_)) {
            return Err(EINVAL);
        }
        if let Action::ToTable(table) = rule.action {
            if table == 0 {
                return Err(EINVAL);
            }
            self.make_table(rule.family, table);
        }
        let twin = |other: &Rule| {
            let as_this = Rule {
                invert: rule.invert,
                from: other.from.filter(|_| rule.from.is_some()),
                to: other.to.filter(|_| rule.to.is_some()),
                ..other.clone()
            };
            as_this == rule
        };
        if excl && self.rules.iter().any(twin) {
            return Err(EEXIST);
        }
        let behind = |other: &Rule| other.family == rule.family && other.priority > rule.priority;
        let at = self.rules.iter().position(behind);
        let at = at.unwrap_or_else(|| {
            let last = self.rules.iter().rposition(|r| r.family == rule.family);
            last.map_or(self.rules.len(), |last| last + 1)
        });
        self.rules.insert(at, rule.clone());
        self.notices.push(Notice::NewRule(rule));
        Ok(())
    }

    /// fib_nl_delrule: the first that has all that is asked for.
    pub fn del_rule(&mut self, wanted: impl Fn(&Rule) -> bool) -> Result<(), Errno> {
        let at = self.rules.iter().position(wanted).ok_or(ENOENT)?;
        let rule = self.rules.remove(at);
        self.notices.push(Notice::DelRule(rule));
        Ok(())
    }

    /// fib_rules_lookup. `look` looks in a table.
    pub fn by_rules<'a>(
        &'a self,
        flow: &Flow,
        look: impl Fn(u32) -> Found<'a>,
    ) -> Result<Vec<(&'a Route, usize)>, Errno> {
        self.rules_lookup(flow, true, look)
    }

    /// The same, whatever prefix lengths a rule does not want.
    pub fn by_rules_unsuppressed<'a>(
        &'a self,
        flow: &Flow,
        look: impl Fn(u32) -> Found<'a>,
    ) -> Result<Vec<(&'a Route, usize)>, Errno> {
        self.rules_lookup(flow, false, look)
    }

    fn rules_lookup<'a>(
        &'a self,
        flow: &Flow,
        suppress: bool,
        look: impl Fn(u32) -> Found<'a>,
    ) -> Result<Vec<(&'a Route, usize)>, Errno> {
        let family = Family::of(flow.dst);
        let rules: Vec<&Rule> = self.rules.iter().filter(|r| r.family == family).collect();
        let mut at = 0;
        while let Some(rule) = rules.get(at) {
            at += 1;
            if !rule.matches(self, flow) {
                continue;
            }
            match rule.action {
                Action::Nop => {}
                Action::Goto(target) => {
                    if let Some(found) = rules.iter().position(|rule| rule.priority == target) {
                        at = found;
                    }
                }
                Action::Unreachable => return Err(ENETUNREACH),
                Action::Prohibit => return Err(EACCES),
                Action::Unspec | Action::Blackhole => return Err(EINVAL),
                Action::ToTable(table) => {
                    if !self.has_table(family, table) {
                        continue;
                    }
                    match look(table) {
                        Found::Nothing | Found::Refused(EAGAIN) => {}
                        // What leads nowhere is not held against the prefix.
                        Found::Refused(errno) => return Err(errno),
                        Found::Routes(routes) => {
                            let len = routes.iter().map(|(route, _)| route.dst.len).min();
                            if !suppress || rule.suppress.is_none_or(|limit| len > Some(limit)) {
                                return Ok(routes);
                            }
                        }
                    }
                }
            }
        }
        Err(ENETUNREACH)
    }

    /// The verdict over what was found.
    pub fn verdicts(found: Result<Vec<(&Route, usize)>, Errno>) -> Vec<Verdict> {
        match found {
            Err(errno) => vec![Verdict::Error(errno)],
            Ok(routes) => routes
                .into_iter()
                .map(|(route, hop)| match (route.kind, route.hops.get(hop)) {
                    (super::Kind::Unicast, Some(hop)) => Verdict::Out {
                        dev: hop.dev,
                        via: hop.via,
                    },
                    _ => Verdict::Local,
                })
                .collect(),
        }
    }
}
