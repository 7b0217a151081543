//! One reading of the table, object by object.

use std::io;

use nftnl::nftnl_sys::libc;

use super::chain::{Base, Hook, Kind};
use super::expr::{self, Counted, Expr};
use super::kernel::Present;
use super::objects::{Chain, Objects, Place, Rule};
use super::set::{Elements, Numbers, Set};
use super::table::NAME;
use super::{dns, mark};
use crate::netlink::netfilter::{self, Message};
use crate::netlink::{Attrs, Netlink, put};

/// The kind of set we make; others have intervals, data or elements that expire.
const SET_FLAGS: u32 = (libc::NFT_SET_ANONYMOUS | libc::NFT_SET_CONSTANT) as u32;
const GET_FLOWTABLE: libc::c_int = 23;

/// The attributes of objects, all numbers in network order
/// (linux/netfilter/nf_tables.h).
mod attr {
    pub const TABLE_FLAGS: u16 = 2;
    pub const TABLE_USERDATA: u16 = 6;
    pub const CHAIN_NAME: u16 = 3;
    pub const CHAIN_HOOK: u16 = 4;
    pub const CHAIN_POLICY: u16 = 5;
    pub const CHAIN_TYPE: u16 = 7;
    pub const CHAIN_USERDATA: u16 = 12;
    pub const HOOK_NUMBER: u16 = 1;
    pub const HOOK_PRIORITY: u16 = 2;
    pub const RULE_CHAIN: u16 = 2;
    pub const RULE_EXPRESSIONS: u16 = 4;
    pub const RULE_USERDATA: u16 = 7;
    pub const SET_NAME: u16 = 2;
    pub const SET_FLAGS: u16 = 3;
    pub const SET_KEY_TYPE: u16 = 4;
    pub const SET_ELEM_SET: u16 = 2;
    pub const SET_ELEM_ELEMENTS: u16 = 3;
    pub const SET_ELEM_KEY: u16 = 1;
    pub const DATA_VALUE: u16 = 1;
}

/// What was read.
pub struct Snapshot {
    /// None when there is no table.
    pub present: Option<Present>,
    /// Whether all of it is of one generation of the ruleset.
    pub is_whole: bool,
}

/// Reads everything.
///
/// # Errors
/// The kernel's; ENOENT when an object goes on the way.
pub fn snapshot(netlink: &mut Netlink) -> io::Result<Snapshot> {
    let mut reading = Reading {
        netlink,
        generation: None,
        is_whole: true,
    };
    let Some((flags, comment)) = reading.table()? else {
        return Ok(Snapshot {
            present: None,
            is_whole: true,
        });
    };
    let sets = reading.sets()?;
    let rules = reading.each(libc::NFT_MSG_GETRULE)?;
    let chains = reading.each(libc::NFT_MSG_GETCHAIN)?;
    let objects = reading.each(libc::NFT_MSG_GETOBJ)?.len();
    let flowtables = reading.each(GET_FLOWTABLE)?.len();
    let present = Some(Present {
        objects: Objects {
            flags,
            comment,
            chains: chains
                .iter()
                .map(|chain| self::chain(Attrs(chain)))
                .collect(),
            rules: rules
                .iter()
                .map(|rule| self::rule(Attrs(rule), &sets))
                .collect(),
            sets: sets.len(),
            others: objects + flowtables,
        },
        redirected: counted(&rules, dns::REDIRECT),
        stopped: counted(&rules, mark::GUARD),
        unredirected: counted(&rules, dns::GUARD),
        errors: counted(&rules, dns::ERRORS),
        unmarked: counted(&rules, mark::WAN_GUARD),
    });
    Ok(Snapshot {
        present,
        is_whole: reading.is_whole,
    })
}

/// A reading in progress.
struct Reading<'a> {
    netlink: &'a mut Netlink,
    /// Of the ruleset, in the first message.
    generation: Option<u16>,
    /// All messages so far had the same.
    is_whole: bool,
}

/// The attributes of an object.
type Object = Vec<u8>;

/// A set by its name; none where it is of a kind that we never make.
type Named = (Vec<u8>, Option<Set>);

impl Reading<'_> {
    /// The table's flags and comment.
    fn table(&mut self) -> io::Result<Option<(u32, Option<String>)>> {
        let mut found = None;
        let mut generation = None;
        let get = netfilter::kind(libc::NFT_MSG_GETTABLE);
        let take = |body: &[u8]| {
            if let Some(message) = Message::read(body) {
                let flags = message.attrs.u32(attr::TABLE_FLAGS).unwrap_or(0);
                found = Some((flags, comment(message.attrs, attr::TABLE_USERDATA)));
                generation = Some(message.generation);
            }
        };
        match self
            .netlink
            .request(get, 0, &netfilter::of_table(NAME), take)
        {
            Err(refused) if refused.is(libc::ENOENT) => return Ok(None),
            result => result?,
        }
        self.generation = generation;
        Ok(found)
    }

    /// All sets.
    fn sets(&mut self) -> io::Result<Vec<Named>> {
        let mut sets = Vec::new();
        for set in self.each(libc::NFT_MSG_GETSET)? {
            let attrs = Attrs(&set);
            let name = attrs.name(attr::SET_NAME).unwrap_or_default();
            let datatype = attrs.u32(attr::SET_KEY_TYPE);
            let is_usual = attrs.u32(attr::SET_FLAGS) == Some(SET_FLAGS);
            let set = match datatype.and_then(Elements::of_type) {
                Some(of) if is_usual => self.elements(name, of)?,
                _ => None,
            };
            sets.push((name.to_owned(), set));
        }
        Ok(sets)
    }

    /// What is in a set; none where an element has another size.
    fn elements(&mut self, set: &[u8], of: Elements) -> io::Result<Option<Set>> {
        let mut request = netfilter::of_table(NAME);
        put(&mut request, attr::SET_ELEM_SET, &[set, &[0]].concat());
        let mut numbers = Numbers::default();
        for message in self.dump(libc::NFT_MSG_GETSETELEM, &request)? {
            for (_, element) in Attrs(&message).nest(attr::SET_ELEM_ELEMENTS) {
                let key = Attrs(element).nest(attr::SET_ELEM_KEY);
                let data = key.get(attr::DATA_VALUE).unwrap_or_default();
                let Some(number) = of.number(data) else {
                    return Ok(None);
                };
                numbers.insert(number);
            }
        }
        Ok(Some(Set { of, numbers }))
    }

    /// All objects of a kind in our table.
    fn each(&mut self, get: libc::c_int) -> io::Result<Vec<Object>> {
        self.dump(get, &netfilter::of_table(NAME))
    }

    /// Not every kind, and not every kernel, leaves out those of other tables.
    fn dump(&mut self, get: libc::c_int, request: &[u8]) -> io::Result<Vec<Object>> {
        let (generation, is_whole) = (self.generation, &mut self.is_whole);
        let keep_ours = |body: &[u8], kept: &mut Vec<Object>| {
            if let Some(message) = Message::read(body) {
                *is_whole &= generation == Some(message.generation);
                if message.is_of(NAME) {
                    kept.push(message.attrs.0.to_owned());
                }
            }
        };
        let kind = netfilter::kind(get);
        Ok(self.netlink.dump(kind, request, keep_ours)?)
    }
}

fn chain(attrs: Attrs) -> Chain {
    Chain {
        name: text(attrs, attr::CHAIN_NAME),
        place: place(attrs),
        comment: comment(attrs, attr::CHAIN_USERDATA),
    }
}

fn place(attrs: Attrs) -> Place {
    let hook = attrs.nest(attr::CHAIN_HOOK);
    let Some(number) = hook.u32(attr::HOOK_NUMBER) else {
        return Place::Regular;
    };
    let kind = attrs.name(attr::CHAIN_TYPE).unwrap_or_default();
    let base = || {
        let accepts = attrs.u32(attr::CHAIN_POLICY) == Some(libc::NF_ACCEPT as u32);
        accepts.then_some(())?;
        Some(Base {
            kind: Kind::ALL
                .into_iter()
                .find(|one| one.name().as_bytes() == kind)?,
            hook: Hook::ALL.into_iter().find(|one| one.number() == number)?,
            priority: hook.u32(attr::HOOK_PRIORITY)?.cast_signed(),
        })
    };
    base().map_or(Place::Unknown, Place::Base)
}

fn rule(attrs: Attrs, sets: &[Named]) -> Rule {
    let set = |name: &[u8]| {
        let found = sets.iter().find(|set| set.0 == name)?;
        found.1.clone()
    };
    let exprs = attrs.nest(attr::RULE_EXPRESSIONS);
    Rule {
        chain: text(attrs, attr::RULE_CHAIN),
        exprs: exprs
            .map(|(_, expr)| Expr::read(Attrs(expr), &set))
            .collect(),
        comment: comment(attrs, attr::RULE_USERDATA),
    }
}

/// What the rules of a chain have counted.
fn counted(rules: &[Object], chain: &str) -> Counted {
    let mut all = Counted::default();
    for rule in rules {
        let attrs = Attrs(rule);
        if attrs.name(attr::RULE_CHAIN) == Some(chain.as_bytes()) {
            all += expr::counted(attrs.nest(attr::RULE_EXPRESSIONS));
        }
    }
    all
}

fn text(attrs: Attrs, kind: u16) -> String {
    String::from_utf8_lossy(attrs.name(kind).unwrap_or_default()).into_owned()
}

fn comment(attrs: Attrs, kind: u16) -> Option<String> {
    expr::comment(attrs.get(kind)?)
}
