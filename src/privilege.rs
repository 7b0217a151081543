//! Privileges given up for good, by what runs for years.

use std::io;
use std::ops::BitAnd;

use nix::sys::prctl;

/// Capabilities, each a bit (linux/capability.h).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capabilities(u64);

impl Capabilities {
    /// None at all.
    pub const NONE: Self = Self(0);
    /// CAP_NET_ADMIN.
    pub const NET_ADMIN: Self = Self(1 << 12);
    /// CAP_NET_RAW.
    pub const NET_RAW: Self = Self(1 << 13);
    /// As many as a set of the kernel has room for.
    const COUNT: u32 = u64::BITS;

    /// These and those.
    #[must_use]
    pub const fn with(self, others: Self) -> Self {
        Self(self.0 | others.0)
    }

    /// Whether all of `others` are among them.
    #[must_use]
    pub fn have(self, others: Self) -> bool {
        self & others == others
    }
}

/// Those that both have.
impl BitAnd for Capabilities {
    type Output = Self;

    fn bitand(self, others: Self) -> Self {
        Self(self.0 & others.0)
    }
}

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
pub fn gain_no_more_than(kept: Capabilities) -> Result<(), Error> {
    for number in 0..Capabilities::COUNT {
        if !kept.have(Capabilities(1 << number)) {
            forbid(number);
        }
    }
    prctl::set_no_new_privs().map_err(|errno| Error::new("renounce new privileges", errno))?;
    change("clear inheritable capabilities", |sets| {
        sets.inheritable = Capabilities::NONE;
    })
}

/// The capabilities it may have now.
///
/// # Errors
/// The kernel's.
pub fn permitted() -> Result<Capabilities, Error> {
    Ok(current()?.permitted)
}

/// Has only these of them in effect. The others can come back.
///
/// # Errors
/// One of them is not permitted.
pub fn lower_to(kept: Capabilities) -> Result<(), Error> {
    change("limit capabilities", |sets| sets.effective = kept)
}

/// Has only these of them, from now on.
///
/// # Errors
/// One of them is not permitted.
pub fn keep_only(kept: Capabilities) -> Result<(), Error> {
    change("limit capabilities", |sets| {
        sets.effective = kept;
        sets.permitted = kept;
    })
}

/// Whether these are in effect.
///
/// # Errors
/// The kernel's.
pub fn has(wanted: Capabilities) -> Result<bool, Error> {
    Ok(current()?.effective.have(wanted))
}

/// What a thread may do now, and what it passes on (capabilities(7)).
struct Sets {
    effective: Capabilities,
    permitted: Capabilities,
    inheritable: Capabilities,
}

/// struct __user_cap_header_struct, version 3: of this thread.
#[repr(C)]
struct Header {
    version: u32,
    pid: i32,
}

/// struct __user_cap_data_struct: the sets, each 32 of them.
#[repr(C)]
#[derive(Default)]
struct Half {
    effective: u32,
    permitted: u32,
    inheritable: u32,
}

fn change(what: &'static str, to: impl Fn(&mut Sets)) -> Result<(), Error> {
    let mut sets = current()?;
    to(&mut sets);
    let half = |shift: u32| Half {
        effective: (sets.effective.0 >> shift) as u32,
        permitted: (sets.permitted.0 >> shift) as u32,
        inheritable: (sets.inheritable.0 >> shift) as u32,
    };
    ask(what, libc::SYS_capset, &mut [half(0), half(32)])
}

fn current() -> Result<Sets, Error> {
    let mut halves = [Half::default(), Half::default()];
    ask("read capabilities", libc::SYS_capget, &mut halves)?;
    let [low, high] = halves;
    let whole = |low: u32, high: u32| Capabilities(u64::from(high) << 32 | u64::from(low));
    Ok(Sets {
        effective: whole(low.effective, high.effective),
        permitted: whole(low.permitted, high.permitted),
        inheritable: whole(low.inheritable, high.inheritable),
    })
}

/// `call` is capget(2) or capset(2), which libc has no functions for.
fn ask(what: &'static str, call: libc::c_long, halves: &mut [Half; 2]) -> Result<(), Error> {
    let mut header = Header {
        version: 0x2008_0522,
        pid: 0,
    };
    // SAFETY: both take a header and, for its version, two structures, and read or
    // write no more than that; all live until the call is over.
    let done = unsafe { libc::syscall(call, &raw mut header, halves.as_mut_ptr()) };
    match done {
        0 => Ok(()),
        _ => Err(Error::new(what, io::Error::last_os_error())),
    }
}

/// Out of the bounding set. A kernel knows fewer, and only root can; what cannot be
/// raised need not fall.
fn forbid(number: u32) {
    // SAFETY: PR_CAPBSET_DROP takes a number and touches no memory of ours.
    unsafe { libc::prctl(libc::PR_CAPBSET_DROP, libc::c_ulong::from(number), 0, 0, 0) };
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As the kernel shows them in /proc.
    fn shown(name: &str) -> u64 {
        let status = std::fs::read_to_string("/proc/thread-self/status").unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        u64::from_str_radix(line.unwrap().trim(), 16).unwrap()
    }

    #[test]
    fn all_sets_are_read_as_the_kernel_has_them() {
        let sets = current().unwrap();
        assert_eq!(sets.effective.0, shown("CapEff:"));
        assert_eq!(sets.permitted.0, shown("CapPrm:"));
        assert_eq!(sets.inheritable.0, shown("CapInh:"));
    }

    #[test]
    fn what_is_given_up_is_gone_and_the_rest_stays() {
        // Capabilities are a thread's own.
        let thread = std::thread::spawn(|| {
            let before = shown("CapPrm:");
            lower_to(Capabilities::NONE).unwrap();
            assert_eq!((shown("CapEff:"), shown("CapPrm:")), (0, before));
            let kept = permitted().unwrap() & Capabilities::NET_RAW;
            keep_only(kept).unwrap();
            assert_eq!((shown("CapEff:"), shown("CapPrm:")), (kept.0, kept.0));
            assert_eq!(has(Capabilities::NET_RAW).unwrap(), kept.0 != 0);
            assert!(!has(Capabilities::NET_RAW.with(Capabilities::NET_ADMIN)).unwrap());
            // The others do not come back.
            let lost = Capabilities::NET_ADMIN.with(kept);
            assert!(keep_only(lost).is_err());
        });
        thread.join().unwrap();
    }
}
