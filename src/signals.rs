//! Signals as something to read, like all else that a loop waits for.
//!
//! No handler runs in the middle of anything, and there is no table of all signals
//! to keep.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};

/// What a process that serves is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Told {
    /// SIGHUP: to read its configuration again.
    Reload,
    /// SIGTERM or SIGINT.
    Leave,
}

/// The descriptor at which signals arrive.
pub struct Signals(SignalFd);

impl Signals {
    /// Takes SIGHUP, SIGINT and SIGTERM, which do nothing else from now on. Threads
    /// that are there already are not asked, and children inherit it.
    ///
    /// # Errors
    /// The kernel's limits.
    pub fn take() -> io::Result<Self> {
        let taken: SigSet = [Signal::SIGHUP, Signal::SIGINT, Signal::SIGTERM]
            .into_iter()
            .collect();
        taken.thread_block()?;
        let flags = SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC;
        Ok(Self(SignalFd::with_flags(&taken, flags)?))
    }

    /// The next one that has come; none where there is none.
    ///
    /// # Errors
    /// None that the kernel has for this.
    pub fn next(&self) -> io::Result<Option<Told>> {
        let told = self.0.read_signal()?;
        Ok(told.map(|told| match i32::try_from(told.ssi_signo) {
            Ok(libc::SIGHUP) => Told::Reload,
            _ => Told::Leave,
        }))
    }
}

impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::sys::signal::raise;

    #[test]
    fn signals_are_told_and_do_nothing_else() {
        let signals = Signals::take().unwrap();
        assert_eq!(signals.next().unwrap(), None);
        for (signal, told) in [
            (Signal::SIGHUP, Told::Reload),
            (Signal::SIGINT, Told::Leave),
            (Signal::SIGTERM, Told::Leave),
        ] {
            // To this thread, which has blocked it.
            raise(signal).unwrap();
            assert_eq!(signals.next().unwrap(), Some(told));
        }
        assert_eq!(signals.next().unwrap(), None);
    }
}
