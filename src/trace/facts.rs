//! What was seen of a look-up, step by step: plain values.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use crate::config::Mark;
use crate::routing::way::Way;
pub use crate::status::facts::Seen;

/// A look-up, from the question to where a packet to its answer would go.
#[derive(Debug, Clone)]
pub struct Trace {
    /// What was looked up.
    pub name: String,
    /// As which group.
    pub group: String,
    /// Its number.
    pub gid: u32,
    /// What marked packets carry.
    pub mark: Mark,
    /// The WAN's devices.
    pub devices: Vec<String>,
    /// The port of the resolver.
    pub port: u16,
    /// The look-up itself.
    pub lookup: Lookup,
    /// The servers of the resolver, each asked by the same way.
    pub upstreams: Seen<Vec<Upstream>>,
    /// Where packets to the answers would go.
    pub answers: Vec<Target>,
}

/// The look-up, as a program of the group makes it.
#[derive(Debug, Clone)]
pub struct Lookup {
    /// The list that libc reads.
    pub file: PathBuf,
    /// Its first server.
    pub primary: SocketAddr,
    /// The answers to the questions for AAAA and A.
    pub replies: Vec<Exchange>,
    /// How many packets more were redirected meanwhile.
    pub redirected: Seen<u64>,
    /// What answers the group there says it is (`version.bind`); none where it
    /// does not say.
    pub answered_by: Option<String>,
}

/// One question, and what came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exchange {
    /// `AAAA` or `A`.
    pub kind: &'static str,
    /// When it was asked, from the start of the trace.
    pub at: Duration,
    /// How long it took.
    pub took: Duration,
    /// What came back.
    pub outcome: Outcome,
}

/// What came back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Addresses; none where there is such a name without any.
    Addresses(Vec<IpAddr>),
    /// Another RCODE than "no error".
    Code(u8),
    /// Nothing in time.
    Silent,
    /// Nobody listens there (ICMP).
    Closed,
    /// It could not be sent, or was not allowed to.
    Failed(String),
}

/// A server of the resolver.
#[derive(Debug, Clone)]
pub struct Upstream {
    /// As configured.
    pub server: String,
    /// How often the resolver asked it since the trace began; none where it does
    /// not say.
    pub asked: Option<u64>,
    /// Which way what is marked takes to it.
    pub way: Seen<Way>,
    /// From which address.
    pub source: Option<IpAddr>,
    /// What it said to the questions for AAAA and A.
    pub replies: Vec<Exchange>,
}

/// An address that was found.
#[derive(Debug, Clone)]
pub struct Target {
    /// The address.
    pub addr: IpAddr,
    /// Which way a packet with the mark would take.
    pub way: Seen<Way>,
}

impl Outcome {
    /// The addresses, if any came.
    pub fn addresses(&self) -> &[IpAddr] {
        match self {
            Self::Addresses(addrs) => addrs,
            _ => &[],
        }
    }

    /// Whether a server said something that is final: addresses, none, or that
    /// there is no such name (RFC 1035, RCODE 3).
    pub fn is_final(&self) -> bool {
        matches!(self, Self::Addresses(_) | Self::Code(3))
    }
}
