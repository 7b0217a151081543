//! From root to an unprivileged user with the one capability that marking needs.

use std::io;

use caps::{CapSet, Capability};
use nix::sys::prctl;
use nix::unistd::{Uid, User, setgid, setgroups, setuid};

use super::socket;

/// What marking a socket needs: CAP_NET_RAW is enough since Linux 5.17,
/// CAP_NET_ADMIN before. The lesser one is tried first.
const MARKING: [Capability; 2] = [Capability::CAP_NET_RAW, Capability::CAP_NET_ADMIN];

/// Why privileges could not be given up.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No such user.
    #[error(
        "there is no user '{0}' to run the resolver as: \
         create it or set option user in section resolver"
    )]
    NoUser(String),
    /// A system call failed.
    #[error("cannot {what}")]
    Kernel {
        /// What was tried.
        what: &'static str,
        /// What the kernel said.
        source: io::Error,
    },
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

/// Becomes `user` (if we are root) and keeps only the capability for the mark,
/// which is tried out.
///
/// # Errors
/// Nothing may be served then.
pub fn drop_to(user: &str, mark: u32) -> Result<(), Error> {
    let kernel = |what| {
        move |errno: nix::Error| Error::Kernel {
            what,
            source: errno.into(),
        }
    };
    let limit = |what| {
        move |error: caps::errors::CapsError| Error::Kernel {
            what,
            source: io::Error::other(error.to_string()),
        }
    };
    if Uid::effective().is_root() {
        let known = User::from_name(user).map_err(kernel("look the user up"))?;
        let user = known.ok_or_else(|| Error::NoUser(user.to_owned()))?;
        // A kernel may know fewer or more; what cannot be raised need not fall.
        for capability in caps::all() {
            let _ = caps::drop(None, CapSet::Bounding, capability);
        }
        prctl::set_keepcaps(true).map_err(kernel("keep capabilities"))?;
        setgroups(&[]).map_err(kernel("leave all groups"))?;
        setgid(user.gid).map_err(kernel("change the group"))?;
        setuid(user.uid).map_err(kernel("change the user"))?;
    }
    prctl::set_no_new_privs().map_err(kernel("renounce new privileges"))?;
    caps::clear(None, CapSet::Inheritable).map_err(limit("clear inheritable capabilities"))?;

    let permitted = caps::read(None, CapSet::Permitted).map_err(limit("read capabilities"))?;
    let mut refused = io::ErrorKind::PermissionDenied.into();
    for capability in MARKING.into_iter().filter(|one| permitted.contains(one)) {
        let only = [capability].into();
        caps::set(None, CapSet::Effective, &only).map_err(limit("limit capabilities"))?;
        match socket::probe_mark(mark) {
            Ok(()) => {
                return caps::set(None, CapSet::Permitted, &only)
                    .map_err(limit("limit capabilities"));
            }
            Err(error) => refused = error,
        }
    }
    Err(Error::Mark {
        mark,
        source: refused,
    })
}
