//! Why the table is not as it must be, and what to do about it.

use std::fmt;
use std::io;

use nftnl::nftnl_sys::libc;

use super::dns;
use super::table::{self, NAME};

/// Why the table is not as it must be. What was there before stays.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nothing to redirect.
    #[error(
        "none of the groups {groups} exists, nothing is redirected: \
         install the VPN daemon, or correct `list group` in the configuration"
    )]
    NoGroup {
        /// As configured.
        groups: String,
    },
    /// The group database could not be read.
    #[error("group '{name}' cannot be looked up")]
    Lookup {
        /// As configured.
        name: String,
        /// What libc said.
        source: io::Error,
    },
    /// The kernel says no.
    #[error("{step}: needs root (CAP_NET_ADMIN)")]
    NotPermitted {
        /// At what.
        step: Step,
        /// EPERM.
        source: io::Error,
    },
    /// A kernel without what the table is made of.
    #[error("{step}: this kernel has no {what}, install {kmod}")]
    Missing {
        /// At what.
        step: Step,
        /// What is missing.
        what: &'static str,
        /// OpenWrt's package that has it.
        kmod: &'static str,
        /// What the kernel said.
        source: io::Error,
    },
    /// Anything else.
    #[error("{step}")]
    Kernel {
        /// At what.
        step: Step,
        /// What the kernel said.
        source: io::Error,
    },
    /// Read again, the table is another one.
    #[error(
        "table inet {NAME} was written, but reads differently: \
         another program changes it, or the kernel shows it in a form unknown here"
    )]
    NotKept,
}

/// What was being done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// The netlink socket.
    Open,
    /// Reading the table.
    Read,
    /// Listening to events.
    Listen,
    /// A transaction as a whole.
    Commit,
    /// The table itself.
    Table,
    /// One of its chains.
    Chain(&'static str),
    /// A set of one of its rules.
    Set,
    /// A rule of one of its chains.
    Rule(&'static str),
    /// Removing the table.
    Remove,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Open => write!(f, "opening netfilter's netlink socket"),
            Self::Read => write!(f, "reading table inet {NAME}"),
            Self::Listen => write!(f, "listening to nftables' events"),
            Self::Commit => write!(f, "writing table inet {NAME}"),
            Self::Table => write!(f, "adding table inet {NAME}"),
            Self::Chain(chain) => write!(f, "adding chain {chain} to table inet {NAME}"),
            Self::Set => write!(f, "adding a set to table inet {NAME}"),
            Self::Rule(chain) => write!(f, "adding a rule to chain {chain} of table inet {NAME}"),
            Self::Remove => write!(f, "removing table inet {NAME}"),
        }
    }
}

impl Error {
    /// From what the kernel said at a step.
    pub(super) fn kernel(step: Step, source: io::Error) -> Self {
        let code = source.raw_os_error().unwrap_or(0);
        if code == libc::EPERM || code == libc::EACCES {
            return Self::NotPermitted { step, source };
        }
        match missing(step, code) {
            Some((what, kmod)) => Self::Missing {
                step,
                what,
                kmod,
                source,
            },
            None => Self::Kernel { step, source },
        }
    }

    /// Whether it was made meanwhile.
    pub(super) fn is_exists(&self) -> bool {
        self.errno() == Some(libc::EEXIST)
    }

    /// Whether it was removed meanwhile.
    pub(super) fn is_not_there(&self) -> bool {
        self.errno() == Some(libc::ENOENT)
    }

    fn errno(&self) -> Option<i32> {
        match self {
            Self::Kernel { source, .. } => source.raw_os_error(),
            _ => None,
        }
    }
}

/// What a kernel lacks that answers so, and OpenWrt's package that has it.
///
/// nfnetlink says EINVAL or EOPNOTSUPP where nf_tables is not there
/// (net/netfilter/nfnetlink.c); nf_tables says ENOENT for a type of chain or
/// expression it does not know (nf_tables_api.c), and EAFNOSUPPORT for a family.
fn missing(step: Step, code: i32) -> Option<(&'static str, &'static str)> {
    let unknown = [
        libc::ENOENT,
        libc::EINVAL,
        libc::EOPNOTSUPP,
        libc::EAFNOSUPPORT,
        libc::EPROTONOSUPPORT,
    ];
    if !unknown.contains(&code) {
        return None;
    }
    match step {
        Step::Open | Step::Listen => Some(("netlink for netfilter (nfnetlink)", "kmod-nft-core")),
        Step::Read | Step::Commit => Some(("nftables (nf_tables)", "kmod-nft-core")),
        Step::Table => Some(("nftables tables of family inet", "kmod-nft-core")),
        Step::Set => Some(("nftables sets", "kmod-nft-core")),
        Step::Chain(dns::REDIRECT) => Some((
            "nftables nat chains for inet (nft_chain_nat)",
            "kmod-nft-nat",
        )),
        Step::Rule(dns::REDIRECT) => {
            Some(("nftables redirect for inet (nft_redir)", "kmod-nft-nat"))
        }
        Step::Rule(table::FIRST) => Some((
            "conntrack zones in nftables (nft_ct, CONFIG_NF_CONNTRACK_ZONES)",
            "kmod-nft-core and kmod-nf-conntrack",
        )),
        Step::Chain(_) | Step::Rule(_) => Some(("nftables filters (nf_tables)", "kmod-nft-core")),
        Step::Remove => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::mark;
    use super::*;
    use std::error::Error as _;

    fn said(step: Step, code: i32) -> Error {
        Error::kernel(step, io::Error::from_raw_os_error(code))
    }

    #[test]
    fn what_is_missing_is_named_with_its_kmod() {
        for (step, code, part) in [
            (Step::Open, libc::EPROTONOSUPPORT, "nfnetlink"),
            (Step::Listen, libc::EPROTONOSUPPORT, "nfnetlink"),
            (Step::Read, libc::EINVAL, "nf_tables"),
            (Step::Commit, libc::EOPNOTSUPP, "nf_tables"),
            (Step::Table, libc::EAFNOSUPPORT, "family inet"),
            (Step::Set, libc::EOPNOTSUPP, "sets"),
            (Step::Chain(mark::GUARD), libc::ENOENT, "filters"),
            (Step::Rule(mark::GUARD), libc::ENOENT, "filters"),
        ] {
            let message = said(step, code).to_string();
            assert!(message.contains(part), "{message}");
            assert!(message.ends_with("install kmod-nft-core"), "{message}");
        }
        for (step, code, part) in [
            (Step::Chain(dns::REDIRECT), libc::ENOENT, "nft_chain_nat"),
            (
                Step::Chain(dns::REDIRECT),
                libc::EOPNOTSUPP,
                "nft_chain_nat",
            ),
            (Step::Rule(dns::REDIRECT), libc::ENOENT, "nft_redir"),
            (Step::Rule(dns::REDIRECT), libc::EAFNOSUPPORT, "nft_redir"),
        ] {
            let message = said(step, code).to_string();
            assert!(message.contains(part), "{message}");
            assert!(message.ends_with("install kmod-nft-nat"), "{message}");
        }
    }

    #[test]
    fn permission_comes_first_and_the_rest_is_as_the_kernel_says() {
        for step in [Step::Open, Step::Read, Step::Commit, Step::Rule("c")] {
            let message = said(step, libc::EPERM).to_string();
            assert!(message.ends_with("needs root (CAP_NET_ADMIN)"), "{message}");
        }
        let busy = said(Step::Rule("c"), libc::EBUSY);
        assert_eq!(
            busy.to_string(),
            "adding a rule to chain c of table inet gluon_wan"
        );
        assert!(busy.source().unwrap().to_string().contains("busy"));
        assert!(said(Step::Remove, libc::ENOENT).is_not_there());
        assert!(said(Step::Table, libc::EEXIST).is_exists());
    }
}
