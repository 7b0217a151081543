//! Links and addresses, and the routes that come and go with them:
//! net/ipv4/devinet.c, net/ipv4/fib_frontend.c, fib_sync_down_dev of
//! net/ipv4/fib_semantics.c; net/ipv6/addrconf.c.

use std::net::IpAddr;

use libc::{EADDRNOTAVAIL, EEXIST};

use super::net::{Family, Net};
use super::{
    APPEND, Addr, Errno, HOST, KERNEL, Kernel, Kind, LINK, LO, LOCAL, Link, MAIN, Notice, Route,
    fib6,
};

impl Kernel {
    /// A device, down at first; its index.
    pub fn add_link(&mut self, name: &str) -> u32 {
        let index = self.next_index;
        self.next_index += 1;
        let link = Link {
            index,
            name: name.into(),
            up: false,
        };
        self.links.push(link.clone());
        self.notices.push(Notice::Link { link, gone: false });
        index
    }

    /// The device is gone, and all that hangs on it.
    pub fn del_link(&mut self, index: u32) {
        self.set_link(index, false);
        let addrs: Vec<Addr> = self.addrs_of(index).collect();
        for addr in addrs {
            let _ = self.del_addr(addr.dev, addr.addr);
        }
        self.routes
            .retain(|route| index == LO || !route.is_through(index));
        if let Some(at) = self.links.iter().position(|link| link.index == index) {
            let link = self.links.remove(at);
            self.notices.push(Notice::Link { link, gone: true });
        }
    }

    /// Up or down (IFF_UP).
    pub fn set_link(&mut self, index: u32, up: bool) {
        let Some(link) = self.links.iter_mut().find(|link| link.index == index) else {
            return;
        };
        if link.up == up {
            return;
        }
        link.up = up;
        let link = link.clone();
        let (lo4, lo6) = ("127.0.0.1".parse().unwrap(), "::1".parse().unwrap());
        if up {
            self.notices.push(Notice::Link { link, gone: false });
            self.sync_up(index);
            let addrs: Vec<Addr> = self.addrs_of(index).collect();
            for addr in addrs {
                self.routes_of_addr4(addr);
            }
            if index == LO {
                let _ = self.add_addr(LO, lo4, 8, false);
                let _ = self.add_addr(LO, lo6, 128, true);
            }
        } else {
            // fib_disable_ip: what leads nowhere else goes, without a notice of
            // its own.
            self.sync_down4(index, false);
            self.sync_down6(index);
            let lost: Vec<Addr> = self
                .addrs_of(index)
                .filter(|addr| Family::of(addr.addr) == Family::V6)
                .collect();
            self.addrs.retain(|addr| !lost.contains(addr));
            for addr in lost {
                self.remove_prefsrc6(addr.addr);
                self.notices.push(Notice::Addr { addr, gone: true });
            }
            self.notices.push(Notice::Link { link, gone: false });
        }
    }

    pub fn addrs_of(&self, index: u32) -> impl Iterator<Item = Addr> + '_ {
        self.addrs.iter().copied().filter(move |a| a.dev == index)
    }

    /// An address, ready for use at once (`nodad`).
    pub fn add_addr(
        &mut self,
        dev: u32,
        addr: IpAddr,
        len: u8,
        noprefixroute: bool,
    ) -> Result<(), Errno> {
        if self.addrs_of(dev).any(|other| other.addr == addr) {
            return Err(EEXIST);
        }
        let new = Addr {
            dev,
            addr,
            len,
            noprefixroute,
        };
        match addr {
            IpAddr::V4(_) => {
                self.addrs.push(new);
                self.routes_of_addr4(new);
                self.sync_up(dev);
            }
            IpAddr::V6(_) => {
                self.addrs.push(new);
                if !noprefixroute {
                    // addrconf_prefix_route
                    let route = Route {
                        proto: KERNEL,
                        metric: fib6::ADDRCONF_METRIC,
                        ..Route::new(MAIN, Net::of(addr, len), dev, None)
                    };
                    let _ = self.new_route(route, APPEND);
                }
                let local = Route {
                    proto: KERNEL,
                    kind: Kind::Local,
                    ..Route::new(LOCAL, Net::host(addr), dev, None)
                };
                // IP6_RT_PRIO_ADDRCONF aside: local ones have none (addrconf_f6i_alloc).
                self.routes.push(local);
            }
        }
        self.notices.push(Notice::Addr {
            addr: new,
            gone: false,
        });
        Ok(())
    }

    pub fn del_addr(&mut self, dev: u32, addr: IpAddr) -> Result<(), Errno> {
        let at = self
            .addrs
            .iter()
            .position(|a| a.dev == dev && a.addr == addr);
        let gone = self.addrs.remove(at.ok_or(EADDRNOTAVAIL)?);
        match addr {
            IpAddr::V4(_) => self.forget_addr4(gone),
            IpAddr::V6(_) => self.forget_addr6(gone),
        }
        self.notices.push(Notice::Addr {
            addr: gone,
            gone: true,
        });
        Ok(())
    }

    /// fib_add_ifaddr.
    fn routes_of_addr4(&mut self, addr: Addr) {
        let IpAddr::V4(ip) = addr.addr else {
            return;
        };
        self.local4(addr.addr, addr.dev);
        let net = Net::of(addr.addr, addr.len);
        if !self.is_up(addr.dev) || addr.len == 32 || self.has_subnet4(addr) {
            return;
        }
        let (table, kind, scope) = match ip.is_loopback() {
            true => (LOCAL, Kind::Local, HOST),
            false => (MAIN, Kind::Unicast, LINK),
        };
        let route = Route {
            proto: KERNEL,
            kind,
            scope,
            prefsrc: Some(addr.addr),
            ..Route::new(table, net, addr.dev, None)
        };
        let _ = self.new_route(route, super::APPEND);
    }

    /// Whether an earlier address of the device has the same subnet
    /// (IFA_F_SECONDARY).
    fn has_subnet4(&self, addr: Addr) -> bool {
        let net = Net::of(addr.addr, addr.len);
        self.addrs_of(addr.dev)
            .take_while(|other| other.addr != addr.addr)
            .any(|other| other.len == addr.len && Net::of(other.addr, other.len) == net)
    }

    /// fib_del_ifaddr, fib_sync_down_addr.
    fn forget_addr4(&mut self, gone: Addr) {
        let net = Net::of(gone.addr, gone.len);
        self.remove_routes(|route| {
            route.proto == KERNEL
                && route.family() == Family::V4
                && route.is_through(gone.dev)
                && route.prefsrc == Some(gone.addr)
                && (route.dst == net || route.dst == Net::host(gone.addr))
        });
        if !self.addrs.iter().any(|other| other.addr == gone.addr) {
            let lost =
                |route: &Route| route.family() == Family::V4 && route.prefsrc == Some(gone.addr);
            self.routes.retain(|route| !lost(route));
        }
        // "Last address was deleted from this interface. Disable IP."
        let v4 = |other: Addr| Family::of(other.addr) == Family::V4;
        if !self.addrs_of(gone.dev).any(v4) {
            self.sync_down4(gone.dev, true);
        }
    }

    /// fib_sync_up, fib6_ifup.
    fn sync_up(&mut self, dev: u32) {
        if self.is_up(dev) {
            for hop in self.routes.iter_mut().flat_map(|route| &mut route.hops) {
                hop.dead &= hop.dev != dev;
            }
        }
    }

    /// fib_sync_down_dev: next hops through the device are dead, and routes with no
    /// other go. The node's own addresses stay reachable, unless by `force`.
    fn sync_down4(&mut self, dev: u32, force: bool) {
        for route in &mut self.routes {
            let concerned = route.family() == Family::V4 && (force || route.scope != HOST);
            for hop in &mut route.hops {
                hop.dead |= concerned && hop.dev == dev;
            }
        }
        let stays = |route: &Route| {
            route.family() == Family::V6
                || route.hops.is_empty()
                || route.hops.iter().any(|hop| !hop.dead)
        };
        self.routes.retain(stays);
    }

    /// fib6_ifdown: a route that shares traffic with others stays, dead, while one
    /// of them is alive. No notice of its own.
    fn sync_down6(&mut self, dev: u32) {
        let key = |route: &Route| (route.table, route.dst, route.src, route.metric);
        let lost: Vec<Route> = self
            .routes
            .iter()
            .filter(|route| route.family() == Family::V6 && route.is_through(dev))
            .filter(|route| route.kind.error().is_none())
            .cloned()
            .collect();
        for route in lost {
            let level = |other: &&mut Route| key(other) == key(&route) && fib6::shares(other);
            let shared = fib6::shares(&route);
            for twin in self.routes.iter_mut().filter(level) {
                twin.hops[0].dead |= shared && twin.is_through(dev);
            }
            let alive = |other: &Route| {
                shared && key(other) == key(&route) && fib6::shares(other) && !other.hops[0].dead
            };
            if !self.routes.iter().any(alive) {
                self.routes.retain(|other| {
                    key(other) != key(&route)
                        || fib6::shares(other) != shared
                        || !shared && other.hops[0].dev != dev
                });
            }
        }
    }

    /// ipv6_del_addr, check_cleanup_prefix_route.
    fn forget_addr6(&mut self, gone: Addr) {
        let host = Net::host(gone.addr);
        self.remove_routes(|route| {
            route.table == LOCAL && route.dst == host && route.is_through(gone.dev)
        });
        let net = Net::of(gone.addr, gone.len);
        let shared = self
            .addrs_of(gone.dev)
            .any(|a| a.len == gone.len && Net::of(a.addr, a.len) == net);
        if !gone.noprefixroute && !shared {
            // addrconf_get_prefix_route takes the first one, whoever made it.
            let _ = self.del_route6(|route| {
                route.table == MAIN
                    && route.dst == net
                    && route.src.is_none()
                    && route.is_through(gone.dev)
                    && route.hops[0].via.is_none()
            });
        }
        self.remove_prefsrc6(gone.addr);
    }

    /// rt6_remove_prefsrc.
    fn remove_prefsrc6(&mut self, addr: IpAddr) {
        if self.addrs.iter().any(|other| other.addr == addr) {
            return;
        }
        for route in &mut self.routes {
            if route.prefsrc == Some(addr) {
                route.prefsrc = None;
            }
        }
    }
}
