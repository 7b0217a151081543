//! Makes the look-up and sees what there is to see of it.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV6};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::net::if_::if_nametoindex;
use nix::unistd::{Gid, setfsgid};

use super::Error;
use super::facts::{Exchange, Lookup, Outcome, Seen, Target, Trace, Upstream};
use crate::ask::{self, Asked, Question, Unanswered, class, kind};
use crate::config::{self, Config};
use crate::routing::way::{Packet, Way, Ways};
use crate::status::facts::ServerHealth;
use crate::status::probe;
use crate::{input, log, redirect, wan};

/// What libc reads, and how much of it.
const RESOLV_CONF: &str = "/etc/resolv.conf";
const MAX_FILE: usize = 64 * 1024;
const DNS_PORT: u16 = 53;
/// As long as libc waits for a server.
const LOOKUP: Duration = Duration::from_secs(5);
/// As long as a server is waited for that is asked beside that.
const UPSTREAM: Duration = Duration::from_secs(3);
const KINDS: [(&str, u16); 2] = [("AAAA", kind::AAAA), ("A", kind::A)];

/// What is asked, of all that are asked.
struct Questions {
    start: Instant,
    all: [Question; 2],
}

impl Questions {
    fn new(name: &str) -> Result<Self, Error> {
        let id = getrandom::u32().map_err(io::Error::other)? as u16;
        let question = |kind| Question::new(id, name, kind, class::IN);
        let all = question(KINDS[0].1).zip(question(KINDS[1].1));
        let (first, second) = all.ok_or_else(|| Error::Name(name.to_owned()))?;
        Ok(Self {
            start: Instant::now(),
            all: [first, second],
        })
    }

    /// Both at once, as libc does and resolvers of VPN daemons do.
    fn send(&self, to: SocketAddr, mark: u32, time: Duration) -> [Asked; 2] {
        let until = Instant::now() + time;
        self.all
            .each_ref()
            .map(|question| question.clone().send(to, mark, until))
    }

    /// What came of both.
    fn replies(&self, asked: &[Asked]) -> Vec<Exchange> {
        let mut replies = Vec::new();
        for ((kind, _), asked) in KINDS.iter().zip(asked) {
            replies.push(Exchange {
                kind,
                at: asked.at - self.start,
                took: asked.took,
                outcome: match &asked.outcome {
                    Ok(answer) if answer.code == 0 => Outcome::Addresses(answer.addresses()),
                    Ok(answer) => Outcome::Code(answer.code),
                    Err(Unanswered::Silent) => Outcome::Silent,
                    Err(Unanswered::Closed) => Outcome::Closed,
                    Err(Unanswered::Failed(why)) => Outcome::Failed(why.clone()),
                },
            });
        }
        replies
    }
}

/// Follows one look-up of `name`.
///
/// # Errors
/// Nobody to look up as; `name` is none.
pub fn follow(config: &Config, name: &str) -> Result<Trace, Error> {
    let questions = Questions::new(name)?;
    let groups = config.redirect.groups.iter();
    let group = groups.filter_map(|group| Some((group.to_string(), redirect::gid(group).ok()??)));
    let (group, gid) = { group }.next().ok_or(Error::NoGroup)?;

    let before = health(config).unwrap_or_default();
    let lookup = lookup(&questions, gid);
    let after = health(config);
    let upstreams = after.map(|after| upstreams(config, &questions, &before, after));
    Ok(Trace {
        name: name.to_owned(),
        group,
        gid,
        mark: config.routing.mark,
        devices: wan::find(config).map_or_else(|_| Vec::new(), |found| found.names()),
        port: config.resolver.port,
        answers: targets(config, &lookup.replies),
        lookup,
        upstreams,
    })
}

/// The look-up as libc makes it: the first server of its list is asked.
fn lookup(questions: &Questions, gid: u32) -> Lookup {
    let primary = primary();
    let before = redirected();
    let mut asked = as_group(gid, || questions.send(primary, 0, LOOKUP));
    ask::wait(&mut asked);
    let after = redirected();
    Lookup {
        file: PathBuf::from(RESOLV_CONF),
        primary,
        replies: questions.replies(&asked),
        redirected: before.and_then(|before| Ok(after?.saturating_sub(before))),
        answered_by: as_group(gid, || probe::version(primary)),
    }
}

/// The kernel takes the group of a socket from the thread that makes it.
fn as_group<T>(gid: u32, make: impl FnOnce() -> T) -> T {
    let own = setfsgid(Gid::from_raw(gid));
    let made = make();
    setfsgid(own);
    made
}

/// The first server of resolv.conf(5); without any, libc asks this node.
fn primary() -> SocketAddr {
    let bytes =
        input::read(Path::new(RESOLV_CONF), MAX_FILE).map_or_else(|_| Vec::new(), |read| read.0);
    let text = String::from_utf8_lossy(&bytes);
    let mut servers = text.lines().filter_map(|line| {
        let mut words = line.split_ascii_whitespace();
        let server = words
            .next()
            .filter(|&word| word == "nameserver")
            .and_then(|_| words.next())?;
        address(server).ok()
    });
    servers
        .next()
        .unwrap_or((Ipv4Addr::LOCALHOST, DNS_PORT).into())
}

fn redirected() -> Seen<u64> {
    let present = redirect::Reconciler::open().and_then(|mut reconciler| reconciler.present());
    match present {
        Ok(table) => Ok(table.map_or(0, |table| table.redirected.packets)),
        Err(error) => Err(log::chain(&error)),
    }
}

/// What the resolver says of its servers.
fn health(config: &Config) -> Seen<Vec<ServerHealth>> {
    let addr = config.resolver.listen.first().copied();
    let addr = addr.unwrap_or(Ipv4Addr::LOCALHOST.into());
    let addr = SocketAddr::new(addr, config.resolver.port);
    probe::servers(addr, Instant::now() + probe::TIME)
}

/// Asks every server of the resolver at once.
fn upstreams(
    config: &Config,
    questions: &Questions,
    before: &[ServerHealth],
    after: Vec<ServerHealth>,
) -> Vec<Upstream> {
    let mark = config.routing.mark.value;
    let mut upstreams = Vec::new();
    let (mut whose, mut asked) = (Vec::new(), Vec::new());
    for after in after {
        let before = before.iter().find(|one| one.server == after.server);
        let addr = address(&after.server);
        if let Ok(addr) = addr {
            whose.push(upstreams.len());
            asked.extend(questions.send(addr, mark, UPSTREAM));
        }
        upstreams.push(Upstream {
            asked: before.map(|before| after.queries.saturating_sub(before.queries)),
            server: after.server,
            way: addr.and_then(|addr| way_to(addr, mark)),
            source: None,
            replies: Vec::new(),
        });
    }
    ask::wait(&mut asked);
    for (at, asked) in whose.into_iter().zip(asked.chunks(2)) {
        if let Some(upstream) = upstreams.get_mut(at) {
            upstream.source = asked.first().and_then(|one| one.source);
            upstream.replies = questions.replies(asked);
        }
    }
    upstreams
}

fn way_to(addr: SocketAddr, mark: u32) -> Seen<Way> {
    let device = match addr {
        SocketAddr::V6(addr) => addr.scope_id(),
        SocketAddr::V4(_) => 0,
    };
    way(addr.ip(), device, mark, Some(addr.port()))
}

fn targets(config: &Config, replies: &[Exchange]) -> Vec<Target> {
    let mark = config.routing.mark.value;
    let mut targets = Vec::new();
    for &addr in replies.iter().flat_map(|reply| reply.outcome.addresses()) {
        let way = way(addr, 0, mark, None);
        targets.push(Target { addr, way });
    }
    targets
}

fn way(to: IpAddr, device: u32, mark: u32, port: Option<u16>) -> Seen<Way> {
    let mut ways = Ways::open().map_err(|error| log::chain(&error))?;
    let packet = Packet {
        to,
        device,
        mark,
        port,
        source: None,
        uid: nix::unistd::geteuid().as_raw(),
    };
    ways.of(&packet).map_err(|refused| refused.to_string())
}

/// As the configuration writes it.
fn address(server: &str) -> Seen<SocketAddr> {
    let parsed = server.parse::<config::Server>();
    let parsed = parsed.map_err(|_| format!("'{server}' is no server"))?;
    match (parsed.addr, &parsed.device) {
        (IpAddr::V6(addr), Some(device)) => {
            let index = if_nametoindex(device.as_str());
            let index = index.map_err(|error| format!("{server}: {}", io::Error::from(error)))?;
            Ok(SocketAddrV6::new(addr, parsed.port, 0, index).into())
        }
        (addr, _) => Ok(SocketAddr::new(addr, parsed.port)),
    }
}
