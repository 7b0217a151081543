//! Makes the look-up and sees what there is to see of it.

use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV6, UdpSocket};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use nix::net::if_::if_nametoindex;
use nix::unistd::{Gid, setfsgid};
use socket2::{Domain, Socket, Type};

use super::Error;
use super::facts::{Exchange, Lookup, Outcome, Seen, Target, Trace, Upstream};
use crate::ask::{Question, class, kind};
use crate::config::{Config, Server};
use crate::routing::way::{Packet, Ways};
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

/// Follows one look-up of `name`.
///
/// # Errors
/// Nobody to look up as; `name` is none.
pub fn follow(config: &Config, name: &str) -> Result<Trace, Error> {
    if Question::new(0, name, kind::A, class::IN).is_none() {
        return Err(Error::Name(name.to_owned()));
    }
    let groups = config.redirect.groups.iter();
    let group = groups.filter_map(|group| Some((group.to_string(), redirect::gid(group).ok()??)));
    let (group, gid) = { group }.next().ok_or(Error::NoGroup)?;

    let start = Instant::now();
    let before = health(config);
    let lookup = lookup(name, gid, start);
    let after = health(config);
    let upstreams = after.map(|after| upstreams(config, name, &before, &after, start));
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
fn lookup(name: &str, gid: u32, start: Instant) -> Lookup {
    let primary = primary();
    let before = redirected();
    // The kernel takes the group of a socket from the thread that makes it.
    let as_group = || setfsgid(Gid::from_raw(gid));
    let replies = thread::scope(|scope| {
        // Both at once, as libc does.
        let asking = KINDS.map(|kind| {
            let ask = move || ask(primary, 0, name, kind, start, LOOKUP);
            scope.spawn(move || {
                as_group();
                ask()
            })
        });
        let mut kinds = KINDS.iter();
        asking.map(|one| {
            let kind = kinds.next().map_or("?", |(kind, _)| *kind);
            one.join().unwrap_or_else(|_| Exchange {
                kind,
                at: Duration::ZERO,
                took: Duration::ZERO,
                outcome: Outcome::Failed("the look-up broke off".into()),
            })
        })
    });
    let after = redirected();
    let answered_by = thread::scope(|scope| {
        let asking = scope.spawn(|| {
            as_group();
            version(primary)
        });
        asking.join().ok().flatten()
    });
    Lookup {
        file: PathBuf::from(RESOLV_CONF),
        primary,
        replies,
        redirected: before.and_then(|before| Ok(after?.saturating_sub(before))),
        answered_by,
    }
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
        address(&server.parse().ok()?).ok()
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

/// What the resolver says of its servers: name, queries so far.
fn health(config: &Config) -> Seen<Vec<(String, u64)>> {
    let addr = config.resolver.listen.first().copied();
    let addr = addr.unwrap_or(Ipv4Addr::LOCALHOST.into());
    let addr = SocketAddr::new(addr, config.resolver.port);
    let servers = probe::servers(addr, Instant::now() + probe::TIME)?;
    Ok(servers
        .into_iter()
        .map(|one| (one.server, one.queries))
        .collect())
}

/// Asks every server of the resolver at once.
fn upstreams(
    config: &Config,
    name: &str,
    before: &Seen<Vec<(String, u64)>>,
    after: &[(String, u64)],
    start: Instant,
) -> Vec<Upstream> {
    let queries = |server: &str| {
        let mut known = before.iter().flatten();
        known
            .find(|(name, _)| name == server)
            .map(|(_, count)| *count)
    };
    thread::scope(|scope| {
        let asked: Vec<_> = after
            .iter()
            .map(|(server, count)| {
                let asking = scope.spawn(move || upstream(config, name, server, start));
                (
                    server,
                    queries(server).map(|before| count.saturating_sub(before)),
                    asking,
                )
            })
            .collect();
        let upstream =
            |(server, asked, asking): (&String, _, thread::ScopedJoinHandle<'_, Upstream>)| {
                let broke = |_| Upstream {
                    server: server.clone(),
                    asked: None,
                    way: Err("asking it broke off".into()),
                    source: None,
                    replies: Vec::new(),
                };
                Upstream {
                    asked,
                    ..asking.join().unwrap_or_else(broke)
                }
            };
        asked.into_iter().map(upstream).collect()
    })
}

fn upstream(config: &Config, name: &str, server: &str, start: Instant) -> Upstream {
    let mark = config.routing.mark.value;
    let mut found = Upstream {
        server: server.to_owned(),
        asked: None,
        way: Err(format!("'{server}' is no server")),
        source: None,
        replies: Vec::new(),
    };
    let Ok(server) = server.parse::<Server>() else {
        return found;
    };
    let addr = match address(&server) {
        Ok(addr) => addr,
        Err(error) => {
            found.way = Err(format!("{server}: {error}"));
            return found;
        }
    };
    let device = match addr {
        SocketAddr::V6(addr) => addr.scope_id(),
        SocketAddr::V4(_) => 0,
    };
    found.way = way(addr.ip(), device, mark, Some(addr.port()));
    found.source = connected(addr, mark)
        .and_then(|socket| socket.local_addr())
        .ok()
        .map(|addr| addr.ip());
    // Both at once, as resolvers of VPN daemons do.
    found.replies = thread::scope(|scope| {
        let asking =
            KINDS.map(|kind| scope.spawn(move || ask(addr, mark, name, kind, start, UPSTREAM)));
        asking
            .into_iter()
            .filter_map(|one| one.join().ok())
            .collect()
    });
    found
}

fn targets(config: &Config, replies: &[Exchange]) -> Vec<Target> {
    let addrs = replies.iter().flat_map(|reply| reply.outcome.addresses());
    let mark = config.routing.mark.value;
    addrs
        .map(|&addr| Target {
            addr,
            way: way(addr, 0, mark, None),
        })
        .collect()
}

fn way(to: IpAddr, device: u32, mark: u32, port: Option<u16>) -> Seen<crate::routing::way::Way> {
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

/// Asks one server one question.
fn ask(
    server: SocketAddr,
    mark: u32,
    name: &str,
    (kind, number): (&'static str, u16),
    start: Instant,
    time: Duration,
) -> Exchange {
    let asked = Instant::now();
    let answer = || {
        let id = getrandom::u32().map_err(io::Error::other)? as u16;
        let question = Question::new(id, name, number, class::IN);
        let question = question.ok_or(ErrorKind::InvalidInput)?;
        question.over_udp(&connected(server, mark)?, asked + time)
    };
    let outcome = match answer() {
        Ok(answer) if answer.code == 0 => Outcome::Addresses(answer.addresses()),
        Ok(answer) => Outcome::Code(answer.code),
        Err(error) => match error.kind() {
            ErrorKind::TimedOut => Outcome::Silent,
            ErrorKind::ConnectionRefused => Outcome::Closed,
            _ => Outcome::Failed(error.to_string()),
        },
    };
    Exchange {
        kind,
        at: asked - start,
        took: asked.elapsed(),
        outcome,
    }
}

/// Who answers there.
fn version(server: SocketAddr) -> Option<String> {
    let question = Question::new(0x6757, "version.bind", kind::TXT, class::CHAOS)?;
    let deadline = Instant::now() + probe::TIME;
    let answer = question
        .over_udp(&connected(server, 0).ok()?, deadline)
        .ok()?;
    answer.texts().into_iter().next()
}

/// A socket towards a server, as the resolver makes it: marked, then connected.
fn connected(to: SocketAddr, mark: u32) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(to), Type::DGRAM.cloexec(), None)?;
    if mark != 0 {
        socket.set_mark(mark)?;
    }
    socket.connect(&to.into())?;
    Ok(socket.into())
}

fn address(server: &Server) -> io::Result<SocketAddr> {
    match (server.addr, &server.device) {
        (IpAddr::V6(addr), Some(device)) => {
            let index = if_nametoindex(device.as_str())?;
            Ok(SocketAddrV6::new(addr, server.port, 0, index).into())
        }
        (addr, _) => Ok(SocketAddr::new(addr, server.port)),
    }
}
