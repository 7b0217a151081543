//! The UDP sockets towards the servers.
//!
//! A query gets a socket, and so a source port, of its own. It stays open after
//! the answer: a late or double reply to a port that nobody has makes the kernel
//! send an ICMP error, which carries the start of the answer, has no mark, and so
//! takes the mesh. Because descriptors are few, queries share sockets under a
//! load that uses them up; these are replaced as fast as others may be closed.
//!
//! Pure but for the sockets themselves, which can be of any kind.

use std::io;
use std::time::{Duration, Instant};

use super::in_flight::{LIFETIME, SocketKey};
use super::upstream::{MAX_SERVERS, UpstreamId};

/// All sockets together, as long as none has to be closed for it that an answer
/// may come to; routers allow 1,024 descriptors.
pub const MAX_SOCKETS: usize = 400;
/// All of them in any case.
const MOST_SOCKETS: usize = 2 * MAX_SOCKETS;
/// So many of them are any server's share.
const FAIR_SHARE: usize = MAX_SOCKETS / MAX_SERVERS;
/// Under load, a server's queries spread over its youngest sockets.
const SHARED: usize = 64;
/// How long a socket stays open after its last query, when all were answered: a
/// reply that comes twice does so soon.
const LINGER: Duration = Duration::from_secs(4);
/// The same when an answer is missing, which may come late.
const LINGER_UNANSWERED: Duration = LIFETIME.saturating_mul(2);
/// Closing is not urgent: once in so long is enough.
const PAUSE: Duration = Duration::from_millis(500);

struct Entry<S> {
    key: SocketKey,
    socket: S,
    unanswered: u32,
    last_used: Instant,
}

impl<S> Entry<S> {
    fn ends(&self) -> Instant {
        let linger = match self.unanswered {
            0 => LINGER,
            _ => LINGER_UNANSWERED,
        };
        self.last_used + linger
    }
}

/// All open sockets. Dropping one closes it.
pub struct Pool<S> {
    /// A key's lower half is its place here.
    places: Vec<Option<Entry<S>>>,
    open: usize,
    /// The youngest sockets towards each server.
    shared: Vec<(UpstreamId, Vec<SocketKey>)>,
    /// A key's upper half: a place that is used again has another key.
    generation: u16,
    due: Option<Instant>,
}

impl<S> Pool<S> {
    /// None open yet.
    #[must_use]
    pub fn new() -> Self {
        Self {
            places: Vec::new(),
            open: 0,
            shared: Vec::new(),
            generation: 0,
            due: None,
        }
    }

    /// When to call [`tick`](Self::tick).
    #[must_use]
    pub fn due(&self) -> Option<Instant> {
        self.due
    }

    /// A socket for a query to a server: fresh from `open` as long as there is
    /// room, else one that others use too, chosen by a `random` number.
    ///
    /// # Errors
    /// None can be opened, and none is there to share.
    pub fn take(
        &mut self,
        now: Instant,
        to: UpstreamId,
        random: u16,
        open: impl FnOnce(SocketKey) -> io::Result<S>,
    ) -> io::Result<Taken<'_, S>> {
        let key = match self.place(now, to) {
            Some(place) => self.open_at(place, now, to, open),
            None => Err(io::ErrorKind::QuotaExceeded.into()),
        };
        let (key, is_fresh) = match key {
            Ok(key) => (key, true),
            Err(error) => {
                let shared = self.shared_towards(to);
                let any = usize::from(random).checked_rem(shared.len());
                (any.map(|any| shared[any]).ok_or(error)?, false)
            }
        };
        let entry = self.entry(key).ok_or(io::ErrorKind::NotConnected)?;
        entry.unanswered += 1;
        entry.last_used = now;
        Ok(Taken {
            key,
            is_fresh,
            socket: &entry.socket,
        })
    }

    /// A socket and whom it leads to, unless it was closed.
    #[must_use]
    pub fn get(&self, key: SocketKey) -> Option<&S> {
        let entry = self.places.get(place_of(key))?.as_ref()?;
        (entry.key == key).then_some(&entry.socket)
    }

    /// All that are open.
    pub fn iter(&self) -> impl Iterator<Item = &S> {
        self.places.iter().flatten().map(|entry| &entry.socket)
    }

    /// A query that was sent through it has its answer.
    pub fn answered(&mut self, key: SocketKey) {
        if let Some(entry) = self.entry(key) {
            entry.unanswered = entry.unanswered.saturating_sub(1);
        }
    }

    /// Closes one that nothing was sent through.
    pub fn close(&mut self, key: SocketKey) {
        if self.entry(key).is_some() {
            self.places[place_of(key)] = None;
            self.open -= 1;
            for (_, shared) in &mut self.shared {
                shared.retain(|other| *other != key);
            }
        }
    }

    /// Lets no new query use the sockets that are open: routes and source
    /// addresses are those of the time when a socket was connected.
    pub fn retire(&mut self) {
        self.shared.clear();
    }

    /// Closes what has lingered long enough.
    pub fn tick(&mut self, now: Instant) {
        let mut next = None;
        for place in 0..self.places.len() {
            let Some(entry) = &self.places[place] else {
                continue;
            };
            if entry.ends() <= now {
                self.close(entry.key);
            } else {
                next = next.into_iter().chain(Some(entry.ends())).min();
            }
        }
        while let Some(None) = self.places.last() {
            self.places.pop();
        }
        self.places.shrink_to(2 * self.places.len());
        self.shared.retain(|(_, shared)| !shared.is_empty());
        self.due = next.map(|next| next.max(now + PAUSE));
    }

    /// Where a fresh socket towards a server can be: where none is or, for a
    /// server that has less than its share, in the place of the one that is
    /// missed the least.
    fn place(&mut self, now: Instant, to: UpstreamId) -> Option<usize> {
        if self.open >= MAX_SOCKETS {
            if self.shared_towards(to).len() >= FAIR_SHARE {
                return None;
            }
            let entries = self.places.iter().flatten();
            let idlest = entries.min_by_key(|entry| (entry.unanswered > 0, entry.last_used))?;
            if idlest.unanswered == 0 || idlest.last_used + LIFETIME <= now {
                let key = idlest.key;
                self.close(key);
            } else if self.open >= MOST_SOCKETS {
                return None;
            }
        }
        let free = self.places.iter().position(Option::is_none);
        Some(free.unwrap_or(self.places.len()))
    }

    fn open_at(
        &mut self,
        place: usize,
        now: Instant,
        to: UpstreamId,
        open: impl FnOnce(SocketKey) -> io::Result<S>,
    ) -> io::Result<SocketKey> {
        self.generation = self.generation.wrapping_add(1);
        let key = u32::from(self.generation) << 16 | place as u32;
        let entry = Some(Entry {
            key,
            socket: open(key)?,
            unanswered: 0,
            last_used: now,
        });
        match self.places.get_mut(place) {
            Some(free) => *free = entry,
            None => self.places.push(entry),
        }
        self.open += 1;
        self.due.get_or_insert(now + LINGER);
        let known = self.shared.iter().position(|(server, _)| *server == to);
        let known = known.unwrap_or_else(|| {
            self.shared.push((to, Vec::new()));
            self.shared.len() - 1
        });
        let shared = &mut self.shared[known].1;
        if shared.len() == SHARED {
            shared.remove(0);
        }
        shared.push(key);
        Ok(key)
    }

    fn shared_towards(&self, to: UpstreamId) -> &[SocketKey] {
        let shared = self.shared.iter().find(|(server, _)| *server == to);
        shared.map_or(&[], |(_, shared)| shared)
    }

    fn entry(&mut self, key: SocketKey) -> Option<&mut Entry<S>> {
        let entry = self.places.get_mut(place_of(key))?.as_mut()?;
        (entry.key == key).then_some(entry)
    }
}

impl<S> Default for Pool<S> {
    fn default() -> Self {
        Self::new()
    }
}

/// A socket to send one query through.
pub struct Taken<'a, S> {
    /// Its name.
    pub key: SocketKey,
    /// Nothing was sent through it before.
    pub is_fresh: bool,
    /// Itself.
    pub socket: &'a S,
}

fn place_of(key: SocketKey) -> usize {
    (key & 0xffff) as usize
}
