//! Times as people read them.

use std::fmt::{self, Display};
use std::time::Duration;

const SECOND: u64 = 1;
const MINUTE: u64 = 60 * SECOND;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;

/// Microseconds, shown as milliseconds.
pub struct Millis(pub u64);

impl Millis {
    /// Of a time.
    pub fn of(time: Duration) -> Self {
        Self(time.as_micros() as u64)
    }
}

impl Display for Millis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tenths = (self.0 + 50) / 100;
        write!(f, "{}.{} ms", tenths / 10, tenths % 10)
    }
}

/// Seconds, shown in the largest unit of which there are some.
pub struct Span(pub u64);

impl Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let units = [(DAY, "d"), (HOUR, "h"), (MINUTE, "min")];
        let (unit, name) = units
            .into_iter()
            .find(|(unit, _)| self.0 >= *unit)
            .unwrap_or((SECOND, "s"));
        write!(f, "{} {name}", self.0 / unit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times() {
        for (seconds, shown) in [
            (0, "0 s"),
            (59, "59 s"),
            (60, "1 min"),
            (7199, "1 h"),
            (172_800, "2 d"),
        ] {
            assert_eq!(Span(seconds).to_string(), shown);
        }
        assert_eq!(Millis(49).to_string(), "0.0 ms");
        assert_eq!(Millis(3050).to_string(), "3.1 ms");
    }
}
