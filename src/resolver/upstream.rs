//! The servers, how each of them does, and who is asked next.
//!
//! Pure: time comes in as an argument, nothing here sends.

use std::time::{Duration, Instant};

use crate::config::Server;

/// As many servers are used; a longer list is cut.
pub const MAX_SERVERS: usize = 16;
/// How long a server may stay silent before the next one is asked too: twice
/// its usual time, within these bounds.
const PATIENCE: (Duration, Duration) = (Duration::from_millis(25), Duration::from_millis(400));
/// The same for a server that has never answered.
const FIRST_PATIENCE: Duration = Duration::from_millis(100);
/// A server that is down gets a copy of a query this often, while others work.
const PROBE_DOWN: Duration = Duration::from_secs(2);
/// One that works, but is not the best, this often: to know its time.
const PROBE_SPARE: Duration = Duration::from_secs(30);
/// So many failures in a row and a server is asked after the others.
const FAILING: u32 = 3;
/// Usual times up to this (and then up to each doubling of it) count as equal,
/// so that the order of the list decides and noise does not.
const SAME_SPEED_US: u64 = 4096;

/// Names a server as long as it stays in the list, also when the list changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct UpstreamId(u32);

/// How a server does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Not heard of yet.
    Unknown,
    /// It answered last.
    Up,
    /// It was silent for longer than it should.
    Silent,
    /// The kernel or an ICMP message says that it cannot be reached.
    Unreachable,
}

/// One server and what is known of it.
#[derive(Debug, Clone)]
pub struct Upstream {
    /// Stays the same while the server is in the list.
    pub id: UpstreamId,
    /// As configured.
    pub server: Server,
    /// How it does.
    pub state: State,
    /// Since when it does so.
    pub since: Instant,
    /// Queries sent to it, repeated ones too.
    pub queries: u64,
    /// Of these, how many it did not answer, or with SERVFAIL or REFUSED.
    pub failures: u64,
    /// Smoothed time from query to reply (RFC 6298, alpha 1/8).
    pub usual: Option<Duration>,
    last_asked: Option<Instant>,
    last_heard: Option<Instant>,
    failures_in_a_row: u32,
}

impl Upstream {
    fn new(id: UpstreamId, server: Server, now: Instant) -> Self {
        Self {
            id,
            server,
            state: State::Unknown,
            since: now,
            queries: 0,
            failures: 0,
            usual: None,
            last_asked: None,
            last_heard: None,
            failures_in_a_row: 0,
        }
    }

    /// How long to wait for it before another one is asked too.
    #[must_use]
    pub fn patience(&self) -> Duration {
        let (min, max) = PATIENCE;
        self.usual
            .map_or(FIRST_PATIENCE, |usual| (2 * usual).clamp(min, max))
    }

    /// Whether it can be expected to answer.
    #[must_use]
    pub fn works(&self) -> bool {
        self.state == State::Up && self.failures_in_a_row < FAILING
    }

    /// Smaller is better: working ones first, then those that answer at all,
    /// then the faster ones. The order of the list decides the rest.
    fn rank(&self) -> (bool, bool, u32) {
        let down = matches!(self.state, State::Silent | State::Unreachable);
        let usual = self.usual.unwrap_or(FIRST_PATIENCE).as_micros();
        let speed = u64::try_from(usual)
            .unwrap_or(u64::MAX)
            .max(SAME_SPEED_US)
            .ilog2();
        (down, self.failures_in_a_row >= FAILING, speed)
    }

    /// A query was sent to it.
    pub fn asked(&mut self, now: Instant) {
        self.queries += 1;
        self.last_asked = Some(now);
    }

    /// It answered, `took` after the query (none where that is not certain,
    /// because the query was repeated).
    pub fn heard(&mut self, now: Instant, took: Option<Duration>, failure: bool) {
        if let Some(took) = took {
            self.usual = Some(self.usual.map_or(took, |usual| (usual * 7 + took) / 8));
        }
        self.last_heard = Some(now);
        if failure {
            self.failures += 1;
            self.failures_in_a_row = self.failures_in_a_row.saturating_add(1);
        } else {
            self.failures_in_a_row = 0;
        }
        self.become_state(State::Up, now);
    }

    /// It was silent for longer than its [`patience`](Self::patience).
    pub fn silent(&mut self, now: Instant) {
        self.failures += 1;
        // What an ICMP message said is more than silence says.
        if self.state != State::Unreachable {
            self.become_state(State::Silent, now);
        }
    }

    /// It cannot be reached.
    pub fn unreachable(&mut self, now: Instant) {
        self.failures += 1;
        self.become_state(State::Unreachable, now);
    }

    fn become_state(&mut self, state: State, now: Instant) {
        if self.state != state {
            self.state = state;
            self.since = now;
        }
    }

    /// Whether it was asked within `interval`.
    #[must_use]
    pub fn asked_within(&self, now: Instant, interval: Duration) -> bool {
        self.last_asked
            .is_some_and(|asked| now.saturating_duration_since(asked) < interval)
    }

    /// Whether it has not been heard of for `interval`, or never.
    #[must_use]
    pub fn unheard_for(&self, now: Instant, interval: Duration) -> bool {
        let since = self.last_heard.unwrap_or(self.since).max(self.since);
        self.state != State::Up && now.saturating_duration_since(since) >= interval
    }

    fn wants_probe(&self, now: Instant) -> bool {
        let interval = if self.works() {
            PROBE_SPARE
        } else {
            PROBE_DOWN
        };
        !self.asked_within(now, interval)
    }
}

/// The list, in the operator's order.
#[derive(Debug, Default)]
pub struct Upstreams {
    list: Vec<Upstream>,
    next_id: u32,
}

impl Upstreams {
    /// Takes another list. Servers that stay keep what is known of them; those
    /// that go are returned.
    pub fn set(&mut self, servers: &[Server], now: Instant) -> Vec<UpstreamId> {
        let mut old = std::mem::take(&mut self.list);
        for server in servers.iter().take(MAX_SERVERS) {
            let known = old.iter().position(|upstream| upstream.server == *server);
            let upstream = match known {
                Some(at) => old.remove(at),
                None => {
                    self.next_id = self.next_id.wrapping_add(1);
                    Upstream::new(UpstreamId(self.next_id), server.clone(), now)
                }
            };
            self.list.push(upstream);
        }
        old.into_iter().map(|upstream| upstream.id).collect()
    }

    /// Links or routes changed: what was down may work. What worked most likely
    /// still does, and is found out soon enough if not.
    pub fn forgive(&mut self, now: Instant) {
        for upstream in self.list.iter_mut().filter(|upstream| !upstream.works()) {
            upstream.become_state(State::Unknown, now);
            upstream.failures_in_a_row = 0;
        }
    }

    /// All of them, in the operator's order.
    #[must_use]
    pub fn list(&self) -> &[Upstream] {
        &self.list
    }

    /// One of them, unless it left the list.
    pub fn get(&mut self, id: UpstreamId) -> Option<&mut Upstream> {
        self.list.iter_mut().find(|upstream| upstream.id == id)
    }

    /// Who gets a new query: the best one, and whoever is due for a probe; all
    /// of them while none is known to work, so that the first look-up is as
    /// fast as the fastest server.
    pub fn first(&self, now: Instant) -> impl Iterator<Item = UpstreamId> + use<> {
        let best = self
            .best(|_| true)
            .filter(|best| best.works())
            .map(|best| best.id);
        let others = self
            .list
            .iter()
            .filter(|other| Some(other.id) != best)
            .filter(|other| best.is_none() || other.wants_probe(now))
            .map(|other| other.id);
        // On the stack: nearly always it is just one.
        let mut chosen = [None; MAX_SERVERS];
        for (place, id) in chosen.iter_mut().zip(best.into_iter().chain(others)) {
            *place = Some(id);
        }
        chosen.into_iter().flatten()
    }

    /// The best one that `among` lets through.
    pub fn best(&self, among: impl Fn(&Upstream) -> bool) -> Option<&Upstream> {
        self.list
            .iter()
            .filter(|upstream| among(upstream))
            .min_by_key(|upstream| upstream.rank())
    }

    /// The servers, the best first.
    #[must_use]
    pub fn ranked(&self) -> Vec<Server> {
        let mut ranked: Vec<&Upstream> = self.list.iter().collect();
        ranked.sort_by_key(|upstream| upstream.rank());
        ranked
            .into_iter()
            .map(|upstream| upstream.server.clone())
            .collect()
    }
}

#[cfg(test)]
mod tests;
