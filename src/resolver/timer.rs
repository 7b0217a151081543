//! A timer that stays armed in the kernel while other things are waited for.
//!
//! The runtime's own is armed and disarmed around every wait: twice a query,
//! where this one is set some forty times a second.

use std::io;
use std::time::{Duration, Instant};

use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use crate::ready::{self, Source};

/// Waits for one time.
pub struct Timer(AsyncFd<Source<TimerFd>>);

impl Timer {
    /// Not set.
    ///
    /// # Errors
    /// The kernel's limits.
    pub fn new() -> io::Result<Self> {
        let flags = TimerFlags::TFD_NONBLOCK | TimerFlags::TFD_CLOEXEC;
        let timer = TimerFd::new(ClockId::CLOCK_MONOTONIC, flags)?;
        Ok(Self(ready::register(Source(timer), Interest::READABLE)?))
    }

    /// Sets it to another time.
    ///
    /// # Errors
    /// None that the kernel has for this.
    pub fn set(&self, due: Option<Instant>) -> io::Result<()> {
        let timer = &self.0.get_ref().0;
        match due {
            None => timer.unset()?,
            Some(due) => {
                let left = due.saturating_duration_since(Instant::now());
                // Zero would unset it.
                let left = TimeSpec::from_duration(left.max(Duration::from_nanos(1)));
                timer.set(Expiration::OneShot(left), TimerSetTimeFlags::empty())?;
            }
        }
        Ok(())
    }

    /// The time has come.
    ///
    /// # Errors
    /// None that the kernel has for this.
    pub async fn expired(&self) -> io::Result<()> {
        // Nothing is read: setting it again makes it unready.
        self.0.readable().await?.clear_ready();
        Ok(())
    }
}
