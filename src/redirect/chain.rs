//! Base chains and their rules as they are wanted: each rule once, as a list of
//! statements that knows both its words and its expressions.

use std::fmt;

use nftnl::nftnl_sys::libc;

use super::expr::Expr;
use super::statement::Statement;

/// Before all that others do to packets: they sort out at -300 (`raw`) what conntrack
/// is not to see, and mark at -150 (`mangle`).
pub const EARLY: i32 = -500;
/// Just behind conntrack (-200), the first place that a nat chain may have: the one
/// that decides first has decided. Address translation itself happens at -100,
/// wherever its chains are.
pub const FIRST_OF_NAT: i32 = -199;
/// Behind all others.
pub const LATE: i32 = 500;

/// A chain that lets through what no rule of it stops.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chain {
    /// Its name.
    pub name: &'static str,
    /// Where it hooks in; nowhere, when rules of other chains lead there.
    pub base: Option<Base>,
    /// Its rules, in their order.
    pub rules: Vec<Rule>,
}

/// Where and as what a base chain hooks in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Base {
    /// What its rules may do.
    pub kind: Kind,
    /// Which packets pass it.
    pub hook: Hook,
    /// Lower runs earlier.
    pub priority: i32,
}

/// The type of a base chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Lets packets through or drops them.
    Filter,
    /// Translates addresses; sees the first packet of each flow.
    Nat,
    /// As filter; when it changes the mark, the way is looked up anew.
    Route,
}

/// Where in the kernel a base chain sees packets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hook {
    /// What programs on this host send.
    Output,
    /// Whatever leaves, when the last decision about its way has fallen.
    Postrouting,
}

/// A rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// What it matches and does.
    pub statements: Vec<Statement>,
    /// Its comment, at most 127 bytes.
    pub comment: Option<String>,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Filter, Self::Nat, Self::Route];

    /// The name that nft and the kernel have for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Filter => "filter",
            Self::Nat => "nat",
            Self::Route => "route",
        }
    }
}

impl Hook {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Output, Self::Postrouting];

    /// NF_INET_*.
    pub fn number(self) -> u32 {
        let number = match self {
            Self::Output => libc::NF_INET_LOCAL_OUT,
            Self::Postrouting => libc::NF_INET_POST_ROUTING,
        };
        number as u32
    }

    /// nft's name for it.
    fn name(self) -> &'static str {
        match self {
            Self::Output => "output",
            Self::Postrouting => "postrouting",
        }
    }
}

impl Rule {
    /// The rule as nf_tables keeps it.
    pub fn exprs(&self) -> Vec<Expr> {
        let mut exprs = Vec::new();
        for statement in &self.statements {
            statement.add_to(&mut exprs);
        }
        exprs
    }
}

/// As nft lists it.
impl fmt::Display for Chain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "\tchain {} {{", self.name)?;
        if let Some(base) = self.base {
            writeln!(f, "\t\t{base}")?;
        }
        for rule in &self.rules {
            writeln!(f, "\t\t{rule}")?;
        }
        writeln!(f, "\t}}")
    }
}

impl fmt::Display for Base {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (kind, hook) = (self.kind.name(), self.hook.name());
        let priority = self.priority;
        write!(
            f,
            "type {kind} hook {hook} priority {priority}; policy accept;"
        )
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, statement) in self.statements.iter().enumerate() {
            let blank = if at == 0 { "" } else { " " };
            write!(f, "{blank}{statement}")?;
        }
        match &self.comment {
            Some(comment) => write!(f, " comment \"{comment}\""),
            None => Ok(()),
        }
    }
}
