//! All parts put in place, once; and taken away again.
//!
//! Each part is tried even when another one failed. What keeps traffic from
//! going astray comes first: the rule and the unreachable route, then the
//! redirect, then its file for fw4.

use std::fmt;
use std::path::PathBuf;

use crate::config::{Config, Redirect};
use crate::log;
use crate::privilege::{self, Capabilities};
use crate::redirect::{self, Reconciler, include};
use crate::routing;
use crate::wan;

/// Why not everything is in place, or taken away.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nothing was tried.
    #[error("changing rules, routes and nftables needs root (CAP_NET_ADMIN): run it as root")]
    Privilege,
    /// Some parts failed; the others were done.
    #[error("{0}")]
    Parts(Failures),
}

/// The parts that failed, at least one, each with its reason.
#[derive(Debug, Default)]
pub struct Failures(Vec<Failure>);

/// Why one part is not in place.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// Which devices are the WAN's.
    #[error("{}", log::chain(.0))]
    Wan(#[from] wan::Error),
    /// Rule and routes.
    #[error("routing: {}", log::chain(.0))]
    Routing(#[from] routing::Error),
    /// The nftables table.
    #[error("redirect: {}", log::chain(.0))]
    Redirect(#[from] redirect::Error),
    /// The file that fw4 includes.
    #[error("include: {}", log::chain(.0))]
    Include(#[from] include::Error),
}

/// Puts table, include, rules and routes in place.
///
/// # Errors
/// What could not be done; everything else was.
pub fn sync(config: &Config) -> Result<(), Error> {
    may_change()?;
    let mut failures = Failures::default();
    let devices = failures
        .catch(wan::find(config))
        .unwrap_or_else(wan::Devices::usual);
    devices
        .left_out
        .iter()
        .for_each(|line| log::warning!("{line}"));
    let devices = devices.names();
    if let Some(outcome) = failures.catch(routing::sync(&config.routing, &devices)) {
        outcome
            .obstacles
            .iter()
            .for_each(|obstacle| log::warning!("{obstacle}"));
    }
    failures.catch(put_redirect_once(config, &devices));
    failures.into_result()
}

/// Removes what [`sync`] made.
///
/// # Errors
/// What could not be done; everything else was.
pub fn clear(config: &Config) -> Result<(), Error> {
    may_change()?;
    let mut failures = Failures::default();
    // The file first: fw4 would bring the table back.
    for path in config.redirect.include.iter().chain(&shipped_include()) {
        failures.catch(include::remove(path));
    }
    failures.catch(Reconciler::open().and_then(|mut reconciler| reconciler.clear()));
    failures.catch(routing::clear());
    failures.into_result()
}

/// What came of putting the table in place.
pub struct Put {
    /// Whether it was written.
    pub outcome: redirect::Outcome,
    /// Whether anything is redirected. What is marked is guarded in any case.
    pub redirects: Result<(), redirect::Error>,
}

/// Puts table and include in place. The include is what fw4 refuses to start
/// without, so it is written only when the kernel took the same table.
///
/// # Errors
/// What could not be done.
pub fn put_redirect(
    reconciler: &mut Reconciler,
    config: &Config,
    devices: &[String],
) -> Result<Put, Failure> {
    let wanted = redirect::wanted(config, devices)?;
    reconciler.tell_missing(&wanted);
    let outcome = reconciler.sync(&wanted.table)?;
    if let Some(path) = &config.redirect.include {
        include::write(path, &wanted.table)?;
    }
    let shipped = shipped_include();
    if let Some(path) = shipped.filter(|path| config.redirect.include.as_ref() != Some(path)) {
        include::remove(&path)?;
    }
    Ok(Put {
        outcome,
        redirects: wanted.redirects(),
    })
}

fn put_redirect_once(config: &Config, devices: &[String]) -> Result<(), Failure> {
    let put = put_redirect(&mut Reconciler::open()?, config, devices)?;
    Ok(put.redirects?)
}

/// Where the link leads that is shipped for fw4. What an earlier configuration
/// wanted must not stay there.
fn shipped_include() -> Option<PathBuf> {
    Redirect::default().include
}

/// Asked first, so that without the privilege nothing is half done.
///
/// # Errors
/// It is missing.
pub fn may_change() -> Result<(), Error> {
    match privilege::has(Capabilities::NET_ADMIN) {
        Ok(false) => Err(Error::Privilege),
        // Where it cannot be asked, the kernel will say.
        Ok(true) | Err(_) => Ok(()),
    }
}

impl Failures {
    fn catch<T>(&mut self, result: Result<T, impl Into<Failure>>) -> Option<T> {
        result.map_err(|error| self.0.push(error.into())).ok()
    }

    fn into_result(self) -> Result<(), Error> {
        if self.0.is_empty() {
            Ok(())
        } else {
            Err(Error::Parts(self))
        }
    }
}

impl fmt::Display for Failures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, failure) in self.0.iter().enumerate() {
            write!(f, "{}{failure}", if number == 0 { "" } else { "; " })?;
        }
        Ok(())
    }
}
