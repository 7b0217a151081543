//! The UDP sockets towards the servers.
//!
//! A socket of its own for every query makes its source port unpredictable, and
//! costs as much as all the rest of the query. So a budget decides: as long as
//! it lasts, every query gets a fresh socket; under a load that uses it up,
//! sockets are shared and reopened after some uses.

use std::io;
use std::net::UdpSocket;
use std::time::{Duration, Instant};

use super::events::{Events, Source};
use super::numbers::NumberMap;
use super::open::SocketKey;
use super::random::Random;
use super::socket;
use super::upstream::{Upstream, UpstreamId};

/// Fresh sockets at once, and the time in which one more is granted.
const BUDGET: u32 = 256;
const REFILL: Duration = Duration::from_millis(10);
/// Under load, a server's queries spread over so many sockets …
const SHARED: usize = 32;
/// … each of which is used so often before another port takes its place.
const USES: u32 = 32;
/// All sockets together; routers allow 1,024 descriptors.
const MAX_SOCKETS: usize = 400;

struct Entry {
    socket: UdpSocket,
    upstream: UpstreamId,
    /// So many queries more may be sent through it.
    uses_left: u32,
    waiting: u32,
}

/// All open sockets.
pub struct Pool {
    sockets: NumberMap<SocketKey, Entry>,
    /// Those that have uses left.
    shared: NumberMap<UpstreamId, Vec<SocketKey>>,
    next_key: SocketKey,
    mark: u32,
    budget: Budget,
}

impl Pool {
    /// None open; all will carry the mark.
    #[must_use]
    pub fn new(mark: u32, now: Instant) -> Self {
        Self {
            sockets: NumberMap::default(),
            shared: NumberMap::default(),
            next_key: 0,
            mark,
            budget: Budget::new(now),
        }
    }

    /// Sends a query. A fresh socket is added to `events`.
    ///
    /// # Errors
    /// No route or device, refused by ICMP earlier, no descriptors.
    pub fn send(
        &mut self,
        now: Instant,
        upstream: &Upstream,
        query: &[u8],
        random: &mut Random,
        events: &Events,
    ) -> io::Result<SocketKey> {
        let key = match self.choose(now, upstream.id, random) {
            Choice::Open(key) => key,
            Choice::Fresh { uses } => self.open(upstream, uses, events)?,
        };
        let Some(entry) = self.sockets.get_mut(&key) else {
            return Err(io::ErrorKind::NotConnected.into());
        };
        entry.waiting += 1;
        entry.uses_left = entry.uses_left.saturating_sub(1);
        let sent = entry.socket.send(query);
        if entry.uses_left == 0
            && let Some(shared) = self.shared.get_mut(&upstream.id)
        {
            shared.retain(|other| *other != key);
        }
        match sent {
            // A full buffer: lost, as any datagram may be, and repeated in time.
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => {
                self.release(key);
                Err(error)
            }
            _ => Ok(key),
        }
    }

    /// One query less waits on it. A socket that has done its work is closed.
    pub fn release(&mut self, key: SocketKey) {
        let Some(entry) = self.sockets.get_mut(&key) else {
            return;
        };
        entry.waiting = entry.waiting.saturating_sub(1);
        if entry.waiting == 0 && entry.uses_left == 0 {
            self.sockets.remove(&key);
        }
    }

    /// A socket and whom it is connected to, unless it was closed.
    #[must_use]
    pub fn get(&self, key: SocketKey) -> Option<(&UdpSocket, UpstreamId)> {
        let entry = self.sockets.get(&key)?;
        Some((&entry.socket, entry.upstream))
    }

    /// Closes what nothing waits on, and shares the rest no more: routes and
    /// source addresses are those of the time when a socket was connected.
    pub fn close_idle(&mut self) {
        self.shared.clear();
        self.sockets.retain(|_, entry| {
            entry.uses_left = 0;
            entry.waiting > 0
        });
    }

    /// What the next query to a server goes through.
    fn choose(&mut self, now: Instant, to: UpstreamId, random: &mut Random) -> Choice {
        // Too many, or left over from a load that has passed.
        if self.sockets.len() >= MAX_SOCKETS
            || (!self.shared.is_empty() && self.budget.is_full(now))
        {
            self.close_idle();
        }
        if self.sockets.len() >= MAX_SOCKETS {
            return self.any(to, random);
        }
        if self.budget.take(now) {
            return Choice::Fresh { uses: 1 };
        }
        match self.shared.get(&to) {
            Some(shared) if shared.len() >= SHARED => {
                Choice::Open(shared[usize::from(random.u16()) % shared.len()])
            }
            _ => Choice::Fresh { uses: USES },
        }
    }

    /// Any of the sockets towards a server, if there is one.
    fn any(&self, to: UpstreamId, random: &mut Random) -> Choice {
        let towards = || self.sockets.iter().filter(|(_, e)| e.upstream == to);
        let count = towards().count().max(1);
        match towards().nth(usize::from(random.u16()) % count) {
            Some((&key, _)) => Choice::Open(key),
            None => Choice::Fresh { uses: 1 },
        }
    }

    fn open(&mut self, upstream: &Upstream, uses: u32, events: &Events) -> io::Result<SocketKey> {
        let socket = socket::udp(socket::address(&upstream.server)?, self.mark)?;
        self.next_key = self.next_key.wrapping_add(1);
        let key = self.next_key;
        events.add(&socket, Source::Server(key))?;
        let entry = Entry {
            socket,
            upstream: upstream.id,
            uses_left: uses,
            waiting: 0,
        };
        self.sockets.insert(key, entry);
        if uses > 1 {
            self.shared.entry(upstream.id).or_default().push(key);
        }
        Ok(key)
    }
}

/// What a query goes through.
enum Choice {
    /// A socket that is open.
    Open(SocketKey),
    /// One to be opened, for so many queries.
    Fresh {
        /// One: for this query alone.
        uses: u32,
    },
}

/// A token bucket of fresh sockets.
struct Budget {
    tokens: u32,
    filled: Instant,
}

impl Budget {
    fn new(now: Instant) -> Self {
        Self {
            tokens: BUDGET,
            filled: now,
        }
    }

    fn refill(&mut self, now: Instant) {
        let passed = now.saturating_duration_since(self.filled);
        let granted = u32::try_from(passed.as_millis() / REFILL.as_millis()).unwrap_or(BUDGET);
        if granted >= BUDGET - self.tokens {
            (self.tokens, self.filled) = (BUDGET, now);
        } else {
            self.tokens += granted;
            self.filled += REFILL * granted;
        }
    }

    fn take(&mut self, now: Instant) -> bool {
        self.refill(now);
        let enough = self.tokens > 0;
        self.tokens -= u32::from(enough);
        enough
    }

    fn is_full(&mut self, now: Instant) -> bool {
        self.refill(now);
        self.tokens == BUDGET
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_budget_is_spent_and_refilled() {
        let start = Instant::now();
        let mut budget = Budget::new(start);
        assert!((0..BUDGET).all(|_| budget.take(start)));
        assert!(!budget.take(start) && !budget.is_full(start));
        assert!(!budget.take(start + REFILL - Duration::from_millis(1)));
        let later = start + REFILL * 5;
        assert_eq!((0..10).filter(|_| budget.take(later)).count(), 5);
        let much_later = start + Duration::from_secs(86_400);
        assert!(budget.is_full(much_later));
        assert_eq!(
            (0..1000).filter(|_| budget.take(much_later)).count() as u32,
            BUDGET
        );
    }
}
