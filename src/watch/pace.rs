//! How often the watch looks while events keep coming.

use std::time::{Duration, Instant};

/// After each look a rest, and never a shorter one than the look took, so that a
/// storm costs half of the time at most.
const REST: Duration = Duration::from_millis(20);
/// How many looks may be ahead of that: what happens now and then is looked at
/// at once.
const AHEAD: u32 = 4;

/// The rests that are due.
pub struct Pace {
    /// When all of them would be over.
    rested: Instant,
}

impl Pace {
    /// Nothing due.
    pub fn new() -> Self {
        Self {
            rested: Instant::now(),
        }
    }

    /// Notes a look from `start` until `end`.
    pub fn looked(&mut self, start: Instant, end: Instant) {
        self.rested = self.rested.max(end) + REST.max(end - start);
    }

    /// When to look again at the soonest.
    pub fn next(&self) -> Instant {
        self.rested - REST * AHEAD
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_few_looks_at_once_then_one_each_rest() {
        let mut pace = Pace::new();
        let start = Instant::now();
        for _ in 0..AHEAD {
            assert!(pace.next() <= start);
            pace.looked(start, start);
        }
        pace.looked(start, start);
        assert!(pace.next() > start);
        // A slow look is followed by as long a rest.
        let mut pace = Pace::new();
        pace.looked(start, start + Duration::from_secs(1));
        assert!(pace.rested >= start + Duration::from_secs(2));
    }
}
