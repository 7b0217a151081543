//! A rule as a value, and how it reads.

use std::fmt;

use rtnetlink::packet_route::rule::RuleAction;

use super::prefix::Family;
use super::route::{LOCAL, MAIN, PROTOCOL};
use crate::config::Mark;
use crate::netlink::Attrs;
use crate::netlink::route::fra;

/// One rule (ip-rule(8)).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// IPv4 or IPv6.
    pub family: Family,
    /// RTPROT_*: who made it.
    pub protocol: u8,
    /// The lower, the earlier.
    pub priority: u32,
    /// Which packets: those with this mark.
    pub mark: Option<Mark>,
    /// Where it looks, 0 when its action needs none.
    pub table: u32,
    /// What it does. `ToTable` looks in the table; one that says nothing
    /// (`Unspec`) is taken by the kernel and fails every look-up with EINVAL.
    pub action: RuleAction,
    /// What else it asks for or does, empty for what we make.
    pub others: Others,
}

/// The parts of a rule that nothing we make has: kept to tell and to delete it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Others {
    /// Bits of the destination and of the source that count.
    pub prefix_lens: (u8, u8),
    /// TOS.
    pub tos: u8,
    /// `not`.
    pub inverted: bool,
    /// Addresses, devices, ports, …: attributes as the kernel shows them.
    pub attributes: Vec<u8>,
}

impl Others {
    /// Whether they ask for packets from, or to, some addresses.
    #[must_use]
    pub fn are_of_some_addresses(&self) -> bool {
        Attrs(&self.attributes).any(|(kind, _)| matches!(kind, fra::SRC | fra::DST))
    }
}

impl Rule {
    /// Whether it is ours.
    #[must_use]
    pub fn is_ours(&self) -> bool {
        self.protocol == PROTOCOL
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} rule", self.family)?;
        if self.others.inverted {
            f.write_str(" not")?;
        }
        if let Some(mark) = self.mark {
            write!(f, " fwmark {mark}")?;
        }
        match self.action {
            RuleAction::ToTable => match self.table {
                MAIN => f.write_str(" lookup main")?,
                LOCAL => f.write_str(" lookup local")?,
                table => write!(f, " lookup {table}")?,
            },
            RuleAction::Unreachable => f.write_str(" unreachable")?,
            other => write!(f, " action {}", u8::from(other))?,
        }
        write!(f, " priority {}", self.priority)?;
        let plain = Others {
            inverted: self.others.inverted,
            ..Others::default()
        };
        if self.others != plain {
            f.write_str(" with more conditions")?;
        }
        Ok(())
    }
}
