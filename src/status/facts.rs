//! What was seen, and of the rest why not: plain values.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use crate::config::Mark;
use crate::health::Health;
use crate::pulse::Watch;
use crate::redirect::Counted;
use crate::routing::Difference;
use crate::routing::way::{Packet, Way};
use crate::ruleset::walk::Deed;

/// Something that was looked at, or why it could not be.
pub type Seen<T> = Result<T, String>;

/// Everything that a verdict needs.
#[derive(Debug, Clone)]
pub struct Facts {
    /// What there is to say of the configuration.
    pub setup: Setup,
    /// The WAN devices of the configuration, in its order.
    pub devices: Seen<Vec<Device>>,
    /// The groups of the configuration, in its order.
    pub groups: Vec<FoundGroup>,
    /// Redirect and resolver share it.
    pub port: u16,
    /// The redirect table in the kernel.
    pub table: Seen<TableState>,
    /// None where the configuration wants none.
    pub include: Option<Include>,
    /// Rules and routes, wanted and present.
    pub routing: Seen<Difference>,
    /// Which ways packets would take.
    pub ways: Seen<Vec<AskedWay>>,
    /// What nftables rules of others do to the packets that matter.
    pub others: Seen<Vec<Done>>,
    /// The watch.
    pub watch: Seen<Watch>,
    /// The resolver.
    pub resolver: Resolver,
    /// What gives the WAN's DNS servers to everybody.
    pub leaks: Leaks,
}

/// A network device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Device {
    /// As in `ip link`.
    pub name: String,
    /// None where there is no such device.
    pub link: Option<LinkState>,
}

/// The state of a device that exists.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LinkState {
    /// Whether it is switched on (IFF_UP).
    pub up: bool,
    /// Whether it has a carrier (IFF_RUNNING).
    pub carrier: bool,
    /// With their prefix lengths, as `ip addr` shows them.
    pub addresses: Vec<String>,
    /// Those of them that are good for more than the link.
    pub global: Vec<IpAddr>,
}

/// A group whose DNS is to be redirected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundGroup {
    /// As in the configuration.
    pub name: String,
    /// None where there is no such group.
    pub gid: Seen<Option<u32>>,
}

/// A way that was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AskedWay {
    /// What the packet is for.
    pub to: Whereto,
    /// The packet.
    pub packet: Packet,
    /// Its way.
    pub way: Seen<Way>,
}

/// What a packet is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Whereto {
    /// A server of the resolver, as configured.
    Server(String),
    /// Somewhere that only a default route leads to.
    Far,
    /// An address of this node.
    Here,
}

/// Something that a rule of others does to a packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Done {
    /// What the packet is for.
    pub purpose: Purpose,
    /// What is done to it, and by which rule.
    pub deed: Deed,
}

/// What a packet is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// DNS of a redirected group, before it is redirected.
    Lookup {
        /// Or UDP.
        tcp: bool,
    },
    /// A query of the resolver, with the mark.
    Query {
        /// Whether its family is.
        separated: bool,
    },
    /// What everybody sends, without the mark.
    Plain,
}

/// How something compares with what it must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Match {
    /// It is as it must be.
    Equal,
    /// It is there, and different.
    Different,
    /// It is not there.
    Absent,
}

/// The redirect table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TableState {
    /// Beside the wanted one.
    pub state: Match,
    /// Redirected so far: the first packet of each flow.
    pub redirected: Counted,
    /// What was stopped since the table was made.
    pub stopped: Stopped,
    /// How much of it since the last look; none where nobody remembers that one.
    pub growth: Option<Growth>,
}

/// Packets that the table stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Stopped {
    /// With the mark, on their way out elsewhere than through the WAN.
    pub marked: u64,
    /// DNS of the groups that was not redirected.
    pub unredirected: u64,
    /// Without the mark, on their way to a router of the WAN.
    pub unmarked: u64,
}

impl Stopped {
    /// How many came since `before`. Fewer than then are those of a table that was
    /// made anew.
    #[must_use]
    pub fn since(self, before: Self) -> Self {
        let grown = |now: u64, before: u64| now.checked_sub(before).unwrap_or(now);
        Self {
            marked: grown(self.marked, before.marked),
            unredirected: grown(self.unredirected, before.unredirected),
            unmarked: grown(self.unmarked, before.unmarked),
        }
    }
}

/// What was stopped in some time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Growth {
    /// In so many seconds.
    pub since_s: u64,
    /// So much.
    pub stopped: Stopped,
}

/// What there is to say of the configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setup {
    /// What is refused, each with its place.
    pub refused: Vec<String>,
    /// Servers and devices that are named and do not count, and why.
    pub left_out: Vec<String>,
    /// The user that the resolver is to be.
    pub wanted_user: String,
    /// The one that it is, none where there is no such user.
    pub user: Seen<Option<String>>,
    /// A redirected group that is the resolver's own.
    pub own_group: Option<String>,
}

/// The file that fw4 loads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Include {
    /// Where it is.
    pub path: PathBuf,
    /// Beside the wanted one.
    pub state: Seen<Match>,
    /// Whether fw4 has a link to it, none where there is no fw4.
    pub linked: Option<bool>,
}

/// The resolver, seen from outside and by what it says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resolver {
    /// Where it must answer.
    pub listeners: Vec<Listener>,
    /// Who has the port, none where nobody answered.
    pub process: Option<Seen<Process>>,
    /// Its servers, none where nobody answered.
    pub servers: Option<Seen<Vec<ServerHealth>>>,
    /// Where its servers come from: a file.
    pub source: PathBuf,
    /// What its queries must carry.
    pub mark: Mark,
}

/// One address of the resolver.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listener {
    /// Where it was asked.
    pub addr: SocketAddr,
    /// What came back.
    pub reply: Reply,
}

/// What a probe led to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// An answer of our resolver.
    Ours {
        /// From question to answer.
        took: Duration,
        /// What it says it is.
        version: String,
    },
    /// Somebody else's answer, and what it says it is, if anything.
    Foreign(Option<String>),
    /// Nobody listens there.
    Closed,
    /// Nothing within the time.
    Silent,
    /// The probe could not be sent.
    Failed(String),
}

/// Who holds the resolver's socket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Process {
    /// Its number.
    pub pid: u32,
    /// Its name.
    pub name: String,
    /// Who it is.
    pub uid: u32,
    /// Whether it has a capability that marking a socket needs.
    pub may_mark: bool,
}

/// A server, as the resolver's `health.gluon-wan` has it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ServerHealth {
    /// As it is written in the configuration.
    pub server: String,
    /// How it does; unknown where a newer resolver has a new word for it.
    pub state: Health,
    /// For how many seconds it has been in this state.
    pub since_s: u64,
    /// Usual time to an answer in microseconds, none before the first.
    pub usual_us: Option<u64>,
    /// Sent to it.
    pub queries: u64,
    /// Not answered, or with a failure.
    pub failures: u64,
}

/// Ways on which queries of everybody reach the WAN's servers.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Leaks {
    /// Servers of the WAN in lists of the primary resolver.
    pub servers: Vec<LeakedServer>,
    /// Interfaces of netifd on the WAN whose servers go to the primary resolver.
    pub peerdns: Vec<String>,
    /// Where netifd's interfaces are configured.
    pub network: PathBuf,
    /// Files that could not be read, and why.
    pub unread: Vec<(PathBuf, String)>,
}

/// A server of the WAN in a list where it must not be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeakedServer {
    /// Its address.
    pub server: String,
    /// The list.
    pub file: PathBuf,
}
