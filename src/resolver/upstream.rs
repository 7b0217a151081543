//! The servers, how each of them does, and who is asked next.
//!
//! Pure: time comes in as an argument, nothing here sends. UDP and TCP look-ups
//! feed the same record.

use std::time::{Duration, Instant};

use crate::config::Server;

/// As many servers are used; a longer list is cut.
pub const MAX_SERVERS: usize = 16;
/// Bounds of a [timeout](Upstream::timeout). The lower one stands for the clock's
/// granularity in RFC 6298: what a busy router adds to any answer.
const TIMEOUT: (Duration, Duration) = (Duration::from_millis(25), Duration::from_secs(4));
/// That of a server that has never answered.
const FIRST_TIMEOUT: Duration = Duration::from_millis(100);
/// No server is waited for alone for longer than this.
const MAX_PATIENCE: Duration = Duration::from_secs(1);
/// A server that was asked and not heard for so long is not just slow.
pub const DEAD_AFTER: Duration = Duration::from_secs(5);
/// So many are asked at once while none is known to work.
const MAX_FIRST: usize = 12;
/// A server that is down gets a copy of a query this often, while others work.
const PROBE_DOWN: Duration = Duration::from_secs(2);
/// One that works, but is not the best, this often: to know its time.
const PROBE_SPARE: Duration = Duration::from_secs(30);
/// So many failures in a row and a server is asked after the others.
const FAILING: u32 = 3;
/// Round-trip times up to this (and then up to each doubling of it) count as
/// equal, so that the order of the list decides and noise does not.
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
    /// Smoothed round-trip time from query to reply (RFC 6298).
    pub srtt: Option<Duration>,
    /// How much it varies.
    pub rttvar: Duration,
    last_tried: Option<Instant>,
    /// When the youngest query that it answered was sent.
    answered_up_to: Option<Instant>,
    /// The first query since it was last heard.
    unanswered_since: Option<Instant>,
    failures_in_a_row: u32,
    /// Whether the last look-up over TCP got nothing from it in time. UDP may work
    /// all the same.
    fails_over_tcp: bool,
    asked_over_tcp: Option<Instant>,
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
            srtt: None,
            rttvar: Duration::ZERO,
            last_tried: None,
            answered_up_to: None,
            unanswered_since: None,
            failures_in_a_row: 0,
            fails_over_tcp: false,
            asked_over_tcp: None,
        }
    }

    /// A connection to it is begun, for one query.
    pub fn asked_over_tcp(&mut self, now: Instant) {
        self.queries += 1;
        self.asked_over_tcp = Some(now);
    }

    /// It answered over TCP, `took` after the query.
    pub fn heard_over_tcp(&mut self, now: Instant, took: Duration, failure: bool) {
        self.fails_over_tcp = false;
        self.heard(now, Some(took), failure);
    }

    /// It refuses to be asked over TCP, or did not answer in time.
    pub fn failed_over_tcp(&mut self) {
        self.fails_over_tcp = true;
    }

    /// When a query to it counts as unanswered (RFC 6298, section 2): the round
    /// trip and four times its variation.
    #[must_use]
    pub fn timeout(&self) -> Duration {
        let (min, max) = TIMEOUT;
        self.srtt.map_or(FIRST_TIMEOUT, |srtt| {
            (srtt + (4 * self.rttvar).max(min)).min(max)
        })
    }

    /// How long it is waited for before another server is asked too.
    #[must_use]
    pub fn patience(&self) -> Duration {
        self.timeout().min(MAX_PATIENCE)
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
        let srtt = self.srtt.unwrap_or(FIRST_TIMEOUT).as_micros();
        let speed = u64::try_from(srtt)
            .unwrap_or(u64::MAX)
            .max(SAME_SPEED_US)
            .ilog2();
        (down, self.failures_in_a_row >= FAILING, speed)
    }

    /// A query was sent to it.
    pub fn asked(&mut self, now: Instant) {
        self.queries += 1;
        self.unanswered_since.get_or_insert(now);
        self.tried(now);
    }

    /// A query was to be sent to it, whatever came of that.
    pub fn tried(&mut self, now: Instant) {
        self.last_tried = Some(now);
    }

    /// It answered, `took` after the query (none where that is not certain).
    pub fn heard(&mut self, now: Instant, took: Option<Duration>, failure: bool) {
        if let Some(took) = took {
            self.time(took);
            self.answered_up_to = self.answered_up_to.max(now.checked_sub(took));
        }
        self.unanswered_since = None;
        if failure {
            self.failures += 1;
            self.failures_in_a_row = self.failures_in_a_row.saturating_add(1);
        } else {
            self.failures_in_a_row = 0;
        }
        self.become_state(State::Up, now);
    }

    /// RFC 6298, sections 2.2 and 2.3.
    fn time(&mut self, took: Duration) {
        match self.srtt {
            None => {
                self.srtt = Some(took);
                self.rttvar = took / 2;
            }
            Some(srtt) => {
                self.rttvar = (3 * self.rttvar + srtt.abs_diff(took)) / 4;
                self.srtt = Some((7 * srtt + took) / 8);
            }
        }
    }

    /// A query that was sent at `sent` was not answered within the
    /// [timeout](Self::timeout). A server that has answered younger ones is not
    /// silent.
    pub fn timed_out(&mut self, now: Instant, sent: Instant) {
        self.failures += 1;
        let silent = self.answered_up_to.is_none_or(|younger| younger <= sent);
        // What an ICMP message said is more than silence says.
        if silent && self.state != State::Unreachable {
            self.become_state(State::Silent, now);
        }
    }

    /// A query that had [timed out](Self::timed_out) was answered after all.
    pub fn was_late(&mut self) {
        self.failures = self.failures.saturating_sub(1);
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

    /// Whether there was an attempt to ask it within `interval`.
    #[must_use]
    pub fn tried_within(&self, now: Instant, interval: Duration) -> bool {
        self.last_tried
            .is_some_and(|tried| now.saturating_duration_since(tried) < interval)
    }

    /// Whether it owes an answer for `interval`.
    #[must_use]
    pub fn unanswered_for(&self, now: Instant, interval: Duration) -> bool {
        self.unanswered_since
            .is_some_and(|since| now.saturating_duration_since(since) >= interval)
    }

    /// Whether it is not worth more than a packet now and then: it cannot be
    /// reached, or is silent for longer than the slowest answer that counts.
    #[must_use]
    pub fn is_dead(&self, now: Instant) -> bool {
        self.state == State::Unreachable || self.unanswered_for(now, DEAD_AFTER)
    }

    fn wants_probe(&self, now: Instant) -> bool {
        let interval = if self.works() {
            PROBE_SPARE
        } else {
            PROBE_DOWN
        };
        !self.tried_within(now, interval)
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
            upstream.unanswered_since = None;
            upstream.failures_in_a_row = 0;
        }
        // What failed over TCP is due for a probe.
        for upstream in &mut self.list {
            upstream.asked_over_tcp = None;
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
        let best = self.best(|_| true).filter(|best| best.works());
        let mut chosen = [None; MAX_FIRST];
        match best {
            // On the stack: nearly always it is just one.
            Some(best) => {
                let others = self.list.iter();
                let others = others.filter(|other| other.id != best.id && other.wants_probe(now));
                for (place, one) in chosen.iter_mut().zip(std::iter::once(best).chain(others)) {
                    *place = Some(one.id);
                }
            }
            None => {
                for (place, one) in chosen.iter_mut().zip(self.ranked()) {
                    *place = Some(one.id);
                }
            }
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

    /// Who gets a query over TCP, in this order, and how many of them at once: those
    /// that failed over TCP and are due for a probe, then the best one. The others
    /// that failed come last, so that one that hangs costs nobody any time.
    #[must_use]
    pub fn over_tcp(&self, now: Instant) -> (Vec<Upstream>, usize) {
        let (failing, mut good): (Vec<_>, Vec<_>) = self
            .ranked()
            .into_iter()
            .cloned()
            .partition(|upstream| upstream.fails_over_tcp);
        let (mut order, mut last): (Vec<_>, Vec<_>) = failing.into_iter().partition(|upstream| {
            let asked = upstream.asked_over_tcp;
            asked.is_none_or(|asked| now.saturating_duration_since(asked) >= PROBE_SPARE)
        });
        let at_once = order.len() + 1;
        order.append(&mut good);
        order.append(&mut last);
        (order, at_once)
    }

    /// The servers, the best first.
    #[must_use]
    pub fn ranked(&self) -> Vec<&Upstream> {
        let mut left: Vec<&Upstream> = self.list.iter().collect();
        let mut ranked = Vec::with_capacity(left.len());
        while let Some(best) = (0..left.len()).min_by_key(|&at| left[at].rank()) {
            ranked.push(left.remove(best));
        }
        ranked
    }
}

#[cfg(test)]
mod tests;
