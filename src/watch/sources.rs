//! All that wakes the watch: events of the kernel, a file, signals, and time.

use std::io;
use std::os::fd::AsFd;
use std::path::PathBuf;

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::{Instant, sleep_until};

use crate::config::Config;
use crate::follow::Files;
use crate::ready::{self, Polled};
use crate::{log, redirect, routing, wan};

/// Something with a descriptor, known to the runtime.
type Waited<T> = AsyncFd<Polled<T>>;

/// What there is to wait for.
pub struct Sources {
    signals: Signals,
    routing: Waited<routing::Events>,
    redirect: Waited<redirect::Events>,
    /// None where there is no IPv6.
    routers: Option<Waited<routing::Routers>>,
    /// The file with the names of the WAN's devices. None where they are configured.
    devices: Option<(PathBuf, Files)>,
}

struct Signals {
    hangup: Signal,
    interrupt: Signal,
    terminate: Signal,
}

/// Why the wait is over.
pub enum Wake {
    /// Something happened, or it is time to try again.
    Look,
    /// The WAN's devices may be others.
    Devices,
    /// SIGHUP.
    Reload,
    /// SIGTERM or SIGINT.
    Leave,
}

fn register<T: AsFd>(events: T) -> io::Result<Waited<T>> {
    ready::register(Polled(events), Interest::READABLE)
}

impl Sources {
    /// Waits for these events, for signals, and for what the configuration asks to be
    /// followed. Must be called within a runtime.
    ///
    /// # Errors
    /// The kernel's limits.
    pub fn new(
        routing: routing::Events,
        redirect: redirect::Events,
        config: &Config,
    ) -> io::Result<Self> {
        let mut sources = Self {
            signals: Signals {
                hangup: signal(SignalKind::hangup())?,
                interrupt: signal(SignalKind::interrupt())?,
                terminate: signal(SignalKind::terminate())?,
            },
            routing: register(routing)?,
            redirect: register(redirect)?,
            routers: None,
            devices: None,
        };
        sources.follow(config);
        Ok(sources)
    }

    /// Follows what the configuration asks for: routers while IPv6 is looked after,
    /// and the devices while nobody configures them.
    pub fn follow(&mut self, config: &Config) {
        if !config.routing.ipv6 {
            self.routers = None;
        } else if self.routers.is_none() {
            match routing::Routers::open().and_then(register) {
                Ok(routers) => self.routers = Some(routers),
                Err(error) => {
                    log::warning!("a router that says goodbye will not be heard: {error}");
                }
            }
        }
        let file = wan::file(config);
        if !config.routing.devices.is_empty() {
            self.devices = None;
        } else if self.devices.as_ref().is_none_or(|(path, _)| *path != file) {
            let files = Files::new(std::slice::from_ref(&file));
            self.devices = Some((file, files));
        }
    }

    /// The events of links, routes and rules.
    pub fn routing(&mut self) -> &mut routing::Events {
        &mut self.routing.get_mut().0
    }

    /// The events of nftables.
    pub fn redirect(&mut self) -> &mut redirect::Events {
        &mut self.redirect.get_mut().0
    }

    /// The routers of the WAN, where they are heard.
    pub fn routers(&mut self) -> Option<&mut routing::Routers> {
        Some(&mut self.routers.as_mut()?.get_mut().0)
    }

    /// Sleeps until there is something to hear, or until `retry`.
    ///
    /// # Errors
    /// The kernel's.
    pub async fn wait(&mut self, retry: Option<Instant>) -> io::Result<Wake> {
        // A router that falls silent is none any more.
        let routers = self.routers.as_ref();
        let silent = routers.and_then(|routers| routers.get_ref().0.next());
        let time = retry.into_iter().chain(silent.map(Instant::from_std)).min();
        let time = async {
            match time {
                Some(time) => sleep_until(time).await,
                None => std::future::pending().await,
            }
        };
        let advertisement = async {
            match routers {
                Some(routers) => {
                    let ready = routers.readable().await;
                    ready.map(|mut ready| ready.clear_ready())
                }
                None => std::future::pending().await,
            }
        };
        let devices = async {
            match &mut self.devices {
                Some((_, files)) => files.changed().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = self.signals.terminate.recv() => return Ok(Wake::Leave),
            _ = self.signals.interrupt.recv() => return Ok(Wake::Leave),
            _ = self.signals.hangup.recv() => return Ok(Wake::Reload),
            // What is there already is read after this; what comes later
            // makes the socket readable again.
            ready = self.routing.readable() => ready?.clear_ready(),
            ready = self.redirect.readable() => ready?.clear_ready(),
            ready = advertisement => ready?,
            () = devices => return Ok(Wake::Devices),
            () = time => {}
        }
        Ok(Wake::Look)
    }
}
