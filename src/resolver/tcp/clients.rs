//! The clients: how many there may be, and what each of them wants to know.

use std::cell::Cell;
use std::convert::Infallible;
use std::io;
use std::net::{self, SocketAddr};
use std::os::fd::{AsRawFd, RawFd};
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use hickory_server::net::runtime::iocompat::AsyncIoTokioAsStd;
use hickory_server::net::tcp::TcpStream;
use hickory_server::net::xfer::Protocol;
use hickory_server::net::{BufDnsStreamHandle, DnsStreamHandle};
use hickory_server::proto::op::SerialMessage;
use hickory_server::server::TimeoutStream;
use tokio::net::{TcpListener, TcpStream as Tcp};
use tokio::sync::Notify;
use tokio::task::AbortHandle;
use tokio::time::{sleep, timeout};

use super::{Asking, Tasks, lookup, spawn};
use crate::log;
use crate::resolver::answer::{self, Reason};
use crate::resolver::message::{self, Kind};
use crate::resolver::relay::Relay;

/// Connections of clients at a time. The one that is idle the longest makes room
/// for a new one; one whose query is under way never does.
const MAX_CLIENTS: usize = 16;
/// Queries of one connection that are answered at a time; the next are read
/// when one of them is done. Each may be a reply of 64 KiB that the client does
/// not read. (libc asks for A and AAAA through the same connection.)
const MAX_PIPELINED: usize = 2;
/// A connection without a whole message for so long is closed (RFC 7766,
/// section 6.2.3, leaves the time to us).
const IDLE: Duration = Duration::from_secs(10);
/// While all are busy, how often it is looked whether one of them has gone.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// Serves the clients of some listening sockets, for ever.
///
/// # Errors
/// A socket cannot be used at all.
pub async fn serve(
    relay: &Arc<Relay>,
    listeners: Vec<net::TcpListener>,
    mark: u32,
) -> io::Result<Infallible> {
    let mut registered = Vec::with_capacity(listeners.len());
    for listener in listeners {
        registered.push(TcpListener::from_std(listener)?);
    }
    let asking = Rc::new(Asking::new(relay, mark));
    let mut clients = Clients::default();
    let mut turn = 0;
    loop {
        match accept(&registered, turn).await {
            Ok((stream, addr)) => {
                clients.make_room().await;
                clients.add(&asking, stream, addr);
            }
            Err(error) => {
                // Out of descriptors or memory, most likely: others must end first.
                log::warning!("a TCP client could not be accepted: {error}");
                sleep(Duration::from_secs(1)).await;
            }
        }
        turn = (turn + 1) % registered.len().max(1);
    }
}

/// The next client of any of them. Each is looked at first in turn, so that a crowd
/// at one keeps nobody from another.
async fn accept(listeners: &[TcpListener], turn: usize) -> io::Result<(Tcp, SocketAddr)> {
    std::future::poll_fn(|context| {
        let (last, first) = listeners.split_at(turn);
        for listener in first.iter().chain(last) {
            if let Poll::Ready(accepted) = listener.poll_accept(context) {
                return Poll::Ready(accepted);
            }
        }
        Poll::Pending
    })
    .await
}

/// All that are connected.
#[derive(Default)]
struct Clients {
    /// In the order in which they came.
    open: Vec<Client>,
    /// One of them has ended, or has its answer.
    freed: Rc<Notify>,
}

struct Client {
    state: Rc<State>,
    task: AbortHandle,
    /// The task's, open for as long as that has not finished.
    socket: RawFd,
}

impl Client {
    /// Whether it has closed its side of the connection.
    fn has_said_all(&self) -> bool {
        let mut socket = libc::pollfd {
            fd: self.socket,
            events: libc::POLLRDHUP,
            revents: 0,
        };
        // SAFETY: one pollfd, which lives during the call; it does not wait. The number
        // is still the client's: its task owns the socket and has not finished, or this
        // client would have been forgotten just before, on the same thread.
        let known = unsafe { libc::poll(&raw mut socket, 1, 0) };
        known > 0 && socket.revents & (libc::POLLRDHUP | libc::POLLHUP | libc::POLLERR) != 0
    }
}

/// What a connection tells of itself.
struct State {
    /// None while a query is under way.
    last_active: Cell<Option<Instant>>,
    freed: Rc<Notify>,
}

impl State {
    fn is_busy(&self) {
        self.last_active.set(None);
    }

    fn is_idle(&self) {
        self.last_active.set(Some(Instant::now()));
        self.freed.notify_one();
    }
}

impl Drop for State {
    fn drop(&mut self) {
        self.freed.notify_one();
    }
}

impl Clients {
    /// Waits until there is room for one more.
    async fn make_room(&mut self) {
        loop {
            self.open.retain(|client| !client.task.is_finished());
            if self.open.len() < MAX_CLIENTS {
                return;
            }
            let last_active = self.open.iter().map(|one| one.state.last_active.get());
            let idle = idlest(last_active);
            // One that has said all may wait for its answers, or be gone: without room
            // for others it is taken for gone.
            match idle.or_else(|| self.open.iter().position(Client::has_said_all)) {
                Some(at) => self.open.remove(at).task.abort(),
                // Nobody tells that a busy one has gone.
                None => drop(timeout(LOOK_AGAIN, self.freed.notified()).await),
            }
        }
    }

    fn add(&mut self, asking: &Rc<Asking>, stream: Tcp, addr: SocketAddr) {
        let state = Rc::new(State {
            last_active: Cell::new(Some(Instant::now())),
            freed: Rc::clone(&self.freed),
        });
        let socket = stream.as_raw_fd();
        let task = spawn(converse(Rc::clone(asking), stream, addr, Rc::clone(&state)));
        self.open.push(Client {
            state,
            task,
            socket,
        });
    }
}

/// Which of these, in the order in which they came, was active the longest ago;
/// none while all are busy.
fn idlest(last_active: impl Iterator<Item = Option<Instant>>) -> Option<usize> {
    let idle = last_active
        .enumerate()
        .filter_map(|(at, time)| Some((at, time?)));
    idle.min_by_key(|(_, time)| *time).map(|(at, _)| at)
}

/// Answers what one client sends, some messages at a time (RFC 7766,
/// section 6.2.1.1), in the order in which the answers come.
async fn converse(asking: Rc<Asking>, stream: Tcp, client: SocketAddr, state: Rc<State>) {
    let (stream, mut replies) =
        TcpStream::from_stream_with_buffer_size(AsyncIoTokioAsStd(stream), client, MAX_PIPELINED);
    let mut messages = TimeoutStream::new(stream, IDLE);
    let mut open = Tasks::new();
    loop {
        tokio::select! {
            message = messages.next(), if open.len() < MAX_PIPELINED => match message {
                Some(Ok(message)) => {
                    state.is_busy();
                    open.add(answer(&asking, message.into_parts().0));
                }
                Some(Err(_broken_or_idle)) => return,
                None => break,
            },
            Some(answer) = open.next() => {
                if !pass_on(&mut replies, client, answer) {
                    return;
                }
                // The stream takes it before anybody else has a turn.
                if open.is_empty() {
                    state.is_idle();
                }
            }
        }
    }
    // The client has said all it has to say, and still wants its answers. The
    // stream sends while it is asked for the next message, which never comes.
    while let Some(answer) = open.next().await {
        if !pass_on(&mut replies, client, answer) || messages.next().await.is_some() {
            return;
        }
    }
}

/// Queues an answer. Returns false where the client does not read.
fn pass_on(replies: &mut BufDnsStreamHandle, client: SocketAddr, answer: Option<Vec<u8>>) -> bool {
    answer.is_none_or(|answer| replies.send(SerialMessage::new(answer, client)).is_ok())
}

/// The answer to one message, none where it deserves none.
async fn answer(asking: &Rc<Asking>, message: Vec<u8>) -> Option<Vec<u8>> {
    let reason = match message::classify(&message) {
        Kind::Ignore => return None,
        Kind::Answer => Reason::Message,
        Kind::Relay(question) => match lookup::ask(asking, &message, question).await {
            Some(reply) => return Some(reply),
            None => Reason::NoServer,
        },
    };
    answer::encode(&*asking.relay, &message, Protocol::Tcp, reason)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_one_that_is_idle_the_longest_makes_room_and_no_busy_one_does() {
        const BUSY: u64 = u64::MAX;
        let start = Instant::now();
        let time = |time| (time != BUSY).then(|| start + Duration::from_secs(time));
        let idlest = |times: &[u64]| idlest(times.iter().copied().map(time));
        assert_eq!(idlest(&[5, 3, 9]), Some(1));
        assert_eq!(idlest(&[4, 4, 4]), Some(0), "the first that came");
        assert_eq!(idlest(&[BUSY, 7, BUSY]), Some(1));
        assert_eq!(idlest(&[BUSY, BUSY]), None);
        assert_eq!(idlest(&[]), None);
    }
}
