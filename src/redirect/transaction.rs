//! What is written to the kernel, as one transaction; and what nftnl lacks for
//! it: the comment of a table, the size and byte order of a set.

use std::ffi::{CStr, CString, c_void};

use nftnl::expr::Lookup;
use nftnl::nftnl_sys::{self as sys, libc};
use nftnl::set::{Set as NftSet, SetKey};
use nftnl::{Batch, ChainType, Hook, MsgType, NlMsg, Policy, ProtoFamily, Table};

use super::error::{Error, Step};
use super::expr::{Expr, Gid, Protocol, Set};
use super::guard;
use super::netlink::Netlink;
use super::objects::{Base, Chain, Objects, Rule};
use super::table::NAME;

/// nft's name for anonymous sets; the kernel puts a number in.
const SET_NAME: &CStr = c"__set%d";
/// NFTA_TABLE_USERDATA of linux/netfilter/nf_tables.h.
const TABLE_USERDATA: u16 = 6;

/// A batch, and what each of its messages is about.
pub struct Transaction {
    batch: Batch,
    steps: Vec<Step>,
    sets: u32,
}

impl Transaction {
    /// Makes the table, which must not be there.
    pub fn create(objects: &Objects) -> Self {
        let mut this = Self::new();
        this.add_table(objects);
        this
    }

    /// Makes the table anew, whatever is there.
    pub fn replace(objects: &Objects) -> Self {
        let mut this = Self::new();
        // It may be gone by now, and what is not there cannot be deleted.
        this.add(&nf_table(), MsgType::Add, Step::Table);
        this.add(&nf_table(), MsgType::Del, Step::Table);
        this.add_table(objects);
        this
    }

    /// Removes the table, which must be there.
    pub fn remove() -> Self {
        let mut this = Self::new();
        this.add(&nf_table(), MsgType::Del, Step::Remove);
        this
    }

    fn new() -> Self {
        Self {
            batch: Batch::new(),
            steps: Vec::new(),
            sets: 0,
        }
    }

    fn add(&mut self, message: &impl NlMsg, kind: MsgType, step: Step) {
        self.batch.add(message, kind);
        self.steps.push(step);
    }

    fn add_table(&mut self, objects: &Objects) {
        let table = nf_table();
        let new = NewTable {
            table: &table,
            comment: &c_string(objects.comment.as_deref().unwrap_or_default()),
        };
        self.add(&new, MsgType::Add, Step::Table);
        for chain in &objects.chains {
            let rules = objects.rules.iter().filter(|rule| rule.chain == chain.name);
            self.add_chain(&table, chain, rules);
        }
    }

    fn add_chain<'a>(
        &mut self,
        table: &Table,
        chain: &Chain,
        rules: impl Iterator<Item = &'a Rule>,
    ) {
        let mut nf_chain = nftnl::Chain::new(c_string(&chain.name), table);
        if let Some(base) = &chain.base {
            hook_in(&mut nf_chain, base);
        }
        let (for_chain, for_rule) = match chain.name.as_str() {
            guard::CHAIN => (Step::Guard, Step::Guard),
            _ => (Step::Chain, Step::Rule),
        };
        self.add(&nf_chain, MsgType::Add, for_chain);
        for rule in rules {
            let mut nf_rule = nftnl::Rule::new(&nf_chain);
            if let Some(comment) = &rule.comment {
                // Too long is the one way to fail, and Table keeps it short.
                let _ = nf_rule.set_comment(c_string(comment));
            }
            for expr in &rule.exprs {
                match expr {
                    Expr::In(Set::Gids(gids)) => {
                        nf_rule.add_expr(&self.add_set(table, gids.iter().copied().map(Gid)));
                    }
                    Expr::In(Set::Protocols(numbers)) => {
                        let keys = numbers.iter().copied().map(Protocol);
                        nf_rule.add_expr(&self.add_set(table, keys));
                    }
                    expr => expr.add_to(&mut nf_rule),
                }
            }
            self.add(&nf_rule, MsgType::Add, for_rule);
        }
    }

    /// A constant anonymous set, and the look-up in it.
    fn add_set<K: SetKey>(
        &mut self,
        table: &Table,
        keys: impl ExactSizeIterator<Item = K>,
    ) -> Lookup {
        self.sets += 1;
        let mut set = NftSet::<K>::new(SET_NAME, self.sets, table, ProtoFamily::Inet);
        describe(&set, keys.len() as u32);
        for key in keys {
            set.add(&key);
        }
        self.add(&set, MsgType::Add, Step::Set);
        for elements in set.elems_iter() {
            self.add(&elements, MsgType::Add, Step::Set);
        }
        Lookup::new(&set)
    }

    /// Does it.
    ///
    /// # Errors
    /// At which step the kernel refused. Nothing is done then.
    pub fn commit(self, netlink: &mut Netlink) -> Result<(), Error> {
        let batch = self.batch.finalize();
        let seqs = batch.sequence_numbers();
        // Kernels since 6.10 acknowledge the begin of a batch too, and nftnl
        // gives it a number then.
        let before = u32::from(seqs.len() > self.steps.len());
        netlink.transact(&batch).map_err(|(seq, error)| {
            let at = seq.checked_sub(seqs.start + before);
            let step = at.and_then(|at| self.steps.get(usize::try_from(at).ok()?));
            Error::kernel(step.copied().unwrap_or(Step::Commit), error)
        })
    }
}

/// The two kinds of base chains there are. Should a table ever want another, it
/// would not read as wanted.
fn hook_in(chain: &mut nftnl::Chain, base: &Base) {
    let (kind, hook) = match base.kind.as_str() {
        "nat" => (ChainType::Nat, Hook::Out),
        _ => (ChainType::Filter, Hook::PostRouting),
    };
    chain.set_type(kind);
    chain.set_hook(hook, base.priority);
    chain.set_policy(Policy::Accept);
}

/// Adds what nftnl leaves out of a set: how many elements it has, which lets the
/// kernel choose a small fixed table for them, and that they are in host order,
/// without which nft lists them the wrong way round.
fn describe<K>(set: &NftSet<K>, elements: u32) {
    // nft's enum byteorder, which it keeps in the set's user data in host order.
    const HOST_ENDIAN: u32 = 1;
    let mut userdata = vec![sys::NFTNL_UDATA_SET_KEYBYTEORDER as u8, 4];
    userdata.extend(HOST_ENDIAN.to_ne_bytes());
    let set = set.as_ptr().as_ptr();
    // SAFETY: the set is alive, and this attribute of it a number of 32 bits.
    unsafe { sys::nftnl_set_set_u32(set, sys::NFTNL_SET_DESC_SIZE as u16, elements) };
    // SAFETY: the set is alive; the data is copied. It fails only where a few
    // bytes cannot be had, and then the listing is all that is wrong.
    unsafe {
        sys::nftnl_set_set_data(
            set,
            sys::NFTNL_SET_USERDATA as u16,
            userdata.as_ptr().cast(),
            userdata.len() as u32,
        );
    }
}

/// A table that must not be there yet, with a comment, as a message.
struct NewTable<'a> {
    /// The table itself.
    table: &'a Table,
    /// At most 127 bytes.
    comment: &'a CStr,
}

// SAFETY: nftnl's own message of a table is a header and two short attributes;
// the comment adds at most 4 + 2 + 255 bytes, and the buffer has room for 64 KiB.
unsafe impl NlMsg for NewTable<'_> {
    unsafe fn write(&self, buf: *mut c_void, seq: u32, msg_type: MsgType) {
        let header = buf.cast::<libc::nlmsghdr>();
        // SAFETY: our caller vouches for the buffer.
        unsafe { self.table.write(buf, seq, msg_type) };
        // SAFETY: the message just written starts with its header, and libnftnl
        // needs the buffer aligned for it as well.
        unsafe { (*header).nlmsg_flags |= libc::NLM_F_EXCL as u16 };
        let comment = self.comment.to_bytes_with_nul();
        let Ok(len) = u8::try_from(comment.len()) else {
            return;
        };
        let mut userdata = vec![sys::NFTNL_UDATA_TABLE_COMMENT as u8, len];
        userdata.extend(comment);
        // SAFETY: the header says how long the message is, the buffer has room
        // for the attribute after it, and the data is copied.
        unsafe {
            mnl::mnl_sys::mnl_attr_put(
                header,
                TABLE_USERDATA,
                userdata.len(),
                userdata.as_ptr().cast(),
            );
        }
    }
}

fn nf_table() -> nftnl::Table {
    nftnl::Table::new(c_string(NAME), ProtoFamily::Inet)
}

/// Names and comments of ours have no NUL.
fn c_string(text: &str) -> CString {
    CString::new(text).unwrap_or_default()
}
