//! All that wakes the watch: events of the kernel, a file, signals, and time.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::PathBuf;
use std::time::Instant;

use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};

use crate::config::Config;
use crate::follow::Files;
use crate::signals::{Signals, Told};
use crate::{log, redirect, routing, wan};

/// What an event in the epoll set is about.
const NEWS: u64 = 0;
const OTHER: u64 = 1;

/// What there is to wait for.
pub struct Sources {
    /// poll(2) would refuse to wait when the process may have fewer descriptors than
    /// there are here.
    epoll: Epoll,
    signals: Signals,
    /// The events of links, routes and rules.
    pub routing: routing::Events,
    /// The events of nftables.
    pub redirect: redirect::Events,
    /// The routers of the WAN. None where there is no IPv6.
    pub routers: Option<routing::Routers>,
    /// The file with the names of the WAN's devices. None where they are configured.
    devices: Option<(PathBuf, Files)>,
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

impl Sources {
    /// Waits for these events, for signals, and for what the configuration asks to be
    /// followed.
    ///
    /// # Errors
    /// The kernel's limits.
    pub fn new(
        routing: routing::Events,
        redirect: redirect::Events,
        config: &Config,
    ) -> io::Result<Self> {
        let mut sources = Self {
            epoll: Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?,
            signals: Signals::take()?,
            routing,
            redirect,
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
            match routing::Routers::open() {
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

    /// Sleeps until there is something to hear, or until `retry`.
    ///
    /// # Errors
    /// The kernel's.
    pub fn wait(&mut self, retry: Option<Instant>) -> io::Result<Wake> {
        loop {
            let files = self.devices.as_ref().map(|(_, files)| files);
            // A router that falls silent is none any more.
            let silent = self.routers.as_ref().and_then(routing::Routers::next);
            let due = retry.into_iter().chain(silent).min();
            let look = files.and_then(Files::next_look);
            self.wait_for(self.routing.as_fd(), NEWS)?;
            self.wait_for(self.redirect.as_fd(), NEWS)?;
            if let Some(routers) = &self.routers {
                self.wait_for(routers.as_fd(), NEWS)?;
            }
            self.wait_for(self.signals.as_fd(), OTHER)?;
            if let Some(file) = files.and_then(Files::descriptor) {
                self.wait_for(file, OTHER)?;
            }
            let mut events = [EpollEvent::empty(); 8];
            let time = until(due.into_iter().chain(look).min());
            let count = match self.epoll.wait(&mut events, time) {
                Err(Errno::EINTR) => 0,
                count => count?,
            };
            let happened = events[..count].iter().any(|event| event.data() == NEWS);
            match self.signals.next()? {
                Some(Told::Reload) => return Ok(Wake::Reload),
                Some(Told::Leave) => return Ok(Wake::Leave),
                None => {}
            }
            if let Some((_, files)) = &mut self.devices
                && files.have_changed()
            {
                return Ok(Wake::Devices);
            }
            if happened || due.is_some_and(|time| time <= Instant::now()) {
                return Ok(Wake::Look);
            }
        }
    }

    /// What is there already stays; what was closed has left by itself, and another one
    /// may have its number.
    fn wait_for(&self, descriptor: BorrowedFd, whose: u64) -> io::Result<()> {
        let readable = EpollEvent::new(EpollFlags::EPOLLIN, whose);
        match self.epoll.add(descriptor, readable) {
            Err(Errno::EEXIST) => Ok(()),
            added => Ok(added?),
        }
    }
}

/// How long to sleep until then, in whole milliseconds and never too short.
fn until(time: Option<Instant>) -> EpollTimeout {
    let Some(time) = time else {
        return EpollTimeout::NONE;
    };
    let left = time.saturating_duration_since(Instant::now());
    let milliseconds = left.as_nanos().div_ceil(1_000_000);
    EpollTimeout::try_from(milliseconds).unwrap_or(EpollTimeout::MAX)
}
