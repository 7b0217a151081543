//! One thing that is kept in place: whether to look at it, when to try again, and
//! how its trouble is told.

use std::fmt::Display;
use std::time::{Duration, Instant};

use crate::log::{self, Remarks};

/// How soon something that failed is tried again, without an event; from then
/// on after twice the time, up to the second one.
const RETRY: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));

/// Redirect, routing, or the WAN's devices.
pub struct Part {
    name: &'static str,
    /// Whether it is to be looked at.
    pub due: bool,
    retry: Option<Instant>,
    delay: Duration,
    remarks: Remarks,
    trouble: Option<String>,
}

impl Part {
    /// To be looked at, and nothing known of it.
    pub fn new(name: &'static str) -> Self {
        Self {
            name,
            due: true,
            retry: None,
            delay: RETRY.0,
            remarks: Remarks::default(),
            trouble: None,
        }
    }

    /// As new.
    pub fn begin_anew(&mut self) {
        *self = Self::new(self.name);
    }

    /// When to try again, none when nothing is wrong.
    pub fn retry(&self) -> Option<Instant> {
        self.retry
    }

    /// Why the last look failed.
    pub fn trouble(&self) -> Option<&str> {
        self.trouble.as_deref()
    }

    /// Notes what time it is.
    pub fn tick(&mut self, now: Instant) {
        self.due |= self.retry.is_some_and(|time| time <= now);
    }

    /// It is in place.
    pub fn is_right(&mut self) {
        if self.retry.take().is_some() {
            log::notice!("{}: in place again", self.name);
            self.remarks.forget();
        }
        self.delay = RETRY.0;
        self.trouble = None;
    }

    /// It cannot be put in place now.
    pub fn failed(&mut self, reason: &dyn Display) {
        let reason = reason.to_string();
        self.remarks.warn(&reason);
        self.trouble = Some(reason);
        // Events make it look sooner; they must not make it wait longer.
        if self.retry.is_none_or(|time| time <= Instant::now()) {
            self.retry = Some(Instant::now() + self.delay);
            self.delay = (self.delay * 2).min(RETRY.1);
        }
    }

    /// Says something about it, once.
    pub fn remark(&mut self, line: &dyn Display) {
        self.remarks.warn(&line.to_string());
    }
}
