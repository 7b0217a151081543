//! One look-up over TCP: which server is asked when, and whose reply counts.

use std::io;
use std::rc::{Rc, Weak};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;
use tokio::time::{timeout, timeout_at};

use super::connection::Connection;
use super::{Asking, Tasks, spawn};
use crate::config::Server;
use crate::resolver::in_flight::LIFETIME;
use crate::resolver::message::{self, Question};
use crate::resolver::socket;
use crate::resolver::upstream::{Upstream, UpstreamId};

/// A connection takes a round trip before the one of the query.
const ROUND_TRIPS: u32 = 2;

/// Asks the best server, and the next one when it fails or is silent for longer
/// than it should be. The first good reply counts; without any, the first failure
/// does.
pub async fn ask(asking: &Rc<Asking>, query: &[u8], question: Question) -> Option<Vec<u8>> {
    let start = Instant::now();
    let end = start + LIFETIME;
    let (order, at_once) = asking
        .relay
        .with_upstreams(|upstreams| upstreams.over_tcp(start));
    let mut left = order.into_iter();
    let mut asked = Asked::new(asking, query, question);
    for target in left.by_ref().take(at_once) {
        asked.ask(target);
    }
    let mut failure = None;
    while Instant::now() < end {
        if asked.waiting.is_empty() {
            match left.next() {
                Some(next) => asked.ask(next),
                None => break,
            }
        }
        let due = asked.due.map_or(end, |due| due.min(end));
        match timeout_at(due.into(), asked.waiting.next()).await {
            Ok(Some(Ok(mut reply))) => {
                message::set_id(&mut reply, message::id(query));
                if !message::is_failure(&reply) {
                    return Some(reply);
                }
                failure.get_or_insert(reply);
            }
            Ok(_failed) => {}
            Err(_elapsed) => asked.is_silent(),
        }
        if let Some(next) = left.next() {
            asked.ask(next);
        }
    }
    failure
}

/// The servers that one look-up has asked so far. When it ends, nobody waits for
/// the others any more.
struct Asked<'a> {
    asking: &'a Rc<Asking>,
    query: Rc<[u8]>,
    question: Question,
    waiting: Tasks<'static, io::Result<Vec<u8>>>,
    /// The last one, and when it should have answered.
    last: Option<UpstreamId>,
    due: Option<Instant>,
    awaited: Rc<()>,
}

impl<'a> Asked<'a> {
    fn new(asking: &'a Rc<Asking>, query: &[u8], question: Question) -> Self {
        Self {
            asking,
            query: query.into(),
            question,
            waiting: Tasks::new(),
            last: None,
            due: None,
            awaited: Rc::default(),
        }
    }

    fn ask(&mut self, upstream: Upstream) {
        self.last = Some(upstream.id);
        self.due = Some(Instant::now() + ROUND_TRIPS * upstream.patience());
        let one = One {
            asking: Rc::clone(self.asking),
            query: Rc::clone(&self.query),
            question: self.question,
            id: upstream.id,
            server: upstream.server,
        };
        let awaited = Rc::downgrade(&self.awaited);
        self.waiting.add(one.wait(awaited));
    }

    /// The last one has not answered in time. It may still do so.
    fn is_silent(&mut self) {
        self.due = None;
        let last = self.last;
        self.asking.relay.with_upstreams(|upstreams| {
            if let Some(upstream) = last.and_then(|last| upstreams.get(last)) {
                upstream.failed_over_tcp();
            }
        });
    }
}

/// One server, to be asked once.
struct One {
    asking: Rc<Asking>,
    query: Rc<[u8]>,
    question: Question,
    id: UpstreamId,
    server: Server,
}

impl One {
    /// Asks it as soon as there is a slot. The connection lives longer than the
    /// wait: see [`super::connection`].
    async fn wait(self, awaited: Weak<()>) -> io::Result<Vec<u8>> {
        let asking = Rc::clone(&self.asking);
        let _slot = asking.slots.acquire().await.map_err(io::Error::other)?;
        let (tell, told) = oneshot::channel();
        asking.connections.add(spawn(self.converse(tell)), awaited);
        told.await.map_err(io::Error::other)?
    }

    async fn converse(self, tell: oneshot::Sender<io::Result<Vec<u8>>>) {
        let start = Instant::now();
        self.note(|upstream| upstream.asked_over_tcp(start));
        let mark = self.asking.mark;
        let connection = socket::address(&self.server).and_then(|to| Connection::begin(to, mark));
        let connection = match connection {
            Ok(connection) => connection,
            Err(error) => {
                self.note(Upstream::failed_over_tcp);
                // Whoever has waited may be gone.
                let _ = tell.send(Err(error));
                return;
            }
        };
        let outcome = timeout(LIFETIME, self.reply(&connection)).await;
        let outcome = outcome.unwrap_or_else(|elapsed| Err(elapsed.into()));
        let now = Instant::now();
        self.note(|upstream| match &outcome {
            Ok((reply, took)) => {
                upstream.heard_over_tcp(now, *took, message::is_failure(reply));
            }
            Err(error) => {
                upstream.failed_over_tcp();
                if error.kind() == io::ErrorKind::TimedOut {
                    upstream.timed_out(now, start);
                }
            }
        });
        let _ = tell.send(outcome.map(|(reply, _)| reply));
        connection.end().await;
    }

    /// The first message is the answer, or none will be.
    async fn reply(&self, connection: &Connection) -> io::Result<(Vec<u8>, Duration)> {
        let mut query = self.query.to_vec();
        message::set_id(&mut query, self.asking.relay.random_id());
        let (reply, took) = connection.ask(&query).await?;
        let same = message::id(&reply) == message::id(&query);
        if same && self.question.is_answered_by(&query, &reply) {
            Ok((reply, took))
        } else {
            Err(io::ErrorKind::InvalidData.into())
        }
    }

    /// Adds to what is known of it.
    fn note(&self, act: impl FnOnce(&mut Upstream)) {
        self.asking.relay.with_upstreams(|upstreams| {
            if let Some(upstream) = upstreams.get(self.id) {
                act(upstream);
            }
        });
    }
}
