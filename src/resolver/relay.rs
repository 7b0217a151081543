//! The relay: moves UDP messages between clients and servers as bytes.
//!
//! A loop on a thread of its own, so that a query passes through as little as
//! can be: no runtime, no task, no reference counts. What to do is decided in
//! [`super::in_flight`], under one lock that is never held while anything waits.
//! Others call in when servers or the network change.

use std::convert::Infallible;
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use hickory_server::net::xfer::Protocol;

use super::answer::{self, Reason, Report};
use super::events::{Batch, EpollSet, Token};
use super::in_flight::{self, InFlight, Rejected, SocketKey, Transport};
use super::message::{self, Kind};
use super::pool::Pool;
use super::random::Random;
use super::socket;
use super::timer::Timer;
use super::upstream::{Upstream, Upstreams};
use crate::config::Server;

/// Room for the largest message that a UDP datagram can carry, 64 KiB, and as much
/// again: so much gets pages of its own from the kernel, which take no memory until
/// something is received into them. Of its heap, an allocator would have to clear
/// them all.
const BUFFER: usize = 2 * 64 * 1024;
/// So many messages of clients are taken before others have their turn.
const TURN: usize = 32;
/// Lower ports are those of services.
const FIRST_PORT: u16 = 1024;
/// When so many ports in a row cannot be had, the kernel chooses one.
const PORT_TRIES: usize = 64;

/// Who waits: the address, and the number of the socket that the answer leaves
/// through.
#[derive(Clone, Copy)]
struct Client {
    socket: u32,
    addr: SocketAddr,
}

struct State {
    in_flight: InFlight<Client>,
    out: Outside,
    buffer: Box<[u8]>,
}

/// The sockets towards servers, and how they are made.
struct Outside {
    pool: Pool<UdpSocket>,
    random: Random,
    mark: u32,
    /// Indices of the devices that replies may come in through; none: of all.
    devices: Option<Vec<u32>>,
    given_up: Vec<(Client, Vec<u8>)>,
}

/// The relay, shared by its thread and those who call in.
pub struct Relay {
    /// The sockets of clients; [`Client::socket`] counts them.
    clients: Vec<UdpSocket>,
    events: EpollSet,
    timer: Timer,
    state: Mutex<State>,
}

/// What [`InFlight`] sends through.
struct Out<'a> {
    clients: &'a [UdpSocket],
    events: &'a EpollSet,
    outside: &'a mut Outside,
    now: Instant,
}

impl Transport for Out<'_> {
    type Client = Client;

    fn send(&mut self, upstream: &Upstream, query: &[u8]) -> io::Result<SocketKey> {
        let Outside {
            pool,
            random,
            mark,
            devices,
            ..
        } = &mut *self.outside;
        let choice = random.u16();
        let taken = pool.take(self.now, upstream.id, choice, |key| {
            let to = socket::address(&upstream.server)?;
            let socket = open(to, *mark, devices.as_deref(), random)?;
            self.events.add(&socket, Token::Server(key))?;
            Ok(socket)
        })?;
        let (key, is_fresh) = (taken.key, taken.is_fresh);
        let mut sent = taken.socket.send(query);
        if sent.is_err() && !is_fresh {
            // That was about an earlier query.
            sent = taken.socket.send(query);
        }
        match sent {
            // A full buffer: lost, as any datagram may be, and repeated in time.
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => {
                if is_fresh {
                    pool.close(key);
                } else {
                    pool.answered(key);
                }
                Err(error)
            }
            _ => Ok(key),
        }
    }

    fn reply(&mut self, client: &Client, reply: &[u8]) {
        send(self.clients, *client, reply);
    }

    fn give_up(&mut self, client: Client, query: Vec<u8>) {
        self.outside.given_up.push((client, query));
    }

    fn random(&mut self) -> u16 {
        self.outside.random.u16()
    }
}

/// A socket at a port that nobody can guess, of all that are free from 1024 on:
/// the kernel itself takes less than half of them into account.
fn open(
    to: SocketAddr,
    mark: u32,
    devices: Option<&[u32]>,
    random: &mut Random,
) -> io::Result<UdpSocket> {
    for _ in 0..PORT_TRIES {
        let port = random.u16();
        if port < FIRST_PORT {
            continue;
        }
        match socket::udp(to, port, mark, devices) {
            // Taken, or kept for privileged programs.
            Err(error) if matches!(error.raw_os_error(), Some(libc::EADDRINUSE | libc::EACCES)) => {
            }
            outcome => return outcome,
        }
    }
    socket::udp(to, 0, mark, devices)
}

impl Relay {
    /// A relay for the clients of some sockets, without servers yet; at most
    /// `max_inflight` queries may wait.
    ///
    /// # Errors
    /// The kernel's limits.
    pub fn new(mark: u32, max_inflight: usize, clients: Vec<UdpSocket>) -> io::Result<Self> {
        let (events, timer) = (EpollSet::new()?, Timer::new()?);
        events.add(&timer, Token::Timer)?;
        for (number, client) in (0..).zip(&clients) {
            events.add(client, Token::Client(number))?;
        }
        Ok(Self {
            clients,
            events,
            timer,
            state: Mutex::new(State {
                in_flight: InFlight::new(max_inflight),
                out: Outside {
                    pool: Pool::new(),
                    random: Random::new(),
                    mark,
                    devices: None,
                    given_up: Vec::new(),
                },
                buffer: vec![0; BUFFER].into_boxed_slice(),
            }),
        })
    }

    /// Another list of servers.
    pub fn set_servers(&self, servers: &[Server]) {
        self.with(|in_flight, out, _| in_flight.set_servers(out.now, out, servers));
    }

    /// Replies count only when they come in through the devices with these
    /// indices, or through `lo`, where no other machine's can; through all where
    /// none are known.
    pub fn set_devices(&self, indices: Option<Vec<u32>>) {
        self.with(|_, out, _| {
            if out.outside.devices == indices {
                return;
            }
            for socket in out.outside.pool.iter() {
                // Without memory for it, it keeps the old ones.
                let _ = socket::filter_by_device(socket, indices.as_deref());
            }
            out.outside.devices = indices;
        });
    }

    /// Links, addresses, routes or rules changed: sockets connected before may have a
    /// source address or device that is gone.
    pub fn network_changed(&self) {
        self.with(|in_flight, out, _| {
            out.outside.pool.retire();
            in_flight.network_changed(out.now, out);
        });
    }

    /// Reads or adds to what is known of the servers. Nothing may wait in it.
    pub fn with_upstreams<T>(&self, act: impl FnOnce(&mut Upstreams) -> T) -> T {
        act(&mut self.lock().in_flight.upstreams)
    }

    /// An id that nobody can guess, for a query over TCP.
    #[must_use]
    pub fn random_id(&self) -> u16 {
        self.lock().out.random.u16()
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
                    Token::Client(socket) => self.take_queries(socket, turn)?,
                    Token::Server(key) => self.take_reply(key),
                    Token::Timer => self.tick(),
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
        let unserved = self.with(|in_flight, out, buffer| {
            let (len, addr) = out.clients[socket as usize].recv_from(buffer)?;
            let bytes = buffer.get(..len).unwrap_or_default();
            let client = Client { socket, addr };
            let reason = match message::classify(bytes) {
                Kind::Ignore => return Ok(None),
                Kind::Answer => Reason::Message,
                Kind::Relay(question) => {
                    match in_flight.ask(out.now, out, client, bytes, question) {
                        Ok(()) => return Ok(None),
                        Err(Rejected::Full) => Reason::Overload,
                        Err(Rejected::NoServer) => Reason::NoServer,
                    }
                }
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
        self.with(|in_flight, out, buffer| {
            let Some(socket) = out.outside.pool.get(key) else {
                return;
            };
            match socket.recv(buffer) {
                Ok(len) => {
                    if let Some(reply) = buffer.get_mut(..len)
                        && in_flight.heard(out.now, out, key, reply)
                    {
                        out.outside.pool.answered(key);
                    }
                }
                // The kernel has found its checksum to be wrong.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(_icmp) => in_flight.failed(out.now, out, key),
            }
        });
    }

    fn tick(&self) {
        self.with(|in_flight, out, _| {
            let is_due = |due: Option<Instant>| due.is_some_and(|due| due <= out.now);
            let pool_is_due = is_due(out.outside.pool.due());
            if is_due(in_flight.due()) {
                in_flight.tick(out.now, out);
            }
            if pool_is_due {
                out.outside.pool.tick(out.now);
            }
            self.timer.set(due(in_flight, out.outside));
        });
    }

    /// Sends a client an answer of our own.
    fn answer(&self, client: Client, message: &[u8], reason: Reason) {
        if let Some(answer) = answer::encode(self, message, Protocol::Udp, reason) {
            send(&self.clients, client, &answer);
        }
    }

    /// Does something under the lock; afterwards, what must be done without it.
    fn with<T>(&self, act: impl FnOnce(&mut InFlight<Client>, &mut Out<'_>, &mut [u8]) -> T) -> T {
        let mut state = self.lock();
        let State {
            in_flight,
            out: outside,
            buffer,
        } = &mut *state;
        let before = due(in_flight, outside);
        let mut out = Out {
            clients: &self.clients,
            events: &self.events,
            outside,
            now: Instant::now(),
        };
        let outcome = act(in_flight, &mut out, buffer);
        let now = due(in_flight, outside);
        if now.is_some_and(|now| before.is_none_or(|before| now < before)) {
            self.timer.set(now);
        }
        let given_up = std::mem::take(&mut outside.given_up);
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
        self.lock().in_flight.upstreams.list().to_vec()
    }
}

/// When something is to be done next.
fn due(in_flight: &InFlight<Client>, outside: &Outside) -> Option<Instant> {
    in_flight::earlier(in_flight.due(), outside.pool.due())
}

/// A client that is gone, or does not read, loses it.
fn send(clients: &[UdpSocket], client: Client, message: &[u8]) {
    let _ = clients[client.socket as usize].send_to(message, client.addr);
}
