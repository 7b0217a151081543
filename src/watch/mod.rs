//! Keeps in place what [`crate::sync`] puts there: waits for events of the
//! kernel and for signals, and looks again. Between events it sleeps, without a
//! timer.

mod journal;
mod pace;
mod part;
mod sources;

use std::io;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Instant;

use crate::config::Config;
use crate::privilege::{self, Capabilities};
use crate::redirect::{self, Reconciler, include};
use crate::wan::{self, Devices};
use crate::{log, routing, sync};
use journal::Journal;
use pace::Pace;
use part::Part;
use sources::{Sources, Wake};

/// To change nftables, rules and routes, and to check a file with nft; to hear
/// routers.
const NEEDED: Capabilities = Capabilities::NET_ADMIN.with(Capabilities::NET_RAW);

/// Why it does not watch, or no longer.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nothing could be changed.
    #[error(transparent)]
    Privilege(#[from] sync::Error),
    /// No signals, no wait.
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
    Watch::new(dir, config)?.run()
}

/// Root's files stay its own; of root's capabilities, those that it needs.
fn give_up_privileges() -> Result<(), privilege::Error> {
    privilege::gain_no_more_than(NEEDED)?;
    privilege::keep_only(privilege::permitted()? & NEEDED)
}

struct Watch {
    dir: PathBuf,
    config: Config,
    sources: Sources,
    devices: Devices,
    keeper: routing::Keeper,
    reconciler: Reconciler,
    wan: Part,
    routing: Part,
    redirect: Part,
    journal: Journal,
    pace: Pace,
}

impl Watch {
    fn new(dir: &Path, config: Config) -> Result<Self, Error> {
        let keeper = routing::Keeper::open()?;
        let reconciler = Reconciler::open()?;
        let sources = Sources::new(keeper.events()?, reconciler.events()?, &config)?;
        Ok(Self {
            dir: dir.to_owned(),
            config,
            sources,
            devices: Devices::usual(),
            keeper,
            reconciler,
            wan: Part::new("devices"),
            routing: Part::new("routing"),
            redirect: Part::new("redirect"),
            journal: Journal::new(),
            pace: Pace::new(),
        })
    }

    fn run(mut self) -> Result<(), Error> {
        loop {
            self.hear()?;
            self.look();
            let parts = [&self.wan, &self.routing, &self.redirect];
            self.journal.looked(&parts);
            let retry = parts.into_iter().filter_map(Part::retry).min();
            match self.sources.wait(retry)? {
                Wake::Look => {}
                Wake::Devices => self.wan.due = true,
                Wake::Reload => {
                    self.reload();
                    continue;
                }
                Wake::Leave => return Ok(()),
            }
            thread::sleep(self.pace.next().saturating_duration_since(Instant::now()));
        }
    }

    /// Reads all events, and what they mean for the parts.
    fn hear(&mut self) -> Result<(), Error> {
        let now = Instant::now();
        for part in [&mut self.wan, &mut self.routing, &mut self.redirect] {
            part.tick(now);
        }
        let news = self.sources.routing.drain(
            &self.config.routing,
            &self.devices.all_names(),
            self.keeper.known(),
        )?;
        self.keeper.note(&news);
        self.routing.due |= news.concerns_us;
        if let Some(routers) = &mut self.sources.routers {
            let withdrawn = routers.drain(now)?;
            self.routing.due |= !withdrawn.is_empty();
            self.keeper.withdraw(withdrawn);
        }
        self.redirect.due |= self.sources.redirect.drain()?;
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
        self.pace.looked(start, Instant::now());
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
            self.wan.remark(line);
        }
        let names = devices.names();
        if names != self.devices.names() {
            self.routing.due = true;
            self.redirect.due = true;
            let names = names.join(", ");
            self.journal.tell(format_args!("the WAN is {names}"));
        }
        self.devices = devices;
    }

    fn look_at_redirect(&mut self) {
        let put = sync::put_redirect(&mut self.reconciler, &self.config, &self.devices.names());
        let put = match put {
            Ok(put) => put,
            Err(failure) => return self.redirect.failed(&failure),
        };
        if put.outcome == redirect::Outcome::Written {
            self.journal.tell(format_args!("redirect: table written"));
        }
        match put.redirects {
            Ok(()) => self.redirect.is_right(),
            Err(error) => self.redirect.failed(&format_args!("redirect: {error}")),
        }
    }

    fn look_at_routing(&mut self) {
        let devices = self.devices.names();
        let outcome = match self.keeper.sync(&self.config.routing, &devices) {
            Ok(outcome) => outcome,
            Err(error) => {
                let reason = log::chain(&error);
                return self.routing.failed(&format_args!("routing: {reason}"));
            }
        };
        for line in &outcome.changes.lines {
            self.journal.tell(format_args!("routing: {line}"));
        }
        if outcome.changes.more > 0 {
            let more = outcome.changes.more;
            self.journal
                .tell(format_args!("routing: and {more} changes more"));
        }
        if let Some(routers) = &mut self.sources.routers
            && let Err(error) = routers.listen_on(&self.keeper.known().links)
        {
            self.routing
                .remark(&format_args!("routing: routers are not heard: {error}"));
        }
        for obstacle in &outcome.obstacles {
            self.routing.remark(&format_args!("routing: {obstacle}"));
        }
        if outcome.failures.is_empty() {
            self.routing.is_right();
        } else {
            let reason = &outcome.failures;
            self.routing.failed(&format_args!("routing: {reason}"));
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
        self.sources.follow(&self.config);
        for part in [&mut self.wan, &mut self.routing, &mut self.redirect] {
            part.begin_anew();
        }
        log::notice!("configuration read again");
    }
}
