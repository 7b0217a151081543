//! Whether packets would go where they must: what has the mark through the WAN or
//! nowhere, what has none not through a router of the WAN, and what is for this
//! node to this node.

use std::fmt::{self, Display};
use std::net::IpAddr;

use super::Verdict;
use crate::config::Mark;
use crate::routing::Difference;
use crate::routing::prefix::Family;
use crate::routing::route::LOCAL;
use crate::routing::rule::Rule;
use crate::routing::wanted::Obstacle;
use crate::routing::way::{Course, Packet, Way};
use crate::status::facts::{AskedWay, Device, Facts, Whereto};

impl Verdict {
    /// One problem for each rule or route that leads astray, not one for each
    /// packet.
    pub(super) fn ways(&mut self, facts: &Facts) {
        let Some(asked) = self.seen("routing", &"which way packets take", &facts.ways) else {
            return;
        };
        // What sync would change is told already, and takes packets astray.
        let is_due = |one: &Difference| !(one.changes.is_empty() && one.misplaced.is_empty());
        if facts.routing.as_ref().is_ok_and(is_due) {
            return;
        }
        // That is among what was not seen.
        let Ok(devices) = &facts.devices else { return };
        let mark = facts.resolver.mark;
        let mut told: Vec<(bool, Option<&Rule>, Option<&str>)> = Vec::new();
        for one in asked {
            let to = one.packet.to;
            let way = self.seen("routing", &format_args!("the way to {to}"), &one.way);
            let Some(way) = way else { continue };
            if one.packet.source.is_some() && !needs_second_try(asked) {
                continue;
            }
            if is_an_obstacle(way, facts) {
                continue;
            }
            let marked = one.packet.mark != 0;
            let cause = (marked, way.rule.as_ref(), way.route.as_deref());
            let Some((part, advice)) = fault(one, way, devices) else {
                continue;
            };
            if !told.contains(&cause) {
                told.push(cause);
                self.problem(part, &Astray(one, way, mark), &advice);
            }
        }
    }
}

/// Whether routing has told already that a route of the WAN's table leads there.
fn is_an_obstacle(way: &Way, facts: &Facts) -> bool {
    let Course::Out { device, .. } = &way.course else {
        return false;
    };
    let table = way.rule.as_ref().map(|rule| rule.table);
    let named = |obstacle: &Obstacle| {
        matches!(obstacle, Obstacle::Unlisted { device: named, table: of }
            if named == device && Some(*of) == table)
    };
    facts
        .routing
        .as_ref()
        .is_ok_and(|difference| difference.obstacles.iter().any(named))
}

/// Whether an unmarked packet finds no way in IPv6 at the first try.
fn needs_second_try(asked: &[AskedWay]) -> bool {
    let first = asked.iter().find(|one| {
        let Packet {
            to, mark, source, ..
        } = &one.packet;
        matches!(one.to, Whereto::Far) && to.is_ipv6() && *mark == 0 && source.is_none()
    });
    first.is_some_and(|one| matches!(&one.way, Ok(way) if matches!(way.course, Course::Nowhere(_))))
}

/// What to do about a way that is wrong, and whose part it is.
fn fault(one: &AskedWay, way: &Way, devices: &[Device]) -> Option<(&'static str, String)> {
    let is_wan = |device: &String| devices.iter().any(|wan| wan.name == *device);
    let marked = one.packet.mark != 0;
    Some(match (&one.to, &way.course) {
        (Whereto::Here, Course::Here) => return None,
        (Whereto::Here, _) => ("routing", local_first(one)),
        // A server on this node is asked here, whatever the mark says.
        (_, Course::Here) => return None,
        (_, Course::Out { device, .. }) if marked && is_wan(device) => return None,
        (_, Course::Out { .. }) if marked => ("routing", make_way(way)),
        // Without a way through the WAN, marked packets are to end like this; a
        // look-up that fails with EINVAL or is prohibited is somebody's doing.
        (_, Course::Nowhere(_)) if marked && is_foreign(way.rule.as_ref()) => {
            ("routing", make_way(way))
        }
        (_, Course::Nowhere(_)) => return None,
        // The home network itself is a neighbour like any other.
        (Whereto::Server(_), Course::Out { gateway: None, .. }) => return None,
        (_, Course::Out { device, .. }) if is_wan(device) && one.packet.source.is_some() => {
            let advice = "nothing but `mark_guard` stops them; a default route of the mesh ends it";
            ("leaks", advice.into())
        }
        (_, Course::Out { device, .. }) if is_wan(device) => ("leaks", keep_out(way)),
        (_, Course::Out { .. }) => return None,
    })
}

/// Which packets go astray, where, and who sends them there.
struct Astray<'a>(&'a AskedWay, &'a Way, Mark);

impl Display for Astray<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(AskedWay { to, packet, .. }, way, mark) = self;
        let course = &way.course;
        write!(f, "{} packets ", Family::of(packet.to))?;
        match (packet.mark, packet.source) {
            (0, None) => f.write_str("without the mark")?,
            (0, Some(source)) => write!(
                f,
                "without the mark, which get {source} as there is no other way,"
            )?,
            _ => write!(f, "with mark {mark}")?,
        }
        match to {
            Whereto::Server(server) => write!(f, " to the server {server}: ")?,
            Whereto::Far => write!(f, " to {} and the like: ", packet.to)?,
            Whereto::Here => write!(f, " to this node's own {}: ", packet.to)?,
        }
        match (course, to) {
            (Course::Nowhere(why), _) => write!(f, "they go nowhere ({why})")?,
            (_, Whereto::Here) => write!(f, "they do not stay here but leave through {course}")?,
            _ => write!(f, "they leave through {course}")?,
        }
        match (&way.rule, &way.route) {
            (Some(rule), Some(route)) => write!(f, "; taken by {rule}, {route}"),
            (Some(rule), None) => write!(f, "; taken by {rule}"),
            (None, Some(route)) => write!(f, "; taken by {route}"),
            (None, None) => Ok(()),
        }
    }
}

/// The switch of ip(8).
fn switch(addr: IpAddr) -> &'static str {
    match Family::of(addr) {
        Family::Ipv4 => "-4",
        Family::Ipv6 => "-6",
    }
}

fn is_foreign(rule: Option<&Rule>) -> bool {
    rule.is_some_and(|rule| !rule.is_ours())
}

/// The kernel's own first rule.
fn local_first(one: &AskedWay) -> String {
    format!(
        "the rule for table local must come first: `ip {} rule add pref 0 lookup local`",
        switch(one.packet.to)
    )
}

/// How marked packets get past it.
fn make_way(way: &Way) -> String {
    match &way.rule {
        Some(rule) if rule.is_ours() => {
            "add that device to `list device` in section routing if it is an uplink, else delete \
             the route"
                .into()
        }
        Some(rule) if rule.priority <= 1 => {
            format!(
                "give that rule a priority behind ours, or delete it: `ip rule` shows it as {}",
                rule.priority
            )
        }
        Some(rule) => format!(
            "set `option priority` in section routing below {}, or delete that rule",
            rule.priority
        ),
        None => "`ip rule` and `ip route show table all` show who sends them there".into(),
    }
}

/// How unmarked packets are kept out.
fn keep_out(way: &Way) -> String {
    match &way.rule {
        Some(rule) if rule.table == LOCAL || rule.is_ours() => "`gluon-wan sync`".into(),
        Some(rule) => format!(
            "delete that rule or give it a mark: it looks in table {} for everybody",
            rule.table
        ),
        None => "`ip rule` and `ip route show table all` show who sends them there".into(),
    }
}

#[cfg(test)]
pub(in crate::status) mod tests;
