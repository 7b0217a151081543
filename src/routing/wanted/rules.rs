//! Which rules of ours there must be: pure.

use rtnetlink::packet_route::route::RouteType;
use rtnetlink::packet_route::rule::RuleAction;

use super::super::prefix::Family;
use super::super::route::{MAIN, PROTOCOL};
use super::super::rule::{Others, Rule};
use super::view::View;
use crate::config::{Mark, Routing};

/// The priority of the kernel's rule for main.
const MAIN_PRIORITY: u32 = 32766;
/// Into as many tables of others is looked.
const MAX_TABLES: usize = 16;

/// All of them; and whether one has to be made anew: it is left out here, and
/// wanted again as soon as it is gone.
pub(super) fn wanted(view: &View) -> (Vec<Rule>, bool) {
    let mut rules = vec![lookup(view.routing, view.family)];
    rules.extend(guard(view.routing, view.family));
    let stop = stop(view);
    let is_overtaken = stop.as_ref().is_some_and(|stop| is_overtaken(view, stop));
    if !is_overtaken {
        rules.extend(stop);
    }
    (rules, is_overtaken)
}

/// Marked packets look in the WAN's table.
fn lookup(routing: &Routing, family: Family) -> Rule {
    Rule {
        family,
        protocol: PROTOCOL,
        priority: routing.priority,
        mark: Some(routing.mark),
        table: routing.table,
        action: RuleAction::ToTable,
        others: Others::default(),
    }
}

/// And never look further, also in the moment between the loss of that rule, or
/// of the table's unreachable route, and its return.
fn guard(routing: &Routing, family: Family) -> Option<Rule> {
    // Of two rules with one priority the older one comes first.
    let priority = (routing.priority + 1 < MAIN_PRIORITY).then_some(routing.priority + 1)?;
    Some(Rule {
        priority,
        table: 0,
        action: RuleAction::Unreachable,
        ..lookup(routing, family)
    })
}

/// What has no mark and found no way in main ends here, before somebody's rule
/// behind main leads it to the WAN. netifd makes one for each interface with
/// `ip6table`: `90000 + index: iif lo lookup 1` (interface_ip_set_enabled of
/// interface-ip.c); a mesh without a gateway, as at each boot, is all it takes.
///
/// What netifd needs of its rules stands before main and is not touched: `from`
/// the WAN's address, for who is bound to it, and `to` the WAN's own network.
fn stop(view: &View) -> Option<Rule> {
    let main = of_main(view)?;
    let is_behind = |rule: &Rule| !rule.is_ours() && rule.priority > main.priority;
    let leads_astray = |rule: &Rule| is_behind(rule) && leads_to_the_wan(view, rule);
    let first = view.rules.iter().find(|rule| leads_astray(rule))?;
    // Others' rules between them keep their place.
    let is_between = |rule: &Rule| is_behind(rule) && rule.priority < first.priority;
    let last = view.rules.iter().rfind(|rule| is_between(rule));
    let after = last.map_or(main.priority, |rule| rule.priority);
    Some(Rule {
        family: view.family,
        protocol: PROTOCOL,
        priority: (after + 1).min(first.priority - 1),
        mark: Some(view.routing.mark),
        table: 0,
        action: RuleAction::Unreachable,
        others: Others {
            inverted: true,
            ..Others::default()
        },
    })
}

/// Whether that rule comes before main's, which only happens when both have the
/// same priority and somebody made main's anew: the older one comes first. It
/// would keep everything from the mesh.
fn is_overtaken(view: &View, stop: &Rule) -> bool {
    let main = of_main(view);
    let mut rules = view.rules.iter().copied();
    rules.find(|&rule| Some(rule) == main || rule == stop) == Some(stop)
}

/// The last rule because of which everything looks in main.
fn of_main<'a>(view: &View<'a>) -> Option<&'a Rule> {
    let mut rules = view.rules.iter().copied();
    rules.rfind(|rule| is_for_main(rule))
}

/// Whether everything looks in main because of it.
fn is_for_main(rule: &Rule) -> bool {
    rule.action == RuleAction::ToTable
        && rule.table == MAIN
        && rule.mark.is_none()
        && rule.others == Others::default()
}

/// Whether packets without a mark that this node, or whoever it routes for,
/// sends to anywhere use the WAN because of it.
fn leads_to_the_wan(view: &View, rule: &Rule) -> bool {
    let of_marked = |mark: Mark| mark.value != 0 && !rule.others.inverted;
    rule.action == RuleAction::ToTable
        && !rule.mark.is_some_and(of_marked)
        && (rule.others.inverted || !rule.others.are_of_some_addresses())
        && (rule.table == view.routing.table || is_wans(view, rule.table))
}

/// Whether a table has a route through a router of the WAN.
fn is_wans(view: &View, table: u32) -> bool {
    view.present.elsewhere.iter().any(|route| {
        route.family() == view.family && route.table == table && route.kind == RouteType::Unicast
    })
}

/// The tables that rules behind main lead to, besides the WAN's: who knows them
/// can say whether they lead to the WAN.
pub(in crate::routing) fn tables_behind_main(rules: &[Rule], family: Family, wan: u32) -> Vec<u32> {
    let mut tables = Vec::new();
    let of_main = |rule: &&Rule| rule.family == family && is_for_main(rule);
    let Some(main) = rules.iter().rfind(of_main) else {
        return tables;
    };
    for rule in rules {
        let new = rule.family == family
            && rule.priority > main.priority
            && rule.action == RuleAction::ToTable
            && rule.table != wan
            && rule.table != MAIN
            && !tables.contains(&rule.table);
        if new && tables.len() < MAX_TABLES {
            tables.push(rule.table);
        }
    }
    tables
}
