//! What happens to the network, as far as it concerns the resolver: changes of
//! the WAN, after which what waits is sent again, and of the node's own addresses,
//! none of which may be a server.
//!
//! A mesh is never quiet: routers advertise, devices come and go, routes change.
//! None of that is news here.

use std::io;

use rtnetlink::MulticastGroup;
use rtnetlink::packet_route::link::{LinkFlags, LinkHeader};
use rtnetlink::packet_route::route::RouteHeader;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::local;
use crate::netlink::route::{Hops, LINK_HEADER, ROUTE_HEADER, number, rta};
use crate::netlink::{Bus, Message, Netlink, attributes};
use crate::ready::{self, Polled};
use crate::wan::Devices;

/// How many bytes of unread events the kernel keeps for us. When some are lost,
/// anything may have happened.
const BACKLOG: usize = 64 * 1024;
/// Addresses are not among them: each router advertisement renews some, while
/// those that come or go do so in the table `local` as well.
const GROUPS: [u32; 5] = [
    MulticastGroup::Link as u32,
    MulticastGroup::Ipv4Route as u32,
    MulticastGroup::Ipv4Rule as u32,
    MulticastGroup::Ipv6Route as u32,
    MulticastGroup::Ipv6Rule as u32,
];

/// The WAN, for telling what concerns it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wan {
    /// Whatever a device of it may be called.
    names: Vec<String>,
    /// The numbers of those that are there.
    indexes: Vec<u32>,
    /// Its routing table.
    table: u32,
}

impl Wan {
    /// With these devices, as far as they are known, and this routing table.
    #[must_use]
    pub fn new(devices: Option<&Devices>, table: u32) -> Self {
        let list = devices.map_or(&[][..], |devices| &devices.list);
        Self {
            names: devices.map(Devices::all_names).unwrap_or_default(),
            indexes: list.iter().filter_map(|one| one.index).collect(),
            table,
        }
    }
}

/// What has changed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct News {
    /// The WAN: a device, a route or rule of it. Servers that were out of reach
    /// may be in reach, and sockets may have a source address that is gone.
    pub wan: bool,
    /// Addresses of this node.
    pub addresses: bool,
}

/// The events.
pub struct Network {
    netlink: AsyncFd<Polled<Netlink>>,
    links: Links,
}

/// Devices of the WAN as they were told of last, with those of their flags that
/// count. The kernel tells of much else.
type Links = Vec<(u32, LinkFlags)>;

impl Network {
    /// Subscribes; needs no privilege.
    ///
    /// # Errors
    /// No rtnetlink.
    pub fn new() -> io::Result<Self> {
        let netlink = Netlink::listen(Bus::Route, &GROUPS, BACKLOG)?;
        Ok(Self {
            netlink: ready::register(Polled(netlink), Interest::READABLE)?,
            links: Links::new(),
        })
    }

    /// Waits for news. None are lost when the wait is given up and begun anew.
    ///
    /// # Errors
    /// The socket is broken.
    pub async fn news(&mut self, wan: &Wan) -> io::Result<News> {
        loop {
            let mut news = News::default();
            let mut ready = self.netlink.readable_mut().await?;
            let netlink = &mut ready.get_inner_mut().0;
            // This socket asks for nothing, so no event is its own doing.
            let nobody = netlink.port();
            let lost = netlink.events(nobody, |message| {
                read(&message, wan, &mut self.links, &mut news);
            })?;
            ready.clear_ready();
            news.wan &= !wan.is_cut_off(&self.links);
            if lost {
                return Ok(News {
                    wan: true,
                    addresses: true,
                });
            }
            if news != News::default() {
                return Ok(news);
            }
        }
    }
}

fn read(message: &Message, wan: &Wan, links: &mut Links, news: &mut News) {
    let body = message.body;
    match message.kind {
        libc::RTM_NEWROUTE | libc::RTM_DELROUTE => route(body, wan, news),
        libc::RTM_NEWLINK => news.wan |= link(body, wan, links, false),
        libc::RTM_DELLINK => news.wan |= link(body, wan, links, true),
        libc::RTM_NEWRULE | libc::RTM_DELRULE => news.wan = true,
        _ => {}
    }
}

fn route(body: &[u8], wan: &Wan, news: &mut News) {
    let Ok(header) = RouteHeader::parse(body) else {
        return;
    };
    let mut table = u32::from(header.table);
    let mut through_wan = false;
    let of_wan = |index| wan.has(index);
    for (kind, value) in attributes(body, ROUTE_HEADER) {
        match kind {
            rta::TABLE => table = number(value).unwrap_or(table),
            rta::OIF => through_wan |= number(value).is_some_and(of_wan),
            rta::MULTIPATH => through_wan |= Hops(value).any(|hop| of_wan(hop.device)),
            _ => {}
        }
    }
    news.addresses |= table == local::TABLE;
    news.wan |= table == wan.table || through_wan;
}

/// Whether a device of the WAN has come, gone, or changed between up and down.
fn link(body: &[u8], wan: &Wan, links: &mut Links, gone: bool) -> bool {
    let Ok(header) = LinkHeader::parse(body) else {
        return false;
    };
    // A bridge tells of its ports too, with a message of its own family.
    let ours = wan.has(header.index)
        || attributes(body, LINK_HEADER).any(|(kind, value)| {
            let name = value.strip_suffix(&[0]).unwrap_or(value);
            kind == libc::IFLA_IFNAME && wan.names.iter().any(|one| one.as_bytes() == name)
        });
    if !ours {
        return false;
    }
    let flags = header.flags & (LinkFlags::Up | LinkFlags::Running | LinkFlags::LowerUp);
    let known = links.iter().position(|(index, _)| *index == header.index);
    match known {
        Some(at) if gone => {
            links.remove(at);
            true
        }
        Some(at) => std::mem::replace(&mut links[at].1, flags) != flags,
        None => {
            if !gone {
                links.push((header.index, flags));
            }
            true
        }
    }
}

impl Wan {
    fn has(&self, index: u32) -> bool {
        self.indexes.contains(&index)
    }

    /// Whether it is known that nothing can leave through any device. One that is
    /// set up has its routes at once and its carrier only some milliseconds later;
    /// what is sent in between is lost, and counts as sent. That it runs is the news.
    fn is_cut_off(&self, links: &Links) -> bool {
        let is_silent = |index: &u32| {
            let link = links.iter().find(|(known, _)| known == index);
            link.is_some_and(|(_, flags)| !flags.contains(LinkFlags::Running))
        };
        !self.indexes.is_empty() && self.indexes.iter().all(is_silent)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_happens_before_a_device_runs_is_no_news() {
        let (up, runs) = (LinkFlags::Up, LinkFlags::Up | LinkFlags::Running);
        let one = wan();
        assert!(!one.is_cut_off(&Links::new()), "nothing is known of it");
        assert!(one.is_cut_off(&vec![(7, LinkFlags::empty())]));
        assert!(one.is_cut_off(&vec![(7, up)]));
        assert!(!one.is_cut_off(&vec![(7, runs)]));
        let two = Wan {
            indexes: vec![7, 8],
            ..wan()
        };
        assert!(!two.is_cut_off(&vec![(7, up)]), "nothing is known of 8");
        assert!(!two.is_cut_off(&vec![(7, up), (8, runs)]));
        assert!(two.is_cut_off(&vec![(7, up), (8, up)]));
    }

    const MAIN: u8 = 254;

    fn wan() -> Wan {
        Wan {
            names: vec!["br-wan".into()],
            indexes: vec![7],
            table: 1000,
        }
    }

    fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
        let mut bytes = (4 + value.len() as u16).to_ne_bytes().to_vec();
        bytes.extend(kind.to_ne_bytes());
        bytes.extend(value);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes
    }

    fn with_number(kind: u16, number: u32) -> Vec<u8> {
        attribute(kind, &number.to_ne_bytes())
    }

    fn news(kind: u16, body: &[u8], links: &mut Links) -> News {
        let message = Message {
            kind,
            flags: 0,
            sequence: 0,
            port: 0,
            body,
        };
        let mut news = News::default();
        read(&message, &wan(), links, &mut news);
        news
    }

    /// (WAN, addresses), of a route in a table with these attributes.
    fn route(table: u8, attributes: &[Vec<u8>]) -> (bool, bool) {
        let mut body = vec![0; ROUTE_HEADER];
        body[0] = libc::AF_INET6 as u8;
        body[4] = table;
        body.extend(attributes.concat());
        let news = news(libc::RTM_NEWROUTE, &body, &mut Links::new());
        (news.wan, news.addresses)
    }

    fn link(index: u32, name: &str, flags: LinkFlags, kind: u16, links: &mut Links) -> bool {
        let mut body = vec![0; LINK_HEADER];
        body[4..8].copy_from_slice(&index.to_ne_bytes());
        body[8..12].copy_from_slice(&flags.bits().to_ne_bytes());
        body.extend(attribute(libc::IFLA_IFNAME, format!("{name}\0").as_bytes()));
        news(kind, &body, links).wan
    }

    #[test]
    fn routes_of_the_wan_and_addresses_of_the_node_are_news() {
        let oif = |index| with_number(libc::RTA_OIF, index);
        assert_eq!(route(MAIN, &[oif(7)]), (true, false), "through the WAN");
        assert_eq!(route(MAIN, &[oif(8)]), (false, false), "through the mesh");
        let wide = with_number(libc::RTA_TABLE, 1000);
        assert_eq!(
            route(252, &[wide, oif(8)]),
            (true, false),
            "the WAN's table"
        );
        assert_eq!(route(255, &[oif(8)]), (false, true), "the mesh's address");
        assert_eq!(route(255, &[oif(7)]), (true, true), "the WAN's address");
        let hop = |index: u32| [&8_u16.to_ne_bytes()[..], &[0; 2], &index.to_ne_bytes()].concat();
        let several = attribute(libc::RTA_MULTIPATH, &[hop(8), hop(7)].concat());
        assert_eq!(route(MAIN, &[several]), (true, false), "one way of two");
        let several = attribute(libc::RTA_MULTIPATH, &[hop(8), hop(9)].concat());
        assert_eq!(route(MAIN, &[several]), (false, false), "neither");
    }

    #[test]
    fn a_device_of_the_wan_is_news_when_it_goes_up_or_down() {
        const NEW: u16 = libc::RTM_NEWLINK;
        let (up, down) = (LinkFlags::Up | LinkFlags::LowerUp, LinkFlags::Up);
        let mut links = Links::new();
        assert!(link(7, "br-wan", up, NEW, &mut links), "heard of first");
        assert!(!link(7, "br-wan", up, NEW, &mut links), "the same again");
        assert!(link(7, "br-wan", down, NEW, &mut links), "no carrier");
        assert!(link(7, "br-wan", down, libc::RTM_DELLINK, &mut links));
        assert!(link(9, "br-wan", down, NEW, &mut links), "made anew");
        assert!(!link(8, "br-client", up, NEW, &mut links), "the mesh's");
        assert!(!link(8, "br-client", down, libc::RTM_DELLINK, &mut links));
    }

    #[test]
    fn rules_are_news_and_what_is_cut_off_is_none() {
        let told = |kind, body: &[u8]| news(kind, body, &mut Links::new()).wan;
        assert!(told(libc::RTM_NEWRULE, &[]));
        for kind in [libc::RTM_NEWROUTE, libc::RTM_NEWLINK, libc::RTM_NEWADDR] {
            assert!(!told(kind, &[0; 3]));
        }
        let mut cut = vec![0; ROUTE_HEADER];
        cut.extend([200, 200, 4, 0, 7]);
        assert!(!told(libc::RTM_NEWROUTE, &cut));
    }
}
