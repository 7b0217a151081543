//! Clients, links, servers and time around the core, and what must be true of it.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::rc::Rc;
use std::time::{Duration, Instant};

use gluon_wan::config::Server;
use gluon_wan::resolver::in_flight::{Rejected, SocketKey};

use super::core::{Client, Core, MAX_WAITING};
use super::dns::{self, PATH};
use super::weather::{self, Behaviour, Delay, Link};
use super::{Action, Scenario};
use crate::dice::Dice;

const MS: Duration = Duration::from_millis(1);
/// After so long a client asks again: glibc, musl and dig.
const LIFETIME: Duration = Duration::from_secs(5);
/// How late a client may be told that there is no answer.
const SLACK: Duration = Duration::from_millis(100);
/// How long a socket must take late replies.
const OPEN_FOR: Duration = Duration::from_secs(4);
/// How many sends one query may cost at one server: one that answers in time, and
/// one that does not. A change of the network costs one more, and so does a server
/// that is heard again after it seemed dead.
const SENDS: (usize, usize) = (4, 12);
/// The fastest server that may seem dead for a while, though nothing is lost.
const SEEMS_DEAD: Duration = Duration::from_secs(1);
/// The slowest server that counts as one that answers in time.
const IN_TIME: Duration = Duration::from_millis(4500);
/// How often it may be woken within a millisecond.
const WAKES: u32 = 8;

/// What makes queries the same: the name, and the EDNS size that goes upstream.
type Asked = (u8, Option<u16>);

/// A query of a client.
#[derive(Clone)]
struct Waiter {
    number: Client,
    asked: Asked,
    id: u16,
    since: Instant,
    answered: Option<Instant>,
    failed: bool,
}

impl std::fmt::Debug for Waiter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "client {} ({:?})", self.number, self.asked)
    }
}

/// One transmission.
struct Sent {
    server: usize,
    at: Instant,
    key: SocketKey,
    socket: Rc<Cell<bool>>,
    id: u16,
    asked: Asked,
}

enum Arrival {
    Reply {
        sent: usize,
        bytes: Vec<u8>,
        is_good: bool,
    },
    Icmp {
        sent: usize,
    },
}

/// Everything but the core.
pub struct Outside {
    pub now: Instant,
    /// What the core gets for random numbers.
    pub dice: Dice,
    chance: u64,
    start: Instant,
    links: Vec<Link>,
    listed: Vec<usize>,
    arrivals: BTreeMap<(Instant, u64), Arrival>,
    order: u64,
    sent: Vec<Sent>,
    waiters: Vec<Waiter>,
    /// Answers on their way or delivered, by their number.
    answers: HashMap<u32, Vec<u8>>,
    /// Ids that were answered.
    answered: BTreeSet<(Asked, u16)>,
    /// Sends that were tried, whatever came of them.
    tried: Vec<(Asked, usize, Instant)>,
    /// When the way to a server last changed.
    changed: Vec<Instant>,
    /// When something last came from a server.
    heard: Vec<Option<Instant>>,
    descriptors: usize,
    /// When descriptors were last said to be few.
    short_until: Instant,
    /// Nothing passes before that time.
    outage: Instant,
    /// Replies to sockets opened before are lost: their address is gone.
    renumbered: Instant,
    /// Queries that a server with a limit took, and when.
    taken: HashMap<usize, Vec<Instant>>,
    network_changes: usize,
    pub seen: Seen,
    wrong: Option<String>,
}

/// What was seen, over all scenarios.
#[derive(Debug, Default, Clone)]
pub struct Seen {
    pub scenarios: u32,
    pub queries: u32,
    pub sends: u32,
    pub answers: u32,
    pub failures: u32,
    pub forged: u32,
    /// Replies that found no socket, so that an ICMP error with the answer would
    /// leave: later than a socket must be kept.
    pub too_late: u32,
    pub most_sockets: usize,
}

impl std::fmt::Display for Seen {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "look-ups: {} scenarios, {} queries, {} sends, {} answers, {} failures passed on, \
             {} forged replies (0 taken), {} replies later than any socket, {} sockets at most",
            self.scenarios,
            self.queries,
            self.sends,
            self.answers,
            self.failures,
            self.forged,
            self.too_late,
            self.most_sockets
        )
    }
}

pub fn address(server: usize) -> Server {
    format!("2001:db8:77::{:x}", server + 1).parse().unwrap()
}

impl Outside {
    fn new(links: Vec<Link>, seed: u64) -> Self {
        let start = Instant::now();
        Self {
            now: start,
            dice: Dice::new(seed),
            chance: seed,
            start,
            listed: (0..links.len()).collect(),
            arrivals: BTreeMap::new(),
            order: 0,
            sent: Vec::new(),
            waiters: Vec::new(),
            answers: HashMap::new(),
            answered: BTreeSet::new(),
            tried: Vec::new(),
            changed: vec![start; links.len()],
            heard: vec![None; links.len()],
            descriptors: usize::MAX,
            short_until: start - LIFETIME,
            outage: start,
            renumbered: start,
            taken: HashMap::new(),
            network_changes: 0,
            seen: Seen::default(),
            wrong: None,
            links,
        }
    }

    fn wrong(&mut self, what: String) {
        let at = self.now - self.start;
        self.wrong.get_or_insert(format!("{what}; at {at:?}"));
    }

    pub fn server(&self, server: &Server) -> usize {
        let at = (0..self.links.len()).find(|&at| address(at) == *server);
        at.expect("a server of the scenario")
    }

    pub fn has_no_route(&self, server: usize) -> bool {
        self.links[server].behaviour == Behaviour::NoRoute
    }

    /// A send is tried.
    pub fn tried(&mut self, server: usize, query: &[u8]) {
        self.tried.push((asked(query), server, self.now));
    }

    fn open_sockets(&self) -> usize {
        let mut open: Vec<*const Cell<bool>> = self
            .sent
            .iter()
            .filter(|sent| sent.socket.get())
            .map(|sent| Rc::as_ptr(&sent.socket))
            .collect();
        open.sort_unstable();
        open.dedup();
        open.len()
    }

    pub fn may_open(&mut self) -> bool {
        let open = self.open_sockets();
        self.seen.most_sockets = self.seen.most_sockets.max(open + 1);
        if open >= self.descriptors {
            self.short_until = self.now;
        }
        open < self.descriptors
    }

    /// A query leaves: what becomes of it is settled here.
    pub fn sent(&mut self, server: usize, key: SocketKey, socket: Rc<Cell<bool>>, query: &[u8]) {
        let (id, asked) = (u16::from_be_bytes([query[0], query[1]]), asked(query));
        if dns::payload(query).is_some_and(|payload| payload > 1232) {
            self.wrong("a query allows an answer in fragments".into());
        }
        self.seen.sends += 1;
        let number = self.sent.len();
        self.sent.push(Sent {
            server,
            at: self.now,
            key,
            socket,
            id,
            asked,
        });
        self.check_sends(server, id, asked);
        let link = self.links[server];
        if self.now < self.outage || self.is_over_rate(server, link) {
            return;
        }
        let nth = self.sends_to(server, asked.0);
        let mut luck = weather::luck(self.chance, asked.0, server, nth);
        let copies = link.fate(self.now - self.start, &mut luck);
        if link.behaviour == Behaviour::Closed {
            for delay in copies {
                self.arrive(delay, Arrival::Icmp { sent: number });
            }
            return;
        }
        let (bytes, is_good) = dns::reply(query, link.behaviour, number as u32);
        if bytes.len() > PATH {
            return;
        }
        self.answers.insert(number as u32, bytes.clone());
        for delay in copies {
            let reply = Arrival::Reply {
                sent: number,
                bytes: bytes.clone(),
                is_good,
            };
            self.arrive(delay, reply);
        }
    }

    /// How often a name was sent to a server, the last time aside.
    fn sends_to(&self, server: usize, name: u8) -> usize {
        let same = |sent: &&Sent| sent.server == server && sent.asked.0 == name;
        self.sent.iter().filter(same).count() - 1
    }

    fn arrive(&mut self, delay: Duration, arrival: Arrival) {
        self.order += 1;
        self.arrivals
            .insert((self.now + delay, self.order), arrival);
    }

    fn is_over_rate(&mut self, server: usize, link: Link) -> bool {
        let Some(rate) = link.rate else {
            return false;
        };
        let now = self.now;
        let taken = self.taken.entry(server).or_default();
        taken.retain(|at| now - *at < Duration::from_secs(1));
        if taken.len() >= usize::from(rate) {
            return true;
        }
        taken.push(now);
        false
    }

    /// Bounded within the life of a query; who joins it later may prolong that.
    fn check_sends(&mut self, server: usize, id: u16, asked: Asked) {
        let of_query = |sent: &&Sent| (sent.id, sent.asked, sent.server) == (id, asked, server);
        let all: Vec<Instant> = self
            .sent
            .iter()
            .filter(of_query)
            .map(|sent| sent.at)
            .collect();
        let first = all[0];
        let count = all.iter().filter(|at| **at + LIFETIME > self.now).count();
        let link = self.links[server];
        let answers = !matches!(
            link.behaviour,
            Behaviour::Silent
                | Behaviour::WrongQuestion
                | Behaviour::Closed
                | Behaviour::NoRoute
                | Behaviour::Long
        );
        // What happened on the way is not its fault.
        let in_time = answers
            && link.delay.worst() <= IN_TIME
            && link.loss == 0
            && link.rate.is_none()
            && !self.is_short()
            && [self.outage, self.renumbered, self.changed[server]]
                .iter()
                .all(|at| *at <= first);
        // Merged queries are several: each client that joined is worth its sends.
        let joined =
            |waiter: &&Waiter| waiter.asked == asked && waiter.since + 2 * LIFETIME > self.now;
        let clients = self.waiters.iter().filter(joined).count().max(1);
        let one_more = self.network_changes > 0 || link.delay.worst() > SEEMS_DEAD;
        let limit = clients * if in_time { SENDS.0 } else { SENDS.1 } + usize::from(one_more);
        if count > limit {
            let what = format!(
                "too many sends of one query: {count} to server {server} ({link:?}), {limit} are allowed"
            );
            self.wrong(what);
        }
    }

    /// A client gets a reply.
    pub fn delivered(&mut self, client: Client, reply: &[u8]) {
        let now = self.now;
        let waiter = &mut self.waiters[client as usize];
        let (twice, late) = (
            waiter.answered.is_some(),
            now - waiter.since > LIFETIME + SLACK,
        );
        waiter.answered = Some(now);
        let waiter = waiter.clone();
        if twice {
            self.wrong(format!("{waiter:?} got two replies"));
        }
        if late {
            self.wrong(format!("{waiter:?} waited too long"));
        }
        if reply[..2] != waiter.id.to_be_bytes() {
            self.wrong(format!("{waiter:?} got another's id"));
        }
        if is_failure(reply) {
            self.seen.failures += 1;
            self.waiters[client as usize].failed = true;
            self.may_fail(&waiter);
            return;
        }
        self.seen.answers += 1;
        let genuine = self
            .answers
            .values()
            .any(|answer| answer.len() == reply.len() && answer[2..] == reply[2..]);
        if !genuine {
            self.wrong(format!("{waiter:?} got what no server said: {reply:?}"));
        }
    }

    pub fn given_up(&mut self, client: Client, query: &[u8]) {
        let waiter = self.waiters[client as usize].clone();
        if self.now - waiter.since < LIFETIME {
            self.may_fail(&waiter);
        }
        let mut reply = query.to_vec();
        reply[3] |= 2;
        self.delivered(client, &reply);
    }

    /// A failure before the time is over: all servers were asked.
    fn may_fail(&mut self, waiter: &Waiter) {
        if self.now - waiter.since >= LIFETIME || self.is_short() {
            return;
        }
        let asked = |server: &usize| {
            self.tried.iter().any(|(asked, to, at)| {
                *asked == waiter.asked && to == server && *at + LIFETIME >= waiter.since
            })
        };
        let left = self.listed.iter();
        let mut left =
            left.filter(|server| !self.has_no_route(**server) && !self.is_dead(**server));
        if let Some(left) = left.find(|server| !asked(server)) {
            let what = format!("{waiter:?} was told of a failure, and server {left} was not asked");
            self.wrong(what);
        }
    }

    /// Whether descriptors ran out a while ago: what was not sent then was nobody's
    /// fault.
    fn is_short(&self) -> bool {
        self.short_until + LIFETIME > self.now
    }

    /// Whether a server counts as dead: nothing came from it for 5 s. Such ones get
    /// a query of several that wait now and then.
    fn is_dead(&self, server: usize) -> bool {
        self.heard[server].is_none_or(|heard| heard + LIFETIME <= self.now)
    }

    fn waiting(&self) -> usize {
        let waiting = self
            .waiters
            .iter()
            .filter(|waiter| waiter.answered.is_none());
        waiting.count()
    }
}

fn asked(query: &[u8]) -> Asked {
    (
        dns::name(query),
        dns::payload(query).map(|payload| payload.min(1232)),
    )
}

fn is_failure(reply: &[u8]) -> bool {
    let (rcode, is_lame) = (
        reply[3] & 15,
        reply[3] == 0 && reply[2] & 6 == 0 && reply[7] == 0,
    );
    matches!(rcode, 1 | 2 | 4 | 5) || is_lame
}

pub struct World {
    core: Core,
    outside: Outside,
    next_id: u16,
    wakes: (Instant, u32),
}

impl World {
    pub fn new(scenario: &Scenario) -> Self {
        let mut outside = Outside::new(scenario.links.clone(), scenario.chance);
        let mut core = Core::new();
        let servers: Vec<Server> = (0..scenario.links.len()).map(address).collect();
        core.set_servers(&mut outside, &servers);
        let start = outside.now;
        Self {
            core,
            outside,
            next_id: 1,
            wakes: (start, 0),
        }
    }

    /// Lives through steps; of each query, when it was asked and when it had an
    /// answer that is none of a failure.
    pub fn times(
        mut self,
        scenario: &Scenario,
    ) -> Result<Vec<(Duration, Option<Duration>)>, String> {
        for &(pause, action) in &scenario.steps {
            let until = self.outside.now + MS * u32::from(pause);
            self.pass(until)?;
            self.act(action);
            self.check()?;
        }
        let until = self.outside.now + LIFETIME * 2;
        self.pass(until)?;
        let start = self.outside.start;
        let times = self.outside.waiters.iter().map(|waiter| {
            let answered = waiter.answered.filter(|_| !waiter.failed);
            (waiter.since - start, answered.map(|at| at - start))
        });
        Ok(times.collect())
    }

    /// Lives through it, and through a time without disturbances.
    pub fn run(mut self, scenario: &Scenario, seen: &mut Seen) -> Result<(), String> {
        let result = self.live(scenario);
        let found = &self.outside.seen;
        seen.scenarios += 1;
        seen.queries += found.queries;
        seen.sends += found.sends;
        seen.answers += found.answers;
        seen.failures += found.failures;
        seen.forged += found.forged;
        seen.too_late += found.too_late;
        seen.most_sockets = seen.most_sockets.max(found.most_sockets);
        result
    }

    fn live(&mut self, scenario: &Scenario) -> Result<(), String> {
        for &(pause, action) in &scenario.steps {
            let until = self.outside.now + MS * u32::from(pause);
            self.pass(until)?;
            self.act(action);
            self.check()?;
        }
        self.calm_down()
    }

    /// What happens up to that time.
    fn pass(&mut self, until: Instant) -> Result<(), String> {
        loop {
            let arrival = self.outside.arrivals.keys().next().map(|(at, _)| *at);
            let due = self.core.due();
            let Some(next) = arrival
                .into_iter()
                .chain(due)
                .min()
                .filter(|next| *next <= until)
            else {
                break;
            };
            self.outside.now = self.outside.now.max(next);
            if arrival == Some(next) {
                let ((_, _), arrival) = self.outside.arrivals.pop_first().expect("one is there");
                self.arrived(arrival);
            } else {
                self.wake();
            }
            self.check()?;
        }
        self.outside.now = until;
        Ok(())
    }

    fn wake(&mut self) {
        let now = self.outside.now;
        self.core.tick(&mut self.outside);
        self.wakes = match self.wakes {
            (since, count) if now < since + MS => (since, count + 1),
            _ => (now, 1),
        };
        if self.wakes.1 > WAKES {
            self.outside
                .wrong(format!("woken {} times in a millisecond", self.wakes.1));
        }
        if self.core.due().is_some_and(|due| due <= now) && self.wakes.1 > 2 {
            self.outside
                .wrong("a timer is due that was just served".into());
        }
    }

    fn arrived(&mut self, arrival: Arrival) {
        let outside = &mut self.outside;
        if outside.now < outside.outage {
            return;
        }
        match arrival {
            Arrival::Icmp { sent } => {
                let Sent {
                    key, socket, at, ..
                } = &outside.sent[sent];
                if socket.get() && *at >= outside.renumbered {
                    let (key, server) = (*key, outside.sent[sent].server);
                    // Its own machine says that it is none.
                    outside.heard[server] = None;
                    self.core.failed(outside, key);
                }
            }
            Arrival::Reply {
                sent,
                bytes,
                is_good,
            } => {
                let Sent {
                    key,
                    socket,
                    at,
                    id,
                    asked,
                    ..
                } = &outside.sent[sent];
                let (key, at, of) = (*key, *at, (*asked, *id));
                if at < outside.renumbered {
                    return;
                }
                let (is_open, server) = (socket.get(), outside.sent[sent].server);
                if is_open {
                    if is_good || is_failure(&bytes) {
                        outside.heard[server] = Some(outside.now);
                    }
                    self.core.heard(outside, key, &bytes);
                } else if outside.now - at <= OPEN_FOR {
                    let age = outside.now - at;
                    outside.wrong(format!("a reply found its socket closed: after {age:?}"));
                } else {
                    outside.seen.too_late += 1;
                }
                let latest = outside.sent.iter().rev().find(|sent| sent.asked == of.0);
                let counts = is_good
                    && !outside.is_short()
                    && !outside.answered.contains(&of)
                    && latest.is_some_and(|latest| latest.id == of.1);
                if counts {
                    outside.answered.insert(of);
                    let waits =
                        |waiter: &&Waiter| waiter.asked == of.0 && waiter.answered.is_none();
                    if let Some(waiter) = outside.waiters.iter().find(waits).cloned() {
                        let taken = if is_open {
                            ""
                        } else {
                            ", as its socket was closed"
                        };
                        outside.wrong(format!("a good answer did not reach {waiter:?}{taken}"));
                    }
                }
            }
        }
    }

    fn ask(&mut self, name: u8, payload: Option<u16>) -> Client {
        let outside = &mut self.outside;
        let client = outside.waiters.len() as Client;
        let id = self.next_id;
        self.next_id = self.next_id.wrapping_add(1);
        let waiting = outside.waiting();
        outside.seen.queries += 1;
        outside.waiters.push(Waiter {
            number: client,
            asked: (name, payload.map(|payload| payload.min(1232))),
            id,
            since: outside.now,
            answered: None,
            failed: false,
        });
        let query = dns::query(id, name, payload);
        match self.core.ask(outside, client, &query) {
            Ok(()) if waiting >= MAX_WAITING => {
                outside.wrong(format!("{waiting} wait already, and one more was taken"));
            }
            Ok(()) => {}
            Err(rejected) => {
                let fair = match rejected {
                    Rejected::Full => waiting >= MAX_WAITING,
                    Rejected::NoServer => outside.listed.is_empty(),
                };
                if !fair {
                    outside.wrong(format!("{rejected:?} while {waiting} wait"));
                }
                outside.waiters[client as usize].answered = Some(outside.now);
            }
        }
        client
    }

    fn act(&mut self, action: Action) {
        let outside = &mut self.outside;
        match action {
            Action::Ask { name, edns } => {
                let payload = [None, Some(512), Some(1232), Some(4096)][usize::from(edns % 4)];
                self.ask(name, payload);
            }
            Action::Outage { ms } => outside.outage = outside.now + MS * u32::from(ms),
            Action::NetworkChanged { renumbered, times } => {
                outside.network_changes += 1;
                if renumbered {
                    outside.renumbered = outside.now;
                }
                for _ in 0..times {
                    self.core.network_changed(outside);
                }
            }
            Action::Servers(bits) => {
                let listed = (0..outside.links.len()).filter(|at| bits & 1 << at != 0);
                outside.listed = listed.collect();
                // One that comes back is another to the core.
                outside.changed.fill(outside.now);
                let servers: Vec<Server> = outside.listed.iter().copied().map(address).collect();
                self.core.set_servers(outside, &servers);
            }
            Action::Descriptors(limit) => {
                outside.descriptors = if limit == 0 { usize::MAX } else { limit.into() };
            }
            Action::Behaves { server, behaviour } => {
                let server = usize::from(server) % outside.links.len();
                outside.links[server].behaviour = behaviour;
                outside.changed[server] = outside.now;
            }
            Action::Slows { server, delay } => {
                let server = usize::from(server) % outside.links.len();
                outside.links[server].delay = delay;
                outside.changed[server] = outside.now;
            }
            Action::Forge => self.forge(),
        }
    }

    /// Replies that have all but one thing right, to every open socket: another
    /// id, another socket, another question. None of them may count.
    fn forge(&mut self) {
        let open: Vec<(SocketKey, u16, u8)> = self
            .outside
            .sent
            .iter()
            .filter(|sent| sent.socket.get())
            .map(|sent| (sent.key, sent.id, sent.asked.0))
            .collect();
        for &(key, id, name) in open.iter().rev().take(6) {
            let forged = |id, name| {
                let (mut reply, _) = dns::reply(&dns::query(id, name, None), Behaviour::Healthy, 0);
                let end = reply.len();
                reply[end - 4..].fill(0xee);
                reply
            };
            let shared = |id: u16| open.iter().any(|other| other.0 == key && other.1 == id);
            let other = id ^ (1 + self.outside.dice.below(0xffff) as u16);
            if !shared(other) {
                let reply = forged(other, name);
                self.core.heard(&mut self.outside, key, &reply);
            }
            let reply = forged(id, name.wrapping_add(1));
            self.core.heard(&mut self.outside, key, &reply);
            let elsewhere = open
                .iter()
                .find(|o| o.0 != key && !open.contains(&(o.0, id, name)));
            if let Some(&(elsewhere, ..)) = elsewhere {
                let reply = forged(id, name);
                self.core.heard(&mut self.outside, elsewhere, &reply);
            }
            self.outside.seen.forged += 3;
        }
    }

    fn check(&mut self) -> Result<(), String> {
        let now = self.outside.now;
        let waits_too_long =
            |waiter: &&Waiter| waiter.answered.is_none() && now - waiter.since > LIFETIME + SLACK;
        if let Some(waiter) = self.outside.waiters.iter().find(waits_too_long).cloned() {
            self.outside.wrong(format!("{waiter:?} waits for ever"));
        }
        match self.outside.wrong.take() {
            None => Ok(()),
            Some(wrong) => Err(wrong),
        }
    }

    /// The last disturbance is over: with healthy servers it soon answers at once,
    /// without a time-out.
    fn calm_down(&mut self) -> Result<(), String> {
        let outside = &mut self.outside;
        outside.descriptors = usize::MAX;
        outside.changed.fill(outside.now);
        for link in &mut outside.links {
            *link = Link {
                delay: Delay::Constant(1 + link.delay.worst().as_millis() as u16 % 400),
                behaviour: Behaviour::Healthy,
                loss: 0,
                doubled: 0,
                rate: None,
            };
        }
        self.act(Action::Servers(u8::MAX));
        let delays = self.outside.links.iter().map(|link| link.delay.worst());
        let worst = delays.max().expect("there are servers");
        for _ in 0..45 {
            self.ask(200, None);
            let until = self.outside.now + Duration::from_secs(1);
            self.pass(until)?;
        }
        let until = self.outside.now + LIFETIME + SLACK * 2;
        self.pass(until)?;
        let asked = self.outside.waiters.iter().rev().take(3);
        for waiter in asked {
            let took = waiter.answered.map(|answered| answered - waiter.since);
            if took.is_none_or(|took| took > worst + MS * 10) {
                return Err(format!(
                    "at peace, and an answer took {took:?}; the slowest server takes {worst:?}"
                ));
            }
        }
        let until = self.outside.now + Duration::from_secs(30);
        self.pass(until)?;
        let open = self.outside.open_sockets();
        if open > 0 {
            return Err(format!("{open} sockets are open though nothing happens"));
        }
        Ok(())
    }
}
