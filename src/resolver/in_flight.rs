//! The queries in flight: what happens to each of them, and when.
//!
//! A query has **attempts**, each of them one transmission to one server through
//! one socket at one time, and **waiters**, the clients that asked the same. An
//! attempt is never taken back: whichever of them is answered, and whenever,
//! the waiters get that answer.
//!
//! Pure: time comes in as an argument, and a [`Transport`] sends. Every event (a
//! query, a reply, an error, a time that has come) is one call; between calls
//! [`InFlight::due`] says when to call [`InFlight::tick`].

mod attempts;
mod query;

use std::io;
use std::time::{Duration, Instant};

use super::edns;
use super::message::{self, Question};
use super::numbers::RecentIds;
use super::upstream::{State, Upstream, Upstreams};
use crate::config::Server;
use query::Query;

/// A query without an answer ends with SERVFAIL: glibc, musl and dig ask again
/// after 5 s.
pub const LIFETIME: Duration = Duration::from_secs(5);
/// Dead servers get one query of those that wait for them this often. Half of it
/// is close enough.
const PACE: Duration = Duration::from_millis(50);
/// A server that is heard again after so long has returned.
const RETURNED_AFTER: Duration = Duration::from_secs(1);

/// Names a socket that a query was sent through.
pub type SocketKey = u32;

/// Sends for [`InFlight`].
pub trait Transport {
    /// Who waits for an answer.
    type Client;
    /// Sends a query to a server. The socket stays open for late and double
    /// replies for longer than the query lives.
    ///
    /// # Errors
    /// What the kernel says: no route, no device, refused. Nothing has left.
    fn send(&mut self, upstream: &Upstream, query: &[u8]) -> io::Result<SocketKey>;
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

/// What a query is found by.
#[derive(Clone, Copy)]
struct Key {
    /// The id that servers see.
    id: u16,
    /// Clients wait for it.
    is_waited_for: bool,
    digest: u32,
}

/// All queries in flight.
pub struct InFlight<C> {
    /// Some hundreds at most, found through `keys`: eight bytes each to look
    /// through are faster than hashing.
    queries: Vec<Query<C>>,
    keys: Vec<Key>,
    /// Clients that wait for an answer.
    waiting: usize,
    max: usize,
    /// The servers.
    pub upstreams: Upstreams,
    /// Not used again yet, so that a late reply to one query is never taken for
    /// another's.
    recent: RecentIds,
    due: Option<Instant>,
    /// When dead servers get the next query of those that wait for them.
    probe_at: Option<Instant>,
}

impl<C> InFlight<C> {
    /// None yet; at most `max` clients may wait at a time.
    #[must_use]
    pub fn new(max: usize) -> Self {
        Self {
            queries: Vec::new(),
            keys: Vec::new(),
            waiting: 0,
            max,
            upstreams: Upstreams::default(),
            recent: RecentIds::new(),
            due: None,
            probe_at: None,
        }
    }

    /// When to call [`tick`](Self::tick); none while nothing is in flight.
    #[must_use]
    pub fn due(&self) -> Option<Instant> {
        earlier(self.due, self.probe_at)
    }

    /// Takes a query, `bytes` as the client sent it. One that others wait for
    /// already is not sent for it.
    ///
    /// # Errors
    /// It is not taken, and wants an answer of our own.
    pub fn ask(
        &mut self,
        now: Instant,
        transport: &mut impl Transport<Client = C>,
        client: C,
        bytes: &[u8],
        question: Question,
    ) -> Result<(), Rejected> {
        if self.upstreams.list().is_empty() {
            return Err(Rejected::NoServer);
        }
        if self.waiting >= self.max {
            return Err(Rejected::Full);
        }
        self.waiting += 1;
        let client_id = message::id(bytes);
        let mut message = bytes.to_vec();
        edns::limit_payload(&mut message, question);
        let digest = message::digest(&message);
        if let Some(at) = self.find(digest, &message) {
            self.queries[at].add_waiter(now, client, client_id);
            self.queries[at].renew(now, &mut self.upstreams);
            self.settle(at, now, false, transport);
            return Ok(());
        }
        self.make_room();
        let id = self.fresh_id(transport);
        message::set_id(&mut message, id);
        let mut query = Query::new(now, message, question);
        query.add_waiter(now, client, client_id);
        query.start(now, transport, &mut self.upstreams, PACE / 2);
        let over =
            !query.is_under_way() && query.advance(now, transport, &mut self.upstreams, PACE / 2);
        self.queries.push(query);
        self.keys.push(Key {
            id,
            is_waited_for: true,
            digest,
        });
        self.settle(self.queries.len() - 1, now, over, transport);
        Ok(())
    }

    /// A message came through a socket. Late, duplicate and forged ones change
    /// nothing. Returns whether something was waiting for it.
    pub fn heard(
        &mut self,
        now: Instant,
        transport: &mut impl Transport<Client = C>,
        socket: SocketKey,
        reply: &mut [u8],
    ) -> bool {
        let id = message::id(reply);
        let Some(at) = self.keys.iter().position(|key| key.id == id) else {
            return false;
        };
        let query = &mut self.queries[at];
        let Some((from, heard)) = query.hear(socket, reply) else {
            return false;
        };
        let failure = message::is_failure(reply);
        let mut returned = false;
        if heard.is_news
            && let Some(upstream) = self.upstreams.get(from)
        {
            returned = upstream.state != State::Up && upstream.unanswered_for(now, RETURNED_AFTER)
                || upstream.is_dead(now);
            if heard.was_late {
                upstream.was_late();
            }
            let took = heard.sent.map(|sent| now.saturating_duration_since(sent));
            upstream.heard(now, took, failure);
        }
        if query.is_waited_for() {
            if failure {
                if heard.is_news {
                    query.note_failure(now, from, reply);
                }
            } else {
                self.waiting -= query.answer(transport, reply);
            }
        }
        // A client that has given up, and asks again when the answer is on its way.
        let is_for_another = heard.is_news && !failure && self.queries[at].is_given_up();
        let another = is_for_another.then(|| self.find_same(at)).flatten();
        if let Some(another) = another {
            self.waiting -= self.queries[another].answer(transport, reply);
            // The later one first: what is forgotten moves only what stands behind it.
            self.go_on(at.max(another), now, transport);
        }
        self.go_on(
            another.map_or(at, |another| at.min(another)),
            now,
            transport,
        );
        if returned {
            let sent = heard.sent.unwrap_or(now);
            self.each_waiting(now, transport, |query, transport, upstreams| {
                query.server_returned(now, transport, upstreams, from, sent);
            });
        }
        heard.is_news
    }

    /// The kernel says that a server cannot be reached through this socket.
    pub fn failed(
        &mut self,
        now: Instant,
        transport: &mut impl Transport<Client = C>,
        socket: SocketKey,
    ) {
        let mut is_told = false;
        for at in (0..self.queries.len()).rev() {
            let query = &mut self.queries[at];
            let Some(from) = query.note_unreachable(now, socket) else {
                continue;
            };
            if !is_told && let Some(upstream) = self.upstreams.get(from) {
                upstream.unreachable(now);
                is_told = true;
            }
            self.go_on(at, now, transport);
        }
    }

    /// Does what is due: asks the next server, repeats, gives up.
    pub fn tick(&mut self, now: Instant, transport: &mut impl Transport<Client = C>) {
        self.due = None;
        for at in (0..self.queries.len()).rev() {
            let query = &mut self.queries[at];
            let mut over = false;
            if query.due() <= now {
                if let Some(since) = now.checked_sub(LIFETIME) {
                    self.waiting -= query.give_up(transport, Some(since));
                }
                over = query.advance(now, transport, &mut self.upstreams, PACE / 2);
            }
            self.settle(at, now, over, transport);
        }
        if self.probe_at.is_some_and(|at| at <= now) {
            self.probe_the_dead(now, transport);
        }
    }

    /// Another list of servers. Nothing that waits is lost: it goes to the new
    /// ones, and without any it waits for the next list. The old ones' answers
    /// still count.
    pub fn set_servers(
        &mut self,
        now: Instant,
        transport: &mut impl Transport<Client = C>,
        servers: &[Server],
    ) {
        self.upstreams.set(servers, now);
        self.each_waiting(now, transport, |query, transport, upstreams| {
            if query.is_idle(upstreams) {
                query.start(now, transport, upstreams, PACE / 2);
            }
        });
    }

    /// Links or routes of the WAN changed: what waits is sent again at once, each
    /// query once in its life.
    pub fn network_changed(&mut self, now: Instant, transport: &mut impl Transport<Client = C>) {
        // Who did best before is the best guess for what is next.
        let best = self.upstreams.best(|_| true).map(|best| best.id);
        self.upstreams.forgive(now);
        let Some(best) = best else {
            return;
        };
        self.each_waiting(now, transport, |query, transport, upstreams| {
            query.network_changed(now, transport, upstreams, best, PACE / 2);
        });
    }

    /// Does something with all queries that are waited for.
    fn each_waiting<T: Transport<Client = C>>(
        &mut self,
        now: Instant,
        transport: &mut T,
        mut act: impl FnMut(&mut Query<C>, &mut T, &mut Upstreams),
    ) {
        for at in (0..self.queries.len()).rev() {
            let query = &mut self.queries[at];
            if !query.is_waited_for() {
                continue;
            }
            act(query, transport, &mut self.upstreams);
            self.go_on(at, now, transport);
        }
    }

    /// Sends each dead server one of the queries that wait for it: the one that
    /// had the fewest turns.
    fn probe_the_dead(&mut self, now: Instant, transport: &mut impl Transport<Client = C>) {
        for at in 0..self.upstreams.list().len() {
            let upstream = &self.upstreams.list()[at];
            let id = upstream.id;
            if !upstream.is_dead(now) || upstream.tried_within(now, PACE / 2) {
                continue;
            }
            let upstreams = &mut self.upstreams;
            let waiting = self.queries.iter_mut();
            let next = waiting
                .filter(|query| query.probe_at(id).is_some_and(|at| at <= now))
                .filter(|query| query.needs_the_dead(now, upstreams))
                .min_by_key(|query| (query.turns_with(id), query.since()));
            if let Some(query) = next {
                query.send(now, transport, upstreams, id);
            }
        }
        self.probe_at = self.next_probe(now);
    }

    fn next_probe(&self, now: Instant) -> Option<Instant> {
        let waiting = self.queries.iter();
        let waiting = waiting.filter(|query| query.needs_the_dead(now, &self.upstreams));
        let next = waiting.flat_map(|query| {
            let list = self.upstreams.list().iter();
            let dead = list.filter(|upstream| upstream.is_dead(now));
            dead.filter_map(|upstream| query.probe_at(upstream.id))
        });
        Some(next.min()?.max(now + PACE))
    }

    /// Does what an event demands of a query.
    fn go_on(&mut self, at: usize, now: Instant, transport: &mut impl Transport<Client = C>) {
        let over = self.queries[at].advance(now, transport, &mut self.upstreams, PACE / 2);
        self.settle(at, now, over, transport);
    }

    /// After something has happened to a query: forgets it when it is over, and
    /// sees to it that it is looked at in time.
    fn settle(
        &mut self,
        at: usize,
        now: Instant,
        over: bool,
        transport: &mut impl Transport<Client = C>,
    ) {
        let query = &mut self.queries[at];
        if over {
            self.waiting -= query.give_up(transport, None);
            // What may still be answered tells how that server does.
            if query.linger(now, &mut self.upstreams) {
                self.queries.swap_remove(at);
                self.keys.swap_remove(at);
                return;
            }
        }
        self.keys[at].is_waited_for = query.is_waited_for();
        let due = query.due();
        self.due = Some(self.due.map_or(due, |old| old.min(due)));
        let upstreams = self.upstreams.list().iter();
        let dead = upstreams.filter(|upstream| upstream.is_dead(now));
        if let Some(at) = dead.filter_map(|dead| query.probe_at(dead.id)).min()
            && query.needs_the_dead(now, &self.upstreams)
        {
            // Another query's may be set already, for later.
            let at = at.max(now);
            self.probe_at = Some(self.probe_at.map_or(at, |old| old.min(at)));
        }
    }

    /// The query that asks the same as this one and is waited for.
    fn find_same(&self, at: usize) -> Option<usize> {
        self.find(self.keys[at].digest, self.queries[at].message())
    }

    /// The query that is waited for and asks the same as a message.
    fn find(&self, digest: u32, message: &[u8]) -> Option<usize> {
        (0..self.keys.len()).find(|&at| {
            let key = &self.keys[at];
            key.digest == digest && key.is_waited_for && self.queries[at].is_same(message)
        })
    }

    /// Those that linger must not pile up: the oldest is forgotten.
    fn make_room(&mut self) {
        let lingering = || (0..self.keys.len()).filter(|&at| !self.keys[at].is_waited_for);
        if self.queries.len() >= 2 * self.max
            && let Some(oldest) = lingering().min_by_key(|&at| self.queries[at].since())
        {
            self.queries.swap_remove(oldest);
            self.keys.swap_remove(oldest);
        }
    }

    /// An id that cannot be guessed, is not in use and was not just before.
    fn fresh_id(&mut self, transport: &mut impl Transport<Client = C>) -> u16 {
        loop {
            let id = transport.random();
            if !self.recent.contains(id) && !self.keys.iter().any(|key| key.id == id) {
                self.recent.push(id);
                return id;
            }
        }
    }
}

/// The earlier of two times, if there is any.
#[must_use]
pub fn earlier(one: Option<Instant>, other: Option<Instant>) -> Option<Instant> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}

#[cfg(test)]
mod tests;
