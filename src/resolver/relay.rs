//! The relay: moves UDP messages between clients and servers as bytes.
//!
//! One task per client socket and per server socket, one for time; what to do
//! is decided in [`super::open`], under one lock that is never held while
//! anything waits.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Instant;

use hickory_server::net::xfer::Protocol;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::Notify;
use tokio::task::AbortHandle;

use super::answer::{self, Reason, Report};
use super::message::{self, Kind};
use super::open::{OpenQueries, Rejected, SocketKey, Wire};
use super::pool::{INTEREST, Pool, Registered};
use super::random::Random;
use super::timer::Timer;
use super::upstream::{Upstream, UpstreamId};
use crate::config::Server;
use crate::ready;

/// The largest message that a UDP datagram can carry.
const MAX_MESSAGE: usize = 65_535;
/// So many messages of clients are taken before others have their turn.
const TURN: usize = 32;

/// Who waits: the address, and the socket that the answer leaves through.
#[derive(Clone)]
struct Client {
    socket: Arc<AsyncFd<UdpSocket>>,
    addr: SocketAddr,
}

struct State {
    open: OpenQueries<Client>,
    pool: Pool,
    random: Random,
    buffer: Box<[u8]>,
    given_up: Vec<(Client, Vec<u8>)>,
}

/// The relay, shared by its tasks.
pub struct Relay {
    state: Mutex<State>,
    /// Somebody must be asked again earlier than the timer thinks.
    sooner: Notify,
    this: Weak<Relay>,
}

/// What [`OpenQueries`] sends through.
struct Out<'a> {
    relay: &'a Weak<Relay>,
    pool: &'a mut Pool,
    random: &'a mut Random,
    given_up: &'a mut Vec<(Client, Vec<u8>)>,
    now: Instant,
}

impl Wire for Out<'_> {
    type Client = Client;

    fn send(&mut self, upstream: &Upstream, query: &[u8]) -> io::Result<SocketKey> {
        let relay = self.relay;
        self.pool.send(
            self.now,
            upstream,
            query,
            self.random,
            |key, upstream, socket| start_receiving(relay.clone(), key, upstream, socket),
        )
    }

    fn release(&mut self, socket: SocketKey) {
        self.pool.release(socket);
    }

    fn reply(&mut self, client: &Client, reply: &[u8]) {
        // A client that is gone, or does not read, loses it.
        let _ = client.socket.get_ref().send_to(reply, client.addr);
    }

    fn give_up(&mut self, client: Client, query: Vec<u8>) {
        self.given_up.push((client, query));
    }

    fn random(&mut self) -> u16 {
        self.random.u16()
    }
}

impl Relay {
    /// A relay without servers; at most `max_inflight` queries may wait.
    #[must_use]
    pub fn new(mark: u32, max_inflight: usize) -> Arc<Self> {
        Arc::new_cyclic(|this| Self {
            state: Mutex::new(State {
                open: OpenQueries::new(max_inflight),
                pool: Pool::new(mark, Instant::now()),
                random: Random::new(),
                buffer: vec![0; MAX_MESSAGE].into_boxed_slice(),
                given_up: Vec::new(),
            }),
            sooner: Notify::new(),
            this: this.clone(),
        })
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

    /// Serves one client socket, for ever.
    ///
    /// # Errors
    /// The socket is broken.
    pub async fn serve(self: Arc<Self>, socket: UdpSocket) -> io::Result<()> {
        let socket = Arc::new(ready::register(socket, Interest::READABLE)?);
        loop {
            let mut ready = socket.readable().await?;
            let mut taken = 0;
            while taken < TURN
                && let Ok(outcome) = ready.try_io(|_| self.take_query(&socket))
            {
                outcome?;
                taken += 1;
            }
            if taken == TURN {
                tokio::task::yield_now().await;
            }
        }
    }

    /// Wakes up when something is due, and only then; for ever.
    ///
    /// # Errors
    /// The kernel's limits.
    pub async fn keep_time(self: Arc<Self>) -> io::Result<()> {
        let timer = Timer::new()?;
        loop {
            timer.set(self.lock().open.due())?;
            tokio::select! {
                expired = timer.expired() => {
                    expired?;
                    self.with(|open, out, _| open.tick(out.now, out));
                }
                () = self.sooner.notified() => {}
            }
        }
    }

    /// Receives one message of a client and relays it, or answers it.
    fn take_query(&self, socket: &Arc<AsyncFd<UdpSocket>>) -> io::Result<()> {
        let unserved = self.with(|open, out, buffer| {
            let (len, addr) = socket.get_ref().recv_from(buffer)?;
            let bytes = buffer.get(..len).unwrap_or_default();
            let client = Client {
                socket: Arc::clone(socket),
                addr,
            };
            let reason = match message::classify(bytes) {
                Kind::Ignore => return Ok(None),
                Kind::Answer => Reason::Message,
                Kind::Relay(question) => {
                    match open.ask(out.now, out, client.clone(), bytes, question) {
                        Ok(()) => return Ok(None),
                        Err(Rejected::Full) => Reason::Overload,
                        Err(Rejected::NoServer) => Reason::NoServer,
                    }
                }
            };
            io::Result::Ok(Some((client, bytes.to_vec(), reason)))
        })?;
        if let Some((client, message, reason)) = unserved {
            self.answer(&client, &message, reason);
        }
        Ok(())
    }

    /// Receives one message of a server. Returns whether more are awaited from
    /// this socket.
    fn take_reply(&self, from: UpstreamId, key: SocketKey, socket: &UdpSocket) -> io::Result<bool> {
        self.with(|open, out, buffer| {
            let len = socket.recv(buffer)?;
            if let Some(reply) = buffer.get_mut(..len) {
                open.heard(out.now, out, from, reply);
            }
            Ok(out.pool.is_waited_on(key))
        })
    }

    /// Sends a client an answer of our own.
    fn answer(&self, client: &Client, message: &[u8], reason: Reason) {
        let Some(report) = self.this.upgrade() else {
            return;
        };
        let report: Arc<dyn Report> = report;
        let answer = answer::encode(&report, message, client.addr, Protocol::Udp, reason);
        if let Some(answer) = answer {
            let _ = client.socket.get_ref().send_to(&answer, client.addr);
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
            relay: &self.this,
            pool,
            random,
            given_up,
            now: Instant::now(),
        };
        let outcome = act(open, &mut out, buffer);
        let sooner = open
            .due()
            .is_some_and(|now| due.is_none_or(|before| now < before));
        let given_up = std::mem::take(given_up);
        drop(state);
        if sooner {
            self.sooner.notify_one();
        }
        for (client, query) in given_up {
            self.answer(&client, &query, Reason::NoServer);
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

/// Receives what servers send to one socket, until the pool closes it.
fn start_receiving(
    relay: Weak<Relay>,
    key: SocketKey,
    from: UpstreamId,
    socket: Registered,
) -> AbortHandle {
    let receive = async move {
        while let Ok(mut ready) = socket.ready(INTEREST).await {
            let Some(relay) = relay.upgrade() else { return };
            match ready.try_io(|socket| relay.take_reply(from, key, socket.get_ref())) {
                // Another call would find nothing; what comes will wake us again.
                Ok(Ok(false)) => ready.clear_ready(),
                Ok(Err(_icmp)) => relay.with(|open, out, _| open.failed(out.now, out, from, key)),
                Ok(Ok(true)) | Err(_) => {}
            }
        }
    };
    tokio::spawn(receive).abort_handle()
}
