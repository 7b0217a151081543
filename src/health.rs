//! How a server does: the word that the resolver says and `status` reads.

use std::fmt;
use std::str::FromStr;

/// How a server of the WAN does, as a word of `health.gluon-wan`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Health {
    /// Not heard of since the start or the last change of the network.
    #[default]
    Unknown,
    /// It answered last.
    Up,
    /// It answers, but again and again with SERVFAIL or REFUSED.
    Failing,
    /// It did not answer in time.
    Silent,
    /// No route leads to it, or ICMP said so.
    Unreachable,
}

/// A word that stands for no [`Health`]: perhaps a newer resolver's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a word for how a server does")]
pub struct UnknownWord;

impl Health {
    /// All of them, in the order in which the documentation has them.
    pub const ALL: [Self; 5] = [
        Self::Unknown,
        Self::Up,
        Self::Failing,
        Self::Silent,
        Self::Unreachable,
    ];

    /// Whether it was asked and does not answer as it should.
    #[must_use]
    pub fn is_down(self) -> bool {
        matches!(self, Self::Failing | Self::Silent | Self::Unreachable)
    }

    /// The word for it, for people and for programs.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Up => "up",
            Self::Failing => "failing",
            Self::Silent => "silent",
            Self::Unreachable => "unreachable",
        }
    }
}

impl fmt::Display for Health {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

impl FromStr for Health {
    type Err = UnknownWord;

    fn from_str(word: &str) -> Result<Self, UnknownWord> {
        let mut all = Self::ALL.into_iter();
        all.find(|health| health.word() == word).ok_or(UnknownWord)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_is_read_as_it_was_said() {
        for health in Health::ALL {
            assert_eq!(health.to_string().parse(), Ok(health));
        }
        assert_eq!("Up".parse::<Health>(), Err(UnknownWord));
        assert_eq!("".parse::<Health>(), Err(UnknownWord));
    }

    #[test]
    fn what_was_not_asked_is_not_down() {
        let down = Health::ALL.into_iter().filter(|health| health.is_down());
        assert!(down.eq([Health::Failing, Health::Silent, Health::Unreachable]));
    }
}
