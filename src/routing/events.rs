//! What changes in the kernel, as far as it may concern us: rtnetlink's
//! multicast groups, over a socket of their own.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use rtnetlink::MulticastGroup;
use rtnetlink::packet_route::link::{LinkFlags, LinkHeader};
use rtnetlink::packet_route::route::RouteHeader;

use super::message;
use super::prefix::Prefix;
use super::route::{EXCEPTION, MAIN, PROTOCOL};
use crate::config::Routing;
use crate::netlink::route::{LINK_HEADER, ROUTE_HEADER, number, rta};
use crate::netlink::{Attrs, Bus, Message, Netlink, attributes};

/// How many bytes of unread events the kernel keeps for us. Beyond that it
/// drops them and says so, which costs one look more.
const BACKLOG: usize = 256 * 1024;

/// What may concern us.
const GROUPS: [u32; 7] = [
    MulticastGroup::Link as u32,
    MulticastGroup::Ipv4Ifaddr as u32,
    MulticastGroup::Ipv6Ifaddr as u32,
    MulticastGroup::Ipv4Route as u32,
    MulticastGroup::Ipv4Rule as u32,
    MulticastGroup::Ipv6Route as u32,
    MulticastGroup::Ipv6Rule as u32,
];

/// The event socket.
pub struct Events {
    netlink: Netlink,
    /// The port of the socket that makes our changes: what it did is no news.
    own_port: u32,
}

/// What the last look found, by which the next events are judged.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Known {
    /// Indexes of the WAN's devices.
    pub links: Vec<u32>,
    /// Of other devices that somebody's routes in the WAN's table lead through. They
    /// go with their device, without an event of their own in IPv6.
    pub beside: Vec<u32>,
    /// Tables besides main and the WAN's that somebody's rule behind main leads
    /// to.
    pub tables: Vec<u32>,
    /// Prefixes that routes of the WAN are for packets from.
    pub sources: Vec<Prefix>,
}

/// What a look at the events found.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct News {
    /// Whether something may concern us.
    pub concerns_us: bool,
    /// Devices (indexes) that went down or away.
    pub down: Vec<u32>,
    /// Whether events were lost, so that anything may have happened.
    pub lost: bool,
}

impl Events {
    /// Opens the socket and joins the groups. Needs no privilege.
    ///
    /// # Errors
    /// No socket to be had.
    pub fn open(own_port: u32) -> io::Result<Self> {
        let netlink = Netlink::listen(Bus::Route, &GROUPS, BACKLOG)?;
        Ok(Self { netlink, own_port })
    }

    /// Reads all events that wait. `names` are what a device of the WAN may be
    /// called, `known` what the last look found.
    ///
    /// # Errors
    /// The socket's, other than lost events.
    pub fn drain(
        &mut self,
        routing: &Routing,
        names: &[String],
        known: &Known,
    ) -> io::Result<News> {
        let mut news = News::default();
        let own = self.own_port;
        news.lost = self.netlink.events(own, |message| {
            news.hear(&message, routing, names, known);
        })?;
        news.concerns_us |= news.lost;
        Ok(news)
    }
}

impl News {
    /// Adds what an event means. The others as in [`Events::drain`].
    pub fn hear(&mut self, message: &Message, routing: &Routing, names: &[String], known: &Known) {
        match message.kind {
            libc::RTM_NEWROUTE | libc::RTM_DELROUTE => {
                self.concerns_us |= route_concerns_us(message.body, routing, known);
            }
            libc::RTM_NEWLINK | libc::RTM_DELLINK => {
                let deleted = message.kind == libc::RTM_DELLINK;
                link(message.body, deleted, names, known, self);
            }
            libc::RTM_NEWADDR | libc::RTM_DELADDR => {
                self.concerns_us |= message::address(message.body).is_none_or(|one| {
                    known.links.contains(&one.device)
                        || known.sources.iter().any(|from| from.contains(one.addr))
                });
            }
            _ => self.concerns_us = true,
        }
    }
}

impl AsFd for Events {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.netlink.as_fd()
    }
}

/// A route of ours, of the WAN's table, or through the WAN in one that unmarked
/// packets may look in. The mesh's routes come and go a lot and are none of our
/// business.
fn route_concerns_us(payload: &[u8], routing: &Routing, known: &Known) -> bool {
    let Ok(header) = RouteHeader::parse(payload) else {
        return true;
    };
    if matches!(u8::from(header.protocol), PROTOCOL | EXCEPTION)
        || header.table == message::table(routing.table).0
    {
        return true;
    }
    // Of tables with large numbers the header has one and the same.
    let of_table = |table| message::table(table).0 == header.table;
    if !of_table(MAIN) && !known.tables.iter().any(|&table| of_table(table)) {
        return false;
    }
    let (mut told, mut by_nexthop) = (false, false);
    for (kind, value) in attributes(payload, ROUTE_HEADER) {
        match kind {
            rta::OIF => {
                told = true;
                if number(value).is_some_and(|index| known.links.contains(&index)) {
                    return true;
                }
            }
            rta::MULTIPATH => return true,
            rta::NH_ID => by_nexthop = true,
            _ => {}
        }
    }
    // Where that leads is not told (`nexthop_compat_mode=0`).
    by_nexthop && !told
}

fn link(payload: &[u8], deleted: bool, names: &[String], known: &Known, news: &mut News) {
    let Ok(header) = LinkHeader::parse(payload) else {
        news.concerns_us = true;
        return;
    };
    // A bridge tells of its ports too, with a message of its own family.
    let is_ours = |name: &[u8]| {
        let name = name.strip_suffix(&[0]);
        names.iter().any(|one| name == Some(one.as_bytes()))
    };
    let named = attributes(payload, LINK_HEADER).any(|(kind, value)| match kind {
        libc::IFLA_IFNAME => is_ours(value),
        libc::IFLA_PROP_LIST => Attrs(value).any(|(_, altname)| is_ours(altname)),
        _ => false,
    });
    let mut devices = known.links.iter().chain(&known.beside);
    if named || devices.any(|device| *device == header.index) {
        news.concerns_us = true;
        if deleted || !header.flags.contains(LinkFlags::Up) {
            news.down.push(header.index);
        }
    }
}
