//! The resolver's core as it is shipped, with sockets of ours.

use std::cell::Cell;
use std::io;
use std::rc::Rc;
use std::time::Instant;

use gluon_wan::config::Server;
use gluon_wan::resolver::in_flight::{InFlight, Rejected, SocketKey, Transport};
use gluon_wan::resolver::message::{self, Kind};
use gluon_wan::resolver::pool::Pool;
use gluon_wan::resolver::upstream::Upstream;

use super::world::Outside;

/// How many clients may wait; small, so that it is reached.
pub const MAX_WAITING: usize = 6;

/// A socket. It is closed when it is dropped.
pub struct Socket(Rc<Cell<bool>>);

impl Drop for Socket {
    fn drop(&mut self) {
        self.0.set(false);
    }
}

/// Who waits: a number that nothing else has.
pub type Client = u32;

pub struct Core {
    in_flight: InFlight<Client>,
    pool: Pool<Socket>,
}

struct Out<'a> {
    pool: &'a mut Pool<Socket>,
    outside: &'a mut Outside,
}

impl Transport for Out<'_> {
    type Client = Client;

    fn send(&mut self, upstream: &Upstream, query: &[u8]) -> io::Result<SocketKey> {
        let server = self.outside.server(&upstream.server);
        self.outside.tried(server, query);
        if self.outside.has_no_route(server) {
            return Err(io::Error::from_raw_os_error(libc::ENETUNREACH));
        }
        let choice = self.outside.dice.next() as u16;
        let open = Rc::new(Cell::new(true));
        let may_open = self.outside.may_open();
        let taken = self
            .pool
            .take(self.outside.now, upstream.id, choice, |_| match may_open {
                true => Ok(Socket(Rc::clone(&open))),
                false => Err(io::Error::from_raw_os_error(libc::EMFILE)),
            })?;
        let (key, socket) = (taken.key, Rc::clone(&taken.socket.0));
        self.outside.sent(server, key, socket, query);
        Ok(key)
    }

    fn reply(&mut self, client: &Client, reply: &[u8]) {
        self.outside.delivered(*client, reply);
    }

    fn give_up(&mut self, client: Client, query: Vec<u8>) {
        self.outside.given_up(client, &query);
    }

    fn random(&mut self) -> u16 {
        self.outside.dice.next() as u16
    }
}

impl Core {
    pub fn new() -> Self {
        Self {
            in_flight: InFlight::new(MAX_WAITING),
            pool: Pool::new(),
        }
    }

    fn with<T>(
        &mut self,
        outside: &mut Outside,
        act: impl FnOnce(&mut InFlight<Client>, &mut Out) -> T,
    ) -> T {
        let pool = &mut self.pool;
        act(&mut self.in_flight, &mut Out { pool, outside })
    }

    /// Whether it was taken.
    pub fn ask(
        &mut self,
        outside: &mut Outside,
        client: Client,
        query: &[u8],
    ) -> Result<(), Rejected> {
        let Kind::Relay(question) = message::classify(query) else {
            panic!("no query: {query:?}");
        };
        let now = outside.now;
        self.with(outside, |core, out| {
            core.ask(now, out, client, query, question)
        })
    }

    pub fn heard(&mut self, outside: &mut Outside, key: SocketKey, reply: &[u8]) {
        let (now, mut reply) = (outside.now, reply.to_vec());
        if self.with(outside, |core, out| core.heard(now, out, key, &mut reply)) {
            self.pool.answered(key);
        }
    }

    pub fn failed(&mut self, outside: &mut Outside, key: SocketKey) {
        let now = outside.now;
        self.with(outside, |core, out| core.failed(now, out, key));
    }

    pub fn set_servers(&mut self, outside: &mut Outside, servers: &[Server]) {
        let now = outside.now;
        self.with(outside, |core, out| core.set_servers(now, out, servers));
    }

    pub fn network_changed(&mut self, outside: &mut Outside) {
        self.pool.retire();
        let now = outside.now;
        self.with(outside, |core, out| core.network_changed(now, out));
    }

    pub fn due(&self) -> Option<Instant> {
        self.in_flight
            .due()
            .into_iter()
            .chain(self.pool.due())
            .min()
    }

    /// As `Relay::tick` does.
    pub fn tick(&mut self, outside: &mut Outside) {
        let now = outside.now;
        let is_due = |due: Option<Instant>| due.is_some_and(|due| due <= now);
        let pool_is_due = is_due(self.pool.due());
        if is_due(self.in_flight.due()) {
            self.with(outside, |core, out| core.tick(now, out));
        }
        if pool_is_due {
            self.pool.tick(now);
        }
    }
}
