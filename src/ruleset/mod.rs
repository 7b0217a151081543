//! What others have nf_tables do to packets that this node sends: their rules are
//! read, and a packet is led through them.
//!
//! [`read`] asks the kernel, [`Ruleset::of`] and [`expr`] decode what it said, [`walk`]
//! leads a packet through the chains, pure. What cannot be told for certain is told
//! as such.

pub mod expr;
pub mod walk;

use nftnl::nftnl_sys::libc;

use crate::netlink::netfilter::{Message, kind, of_all};
use crate::netlink::{Attrs, Bus, Netlink, Refused, put};
use crate::redirect;
use expr::Expr;

/// The hooks that what this node sends passes (linux/netfilter.h).
pub const OUTPUT: u32 = libc::NF_INET_LOCAL_OUT as u32;
/// After the way is found.
pub const POSTROUTING: u32 = libc::NF_INET_POST_ROUTING as u32;
/// A set whose elements are ranges is not looked into.
const INTERVAL: u32 = libc::NFT_SET_INTERVAL as u32;

/// Attributes of linux/netfilter/nf_tables.h.
mod attr {
    pub const CHAIN_NAME: u16 = 3;
    pub const CHAIN_HOOK: u16 = 4;
    pub const HOOK_NUMBER: u16 = 1;
    pub const HOOK_PRIORITY: u16 = 2;
    pub const RULE_CHAIN: u16 = 2;
    pub const RULE_HANDLE: u16 = 3;
    pub const RULE_EXPRESSIONS: u16 = 4;
    pub const SET_NAME: u16 = 2;
    pub const SET_FLAGS: u16 = 3;
    pub const ELEMENTS_TABLE: u16 = 1;
    pub const ELEMENTS_SET: u16 = 2;
    pub const ELEMENTS: u16 = 3;
    pub const ELEMENT_KEY: u16 = 1;
    pub const DATA_VALUE: u16 = 1;
}

/// The rules of others, as the kernel says them. Needs root.
#[derive(Debug, Default)]
pub struct Messages {
    chains: Vec<Vec<u8>>,
    rules: Vec<Vec<u8>>,
    /// Each with the messages of its elements.
    sets: Vec<(Vec<u8>, Vec<Vec<u8>>)>,
}

/// The rules of others.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ruleset<'a> {
    /// The chains of the two hooks, as the kernel runs them.
    pub bases: Vec<Base<'a>>,
    /// All chains that have rules.
    pub chains: Vec<Chain<'a>>,
    /// The sets whose elements are known.
    pub sets: Vec<Set<'a>>,
}

/// Where a chain or a set is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place<'a> {
    /// Family of its table (NFPROTO_*).
    pub family: u8,
    /// Its table.
    pub table: &'a [u8],
    /// Its name.
    pub name: &'a [u8],
}

/// A chain that the kernel runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Base<'a> {
    /// Where it is.
    pub place: Place<'a>,
    /// [`OUTPUT`] or [`POSTROUTING`].
    pub hook: u32,
    /// The lower, the earlier.
    pub priority: i32,
}

/// A chain and its rules.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chain<'a> {
    /// Where it is.
    pub place: Place<'a>,
    /// In their order.
    pub rules: Vec<Rule<'a>>,
}

/// A rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule<'a> {
    /// As `nft -a` shows it.
    pub handle: u64,
    /// What it matches and does.
    pub exprs: Vec<Expr<'a>>,
}

/// A set without ranges.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Set<'a> {
    /// Where it is.
    pub place: Place<'a>,
    /// Its keys.
    pub elements: Vec<&'a [u8]>,
}

/// Reads all chains and rules but our own, and the sets that the rules look into.
///
/// # Errors
/// The kernel's.
pub fn read() -> Result<Messages, Refused> {
    let mut netlink = Netlink::open(Bus::Netfilter)?;
    let all = of_all(libc::NFPROTO_UNSPEC as u8);
    let mut found = Messages {
        chains: dump(&mut netlink, libc::NFT_MSG_GETCHAIN, &all)?,
        rules: dump(&mut netlink, libc::NFT_MSG_GETRULE, &all)?,
        sets: Vec::new(),
    };
    for set in dump(&mut netlink, libc::NFT_MSG_GETSET, &all)? {
        let plain = others(&set).and_then(|message| plain_set(&message));
        let used = plain.filter(|set| found.rules.iter().any(|rule| looks_into(rule, set)));
        if let Some(place) = used {
            let elements = elements(&mut netlink, place)?;
            found.sets.push((set, elements));
        }
    }
    Ok(found)
}

fn dump(netlink: &mut Netlink, what: i32, body: &[u8]) -> Result<Vec<Vec<u8>>, Refused> {
    netlink.dump(kind(what), body, |message, all| all.push(message.to_vec()))
}

fn elements(netlink: &mut Netlink, set: Place) -> Result<Vec<Vec<u8>>, Refused> {
    let mut request = of_all(set.family);
    for (kind, name) in [
        (attr::ELEMENTS_TABLE, set.table),
        (attr::ELEMENTS_SET, set.name),
    ] {
        put(&mut request, kind, &[name, &[0]].concat());
    }
    match dump(netlink, libc::NFT_MSG_GETSETELEM, &request) {
        // It went in between.
        Err(refused) if refused.is(libc::ENOENT) => Ok(Vec::new()),
        read => read,
    }
}

impl<'a> Ruleset<'a> {
    /// Decodes what the kernel said.
    #[must_use]
    pub fn of(messages: &'a Messages) -> Self {
        let mut all = Self::default();
        for message in messages.chains.iter().filter_map(|body| others(body)) {
            if let Some(base) = base(&message) {
                let order = |base: &Base| (base.hook != OUTPUT, base.priority);
                let mut before = all.bases.iter();
                let later = before.position(|other| order(other) > order(&base));
                all.bases.insert(later.unwrap_or(all.bases.len()), base);
            }
        }
        for message in messages.rules.iter().filter_map(|body| others(body)) {
            let Some(handle) = message.attrs.u64(attr::RULE_HANDLE) else {
                continue;
            };
            let exprs = exprs(&message).collect();
            let rule = Rule { handle, exprs };
            let place = place(&message, attr::RULE_CHAIN);
            // The kernel shows chain after chain.
            match all.chains.last_mut() {
                Some(chain) if chain.place == place => chain.rules.push(rule),
                _ => all.chains.push(Chain {
                    place,
                    rules: vec![rule],
                }),
            }
        }
        for (set, elements) in &messages.sets {
            let Some(message) = others(set) else { continue };
            let mut set = Set {
                place: place(&message, attr::SET_NAME),
                elements: Vec::new(),
            };
            for message in elements.iter().filter_map(|body| Message::read(body)) {
                for (_, element) in message.attrs.nest(attr::ELEMENTS) {
                    let key = Attrs(element).nest(attr::ELEMENT_KEY);
                    let key = key.get(attr::DATA_VALUE).unwrap_or_default();
                    set.elements.push(key);
                }
            }
            all.sets.push(set);
        }
        all
    }
}

fn others(body: &[u8]) -> Option<Message<'_>> {
    Message::read(body).filter(|message| !message.is_of(redirect::NAME))
}

fn place<'a>(message: &Message<'a>, name: u16) -> Place<'a> {
    Place {
        family: message.family,
        table: message.table().unwrap_or_default(),
        name: message.attrs.name(name).unwrap_or_default(),
    }
}

fn base<'a>(message: &Message<'a>) -> Option<Base<'a>> {
    let hook = message.attrs.nest(attr::CHAIN_HOOK);
    let number = hook.u32(attr::HOOK_NUMBER)?;
    let ip = [libc::NFPROTO_INET, libc::NFPROTO_IPV4, libc::NFPROTO_IPV6];
    let sees_us = ip.contains(&message.family.into()) && [OUTPUT, POSTROUTING].contains(&number);
    sees_us.then(|| Base {
        place: place(message, attr::CHAIN_NAME),
        hook: number,
        priority: hook.u32(attr::HOOK_PRIORITY).unwrap_or(0).cast_signed(),
    })
}

fn exprs<'a>(rule: &Message<'a>) -> impl Iterator<Item = Expr<'a>> {
    let exprs = rule.attrs.nest(attr::RULE_EXPRESSIONS);
    exprs.map(|(_, expr)| Expr::read(Attrs(expr)))
}

fn plain_set<'a>(message: &Message<'a>) -> Option<Place<'a>> {
    let flags = message.attrs.u32(attr::SET_FLAGS).unwrap_or(0);
    (flags & INTERVAL == 0).then(|| place(message, attr::SET_NAME))
}

/// Whether a rule looks into a set of its table.
fn looks_into(rule: &[u8], wanted: &Place) -> bool {
    let Some(rule) = others(rule) else {
        return false;
    };
    let is_near = (rule.family, rule.table()) == (wanted.family, Some(wanted.table));
    is_near
        && exprs(&rule).any(|expr| matches!(expr, Expr::Lookup { set, .. } if set == wanted.name))
}
