//! The table in the kernel: read, made, replaced, removed.

use std::collections::HashMap;
use std::io;

use nftnl::nftnl_sys::libc;
use nftnl::set::SetKey;

use super::chain::{Base, Hook, Kind};
use super::error::{Error, Step};
use super::expr::{self, Counted, Expr, Gid, Port, Protocol, Set};
use super::objects::{Chain, Objects, Place, Rule};
use super::table::{NAME, Table};
use super::transaction::Transaction;
use super::{dns, mark};
use crate::netlink::netfilter::{self, Message};
use crate::netlink::{Attrs, Bus, Netlink, put};

/// A table that changes this often while it is read is not worth waiting for.
const READS: usize = 20;
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

/// The table in the kernel, and what it has done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Present {
    /// Everything that decides what it does.
    pub(super) objects: Objects,
    /// What was redirected: the first packet of each flow.
    pub redirected: Counted,
    /// What the guard of marked packets stopped.
    pub stopped: Counted,
    /// DNS of the groups that was stopped, since it was not redirected or its socket
    /// is bound to a device.
    pub unredirected: Counted,
    /// Errors about late answers that were stopped.
    pub errors: Counted,
    /// What was stopped since it would have used the WAN without the mark.
    pub unmarked: Counted,
}

/// nf_tables of this network namespace.
///
/// The socket stays open from one time to the next. To close one makes the kernel
/// wait until what was deleted is freed, with nf_tables locked meanwhile
/// (nft_rcv_nl_event): some 10 ms in which the next change would go unseen.
pub struct Kernel {
    netlink: Netlink,
}

impl Kernel {
    /// Opens the socket.
    ///
    /// # Errors
    /// A kernel without netfilter's netlink.
    pub fn open() -> Result<Self, Error> {
        match Netlink::open(Bus::Netfilter) {
            Ok(netlink) => Ok(Self { netlink }),
            Err(error) => Err(Error::kernel(Step::Open, error)),
        }
    }

    /// Whose changes are ours.
    pub fn port(&self) -> u32 {
        self.netlink.port()
    }

    /// The table as it is, none when there is none.
    ///
    /// nf_tables shows it object by object, and somebody else may change theirs all
    /// the time. So it is read again when the ruleset was another one at the end, but
    /// not for ever, and not when what was read is what `enough` asks for: whatever
    /// happens to the table after that is an event.
    ///
    /// # Errors
    /// A kernel without nf_tables, no permission.
    pub fn read(&mut self, enough: impl Fn(&Present) -> bool) -> Result<Option<Present>, Error> {
        let mut read = None;
        for _ in 0..READS {
            let snapshot = match self.snapshot() {
                // An object was there a moment ago.
                Err(error) if error.raw_os_error() == Some(libc::ENOENT) => continue,
                result => result.map_err(|error| Error::kernel(Step::Read, error))?,
            };
            let is_whole = snapshot.is_whole;
            read = snapshot.present;
            if is_whole || read.as_ref().is_some_and(&enough) {
                break;
            }
        }
        Ok(read)
    }

    /// Makes the table, which must not be there, in one transaction.
    ///
    /// # Errors
    /// EEXIST; what the kernel lacks.
    pub fn create(&mut self, table: &Table) -> Result<(), Error> {
        Transaction::create(table).commit(&mut self.netlink)
    }

    /// Makes the table anew, whatever is there, in one transaction.
    ///
    /// # Errors
    /// What the kernel lacks. The old table stays then.
    pub fn replace(&mut self, table: &Table) -> Result<(), Error> {
        Transaction::replace(table).commit(&mut self.netlink)
    }

    /// Removes the table; false when there was none.
    ///
    /// # Errors
    /// No permission.
    pub fn remove(&mut self) -> Result<bool, Error> {
        match Transaction::remove().commit(&mut self.netlink) {
            Ok(()) => Ok(true),
            Err(error) if error.is_not_there() => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// One reading of everything.
    fn snapshot(&mut self) -> io::Result<Snapshot> {
        let mut reading = Reading {
            netlink: &mut self.netlink,
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
        let known = |name: &[u8]| sets.get(name).cloned().flatten();
        let mut counts = HashMap::<String, Counted>::new();
        let rules = reading.each(libc::NFT_MSG_GETRULE, |attrs| {
            let rule = rule(attrs, known);
            let counted = expr::counted(attrs.nest(attr::RULE_EXPRESSIONS));
            *counts.entry(rule.chain.clone()).or_default() += counted;
            rule
        })?;
        let chains = reading.each(libc::NFT_MSG_GETCHAIN, chain)?;
        let objects = reading.each(libc::NFT_MSG_GETOBJ, |_| ())?.len();
        let flowtables = reading.each(GET_FLOWTABLE, |_| ())?.len();
        let is_whole = reading.is_whole;
        let counted = |chain: &str| counts.get(chain).copied().unwrap_or_default();
        let present = Some(Present {
            objects: Objects {
                flags,
                comment,
                chains,
                rules,
                sets: sets.len(),
                others: objects + flowtables,
            },
            redirected: counted(dns::REDIRECT),
            stopped: counted(mark::GUARD),
            unredirected: counted(dns::GUARD),
            errors: counted(dns::ERRORS),
            unmarked: counted(mark::WAN_GUARD),
        });
        Ok(Snapshot { present, is_whole })
    }
}

struct Snapshot {
    present: Option<Present>,
    /// All of it is of one generation of the ruleset.
    is_whole: bool,
}

/// A reading of the table in progress.
struct Reading<'a> {
    netlink: &'a mut Netlink,
    /// Of the ruleset, in the first message.
    generation: Option<u16>,
    /// All messages so far had the same.
    is_whole: bool,
}

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

    /// The sets by name; none for those of a kind that we never make.
    fn sets(&mut self) -> io::Result<HashMap<Vec<u8>, Option<Set>>> {
        let kinds = self.each(libc::NFT_MSG_GETSET, |attrs| {
            let name = attrs.name(attr::SET_NAME).unwrap_or_default().to_owned();
            let flags = attrs.u32(attr::SET_FLAGS).unwrap_or(0);
            let kind = attrs.u32(attr::SET_KEY_TYPE).filter(|_| flags == SET_FLAGS);
            (name, kind)
        })?;
        let mut sets = HashMap::new();
        for (name, kind) in kinds {
            let set = match kind {
                Some(kind) => set(kind, &self.elements(&name)?),
                None => None,
            };
            sets.insert(name, set);
        }
        Ok(sets)
    }

    /// The keys of a set's elements.
    fn elements(&mut self, set: &[u8]) -> io::Result<Vec<Vec<u8>>> {
        let mut request = netfilter::of_table(NAME);
        put(&mut request, attr::SET_ELEM_SET, &[set, &[0]].concat());
        self.dump(libc::NFT_MSG_GETSETELEM, &request, |attrs, keys| {
            for (_, element) in attrs.nest(attr::SET_ELEM_ELEMENTS) {
                let key = Attrs(element).nest(attr::SET_ELEM_KEY);
                keys.push(key.get(attr::DATA_VALUE).unwrap_or_default().to_owned());
            }
        })
    }

    /// All objects of a kind in our table. Not every kind, and not every kernel,
    /// leaves out those of other tables.
    fn each<T>(
        &mut self,
        get: libc::c_int,
        mut value: impl FnMut(Attrs) -> T,
    ) -> io::Result<Vec<T>> {
        let keep = |attrs: Attrs, kept: &mut Vec<T>| kept.push(value(attrs));
        self.dump(get, &netfilter::of_table(NAME), keep)
    }

    fn dump<T>(
        &mut self,
        get: libc::c_int,
        request: &[u8],
        mut keep: impl FnMut(Attrs, &mut Vec<T>),
    ) -> io::Result<Vec<T>> {
        let (generation, is_whole) = (self.generation, &mut self.is_whole);
        let keep_ours = |body: &[u8], kept: &mut Vec<T>| {
            if let Some(message) = Message::read(body) {
                *is_whole &= generation == Some(message.generation);
                if message.is_of(NAME) {
                    keep(message.attrs, kept);
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

fn rule(attrs: Attrs, sets: impl Fn(&[u8]) -> Option<Set>) -> Rule {
    let exprs = attrs.nest(attr::RULE_EXPRESSIONS);
    Rule {
        chain: text(attrs, attr::RULE_CHAIN),
        exprs: exprs
            .map(|(_, expr)| Expr::read(Attrs(expr), &sets))
            .collect(),
        comment: comment(attrs, attr::RULE_USERDATA),
    }
}

/// A set of this kind with these keys; none for a kind that we never make.
fn set(kind: u32, keys: &[Vec<u8>]) -> Option<Set> {
    match kind {
        Gid::TYPE => numbers(keys, u32::from_ne_bytes).map(Set::Gids),
        Protocol::TYPE => numbers(keys, u8::from_ne_bytes).map(Set::Protocols),
        Port::TYPE => numbers(keys, u16::from_be_bytes).map(Set::Ports),
        _ => None,
    }
}

/// Keys of a known size as numbers; none when one has another size.
fn numbers<T, const N: usize, C: FromIterator<T>>(
    keys: &[Vec<u8>],
    number: impl Fn([u8; N]) -> T,
) -> Option<C> {
    let number = |key: &Vec<u8>| Some(number(key.as_slice().try_into().ok()?));
    keys.iter().map(number).collect()
}

fn text(attrs: Attrs, kind: u16) -> String {
    String::from_utf8_lossy(attrs.name(kind).unwrap_or_default()).into_owned()
}

fn comment(attrs: Attrs, kind: u16) -> Option<String> {
    expr::comment(attrs.get(kind)?)
}
