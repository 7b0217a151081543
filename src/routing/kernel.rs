//! Asks the kernel for links, rules and routes, and makes changes, over one
//! rtnetlink socket: a request, then its answer, nothing in between.
//!
//! Blocking on purpose. The kernel answers within the system call, dumps are
//! read in pieces and what does not matter is dropped at once, so that ten
//! thousand routes never lie here as messages; and an acknowledgement cannot
//! get lost behind a flood of events, which come over a socket of their own.

use std::io;

use rtnetlink::packet_core::{
    DefaultNla, Emitable, NLM_F_ACK, NLM_F_APPEND, NLM_F_CREATE, NLM_F_DUMP, NLM_F_EXCL,
    NLM_F_REPLACE, NLM_F_REQUEST, NetlinkBuffer, NetlinkHeader, NlasIterator, Parseable,
};
use rtnetlink::packet_route::link::{LinkFlags, LinkHeader};
use rtnetlink::packet_route::route::{RouteAttribute, RouteMessage, RouteProtocol};
use rtnetlink::packet_route::rule::RuleMessage;
use rtnetlink::sys::protocols::NETLINK_ROUTE;
use rtnetlink::sys::{Socket, SocketAddr};

use super::message;
use super::route::{Family, PROTOCOL, Route, Rule};

/// The kernel fills at most 32 KiB of a dump into one piece (NLMSG_GOODSIZE,
/// netlink_dump in net/netlink/af_netlink.c).
const PIECE: usize = 32 * 1024;
/// Attribute of an answer to a refused request: why, in words
/// (NLMSGERR_ATTR_MSG of linux/netlink.h).
const ATTR_MSG: u16 = 1;

/// A device as the kernel has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// Its number; another one whenever it is made again.
    pub index: u32,
    /// Its name.
    pub name: String,
    /// Whether it is administratively up (IFF_UP).
    pub up: bool,
}

/// How a route is to be added.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Add {
    /// Beside whatever else leads there. The very same route with another
    /// lifetime gets this one; IPv6 says EEXIST then, which is no failure.
    Beside,
    /// Only where nothing else with that metric leads there.
    Alone,
    /// In place of the route with the same destination and metric.
    InPlace,
}

/// A request that the kernel refused.
#[derive(Debug, thiserror::Error)]
#[error("{errno}{}{reason}", if reason.is_empty() { "" } else { ": " })]
pub struct Refused {
    /// The errno, in words.
    errno: io::Error,
    /// What the kernel added to it, often nothing.
    reason: String,
}

impl Refused {
    /// Whether the kernel said `code` (libc's E…).
    #[must_use]
    pub fn is(&self, code: i32) -> bool {
        self.errno.raw_os_error() == Some(code)
    }
}

impl From<io::Error> for Refused {
    fn from(errno: io::Error) -> Self {
        let reason = String::new();
        Self { errno, reason }
    }
}

/// The socket for requests.
pub struct Kernel {
    socket: Socket,
    port: u32,
    sequence: u32,
    buffer: Vec<u8>,
}

impl Kernel {
    /// Opens the socket. Needs no privilege; changes do.
    ///
    /// # Errors
    /// No socket to be had.
    pub fn open() -> io::Result<Self> {
        let mut socket = Socket::new(NETLINK_ROUTE)?;
        let port = socket.bind_auto()?.port_number();
        // Both only make things better where they are known (Linux 4.12, 4.20):
        // reasons in words, and dumps of one table or device.
        let _ = socket.set_ext_ack(true);
        let _ = socket.set_netlink_get_strict_chk(true);
        Ok(Self {
            socket,
            port,
            sequence: 0,
            buffer: Vec::with_capacity(PIECE),
        })
    }

    /// What events that this socket caused carry as their origin.
    #[must_use]
    pub fn port(&self) -> u32 {
        self.port
    }

    /// The device of that name, none when there is none.
    ///
    /// # Errors
    /// The kernel's.
    pub fn link(&mut self, name: &str) -> Result<Option<Link>, Refused> {
        let mut bytes = name.as_bytes().to_vec();
        bytes.push(0);
        let request = LinkRequest(DefaultNla::new(libc::IFLA_IFNAME, bytes));
        let mut link = None;
        let found = self.request(libc::RTM_GETLINK, NLM_F_REQUEST, &request, |payload| {
            if let Ok(header) = LinkHeader::parse(payload) {
                link = Some(Link {
                    index: header.index,
                    name: name.to_owned(),
                    up: header.flags.contains(LinkFlags::Up),
                });
            }
        });
        match found {
            Err(refused) if refused.is(libc::ENODEV) => Ok(None),
            other => other.map(|()| link),
        }
    }

    /// All rules of a family.
    ///
    /// # Errors
    /// The kernel's.
    pub fn rules(&mut self, family: Family) -> Result<Vec<Rule>, Refused> {
        let mut request = RuleMessage::default();
        request.header.family = message::address_family(family);
        let flags = NLM_F_REQUEST | NLM_F_DUMP;
        let mut rules = Vec::new();
        self.request(libc::RTM_GETRULE, flags, &request, |payload| {
            let rule = RuleMessage::parse(payload).ok().and_then(message::rule);
            // A kernel without the family answers with all others.
            rules.extend(rule.filter(|rule| rule.family == family));
        })?;
        Ok(rules)
    }

    /// The routes of one table, through one device if that is given, that
    /// `keep` wants.
    ///
    /// # Errors
    /// The kernel's.
    pub fn routes_of_table(
        &mut self,
        family: Family,
        table: u32,
        device: Option<u32>,
        keep: impl Fn(&Route) -> bool,
    ) -> Result<Vec<Route>, Refused> {
        let mut request = RouteMessage::default();
        request.header.address_family = message::address_family(family);
        // A number that fits the header goes there and only there.
        let (small, large) = message::table(table);
        request.header.table = small;
        request.attributes.extend(large.map(RouteAttribute::Table));
        request.attributes.extend(device.map(RouteAttribute::Oif));
        self.routes(family, &request, |route| {
            route.table == table && keep(route)
        })
    }

    /// Our routes in all tables.
    ///
    /// # Errors
    /// The kernel's.
    pub fn our_routes(
        &mut self,
        family: Family,
        keep: impl Fn(&Route) -> bool,
    ) -> Result<Vec<Route>, Refused> {
        let mut request = RouteMessage::default();
        request.header.address_family = message::address_family(family);
        request.header.protocol = RouteProtocol::from(PROTOCOL);
        self.routes(family, &request, |route| route.is_ours() && keep(route))
    }

    /// Kernels before 4.20 do not filter, so `keep` has to; one without the family
    /// answers with all others.
    fn routes(
        &mut self,
        family: Family,
        request: &RouteMessage,
        keep: impl Fn(&Route) -> bool,
    ) -> Result<Vec<Route>, Refused> {
        let mut kept = Vec::new();
        let flags = NLM_F_REQUEST | NLM_F_DUMP;
        let dumped = self.request(libc::RTM_GETROUTE, flags, request, |payload| {
            if let Ok(message) = RouteMessage::parse(payload) {
                let routes = message::routes(message).into_iter();
                kept.extend(routes.filter(|route| route.family() == family && keep(route)));
            }
        });
        match dumped {
            // The table has never had a route.
            Err(refused) if refused.is(libc::ENOENT) => Ok(kept),
            other => other.map(|()| kept),
        }
    }

    /// Adds a route.
    ///
    /// # Errors
    /// The kernel's.
    pub fn add_route(&mut self, route: &Route, add: Add) -> Result<(), Refused> {
        let how = match add {
            Add::Beside => NLM_F_APPEND,
            Add::Alone => NLM_F_EXCL,
            Add::InPlace => NLM_F_REPLACE,
        };
        let flags = NLM_F_REQUEST | NLM_F_ACK | NLM_F_CREATE | how;
        let message = message::of_route(route);
        let added = self.request(libc::RTM_NEWROUTE, flags, &message, |_| ());
        fine_if(added, &[libc::EEXIST])
    }

    /// Deletes a route; that it is gone already is fine.
    ///
    /// # Errors
    /// The kernel's.
    pub fn remove_route(&mut self, route: &Route) -> Result<(), Refused> {
        let message = message::key_of_route(route);
        let flags = NLM_F_REQUEST | NLM_F_ACK;
        let removed = self.request(libc::RTM_DELROUTE, flags, &message, |_| ());
        fine_if(removed, &[libc::ESRCH, libc::ENOENT])
    }

    /// Adds a rule; that it is there already is fine.
    ///
    /// # Errors
    /// The kernel's.
    pub fn add_rule(&mut self, rule: &Rule) -> Result<(), Refused> {
        // Without NLM_F_EXCL IPv4 and IPv6 would take the same rule twice.
        let flags = NLM_F_REQUEST | NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL;
        let added = self.request(libc::RTM_NEWRULE, flags, &message::of_rule(rule), |_| ());
        fine_if(added, &[libc::EEXIST])
    }

    /// Deletes a rule; that it is gone already is fine.
    ///
    /// # Errors
    /// The kernel's.
    pub fn remove_rule(&mut self, rule: &Rule) -> Result<(), Refused> {
        let flags = NLM_F_REQUEST | NLM_F_ACK;
        let removed = self.request(libc::RTM_DELRULE, flags, &message::of_rule(rule), |_| ());
        fine_if(removed, &[libc::ESRCH, libc::ENOENT])
    }

    /// Sends one request and hands every message of the answer to `take`.
    pub(super) fn request(
        &mut self,
        kind: u16,
        flags: u16,
        body: &impl Emitable,
        mut take: impl FnMut(&[u8]),
    ) -> Result<(), Refused> {
        self.sequence = self.sequence.wrapping_add(1);
        let mut header = NetlinkHeader::default();
        let start = header.buffer_len();
        let mut bytes = vec![0; start + body.buffer_len()];
        header.length = u32::try_from(bytes.len()).map_err(io::Error::other)?;
        header.message_type = kind;
        header.flags = flags;
        header.sequence_number = self.sequence;
        header.emit(&mut bytes);
        body.emit(&mut bytes[start..]);
        self.socket.send_to(&bytes, &SocketAddr::new(0, 0), 0)?;
        while !self.answered(&mut take)? {}
        Ok(())
    }

    /// Reads a piece of the answer; true with the last one.
    fn answered(&mut self, take: &mut impl FnMut(&[u8])) -> Result<bool, Refused> {
        self.buffer.clear();
        loop {
            match self.socket.recv(&mut self.buffer, 0) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                other => {
                    other?;
                    break;
                }
            }
        }
        let mut rest = self.buffer.as_slice();
        while !rest.is_empty() {
            let Ok(message) = NetlinkBuffer::new_checked(rest) else {
                let what = "an answer of the kernel that is no netlink message";
                return Err(io::Error::new(io::ErrorKind::InvalidData, what).into());
            };
            // What is left of an answer that was given up.
            let ours = message.sequence_number() == self.sequence;
            let more = message.flags() & libc::NLM_F_MULTI as u16 != 0;
            match i32::from(message.message_type()) {
                libc::NLMSG_ERROR | libc::NLMSG_DONE if ours => {
                    return verdict(message.payload()).map(|()| true);
                }
                libc::NLMSG_NOOP => {}
                _ if ours => {
                    take(message.payload());
                    if !more {
                        return Ok(true);
                    }
                }
                _ => {}
            }
            // Messages start at multiples of 4 (NLMSG_ALIGN).
            let length = (message.length() as usize).next_multiple_of(4);
            rest = rest.get(length..).unwrap_or_default();
        }
        Ok(false)
    }
}

/// Takes some refusals for success.
fn fine_if(result: Result<(), Refused>, codes: &[i32]) -> Result<(), Refused> {
    match result {
        Err(refused) if codes.iter().any(|&code| refused.is(code)) => Ok(()),
        other => other,
    }
}

/// What an NLMSG_ERROR (struct nlmsgerr) or NLMSG_DONE says: 0 or -errno, and
/// perhaps why.
fn verdict(payload: &[u8]) -> Result<(), Refused> {
    let Some((code, rest)) = payload.split_first_chunk() else {
        return Ok(());
    };
    match i32::from_ne_bytes(*code) {
        0.. => Ok(()),
        code => Err(Refused {
            errno: io::Error::from_raw_os_error(-code),
            reason: match -code {
                libc::EPERM => "needs root of this network (CAP_NET_ADMIN)".into(),
                _ => reason(rest),
            },
        }),
    }
}

/// The words after the request, which the kernel sends back in whole.
fn reason(refused: &[u8]) -> String {
    let length = match refused.first_chunk() {
        Some(length) => u32::from_ne_bytes(*length) as usize,
        None => return String::new(),
    };
    let attributes = refused
        .get(length.next_multiple_of(4)..)
        .unwrap_or_default();
    NlasIterator::new(attributes)
        .map_while(Result::ok)
        .find(|attribute| attribute.kind() == ATTR_MSG)
        .map(|text| {
            String::from_utf8_lossy(text.value())
                .trim_end_matches('\0')
                .into()
        })
        .unwrap_or_default()
}

/// RTM_GETLINK by name: a header of nothing, and the name.
struct LinkRequest(DefaultNla);

impl Emitable for LinkRequest {
    fn buffer_len(&self) -> usize {
        LinkHeader::default().buffer_len() + self.0.buffer_len()
    }

    fn emit(&self, buffer: &mut [u8]) {
        let header = LinkHeader::default();
        let (head, name) = buffer.split_at_mut(header.buffer_len());
        header.emit(head);
        self.0.emit(name);
    }
}
