//! A timer that stays armed in the kernel while other things are waited for.
//!
//! A time-out of the wait itself would be armed and disarmed around every wait:
//! twice a query, where this one is set some forty times a second.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};

/// Runs out at one time.
pub struct Timer(TimerFd);

impl Timer {
    /// Not set.
    ///
    /// # Errors
    /// The kernel's limits.
    pub fn new() -> io::Result<Self> {
        let flags = TimerFlags::TFD_NONBLOCK | TimerFlags::TFD_CLOEXEC;
        Ok(Self(TimerFd::new(ClockId::CLOCK_MONOTONIC, flags)?))
    }

    /// Sets it to another time. Nothing needs to be read from it: setting it
    /// makes it unready.
    pub fn set(&self, due: Option<Instant>) {
        // The kernel refuses only what is no timer or no time.
        let _ = match due {
            None => self.0.unset(),
            Some(due) => {
                let left = due.saturating_duration_since(Instant::now());
                // Zero would unset it.
                let left = TimeSpec::from_duration(left.max(Duration::from_nanos(1)));
                self.0
                    .set(Expiration::OneShot(left), TimerSetTimeFlags::empty())
            }
        };
    }
}

impl AsFd for Timer {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
