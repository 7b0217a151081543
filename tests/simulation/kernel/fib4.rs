//! IPv4 routes: fib_table_insert, fib_table_delete and fib_table_lookup of
//! net/ipv4/fib_trie.c, fib_create_info and fib_check_nh of
//! net/ipv4/fib_semantics.c, and ip_route_output_key_hash_rcu of
//! net/ipv4/route.c.

use std::net::IpAddr;

use libc::{EEXIST, EINVAL, ENETDOWN, ENETUNREACH, ENODEV, ENOENT, ESRCH};

use super::net::Family;
use super::rules::Found;
use super::{
    Errno, Flow, HOST, How, Kernel, Kind, LINK, LOCAL, MAIN, Notice, Route, UNIVERSE, Verdict,
};

impl Kernel {
    /// fib_table_insert.
    pub(super) fn new_route4(&mut self, mut route: Route, how: How) -> Result<(), Errno> {
        self.make_table(Family::V4, route.table);
        self.check_hops4(&mut route)?;
        let same_key = |other: &Route| {
            other.family() == Family::V4
                && (other.table, other.dst, other.tos, other.metric)
                    == (route.table, route.dst, route.tos, route.metric)
        };
        let first = self.routes.iter().position(same_key);
        if let Some(first) = first {
            if how.excl {
                return Err(EEXIST);
            }
            // The same fib_info: who made it counts, dead hops do not.
            let same = |other: &Route| same_key(other) && is_same4(other, &route);
            let found = self.routes.iter().position(same);
            if how.replace {
                return match found {
                    Some(found) if found == first => Ok(()),
                    Some(_) => Err(EEXIST),
                    None => {
                        self.routes[first] = route.clone();
                        self.notices.push(Notice::NewRoute(route));
                        Ok(())
                    }
                };
            }
            if found.is_some() {
                return Err(EEXIST);
            }
        }
        if !how.create {
            return Err(ENOENT);
        }
        let last = self.routes.iter().rposition(same_key);
        let at = match (first, last) {
            (Some(_), Some(last)) if how.append => last + 1,
            (Some(first), _) => first,
            // Sorted by TOS, the larger first, and by metric.
            _ => {
                let behind = |other: &Route| {
                    (other.family(), other.table, other.dst) == (Family::V4, route.table, route.dst)
                        && (other.tos < route.tos
                            || other.tos == route.tos && other.metric > route.metric)
                };
                let behind = self.routes.iter().position(behind);
                behind.unwrap_or(self.routes.len())
            }
        };
        self.routes.insert(at, route.clone());
        self.notices.push(Notice::NewRoute(route));
        Ok(())
    }

    /// fib_table_delete: the first in the order of the list that has what is
    /// asked for.
    pub fn del_route4(&mut self, wanted: impl Fn(&Route) -> bool) -> Result<(), Errno> {
        let found = |route: &Route| route.family() == Family::V4 && wanted(route);
        let at = self.routes.iter().position(found).ok_or(ESRCH)?;
        let route = self.routes.remove(at);
        self.notices.push(Notice::DelRoute(route));
        Ok(())
    }

    /// fib_create_info.
    fn check_hops4(&self, route: &mut Route) -> Result<(), Errno> {
        if route.scope > HOST {
            return Err(EINVAL);
        }
        if route.kind.error().is_some() {
            // "if (cfg->fc_gw_family || cfg->fc_oif || cfg->fc_mp) goto err_inval"
            return if route.hops.is_empty() {
                Ok(())
            } else {
                Err(EINVAL)
            };
        }
        if let Some(prefsrc) = route.prefsrc
            && !self.addrs.iter().any(|addr| addr.addr == prefsrc)
        {
            return Err(EINVAL);
        }
        if route.scope == HOST {
            let [hop] = route.hops.as_slice() else {
                return Err(EINVAL);
            };
            // Up or not.
            return match (hop.via, self.link(hop.dev)) {
                (Some(_), _) => Err(EINVAL),
                (None, Some(_)) => Ok(()),
                (None, None) => Err(ENODEV),
            };
        }
        for at in 0..route.hops.len() {
            self.check_hop4(route, at)?;
        }
        Ok(())
    }

    /// fib_check_nh.
    fn check_hop4(&self, route: &Route, at: usize) -> Result<(), Errno> {
        let hop = route.hops[at];
        let Some(gateway) = hop.via else {
            // fib_check_nh_nongw
            let link = self.link(hop.dev).ok_or(ENODEV)?;
            return if link.up { Ok(()) } else { Err(ENETDOWN) };
        };
        let IpAddr::V4(_) = gateway else {
            return match self.link(hop.dev) {
                None => Err(ENODEV),
                Some(link) if !link.up => Err(ENETDOWN),
                Some(_) => Ok(()),
            };
        };
        if route.scope >= LINK {
            return Err(EINVAL);
        }
        if hop.onlink {
            return match self.link(hop.dev) {
                None => Err(ENODEV),
                Some(link) if !link.up => Err(ENETDOWN),
                Some(_) => Ok(()),
            };
        }
        let flow = Flow {
            oif: hop.dev,
            ..Flow::own(gateway, None, 0)
        };
        let scope = (route.scope + 1).max(LINK);
        // "if (table && table != RT_TABLE_MAIN)"
        let in_table = match self.table4(&flow, route.table, scope) {
            Found::Routes(routes) if route.table != MAIN => Some(Ok(routes)),
            _ => None,
        };
        // fib_lookup
        let found = in_table
            .unwrap_or_else(|| self.by_rules(&flow, |table| self.table4(&flow, table, scope)));
        let found = found?;
        let (way, _) = found[0];
        if !matches!(way.kind, Kind::Unicast | Kind::Local) {
            return Err(EINVAL);
        }
        match self.link(hop.dev) {
            Some(link) if link.up => Ok(()),
            _ => Err(ENETDOWN),
        }
    }

    /// ip_route_output_key_hash_rcu.
    pub(super) fn way4(&self, flow: Flow) -> Vec<Verdict> {
        if let Some(src) = flow.src
            && !self.addrs.iter().any(|addr| addr.addr == src)
        {
            // __ip_dev_find
            return vec![Verdict::Error(if flow.oif == 0 {
                EINVAL
            } else {
                ENETUNREACH
            })];
        }
        let found = self.by_rules(&flow, |table| self.table4(&flow, table, UNIVERSE));
        Self::verdicts(found)
    }

    /// fib_table_lookup, and fib_select_path.
    fn table4(&self, flow: &Flow, table: u32, scope: u8) -> Found<'_> {
        // The trie of `local` and `main` is one while there are no rules but the
        // kernel's; that makes no difference to what is found.
        let fits = |route: &&Route| route.table == table && route.dst.contains(flow.dst);
        let mut fitting: Vec<&Route> = self.routes.iter().filter(fits).collect();
        fitting.sort_by_key(|route| std::cmp::Reverse(route.dst.len));
        for route in fitting {
            if route.tos != 0 || route.scope < scope {
                continue;
            }
            if let Some(errno) = route.kind.error() {
                return Found::Refused(errno);
            }
            let usable: Vec<(&Route, usize)> =
                usable4(route, flow.oif).map(|hop| (route, hop)).collect();
            if !usable.is_empty() {
                return Found::Routes(self.alternatives4(usable, flow.oif, scope));
            }
        }
        Found::Nothing
    }

    /// fib_select_default: of default routes with one metric any, as the kernel
    /// likes their routers.
    fn alternatives4<'a>(
        &'a self,
        usable: Vec<(&'a Route, usize)>,
        oif: u32,
        scope: u8,
    ) -> Vec<(&'a Route, usize)> {
        let first = usable[0].0;
        if first.dst.len != 0 || usable.len() > 1 || scope != UNIVERSE {
            return usable;
        }
        let like = |route: &&Route| {
            route.family() == Family::V4
                && (route.table, route.dst, route.tos, route.metric)
                    == (first.table, first.dst, first.tos, first.metric)
                && route.kind == Kind::Unicast
                && route.scope == first.scope
                && (std::ptr::eq(*route, first) || route.hops.iter().all(|hop| hop.via.is_some()))
        };
        if first.hops[0].via.is_none() {
            return usable;
        }
        let alike = self.routes.iter().filter(like);
        alike
            .flat_map(|route| usable4(route, oif).map(move |hop| (route, hop)))
            .collect()
    }

    /// Of the kernel itself: fib_magic of net/ipv4/fib_frontend.c.
    pub(super) fn local4(&mut self, addr: IpAddr, dev: u32) {
        let mut route = Route::new(LOCAL, super::net::Net::host(addr), dev, None);
        route.kind = Kind::Local;
        route.proto = super::KERNEL;
        route.scope = HOST;
        route.prefsrc = Some(addr);
        let _ = self.new_route4(route, super::APPEND);
    }
}

fn usable4(route: &Route, oif: u32) -> impl Iterator<Item = usize> + '_ {
    let hops = route.hops.iter().enumerate();
    hops.filter(move |(_, hop)| !hop.dead && (oif == 0 || oif == hop.dev))
        .map(|(at, _)| at)
}

/// Whether fib_find_info would find one for both.
fn is_same4(one: &Route, other: &Route) -> bool {
    let hops = |route: &Route| {
        let hops = route.hops.iter();
        hops.map(|hop| (hop.dev, hop.via, hop.onlink))
            .collect::<Vec<_>>()
    };
    one.kind == other.kind
        && one.proto == other.proto
        && one.scope == other.scope
        && one.prefsrc == other.prefsrc
        && one.metrics == other.metrics
        && hops(one) == hops(other)
}
