//! What others have nf_tables do to packets that this node sends: their rules are
//! read, and a packet is led through them.
//!
//! [`read`] asks the kernel, [`expr`] decodes, [`walk`] leads a packet through the
//! chains, pure. What cannot be told for certain is told as such.

pub mod expr;
pub mod walk;

use std::collections::HashMap;

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
    pub const CHAIN_TYPE: u16 = 7;
    pub const HOOK_NUMBER: u16 = 1;
    pub const HOOK_PRIORITY: u16 = 2;
    pub const RULE_CHAIN: u16 = 2;
    pub const RULE_HANDLE: u16 = 3;
    pub const RULE_EXPRESSIONS: u16 = 4;
    pub const SET_TABLE: u16 = 1;
    pub const SET_NAME: u16 = 2;
    pub const SET_FLAGS: u16 = 3;
    pub const ELEMENTS_TABLE: u16 = 1;
    pub const ELEMENTS_SET: u16 = 2;
    pub const ELEMENTS: u16 = 3;
    pub const ELEMENT_KEY: u16 = 1;
    pub const DATA_VALUE: u16 = 1;
}

/// Where a chain is: family of its table (NFPROTO_*), table and name.
pub type Place = (u8, String, String);

/// The rules of others.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ruleset {
    /// The chains of the two hooks, as the kernel runs them.
    pub bases: Vec<Base>,
    /// The rules of all chains.
    pub rules: HashMap<Place, Vec<Rule>>,
}

/// A chain that the kernel runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Base {
    /// Where it is.
    pub place: Place,
    /// `filter`, `nat` or `route`.
    pub kind: String,
    /// [`OUTPUT`] or [`POSTROUTING`].
    pub hook: u32,
    /// The lower, the earlier.
    pub priority: i32,
}

/// A rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// As `nft -a` shows it.
    pub handle: u64,
    /// What it matches and does.
    pub exprs: Vec<Expr>,
}

/// Reads all chains and rules but our own. Needs root.
///
/// # Errors
/// The kernel's.
pub fn read() -> Result<Ruleset, Refused> {
    let mut netlink = Netlink::open(Bus::Netfilter)?;
    let all = of_all(libc::NFPROTO_UNSPEC as u8);
    let mut bases = netlink.dump(kind(libc::NFT_MSG_GETCHAIN), &all, |body, bases| {
        bases.extend(others(body).and_then(|message| base(&message)));
    })?;
    bases.sort_by_key(|base| (base.hook != OUTPUT, base.priority));
    let found = netlink.dump(kind(libc::NFT_MSG_GETRULE), &all, |body, rules| {
        rules.extend(others(body).and_then(|message| rule(&message)));
    })?;
    let sets = sets(&mut netlink, &found)?;
    let mut rules: HashMap<Place, Vec<Rule>> = HashMap::new();
    for (place, mut rule) in found {
        for expr in &mut rule.exprs {
            if let Expr::Lookup { set, among, .. } = expr {
                let key = (place.0, place.1.clone(), set.clone());
                among.clone_from(sets.get(&key).unwrap_or(&None));
            }
        }
        rules.entry(place).or_default().push(rule);
    }
    Ok(Ruleset { bases, rules })
}

fn others(body: &[u8]) -> Option<Message<'_>> {
    Message::read(body).filter(|message| !message.is_of(redirect::NAME))
}

fn base(message: &Message) -> Option<Base> {
    let hook = message.attrs.nest(attr::CHAIN_HOOK);
    let number = hook.u32(attr::HOOK_NUMBER)?;
    let ip = [libc::NFPROTO_INET, libc::NFPROTO_IPV4, libc::NFPROTO_IPV6];
    let sees_us = ip.iter().any(|&family| family as u8 == message.family)
        && [OUTPUT, POSTROUTING].contains(&number);
    sees_us.then(|| Base {
        place: place(message, attr::CHAIN_NAME),
        kind: text(message.attrs.name(attr::CHAIN_TYPE)),
        hook: number,
        priority: hook.u32(attr::HOOK_PRIORITY).unwrap_or(0).cast_signed(),
    })
}

fn rule(message: &Message) -> Option<(Place, Rule)> {
    let exprs = message.attrs.nest(attr::RULE_EXPRESSIONS);
    let rule = Rule {
        handle: message.attrs.u64(attr::RULE_HANDLE)?,
        exprs: exprs.map(|(_, expr)| Expr::read(Attrs(expr))).collect(),
    };
    Some((place(message, attr::RULE_CHAIN), rule))
}

fn place(message: &Message, chain: u16) -> Place {
    let table = text(message.table());
    (message.family, table, text(message.attrs.name(chain)))
}

fn text(name: Option<&[u8]>) -> String {
    String::from_utf8_lossy(name.unwrap_or_default()).into_owned()
}

type Sets = HashMap<(u8, String, String), Option<Vec<Vec<u8>>>>;

/// The elements of the sets that rules look into; none for those with ranges.
fn sets(netlink: &mut Netlink, rules: &[(Place, Rule)]) -> Result<Sets, Refused> {
    let all = of_all(libc::NFPROTO_UNSPEC as u8);
    let plain = netlink.dump(kind(libc::NFT_MSG_GETSET), &all, |body, plain| {
        let Some(message) = others(body) else { return };
        if message.attrs.u32(attr::SET_FLAGS).unwrap_or(0) & INTERVAL == 0 {
            let table = text(message.attrs.name(attr::SET_TABLE));
            plain.push((
                message.family,
                table,
                text(message.attrs.name(attr::SET_NAME)),
            ));
        }
    })?;
    let mut sets = Sets::new();
    for ((family, table, _), rule) in rules {
        for expr in &rule.exprs {
            let Expr::Lookup { set, .. } = expr else {
                continue;
            };
            let key = (*family, table.clone(), set.clone());
            if plain.contains(&key) && !sets.contains_key(&key) {
                let elements = elements(netlink, &key)?;
                sets.insert(key, Some(elements));
            }
        }
    }
    Ok(sets)
}

fn elements(netlink: &mut Netlink, set: &(u8, String, String)) -> Result<Vec<Vec<u8>>, Refused> {
    let mut request = of_all(set.0);
    put(
        &mut request,
        attr::ELEMENTS_TABLE,
        &[set.1.as_bytes(), &[0]].concat(),
    );
    put(
        &mut request,
        attr::ELEMENTS_SET,
        &[set.2.as_bytes(), &[0]].concat(),
    );
    let get = kind(libc::NFT_MSG_GETSETELEM);
    let read = netlink.dump(get, &request, |body, keys| {
        let Some(message) = Message::read(body) else {
            return;
        };
        for (_, element) in message.attrs.nest(attr::ELEMENTS) {
            let key = Attrs(element).nest(attr::ELEMENT_KEY);
            keys.push(key.get(attr::DATA_VALUE).unwrap_or_default().to_vec());
        }
    });
    match read {
        // It went in between.
        Err(refused) if refused.is(libc::ENOENT) => Ok(Vec::new()),
        read => read,
    }
}
