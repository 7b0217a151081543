//! Whether the resolver answers, is ours, may set the mark, and has servers that work.

use std::fmt::Write;

use super::{Verdict, own_version};
use crate::health::Health;
use crate::status::facts::{Listener, Process, Reply, Resolver, ServerHealth};

const ENDED: &str = "`/etc/init.d/gluon-wan restart`; `logread -e gluon-wan` says why it ended";
const RESTART: &str = "`/etc/init.d/gluon-wan restart`";

impl Verdict {
    pub(super) fn resolver(&mut self, resolver: &Resolver) {
        self.listeners(&resolver.listeners);
        if let Some(process) = &resolver.process {
            let what = "whether it may set the mark";
            let process = self.seen("resolver", &what, process);
            if let Some(Process { name, pid, .. }) = process.filter(|one| !one.may_mark) {
                let mark = resolver.mark;
                self.problem(
                    "resolver",
                    &format_args!(
                        "{name} (pid {pid}) has no capability to set mark {mark}: its queries leave \
                         through the mesh"
                    ),
                    &RESTART,
                );
            }
        }
        match &resolver.servers {
            Some(Ok(servers)) => self.servers(servers, resolver),
            Some(Err(why)) => self.problem(
                "resolver",
                &format_args!("its servers are not known: {why}"),
                &ENDED,
            ),
            None => {}
        }
    }

    /// The addresses that share a fate share a line.
    fn listeners(&mut self, listeners: &[Listener]) {
        let closed = all(listeners, |reply| matches!(reply, Reply::Closed));
        if !closed.is_empty() {
            self.problem(
                "resolver",
                &format_args!("nobody listens on {closed}"),
                &ENDED,
            );
        }
        let silent = all(listeners, |reply| matches!(reply, Reply::Silent));
        if !silent.is_empty() {
            self.problem(
                "resolver",
                &format_args!("no answer from {silent} in time"),
                &ENDED,
            );
        }
        for listener in listeners {
            self.listener(listener);
        }
    }

    fn listener(&mut self, listener: &Listener) {
        let Listener { addr, reply } = listener;
        let own = own_version();
        match reply {
            Reply::Ours { version, .. } if *version == own => {}
            Reply::Ours { version, .. } => self.note(
                "resolver",
                &format_args!("{addr} is {version}, this is {own}"),
                &RESTART,
            ),
            Reply::Foreign(who) => {
                let who = who.as_deref().unwrap_or("another program");
                self.problem(
                    "resolver",
                    &format_args!("{addr} is not gluon-wan but {who}"),
                    &format_args!("stop that (gluon-wan-dnsmasq?), then {RESTART}"),
                );
            }
            Reply::Closed | Reply::Silent => {}
            Reply::Failed(why) => self.problem(
                "resolver",
                &format_args!("{addr} cannot be asked: {why}"),
                &"is the address on lo? `ip addr show lo`",
            ),
        }
    }

    fn servers(&mut self, servers: &[ServerHealth], resolver: &Resolver) {
        let source = resolver.source.display();
        let is_up = servers.iter().any(|one| one.state == Health::Up);
        let is_down = servers.iter().any(|one| one.state.is_down());
        if servers.is_empty() {
            self.problem(
                "resolver",
                &"no server is known, every look-up fails",
                &format_args!("is the WAN up? They come from {source}"),
            );
        } else if !is_up && !is_down {
            self.note(
                "resolver",
                &"no server was asked since the start or the last change of the network",
                &"",
            );
        } else if !is_up {
            let mut each = String::new();
            for ServerHealth { server, state, .. } in servers {
                let comma = if each.is_empty() { "" } else { ", " };
                // Writing to a String does not fail.
                let _ = write!(each, "{comma}{server} is {state}");
            }
            self.problem(
                "resolver",
                &format_args!("no server works: {each}"),
                &format_args!("does the home router reach the internet? They come from {source}"),
            );
        }
        for ServerHealth { server, state, .. } in servers {
            if is_up && state.is_down() {
                self.note("resolver", &format_args!("{server} is {state}"), &"");
            }
        }
    }
}

/// The addresses with such a reply.
fn all(listeners: &[Listener], is_such: fn(&Reply) -> bool) -> String {
    let mut all = String::new();
    for listener in listeners.iter().filter(|one| is_such(&one.reply)) {
        let and = if all.is_empty() { "" } else { " and " };
        // Writing to a String does not fail.
        let _ = write!(all, "{and}{}", listener.addr);
    }
    all
}
