//! IPv6 routes: fib6_add_rt2node, fib6_node_lookup and fib6_table_lookup of
//! net/ipv6/ip6_fib.c, ip6_route_info_create, ip6_validate_gw and ip6_route_del of
//! net/ipv6/route.c.

use std::net::{IpAddr, Ipv6Addr};

use libc::{EEXIST, EHOSTUNREACH, EINVAL, ENETDOWN, ENODEV, ENOENT, ESRCH};

use super::net::{Family, Net};
use super::rules::Found;
use super::{Errno, Flow, How, Kernel, Kind, LO, Notice, Route, Verdict};

/// IP6_RT_PRIO_USER of linux/ipv6_route.h.
pub const USER_METRIC: u32 = 1024;
/// The metric of prefix routes (IP6_RT_PRIO_ADDRCONF) and of advertised default
/// routes (IP6_RT_PRIO_USER).
pub const ADDRCONF_METRIC: u32 = 256;

impl Kernel {
    /// ip6_route_add.
    pub(super) fn new_route6(&mut self, mut route: Route, how: How) -> Result<(), Errno> {
        self.check_hop6(&mut route)?;
        self.insert6(route, how)
    }

    /// fib6_add_rt2node.
    pub(super) fn insert6(&mut self, mut route: Route, how: How) -> Result<(), Errno> {
        if route.metric == 0 {
            route.metric = USER_METRIC;
        }
        route.scope = super::UNIVERSE;
        if route.src.is_some_and(|src| src.len == 0) {
            route.src = None;
        }
        let node = |other: &Route| is_in_node(other, route.table, route.dst, route.src);
        let level = |other: &Route| node(other) && other.metric == route.metric;
        if self.routes.iter().any(level) {
            if how.excl {
                return Err(EEXIST);
            }
            if how.replace {
                return self.replace6(route);
            }
            let hop = route.hops[0];
            let same = |other: &&mut Route| {
                (other.table, other.dst, other.src, other.metric)
                    == (route.table, route.dst, route.src, route.metric)
                    // rt6_duplicate_nexthop
                    && (other.hops[0].dev, other.hops[0].via) == (hop.dev, hop.via)
            };
            // Only the first one is looked at: "return -EEXIST".
            if let Some(twin) = self.routes.iter_mut().find(same) {
                if twin.expires.is_some() {
                    twin.expires = route.expires;
                }
                return Err(EEXIST);
            }
        } else if how.replace && !how.create {
            return Err(ENOENT);
        }
        if !how.create && !how.replace {
            return Err(ENOENT);
        }
        let behind = |other: &Route| {
            is_in_node(other, route.table, route.dst, route.src) && other.metric > route.metric
        };
        let at = self.routes.iter().position(behind);
        self.routes
            .insert(at.unwrap_or(self.routes.len()), route.clone());
        self.notices.push(Notice::NewRoute(route));
        Ok(())
    }

    /// NLM_F_REPLACE: the first that shares traffic with others as this one does,
    /// else the first; and with it all that it shares with.
    fn replace6(&mut self, route: Route) -> Result<(), Errno> {
        let level = |other: &Route| {
            is_in_node(other, route.table, route.dst, route.src) && other.metric == route.metric
        };
        let alike = |other: &Route| level(other) && shares(other) == shares(&route);
        let at = self.routes.iter().position(alike);
        let at = at.or_else(|| self.routes.iter().position(level));
        let at = at.ok_or(ENOENT)?;
        let shared = shares(&self.routes[at]);
        let siblings = self.routes.iter().filter(|r| level(r) && shares(r)).count();
        self.routes[at] = route.clone();
        self.notices.push(Notice::NewRoute(route.clone()));
        if shared && siblings > 1 {
            let mut index = 0;
            self.routes.retain(|other| {
                index += 1;
                index - 1 == at || !(level(other) && shares(other))
            });
        }
        Ok(())
    }

    /// ip6_route_del: in order, the first that has what is asked for.
    pub fn del_route6(&mut self, wanted: impl Fn(&Route) -> bool) -> Result<(), Errno> {
        let found = |route: &Route| route.family() == Family::V6 && wanted(route);
        let at = self.routes.iter().position(found).ok_or(ESRCH)?;
        let route = self.routes.remove(at);
        self.notices.push(Notice::DelRoute(route));
        Ok(())
    }

    /// ip6_route_info_create and fib6_nh_init.
    pub(super) fn check_hop6(&mut self, route: &mut Route) -> Result<(), Errno> {
        self.make_table(Family::V6, route.table);
        if route.kind.error().is_some() {
            // "hold loopback dev/idev if we haven't done so"; flags are set anew,
            // and the preference is among them.
            route.pref = 0;
            route.hops = vec![super::Hop {
                dev: LO,
                via: None,
                onlink: false,
                dead: false,
            }];
            return Ok(());
        }
        let hop = route.hops[0];
        let link = self.link(hop.dev).ok_or(ENODEV)?;
        if hop.onlink && !link.up {
            return Err(ENETDOWN);
        }
        if let Some(gateway) = hop.via {
            self.check_gateway6(route, gateway)?;
        }
        if !link.up {
            return Err(ENETDOWN);
        }
        if let Some(prefsrc) = route.prefsrc
            && !self.addrs.iter().any(|addr| addr.addr == prefsrc)
        {
            return Err(EINVAL);
        }
        Ok(())
    }

    /// ip6_validate_gw.
    fn check_gateway6(&self, route: &Route, gateway: IpAddr) -> Result<(), Errno> {
        let dev = route.hops[0].dev;
        let own = |addr: &super::Addr| addr.dev == dev && addr.addr == gateway;
        if self.addrs.iter().any(own) {
            return Err(EINVAL);
        }
        if is_link_local(gateway) {
            return Ok(());
        }
        if route.hops[0].onlink {
            return self.check_onlink6(dev, gateway);
        }
        // It comes from nowhere: rules for `iif lo` do not count.
        let flow = Flow {
            oif: dev,
            iif: 0,
            ..Flow::own(gateway, None, 0)
        };
        // ip6_route_check_nh: a route of the table, or any.
        let reaches = |found: &Found| match found {
            Found::Routes(routes) => routes.iter().all(|(way, _)| {
                way.kind.error().is_none() && way.hops[0].via.is_none() && way.hops[0].dev == dev
            }),
            _ => false,
        };
        if reaches(&self.table6(&flow, route.table)) {
            return Ok(());
        }
        // Nor does `suppress_prefixlength` (fib6_rule_suppress without a rt6_info).
        match self.by_rules_unsuppressed(&flow, |table| self.table6(&flow, table)) {
            Ok(routes) if reaches(&Found::Routes(routes.clone())) => Ok(()),
            _ => Err(EHOSTUNREACH),
        }
    }

    /// ip6_route_check_nh_onlink: no route of main but the default leads elsewhere.
    fn check_onlink6(&self, dev: u32, gateway: IpAddr) -> Result<(), Errno> {
        let Found::Routes(routes) = self.table6(&Flow::own(gateway, None, 0), super::MAIN) else {
            return Ok(());
        };
        let (way, _) = routes[0];
        let elsewhere = way.kind != Kind::Unicast || way.hops[0].dev != dev;
        match way.dst.addr != Family::V6.unspecified() && elsewhere {
            true => Err(EINVAL),
            false => Ok(()),
        }
    }

    /// ip6_route_output_flags and fib6_rule_lookup.
    pub(super) fn way6(&self, flow: Flow) -> Vec<Verdict> {
        let found = self.by_rules(&flow, |table| self.table6(&flow, table));
        Self::verdicts(found)
    }

    /// fib6_table_lookup: from the longest prefix to the shortest; of each first
    /// the routes for this source, from the longest source to the shortest.
    ///
    /// The first step is fib6_node_lookup_1's, which has a quirk: a prefix that
    /// has routes for some sources, none of them this one, is passed over with
    /// those for all sources, unless it is the default. Only where a longer prefix
    /// had routes, none of them usable, are they come back to (fib6_backtrack).
    pub(super) fn table6(&self, flow: &Flow, table: u32) -> Found<'_> {
        let src = flow.src.unwrap_or(Ipv6Addr::UNSPECIFIED.into());
        let of_prefix = |route: &&Route| route.table == table && route.dst.contains(flow.dst);
        let routes: Vec<&Route> = self.routes.iter().filter(of_prefix).collect();
        let for_source = |route: &&Route| route.src.is_none_or(|from| from.contains(src));
        let fitting: Vec<&Route> = routes.iter().copied().filter(for_source).collect();
        let mut nodes: Vec<(u8, u8)> = fitting.iter().map(|route| lens(route)).collect();
        nodes.sort_unstable();
        nodes.dedup();
        let hidden = |&(dst_len, src_len): &(u8, u8)| {
            let others = |route: &&Route| route.dst.len == dst_len && route.src.is_some();
            dst_len > 0 && src_len == 0 && routes.iter().any(others)
        };
        let from_the_first = nodes.into_iter().rev().skip_while(hidden);
        for node in from_the_first {
            let here = fitting.iter().copied().filter(|route| lens(route) == node);
            if let Some(found) = self.select6(flow, here) {
                return found;
            }
        }
        Found::Nothing
    }

    /// rt6_select and find_rr_leaf: the best of the lowest metric at which there
    /// is a usable one. A router that the kernel knows nothing about is as good
    /// as any, so preference (RFC 4191) decides, then the order.
    fn select6<'a>(
        &'a self,
        flow: &Flow,
        routes: impl Iterator<Item = &'a Route>,
    ) -> Option<Found<'a>> {
        let usable = |route: &Route| {
            !self.is_expired(route)
                && (route.kind.error().is_some() || self.is_up(route.hops[0].dev))
                && (flow.oif == 0 || route.hops[0].dev == flow.oif)
        };
        let routes: Vec<&Route> = routes.filter(|route| usable(route)).collect();
        let metric = routes.iter().map(|route| route.metric).min()?;
        let level: Vec<&Route> = routes
            .into_iter()
            .filter(|route| route.metric == metric)
            .collect();
        let score = |route: &Route| match route.pref {
            1 => 2,
            0 => 1,
            _ => 0,
        };
        let best = (0..level.len()).max_by(|&one, &other| {
            let by_score = score(level[one]).cmp(&score(level[other]));
            by_score.then(other.cmp(&one))
        })?;
        let best = level[best];
        if let Some(errno) = best.kind.error() {
            return Some(Found::Refused(errno));
        }
        let chosen: Vec<(&Route, usize)> = match shares(best) {
            true => level
                .iter()
                .filter(|r| shares(r))
                .map(|r| (*r, 0))
                .collect(),
            false => vec![(best, 0)],
        };
        Some(Found::Routes(chosen))
    }

    /// A router's advertisement (ndisc_router_discovery of net/ipv6/ndisc.c):
    /// makes, refreshes or removes the default route through it.
    pub fn advertised(&mut self, dev: u32, router: IpAddr, lifetime: u64, pref: u8) {
        let all = Net::all(Family::V6);
        let end = self.now + lifetime * 1000;
        // rt6_get_dflt_router: in main only.
        let found = self.routes.iter().position(|route| {
            route.table == super::MAIN
                && route.dst == all
                && route.ra
                && route.is_through(dev)
                && route.hops[0].via == Some(router)
        });
        match found {
            Some(at) if lifetime == 0 || self.routes[at].pref != pref => {
                let route = self.routes.remove(at);
                self.notices.push(Notice::DelRoute(route));
            }
            Some(at) => {
                self.routes[at].expires = Some(end);
                return;
            }
            None => {}
        }
        if lifetime > 0 {
            let route = Route {
                proto: super::RA,
                metric: USER_METRIC,
                expires: Some(end),
                ra: true,
                pref,
                ..Route::new(super::MAIN, all, dev, Some(router))
            };
            let _ = self.new_route6(route, super::PREPEND);
        }
    }
}

/// How long its prefixes are: the destination's decides.
fn lens(route: &Route) -> (u8, u8) {
    (route.dst.len, route.src.map_or(0, |src| src.len))
}

/// Whether a route is in the list of that prefix and source.
fn is_in_node(route: &Route, table: u32, dst: Net, src: Option<Net>) -> bool {
    (route.table, route.dst, route.src) == (table, dst, src)
}

/// Whether traffic is shared out among routes like it (rt6_qualify_for_ecmp).
pub fn shares(route: &Route) -> bool {
    route.kind == Kind::Unicast && !route.ra && route.hops[0].via.is_some()
}

pub fn is_link_local(addr: IpAddr) -> bool {
    matches!(addr, IpAddr::V6(addr) if addr.is_unicast_link_local())
}
