//! How much longer a look-up takes than it must, in each kind of weather: beside the
//! core as shipped, dnsmasq's policy in a few lines.
//!
//! What it must take is what the ideal forwarder takes, which asks every server at
//! once, and again every second, and hears the first good answer. The nth query of a
//! name to a server fares the same with all three.

use std::fmt::Write;
use std::time::Duration;

use super::weather::{self, Behaviour, Delay, Link};
use super::world::World;
use super::{Action, Scenario};

/// How often a client asks, and when it asks again for what was not answered
/// (resolv.conf(5)): glibc, musl and dig wait 5 s, twice.
const EVERY: Duration = Duration::from_secs(1);
const RETRY: Duration = Duration::from_secs(5);
const QUERIES: u8 = 60;
const CHANCE: u64 = 7;

/// One kind of weather.
struct Weather {
    name: &'static str,
    links: Vec<Link>,
    /// From when to when nothing passes, in seconds.
    outage: Option<(u64, u64)>,
    /// The first server is silent from then on.
    first_dies: Option<u64>,
}

fn link(delay: Delay) -> Link {
    Link {
        delay,
        behaviour: Behaviour::Healthy,
        loss: 0,
        doubled: 0,
        rate: None,
    }
}

fn weathers() -> Vec<Weather> {
    let weather = |name, links: &[Link]| Weather {
        name,
        links: links.to_vec(),
        outage: None,
        first_dies: None,
    };
    let constant = |ms| link(Delay::Constant(ms));
    let lossy = |ms, loss| Link {
        loss,
        ..constant(ms)
    };
    let behaves = |ms, behaviour| Link {
        behaviour,
        ..constant(ms)
    };
    vec![
        weather("clear: 20 ms", &[constant(20)]),
        weather("DSL that is full: 200 ms", &[constant(200)]),
        weather("satellite: 600 ms", &[constant(600)]),
        weather("900 ms", &[constant(900)]),
        weather("2 s", &[constant(2000)]),
        weather("jitter: 50 to 450 ms", &[link(Delay::Jittered(50, 400))]),
        weather("20 or 800 ms", &[link(Delay::Bimodal(20, 800))]),
        weather("growing: 20 ms to 1.5 s", &[link(Delay::Growing(20, 1500))]),
        weather("5 % lost, 30 ms", &[lossy(30, 3)]),
        weather("50 % lost, 600 ms", &[lossy(600, 29)]),
        weather(
            "three servers, 20 % lost",
            &[lossy(20, 10), lossy(40, 10), lossy(60, 10)],
        ),
        weather(
            "the first of three is dead",
            &[behaves(20, Behaviour::Silent), constant(30), constant(40)],
        ),
        weather(
            "the first of two: SERVFAIL",
            &[behaves(20, Behaviour::Servfail), constant(30)],
        ),
        weather(
            "the first of two: lame",
            &[behaves(20, Behaviour::Lame), constant(30)],
        ),
        weather(
            "the first of two: ICMP",
            &[behaves(20, Behaviour::Closed), constant(30)],
        ),
        Weather {
            first_dies: Some(20),
            ..weather("the first of two dies", &[constant(20), constant(40)])
        },
        Weather {
            outage: Some((20, 30)),
            ..weather("10 s outage, 30 ms", &[constant(30)])
        },
        Weather {
            outage: Some((20, 30)),
            ..weather("10 s outage, two, 600 ms", &[constant(600), constant(650)])
        },
    ]
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Said {
    Answer,
    Failure,
    /// A failure that dnsmasq takes for an answer.
    Nonsense,
}

impl Weather {
    /// When a reply comes to the nth query of a name that is sent at a time.
    fn reply(&self, server: usize, name: u8, nth: usize, at: Duration) -> Option<(Duration, Said)> {
        let mut link = self.links[server];
        let is_out = |at: Duration| {
            self.outage
                .is_some_and(|(from, to)| (from..to).contains(&at.as_secs()))
        };
        if server == 0 && self.first_dies.is_some_and(|dies| at.as_secs() >= dies) {
            link.behaviour = Behaviour::Silent;
        }
        if is_out(at) {
            return None;
        }
        let mut luck = weather::luck(CHANCE, name, server, nth);
        let delay = link.fate(at, &mut luck).into_iter().min()?;
        let said = match link.behaviour {
            // dnsmasq hears no ICMP.
            Behaviour::Closed => return None,
            Behaviour::Servfail | Behaviour::Refused => Said::Failure,
            Behaviour::Lame | Behaviour::Notimp => Said::Nonsense,
            _ => Said::Answer,
        };
        (!is_out(at + delay)).then_some((at + delay, said))
    }

    /// Asks all, every second, for 10 s.
    fn ideal(&self, name: u8, at: Duration) -> Option<Duration> {
        let sends = (0..10_usize).map(|nth| (nth, at + EVERY * nth as u32));
        let replies = sends.flat_map(|(nth, at)| {
            (0..self.links.len()).filter_map(move |server| self.reply(server, name, nth, at))
        });
        let good = replies.filter(|(_, said)| *said == Said::Answer);
        good.map(|(when, _)| when - at).min()
    }

    /// forward.c of dnsmasq 2.90: the server that answered last, all of them every
    /// 50 queries or 20 s (FORWARD_TEST, FORWARD_TIME), after SERVFAIL or REFUSED,
    /// and when the client asks again.
    fn dnsmasq(&self) -> Vec<Option<Duration>> {
        let all: Vec<usize> = (0..self.links.len()).collect();
        let (mut last, mut count, mut tested) = (None, 0, Duration::ZERO);
        let mut times = Vec::new();
        for name in 0..QUERIES {
            let asked = EVERY * u32::from(name);
            count += 1;
            let is_test = count > 50 || asked - tested > Duration::from_secs(20);
            let first = match last {
                Some(server) if !is_test => vec![server],
                _ => {
                    (count, tested) = (0, asked);
                    all.clone()
                }
            };
            let rounds = [(asked, first), (asked + RETRY, all.clone())];
            let mut heard: Vec<(Duration, Said, usize)> = Vec::new();
            for (nth, (at, servers)) in rounds.iter().enumerate() {
                for &server in servers {
                    let Some((when, said)) = self.reply(server, name, nth, *at) else {
                        continue;
                    };
                    heard.push((when, said, server));
                    if said == Said::Failure && servers.len() == 1 {
                        let others = all.iter().filter(|other| **other != server);
                        heard.extend(others.filter_map(|&other| {
                            let (when, said) = self.reply(other, name, 0, when)?;
                            Some((when, said, other))
                        }));
                    }
                }
            }
            heard.retain(|(when, ..)| *when < asked + RETRY * 2);
            let good = heard
                .iter()
                .filter(|(_, said, _)| *said != Said::Failure)
                .min_by_key(|(when, ..)| *when);
            if let Some((_, _, server)) = good {
                last = Some(*server);
            }
            let answer = good.filter(|(_, said, _)| *said == Said::Answer);
            times.push(answer.map(|(when, ..)| *when - asked));
        }
        times
    }

    /// The core as shipped. A client asks again when it is told of a failure.
    fn ours(&self) -> Vec<Option<Duration>> {
        let mut steps: Vec<(Duration, Action)> = Vec::new();
        let ask = |name| Action::Ask { name, edns: 0 };
        for name in 0..QUERIES {
            let asked = EVERY * u32::from(name);
            steps.push((asked, ask(name)));
            steps.push((asked + RETRY + Duration::from_millis(1), ask(name)));
        }
        if let Some((from, to)) = self.outage {
            let ms = ((to - from) * 1000) as u16;
            steps.push((Duration::from_secs(from), Action::Outage { ms }));
        }
        if let Some(dies) = self.first_dies {
            let behaviour = Behaviour::Silent;
            steps.push((
                Duration::from_secs(dies),
                Action::Behaves {
                    server: 0,
                    behaviour,
                },
            ));
        }
        steps.sort_by_key(|(at, action)| (*at, matches!(action, Action::Ask { .. })));
        let mut now = Duration::ZERO;
        let steps = steps.into_iter().map(|(at, action)| {
            let pause = at - std::mem::replace(&mut now, at);
            (pause.as_millis() as u16, action)
        });
        let scenario = Scenario {
            links: self.links.clone(),
            steps: steps.collect(),
            chance: CHANCE,
        };
        let times = World::new(&scenario).times(&scenario).unwrap();
        let of_name = |name: u8| {
            let asked = EVERY * u32::from(name);
            let again = asked + RETRY + Duration::from_millis(1);
            let both = times
                .iter()
                .filter(move |(at, _)| *at == asked || *at == again);
            both.filter_map(|(_, answered)| *answered)
                .min()
                .map(|at| at - asked)
        };
        (0..QUERIES).map(of_name).collect()
    }
}

/// Median and worst of what it took beyond the ideal, and how many were never
/// answered though the ideal forwarder was.
struct Extra {
    median: Duration,
    worst: Duration,
    failed: usize,
}

fn extra(times: &[Option<Duration>], ideal: &[Option<Duration>]) -> Extra {
    let pairs = || times.iter().zip(ideal);
    let mut extra: Vec<Duration> = pairs()
        .filter_map(|(time, ideal)| Some(time.as_ref()?.saturating_sub((*ideal)?)))
        .collect();
    extra.sort_unstable();
    Extra {
        median: extra.get(extra.len() / 2).copied().unwrap_or_default(),
        worst: extra.last().copied().unwrap_or_default(),
        failed: pairs()
            .filter(|(time, ideal)| time.is_none() && ideal.is_some())
            .count(),
    }
}

/// The table; and never much worse than dnsmasq's policy.
#[test]
fn in_every_weather() {
    let mut table = String::from(
        "| weather (60 look-ups) | ideal, median ms | ours: extra ms, median / worst | failed | dnsmasq's policy: extra | failed |\n\
         |---|---|---|---|---|---|\n",
    );
    let mut worse = Vec::new();
    for weather in weathers() {
        let ideal: Vec<Option<Duration>> = (0..QUERIES)
            .map(|name| weather.ideal(name, EVERY * u32::from(name)))
            .collect();
        let mut known: Vec<Duration> = ideal.iter().flatten().copied().collect();
        known.sort_unstable();
        let (ours, theirs) = (weather.ours(), weather.dnsmasq());
        let (ours, theirs) = (extra(&ours, &ideal), extra(&theirs, &ideal));
        let _ = writeln!(
            table,
            "| {} | {} | {} / {} | {} | {} / {} | {} |",
            weather.name,
            known[known.len() / 2].as_millis(),
            ours.median.as_millis(),
            ours.worst.as_millis(),
            ours.failed,
            theirs.median.as_millis(),
            theirs.worst.as_millis(),
            theirs.failed,
        );
        if ours.failed > theirs.failed || ours.median > theirs.median + Duration::from_millis(20) {
            worse.push(weather.name);
        }
    }
    println!("{table}");
    assert!(
        worse.is_empty(),
        "worse than dnsmasq's policy: {worse:?}\n{table}"
    );
}
