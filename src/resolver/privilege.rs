//! From root to an unprivileged user with the one capability that marking needs.

use std::io;

use nix::sys::prctl;
use nix::sys::resource::{Resource, setrlimit};
use nix::unistd::{Gid, Uid, setgid, setgroups, setuid};

use super::socket;
use crate::accounts::{self, Account};
use crate::config::{Config, Group};
use crate::log;
use crate::privilege::{self, Capabilities};

/// What marking a socket needs: CAP_NET_RAW is enough since Linux 5.17,
/// CAP_NET_ADMIN before. The lesser one is tried first.
const MARKING: [Capabilities; 2] = [Capabilities::NET_RAW, Capabilities::NET_ADMIN];

/// Why privileges could not be given up.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No such user.
    #[error(
        "there is no user '{0}' to run the resolver as: \
         create it or set option user in section resolver"
    )]
    NoUser(String),
    /// Its own queries would be redirected to it.
    #[error(
        "DNS of group '{0}' is redirected to the resolver, and that is the resolver's own group: \
         its queries would come back to it, so nothing is served; \
         set option user in section resolver to a user with another group"
    )]
    OwnGroup(Group),
    /// The databases of users and groups cannot be read.
    #[error("cannot look up users and groups")]
    Accounts(#[from] io::Error),
    /// A system call failed.
    #[error(transparent)]
    Kernel(#[from] privilege::Error),
    /// Sockets cannot be marked.
    #[error(
        "cannot set the packet mark {mark:#x} on a socket, so nothing is served: \
         marking needs CAP_NET_ADMIN, or CAP_NET_RAW since Linux 5.17"
    )]
    Mark {
        /// The mark.
        mark: u32,
        /// What the kernel said.
        source: io::Error,
    },
}

/// Tries the mark out.
///
/// # Errors
/// Sockets cannot be marked, so nothing may be served.
pub fn may_mark(mark: u32) -> Result<(), Error> {
    socket::probe_mark(mark).map_err(|source| Error::Mark { mark, source })
}

/// Who the resolver will be: if we are root, the user of the configuration; else
/// none, and it stays who it is.
///
/// # Errors
/// There is no such user, or its DNS is redirected to us.
pub fn account(config: &Config) -> Result<Option<Account>, Error> {
    let account = if Uid::effective().is_root() {
        let account = accounts::resolver(config)?;
        let wanted = &config.resolver.user;
        let account = account.ok_or_else(|| Error::NoUser(wanted.clone()))?;
        if account.name != *wanted {
            log::warning!("there is no user '{wanted}', running as '{}'", account.name);
        }
        Some(account)
    } else {
        None
    };
    let gid = account.as_ref().map_or_else(Gid::effective, |one| one.gid);
    never_redirected(config, gid)?;
    Ok(account)
}

/// Whether a resolver with this group may serve.
///
/// # Errors
/// The group is redirected: each query of ours would come back, as another query
/// to pass on.
pub fn never_redirected(config: &Config, own: Gid) -> Result<(), Error> {
    match accounts::redirected(config, own)? {
        None => Ok(()),
        Some(group) => Err(Error::OwnGroup(group.clone())),
    }
}

/// Becomes `account`, if there is one, and keeps only the capability for the mark,
/// which is tried out.
///
/// # Errors
/// Nothing may be served then.
pub fn drop_to(account: Option<&Account>, mark: u32) -> Result<(), Error> {
    privilege::gain_no_more_than(Capabilities::NONE)?;
    if let Some(account) = account {
        become_user(account)?;
    }

    let permitted = privilege::permitted()?;
    let mut refused = io::ErrorKind::PermissionDenied.into();
    for only in MARKING.into_iter().filter(|one| permitted.have(*one)) {
        privilege::lower_to(only)?;
        match socket::probe_mark(mark) {
            Ok(()) => return Ok(privilege::keep_only(only)?),
            Err(error) => refused = error,
        }
    }
    Err(Error::Mark {
        mark,
        source: refused,
    })
}

/// Starts no process or thread any more.
///
/// # Errors
/// None that the kernel has for this.
pub fn start_nothing_more() -> io::Result<()> {
    Ok(setrlimit(Resource::RLIMIT_NPROC, 0, 0)?)
}

/// From root, with all capabilities until they are lowered.
fn become_user(account: &Account) -> Result<(), Error> {
    prctl::set_keepcaps(true).map_err(kernel("keep capabilities"))?;
    setgroups(&[]).map_err(kernel("leave all groups"))?;
    setgid(account.gid).map_err(kernel("change the group"))?;
    setuid(account.uid).map_err(kernel("change the user"))
}

fn kernel(what: &'static str) -> impl Fn(nix::Error) -> Error {
    move |errno| privilege::Error::new(what, errno).into()
}
