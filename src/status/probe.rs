//! Asks the resolver how it does: CHAOS look-ups, which it answers itself.

use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::facts::{Listener, Reply, Seen, ServerHealth};
use crate::ask::{self, Asked, Question, Unanswered, class, kind};

/// An answer that costs the resolver no query of its own takes less than a
/// millisecond. Until all of them are there, so long at most: `status` is to end
/// within a second.
pub const TIME: Duration = Duration::from_millis(700);
/// Connected sockets take datagrams of nobody else, so it need not be a secret.
const ID: u16 = 0x6757;
/// What our resolver's `version.bind` starts with.
pub const OURS: &str = "gluon-wan ";

impl Listener {
    /// Whether anything answered.
    pub fn answers(&self) -> bool {
        matches!(self.reply, Reply::Ours { .. } | Reply::Foreign(_))
    }

    /// Whether it was our resolver.
    pub fn is_ours(&self) -> bool {
        matches!(self.reply, Reply::Ours { .. })
    }
}

/// Asks at all addresses at once who is there.
pub fn listeners(addrs: &[SocketAddr], deadline: Instant) -> Vec<Listener> {
    let Ok(question) = chaos("version.bind") else {
        return Vec::new();
    };
    let mut asked: Vec<Asked> = addrs
        .iter()
        .map(|&addr| question.clone().send(addr, 0, deadline))
        .collect();
    ask::wait(&mut asked);
    let mut listeners = Vec::new();
    for (&addr, asked) in addrs.iter().zip(asked) {
        let reply = reply(asked);
        listeners.push(Listener { addr, reply });
    }
    listeners
}

fn reply(asked: Asked) -> Reply {
    match asked.outcome {
        Ok(answer) => match answer.texts().into_iter().next() {
            Some(version) if version.starts_with(OURS) => Reply::Ours {
                took: asked.took,
                version,
            },
            who => Reply::Foreign(who),
        },
        Err(Unanswered::Closed) => Reply::Closed,
        Err(Unanswered::Silent) => Reply::Silent,
        Err(Unanswered::Failed(why)) => Reply::Failed(why),
    }
}

/// What the server at `addr` says it is, if anything.
pub fn version(addr: SocketAddr) -> Option<String> {
    let asked = chaos("version.bind").ok()?;
    let mut asked = [asked.send(addr, 0, Instant::now() + TIME)];
    ask::wait(&mut asked);
    let [asked] = asked;
    asked.outcome.ok()?.texts().into_iter().next()
}

/// The resolver's servers. Over TCP, because the list may be longer than a
/// datagram.
pub fn servers(addr: SocketAddr, deadline: Instant) -> Seen<Vec<ServerHealth>> {
    let asked = chaos("health.gluon-wan").and_then(|asked| asked.over_tcp(addr, deadline));
    let answer = asked.map_err(|error| format!("no answer over TCP: {error}"))?;
    if answer.code != 0 || answer.data.is_empty() {
        return Err("the resolver does not know its servers' health: another version?".into());
    }
    // A TXT record cannot be empty; without a server its one text is.
    let mut servers = Vec::new();
    for line in answer.texts() {
        servers.extend(server(&line));
    }
    Ok(servers)
}

/// One server from `key=value` words; unknown words are left to newer versions.
fn server(line: &str) -> Option<ServerHealth> {
    let mut found = ServerHealth::default();
    for (key, value) in line.split(' ').filter_map(|word| word.split_once('=')) {
        let number = value.parse().unwrap_or(0);
        match key {
            "server" => found.server = value.into(),
            "state" => found.state = value.parse().unwrap_or_default(),
            "since_s" => found.since_s = number,
            "usual_us" => found.usual_us = value.parse().ok(),
            "queries" => found.queries = number,
            "failures" => found.failures = number,
            _ => {}
        }
    }
    (!found.server.is_empty()).then_some(found)
}

/// What the server at `addr` says of itself.
fn chaos(name: &str) -> io::Result<Question> {
    Question::new(ID, name, kind::TXT, class::CHAOS).ok_or_else(|| ErrorKind::InvalidInput.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::health::Health;

    #[test]
    fn health_is_read_word_by_word() {
        let line = "server=fe80::1%br-wan#54 state=up since_s=7 usual_us=3000 queries=4 failures=1";
        let expected = ServerHealth {
            server: "fe80::1%br-wan#54".into(),
            state: Health::Up,
            since_s: 7,
            usual_us: Some(3000),
            queries: 4,
            failures: 1,
        };
        assert_eq!(server(line), Some(expected.clone()));
        assert_eq!(server(&format!("{line} weight=3 x")), Some(expected));
        let never = server("server=192.0.2.1 state=unknown usual_us=-").unwrap();
        assert_eq!((never.usual_us, never.queries), (None, 0));
        assert_eq!(server(""), None);
    }
}
