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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resolver::upstream::Upstreams;

    const MS: Duration = Duration::from_millis(1);

    /// Names of so many servers.
    fn servers(count: u8) -> Vec<UpstreamId> {
        let text = |n| format!("192.0.2.{n}").parse().unwrap();
        let list: Vec<_> = (1..=count).map(text).collect();
        let mut upstreams = Upstreams::default();
        upstreams.set(&list, Instant::now());
        upstreams
            .list()
            .iter()
            .map(|upstream| upstream.id)
            .collect()
    }

    fn take(pool: &mut Pool<()>, now: Instant, to: UpstreamId, random: u16) -> (SocketKey, bool) {
        let taken = pool.take(now, to, random, |_| Ok(())).unwrap();
        (taken.key, taken.is_fresh)
    }

    #[test]
    fn every_query_has_a_socket_of_its_own_while_there_is_room() {
        let (now, server) = (Instant::now(), servers(1)[0]);
        let mut pool = Pool::new();
        let keys: Vec<_> = (0..MAX_SOCKETS)
            .map(|_| take(&mut pool, now, server, 0))
            .collect();
        assert!(keys.iter().all(|(_, is_fresh)| *is_fresh));
        // Then the youngest are shared, any of them.
        let youngest = &keys[MAX_SOCKETS - SHARED..];
        for random in 0..1000 {
            let (key, is_fresh) = take(&mut pool, now, server, random);
            assert!(!is_fresh);
            assert_eq!(key, youngest[usize::from(random) % SHARED].0);
        }
        assert_eq!(pool.iter().count(), MAX_SOCKETS);
    }

    #[test]
    fn they_stay_for_late_replies_and_are_closed_by_time() {
        let (start, server) = (Instant::now(), servers(1)[0]);
        let mut pool = Pool::new();
        assert_eq!(pool.due(), None);
        let (answered, _) = take(&mut pool, start, server, 0);
        let (silent, _) = take(&mut pool, start, server, 0);
        pool.answered(answered);
        let open = |pool: &Pool<()>| [answered, silent].map(|key| pool.get(key).is_some());
        for (after, stay) in [
            (LINGER - MS, [true, true]),
            (LINGER, [false, true]),
            (LINGER_UNANSWERED - MS, [false, true]),
            (LINGER_UNANSWERED, [false, false]),
        ] {
            assert!(pool.due().unwrap() <= start + after + PAUSE);
            pool.tick(start + after);
            assert_eq!(open(&pool), stay, "{after:?}");
        }
        assert_eq!(pool.due(), None);
        // In the same place, under another name.
        let (next, _) = take(&mut pool, start, server, 0);
        assert!(next != answered && place_of(next) == place_of(answered));
        assert_eq!(open(&pool), [false, false]);
        pool.answered(answered);
        pool.close(answered);
        assert!(pool.get(next).is_some());
    }

    #[test]
    fn a_server_has_its_share_and_what_is_awaited_is_not_closed() {
        let (start, servers) = (Instant::now(), servers(3));
        let mut pool = Pool::new();
        let first: Vec<_> = (0..MAX_SOCKETS)
            .map(|_| take(&mut pool, start, servers[0], 0).0)
            .collect();
        // All are awaited, so there are more for the others.
        for _ in 0..FAIR_SHARE {
            assert!(take(&mut pool, start + MS, servers[1], 0).1);
        }
        assert!(!take(&mut pool, start + MS, servers[1], 0).1);
        assert!(first.iter().all(|key| pool.get(*key).is_some()));
        // One has its answer, and makes room.
        pool.answered(first[7]);
        assert!(take(&mut pool, start + MS, servers[2], 0).1);
        assert_eq!(pool.get(first[7]), None);
        assert_eq!(pool.iter().count(), MAX_SOCKETS + FAIR_SHARE);
        // So do those whose queries are over.
        assert!(take(&mut pool, start + LIFETIME, servers[2], 0).1);
        assert_eq!(pool.get(first[0]), None);
    }

    #[test]
    fn after_a_change_of_the_network_none_is_used_again_and_none_is_closed() {
        let (now, server) = (Instant::now(), servers(1)[0]);
        let mut pool = Pool::new();
        let before: Vec<_> = (0..MAX_SOCKETS)
            .map(|_| take(&mut pool, now, server, 0).0)
            .collect();
        pool.retire();
        let (key, is_fresh) = take(&mut pool, now, server, 0);
        assert!(is_fresh && !before.contains(&key));
        assert!(before.iter().all(|key| pool.get(*key).is_some()));
    }

    #[test]
    fn where_none_can_be_opened_one_is_shared() {
        let (now, server) = (Instant::now(), servers(1)[0]);
        let mut pool = Pool::new();
        let none = |_| Err(io::ErrorKind::Other.into());
        assert!(pool.take(now, server, 0, none).is_err());
        let (key, _) = take(&mut pool, now, server, 0);
        assert_eq!(pool.take(now, server, 0, none).unwrap().key, key);
        pool.close(key);
        assert!(pool.take(now, server, 0, none).is_err());
    }
}
