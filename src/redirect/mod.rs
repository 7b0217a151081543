//! The table `inet gluon_wan`: DNS of the VPN daemons' groups goes to the resolver,
//! and what is marked for the WAN never leaves through anything else.
//!
//! [`wanted`] makes a [`Table`] of the configuration; [`sync`] compares it with
//! the kernel's and replaces that as a whole when anything differs; [`include`]
//! gives it to fw4, and [`Events`] tell when to look again. Nothing here waits.

mod attrs;
mod error;
mod events;
mod expr;
mod flows;
mod groups;
mod guard;
pub mod include;
mod kernel;
mod netlink;
mod objects;
mod table;
mod transaction;

pub use error::{Error, Step};
pub use events::Events;
pub use expr::Counted;
pub use groups::gid;
pub use kernel::Present;
pub use table::{Group, Table};

use crate::config::Config;
use kernel::Kernel;

/// What had to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Nothing, it was right already.
    Unchanged,
    /// It was made, replaced or removed.
    Written,
}

/// The table that the configuration asks for, where the WAN has these `devices`. Groups that do not exist are left
/// out, with a line in the log the first time.
///
/// # Errors
/// None of the groups exists.
pub fn wanted(config: &Config, devices: &[String]) -> Result<Table, Error> {
    let groups = groups::find(&config.redirect.groups)?;
    Ok(Table::new(groups, config, devices))
}

/// Makes the kernel's table what it must be, in one transaction, unless it is.
///
/// # Errors
/// What is missing. The old table stays then.
pub fn sync(table: &Table) -> Result<Outcome, Error> {
    let objects = table.objects();
    let is_right = |present: &Present| present.objects == objects;
    Kernel::with(|kernel| {
        match kernel.read()? {
            Some(present) if is_right(&present) => {
                // Somebody may have taken it away and put it back, as fw4 does.
                if kernel.remember(&present) {
                    kernel.forget_flows();
                }
                return Ok(Outcome::Unchanged);
            }
            Some(_) => kernel.replace(&objects)?,
            // Without a deletion, the kernel need not wait for what is deleted.
            None => match kernel.create(&objects) {
                Err(error) if error.is_exists() => kernel.replace(&objects)?,
                result => result?,
            },
        }
        // A table that never reads as it was written would be written at every look.
        let written = kernel.read()?.filter(is_right).ok_or(Error::NotKept)?;
        kernel.remember(&written);
        kernel.forget_flows();
        Ok(Outcome::Written)
    })
}

/// Lets the table see flows from before it also where nobody was there to look
/// when it came: the watch had ended, and fw4 put it back.
///
/// # Errors
/// A kernel without netfilter's netlink.
pub fn forget_flows() -> Result<(), Error> {
    Kernel::with(|kernel| {
        kernel.forget_flows();
        Ok(())
    })
}

/// Removes the table, whatever is in it.
///
/// # Errors
/// No permission.
pub fn clear() -> Result<Outcome, Error> {
    Kernel::with(|kernel| {
        if kernel.read()?.is_some() && kernel.remove()? {
            Ok(Outcome::Written)
        } else {
            Ok(Outcome::Unchanged)
        }
    })
}

/// The table in the kernel, none when there is none.
///
/// # Errors
/// A kernel without nftables; no permission.
pub fn present() -> Result<Option<Present>, Error> {
    Kernel::with(Kernel::read)
}

impl Present {
    /// Whether it is what it must be.
    pub fn is(&self, table: &Table) -> bool {
        self.objects == table.objects()
    }
}
