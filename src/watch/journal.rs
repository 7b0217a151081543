//! What the watch has done, for the log and for `status`.

use std::fmt;
use std::time::{Duration, Instant};

use super::part::Part;
use crate::log;
use crate::pulse::Pulse;

/// How many changes are logged in how much time.
const TOLD: (u32, Duration) = (20, Duration::from_secs(60));

/// Logs what was mended, but not without bounds; `status` is told of all of it.
pub struct Journal {
    /// None where another watch runs, or /var/run is full.
    pulse: Option<Pulse>,
    since: Option<Instant>,
    told: u32,
}

impl Journal {
    /// Nothing done yet.
    pub fn new() -> Self {
        let pulse = Pulse::open()
            .map_err(|error| log::warning!("`gluon-wan status` will not see this watch: {error}"))
            .ok();
        Self {
            pulse,
            since: None,
            told: 0,
        }
    }

    /// Says that there was a look, and what is wrong with the parts.
    pub fn looked(&mut self, parts: &[&Part]) {
        if let Some(pulse) = &mut self.pulse {
            let trouble: Vec<&str> = parts.iter().filter_map(|part| part.trouble()).collect();
            pulse.looked(&trouble);
        }
    }

    /// Says what was mended.
    pub fn tell(&mut self, line: fmt::Arguments) {
        if let Some(pulse) = &mut self.pulse {
            pulse.mended(&line.to_string());
        }
        let since = *self.since.get_or_insert_with(Instant::now);
        if since.elapsed() >= TOLD.1 {
            if self.told > TOLD.0 {
                log::notice!("{} changes were not logged", self.told - TOLD.0);
            }
            self.since = Some(Instant::now());
            self.told = 0;
        }
        self.told += 1;
        if self.told <= TOLD.0 {
            log::notice!("{line}");
        } else if self.told == TOLD.0 + 1 {
            log::notice!(
                "more changes than {} in {} s: not logged one by one",
                TOLD.0,
                TOLD.1.as_secs()
            );
        }
    }
}
