//! What the operator wants: `/etc/config/gluon-wan` and, for the static servers,
//! Gluon's own `/etc/config/gluon-wan-dnsmasq`.
//!
//! A missing or empty file means the defaults. [`Config::load`] takes nothing of a
//! file of ours that has a mistake; [`read`](fn@read) takes what is good in it and
//! says what is not, for those whose work must not wait for its being mended. A
//! mistake in Gluon's file costs its line and no more.

pub mod options;
mod read;
mod server;
pub mod show;
pub mod uci;
mod values;

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};

use crate::input::Shown;
use crate::log;

pub use server::{SERVER_SYNTAX, Server, ServerError, is_device_name, is_plain_device_name};

/// The file of this package, in the configuration directory.
pub const CONFIG_FILE: &str = "gluon-wan";
/// Gluon's file with the static servers, in the configuration directory.
pub const STATIC_FILE: &str = "gluon-wan-dnsmasq";

/// How many values a list may have, so that whatever is accepted also fits into
/// one rule of nftables: 128 expressions, two of them for each device
/// (NFT_RULE_MAXEXPRS of linux/netfilter/nf_tables.h).
const MAX_VALUES: usize = 50;

/// What the files say, as far as it can be used.
#[derive(Debug)]
pub struct Reading {
    /// What holds: for each option whatever is good of it, else the default.
    pub config: Config,
    /// The mistakes in the file of this package, in its order.
    pub refused: Vec<Error>,
    /// The lines of Gluon's file that do not count, in its order.
    pub left_out: Vec<Error>,
}

/// The whole configuration, checked.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Config {
    /// Section `redirect`.
    pub redirect: Redirect,
    /// Section `routing`.
    pub routing: Routing,
    /// Section `resolver`.
    pub resolver: Resolver,
    /// `list server` of section `static` in Gluon's file; when it is not empty,
    /// the resolv file does not count. A link-local address without a device is to
    /// get that of the WAN, where it has one.
    pub static_servers: Vec<Server>,
}

/// Whose DNS goes to the resolver.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Redirect {
    /// The groups, in the order of the file, at least one.
    pub groups: Vec<Group>,
    /// Where the nft language form goes for fw4, none for nowhere. Absolute.
    pub include: Option<PathBuf>,
}

/// A group as it was written.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Group {
    /// To be looked up in the group database.
    Name(String),
    /// A number, which needs no entry there.
    Id(u32),
}

/// Which traffic goes to the WAN, and what the WAN is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Routing {
    /// Linux devices that are the WAN. Empty where nothing is configured: then
    /// [`crate::wan`] finds out.
    pub devices: Vec<String>,
    /// Whether IPv4 is separated too. Gluon leaves it together.
    pub ipv4: bool,
    /// Whether IPv6 is separated.
    pub ipv6: bool,
    /// What traffic for the WAN carries.
    pub mark: Mark,
    /// The routing table of the WAN, 1 in Gluon. Never one of the kernel's own.
    pub table: u32,
    /// The priority of the rule, before the one for `main` (32766).
    pub priority: u32,
}

/// A packet mark and the bits of it that count, as in `ip rule … fwmark`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mark {
    /// Not 0, and within the mask.
    pub value: u32,
    /// Not 0.
    pub mask: u32,
}

/// The DNS forwarder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resolver {
    /// 127.0.0.1, ::1 or both: what a redirect in the output hook rewrites to.
    pub listen: Vec<IpAddr>,
    /// Redirect and resolver share it. Not 0.
    pub port: u16,
    /// Where netifd's servers are written to by the hotplug script. Absolute.
    pub resolv_file: PathBuf,
    /// Who the resolver is, once its sockets are bound; see
    /// [`crate::accounts::resolver`].
    pub user: String,
    /// How many queries may wait for an answer, 1 to 4096.
    pub max_inflight: usize,
}

impl Default for Redirect {
    fn default() -> Self {
        Self {
            groups: vec![
                Group::Name("gluon-fastd".into()),
                Group::Name("gluon-mesh-vpn".into()),
            ],
            include: Some("/var/run/gluon-wan/redirect.nft".into()),
        }
    }
}

impl Default for Routing {
    fn default() -> Self {
        Self {
            devices: Vec::new(),
            ipv4: false,
            ipv6: true,
            mark: Mark { value: 1, mask: 1 },
            table: 1,
            priority: 1,
        }
    }
}

impl Default for Resolver {
    fn default() -> Self {
        Self {
            listen: vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()],
            port: 54,
            resolv_file: "/var/gluon/wan-dnsmasq/resolv.conf".into(),
            user: "gluon-wan".into(),
            max_inflight: 150,
        }
    }
}

impl fmt::Display for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::Id(id) => write!(f, "{id}"),
        }
    }
}

impl fmt::Display for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}/{:#x}", self.value, self.mask)
    }
}

/// Why the configuration cannot be used. Every variant names the file.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file is there but cannot be read, or is no such file.
    #[error("{}: cannot be read", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// Not UCI.
    #[error("{}:{}: {problem}", path.display(), problem.line)]
    Syntax {
        /// The file.
        path: PathBuf,
        /// What is wrong, and in which line.
        problem: uci::SyntaxError,
    },
    /// A section that nobody knows or that stands there twice.
    #[error("{}:{line}: section '{}': {problem}", path.display(), Shown(section))]
    Section {
        /// The file.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
        /// Its type.
        section: String,
        /// What is wrong and what was expected.
        problem: String,
    },
    /// An option that nobody knows, that stands there twice, or a bad value.
    #[error("{}:{line}: option '{}', value '{}': {problem}", path.display(), Shown(option), Shown(value))]
    Option {
        /// The file.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
        /// Its name.
        option: String,
        /// As written.
        value: String,
        /// What is wrong and what was expected.
        problem: String,
    },
    /// Further mistakes, which are not told.
    #[error("{}: and {count} mistakes more", path.display())]
    More {
        /// The file.
        path: PathBuf,
        /// How many.
        count: usize,
    },
}

impl Error {
    /// The line, counted from 1; none where it is about the whole file.
    #[must_use]
    pub fn line(&self) -> Option<usize> {
        match self {
            Self::Syntax { problem, .. } => Some(problem.line),
            Self::Section { line, .. } | Self::Option { line, .. } => Some(*line),
            Self::Read { .. } | Self::More { .. } => None,
        }
    }
}

impl Reading {
    /// The configuration, once the log knows what is wrong with it.
    #[must_use]
    pub fn said(self) -> Config {
        for error in &self.refused {
            let error = log::chain(error);
            log::error!("{error}; it does not count, what is missing has its default");
        }
        for error in &self.left_out {
            log::warning!("{}; it does not count", log::chain(error));
        }
        self.config
    }
}

/// Reads both files of `dir`, and takes what is good.
#[must_use]
pub fn read(dir: &Path) -> Reading {
    read::read(dir)
}

impl Config {
    /// Reads and checks both files of `dir`.
    ///
    /// # Errors
    /// The first mistake in the file of this package, with its place. Nothing is used
    /// then.
    pub fn load(dir: &Path) -> Result<Self, Error> {
        read::load(dir)
    }
}

/// A decimal number or, with 0x before it, a hexadecimal one; no sign, no blank.
fn number(text: &str) -> Option<u64> {
    let (digits, radix) = match text.strip_prefix("0x") {
        Some(hex) => (hex, 16),
        None => (text, 10),
    };
    // from_str_radix would take a sign.
    if digits.starts_with('+') {
        None
    } else {
        u64::from_str_radix(digits, radix).ok()
    }
}
