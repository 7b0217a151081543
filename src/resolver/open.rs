//! The open queries: what happens to each of them, and when.
//!
//! Pure: time comes in as an argument, and a [`Wire`] sends. Every event (a
//! query, a reply, an error, a time that has come) is one call; between calls
//! [`OpenQueries::due`] says when to call [`OpenQueries::tick`].

use std::io;
use std::time::{Duration, Instant};

use super::message::{self, Question};
use super::numbers::{NumberMap, RecentIds};
use super::upstream::{State, Upstream, UpstreamId, Upstreams};
use crate::config::Server;

/// A query without an answer ends with SERVFAIL: glibc, musl and dig ask again
/// after 5 s.
pub const LIFETIME: Duration = Duration::from_secs(5);
/// For how long a failure of one server is held back for what a silent one may
/// say.
const HOLD_FAILURE: Duration = Duration::from_millis(500);
/// How long late replies to an answered query are taken: they tell how the
/// other servers do.
const LINGER: Duration = Duration::from_secs(1);
/// While no server works, how often each is tried, by repeating a query that
/// waits.
const RETRY: Duration = Duration::from_millis(50);
/// A server that was not heard of for so long is tried every [`RETRY`]; before,
/// it may just be slow, and repeating backs off.
const DEAD_AFTER: Duration = Duration::from_secs(1);
/// The longest pause between two repetitions to servers that are just slow.
const MAX_BACKOFF: Duration = Duration::from_millis(800);

/// Names a socket that a query was sent through.
pub type SocketKey = u32;

/// Sends for [`OpenQueries`].
pub trait Wire {
    /// Who waits for an answer.
    type Client;
    /// Sends a query to a server.
    ///
    /// # Errors
    /// What the kernel says: no route, no device, refused.
    fn send(&mut self, upstream: &Upstream, query: &[u8]) -> io::Result<SocketKey>;
    /// One query less waits on this socket.
    fn release(&mut self, socket: SocketKey);
    /// Passes a reply on; its id is the client's.
    fn reply(&mut self, client: &Self::Client, reply: &[u8]);
    /// Nobody answered: the query, as the client sent it, deserves SERVFAIL.
    fn give_up(&mut self, client: Self::Client, query: Vec<u8>);
    /// Sixteen bits that nobody can guess.
    fn random(&mut self) -> u16;
}

/// Why a query is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rejected {
    /// As many as allowed wait already.
    Full,
    /// No server is known.
    NoServer,
}

#[derive(Debug, Clone, Copy)]
struct Attempt {
    upstream: UpstreamId,
    socket: SocketKey,
    sent: Instant,
    /// None of its repetitions' replies can be timed (Karn).
    repeated: bool,
    /// Said to be silent already.
    overdue: bool,
}

#[derive(Debug)]
struct Query<C> {
    client: C,
    client_id: u16,
    /// With the id that upstream servers see.
    message: Vec<u8>,
    question: Question,
    since: Instant,
    due: Instant,
    backoff: Duration,
    answered: bool,
    /// Servers that have nothing to say any more: failed or unreachable.
    done: Vec<UpstreamId>,
    /// Servers that may still answer.
    attempts: Vec<Attempt>,
    failure: Option<Vec<u8>>,
}

/// All open queries, by the id that upstream servers see.
pub struct OpenQueries<C> {
    queries: NumberMap<u16, Query<C>>,
    waiting: usize,
    max: usize,
    /// The servers.
    pub upstreams: Upstreams,
    /// Not used again yet, so that a late reply to one query is never taken for
    /// another's.
    recent: RecentIds,
    due: Option<Instant>,
}

impl<C> OpenQueries<C> {
    /// None open yet; at most `max` at a time.
    #[must_use]
    pub fn new(max: usize) -> Self {
        Self {
            queries: NumberMap::default(),
            waiting: 0,
            max,
            upstreams: Upstreams::default(),
            recent: RecentIds::new(),
            due: None,
        }
    }

    /// When to call [`tick`](Self::tick); none while nothing is open.
    #[must_use]
    pub fn due(&self) -> Option<Instant> {
        self.due
    }

    /// Takes a query, `bytes` as the client sent it.
    ///
    /// # Errors
    /// It is not taken, and wants an answer of our own.
    pub fn ask(
        &mut self,
        now: Instant,
        wire: &mut impl Wire<Client = C>,
        client: C,
        bytes: &[u8],
        question: Question,
    ) -> Result<(), Rejected> {
        if self.upstreams.list().is_empty() {
            return Err(Rejected::NoServer);
        }
        // Answered ones that linger do not count, but must not pile up either.
        if self.waiting >= self.max || self.queries.len() >= 2 * self.max {
            return Err(Rejected::Full);
        }
        let id = self.fresh_id(wire);
        let mut message = bytes.to_vec();
        message::set_id(&mut message, id);
        let mut query = Query {
            client,
            client_id: message::id(bytes),
            message,
            question,
            since: now,
            due: now,
            backoff: RETRY,
            answered: false,
            done: Vec::new(),
            attempts: Vec::with_capacity(1),
            failure: None,
        };
        let mut patience = Duration::MAX;
        for upstream in self.upstreams.first(now) {
            if query.send(now, wire, &mut self.upstreams, upstream) {
                patience =
                    patience.min(self.upstreams.get(upstream).map_or(RETRY, |u| u.patience()));
            }
        }
        if query.attempts.is_empty() {
            query.ask_next(now, wire, &mut self.upstreams);
        } else {
            query.due = now + patience;
        }
        self.wake_at(query.due);
        self.queries.insert(id, query);
        self.waiting += 1;
        Ok(())
    }

    /// A message came from a server. Late, duplicate and forged ones change
    /// nothing. Returns whether it was the awaited one.
    pub fn heard(
        &mut self,
        now: Instant,
        wire: &mut impl Wire<Client = C>,
        from: UpstreamId,
        reply: &mut [u8],
    ) -> bool {
        let id = message::id(reply);
        let Some(query) = self.queries.get_mut(&id) else {
            return false;
        };
        let Some(at) = query
            .attempts
            .iter()
            .position(|attempt| attempt.upstream == from)
        else {
            return false;
        };
        if !query.question.is_answered_by(&query.message, reply) {
            return false;
        }
        let attempt = query.attempts.swap_remove(at);
        wire.release(attempt.socket);
        let failure = message::is_failure(reply);
        let took = (!attempt.repeated).then(|| now.saturating_duration_since(attempt.sent));
        let mut is_back = false;
        if let Some(upstream) = self.upstreams.get(from) {
            is_back = upstream.unheard_for(now, DEAD_AFTER);
            upstream.heard(now, took, failure);
        }
        let mut over = query.answered && query.attempts.is_empty();
        if !query.answered {
            message::set_id(reply, query.client_id);
            if failure {
                query.done.push(from);
                query
                    .failure
                    .get_or_insert_with(|| query.question.abridged(reply));
                over = query.ask_next(now, wire, &mut self.upstreams);
            } else {
                wire.reply(&query.client, reply);
                self.waiting -= 1;
                over = query.attempts.is_empty();
                query.answered = true;
                query.due = now + LINGER;
            }
        }
        let due = query.due;
        if over {
            self.close(id, wire);
        } else {
            self.wake_at(due);
        }
        if is_back {
            self.repeat(now, wire, Some(from), |_| true);
        }
        true
    }

    /// The kernel says that a server cannot be reached through this socket.
    pub fn failed(
        &mut self,
        now: Instant,
        wire: &mut impl Wire<Client = C>,
        from: UpstreamId,
        socket: SocketKey,
    ) {
        let concerned: Vec<u16> = self
            .queries
            .iter()
            .filter(|(_, query)| {
                query
                    .attempts
                    .iter()
                    .any(|attempt| attempt.socket == socket)
            })
            .map(|(&id, _)| id)
            .collect();
        if let Some(upstream) = self.upstreams.get(from) {
            upstream.unreachable(now);
        }
        for id in concerned {
            let Some(query) = self.queries.get_mut(&id) else {
                continue;
            };
            query.drop_attempts(wire, |attempt| attempt.socket == socket);
            query.done.push(from);
            let over = match query.answered {
                true => query.attempts.is_empty(),
                false => query.ask_next(now, wire, &mut self.upstreams),
            };
            let due = query.due;
            if over {
                self.close(id, wire)
            } else {
                self.wake_at(due)
            }
        }
    }

    /// Does what is due: asks the next server, repeats, gives up.
    pub fn tick(&mut self, now: Instant, wire: &mut impl Wire<Client = C>) {
        let due: Vec<u16> = self
            .queries
            .iter()
            .filter(|(_, query)| query.due <= now)
            .map(|(&id, _)| id)
            .collect();
        for id in due {
            let Some(query) = self.queries.get_mut(&id) else {
                continue;
            };
            query.note_silence(now, &mut self.upstreams);
            if query.answered || query.go_on(now, wire, &mut self.upstreams) {
                self.close(id, wire);
            }
        }
        self.due = self.queries.values().map(|query| query.due).min();
    }

    /// Another list of servers. Nothing that waits is lost: it goes to the new
    /// ones, and without any it waits for the next list.
    pub fn set_servers(
        &mut self,
        now: Instant,
        wire: &mut impl Wire<Client = C>,
        servers: &[Server],
    ) {
        let gone = self.upstreams.set(servers, now);
        for query in self.queries.values_mut() {
            query.drop_attempts(wire, |attempt| gone.contains(&attempt.upstream));
        }
        let idle = |query: &Query<C>| query.attempts.is_empty();
        self.repeat(now, wire, None, idle);
    }

    /// Links or routes changed: what waits is sent again at once.
    pub fn network_changed(&mut self, now: Instant, wire: &mut impl Wire<Client = C>) {
        self.upstreams.forgive(now);
        self.repeat(now, wire, None, |_| true);
    }

    /// Sends what waits again, to one server or to all.
    fn repeat(
        &mut self,
        now: Instant,
        wire: &mut impl Wire<Client = C>,
        to: Option<UpstreamId>,
        which: impl Fn(&Query<C>) -> bool,
    ) {
        let targets: Vec<UpstreamId> = match to {
            Some(one) => vec![one],
            None => self
                .upstreams
                .list()
                .iter()
                .map(|upstream| upstream.id)
                .collect(),
        };
        let mut wake = None;
        for query in self
            .queries
            .values_mut()
            .filter(|q| !q.answered && which(q))
        {
            for &target in &targets {
                query.done.retain(|done| *done != target);
                query.send(now, wire, &mut self.upstreams, target);
            }
            query.backoff = RETRY;
            query.due = now + RETRY;
            wake = Some(query.due);
        }
        if let Some(due) = wake {
            self.wake_at(due);
        }
    }

    fn wake_at(&mut self, due: Instant) {
        self.due = Some(self.due.map_or(due, |old| old.min(due)));
    }

    fn close(&mut self, id: u16, wire: &mut impl Wire<Client = C>) {
        let Some(mut query) = self.queries.remove(&id) else {
            return;
        };
        query.drop_attempts(wire, |_| true);
        if query.answered {
            return;
        }
        self.waiting -= 1;
        match query.failure {
            Some(reply) => wire.reply(&query.client, &reply),
            None => {
                message::set_id(&mut query.message, query.client_id);
                wire.give_up(query.client, query.message);
            }
        }
    }

    /// An id that cannot be guessed, is not in use and was not just before.
    fn fresh_id(&mut self, wire: &mut impl Wire<Client = C>) -> u16 {
        loop {
            let id = wire.random();
            if !self.recent.contains(id) && !self.queries.contains_key(&id) {
                self.recent.push(id);
                return id;
            }
        }
    }
}

impl<C> Query<C> {
    /// Sends the query to one server, again if it was asked before. Returns
    /// whether it is on its way.
    fn send(
        &mut self,
        now: Instant,
        wire: &mut impl Wire<Client = C>,
        upstreams: &mut Upstreams,
        to: UpstreamId,
    ) -> bool {
        let Some(upstream) = upstreams.get(to) else {
            return false;
        };
        let sent = wire.send(upstream, &self.message);
        upstream.asked(now);
        let earlier = self
            .attempts
            .iter()
            .position(|attempt| attempt.upstream == to);
        match (sent, earlier) {
            (Ok(socket), None) => {
                self.attempts.push(Attempt {
                    upstream: to,
                    socket,
                    sent: now,
                    repeated: false,
                    overdue: false,
                });
                true
            }
            (Ok(socket), Some(at)) => {
                let attempt = &mut self.attempts[at];
                wire.release(attempt.socket);
                *attempt = Attempt {
                    socket,
                    repeated: true,
                    ..*attempt
                };
                true
            }
            // What was sent earlier may still be answered.
            (Err(_), Some(_)) => false,
            (Err(_), None) => {
                upstream.unreachable(now);
                self.done.push(to);
                false
            }
        }
    }

    /// Asks the best server that was not asked yet. Returns whether the query
    /// is over: all have failed and one of them said so.
    fn ask_next(
        &mut self,
        now: Instant,
        wire: &mut impl Wire<Client = C>,
        upstreams: &mut Upstreams,
    ) -> bool {
        loop {
            let next = upstreams.best(|upstream| !self.was_asked(upstream.id));
            let Some((next, patience)) = next.map(|next| (next.id, next.patience())) else {
                break;
            };
            if self.send(now, wire, upstreams, next) {
                self.due = now + patience;
                return false;
            }
        }
        if self.attempts.is_empty() && self.failure.is_some() {
            return true;
        }
        self.due = self.due.max(now + RETRY);
        false
    }

    /// Says of every server that should have answered that it has not.
    fn note_silence(&mut self, now: Instant, upstreams: &mut Upstreams) {
        for attempt in self.attempts.iter_mut().filter(|attempt| !attempt.overdue) {
            let Some(upstream) = upstreams.get(attempt.upstream) else {
                continue;
            };
            if now.saturating_duration_since(attempt.sent) >= upstream.patience() {
                attempt.overdue = true;
                upstream.silent(now);
            }
        }
    }

    /// The time has come without an answer: asks the next server or, when all
    /// were asked, repeats. Returns whether the query is over.
    fn go_on(
        &mut self,
        now: Instant,
        wire: &mut impl Wire<Client = C>,
        upstreams: &mut Upstreams,
    ) -> bool {
        let end = self.since
            + if self.failure.is_some() {
                HOLD_FAILURE
            } else {
                LIFETIME
            };
        if now >= end {
            return true;
        }
        if upstreams
            .list()
            .iter()
            .any(|upstream| !self.was_asked(upstream.id))
        {
            return self.ask_next(now, wire, upstreams);
        }
        self.repeat_to_all(now, wire, upstreams);
        self.due = self.due.min(end);
        false
    }

    /// Repeats to servers that are just slow with growing pauses, and to dead
    /// ones in turn with the other queries that wait.
    fn repeat_to_all(
        &mut self,
        now: Instant,
        wire: &mut impl Wire<Client = C>,
        upstreams: &mut Upstreams,
    ) {
        let is_dead = |upstream: &Upstream| upstream.unheard_for(now, DEAD_AFTER);
        let targets: Vec<UpstreamId> = upstreams
            .list()
            .iter()
            // One that said SERVFAIL or REFUSED will say it again.
            .filter(|upstream| !(self.done.contains(&upstream.id) && upstream.state == State::Up))
            .filter(|upstream| !(is_dead(upstream) && upstream.asked_within(now, RETRY)))
            .map(|upstream| upstream.id)
            .collect();
        if upstreams.list().iter().all(is_dead) {
            self.due = now + RETRY;
        } else {
            self.due = now + self.backoff;
            self.backoff = (2 * self.backoff).min(MAX_BACKOFF);
        }
        for target in targets {
            self.done.retain(|done| *done != target);
            self.send(now, wire, upstreams, target);
        }
    }

    fn was_asked(&self, upstream: UpstreamId) -> bool {
        self.done.contains(&upstream) || self.attempts.iter().any(|a| a.upstream == upstream)
    }

    fn drop_attempts(
        &mut self,
        wire: &mut impl Wire<Client = C>,
        which: impl Fn(&Attempt) -> bool,
    ) {
        self.attempts.retain(|attempt| {
            let drop = which(attempt);
            if drop {
                wire.release(attempt.socket);
            }
            !drop
        });
    }
}

#[cfg(test)]
mod tests;
