//! The table in the kernel: read, made, replaced, removed.

use nftnl::nftnl_sys::libc;

use super::error::{Error, Step};
use super::expr::Counted;
use super::objects::Objects;
use super::reading;
use super::table::Table;
use super::transaction::Transaction;
use crate::netlink::{Bus, Netlink};

/// A table that changes this often while it is read is not worth waiting for.
const READS: usize = 20;

/// The table in the kernel, and what it has done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Present {
    /// Everything that decides what it does.
    pub(super) objects: Objects,
    /// What was redirected: the first packet of each flow.
    pub redirected: Counted,
    /// What the guard of marked packets stopped.
    pub stopped: Counted,
    /// DNS of the groups that was stopped, since it was not redirected or its socket
    /// is bound to a device.
    pub unredirected: Counted,
    /// Errors about late answers that were stopped.
    pub errors: Counted,
    /// What was stopped since it would have used the WAN without the mark.
    pub unmarked: Counted,
}

/// nf_tables of this network namespace.
///
/// The socket stays open from one time to the next. To close one makes the kernel
/// wait until what was deleted is freed, with nf_tables locked meanwhile
/// (nft_rcv_nl_event): some 10 ms in which the next change would go unseen.
pub struct Kernel {
    netlink: Netlink,
}

impl Kernel {
    /// Opens the socket.
    ///
    /// # Errors
    /// A kernel without netfilter's netlink.
    pub fn open() -> Result<Self, Error> {
        match Netlink::open(Bus::Netfilter) {
            Ok(netlink) => Ok(Self { netlink }),
            Err(error) => Err(Error::kernel(Step::Open, error)),
        }
    }

    /// Whose changes are ours.
    pub fn port(&self) -> u32 {
        self.netlink.port()
    }

    /// The table as it is, none when there is none.
    ///
    /// nf_tables shows it object by object, and somebody else may change theirs all
    /// the time. So it is read again when the ruleset was another one at the end, but
    /// not for ever, and not when what was read is what `enough` asks for: whatever
    /// happens to the table after that is an event.
    ///
    /// # Errors
    /// A kernel without nf_tables, no permission.
    pub fn read(&mut self, enough: &dyn Fn(&Present) -> bool) -> Result<Option<Present>, Error> {
        let mut read = None;
        for _ in 0..READS {
            let snapshot = match reading::snapshot(&mut self.netlink) {
                // An object was there a moment ago.
                Err(error) if error.raw_os_error() == Some(libc::ENOENT) => continue,
                result => result.map_err(|error| Error::kernel(Step::Read, error))?,
            };
            let is_whole = snapshot.is_whole;
            read = snapshot.present;
            if is_whole || read.as_ref().is_some_and(enough) {
                break;
            }
        }
        Ok(read)
    }

    /// Makes the table, which must not be there, in one transaction.
    ///
    /// # Errors
    /// EEXIST; what the kernel lacks.
    pub fn create(&mut self, table: &Table) -> Result<(), Error> {
        Transaction::create(table).commit(&mut self.netlink)
    }

    /// Makes the table anew, whatever is there, in one transaction.
    ///
    /// # Errors
    /// What the kernel lacks. The old table stays then.
    pub fn replace(&mut self, table: &Table) -> Result<(), Error> {
        Transaction::replace(table).commit(&mut self.netlink)
    }

    /// Removes the table; false when there was none.
    ///
    /// # Errors
    /// No permission.
    pub fn remove(&mut self) -> Result<bool, Error> {
        match Transaction::remove().commit(&mut self.netlink) {
            Ok(()) => Ok(true),
            Err(error) if error.is_not_there() => Ok(false),
            Err(error) => Err(error),
        }
    }
}
