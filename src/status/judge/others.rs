//! Whose nftables rules are in the way.

use std::fmt::{self, Display};

use nftnl::nftnl_sys::libc;

use super::Verdict;
use crate::config::Mark;
use crate::ruleset::walk::{Deed, What};
use crate::status::facts::{Done, Facts, Purpose};

/// Our nat chain's priority, the first that there can be; at the same one the older
/// chain comes first.
const REDIRECT: i32 = -199;
/// Where our table gives marks back that others took.
const RESTORE: i32 = 500;

impl Verdict {
    /// One finding for each rule and what it does.
    pub(super) fn others(&mut self, facts: &Facts) {
        let others = self.seen("redirect", &"nftables rules of others", &facts.others);
        let mut told: Vec<String> = Vec::new();
        for one in others.into_iter().flatten() {
            let Some((weight, what)) = harm(one, facts.port, facts.resolver.mark) else {
                continue;
            };
            let what = format!("{} {what}", WhichRule(&one.deed));
            if told.contains(&what) {
                continue;
            }
            match weight {
                Weight::Leak => self.problem("leaks", &what, &Advice(&one.deed)),
                Weight::Problem => self.problem("redirect", &what, &Advice(&one.deed)),
                Weight::Note => self.note("redirect", &what, &Advice(&one.deed)),
            }
            told.push(what);
        }
    }
}

enum Weight {
    Leak,
    Problem,
    Note,
}

/// What a rule does to the packets, in words; none where it does no harm.
fn harm(done: &Done, port: u16, mark: Mark) -> Option<(Weight, String)> {
    use Weight::{Leak, Note, Problem};
    let Done { purpose, deed, .. } = done;
    let has_mark = |new: u32| new & mark.mask == mark.value;
    let (weight, what) = match (purpose, deed.what, deed.certain) {
        // Ours, in other words: what Gluon has for firewall3.
        (_, What::Redirect(Some(to)), _) if to == port => return None,
        (Purpose::Lookup { .. }, What::Redirect(_), true)
            if deed.in_output && deed.priority <= REDIRECT =>
        {
            (
                Problem,
                "redirects DNS of the VPN daemons before gluon-wan can",
            )
        }
        (Purpose::Lookup { tcp: true }, What::NoTrack, true) => (
            Problem,
            "hides DNS of the VPN daemons from conntrack: it is not redirected, and stopped",
        ),
        (Purpose::Lookup { tcp: false }, What::NoTrack, true) => (
            Note,
            "hides DNS from conntrack; gluon-wan has it tracked again",
        ),
        (Purpose::Query { .. }, What::Redirect(to), certain) => {
            let to = to.map_or("elsewhere".into(), |to| format!("to port {to}"));
            return Some(match certain {
                true => (
                    Problem,
                    format!("sends {to} what the resolver asks the WAN's servers"),
                ),
                false => (Note, format!("may send {to} what the resolver asks")),
            });
        }
        (Purpose::Query { .. }, What::Drop, true) => {
            (Problem, "drops what the resolver asks the WAN's servers")
        }
        (Purpose::Query { separated: true }, What::Mark(Some(new)), true) if !has_mark(new) => {
            match deed.in_output && deed.priority < RESTORE {
                true => (Note, "takes the mark from packets; gluon-wan gives it back"),
                false => (Problem, "takes the mark from packets for the WAN"),
            }
        }
        (Purpose::Plain, What::Mark(Some(new)), true) if has_mark(new) => {
            let what = format!("gives mark {new:#x} to what everybody sends: it takes the WAN");
            return Some((Leak, what));
        }
        _ => return None,
    };
    Some((weight, what.into()))
}

/// What to do about a rule.
struct Advice<'a>(&'a Deed);

impl Display for Advice<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Deed { table, what, .. } = self.0;
        match what {
            What::Mark(_) => f.write_str(
                "have it leave the bits of `option mark` alone (`meta mark set meta mark and … xor \
                 …`), or choose another `option mark`",
            ),
            _ => write!(
                f,
                "except packets with the mark, and the groups of `list group`: `nft -a list table \
                 {} {table}`",
                family(self.0)
            ),
        }
    }
}

fn family(deed: &Deed) -> &'static str {
    match i32::from(deed.family) {
        libc::NFPROTO_INET => "inet",
        libc::NFPROTO_IPV4 => "ip",
        libc::NFPROTO_IPV6 => "ip6",
        _ => "?",
    }
}

/// A rule in words.
struct WhichRule<'a>(&'a Deed);

impl Display for WhichRule<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Deed { table, chain, .. } = self.0;
        let (family, handle) = (family(self.0), self.0.handle);
        write!(f, "table {family} {table}, chain {chain} (rule {handle})")
    }
}

#[cfg(test)]
mod tests;
