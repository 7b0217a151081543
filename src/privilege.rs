//! Privileges given up for good, by what runs for years.

use std::io;

use caps::errors::CapsError;
use caps::{CapSet, Capability, CapsHashSet};
use nix::sys::prctl;

/// A privilege could not be given up.
#[derive(Debug, thiserror::Error)]
#[error("cannot {what}")]
pub struct Error {
    what: &'static str,
    source: io::Error,
}

impl Error {
    /// `what` was tried, as in "cannot ...".
    pub fn new(what: &'static str, source: impl Into<io::Error>) -> Self {
        Self {
            what,
            source: source.into(),
        }
    }
}

/// Neither this process nor what it starts can gain a capability that is not
/// `kept`, whoever it becomes.
///
/// # Errors
/// The kernel's.
pub fn gain_no_more_than(kept: &[Capability]) -> Result<(), Error> {
    for capability in caps::all().difference(&kept.iter().copied().collect()) {
        // A kernel may know fewer or more, and only root can; what cannot be
        // raised need not fall.
        let _ = caps::drop(None, CapSet::Bounding, *capability);
    }
    prctl::set_no_new_privs().map_err(|errno| Error::new("renounce new privileges", errno))?;
    caps::clear(None, CapSet::Inheritable)
        .map_err(|error| failed("clear inheritable capabilities", &error))
}

/// The capabilities it may have now.
///
/// # Errors
/// The kernel's.
pub fn permitted() -> Result<CapsHashSet, Error> {
    caps::read(None, CapSet::Permitted).map_err(|error| failed("read capabilities", &error))
}

/// Has only these of them in effect. The others can come back.
///
/// # Errors
/// One of them is not permitted.
pub fn lower_to(kept: &CapsHashSet) -> Result<(), Error> {
    caps::set(None, CapSet::Effective, kept).map_err(|error| failed("limit capabilities", &error))
}

/// Has only these of them, from now on.
///
/// # Errors
/// One of them is not permitted.
pub fn keep_only(kept: &CapsHashSet) -> Result<(), Error> {
    lower_to(kept)?;
    caps::set(None, CapSet::Permitted, kept).map_err(|error| failed("limit capabilities", &error))
}

fn failed(what: &'static str, error: &CapsError) -> Error {
    Error::new(what, io::Error::other(error.to_string()))
}
