//! What nf_tables keeps of a table, as plain values: wanted and present are both
//! told this way, so that `==` finds whatever is wrong.
//!
//! Handles, names of anonymous sets and what counters counted are left out.

use nftnl::nftnl_sys::libc;

use super::expr::Expr;

/// A table and everything in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Objects {
    /// NFT_TABLE_F_*: 0, or the table sleeps or has an owner.
    pub flags: u32,
    /// The table's comment.
    pub comment: Option<String>,
    /// Its chains.
    pub chains: Vec<Chain>,
    /// The rules of all chains, in their order.
    pub rules: Vec<Rule>,
    /// How many sets there are. What is in them stands in the rules.
    pub sets: usize,
    /// How many stateful objects and flowtables there are.
    pub others: usize,
}

/// A chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chain {
    /// Its name.
    pub name: String,
    /// Where it hooks in; none for a chain that is only jumped to.
    pub base: Option<Base>,
    /// Its comment.
    pub comment: Option<String>,
}

impl Chain {
    /// A base chain that lets through what no rule of it stops, without a comment.
    pub fn base(name: &str, kind: &str, hook: u32, priority: i32) -> Self {
        Self {
            name: name.into(),
            base: Some(Base {
                kind: kind.into(),
                hook,
                priority,
                policy: libc::NF_ACCEPT as u32,
            }),
            comment: None,
        }
    }
}

/// Where and as what a base chain hooks in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Base {
    /// `nat`, `filter` or `route`.
    pub kind: String,
    /// NF_INET_*.
    pub hook: u32,
    /// Lower runs earlier.
    pub priority: i32,
    /// NF_ACCEPT or NF_DROP.
    pub policy: u32,
}

/// A rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// The name of its chain.
    pub chain: String,
    /// What it matches and does.
    pub exprs: Vec<Expr>,
    /// Its comment.
    pub comment: Option<String>,
}
