//! Keeps in place what [`crate::sync`] puts there: waits for events of the
//! kernel and for signals, and looks again. Between events it sleeps, without a
//! timer.

use std::collections::HashSet;
use std::io;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

use caps::Capability;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::runtime;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::{Instant, sleep_until};

use crate::config::Config;
use crate::pulse::Pulse;
use crate::ready::{self, Source};
use crate::redirect::{self, Reconciler, include};
use crate::wan::{self, Devices};
use crate::{log, privilege, routing, sync};

/// How often it looks when events keep coming: after each look a rest, and never
/// a shorter one than the look took, so that a storm costs half of the time at
/// most.
const PACE: Duration = Duration::from_millis(20);
/// How many looks may be ahead of that: what happens now and then is looked at
/// at once.
const AHEAD: u32 = 4;
/// How soon something that failed is tried again, without an event; from then
/// on after twice the time, up to the second one.
const RETRY: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));
/// To change nftables, rules and routes, and to check a file with nft; to hear
/// routers.
const NEEDED: [Capability; 2] = [Capability::CAP_NET_ADMIN, Capability::CAP_NET_RAW];
/// How many changes are logged in how much time.
const TOLD: (u32, Duration) = (20, Duration::from_secs(60));

/// Why it does not watch, or no longer.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nothing could be changed.
    #[error(transparent)]
    Privilege(#[from] sync::Error),
    /// No event loop, no signals.
    #[error("cannot wait for events")]
    Wait(#[from] io::Error),
    /// No events of links, routes and rules.
    #[error("no events of links, routes and rules")]
    Routing(#[from] routing::Error),
    /// No events of nftables.
    #[error("no events of nftables")]
    Redirect(#[from] redirect::Error),
}

/// Stays until SIGTERM or SIGINT and leaves everything in place. SIGHUP reads
/// the configuration in `dir` again.
///
/// # Errors
/// What keeps it from watching; that something cannot be put in place is only
/// logged, and tried again.
pub fn run(dir: &Path, config: Config) -> Result<(), Error> {
    sync::may_change()?;
    // Without that, it does its work no worse.
    if let Err(error) = give_up_privileges() {
        log::warning!(
            "runs with more privileges than it needs: {}",
            log::chain(&error)
        );
    }
    let runtime = runtime::Builder::new_current_thread()
        .enable_all()
        .build_local(runtime::LocalOptions::default())?;
    runtime.block_on(async { Watch::new(dir, config)?.run().await })
}

/// Root's files stay its own; of root's capabilities, those that it needs.
fn give_up_privileges() -> Result<(), privilege::Error> {
    privilege::gain_no_more_than(&NEEDED)?;
    let permitted = privilege::permitted()?;
    let kept = NEEDED.into_iter().filter(|one| permitted.contains(one));
    privilege::keep_only(&kept.collect())
}

struct Watch {
    dir: PathBuf,
    config: Config,
    signals: Signals,
    devices: Devices,
    keeper: routing::Keeper,
    routing_events: AsyncFd<Source<routing::Events>>,
    /// None where there is no IPv6.
    routers: Option<AsyncFd<Source<routing::Routers>>>,
    reconciler: Reconciler,
    redirect_events: AsyncFd<Source<redirect::Events>>,
    wan: Part,
    routing: Part,
    redirect: Part,
    journal: Journal,
    /// When all rests so far would be over.
    rested: Instant,
}

struct Signals {
    hangup: Signal,
    interrupt: Signal,
    terminate: Signal,
}

fn register<T: AsFd>(events: T) -> io::Result<AsyncFd<Source<T>>> {
    ready::register(Source(events), Interest::READABLE)
}

/// Why the wait is over.
enum Wake {
    /// Something happened, or it is time to try again.
    Look,
    Reload,
    Leave,
}

impl Watch {
    fn new(dir: &Path, config: Config) -> Result<Self, Error> {
        let keeper = routing::Keeper::open()?;
        let routing_events = register(keeper.events()?)?;
        let reconciler = Reconciler::open()?;
        let redirect_events = register(reconciler.events()?)?;
        let mut watch = Self {
            dir: dir.to_owned(),
            config,
            signals: Signals {
                hangup: signal(SignalKind::hangup())?,
                interrupt: signal(SignalKind::interrupt())?,
                terminate: signal(SignalKind::terminate())?,
            },
            devices: Devices::usual(),
            keeper,
            routing_events,
            routers: None,
            reconciler,
            redirect_events,
            wan: Part::new("devices"),
            routing: Part::new("routing"),
            redirect: Part::new("redirect"),
            journal: Journal::new(),
            rested: Instant::now(),
        };
        watch.hear_routers();
        Ok(watch)
    }

    async fn run(mut self) -> Result<(), Error> {
        loop {
            self.hear()?;
            self.look();
            self.journal.looked([&self.routing, &self.redirect]);
            match self.wait().await? {
                Wake::Look => sleep_until(self.rested - PACE * AHEAD).await,
                Wake::Reload => self.reload(),
                Wake::Leave => return Ok(()),
            }
        }
    }

    /// Sleeps until there is something to hear.
    async fn wait(&mut self) -> Result<Wake, Error> {
        let retry = [&self.wan, &self.routing, &self.redirect]
            .into_iter()
            .filter_map(|part| part.retry);
        // A router that falls silent is none any more.
        let silent = (self.routers.as_ref()).and_then(|routers| routers.get_ref().0.next());
        let retry = retry.chain(silent.map(Instant::from_std)).min();
        let retry_time = async {
            match retry {
                Some(time) => sleep_until(time).await,
                None => std::future::pending().await,
            }
        };
        let advertisement = async {
            match &self.routers {
                Some(routers) => routers
                    .readable()
                    .await
                    .map(|mut ready| ready.clear_ready()),
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = self.signals.terminate.recv() => return Ok(Wake::Leave),
            _ = self.signals.interrupt.recv() => return Ok(Wake::Leave),
            _ = self.signals.hangup.recv() => return Ok(Wake::Reload),
            // What is there already is read after this; what comes later
            // makes the socket readable again.
            ready = self.routing_events.readable() => ready?.clear_ready(),
            ready = self.redirect_events.readable() => ready?.clear_ready(),
            ready = advertisement => ready?,
            () = retry_time => {}
        }
        Ok(Wake::Look)
    }

    /// Reads all events, and what they mean for the parts.
    fn hear(&mut self) -> Result<(), Error> {
        let now = Instant::now();
        for part in [&mut self.wan, &mut self.routing, &mut self.redirect] {
            part.due |= part.retry.is_some_and(|time| time <= now);
        }
        let news = self.routing_events.get_mut().0.drain(
            &self.config.routing,
            &self.devices.all_names(),
            self.keeper.known(),
        )?;
        self.keeper.note(&news);
        self.routing.due |= news.concerns_us;
        if let Some(routers) = &mut self.routers {
            let withdrawn = routers.get_mut().0.drain(now.into_std())?;
            self.routing.due |= !withdrawn.is_empty();
            self.keeper.withdraw(withdrawn);
        }
        self.redirect.due |= self.redirect_events.get_mut().0.drain()?;
        Ok(())
    }

    /// Mends the parts that something happened to.
    fn look(&mut self) {
        let start = Instant::now();
        if !self.wan.due && !self.routing.due && !self.redirect.due {
            return;
        }
        self.look_for_devices();
        if std::mem::take(&mut self.routing.due) {
            self.look_at_routing();
        }
        if std::mem::take(&mut self.redirect.due) {
            self.look_at_redirect();
        }
        let now = Instant::now();
        self.rested = self.rested.max(now) + PACE.max(now - start);
    }

    /// Other devices are news to both parts.
    fn look_for_devices(&mut self) {
        self.wan.due = false;
        let devices = match wan::find(&self.config) {
            Ok(devices) => devices,
            Err(error) => return self.wan.failed(&log::chain(&error)),
        };
        self.wan.is_right();
        for line in &devices.left_out {
            self.wan.say_once(line);
        }
        let names = devices.names();
        if names != self.devices.names() {
            self.routing.due = true;
            self.redirect.due = true;
            self.journal
                .tell(&format!("the WAN is {}", names.join(", ")));
        }
        self.devices = devices;
    }

    fn look_at_redirect(&mut self) {
        let put = sync::put_redirect(&mut self.reconciler, &self.config, &self.devices.names());
        let put = match put {
            Ok(put) => put,
            Err(failure) => return self.redirect.failed(&failure.to_string()),
        };
        if put.outcome == redirect::Outcome::Written {
            self.journal.tell("redirect: table written");
        }
        match put.redirects {
            Ok(()) => self.redirect.is_right(),
            Err(error) => self.redirect.failed(&format!("redirect: {error}")),
        }
    }

    fn look_at_routing(&mut self) {
        let devices = self.devices.names();
        let outcome = match self.keeper.sync(&self.config.routing, &devices) {
            Ok(outcome) => outcome,
            Err(error) => {
                return self
                    .routing
                    .failed(&format!("routing: {}", log::chain(&error)));
            }
        };
        for line in &outcome.changes.lines {
            self.journal.tell(&format!("routing: {line}"));
        }
        if outcome.changes.more > 0 {
            self.journal.tell(&format!(
                "routing: and {} changes more",
                outcome.changes.more
            ));
        }
        if let Some(routers) = &mut self.routers
            && let Err(error) = (routers.get_mut().0).listen_on(&self.keeper.known().links)
        {
            self.routing
                .say_once(&format!("routing: routers are not heard: {error}"));
        }
        for obstacle in &outcome.obstacles {
            self.routing.say_once(&format!("routing: {obstacle}"));
        }
        if outcome.failures.is_empty() {
            self.routing.is_right();
        } else {
            self.routing
                .failed(&format!("routing: {}", outcome.failures));
        }
    }

    /// Takes the configuration as it is now; a bad one changes nothing.
    fn reload(&mut self) {
        let config = match Config::load(&self.dir) {
            Ok(config) => config,
            Err(error) => {
                log::error!(
                    "{}; the old configuration stays in force",
                    log::chain(&error)
                );
                return;
            }
        };
        let old = std::mem::replace(&mut self.config, config);
        if let Some(path) = old.redirect.include
            && self.config.redirect.include.as_ref() != Some(&path)
            && let Err(error) = include::remove(&path)
        {
            log::warning!("{}", log::chain(&error));
        }
        self.hear_routers();
        self.wan = Part {
            due: true,
            ..Part::new("devices")
        };
        self.routing = Part {
            due: true,
            ..Part::new("routing")
        };
        self.redirect = Part {
            due: true,
            ..Part::new("redirect")
        };
        log::notice!("configuration read again");
    }

    /// Listens to routers while IPv6 is looked after.
    fn hear_routers(&mut self) {
        if !self.config.routing.ipv6 {
            self.routers = None;
        } else if self.routers.is_none() {
            match routing::Routers::open().and_then(register) {
                Ok(routers) => self.routers = Some(routers),
                Err(error) => {
                    log::warning!("a router that says goodbye will not be heard: {error}");
                }
            }
        }
    }
}

/// Whether a part is to be looked at, and how its trouble is told.
struct Part {
    name: &'static str,
    due: bool,
    /// When to try again, none when nothing is wrong.
    retry: Option<Instant>,
    delay: Duration,
    said: HashSet<String>,
    /// Why the last look failed.
    trouble: Option<String>,
}

impl Part {
    fn new(name: &'static str) -> Self {
        Self {
            name,
            due: true,
            retry: None,
            delay: RETRY.0,
            said: HashSet::new(),
            trouble: None,
        }
    }

    fn is_right(&mut self) {
        if self.retry.take().is_some() {
            log::notice!("{}: in place again", self.name);
            self.said.clear();
        }
        self.delay = RETRY.0;
        self.trouble = None;
    }

    fn failed(&mut self, reason: &str) {
        self.trouble = Some(reason.to_owned());
        self.say_once(reason);
        // Events make it look sooner; they must not make it wait longer.
        if self.retry.is_none_or(|time| time <= Instant::now()) {
            self.retry = Some(Instant::now() + self.delay);
            self.delay = (self.delay * 2).min(RETRY.1);
        }
    }

    fn say_once(&mut self, line: &str) {
        if self.said.len() >= TOLD.0 as usize {
            self.said.clear();
        }
        if self.said.insert(line.to_owned()) {
            log::warning!("{line}");
        }
    }
}

/// Logs what was mended, but not without bounds; `status` is told of all of it.
struct Journal {
    /// None where another watch runs, or /var/run is full.
    pulse: Option<Pulse>,
    since: Option<Instant>,
    told: u32,
}

impl Journal {
    fn new() -> Self {
        let pulse = Pulse::open()
            .map_err(|error| log::warning!("`gluon-wan status` will not see this watch: {error}"))
            .ok();
        Self {
            pulse,
            since: None,
            told: 0,
        }
    }

    fn looked(&mut self, parts: [&Part; 2]) {
        if let Some(pulse) = &mut self.pulse {
            let trouble = parts.into_iter().filter_map(|part| part.trouble.clone());
            pulse.looked(&trouble.collect::<Vec<_>>());
        }
    }

    fn tell(&mut self, line: &str) {
        if let Some(pulse) = &mut self.pulse {
            pulse.mended(line);
        }
        let since = *self.since.get_or_insert_with(Instant::now);
        if since.elapsed() >= TOLD.1 {
            if self.told > TOLD.0 {
                log::notice!("{} changes were not logged", self.told - TOLD.0);
            }
            self.since = Some(Instant::now());
            self.told = 0;
        }
        self.told += 1;
        if self.told <= TOLD.0 {
            log::notice!("{line}");
        } else if self.told == TOLD.0 + 1 {
            log::notice!(
                "more changes than {} in {} s: not logged one by one",
                TOLD.0,
                TOLD.1.as_secs()
            );
        }
    }
}
