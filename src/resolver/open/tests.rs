//! Queries, servers and time, simulated: what each client gets, and when.

mod timing;

use std::collections::HashMap;

use super::*;
use crate::resolver::message::tests::{query, reply};
use crate::resolver::message::{Kind, REFUSED, SERVFAIL, classify};

const MS: Duration = Duration::from_millis(1);
const NXDOMAIN: u8 = 3;

/// How a simulated server behaves.
#[derive(Clone, Copy, PartialEq)]
enum Behaviour {
    Answers(u64, u8),
    Silent,
    /// ICMP port unreachable after a millisecond.
    Icmp,
    /// The kernel has no route.
    NoRoute,
}
use Behaviour::{Answers, Icmp, NoRoute, Silent};

enum Event {
    Reply(UpstreamId, Vec<u8>),
    Error(UpstreamId, SocketKey),
}

/// The world outside: servers, and what clients got.
#[derive(Default)]
struct World {
    servers: HashMap<String, Behaviour>,
    now: Option<Instant>,
    events: Vec<(Instant, Event)>,
    next_socket: SocketKey,
    open_sockets: HashMap<SocketKey, u32>,
    sent: Vec<(String, u16)>,
    replies: Vec<(u32, u16, u8, Instant)>,
    /// What to give out for random.
    numbers: Vec<u16>,
    counter: u16,
}

impl Wire for World {
    type Client = u32;

    fn send(&mut self, upstream: &Upstream, query: &[u8]) -> io::Result<SocketKey> {
        let now = self.now.unwrap();
        let name = upstream.server.to_string();
        self.sent.push((name.clone(), message::id(query)));
        let socket = self.next_socket;
        match self.servers[&name] {
            NoRoute => return Err(io::ErrorKind::NetworkUnreachable.into()),
            Silent => {}
            Icmp => self
                .events
                .push((now + MS, Event::Error(upstream.id, socket))),
            Answers(ms, rcode) => {
                let after = Duration::from_millis(ms);
                self.events
                    .push((now + after, Event::Reply(upstream.id, reply(query, rcode))));
            }
        }
        self.next_socket += 1;
        *self.open_sockets.entry(socket).or_default() += 1;
        Ok(socket)
    }

    fn release(&mut self, socket: SocketKey) {
        assert_eq!(
            self.open_sockets.remove(&socket),
            Some(1),
            "released what is not open"
        );
    }

    fn reply(&mut self, client: &u32, reply: &[u8]) {
        let now = self.now.unwrap();
        self.replies
            .push((*client, message::id(reply), message::rcode(reply), now));
    }

    fn give_up(&mut self, client: u32, query: Vec<u8>) {
        self.replies
            .push((client, message::id(&query), SERVFAIL, self.now.unwrap()));
    }

    fn random(&mut self) -> u16 {
        self.counter = self.counter.wrapping_add(7);
        self.numbers.pop().unwrap_or(self.counter)
    }
}

struct Lab {
    open: OpenQueries<u32>,
    world: World,
    start: Instant,
    now: Instant,
    next_client: u32,
}

fn server(name: &str) -> Server {
    name.parse().unwrap()
}

impl Lab {
    fn new(servers: &[(&str, Behaviour)]) -> Self {
        let now = Instant::now();
        let mut lab = Self {
            open: OpenQueries::new(150),
            world: World::default(),
            start: now,
            now,
            next_client: 0,
        };
        for (name, behaviour) in servers {
            lab.world.servers.insert((*name).into(), *behaviour);
        }
        lab.list(&servers.iter().map(|(name, _)| *name).collect::<Vec<_>>());
        lab
    }

    fn list(&mut self, names: &[&str]) {
        self.world.now = Some(self.now);
        let list: Vec<Server> = names.iter().map(|name| server(name)).collect();
        self.open.set_servers(self.now, &mut self.world, &list);
    }

    fn becomes(&mut self, name: &str, behaviour: Behaviour) {
        self.world.servers.insert(name.into(), behaviour);
    }

    fn try_ask(&mut self) -> Result<u32, Rejected> {
        let message = query(77, "vpn.example.org", 1, 1);
        let Kind::Relay(question) = classify(&message) else {
            panic!()
        };
        self.next_client += 1;
        self.world.now = Some(self.now);
        self.open
            .ask(
                self.now,
                &mut self.world,
                self.next_client,
                &message,
                question,
            )
            .map(|()| self.next_client)
    }

    fn ask(&mut self) -> u32 {
        self.try_ask().unwrap()
    }

    /// Lets time pass, event by event.
    fn run(&mut self, ms: u64) {
        let end = self.now + Duration::from_millis(ms);
        for _ in 0..100_000 {
            let event = self.world.events.iter().map(|(at, _)| *at).min();
            let next = [event, self.open.due()].into_iter().flatten().min();
            let Some(at) = next.filter(|at| *at <= end) else {
                self.now = end;
                return;
            };
            self.now = self.now.max(at);
            self.world.now = Some(self.now);
            if event == Some(at) {
                let first = self
                    .world
                    .events
                    .iter()
                    .position(|(when, _)| *when == at)
                    .unwrap();
                match self.world.events.remove(first).1 {
                    Event::Reply(from, mut reply) => {
                        self.open.heard(self.now, &mut self.world, from, &mut reply);
                    }
                    Event::Error(from, socket) => {
                        self.open.failed(self.now, &mut self.world, from, socket);
                    }
                }
            } else {
                self.open.tick(self.now, &mut self.world);
            }
        }
        panic!("time does not pass");
    }

    /// RCODE and milliseconds of the answer that the client got, once.
    fn answer(&self, client: u32, asked: Instant) -> Option<(u8, u128)> {
        let mut own = self.world.replies.iter().filter(|reply| reply.0 == client);
        let (_, id, rcode, at) = own.next()?;
        assert!(own.next().is_none(), "answered twice");
        assert_eq!(*id, 77, "the client's id");
        Some((*rcode, (*at - asked).as_millis()))
    }

    /// Asks `count` times, one after the other: errors, and the slowest.
    fn sequence(&mut self, count: usize) -> (usize, Vec<u128>) {
        let mut errors = 0;
        let mut times = Vec::new();
        for _ in 0..count {
            let asked = self.now;
            let client = self.ask();
            while self.answer(client, asked).is_none() && self.now - asked < LIFETIME * 2 {
                self.run(1);
            }
            let (rcode, time) = self.answer(client, asked).unwrap();
            errors += usize::from(rcode != 0);
            times.push(time);
        }
        (errors, times)
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
fn after_all_were_dead_the_first_to_return_answers_all_at_once() {
    for death in [Silent, Icmp, NoRoute] {
        let mut lab = Lab::new(&[(A, death), (B, death), (C, death)]);
        let old = lab.ask();
        let asked = lab.now;
        lab.run(4000);
        let waiting: Vec<u32> = (0..20).map(|_| lab.ask()).collect();
        lab.run(4000);
        let (rcode, time) = lab.answer(old, asked).unwrap();
        // It is looked at when the next repetition is due.
        let end = LIFETIME.as_millis()..=(LIFETIME + RETRY).as_millis();
        assert!(rcode == SERVFAIL && end.contains(&time), "{time}");
        lab.becomes(B, Answers(2, 0));
        let back = lab.now;
        lab.run(200);
        for client in waiting {
            let (rcode, time) = lab.answer(client, back).unwrap();
            assert!(rcode == 0 && time <= 60, "{time}");
        }
        assert!(
            lab.world.open_sockets.len() <= 60,
            "{}",
            lab.world.open_sockets.len()
        );
    }
}

#[test]
fn dead_servers_are_retried_in_turn_and_not_by_every_query() {
    let mut lab = Lab::new(&[(A, Silent)]);
    for _ in 0..100 {
        lab.ask();
    }
    lab.run(1100);
    lab.world.sent.clear();
    lab.run(2000);
    let count = lab.world.sent.len();
    assert!((30..=41).contains(&count), "{count} packets in 2 s");
}

#[test]
fn a_slow_server_is_not_flooded() {
    let mut lab = Lab::new(&[(A, Answers(3, 0))]);
    lab.sequence(10);
    lab.becomes(A, Answers(900, 0));
    lab.world.sent.clear();
    let asked = lab.now;
    let client = lab.ask();
    lab.run(1500);
    assert_eq!(lab.answer(client, asked), Some((0, 900)));
    assert!(lab.world.sent.len() <= 6, "{}", lab.world.sent.len());
}

#[test]
fn a_failure_is_passed_on_when_no_server_has_better() {
    let mut lab = Lab::new(&[(A, Answers(1, SERVFAIL)), (B, Answers(1, REFUSED))]);
    let asked = lab.now;
    let client = lab.ask();
    lab.run(100);
    let (rcode, time) = lab.answer(client, asked).unwrap();
    assert!(matches!(rcode, SERVFAIL | REFUSED) && time <= 5);

    // One that is silent might still know better, for a while.
    let mut lab = Lab::new(&[(A, Answers(1, REFUSED)), (B, Silent)]);
    let asked = lab.now;
    let client = lab.ask();
    lab.run(1000);
    assert_eq!(
        lab.answer(client, asked),
        Some((REFUSED, HOLD_FAILURE.as_millis()))
    );
}

#[test]
fn what_a_name_deserves_is_no_failure() {
    for rcode in [0, 1, NXDOMAIN, 4] {
        let mut lab = Lab::new(&[(A, Answers(1, rcode)), (B, Answers(50, 0))]);
        let asked = lab.now;
        let client = lab.ask();
        lab.run(100);
        assert_eq!(lab.answer(client, asked), Some((rcode, 1)));
    }
}

#[test]
fn late_duplicate_and_forged_replies_change_nothing() {
    let mut lab = Lab::new(&[(A, Silent), (B, Silent)]);
    let asked = lab.now;
    let client = lab.ask();
    let ids: Vec<UpstreamId> = lab.open.upstreams.list().iter().map(|u| u.id).collect();
    let id = lab.world.sent[0].1;
    let good = reply(&query(id, "vpn.example.org", 1, 1), 0);
    let mut hears = |from, bytes: &[u8]| {
        let mut bytes = bytes.to_vec();
        lab.open.heard(lab.now, &mut lab.world, from, &mut bytes)
    };
    assert!(
        !hears(ids[0], &reply(&query(id ^ 1, "vpn.example.org", 1, 1), 0)),
        "id"
    );
    assert!(
        !hears(ids[0], &reply(&query(id, "vpn.example.com", 1, 1), 0)),
        "name"
    );
    assert!(
        !hears(ids[0], &reply(&query(id, "vpn.example.org", 28, 1), 0)),
        "type"
    );
    assert!(
        !hears(ids[0], &query(id, "vpn.example.org", 1, 1)),
        "a query"
    );
    assert!(!hears(ids[0], &good[..11]), "cut");
    let mut other = Upstreams::default();
    other.set(&[server(A), server(B), server(C)], lab.now);
    assert!(!hears(other.list()[2].id, &good), "source");
    assert!(hears(ids[0], &good));
    assert!(!hears(ids[0], &good), "again");
    assert_eq!(lab.answer(client, asked), Some((0, 0)));
    // A second server's late reply is heard, for its health, and not passed on.
    let mut late = good.clone();
    assert!(lab.open.heard(lab.now, &mut lab.world, ids[1], &mut late));
    assert_eq!(lab.answer(client, asked), Some((0, 0)));
    assert!(lab.world.open_sockets.is_empty());
    assert!(
        !lab.open.heard(lab.now, &mut lab.world, ids[1], &mut late),
        "closed"
    );
}

#[test]
fn a_list_that_changes_loses_nothing() {
    let mut lab = Lab::new(&[(A, Silent), (B, Answers(5, 0))]);
    lab.list(&[A]);
    let asked = lab.now;
    let client = lab.ask();
    lab.run(300);
    lab.list(&[]);
    lab.run(300);
    assert_eq!(lab.answer(client, asked), None);
    assert_eq!(lab.try_ask(), Err(Rejected::NoServer));
    lab.list(&[B]);
    lab.run(10);
    assert_eq!(lab.answer(client, asked), Some((0, 605)));
    assert!(lab.world.open_sockets.is_empty());
}

#[test]
fn servers_that_stay_keep_what_is_known_of_them() {
    let mut lab = Lab::new(&[(A, Answers(2, 0)), (B, Answers(2, 0))]);
    lab.sequence(3);
    let known = |lab: &Lab, at: usize| lab.open.upstreams.list()[at].usual.is_some();
    assert!(known(&lab, 0));
    lab.world.servers.insert(C.into(), Silent);
    lab.list(&[C, A]);
    assert!(!known(&lab, 0) && known(&lab, 1));
}

#[test]
fn a_changed_network_sends_what_waits_again_at_once() {
    let mut lab = Lab::new(&[(A, Answers(2, 0))]);
    lab.sequence(3);
    lab.becomes(A, Silent);
    let asked = lab.now;
    let client = lab.ask();
    lab.run(700);
    lab.becomes(A, Answers(2, 0));
    lab.world.now = Some(lab.now);
    lab.open.network_changed(lab.now, &mut lab.world);
    lab.run(5);
    assert_eq!(lab.answer(client, asked), Some((0, 702)));
}

#[test]
fn a_dead_server_is_noticed_when_it_returns() {
    let mut lab = Lab::new(&[(A, Silent), (B, Answers(30, 0))]);
    lab.sequence(20);
    lab.becomes(A, Answers(2, 0));
    lab.run(3000);
    lab.sequence(2);
    lab.run(500);
    let (_, times) = lab.sequence(5);
    assert!(times.iter().all(|time| *time <= 3), "{times:?}");
}

#[test]
fn no_more_than_allowed_wait_and_all_end() {
    let mut lab = Lab::new(&[(A, Silent)]);
    for _ in 0..150 {
        lab.ask();
    }
    assert_eq!(lab.try_ask(), Err(Rejected::Full));
    lab.run(6000);
    assert_eq!(lab.world.replies.len(), 150);
    assert!(lab.world.replies.iter().all(|reply| reply.2 == SERVFAIL));
    assert!(lab.world.open_sockets.is_empty() && lab.open.due().is_none());
    lab.becomes(A, Answers(1, 0));
    let asked = lab.now;
    let client = lab.ask();
    lab.run(100);
    assert_eq!(lab.answer(client, asked), Some((0, 1)));
    assert!(lab.now - lab.start > LIFETIME);
}

#[test]
fn ids_are_not_used_again_soon() {
    let mut lab = Lab::new(&[(A, Answers(1, 0))]);
    // A poor source that repeats itself.
    lab.world.numbers = (0..1000).rev().flat_map(|n| [n / 2, n, n]).collect();
    for _ in 0..200 {
        lab.ask();
        lab.run(2);
    }
    let ids: std::collections::HashSet<u16> = lab.world.sent.iter().map(|sent| sent.1).collect();
    assert_eq!(ids.len(), 200);
}
