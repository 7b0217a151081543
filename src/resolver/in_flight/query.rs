//! One query in flight: its waiters, and what it does next.

use std::time::{Duration, Instant};

use super::attempts::{Attempts, Heard};
use super::{LIFETIME, SocketKey, Transport};
use crate::resolver::message::{self, Question};
use crate::resolver::upstream::{Upstream, UpstreamId, Upstreams};

/// For how long a failure of one server is held back for what a dead one may
/// say. One that is alive has all the time there is.
const HOLD_FAILURE: Duration = Duration::from_millis(500);
/// So often a query is sent to one server, and to all of them together. A change
/// of the network is worth one more.
const SENDS_TO_ONE: usize = 4;
const SENDS: usize = 12;
/// The least pause before the second, third and fourth time: a server that is just
/// busy has some time, and an outage of seconds is covered, however fast the server
/// was.
const PAUSES: [Duration; SENDS_TO_ONE - 1] = [
    Duration::from_millis(250),
    Duration::from_millis(400),
    Duration::from_millis(1500),
];
/// A client that joins a query which was last sent so long ago has it sent anew.
const RENEW_AFTER: Duration = Duration::from_secs(1);
/// The pause between two attempts of one query at a dead server, divided by the
/// clients that wait for it.
const DEAD_PAUSE: Duration = Duration::from_millis(1200);

/// A client that waits for the answer.
struct Waiter<C> {
    client: C,
    /// The id of its own query.
    id: u16,
    since: Instant,
}

/// Why nothing good is expected from a server.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Done {
    /// It said so: it would say it again.
    Failed,
    /// It cannot be reached now.
    Unreachable,
}

/// A query in flight or, once all its clients have their answer, one that
/// lingers: late replies tell how the servers do.
pub(super) struct Query<C> {
    /// With the id that servers see.
    message: Vec<u8>,
    question: Question,
    since: Instant,
    due: Instant,
    /// None wait: it lingers.
    waiters: Vec<Waiter<C>>,
    /// So many clients have asked it.
    asked: u32,
    /// A client that joins late starts another round of them.
    attempts: Attempts,
    /// How often the kernel refused to send it.
    unsent: usize,
    renew_at: Option<Instant>,
    /// From when on another server is asked too.
    next_server_at: Instant,
    done: Vec<(UpstreamId, Done)>,
    /// What to say if nothing better comes.
    failure: Option<Vec<u8>>,
    /// It was sent once more because the network changed.
    sent_for_change: bool,
    /// Its clients were told of a good answer.
    is_answered: bool,
}

impl<C> Query<C> {
    pub(super) fn new(now: Instant, message: Vec<u8>, question: Question) -> Self {
        Self {
            message,
            question,
            since: now,
            due: now,
            waiters: Vec::with_capacity(1),
            asked: 0,
            attempts: Attempts::new(),
            unsent: 0,
            renew_at: None,
            next_server_at: now,
            done: Vec::new(),
            failure: None,
            sent_for_change: false,
            is_answered: false,
        }
    }

    /// Another client waits for it.
    pub(super) fn add_waiter(&mut self, now: Instant, client: C, id: u16) {
        self.asked += 1;
        self.waiters.push(Waiter {
            client,
            id,
            since: now,
        });
    }

    pub(super) fn is_waited_for(&self) -> bool {
        !self.waiters.is_empty()
    }

    /// Whether its clients were told that there is no answer.
    pub(super) fn is_given_up(&self) -> bool {
        !self.is_waited_for() && !self.is_answered
    }

    /// When to call [`advance`](Self::advance).
    pub(super) fn due(&self) -> Instant {
        self.due
    }

    pub(super) fn since(&self) -> Instant {
        self.since
    }

    /// As servers see it.
    pub(super) fn message(&self) -> &[u8] {
        &self.message
    }

    /// Whether a client asks the same, but for the id.
    pub(super) fn is_same(&self, message: &[u8]) -> bool {
        self.message.get(2..) == message.get(2..)
    }

    /// Starts it: asks the best server, or all.
    pub(super) fn start(
        &mut self,
        now: Instant,
        transport: &mut impl Transport<Client = C>,
        upstreams: &mut Upstreams,
        pace: Duration,
    ) {
        self.attempts.begin_round();
        self.renew_at = None;
        self.next_server_at = now;
        let mut patience = Duration::MAX;
        for upstream in upstreams.first(now) {
            let Some(to) = upstreams.get(upstream) else {
                continue;
            };
            if to.is_dead(now) && to.tried_within(now, pace) {
                continue;
            }
            let own = to.patience();
            if self.send(now, transport, upstreams, upstream) {
                patience = patience.min(own);
            }
        }
        if patience < Duration::MAX {
            self.next_server_at = now + patience;
            // Nothing else is due before that.
            self.due = self.next_server_at;
        }
    }

    /// Whether it was sent just now, so that there is nothing to do for a while.
    pub(super) fn is_under_way(&self) -> bool {
        self.due > self.since
    }

    /// A client has joined: what was last sent long ago is sent again for it.
    pub(super) fn renew(&mut self, now: Instant, upstreams: &mut Upstreams) {
        if let Some((last, sent)) = self.attempts.last() {
            let timeout = upstreams.get(last).map(|last| last.timeout());
            let at = (sent + RENEW_AFTER.max(timeout.unwrap_or_default())).max(now);
            self.renew_at = Some(at);
            self.due = self.due.min(at);
        }
    }

    /// Sends it to one server. Returns whether it is on its way.
    pub(super) fn send(
        &mut self,
        now: Instant,
        transport: &mut impl Transport<Client = C>,
        upstreams: &mut Upstreams,
        to: UpstreamId,
    ) -> bool {
        let Some(upstream) = upstreams.get(to) else {
            return false;
        };
        self.done.retain(|done| *done != (to, Done::Unreachable));
        match transport.send(upstream, &self.message) {
            Ok(socket) => {
                upstream.asked(now);
                self.attempts.add(to, socket, now);
                true
            }
            Err(_) => {
                self.unsent += 1;
                upstream.tried(now);
                upstream.unreachable(now);
                self.done.push((to, Done::Unreachable));
                false
            }
        }
    }

    /// Does what the time or an event demands. Returns whether it is over: it
    /// lingers for nothing more, or has only a failure to pass on.
    pub(super) fn advance(
        &mut self,
        now: Instant,
        transport: &mut impl Transport<Client = C>,
        upstreams: &mut Upstreams,
        pace: Duration,
    ) -> bool {
        self.attempts.note_silence(now, upstreams);
        if !self.is_waited_for() {
            return self.linger(now, upstreams);
        }
        if self.renew_at.is_some_and(|at| at <= now) {
            self.start(now, transport, upstreams, pace);
        }
        while self.next_server_at <= now
            && let Some((next, patience)) = self.next_server(now, upstreams)
        {
            if self.send(now, transport, upstreams, next) {
                self.next_server_at = now + patience;
            }
        }
        self.repeat(now, transport, upstreams);
        if self.failure.is_some() && self.has_nothing_to_hope_for(now, upstreams) {
            return true;
        }
        self.due = self.next_due(now, upstreams);
        false
    }

    /// Waits on for what tells how a server does. Returns whether it is over.
    pub(super) fn linger(&mut self, now: Instant, upstreams: &mut Upstreams) -> bool {
        let Some(end) = self.attempts.last_open().map(|sent| sent + LIFETIME) else {
            return true;
        };
        self.due = end.min(self.attempts.next_silence(upstreams).unwrap_or(end));
        end <= now
    }

    /// The best server that was not asked in this round. Dead ones have a pace
    /// of their own.
    fn next_server(&self, now: Instant, upstreams: &Upstreams) -> Option<(UpstreamId, Duration)> {
        if self.attempts.count_in_round() >= SENDS {
            return None;
        }
        let is_left =
            |u: &Upstream| !u.is_dead(now) && !self.has_failed(u.id) && !self.was_asked(u.id);
        upstreams
            .best(is_left)
            .map(|next| (next.id, next.patience()))
    }

    /// Sends it again to the servers whose time has come.
    fn repeat(
        &mut self,
        now: Instant,
        transport: &mut impl Transport<Client = C>,
        upstreams: &mut Upstreams,
    ) {
        for at in 0..upstreams.list().len() {
            let upstream = &upstreams.list()[at];
            let id = upstream.id;
            if self.repeat_at(now, upstream).is_some_and(|at| at <= now) {
                self.send(now, transport, upstreams, id);
            }
        }
    }

    /// When a server that was asked, and may just be slow, is asked again: after
    /// its time-out, then after growing pauses. These differ from query to query,
    /// so that what a server dropped for want of time does not come back all at
    /// once.
    fn repeat_at(&self, now: Instant, upstream: &Upstream) -> Option<Instant> {
        let (count, last) = self.attempts.in_round_to(upstream.id)?;
        if upstream.is_dead(now)
            || self.has_failed(upstream.id)
            || self.attempts.count_in_round() >= SENDS
        {
            return None;
        }
        let pause = upstream.timeout().max(*PAUSES.get(count - 1)?);
        // Of as much again, or half of it.
        let share = u32::from(message::id(&self.message));
        let more = match count {
            1 => Duration::ZERO,
            2 => pause / 2 * share / (1 << 16),
            _ => pause * share / (1 << 16),
        };
        Some(last + pause + more)
    }

    /// When it may be sent to a dead server; none where it was often enough.
    pub(super) fn probe_at(&self, upstream: UpstreamId) -> Option<Instant> {
        let asked = self.asked as usize;
        let waiting = u32::try_from(self.waiters.len()).unwrap_or(u32::MAX);
        if self.has_failed(upstream)
            || self.attempts.count_to(upstream) >= SENDS_TO_ONE * asked
            || self.attempts.count() >= SENDS * asked
        {
            return None;
        }
        let last = self.attempts.last_to(upstream);
        Some(last.map_or(self.since, |last| last + DEAD_PAUSE / waiting.max(1)))
    }

    /// So often it had its turn with that server, or lost it to the kernel.
    pub(super) fn turns_with(&self, upstream: UpstreamId) -> usize {
        self.attempts.count_to(upstream) + self.unsent
    }

    /// Whether its hope is on dead servers: it waits, and all others were asked
    /// and are silent or have failed.
    pub(super) fn needs_the_dead(&self, now: Instant, upstreams: &Upstreams) -> bool {
        let is_used_up = |upstream: &Upstream| {
            upstream.is_dead(now)
                || self.is_done(upstream.id)
                || self.was_asked(upstream.id) && !self.attempts.awaits(upstream.id)
        };
        self.is_waited_for() && upstreams.list().iter().all(is_used_up)
    }

    /// Whether no server may have better than a failure.
    fn has_nothing_to_hope_for(&self, now: Instant, upstreams: &Upstreams) -> bool {
        let is_over = |upstream: &Upstream| {
            self.is_done(upstream.id)
                || (now >= self.since + HOLD_FAILURE && upstream.is_dead(now))
                // Not asked any more: sent often enough to others.
                || !upstream.is_dead(now) && !self.was_asked(upstream.id)
        };
        self.next_server(now, upstreams).is_none() && upstreams.list().iter().all(is_over)
    }

    fn next_due(&self, now: Instant, upstreams: &mut Upstreams) -> Instant {
        let end = self.waiters.first().map(|waiter| waiter.since + LIFETIME);
        let next_server = self.next_server(now, upstreams);
        let held = self.failure.is_some().then_some(self.since + HOLD_FAILURE);
        let repeats = upstreams.list().iter();
        let repeats = repeats.filter_map(|upstream| self.repeat_at(now, upstream));
        let due = repeats
            .chain(end)
            .chain(next_server.map(|_| self.next_server_at))
            .chain(held.filter(|&held| held > now))
            .chain(self.renew_at)
            .min();
        let silence = self.attempts.next_silence(upstreams);
        let due = due.into_iter().chain(silence).min();
        // What is due already would have been done.
        due.unwrap_or(now + LIFETIME)
            .max(now + Duration::from_millis(1))
    }

    /// A message with this query's id came through a socket. None where it is no
    /// answer to what was sent there.
    pub(super) fn hear(&mut self, socket: SocketKey, reply: &[u8]) -> Option<(UpstreamId, Heard)> {
        let is_answer = self.attempts.went_through(socket)
            && self.question.is_answered_by(&self.message, reply);
        is_answer.then(|| self.attempts.hear(socket)).flatten()
    }

    /// A server has failed; the next one is asked at once.
    pub(super) fn note_failure(&mut self, now: Instant, from: UpstreamId, reply: &[u8]) {
        if !self.has_failed(from) {
            self.done.push((from, Done::Failed));
        }
        if self.failure.is_none() {
            self.failure = Some(self.question.abridged(reply));
        }
        self.next_server_at = now;
    }

    /// The kernel says that what was sent through a socket did not arrive.
    /// Returns the server, if it is one of this query's sockets.
    pub(super) fn note_unreachable(
        &mut self,
        now: Instant,
        socket: SocketKey,
    ) -> Option<UpstreamId> {
        let from = self.attempts.fail(socket)?;
        if !self.is_done(from) {
            self.done.push((from, Done::Unreachable));
        }
        self.next_server_at = now;
        Some(from)
    }

    /// The network has changed: what is waited for is sent once more to the best
    /// server, and what never left starts anew.
    pub(super) fn network_changed(
        &mut self,
        now: Instant,
        transport: &mut impl Transport<Client = C>,
        upstreams: &mut Upstreams,
        best: UpstreamId,
        pace: Duration,
    ) {
        self.done.retain(|(_, why)| *why != Done::Unreachable);
        self.next_server_at = now;
        if self.attempts.count() == 0 {
            self.start(now, transport, upstreams, pace);
        } else if !self.sent_for_change && self.send(now, transport, upstreams, best) {
            self.sent_for_change = true;
            // A failure may have been the old network's.
            self.done.retain(|(failed, _)| *failed != best);
            let patience = upstreams.get(best).map(|best| best.patience());
            self.next_server_at = now + patience.unwrap_or_default();
        }
    }

    /// A dead server has answered what was sent to it at `sent`: what was sent
    /// before then is most likely lost, and sent again.
    pub(super) fn server_returned(
        &mut self,
        now: Instant,
        transport: &mut impl Transport<Client = C>,
        upstreams: &mut Upstreams,
        which: UpstreamId,
        sent: Instant,
    ) {
        let last = self.attempts.last_to(which);
        if !self.is_waited_for() || last.is_some_and(|last| last >= sent) {
            return;
        }
        let is_allowed = self.attempts.count_to(which) < SENDS_TO_ONE * self.asked as usize;
        if is_allowed {
            self.send(now, transport, upstreams, which);
        } else if !self.sent_for_change {
            self.sent_for_change = self.send(now, transport, upstreams, which);
        }
    }

    /// Whether none of the servers in the list was asked.
    pub(super) fn is_idle(&self, upstreams: &Upstreams) -> bool {
        let list = upstreams.list();
        self.is_waited_for()
            && !list
                .iter()
                .any(|u| self.was_asked(u.id) || self.is_done(u.id))
    }

    /// Passes an answer on to all who wait. Returns how many they were.
    pub(super) fn answer(
        &mut self,
        transport: &mut impl Transport<Client = C>,
        reply: &mut [u8],
    ) -> usize {
        self.is_answered = true;
        let waiters = std::mem::take(&mut self.waiters);
        for waiter in &waiters {
            message::set_id(reply, waiter.id);
            transport.reply(&waiter.client, reply);
        }
        waiters.len()
    }

    /// Ends the wait of those who have asked before `since`, or of all, with the
    /// failure that was held or with none. Returns how many they were.
    pub(super) fn give_up(
        &mut self,
        transport: &mut impl Transport<Client = C>,
        since: Option<Instant>,
    ) -> usize {
        let is_over = |waiter: &Waiter<C>| since.is_none_or(|since| waiter.since <= since);
        let count = self.waiters.iter().take_while(|w| is_over(w)).count();
        for waiter in self.waiters.drain(..count) {
            if let Some(failure) = &mut self.failure {
                message::set_id(failure, waiter.id);
                transport.reply(&waiter.client, failure);
            } else {
                let mut query = self.message.clone();
                message::set_id(&mut query, waiter.id);
                transport.give_up(waiter.client, query);
            }
        }
        count
    }

    fn has_failed(&self, upstream: UpstreamId) -> bool {
        self.done.contains(&(upstream, Done::Failed))
    }

    fn is_done(&self, upstream: UpstreamId) -> bool {
        self.done.iter().any(|(done, _)| *done == upstream)
    }

    fn was_asked(&self, upstream: UpstreamId) -> bool {
        self.attempts.in_round_to(upstream).is_some()
    }
}
