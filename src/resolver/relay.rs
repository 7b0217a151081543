//! The relay: moves UDP messages between clients and servers as bytes.
//!
//! A loop on a thread of its own, so that a query passes through as little as
//! can be: no runtime, no task, no reference counts. What to do is decided in
//! [`super::open`], under one lock that is never held while anything waits.
//! Others call in when servers or the network change.

use std::convert::Infallible;
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Instant;

use hickory_server::net::xfer::Protocol;

use super::answer::{self, Reason, Report};
use super::events::{Batch, Events, Source};
use super::message::{self, Kind};
use super::open::{OpenQueries, Rejected, SocketKey, Wire};
use super::pool::Pool;
use super::random::Random;
use super::timer::Timer;
use super::upstream::Upstream;
use crate::config::Server;

/// The largest message that a UDP datagram can carry.
const MAX_MESSAGE: usize = 65_535;
/// So many messages of clients are taken before others have their turn.
const TURN: usize = 32;

/// Who waits: the address, and the number of the socket that the answer leaves
/// through.
#[derive(Clone, Copy)]
struct Client {
    socket: u32,
    addr: SocketAddr,
}

struct State {
    open: OpenQueries<Client>,
    pool: Pool,
    random: Random,
    buffer: Box<[u8]>,
    given_up: Vec<(Client, Vec<u8>)>,
}

/// The relay, shared by its thread and those who call in.
pub struct Relay {
    /// The sockets of clients; [`Client::socket`] counts them.
    clients: Vec<UdpSocket>,
    events: Events,
    timer: Timer,
    state: Mutex<State>,
    this: Weak<Relay>,
}

/// What [`OpenQueries`] sends through.
struct Out<'a> {
    clients: &'a [UdpSocket],
    events: &'a Events,
    pool: &'a mut Pool,
    random: &'a mut Random,
    given_up: &'a mut Vec<(Client, Vec<u8>)>,
    now: Instant,
}

impl Wire for Out<'_> {
    type Client = Client;

    fn send(&mut self, upstream: &Upstream, query: &[u8]) -> io::Result<SocketKey> {
        self.pool
            .send(self.now, upstream, query, self.random, self.events)
    }

    fn release(&mut self, socket: SocketKey) {
        self.pool.release(socket);
    }

    fn reply(&mut self, client: &Client, reply: &[u8]) {
        send(self.clients, *client, reply);
    }

    fn give_up(&mut self, client: Client, query: Vec<u8>) {
        self.given_up.push((client, query));
    }

    fn random(&mut self) -> u16 {
        self.random.u16()
    }
}

impl Relay {
    /// A relay for the clients of some sockets, without servers yet; at most
    /// `max_inflight` queries may wait.
    ///
    /// # Errors
    /// The kernel's limits.
    pub fn new(mark: u32, max_inflight: usize, clients: Vec<UdpSocket>) -> io::Result<Arc<Self>> {
        let (events, timer) = (Events::new()?, Timer::new()?);
        events.add(&timer, Source::Timer)?;
        for (number, client) in (0..).zip(&clients) {
            events.add(client, Source::Client(number))?;
        }
        Ok(Arc::new_cyclic(|this| Self {
            clients,
            events,
            timer,
            state: Mutex::new(State {
                open: OpenQueries::new(max_inflight),
                pool: Pool::new(mark, Instant::now()),
                random: Random::new(),
                buffer: vec![0; MAX_MESSAGE].into_boxed_slice(),
                given_up: Vec::new(),
            }),
            this: this.clone(),
        }))
    }

    /// Another list of servers.
    pub fn set_servers(&self, servers: &[Server]) {
        self.with(|open, out, _| open.set_servers(out.now, out, servers));
    }

    /// Links, addresses, routes or rules changed: sockets connected before may have a
    /// source address or device that is gone.
    pub fn network_changed(&self) {
        self.with(|open, out, _| {
            out.pool.close_idle();
            open.network_changed(out.now, out);
        });
    }

    /// The servers, the best first.
    #[must_use]
    pub fn ranked(&self) -> Vec<Server> {
        self.lock().open.upstreams.ranked()
    }

    /// An id that nobody can guess, for a query over TCP.
    #[must_use]
    pub fn random_id(&self) -> u16 {
        self.lock().random.u16()
    }

    /// Relays, for ever. Wakes up when something came or is due, and only then.
    ///
    /// # Errors
    /// A client socket is broken.
    pub fn run(&self) -> io::Result<Infallible> {
        let mut batch = Batch::new();
        loop {
            let events = self.events.wait(&mut batch)?;
            // A message that comes alone is the rule, and asking for a second
            // one in vain costs as much as being told that there is one.
            let turn = if events.len() == 1 { 1 } else { TURN };
            for event in events {
                match event {
                    Source::Client(socket) => self.take_queries(socket, turn)?,
                    Source::Server(key) => self.take_reply(key),
                    Source::Timer => self.tick(),
                }
            }
        }
    }

    /// Takes up to `turn` messages of clients.
    fn take_queries(&self, socket: u32, turn: usize) -> io::Result<()> {
        for _ in 0..turn {
            match self.take_query(socket) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                outcome => outcome?,
            }
        }
        Ok(())
    }

    /// Receives one message of a client and relays it, or answers it.
    fn take_query(&self, socket: u32) -> io::Result<()> {
        let unserved = self.with(|open, out, buffer| {
            let (len, addr) = out.clients[socket as usize].recv_from(buffer)?;
            let bytes = buffer.get(..len).unwrap_or_default();
            let client = Client { socket, addr };
            let reason = match message::classify(bytes) {
                Kind::Ignore => return Ok(None),
                Kind::Answer => Reason::Message,
                Kind::Relay(question) => match open.ask(out.now, out, client, bytes, question) {
                    Ok(()) => return Ok(None),
                    Err(Rejected::Full) => Reason::Overload,
                    Err(Rejected::NoServer) => Reason::NoServer,
                },
            };
            io::Result::Ok(Some((client, bytes.to_vec(), reason)))
        })?;
        if let Some((client, message, reason)) = unserved {
            self.answer(client, &message, reason);
        }
        Ok(())
    }

    /// Receives one message of a server, or what ICMP says of it.
    fn take_reply(&self, key: SocketKey) {
        self.with(|open, out, buffer| {
            let Some((socket, from)) = out.pool.get(key) else {
                return;
            };
            match socket.recv(buffer) {
                Ok(len) => {
                    if let Some(reply) = buffer.get_mut(..len) {
                        open.heard(out.now, out, from, reply);
                    }
                }
                // The kernel has found its checksum to be wrong.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(_icmp) => open.failed(out.now, out, from, key),
            }
        });
    }

    fn tick(&self) {
        self.with(|open, out, _| {
            open.tick(out.now, out);
            self.timer.set(open.due());
        });
    }

    /// Sends a client an answer of our own.
    fn answer(&self, client: Client, message: &[u8], reason: Reason) {
        let Some(report) = self.this.upgrade() else {
            return;
        };
        let report: Arc<dyn Report> = report;
        let answer = answer::encode(&report, message, client.addr, Protocol::Udp, reason);
        if let Some(answer) = answer {
            send(&self.clients, client, &answer);
        }
    }

    /// Does something under the lock; afterwards, what must be done without it.
    fn with<T>(
        &self,
        act: impl FnOnce(&mut OpenQueries<Client>, &mut Out<'_>, &mut [u8]) -> T,
    ) -> T {
        let mut state = self.lock();
        let State {
            open,
            pool,
            random,
            buffer,
            given_up,
        } = &mut *state;
        let due = open.due();
        let mut out = Out {
            clients: &self.clients,
            events: &self.events,
            pool,
            random,
            given_up,
            now: Instant::now(),
        };
        let outcome = act(open, &mut out, buffer);
        let sooner = open
            .due()
            .is_some_and(|now| due.is_none_or(|before| now < before));
        if sooner {
            self.timer.set(open.due());
        }
        let given_up = std::mem::take(given_up);
        drop(state);
        for (client, query) in given_up {
            self.answer(client, &query, Reason::NoServer);
        }
        outcome
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Report for Relay {
    fn upstreams(&self) -> Vec<Upstream> {
        self.lock().open.upstreams.list().to_vec()
    }
}

/// A client that is gone, or does not read, loses it.
fn send(clients: &[UdpSocket], client: Client, message: &[u8]) {
    let _ = clients[client.socket as usize].send_to(message, client.addr);
}
