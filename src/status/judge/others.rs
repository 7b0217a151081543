//! Whose nftables rules are in the way.

use nftnl::nftnl_sys::libc;

use super::Verdict;
use crate::config::Mark;
use crate::ruleset::OUTPUT;
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
        let done = match &facts.others {
            Ok(done) => done,
            Err(why) => return self.unseen("redirect", "nftables rules of others", why),
        };
        let mut told: Vec<String> = Vec::new();
        for one in done {
            let Some((weight, part, what)) = finding(one, facts.port, facts.resolver.mark) else {
                continue;
            };
            if told.contains(&what) {
                continue;
            }
            let advice = advice(&one.deed);
            match weight {
                Weight::Problem => self.problem(part, what.clone(), advice),
                Weight::Note => self.note(part, what.clone(), advice),
            }
            told.push(what);
        }
    }
}

enum Weight {
    Problem,
    Note,
}

/// What a deed means, none where it does no harm.
fn finding(done: &Done, port: u16, mark: Mark) -> Option<(Weight, &'static str, String)> {
    use Weight::{Note, Problem};
    let Done { purpose, deed, .. } = done;
    let place = Place(deed);
    let is_first = deed.base.hook == OUTPUT && deed.base.priority <= REDIRECT;
    let has_mark = |new: u32| new & mark.mask == mark.value;
    Some(match (purpose, deed.what, deed.certain) {
        // Ours, in other words: what Gluon has for firewall3.
        (_, What::Redirect(Some(to)), _) if to == port => return None,
        (Purpose::Lookup { .. }, What::Redirect(_), true) if is_first => {
            let what = format!("{place} redirects DNS of the VPN daemons before gluon-wan can");
            (Problem, "redirect", what)
        }
        (Purpose::Lookup { tcp: true }, What::NoTrack, true) => {
            let what = format!(
                "{place} hides DNS of the VPN daemons from conntrack: it is not redirected, and \
                 stopped"
            );
            (Problem, "redirect", what)
        }
        (Purpose::Lookup { tcp: false }, What::NoTrack, true) => {
            let what = format!("{place} hides DNS from conntrack; gluon-wan has it tracked again");
            (Note, "redirect", what)
        }
        (Purpose::Query { .. }, What::Redirect(to), certain) => {
            let to = to.map_or("elsewhere".into(), |to| format!("to port {to}"));
            match certain {
                true => {
                    let what =
                        format!("{place} sends {to} what the resolver asks the WAN's servers");
                    (Problem, "redirect", what)
                }
                false => {
                    let what = format!("{place} may send {to} what the resolver asks");
                    (Note, "redirect", what)
                }
            }
        }
        (Purpose::Query { .. }, What::Drop, true) => {
            let what = format!("{place} drops what the resolver asks the WAN's servers");
            (Problem, "redirect", what)
        }
        (Purpose::Query { separated: true }, What::Mark(Some(new)), true) if !has_mark(new) => {
            match deed.base.hook == OUTPUT && deed.base.priority < RESTORE {
                true => {
                    let what =
                        format!("{place} takes the mark from packets; gluon-wan gives it back");
                    (Note, "redirect", what)
                }
                false => {
                    let what = format!("{place} takes the mark from packets for the WAN");
                    (Problem, "redirect", what)
                }
            }
        }
        (Purpose::Plain, What::Mark(Some(new)), true) if has_mark(new) => {
            let what =
                format!("{place} gives mark {new:#x} to what everybody sends: it takes the WAN");
            (Problem, "leaks", what)
        }
        _ => return None,
    })
}

fn advice(deed: &Deed) -> String {
    let (_, table, _) = &deed.place;
    let family = family(deed.place.0);
    match deed.what {
        What::Mark(_) => "have it leave the bits of `option mark` alone (`meta mark set meta mark \
                          and … xor …`), or choose another `option mark`"
            .into(),
        _ => format!(
            "except packets with the mark, and the groups of `list group`: `nft -a list table \
             {family} {table}`"
        ),
    }
}

fn family(number: u8) -> &'static str {
    match i32::from(number) {
        libc::NFPROTO_INET => "inet",
        libc::NFPROTO_IPV4 => "ip",
        libc::NFPROTO_IPV6 => "ip6",
        _ => "?",
    }
}

/// A rule's place in words.
struct Place<'a>(&'a Deed);

impl std::fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (number, table, chain) = &self.0.place;
        let handle = self.0.handle;
        let family = family(*number);
        write!(f, "table {family} {table}, chain {chain} (rule {handle})")
    }
}

#[cfg(test)]
mod tests;
