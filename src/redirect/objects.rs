//! What nf_tables keeps of a table, as plain values: wanted and present are both
//! told this way, so that `==` finds whatever is wrong.
//!
//! Handles, names of anonymous sets and what counters counted are left out.

use super::chain::{self, Base};
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
    /// Where it hooks in.
    pub place: Place,
    /// Its comment.
    pub comment: Option<String>,
}

/// Where a chain hooks in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// There, and what no rule of it stops goes on.
    Base(Base),
    /// Nowhere: rules of other chains lead there.
    Regular,
    /// Elsewhere or with another policy than any chain that is ever wanted.
    Unknown,
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

impl Objects {
    /// Those that chains which are wanted become.
    pub fn of(comment: &str, chains: &[chain::Chain]) -> Self {
        let (mut rules, mut sets) = (Vec::new(), 0);
        for chain in chains {
            for rule in &chain.rules {
                let rule = Rule::of(chain, rule);
                sets += rule
                    .exprs
                    .iter()
                    .filter(|expr| matches!(expr, Expr::In(_)))
                    .count();
                rules.push(rule);
            }
        }
        Self {
            flags: 0,
            comment: Some(comment.into()),
            chains: chains.iter().map(Chain::of).collect(),
            rules,
            sets,
            others: 0,
        }
    }
}

impl Chain {
    fn of(chain: &chain::Chain) -> Self {
        Self {
            name: chain.name.into(),
            place: chain.base.map_or(Place::Regular, Place::Base),
            comment: None,
        }
    }
}

impl Rule {
    fn of(chain: &chain::Chain, rule: &chain::Rule) -> Self {
        Self {
            chain: chain.name.into(),
            exprs: rule.exprs(),
            comment: rule.comment.clone(),
        }
    }
}
