//! The UDP sockets towards the servers.
//!
//! A socket of its own for every query makes its source port unpredictable, and
//! costs as much as all the rest of the query. So a budget decides: as long as
//! it lasts, every query gets a fresh socket; under a load that uses it up,
//! sockets are shared and reopened after some uses.

use std::collections::HashMap;
use std::io;
use std::net::UdpSocket;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::task::AbortHandle;

use super::open::SocketKey;
use super::random::Random;
use super::socket;
use super::upstream::{Upstream, UpstreamId};
use crate::ready;

/// Fresh sockets at once, and the time in which one more is granted.
const BUDGET: u32 = 256;
const REFILL: Duration = Duration::from_millis(10);
/// Under load, a server's queries spread over so many sockets …
const SHARED: usize = 32;
/// … each of which is used so often before another port takes its place.
const USES: u32 = 32;
/// All sockets together; routers allow 1,024 descriptors.
const MAX_SOCKETS: usize = 400;

/// What the kernel wakes us for: data, or an ICMP error on a connected socket,
/// which is no data. (Writing never waits: a full buffer loses the datagram.)
pub const INTEREST: Interest = Interest::READABLE.add(Interest::ERROR);

/// A socket, registered with the runtime.
pub type Registered = Arc<AsyncFd<UdpSocket>>;

struct Entry {
    socket: Registered,
    upstream: UpstreamId,
    uses: u32,
    waiting: u32,
    /// Receives from it.
    task: AbortHandle,
}

/// All open sockets.
pub struct Pool {
    sockets: HashMap<SocketKey, Entry>,
    next_key: SocketKey,
    mark: u32,
    budget: Budget,
}

impl Pool {
    /// None open; all will carry the mark.
    #[must_use]
    pub fn new(mark: u32, now: Instant) -> Self {
        Self {
            sockets: HashMap::new(),
            next_key: 0,
            mark,
            budget: Budget::new(now),
        }
    }

    /// Sends a query. For a fresh socket, `receive` starts what receives from it.
    ///
    /// # Errors
    /// No route or device, refused by ICMP earlier, no descriptors.
    pub fn send(
        &mut self,
        now: Instant,
        upstream: &Upstream,
        query: &[u8],
        random: &mut Random,
        receive: impl FnOnce(SocketKey, UpstreamId, Registered) -> AbortHandle,
    ) -> io::Result<SocketKey> {
        let key = match self.shared(now, upstream.id, random) {
            Some(key) => key,
            None => self.open(upstream, receive)?,
        };
        let Some(entry) = self.sockets.get_mut(&key) else {
            return Err(io::ErrorKind::NotConnected.into());
        };
        entry.uses += 1;
        entry.waiting += 1;
        match entry.socket.get_ref().send(query) {
            // A full buffer: lost, as any datagram may be, and repeated in time.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(key),
            Err(error) => {
                self.release(key);
                Err(error)
            }
            Ok(_) => Ok(key),
        }
    }

    /// One query less waits on it. A socket on which nothing waits is closed,
    /// unless the load is such that it will be used again.
    pub fn release(&mut self, key: SocketKey) {
        let Some(entry) = self.sockets.get_mut(&key) else {
            return;
        };
        entry.waiting = entry.waiting.saturating_sub(1);
        if entry.waiting == 0 && (entry.uses >= USES || !self.budget.is_short()) {
            self.close(key);
        }
    }

    /// Closes what nothing waits on: routes and source addresses are those of
    /// the time when a socket was connected.
    pub fn close_idle(&mut self) {
        self.sockets.retain(|_, entry| {
            let keep = entry.waiting > 0;
            if !keep {
                entry.task.abort();
            }
            keep
        });
        // Those that are still waited on are not used again.
        for entry in self.sockets.values_mut() {
            entry.uses = USES;
        }
    }

    fn close(&mut self, key: SocketKey) {
        if let Some(entry) = self.sockets.remove(&key) {
            entry.task.abort();
        }
    }

    fn open(
        &mut self,
        upstream: &Upstream,
        receive: impl FnOnce(SocketKey, UpstreamId, Registered) -> AbortHandle,
    ) -> io::Result<SocketKey> {
        let socket = socket::udp(socket::address(&upstream.server)?, self.mark)?;
        let socket = Arc::new(ready::register(socket, INTEREST)?);
        self.next_key = self.next_key.wrapping_add(1);
        let key = self.next_key;
        let task = receive(key, upstream.id, Arc::clone(&socket));
        let entry = Entry {
            socket,
            upstream: upstream.id,
            uses: 0,
            waiting: 0,
            task,
        };
        self.sockets.insert(key, entry);
        Ok(key)
    }

    /// A socket to share, none where a fresh one is due.
    fn shared(&mut self, now: Instant, to: UpstreamId, random: &mut Random) -> Option<SocketKey> {
        if self.sockets.len() >= MAX_SOCKETS {
            self.close_idle();
        }
        let full = self.sockets.len() >= MAX_SOCKETS;
        if !full && self.budget.take(now) {
            return None;
        }
        let usable = |entry: &Entry| entry.upstream == to && (full || entry.uses < USES);
        let count = self.sockets.values().filter(|entry| usable(entry)).count();
        if count == 0 || (!full && count < SHARED) {
            return None;
        }
        let chosen = usize::from(random.u16()) % count;
        let mut usable = self.sockets.iter().filter(|(_, entry)| usable(entry));
        usable.nth(chosen).map(|(&key, _)| key)
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        for entry in self.sockets.values() {
            entry.task.abort();
        }
    }
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

    fn take(&mut self, now: Instant) -> bool {
        let passed = now.saturating_duration_since(self.filled);
        let granted = u32::try_from(passed.as_millis() / REFILL.as_millis()).unwrap_or(BUDGET);
        if granted >= BUDGET - self.tokens {
            (self.tokens, self.filled) = (BUDGET, now);
        } else {
            self.tokens += granted;
            self.filled += REFILL * granted;
        }
        let enough = self.tokens > 0;
        self.tokens -= u32::from(enough);
        enough
    }

    fn is_short(&self) -> bool {
        self.tokens == 0
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
        assert!(!budget.take(start) && budget.is_short());
        assert!(!budget.take(start + REFILL - Duration::from_millis(1)));
        let later = start + REFILL * 5;
        assert_eq!((0..10).filter(|_| budget.take(later)).count(), 5);
        let much_later = start + Duration::from_secs(86_400);
        assert_eq!(
            (0..1000).filter(|_| budget.take(much_later)).count() as u32,
            BUDGET
        );
    }
}
