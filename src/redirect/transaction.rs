//! What is written to the kernel, as one transaction; and what nftnl lacks for
//! it: the comment of a table, the size and byte order of a set.

use std::ffi::{CStr, CString, c_void};

use nftnl::nftnl_sys::{self as sys, libc};
use nftnl::set::{Set as NftSet, SetKey};
use nftnl::{Batch, ChainType, MsgType, NlMsg, Policy, ProtoFamily};

use super::chain::{self, Base, Chain, Kind};
use super::error::{Error, Step};
use super::expr::{Expr, SET_NAME};
use super::set::{Data, Set};
use super::table::{COMMENT, NAME, Table};
use crate::netlink::Netlink;

/// NFTA_TABLE_USERDATA of linux/netfilter/nf_tables.h.
const TABLE_USERDATA: u16 = 6;

/// Room for the largest table that there can be, with as many devices and groups as a
/// configuration may have (28 kB): a transaction is sent in one piece. libnftnl's own
/// would be 128 kB. With what nftnl adds it is more than the 128 KiB from which on glibc
/// and musl get memory by itself and give it back at once: a watch lives long.
const PAGE: u32 = 64 * 1024;

/// A batch, and what each of its messages is about.
pub struct Transaction {
    batch: Batch,
    steps: Vec<Step>,
    sets: u32,
}

impl Transaction {
    /// Makes the table, which must not be there.
    pub fn create(table: &Table) -> Self {
        let mut this = Self::new();
        this.add_table(table);
        this
    }

    /// Makes the table anew, whatever is there.
    pub fn replace(table: &Table) -> Self {
        let mut this = Self::new();
        // It may be gone by now, and what is not there cannot be deleted.
        this.add(&nf_table(), MsgType::Add, Step::Table);
        this.add(&nf_table(), MsgType::Del, Step::Table);
        this.add_table(table);
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
            batch: Batch::with_page_size(PAGE),
            steps: Vec::new(),
            sets: 0,
        }
    }

    fn add(&mut self, message: &impl NlMsg, kind: MsgType, step: Step) {
        self.batch.add(message, kind);
        self.steps.push(step);
    }

    fn add_table(&mut self, table: &Table) {
        let nf_table = nf_table();
        let new = NewTable {
            table: &nf_table,
            comment: &c_string(COMMENT),
        };
        self.add(&new, MsgType::Add, Step::Table);
        for chain in table.chains() {
            self.add_chain(&nf_table, chain);
        }
    }

    fn add_chain(&mut self, table: &nftnl::Table, chain: &Chain) {
        let mut nf_chain = nftnl::Chain::new(c_string(chain.name), table);
        if let Some(base) = chain.base {
            hook_in(&mut nf_chain, base);
        }
        self.add(&nf_chain, MsgType::Add, Step::Chain(chain.name));
        for rule in &chain.rules {
            self.add_rule(table, &nf_chain, chain.name, rule);
        }
    }

    fn add_rule(
        &mut self,
        table: &nftnl::Table,
        nf_chain: &nftnl::Chain,
        chain: &'static str,
        rule: &chain::Rule,
    ) {
        let mut nf_rule = nftnl::Rule::new(nf_chain);
        if let Some(comment) = &rule.comment {
            // Too long is the one way to fail, and Table keeps it short.
            let _ = nf_rule.set_comment(c_string(comment));
        }
        for expr in rule.exprs() {
            if let Expr::In(set) = &expr {
                self.add_set(table, set);
            }
            expr.add_to(&mut nf_rule, self.sets);
        }
        self.add(&nf_rule, MsgType::Add, Step::Rule(chain));
    }

    /// A constant anonymous set, which has the number of sets so far.
    fn add_set(&mut self, table: &nftnl::Table, set: &Set) {
        self.sets += 1;
        let mut nf_set = NftSet::<Key>::new(SET_NAME, self.sets, table, ProtoFamily::Inet);
        describe(&nf_set, set);
        for number in set.numbers.as_slice() {
            nf_set.add(&Key(set.of.data(*number)));
        }
        self.add(&nf_set, MsgType::Add, Step::Set);
        for elements in nf_set.elems_iter() {
            self.add(&elements, MsgType::Add, Step::Set);
        }
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
        netlink
            .transact(&batch, seqs.clone())
            .map_err(|(seq, refused)| {
                let at = seq.checked_sub(seqs.start + before);
                let step = at.and_then(|at| self.steps.get(usize::try_from(at).ok()?));
                Error::kernel(step.copied().unwrap_or(Step::Commit), refused.into())
            })
    }
}

fn hook_in(chain: &mut nftnl::Chain, base: Base) {
    chain.set_type(match base.kind {
        Kind::Filter => ChainType::Filter,
        Kind::Nat => ChainType::Nat,
        Kind::Route => ChainType::Route,
    });
    let hook = match base.hook {
        chain::Hook::Output => nftnl::Hook::Out,
        chain::Hook::Postrouting => nftnl::Hook::PostRouting,
    };
    chain.set_hook(hook, base.priority);
    chain.set_policy(Policy::Accept);
}

/// An element of a set of any type: [`describe`] says which.
struct Key(Data);

impl SetKey for Key {
    const TYPE: u32 = 0;
    const LEN: u32 = 0;

    fn data(&self) -> Box<[u8]> {
        self.0.as_slice().into()
    }
}

/// Adds what nftnl leaves out of a set or knows only when it is compiled: its type; how
/// many elements it has, which lets the kernel choose a small fixed table for them; and
/// in which order their bytes are, in the user data in host order, without which nft
/// lists some the wrong way round.
fn describe(nf_set: &NftSet<Key>, set: &Set) {
    let nf_set = nf_set.as_ptr().as_ptr();
    let (datatype, length, order) = set.of.layout();
    for (attribute, number) in [
        (sys::NFTNL_SET_KEY_TYPE, datatype),
        (sys::NFTNL_SET_KEY_LEN, length),
        (
            sys::NFTNL_SET_DESC_SIZE,
            set.numbers.as_slice().len() as u32,
        ),
    ] {
        // SAFETY: the set is alive, and these attributes of it numbers of 32 bits.
        unsafe { sys::nftnl_set_set_u32(nf_set, attribute as u16, number) };
    }
    let mut userdata = vec![sys::NFTNL_UDATA_SET_KEYBYTEORDER as u8, 4];
    userdata.extend(order.to_ne_bytes());
    // SAFETY: the set is alive; the data is copied. It fails only where a few
    // bytes cannot be had, and then the listing is all that is wrong.
    unsafe {
        sys::nftnl_set_set_data(
            nf_set,
            sys::NFTNL_SET_USERDATA as u16,
            userdata.as_ptr().cast(),
            userdata.len() as u32,
        );
    }
}

/// A table that must not be there yet, with a comment, as a message.
struct NewTable<'a> {
    /// The table itself.
    table: &'a nftnl::Table,
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
