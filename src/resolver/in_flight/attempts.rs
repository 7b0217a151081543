//! The transmissions of one query. Each counts until the query is forgotten: a
//! repetition takes nothing back.

use std::time::Instant;

use super::SocketKey;
use crate::resolver::upstream::{UpstreamId, Upstreams};

/// One transmission.
struct Attempt {
    upstream: UpstreamId,
    socket: SocketKey,
    sent: Instant,
    outcome: Outcome,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Outcome {
    /// It may still be answered.
    Awaited,
    /// That, but it should have been by now.
    Overdue,
    /// Answered, or the kernel says that it did not arrive.
    Over,
}

/// What a reply was worth.
pub(super) struct Heard {
    /// Nothing was known of the attempt's outcome before.
    pub(super) is_news: bool,
    /// It came after the server's time-out.
    pub(super) was_late: bool,
    /// When the query was sent, where it is certain which transmission is
    /// answered (Karn's algorithm: one of several through one socket is not).
    pub(super) sent: Option<Instant>,
}

/// All of them, in the order in which they were sent.
pub(super) struct Attempts {
    all: Vec<Attempt>,
    /// The first one of this round.
    round: usize,
}

impl Attempts {
    /// Not sent yet.
    pub(super) fn new() -> Self {
        Self {
            all: Vec::with_capacity(1),
            round: 0,
        }
    }

    /// Another round begins.
    pub(super) fn begin_round(&mut self) {
        self.round = self.all.len();
    }

    /// It was sent.
    pub(super) fn add(&mut self, upstream: UpstreamId, socket: SocketKey, sent: Instant) {
        self.all.push(Attempt {
            upstream,
            socket,
            sent,
            outcome: Outcome::Awaited,
        });
    }

    /// How many there are.
    pub(super) fn count(&self) -> usize {
        self.all.len()
    }

    fn of_round(&self) -> &[Attempt] {
        self.all.get(self.round..).unwrap_or_default()
    }

    /// How many there are in this round.
    pub(super) fn count_in_round(&self) -> usize {
        self.of_round().len()
    }

    /// How many of this round went to one server, and when the last of them.
    pub(super) fn in_round_to(&self, upstream: UpstreamId) -> Option<(usize, Instant)> {
        let to_it = || self.of_round().iter().filter(|a| a.upstream == upstream);
        Some((to_it().count(), to_it().next_back()?.sent))
    }

    /// How many went to one server.
    pub(super) fn count_to(&self, upstream: UpstreamId) -> usize {
        self.all.iter().filter(|a| a.upstream == upstream).count()
    }

    /// When the last one went to one server.
    pub(super) fn last_to(&self, upstream: UpstreamId) -> Option<Instant> {
        let last = self.all.iter().rfind(|a| a.upstream == upstream);
        last.map(|last| last.sent)
    }

    /// To which server the last one went, and when.
    pub(super) fn last(&self) -> Option<(UpstreamId, Instant)> {
        self.all.last().map(|last| (last.upstream, last.sent))
    }

    /// When the last one was sent that may still be answered.
    pub(super) fn last_open(&self) -> Option<Instant> {
        let last = self.all.iter().rfind(|a| a.outcome != Outcome::Over);
        last.map(|last| last.sent)
    }

    /// Whether a server is still within its time.
    pub(super) fn awaits(&self, upstream: UpstreamId) -> bool {
        let mut all = self.all.iter();
        all.any(|a| a.upstream == upstream && a.outcome == Outcome::Awaited)
    }

    /// Says of every server that should have answered that it has not.
    pub(super) fn note_silence(&mut self, now: Instant, upstreams: &mut Upstreams) {
        for attempt in &mut self.all {
            if attempt.outcome == Outcome::Awaited
                && let Some(upstream) = upstreams.get(attempt.upstream)
                && attempt.sent + upstream.timeout() <= now
            {
                attempt.outcome = Outcome::Overdue;
                upstream.timed_out(now, attempt.sent);
            }
        }
    }

    /// When a server should have answered.
    pub(super) fn next_silence(&self, upstreams: &mut Upstreams) -> Option<Instant> {
        let awaited = self.all.iter();
        awaited
            .filter(|attempt| attempt.outcome == Outcome::Awaited)
            .filter_map(|attempt| Some(attempt.sent + upstreams.get(attempt.upstream)?.timeout()))
            .min()
    }

    /// Whether any went through this socket.
    pub(super) fn went_through(&self, socket: SocketKey) -> bool {
        self.all.iter().any(|a| a.socket == socket)
    }

    /// What was sent through a socket was answered.
    pub(super) fn hear(&mut self, socket: SocketKey) -> Option<(UpstreamId, Heard)> {
        let mut through = self.all.iter_mut().filter(|a| a.socket == socket);
        let first = through.next()?;
        let upstream = first.upstream;
        let mut heard = Heard {
            is_news: first.outcome != Outcome::Over,
            was_late: first.outcome == Outcome::Overdue,
            sent: Some(first.sent),
        };
        first.outcome = Outcome::Over;
        for other in through {
            other.outcome = Outcome::Over;
            heard.sent = None;
        }
        Some((upstream, heard))
    }

    /// What was sent through a socket did not arrive. Returns the server.
    pub(super) fn fail(&mut self, socket: SocketKey) -> Option<UpstreamId> {
        let mut from = None;
        for attempt in self.all.iter_mut().filter(|a| a.socket == socket) {
            attempt.outcome = Outcome::Over;
            from = Some(attempt.upstream);
        }
        from
    }
}
