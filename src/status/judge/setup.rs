//! What the configuration says that cannot be followed, and who the resolver is.

use super::Verdict;
use crate::accounts;
use crate::status::facts::{Growth, Setup, Stopped};

impl Verdict {
    pub(super) fn setup(&mut self, setup: &Setup) {
        for line in &setup.refused {
            self.problem(
                "config",
                &format_args!("{line}: a default stands in for it"),
                &"correct it, then `/etc/init.d/gluon-wan reload`; what runs may still have what \
                  was there before",
            );
        }
        for line in &setup.left_out {
            self.note("config", line, &"");
        }
        let wanted = &setup.wanted_user;
        match self.seen("resolver", &"the resolver's user", &setup.user) {
            Some(Some(user)) if user != wanted => self.note(
                "resolver",
                &format_args!(
                    "there is no user {wanted}: the resolver runs as {user}, whose other processes \
                     can stop it"
                ),
                &"",
            ),
            Some(None) => self.problem(
                "resolver",
                &format_args!("there is no user {wanted}: the resolver does not start"),
                &format_args!(
                    "`option user` in section resolver, or a user {}",
                    accounts::RESOLVER
                ),
            ),
            _ => {}
        }
        if let Some(group) = &setup.own_group {
            self.problem(
                "resolver",
                &format_args!(
                    "DNS of group {group} is redirected, and that is the resolver's own group: it \
                     does not serve"
                ),
                &"`option user` in section resolver: a user with another group",
            );
        }
    }

    /// Stopped is better than gone astray, and still somebody's fault.
    pub(super) fn growth(&mut self, growth: &Growth) {
        let Stopped {
            marked,
            unredirected,
            unmarked,
        } = growth.stopped;
        let ago = Ago(growth.since_s);
        // A way that leads astray is named by itself.
        let mut problems = self.problems.iter();
        let cause = match problems.any(|problem| problem.part == "routing") {
            true => "the problem with routing above leads them there",
            false => {
                "a restart of netifd takes rules and routes away for some milliseconds; where it \
                 goes on, `ip monitor rule route` shows who does it"
            }
        };
        if marked > 0 {
            self.note(
                "routing",
                &format_args!(
                    "{marked} packets with the mark were stopped before they left elsewhere than \
                     through the WAN {ago}"
                ),
                &cause,
            );
        }
        if unredirected > 0 {
            self.note(
                "redirect",
                &format_args!(
                    "{unredirected} packets of DNS of the VPN daemons were stopped, because they \
                     were not redirected {ago}"
                ),
                &"a program that binds its socket to a device, or a rule that hides DNS from \
                  conntrack",
            );
        }
        if unmarked > 0 {
            self.note(
                "leaks",
                &format_args!(
                    "{unmarked} packets without the mark were stopped before they left through a \
                     router of the WAN {ago}"
                ),
                &"the mesh had no way for them; a rule of netifd (`ip rule`) led them there",
            );
        }
    }
}

struct Ago(u64);

impl std::fmt::Display for Ago {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "in the {} s since the last look", self.0)
    }
}
