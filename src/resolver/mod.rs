//! The resolver: a DNS forwarder on port 54 whose queries all carry the mark.
//!
//! Plain UDP queries are relayed as bytes ([`relay`], decided in [`in_flight`] and
//! [`upstream`]); TCP goes through hickory's streams ([`tcp`]); what wants an
//! answer of our own gets one from hickory-server ([`answer`]). It keeps no
//! cache: Gluon's policy, this daemon only redirects.

pub mod answer;
mod edns;
mod events;
pub mod in_flight;
mod local;
pub mod message;
mod network;
mod numbers;
pub mod pool;
mod privilege;
mod random;
pub mod relay;
pub mod servers;
mod socket;
mod tcp;
mod timer;
pub mod upstream;

use std::io;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use nix::unistd::{Gid, Uid};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::oneshot;

use crate::config::{self, Config};
use crate::follow::Files;
use crate::log;
use crate::ready::{self, Polled};
use crate::signals::{Signals, Told};
use network::Network;
use relay::Relay;
use servers::Supply;

/// Changes of the network come in bursts; one look is enough for so long.
const NETWORK_PAUSE: Duration = Duration::from_millis(20);

/// Why the resolver does not serve.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// An address or port cannot be had.
    #[error("cannot listen on {addr}{}", advice(.source))]
    Listen {
        /// What was to be bound.
        addr: SocketAddr,
        /// What the kernel said.
        source: io::Error,
    },
    /// Privileges, the mark among them.
    #[error(transparent)]
    Privilege(#[from] privilege::Error),
    /// Something that it cannot live without.
    #[error("cannot {what}")]
    Kernel {
        /// What was tried.
        what: &'static str,
        /// What the kernel said.
        source: io::Error,
    },
}

/// What to do about a port that cannot be bound.
fn advice(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::AddrInUse => " (is gluon-wan-dnsmasq or another resolver still running?)",
        io::ErrorKind::PermissionDenied => " (start it as root, it gives up what it does not need)",
        _ => "",
    }
}

/// Client sockets, bound.
struct Listening {
    udp: Vec<UdpSocket>,
    tcp: Vec<TcpListener>,
    on: Vec<String>,
}

/// Serves until SIGTERM or SIGINT.
///
/// # Errors
/// What keeps it from serving: no address, no privilege, above all no mark.
pub fn run(dir: &Path, config: Config) -> Result<(), Error> {
    // First, because it has the better message: kernels of late want the same
    // capability for the filter of a listening TCP socket.
    privilege::may_mark(config.routing.mark.value)?;
    let account = privilege::account(&config)?;
    let listening = listen(&config.resolver)?;
    privilege::drop_to(account.as_ref(), config.routing.mark.value)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build_local(tokio::runtime::LocalOptions::default())
        .map_err(kernel("start the runtime"))?;
    let user = account.map_or_else(|| Uid::effective().to_string(), |account| account.name);
    let outcome = runtime.block_on(serve(dir, config, &user, listening));
    // The process ends with it: there is nothing that needs to be taken down in order.
    std::mem::forget(runtime);
    outcome
}

/// Binds all addresses. One whose family this kernel does not have is left out,
/// with a message, unless it was the only one.
fn listen(resolver: &config::Resolver) -> Result<Listening, Error> {
    let mut listening = Listening {
        udp: Vec::new(),
        tcp: Vec::new(),
        on: Vec::new(),
    };
    let mut missing = None;
    for &addr in &resolver.listen {
        let addr = SocketAddr::new(addr, resolver.port);
        let bound = socket::listen_udp(addr).and_then(|udp| Ok((udp, socket::listen_tcp(addr)?)));
        match bound {
            Ok((udp, tcp)) => {
                listening.udp.push(udp);
                listening.tcp.push(tcp);
                listening.on.push(addr.to_string());
            }
            Err(source) if is_no_family(&source) => missing = Some(Error::Listen { addr, source }),
            Err(source) => return Err(Error::Listen { addr, source }),
        }
    }
    match missing {
        Some(error) if listening.udp.is_empty() => return Err(error),
        Some(error) => {
            log::warning!("{error}: this kernel has no such address, serving without it")
        }
        None => {}
    }
    Ok(listening)
}

fn is_no_family(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::EAFNOSUPPORT | libc::EADDRNOTAVAIL)
    )
}

async fn serve(dir: &Path, config: Config, user: &str, listening: Listening) -> Result<(), Error> {
    let mark = config.routing.mark.value;
    // Before there is a thread, so that all of them leave signals alone.
    let signals = Signals::take().map_err(kernel("wait for signals"))?;
    let relay = Relay::new(mark, config.resolver.max_inflight, listening.udp)
        .map_err(kernel("start the relay"))?;
    let relay = Arc::new(relay);
    log::notice!(
        "serving DNS on {} as {user}, mark {mark:#x}",
        listening.on.join(" and ")
    );
    // Before it takes the first query, which would find no server. The kernel keeps what
    // comes meanwhile.
    let mut supply = Supply::new(dir, config);
    renew(&mut supply, &relay);
    let relay_ended = start(Arc::clone(&relay)).map_err(kernel("serve"))?;
    tokio::select! {
        outcome = follow(supply, &relay, signals) => outcome,
        Err(error) = tcp::serve(&relay, listening.tcp, mark) => Err(kernel("serve")(error)),
        error = relay_ended => Err(kernel("serve")(error.unwrap_or_else(io::Error::other))),
    }
}

/// Runs the relay on its thread. What comes back says why it has ended.
fn start(relay: Arc<Relay>) -> io::Result<oneshot::Receiver<io::Error>> {
    let (end, ended) = oneshot::channel();
    thread::Builder::new().name("relay".into()).spawn(move || {
        let Err(error) = relay.run();
        end.send(error)
    })?;
    privilege::start_nothing_more()?;
    Ok(ended)
}

/// Gives the relay the devices and servers that are in force now.
fn renew(supply: &mut Supply, relay: &Relay) {
    if supply.devices_changed() {
        relay.set_devices(supply.devices());
        relay.network_changed();
    }
    if let Some(servers) = supply.changed() {
        relay.set_servers(servers);
    }
}

/// Keeps the relay's servers those of the configuration and the resolv file, and
/// lets it know what happens to the WAN; until SIGTERM or SIGINT.
async fn follow(mut supply: Supply, relay: &Relay, signals: Signals) -> Result<(), Error> {
    let signals =
        ready::register(Polled(signals), Interest::READABLE).map_err(kernel("wait for signals"))?;
    let mut network = Network::new().map_err(kernel("hear of changes of the network"))?;
    loop {
        let followed = supply.files();
        let mut files = Files::new(&followed);
        while followed == supply.files() {
            renew(&mut supply, relay);
            let wan = supply.wan();
            tokio::select! {
                () = files.changed() => supply.reload(),
                told = told(&signals) => match told.map_err(kernel("wait for signals"))? {
                    Told::Reload => supply.reload(),
                    Told::Leave => return Ok(()),
                },
                news = network.news(&wan) => {
                    if news.map_err(kernel("hear of changes of the network"))?.wan {
                        relay.network_changed();
                    }
                    tokio::time::sleep(NETWORK_PAUSE).await;
                    continue;
                }
            }
            privilege::never_redirected(supply.config(), Gid::effective())?;
        }
    }
}

/// The next signal.
async fn told(signals: &AsyncFd<Polled<Signals>>) -> io::Result<Told> {
    loop {
        let mut ready = signals.readable().await?;
        match signals.get_ref().0.next()? {
            Some(told) => return Ok(told),
            None => ready.clear_ready(),
        }
    }
}

fn kernel(what: &'static str) -> impl Fn(io::Error) -> Error {
    move |source| Error::Kernel { what, source }
}
