//! The table `inet gluon_wan`: DNS of the VPN daemons' groups goes to the resolver,
//! and what is marked for the WAN never leaves through anything else.
//!
//! [`wanted`] makes a [`Table`] of the configuration, a pure value, whose chains are
//! in `dns` and `mark`: each rule once, as `statement`s that know nft's words and the
//! kernel's expressions. A [`Reconciler`] reads what is present, compares, and replaces
//! the table as a whole when anything differs. [`mod@include`] gives it to fw4, and
//! [`Events`] tell when to look again. Nothing here waits.

mod chain;
mod directory;
mod dns;
mod error;
mod events;
mod expr;
mod groups;
pub mod include;
mod kernel;
mod mark;
mod objects;
mod raw;
mod reading;
mod set;
mod statement;
mod table;
mod transaction;

pub use error::{Error, Step};
pub use events::Events;
pub use expr::Counted;
pub use groups::gid;
pub use kernel::Present;
pub use table::{Group, NAME, Table};

use crate::config::{self, Config};
use crate::log;
use kernel::Kernel;
use objects::Objects;

/// What had to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Nothing, it was right already.
    Unchanged,
    /// It was made, replaced or removed.
    Written,
}

/// What the configuration asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// The table. Groups that do not exist are left out; without any, it guards what
    /// is marked all the same.
    pub table: Table,
    /// The groups that do not exist.
    pub missing: Vec<config::Group>,
}

/// What the configuration asks for, where the WAN has these `devices`.
///
/// # Errors
/// The group database cannot be read.
pub fn wanted(config: &Config, devices: &[String]) -> Result<Wanted, Error> {
    let groups = groups::find(&config.redirect.groups)?;
    Ok(Wanted {
        table: Table::new(groups.found, config, devices),
        missing: groups.missing,
    })
}

impl Wanted {
    /// Whether anything is redirected.
    ///
    /// # Errors
    /// None of the groups exists.
    pub fn redirects(&self) -> Result<(), Error> {
        if self.table.groups().is_empty() {
            let groups: Vec<String> = self.missing.iter().map(ToString::to_string).collect();
            let groups = groups.join(", ");
            return Err(Error::NoGroup { groups });
        }
        Ok(())
    }
}

/// Makes the kernel's table what it must be. Whoever looks more than once keeps it.
pub struct Reconciler {
    kernel: Kernel,
    /// The groups that are said to be missing.
    told: Vec<config::Group>,
}

/// What there is to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Plan {
    Keep,
    Create,
    Replace,
}

impl Reconciler {
    /// For this network namespace.
    ///
    /// # Errors
    /// A kernel without netfilter's netlink.
    pub fn open() -> Result<Self, Error> {
        Ok(Self {
            kernel: Kernel::open()?,
            told: Vec::new(),
        })
    }

    /// What happens to nftables from now on, but for what this one does.
    ///
    /// # Errors
    /// A kernel without netfilter's netlink; no permission.
    pub fn events(&self) -> Result<Events, Error> {
        Events::open(self.kernel.port())
    }

    /// Says which groups are missing that were not the last time. Where all are, that
    /// is an error.
    pub fn tell_missing(&mut self, wanted: &Wanted) {
        let old = std::mem::replace(&mut self.told, wanted.missing.clone());
        if wanted.table.groups().is_empty() {
            return;
        }
        for group in wanted.missing.iter().filter(|group| !old.contains(group)) {
            // Gluon has, according to its age, one or the other.
            let level = match config::Redirect::default().groups.contains(group) {
                true => log::Level::Info,
                false => log::Level::Warning,
            };
            log::line(
                level,
                format_args!("group '{group}' does not exist, its DNS is not redirected"),
            );
        }
    }

    /// The table in the kernel, none when there is none.
    ///
    /// # Errors
    /// A kernel without nftables; no permission.
    pub fn present(&mut self) -> Result<Option<Present>, Error> {
        self.kernel.read(&|_| false)
    }

    /// Makes the kernel's table what it must be, in one transaction, unless it is.
    ///
    /// # Errors
    /// What is missing. The old table stays then.
    pub fn sync(&mut self, table: &Table) -> Result<Outcome, Error> {
        let objects = table.objects();
        let is_right = |present: &Present| present.objects == objects;
        let present = self.kernel.read(&is_right)?;
        match plan(&objects, present.as_ref()) {
            Plan::Keep => return Ok(Outcome::Unchanged),
            Plan::Replace => self.kernel.replace(table)?,
            Plan::Create => match self.kernel.create(table) {
                // Somebody was faster.
                Err(error) if error.is_exists() => self.kernel.replace(table)?,
                result => result?,
            },
        }
        // A table that never reads as it was written would be written at every look.
        let written = self.kernel.read(&is_right)?;
        match plan(&objects, written.as_ref()) {
            Plan::Keep => Ok(Outcome::Written),
            Plan::Create | Plan::Replace => Err(Error::NotKept),
        }
    }

    /// Removes the table, whatever is in it.
    ///
    /// # Errors
    /// No permission.
    pub fn clear(&mut self) -> Result<Outcome, Error> {
        if self.present()?.is_some() && self.kernel.remove()? {
            Ok(Outcome::Written)
        } else {
            Ok(Outcome::Unchanged)
        }
    }
}

/// Without a deletion, the kernel need not wait for what is deleted.
fn plan(wanted: &Objects, present: Option<&Present>) -> Plan {
    match present {
        None => Plan::Create,
        Some(present) if present.objects == *wanted => Plan::Keep,
        Some(_) => Plan::Replace,
    }
}

impl Present {
    /// Whether it is what it must be.
    pub fn is(&self, table: &Table) -> bool {
        self.objects == table.objects()
    }
}
