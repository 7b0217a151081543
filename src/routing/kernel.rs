//! Asks the kernel for links, rules and routes, and makes changes, over one
//! rtnetlink socket: a request, then its answer, nothing in between. Events come
//! over a socket of their own, so that no answer gets lost behind a flood of
//! them, and what does not matter is dropped while it is read.

use std::io;

use rtnetlink::packet_core::{NLM_F_APPEND, NLM_F_CREATE, NLM_F_EXCL};
use rtnetlink::packet_route::link::{LinkFlags, LinkHeader};
use rtnetlink::packet_route::route::{RouteHeader, RouteProtocol};
use rtnetlink::packet_route::rule::RuleHeader;

use super::message::{self, Nexthop};
use super::prefix::Family;
use super::route::{EXCEPTION, PROTOCOL, Route};
use super::rule::Rule;
use super::state::{Address, Link};
use crate::netlink::route::{put_number, request, rta};
use crate::netlink::{Bus, Netlink, Refused, Requests, put, whole_dump};

/// RTM_GETNEXTHOP of linux/rtnetlink.h.
const GET_NEXTHOP: u16 = 106;

/// How a route is to be added.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Add {
    /// Beside whatever else leads there. The very same route with another
    /// lifetime gets this one; IPv6 says EEXIST then, which is no failure.
    Beside,
    /// Only where nothing else with that metric leads there.
    Alone,
}

/// The socket for requests.
pub struct Kernel(Box<dyn Requests>);

impl Kernel {
    /// Over what answers as the kernel does.
    pub(super) fn over(requests: Box<dyn Requests>) -> Self {
        Self(requests)
    }

    /// Opens the socket. Needs no privilege; changes do.
    ///
    /// # Errors
    /// No socket to be had.
    pub fn open() -> io::Result<Self> {
        Ok(Self(Box::new(Netlink::open(Bus::Route)?)))
    }

    /// What events that this socket caused carry as their origin.
    #[must_use]
    pub fn port(&self) -> u32 {
        self.0.port()
    }

    /// The device of that name, none when there is none.
    ///
    /// # Errors
    /// The kernel's.
    pub fn link(&mut self, name: &str) -> Result<Option<Link>, Refused> {
        let mut body = request(&LinkHeader::default());
        put(
            &mut body,
            libc::IFLA_IFNAME,
            &[name.as_bytes(), &[0]].concat(),
        );
        let mut link = None;
        let found = self.0.request(libc::RTM_GETLINK, 0, &body, &mut |payload| {
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

    /// All addresses of a family.
    ///
    /// # Errors
    /// The kernel's.
    pub fn addresses(&mut self, family: Family) -> Result<Vec<Address>, Refused> {
        let body = message::all_addresses(family);
        whole_dump(&mut *self.0, libc::RTM_GETADDR, &body, |payload, kept| {
            let address = message::address(payload);
            // A kernel without the family answers with all others.
            kept.extend(address.filter(|one| Family::of(one.addr) == family));
        })
    }

    /// All rules of a family.
    ///
    /// # Errors
    /// The kernel's.
    pub fn rules(&mut self, family: Family) -> Result<Vec<Rule>, Refused> {
        let body = request(&RuleHeader {
            family: message::address_family(family),
            ..RuleHeader::default()
        });
        whole_dump(&mut *self.0, libc::RTM_GETRULE, &body, |payload, rules| {
            // A kernel without the family answers with all others.
            rules.extend(message::rule(payload).filter(|rule| rule.family == family));
        })
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
        keep: &mut dyn FnMut(&Route) -> bool,
    ) -> Result<Vec<Route>, Refused> {
        // A number that fits the header goes there and only there.
        let (small, large) = message::table(table);
        let mut body = request(&RouteHeader {
            address_family: message::address_family(family),
            table: small,
            ..RouteHeader::default()
        });
        if let Some(table) = large {
            put_number(&mut body, rta::TABLE, table);
        }
        if let Some(device) = device {
            put_number(&mut body, rta::OIF, device);
        }
        self.routes(family, &body, &mut |route| {
            route.table == table && keep(route)
        })
    }

    /// Our routes in all tables that `keep` wants.
    ///
    /// # Errors
    /// The kernel's.
    pub fn our_routes(
        &mut self,
        family: Family,
        keep: &dyn Fn(&Route) -> bool,
    ) -> Result<Vec<Route>, Refused> {
        let mut found = Vec::new();
        for protocol in [PROTOCOL, EXCEPTION] {
            let body = request(&RouteHeader {
                address_family: message::address_family(family),
                protocol: RouteProtocol::from(protocol),
                ..RouteHeader::default()
            });
            let mut keep = |route: &Route| route.protocol == protocol && keep(route);
            found.append(&mut self.routes(family, &body, &mut keep)?);
        }
        Ok(found)
    }

    /// Kernels before 4.20 do not filter, so `keep` has to; one without the family
    /// answers with all others.
    fn routes(
        &mut self,
        family: Family,
        body: &[u8],
        keep: &mut dyn FnMut(&Route) -> bool,
    ) -> Result<Vec<Route>, Refused> {
        let take = |payload: &[u8], kept: &mut Vec<Route>| {
            for route in message::routes(payload) {
                if route.family() == family && (route.is_told_by_nexthop() || keep(&route)) {
                    kept.push(route);
                }
            }
        };
        let mut kept = match whole_dump(&mut *self.0, libc::RTM_GETROUTE, body, take) {
            // The table has never had a route.
            Err(refused) if refused.is(libc::ENOENT) => return Ok(Vec::new()),
            other => other?,
        };
        // Not while the kernel is listing the routes.
        while let Some(at) = kept.iter().position(Route::is_told_by_nexthop) {
            let route = kept.swap_remove(at);
            for hop in message::with_nexthop(&route, &mut |id| self.nexthop(id)) {
                if keep(&hop) {
                    kept.push(hop);
                }
            }
        }
        Ok(kept)
    }

    /// A nexthop object, none when it is gone.
    fn nexthop(&mut self, id: u32) -> Option<Nexthop> {
        let mut found = None;
        let request = message::one_nexthop(id);
        let told = self.0.request(GET_NEXTHOP, 0, &request, &mut |payload| {
            found = message::nexthop(payload);
        });
        told.ok().and(found)
    }

    /// Adds a route.
    ///
    /// # Errors
    /// The kernel's.
    pub fn add_route(&mut self, route: &Route, add: Add) -> Result<(), Refused> {
        let how = match add {
            Add::Beside => NLM_F_APPEND,
            Add::Alone => NLM_F_EXCL,
        };
        let message = message::of_route(route);
        let added = self.change(libc::RTM_NEWROUTE, NLM_F_CREATE | how, &message);
        fine_if(added, &[libc::EEXIST])
    }

    /// Deletes a route; that it is gone already is fine.
    ///
    /// # Errors
    /// The kernel's.
    pub fn remove_route(&mut self, route: &Route) -> Result<(), Refused> {
        let message = message::key_of_route(route);
        let removed = self.change(libc::RTM_DELROUTE, 0, &message);
        fine_if(removed, &[libc::ESRCH, libc::ENOENT])
    }

    /// Adds a rule; that it is there already is fine.
    ///
    /// # Errors
    /// The kernel's.
    pub fn add_rule(&mut self, rule: &Rule) -> Result<(), Refused> {
        // Without NLM_F_EXCL IPv4 and IPv6 would take the same rule twice.
        let flags = NLM_F_CREATE | NLM_F_EXCL;
        let added = self.change(libc::RTM_NEWRULE, flags, &message::of_rule(rule));
        fine_if(added, &[libc::EEXIST])
    }

    /// Deletes a rule; that it is gone already is fine.
    ///
    /// # Errors
    /// The kernel's.
    pub fn remove_rule(&mut self, rule: &Rule) -> Result<(), Refused> {
        let removed = self.change(libc::RTM_DELRULE, 0, &message::of_rule(rule));
        fine_if(removed, &[libc::ESRCH, libc::ENOENT])
    }

    fn change(&mut self, kind: u16, flags: u16, message: &[u8]) -> Result<(), Refused> {
        self.0.request(kind, flags, message, &mut |_| ())
    }

    /// Asks which way a packet would take (RTM_GETROUTE of one).
    ///
    /// # Errors
    /// The kernel's; that there is no way is one.
    pub(super) fn way(
        &mut self,
        packet: &[u8],
        take: &mut dyn FnMut(&[u8]),
    ) -> Result<(), Refused> {
        self.0.request(libc::RTM_GETROUTE, 0, packet, take)
    }
}

/// Takes some refusals for success.
fn fine_if(result: Result<(), Refused>, codes: &[i32]) -> Result<(), Refused> {
    match result {
        Err(refused) if codes.iter().any(|&code| refused.is(code)) => Ok(()),
        other => other,
    }
}
