//! From root to an unprivileged user with the one capability that marking needs.

use std::io;

use caps::Capability;
use nix::sys::prctl;
use nix::sys::resource::{Resource, setrlimit};
use nix::unistd::{Uid, User, setgid, setgroups, setuid};

use super::socket;
use crate::privilege;

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

/// Becomes `user` (if we are root) and keeps only the capability for the mark,
/// which is tried out.
///
/// # Errors
/// Nothing may be served then.
pub fn drop_to(user: &str, mark: u32) -> Result<(), Error> {
    privilege::gain_no_more_than(&[])?;
    if Uid::effective().is_root() {
        become_user(user)?;
    }

    let permitted = privilege::permitted()?;
    let mut refused = io::ErrorKind::PermissionDenied.into();
    for capability in MARKING.into_iter().filter(|one| permitted.contains(one)) {
        let only = [capability].into();
        privilege::lower_to(&only)?;
        match socket::probe_mark(mark) {
            Ok(()) => return Ok(privilege::keep_only(&only)?),
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
fn become_user(name: &str) -> Result<(), Error> {
    let known = User::from_name(name).map_err(kernel("look the user up"))?;
    let user = known.ok_or_else(|| Error::NoUser(name.to_owned()))?;
    prctl::set_keepcaps(true).map_err(kernel("keep capabilities"))?;
    setgroups(&[]).map_err(kernel("leave all groups"))?;
    setgid(user.gid).map_err(kernel("change the group"))?;
    setuid(user.uid).map_err(kernel("change the user"))
}

fn kernel(what: &'static str) -> impl Fn(nix::Error) -> Error {
    move |errno| privilege::Error::new(what, errno).into()
}
