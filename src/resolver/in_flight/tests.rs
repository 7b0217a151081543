//! Queries, servers, sockets and time, simulated: what each client gets, and when.
//!
//! The world loses what a real one loses: a reply to a socket that is closed is
//! gone, and makes the kernel send an ICMP error.

mod failing;
mod sharing;
mod slow;

use std::collections::HashMap;

use super::*;
use crate::resolver::message::tests::{query, reply};
use crate::resolver::message::{Kind, REFUSED, SERVFAIL, classify};
use crate::resolver::pool::Pool;

const MS: Duration = Duration::from_millis(1);
const NXDOMAIN: u8 = 3;
const NAME: &str = "vpn.example.org";

/// How a simulated server behaves.
#[derive(Clone, Copy, PartialEq)]
enum Behaviour {
    /// After so many milliseconds, with this RCODE.
    Answers(u64, u8),
    /// The same, and the same once more.
    Twice(u64, u64),
    Silent,
    /// Every other query is lost.
    LosesHalf(u64),
    /// ICMP port unreachable after a millisecond.
    Icmp,
    /// The kernel has no route.
    NoRoute,
}
use Behaviour::{Answers, Icmp, LosesHalf, NoRoute, Silent, Twice};

enum Event {
    Reply(SocketKey, Vec<u8>),
    Error(SocketKey),
}

/// The world outside: servers, sockets, and what clients got.
struct World {
    servers: HashMap<String, Behaviour>,
    now: Instant,
    events: Vec<(Instant, Event)>,
    pool: Pool<()>,
    sent: Vec<(String, u16, Instant, SocketKey)>,
    /// The ids of queries that the kernel has not sent.
    unsent: Vec<u16>,
    replies: Vec<(u32, u16, u8, Instant)>,
    /// Replies that found their socket closed.
    lost: usize,
    /// As if there were no other.
    only_socket: Option<SocketKey>,
    /// What to give out for random.
    numbers: Vec<u16>,
    counter: u16,
}

impl Transport for World {
    type Client = u32;

    fn send(&mut self, upstream: &Upstream, query: &[u8]) -> io::Result<SocketKey> {
        let name = upstream.server.to_string();
        let behaviour = self.servers[&name];
        if behaviour == NoRoute {
            self.unsent.push(message::id(query));
            return Err(io::ErrorKind::NetworkUnreachable.into());
        }
        let choice = self.random();
        let taken = self.pool.take(self.now, upstream.id, choice, |_| Ok(()))?;
        let socket = self.only_socket.unwrap_or(taken.key);
        let count = self.sent.iter().filter(|sent| sent.0 == name).count();
        self.sent.push((name, message::id(query), self.now, socket));
        let mut answer = |ms: u64, rcode| {
            let event = Event::Reply(socket, reply(query, rcode));
            self.events
                .push((self.now + Duration::from_millis(ms), event));
        };
        match behaviour {
            Answers(ms, rcode) => answer(ms, rcode),
            Twice(ms, later) => [ms, later].into_iter().for_each(|ms| answer(ms, 0)),
            LosesHalf(ms) if count % 2 == 1 => answer(ms, 0),
            Icmp => self.events.push((self.now + MS, Event::Error(socket))),
            Silent | NoRoute | LosesHalf(_) => {}
        }
        Ok(socket)
    }

    fn reply(&mut self, client: &u32, reply: &[u8]) {
        let (id, rcode) = (message::id(reply), message::rcode(reply));
        self.replies.push((*client, id, rcode, self.now));
    }

    fn give_up(&mut self, client: u32, query: Vec<u8>) {
        self.replies
            .push((client, message::id(&query), SERVFAIL, self.now));
    }

    fn random(&mut self) -> u16 {
        self.counter = self.counter.wrapping_mul(25173).wrapping_add(13849);
        self.numbers.pop().unwrap_or(self.counter)
    }
}

impl World {
    fn sent_to(&self, name: &str) -> usize {
        self.sent.iter().filter(|sent| sent.0 == name).count()
    }
}

struct Lab {
    in_flight: InFlight<u32>,
    world: World,
    now: Instant,
    /// Of each client, when it asked and with which id.
    clients: Vec<(Instant, u16)>,
}

fn server(name: &str) -> Server {
    name.parse().unwrap()
}

impl Lab {
    fn new(servers: &[(&str, Behaviour)]) -> Self {
        let now = Instant::now();
        let mut lab = Self {
            in_flight: InFlight::new(150),
            world: World {
                servers: HashMap::new(),
                now,
                events: Vec::new(),
                pool: Pool::new(),
                sent: Vec::new(),
                unsent: Vec::new(),
                replies: Vec::new(),
                lost: 0,
                only_socket: None,
                numbers: Vec::new(),
                counter: 1,
            },
            now,
            clients: Vec::new(),
        };
        for (name, behaviour) in servers {
            lab.becomes(name, *behaviour);
        }
        lab.list(&servers.iter().map(|(name, _)| *name).collect::<Vec<_>>());
        lab
    }

    fn list(&mut self, names: &[&str]) {
        let list: Vec<Server> = names.iter().map(|name| server(name)).collect();
        self.in_flight.set_servers(self.now, &mut self.world, &list);
    }

    fn becomes(&mut self, name: &str, behaviour: Behaviour) {
        self.world.servers.insert(name.into(), behaviour);
    }

    fn network_changes(&mut self) {
        self.in_flight.network_changed(self.now, &mut self.world);
    }

    fn try_ask_for(&mut self, name: &str) -> Result<u32, Rejected> {
        let client = self.clients.len() as u32;
        let id = 77 + client as u16;
        let message = query(id, name, 1, 1);
        let Kind::Relay(question) = classify(&message) else {
            panic!()
        };
        self.clients.push((self.now, id));
        self.in_flight
            .ask(self.now, &mut self.world, client, &message, question)
            .map(|()| client)
    }

    /// Another question than all others.
    fn try_ask(&mut self) -> Result<u32, Rejected> {
        self.try_ask_for(&format!("n{}.example.org", self.clients.len()))
    }

    fn ask(&mut self) -> u32 {
        self.try_ask().unwrap()
    }

    fn ask_for(&mut self, name: &str) -> u32 {
        self.try_ask_for(name).unwrap()
    }

    /// Lets time pass, event by event.
    fn run(&mut self, ms: u64) {
        let end = self.now + Duration::from_millis(ms);
        for _ in 0..100_000 {
            let event = self.world.events.iter().map(|(at, _)| *at).min();
            let pool = self.world.pool.due();
            let next = [event, self.in_flight.due(), pool].into_iter().flatten();
            let Some(at) = next.min().filter(|at| *at <= end) else {
                self.now = end;
                self.world.now = end;
                return;
            };
            self.now = self.now.max(at);
            self.world.now = self.now;
            if event == Some(at) {
                let mut events = self.world.events.iter();
                let first = events.position(|(when, _)| *when == at).unwrap();
                let event = self.world.events.remove(first).1;
                self.happens(event);
            } else if self.in_flight.due() == Some(at) {
                self.in_flight.tick(self.now, &mut self.world);
            } else {
                self.world.pool.tick(self.now);
            }
        }
        panic!("time does not pass");
    }

    fn happens(&mut self, event: Event) {
        let (Event::Reply(socket, _) | Event::Error(socket)) = event;
        if self.world.pool.get(socket).is_none() {
            self.world.lost += 1;
            return;
        }
        match event {
            Event::Reply(socket, mut reply) => {
                let world = &mut self.world;
                if self.in_flight.heard(self.now, world, socket, &mut reply) {
                    self.world.pool.answered(socket);
                }
            }
            Event::Error(socket) => self.in_flight.failed(self.now, &mut self.world, socket),
        }
    }

    /// RCODE and milliseconds of the answer that the client got, once.
    fn answer(&self, client: u32) -> Option<(u8, u128)> {
        let mut own = self.world.replies.iter().filter(|reply| reply.0 == client);
        let (_, id, rcode, at) = own.next()?;
        assert!(own.next().is_none(), "answered twice");
        let (asked, own_id) = self.clients[client as usize];
        assert_eq!(*id, own_id, "the client's id");
        Some((*rcode, (*at - asked).as_millis()))
    }

    /// Asks `count` times, one after the other: errors, and the times.
    fn sequence(&mut self, count: usize) -> (usize, Vec<u128>) {
        let mut errors = 0;
        let mut times = Vec::new();
        for _ in 0..count {
            let client = self.ask();
            let asked = self.now;
            while self.answer(client).is_none() && self.now - asked < LIFETIME * 2 {
                self.run(1);
            }
            let (rcode, time) = self.answer(client).unwrap();
            errors += usize::from(rcode != 0);
            times.push(time);
        }
        (errors, times)
    }

    fn upstream(&self, at: usize) -> &Upstream {
        &self.in_flight.upstreams.list()[at]
    }
}

const A: &str = "192.0.2.1";
const B: &str = "192.0.2.2";
const C: &str = "192.0.2.3";

#[test]
fn one_bad_server_first_costs_nothing() {
    for bad in [
        Silent,
        Icmp,
        NoRoute,
        Answers(1, SERVFAIL),
        Answers(1, REFUSED),
    ] {
        let mut lab = Lab::new(&[(A, bad), (B, Answers(2, 0)), (C, Answers(2, 0))]);
        let (errors, times) = lab.sequence(200);
        assert_eq!(errors, 0);
        assert!(times.iter().all(|time| *time <= 4), "{times:?}");
    }
}

#[test]
fn two_bad_servers_first_cost_nothing() {
    for (one, two) in [
        (Silent, Silent),
        (Silent, Answers(1, REFUSED)),
        (Icmp, Silent),
    ] {
        let mut lab = Lab::new(&[(A, one), (B, two), (C, Answers(2, 0))]);
        let (errors, times) = lab.sequence(200);
        assert_eq!(errors, 0);
        assert!(times.iter().all(|time| *time <= 4), "{times:?}");
    }
}

#[test]
fn the_preferred_server_dies_and_one_answer_is_late() {
    for death in [Silent, Icmp, NoRoute] {
        let mut lab = Lab::new(&[(A, Answers(2, 0)), (B, Answers(2, 0)), (C, Answers(2, 0))]);
        lab.sequence(100);
        lab.becomes(A, death);
        let (errors, times) = lab.sequence(100);
        assert_eq!(errors, 0);
        let late: Vec<_> = times.iter().filter(|time| **time > 4).collect();
        assert!(
            late.len() <= 1 && late.iter().all(|time| **time < 50),
            "{times:?}"
        );
    }
}

#[test]
fn the_next_server_is_not_asked_before_the_best_had_its_time() {
    let mut lab = Lab::new(&[(A, Answers(2, 0)), (B, Answers(2, 0))]);
    lab.sequence(10);
    lab.becomes(A, Answers(20, 0));
    lab.world.sent.clear();
    let client = lab.ask();
    lab.run(30);
    assert_eq!(lab.answer(client), Some((0, 20)));
    assert_eq!(lab.world.sent.len(), 1);
}

#[test]
fn what_the_kernel_says_of_a_server_is_taken_at_once() {
    let mut lab = Lab::new(&[(A, Answers(2, 0)), (B, Answers(2, 0))]);
    lab.sequence(100);
    lab.becomes(A, Icmp);
    let (_, times) = lab.sequence(1);
    assert_eq!(times, [3]);
    assert_eq!(lab.upstream(0).state, State::Unreachable);
    assert_eq!(lab.upstream(1).state, State::Up);
}

#[test]
fn late_duplicate_and_forged_replies_change_nothing() {
    let mut lab = Lab::new(&[(A, Silent), (B, Silent)]);
    let client = lab.ask_for(NAME);
    let (_, id, _, socket) = lab.world.sent[0].clone();
    let other_socket = lab.world.sent[1].3;
    let good = reply(&query(id, NAME, 1, 1), 0);
    let mut hears = |socket, bytes: &[u8]| {
        let mut bytes = bytes.to_vec();
        lab.in_flight
            .heard(lab.now, &mut lab.world, socket, &mut bytes)
    };
    assert!(!hears(socket, &reply(&query(id ^ 1, NAME, 1, 1), 0)), "id");
    let other_name = reply(&query(id, "vpn.example.com", 1, 1), 0);
    assert!(!hears(socket, &other_name), "name");
    assert!(!hears(socket, &reply(&query(id, NAME, 28, 1), 0)), "type");
    assert!(!hears(socket, &query(id, NAME, 1, 1)), "a query");
    assert!(!hears(socket, &good[..11]), "cut");
    let mut bare = reply(&query(id, NAME, 1, 1), NXDOMAIN);
    bare[5] = 0;
    bare.truncate(12);
    assert!(!hears(socket, &bare), "NXDOMAIN of nothing");
    // Of another query's socket, or of none.
    assert!(!hears(socket ^ other_socket ^ 99, &good), "socket");
    assert!(hears(socket, &good));
    assert!(!hears(socket, &good), "again");
    assert_eq!(lab.answer(client), Some((0, 0)));
    // A second server's late reply is heard, for its health, and not passed on.
    let mut late = good.clone();
    let world = &mut lab.world;
    assert!(lab.in_flight.heard(lab.now, world, other_socket, &mut late));
    assert!(!lab.in_flight.heard(lab.now, world, other_socket, &mut late));
    assert_eq!(lab.answer(client), Some((0, 0)));
}

#[test]
fn a_reply_counts_only_on_the_socket_of_its_query() {
    let mut lab = Lab::new(&[(A, Silent)]);
    let clients = [lab.ask(), lab.ask()];
    let sockets = [lab.world.sent[0].3, lab.world.sent[1].3];
    assert_ne!(sockets[0], sockets[1]);
    for (client, (socket, counts)) in [(0, (1, false)), (0, (0, true)), (1, (0, false))] {
        let id = lab.world.sent[client].1;
        let name = format!("n{client}.example.org");
        let mut bytes = reply(&query(id, &name, 1, 1), 0);
        let world = &mut lab.world;
        let taken = lab
            .in_flight
            .heard(lab.now, world, sockets[socket], &mut bytes);
        assert_eq!(taken, counts, "query {client}, socket {socket}");
    }
    assert!(lab.answer(clients[0]).is_some() && lab.answer(clients[1]).is_none());
}

#[test]
fn a_list_that_changes_loses_nothing() {
    let mut lab = Lab::new(&[(A, Silent), (B, Answers(5, 0))]);
    lab.list(&[A]);
    let client = lab.ask();
    lab.run(300);
    lab.list(&[]);
    lab.run(300);
    assert_eq!(lab.answer(client), None);
    assert_eq!(lab.try_ask(), Err(Rejected::NoServer));
    lab.list(&[B]);
    lab.run(10);
    assert_eq!(lab.answer(client), Some((0, 605)));
}

#[test]
fn a_server_that_left_the_list_still_answers_what_it_was_asked() {
    let mut lab = Lab::new(&[(A, Answers(300, 0)), (B, Silent)]);
    lab.list(&[A]);
    let client = lab.ask();
    lab.run(10);
    lab.list(&[B]);
    lab.run(1000);
    assert_eq!(lab.answer(client), Some((0, 300)));
    assert_eq!(lab.world.lost, 0);
}

#[test]
fn servers_that_stay_keep_what_is_known_of_them() {
    let mut lab = Lab::new(&[(A, Answers(2, 0)), (B, Answers(2, 0))]);
    lab.sequence(3);
    let known = |lab: &Lab, at: usize| lab.upstream(at).srtt.is_some();
    assert!(known(&lab, 0));
    lab.becomes(C, Silent);
    lab.list(&[C, A]);
    assert!(!known(&lab, 0) && known(&lab, 1));
}

#[test]
fn no_more_than_allowed_wait_and_all_end() {
    let mut lab = Lab::new(&[(A, Silent)]);
    for _ in 0..150 {
        lab.ask();
    }
    assert_eq!(lab.try_ask(), Err(Rejected::Full));
    lab.run(4999);
    assert!(lab.world.replies.is_empty());
    lab.run(2);
    assert_eq!(lab.world.replies.len(), 150);
    assert!(lab.world.replies.iter().all(|reply| reply.2 == SERVFAIL));
    lab.run(20_000);
    assert!(lab.in_flight.due().is_none() && lab.in_flight.queries.is_empty());
    lab.becomes(A, Answers(1, 0));
    let client = lab.ask();
    lab.run(100);
    assert_eq!(lab.answer(client), Some((0, 1)));
}

#[test]
fn what_lingers_never_keeps_a_client_out_and_is_bounded() {
    let mut lab = Lab::new(&[(A, Answers(1, 0)), (B, Silent), (C, Silent)]);
    for round in 0..20 {
        // Nothing is known of them any more, so B owes an answer to each query.
        lab.list(&[C]);
        lab.list(&[A, B]);
        for _ in 0..150 {
            assert!(lab.try_ask().is_ok(), "round {round}");
        }
        assert!(matches!(lab.try_ask(), Err(Rejected::Full)));
        lab.run(40);
        let lingering = lab.in_flight.queries.len();
        assert!((150..=300).contains(&lingering), "{lingering}");
    }
}

#[test]
fn ids_are_not_used_again_soon() {
    let mut lab = Lab::new(&[(A, Answers(1, 0))]);
    // A poor source that repeats itself; every query draws for its socket, too.
    lab.world.numbers = (0..1000).rev().flat_map(|n| [n, n / 2, n]).collect();
    for _ in 0..200 {
        lab.ask();
        lab.run(2);
    }
    let ids: std::collections::HashSet<u16> = lab.world.sent.iter().map(|sent| sent.1).collect();
    assert_eq!(ids.len(), 200);
}
