//! TCP: hickory's framing and time-outs towards clients, marked connections
//! towards servers, and the same bytes between them.
//!
//! hickory's `Server` would encode every reply anew and lose what it does not
//! know; its stream gives and takes whole messages as bytes.

use std::collections::VecDeque;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use hickory_server::net::runtime::iocompat::AsyncIoTokioAsStd;
use hickory_server::net::tcp::TcpStream;
use hickory_server::net::xfer::Protocol;
use hickory_server::net::{BufDnsStreamHandle, DnsStreamHandle};
use hickory_server::proto::op::SerialMessage;
use hickory_server::server::TimeoutStream;
use tokio::net::TcpStream as Tcp;
use tokio::sync::Semaphore;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{sleep, timeout};

use super::answer::{self, Reason, Report};
use super::in_flight::LIFETIME;
use super::message::{self, Kind, Question};
use super::relay::Relay;
use super::socket;
use crate::config::Server;
use crate::log;

/// Connections of clients at a time, for each listening socket; the one that is idle the longest makes
/// room for a new one.
const MAX_CONNECTIONS: usize = 8;
/// Queries of one connection that are answered at a time; the next are read
/// when one of them is done. Each may be a reply of 64 KiB that the client does
/// not read.
const MAX_PIPELINED: usize = 4;
/// Connections to servers at a time; further queries wait for one of them.
const MAX_ASKED: usize = 16;
/// A connection without a whole message for so long is closed (RFC 7766,
/// section 6.2.3, leaves the time to us).
const IDLE: Duration = Duration::from_secs(10);
/// When a server is silent for so long, the next one is asked as well.
const PATIENCE: Duration = Duration::from_millis(400);

/// Serves the clients of one listening socket, for ever.
///
/// # Errors
/// The socket cannot be used at all.
pub async fn serve(relay: Arc<Relay>, listener: TcpListener, mark: u32) -> io::Result<()> {
    let listener = tokio::net::TcpListener::from_std(listener)?;
    let asking = Asking {
        relay,
        mark,
        slots: Arc::new(Semaphore::new(MAX_ASKED)),
    };
    let mut connections = Connections::default();
    loop {
        match listener.accept().await {
            Ok((stream, client)) => connections.add(&asking, stream, client),
            Err(error) => {
                // Out of descriptors or memory, most likely: others must end first.
                log::warning!("a TCP client could not be accepted: {error}");
                sleep(Duration::from_secs(1)).await;
            }
        }
    }
}

/// How queries go on to servers.
#[derive(Clone)]
struct Asking {
    relay: Arc<Relay>,
    mark: u32,
    slots: Arc<Semaphore>,
}

/// The clients of one listening socket.
struct Connections {
    open: VecDeque<Connection>,
    start: Instant,
}

struct Connection {
    /// From the start to the last message, as [`tenths_since`] counts.
    active: Arc<AtomicU32>,
    task: AbortHandle,
}

impl Default for Connections {
    fn default() -> Self {
        Self {
            open: VecDeque::new(),
            start: Instant::now(),
        }
    }
}

impl Connections {
    fn add(&mut self, asking: &Asking, stream: Tcp, client: SocketAddr) {
        self.open
            .retain(|connection| !connection.task.is_finished());
        if self.open.len() >= MAX_CONNECTIONS {
            let idlest =
                (0..self.open.len()).min_by_key(|&at| self.open[at].active.load(Ordering::Relaxed));
            if let Some(idlest) = idlest.and_then(|at| self.open.remove(at)) {
                idlest.task.abort();
            }
        }
        let start = self.start;
        let active = Arc::new(AtomicU32::new(tenths_since(start)));
        let seen = Arc::clone(&active);
        let note = move || seen.store(tenths_since(start), Ordering::Relaxed);
        let task = tokio::spawn(converse(asking.clone(), stream, client, note));
        self.open.push_back(Connection {
            active,
            task: task.abort_handle(),
        });
    }
}

/// Tenths of a second: enough for 13 years in 32 bits. MIPS has no atomics of 64.
fn tenths_since(start: Instant) -> u32 {
    u32::try_from(start.elapsed().as_millis() / 100).unwrap_or(u32::MAX)
}

/// Answers what one client sends, several messages at a time (RFC 7766,
/// section 6.2.1.1), in the order in which the answers come.
async fn converse(asking: Asking, stream: Tcp, client: SocketAddr, note_activity: impl Fn()) {
    let (stream, mut replies) =
        TcpStream::from_stream_with_buffer_size(AsyncIoTokioAsStd(stream), client, MAX_PIPELINED);
    let mut messages = TimeoutStream::new(stream, IDLE);
    let mut open = JoinSet::new();
    loop {
        tokio::select! {
            message = messages.next(), if open.len() < MAX_PIPELINED => match message {
                Some(Ok(message)) => {
                    note_activity();
                    open.spawn(answer(asking.clone(), message.into_parts().0, client));
                }
                Some(Err(_broken_or_idle)) => return,
                None => break,
            },
            Some(answer) = open.join_next() => {
                if !pass_on(&mut replies, client, answer.ok().flatten()) {
                    return;
                }
            }
        }
    }
    // The client has said all it has to say, and still wants its answers. The
    // stream sends while it is asked for the next message, which never comes.
    while let Some(answer) = open.join_next().await {
        if !pass_on(&mut replies, client, answer.ok().flatten()) || messages.next().await.is_some()
        {
            return;
        }
    }
}

/// Queues an answer. Returns false where the client does not read.
fn pass_on(replies: &mut BufDnsStreamHandle, client: SocketAddr, answer: Option<Vec<u8>>) -> bool {
    answer.is_none_or(|answer| replies.send(SerialMessage::new(answer, client)).is_ok())
}

/// The answer to one message, none where it deserves none.
async fn answer(asking: Asking, message: Vec<u8>, client: SocketAddr) -> Option<Vec<u8>> {
    let reason = match message::classify(&message) {
        Kind::Ignore => return None,
        Kind::Answer => Reason::Message,
        Kind::Relay(question) => match ask_in_turn(&asking, &message, question).await {
            Some(reply) => return Some(reply),
            None => Reason::NoServer,
        },
    };
    let report: Arc<dyn Report> = asking.relay;
    answer::encode(&report, &message, client, Protocol::Tcp, reason)
}

/// Connections to servers that are under way, and what will come of them.
///
/// When nobody waits any more, they are not broken off: what a server sends to a
/// connection that is gone makes the kernel send a reset, and that has no mark.
#[derive(Default)]
struct Asked(JoinSet<io::Result<Vec<u8>>>);

impl Drop for Asked {
    fn drop(&mut self) {
        self.0.detach_all();
    }
}

/// Asks the best server, and the next one when it fails or is silent. The first
/// good reply counts; without any, the first failure does.
async fn ask_in_turn(asking: &Asking, query: &[u8], question: Question) -> Option<Vec<u8>> {
    let end = Instant::now() + LIFETIME;
    let mut servers = asking.relay.ranked().into_iter();
    let awaited: Arc<[u8]> = query.into();
    let mut asked = Asked::default();
    let mut failure = None;
    while Instant::now() < end {
        match servers.next() {
            Some(server) => {
                let waiting = Arc::downgrade(&awaited);
                asked
                    .0
                    .spawn(ask_in_time(asking.clone(), server, waiting, question));
            }
            None if asked.0.is_empty() => break,
            None => {}
        }
        let Ok(Some(Ok(Ok(mut reply)))) = timeout(PATIENCE, asked.0.join_next()).await else {
            continue;
        };
        message::set_id(&mut reply, message::id(query));
        if !message::is_failure(&reply) {
            return Some(reply);
        }
        failure.get_or_insert(reply);
    }
    failure
}

/// Asks one server as soon as there is a slot, unless nobody waits any more.
async fn ask_in_time(
    asking: Asking,
    server: Server,
    query: Weak<[u8]>,
    question: Question,
) -> io::Result<Vec<u8>> {
    let _slot = asking.slots.acquire().await.map_err(io::Error::other)?;
    let Some(mut query) = query.upgrade().map(|query| query.to_vec()) else {
        return Err(io::ErrorKind::Interrupted.into());
    };
    message::set_id(&mut query, asking.relay.random_id());
    timeout(LIFETIME, ask(server, query, question, asking.mark)).await?
}

/// Asks one server over a connection of its own.
async fn ask(server: Server, query: Vec<u8>, question: Question, mark: u32) -> io::Result<Vec<u8>> {
    let to = socket::address(&server)?;
    let socket = std::net::TcpStream::from(socket::tcp(to, mark)?);
    let stream = tokio::net::TcpSocket::from_std_stream(socket)
        .connect(to)
        .await?;
    let (mut stream, mut sender) = TcpStream::from_stream(AsyncIoTokioAsStd(stream), to);
    sender
        .send(SerialMessage::new(query.clone(), to))
        // An error of hickory's as a source would bring the words for all of its
        // errors and record types into the binary.
        .map_err(|_full| io::ErrorKind::BrokenPipe)?;
    while let Some(message) = stream.next().await {
        let (reply, _) = message?.into_parts();
        if message::id(&reply) == message::id(&query) && question.is_answered_by(&query, &reply) {
            return Ok(reply);
        }
    }
    Err(io::ErrorKind::UnexpectedEof.into())
}
