//! The table in the kernel: read, replaced, removed.

use std::cell::Cell;
use std::collections::HashMap;
use std::io;
use std::sync::Once;

use nftnl::nftnl_sys::libc;
use nftnl::set::SetKey;

use super::attrs::{Attrs, put};
use super::error::{Error, Step};
use super::expr::{self, Counted, Expr, Gid, Protocol, Set};
use super::flows;
use super::guard;
use super::netlink::{Message, Netlink};
use super::objects::{Base, Chain, Objects, Rule};
use super::table::{self, NAME};
use super::transaction::Transaction;
use crate::log;

/// A table that changes this often while it is read is not worth waiting for.
const READS: usize = 20;
const INET: u8 = libc::NFPROTO_INET as u8;
/// The kind of set we make; others have intervals, data or elements that expire.
const SET_FLAGS: u32 = (libc::NFT_SET_ANONYMOUS | libc::NFT_SET_CONSTANT) as u32;
const GET_FLOWTABLE: libc::c_int = 23;

/// The attributes of objects, all numbers in network order
/// (linux/netfilter/nf_tables.h).
mod attr {
    /// The name of the table, in the messages of all objects.
    pub const TABLE: u16 = 1;
    pub const TABLE_FLAGS: u16 = 2;
    pub const TABLE_HANDLE: u16 = 4;
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
    /// Another number each time that it is made anew.
    handle: u64,
    /// What was redirected: the first packet of each flow.
    pub redirected: Counted,
    /// What the guard stopped.
    pub stopped: Counted,
}

/// nf_tables of this network namespace.
pub struct Kernel {
    netlink: Netlink,
    /// The handle of the table that was remembered.
    last: Option<u64>,
}

impl Kernel {
    /// Calls `work` with nf_tables.
    ///
    /// The socket stays open for the next time. To close one makes the kernel
    /// wait until what was deleted is freed, with nf_tables locked meanwhile
    /// (nft_rcv_nl_event): some 10 ms in which the next change would go unseen.
    ///
    /// # Errors
    /// A kernel without netfilter's netlink; what `work` says.
    pub fn with<T>(work: impl FnOnce(&mut Self) -> Result<T, Error>) -> Result<T, Error> {
        thread_local!(static IDLE: Cell<Option<Kernel>> = const { Cell::new(None) });
        let mut kernel = match IDLE.take() {
            Some(kernel) => kernel,
            None => Self::open()?,
        };
        let result = work(&mut kernel);
        IDLE.set(Some(kernel));
        result
    }

    fn open() -> Result<Self, Error> {
        let netlink = Netlink::open(0).map_err(|error| Error::kernel(Step::Open, error))?;
        Ok(Self {
            netlink,
            last: None,
        })
    }

    /// The table as it is, none when there is none.
    ///
    /// # Errors
    /// A kernel without nf_tables, no permission.
    pub fn read(&mut self) -> Result<Option<Present>, Error> {
        for _ in 0..READS {
            match self.snapshot() {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => return result.map_err(|error| Error::kernel(Step::Read, error)),
            }
        }
        let error = io::Error::other("it changes faster than it can be read");
        Err(Error::kernel(Step::Read, error))
    }

    /// Makes the table, which must not be there, in one transaction.
    ///
    /// # Errors
    /// EEXIST; what the kernel lacks.
    pub fn create(&mut self, objects: &Objects) -> Result<(), Error> {
        Transaction::create(objects).commit(&mut self.netlink)
    }

    /// Makes the table what `objects` says, whatever is there, in one transaction.
    ///
    /// # Errors
    /// What the kernel lacks. The old table stays then.
    pub fn replace(&mut self, objects: &Objects) -> Result<(), Error> {
        Transaction::replace(objects).commit(&mut self.netlink)
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

    /// Remembers the table. Returns whether it is another one than that which
    /// was remembered.
    pub fn remember(&mut self, present: &Present) -> bool {
        let last = self.last.replace(present.handle);
        last.is_some_and(|last| last != present.handle)
    }

    /// Lets the table see DNS flows that began before it, where the kernel can
    /// say which there are.
    pub fn forget_flows(&mut self) {
        static SAID: Once = Once::new();
        if let Err(error) = flows::forget(&mut self.netlink) {
            SAID.call_once(|| {
                log::warning!(
                    "a look-up from before the redirect may still go around it for some seconds: \
                     conntrack cannot be asked (kmod-nf-conntrack-netlink): {error}"
                );
            });
        }
    }

    /// One reading of everything. EINTR when the ruleset changed meanwhile.
    fn snapshot(&mut self) -> io::Result<Option<Present>> {
        let mut reading = Reading {
            netlink: &mut self.netlink,
            generation: None,
        };
        let Some((handle, flags, comment)) = reading.table()? else {
            return Ok(None);
        };
        let sets = reading.sets()?;
        let known = |name: &[u8]| sets.get(name).cloned().flatten();
        let (mut redirected, mut stopped) = (Counted::default(), Counted::default());
        let mut rules = Vec::new();
        reading.each(libc::NFT_MSG_GETRULE, |attrs| {
            let rule = rule(attrs, known);
            let counted = expr::counted(attrs.nest(attr::RULE_EXPRESSIONS));
            match rule.chain.as_str() {
                table::CHAIN => redirected += counted,
                guard::CHAIN => stopped += counted,
                _ => {}
            }
            rules.push(rule);
        })?;
        let mut chains = Vec::new();
        reading.each(libc::NFT_MSG_GETCHAIN, |attrs| chains.push(chain(attrs)))?;
        let mut others = 0;
        reading.each(libc::NFT_MSG_GETOBJ, |_| others += 1)?;
        reading.each(GET_FLOWTABLE, |_| others += 1)?;
        let objects = Objects {
            flags,
            comment,
            chains,
            rules,
            sets: sets.len(),
            others,
        };
        Ok(Some(Present {
            objects,
            handle,
            redirected,
            stopped,
        }))
    }
}

/// A reading of the table in progress.
struct Reading<'a> {
    netlink: &'a mut Netlink,
    /// Of the ruleset, in the first message. The others must have the same.
    generation: Option<u16>,
}

impl Reading<'_> {
    /// The table's handle, flags and comment.
    fn table(&mut self) -> io::Result<Option<(u64, u32, Option<String>)>> {
        let mut found = None;
        let take = |attrs: Attrs| {
            let flags = attrs.u32(attr::TABLE_FLAGS).unwrap_or(0);
            let handle = attrs.u64(attr::TABLE_HANDLE).unwrap_or(0);
            found = Some((handle, flags, comment(attrs, attr::TABLE_USERDATA)));
        };
        match self.request(libc::NFT_MSG_GETTABLE, false, &of_table(), take) {
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(None),
            result => result.map(|()| found),
        }
    }

    /// The sets by name; none for those of a kind that we never make.
    fn sets(&mut self) -> io::Result<HashMap<Vec<u8>, Option<Set>>> {
        let mut kinds = Vec::new();
        self.each(libc::NFT_MSG_GETSET, |attrs| {
            let name = attrs.name(attr::SET_NAME).unwrap_or_default().to_owned();
            let flags = attrs.u32(attr::SET_FLAGS).unwrap_or(0);
            let kind = attrs.u32(attr::SET_KEY_TYPE).filter(|_| flags == SET_FLAGS);
            kinds.push((name, kind));
        })?;
        let mut sets = HashMap::new();
        for (name, kind) in kinds {
            let set = match kind {
                Some(Gid::TYPE) => {
                    number_set(&self.elements(&name)?, u32::from_ne_bytes).map(Set::Gids)
                }
                Some(Protocol::TYPE) => {
                    number_set(&self.elements(&name)?, u8::from_ne_bytes).map(Set::Protocols)
                }
                _ => None,
            };
            sets.insert(name, set);
        }
        Ok(sets)
    }

    /// The keys of a set's elements.
    fn elements(&mut self, set: &[u8]) -> io::Result<Vec<Vec<u8>>> {
        let mut request = of_table();
        put(&mut request, attr::SET_ELEM_SET, &[set, &[0]].concat());
        let mut keys = Vec::new();
        let result = self.request(libc::NFT_MSG_GETSETELEM, true, &request, |attrs| {
            for (_, element) in attrs.nest(attr::SET_ELEM_ELEMENTS) {
                let key = Attrs(element).nest(attr::SET_ELEM_KEY);
                keys.push(key.get(attr::DATA_VALUE).unwrap_or_default().to_owned());
            }
        });
        match result {
            // It was there a moment ago.
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => {
                Err(io::ErrorKind::Interrupted.into())
            }
            result => result.map(|()| keys),
        }
    }

    /// All objects of a kind in our table. Not every kind, and not every kernel,
    /// leaves out those of other tables.
    fn each(&mut self, get: libc::c_int, take: impl FnMut(Attrs)) -> io::Result<()> {
        self.request(get, true, &of_table(), take)
    }

    fn request(
        &mut self,
        get: libc::c_int,
        dump: bool,
        attrs: &[u8],
        mut take: impl FnMut(Attrs),
    ) -> io::Result<()> {
        let generation = &mut self.generation;
        let mut changed = false;
        self.netlink
            .request(message_type(get), INET, dump, attrs, |message| {
                changed |= *generation.get_or_insert(message.generation) != message.generation;
                if concerns_us(&message) {
                    take(message.attrs);
                }
            })?;
        if changed {
            return Err(io::ErrorKind::Interrupted.into());
        }
        Ok(())
    }
}

/// Whether a message is about our table or something in it.
pub fn concerns_us(message: &Message) -> bool {
    message.family == INET && message.attrs.name(attr::TABLE) == Some(NAME.as_bytes())
}

fn chain(attrs: Attrs) -> Chain {
    let hook = attrs.nest(attr::CHAIN_HOOK);
    let base = hook.u32(attr::HOOK_NUMBER).map(|number| Base {
        kind: text(attrs, attr::CHAIN_TYPE),
        hook: number,
        priority: hook.u32(attr::HOOK_PRIORITY).unwrap_or(0).cast_signed(),
        policy: attrs.u32(attr::CHAIN_POLICY).unwrap_or(0),
    });
    Chain {
        name: text(attrs, attr::CHAIN_NAME),
        base,
        comment: comment(attrs, attr::CHAIN_USERDATA),
    }
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

/// Keys of a known size as numbers; none when one has another size.
fn number_set<T, const N: usize, C: FromIterator<T>>(
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

fn message_type(message: libc::c_int) -> u16 {
    ((libc::NFNL_SUBSYS_NFTABLES << 8) | message) as u16
}

fn of_table() -> Vec<u8> {
    let mut attrs = Vec::new();
    put(&mut attrs, attr::TABLE, &[NAME.as_bytes(), &[0]].concat());
    attrs
}
