//! What must be true of a node's routing.

use std::net::IpAddr;

use super::events::{DEVICES, Event, Iface, MARK, TABLE, is_ours};
use super::world::Shared;
use crate::kernel::fib6::shares;
use crate::kernel::net::Family;
use crate::kernel::rules::{Action, Rule};
use crate::kernel::{Flow, Kernel, Kind, MAIN, Route, Verdict};

/// Far sides: nothing of the WAN's own network.
const FAR: [&str; 5] = [
    "2001:db8:ff::53",
    "9000::1",
    "198.51.100.2",
    "9.9.9.9",
    "130.0.0.1",
];
/// The priority of the kernel's rule for main.
const MAIN_PRIORITY: u32 = 32766;

/// A packet that goes where it must not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leak {
    pub marked: bool,
    pub dst: IpAddr,
    pub src: Option<IpAddr>,
    pub dev: u32,
}

impl Leak {
    /// Which packet it was.
    pub fn packet(&self) -> (bool, IpAddr, Option<IpAddr>) {
        (self.marked, self.dst, self.src)
    }
}

/// The numbers of the WAN's devices.
fn wan(kernel: &Kernel, devices: &[String]) -> Vec<u32> {
    devices
        .iter()
        .filter_map(|name| kernel.index(name))
        .collect()
}

/// Whom a packet may say it is from: nobody, or an address of the mesh; and, when
/// it is marked, one of the WAN.
fn sources(kernel: &Kernel, family: Family, marked: bool, wan: &[u32]) -> Vec<Option<IpAddr>> {
    let mut sources = vec![None];
    let own = kernel.addrs.iter().filter(|addr| {
        Family::of(addr.addr) == family
            && addr.dev != crate::kernel::LO
            && !crate::kernel::fib6::is_link_local(addr.addr)
            && (marked || !wan.contains(&addr.dev))
    });
    sources.extend(own.map(|addr| Some(addr.addr)).take(3));
    sources
}

/// All that would go astray, were there no guard.
pub fn leaks(kernel: &Kernel, devices: &[String], packets: &mut u32) -> Vec<Leak> {
    let wan = wan(kernel, devices);
    let mut leaks = Vec::new();
    for dst in FAR {
        let dst: IpAddr = dst.parse().unwrap();
        for marked in [true, false] {
            let mark = if marked { MARK } else { 0 };
            for src in sources(kernel, Family::of(dst), marked, &wan) {
                *packets += 1;
                for verdict in kernel.way(Flow::own(dst, src, mark)) {
                    if let Verdict::Out { dev, .. } = verdict
                        && wan.contains(&dev) != marked
                    {
                        let leak = Leak {
                            marked,
                            dst,
                            src,
                            dev,
                        };
                        leaks.push(leak);
                    }
                }
            }
        }
    }
    leaks
}

/// Those that routing has to answer for. Only the guard can hold what takes others'
/// ways out of the WAN's table, or rules of others that come before ours or main's.
pub fn leaks_of_ours(kernel: &Kernel, devices: &[String]) -> Vec<Leak> {
    leaks(&without_what_is_others(kernel, devices), devices, &mut 0)
}

/// Whether the rules of ours are there without which routing cannot hold such a
/// packet: the one after which none with the mark looks any further; and one that
/// ends what has none before others' rules behind main, if there are such.
pub fn is_guarded(kernel: &Kernel, leak: &Leak) -> bool {
    let of_family = |rule: &&Rule| rule.family == Family::of(leak.dst);
    let ends = |rule: &Rule| {
        is_ours(rule.proto)
            && (rule.mark, rule.mask, rule.invert) == (MARK, MARK, !leak.marked)
            && rule.action == Action::Unreachable
    };
    let mut rules = kernel.rules.iter().filter(of_family);
    if leak.marked {
        return rules.any(ends);
    }
    let first =
        rules.find(|rule| rule.priority > MAIN_PRIORITY && rule.proto != crate::kernel::KERNEL);
    first.is_none_or(ends)
}

/// Nothing of others' was changed: rules not at all, routes only where they are
/// the WAN's and in main.
pub fn foreign(before: &Kernel, after: &Kernel, devices: &[String]) -> Result<(), String> {
    let rules = |kernel: &Kernel| -> Vec<Rule> {
        let foreign = kernel.rules.iter().filter(|rule| !is_ours(rule.proto));
        foreign.cloned().collect()
    };
    if rules(before) != rules(after) {
        return Err("somebody else's rule was changed".into());
    }
    let foreign = |kernel: &Kernel| -> Vec<Route> {
        let foreign = kernel.routes.iter().filter(|route| !is_ours(route.proto));
        foreign.cloned().collect()
    };
    let (before_routes, after_routes) = (foreign(before), foreign(after));
    let wan = wan(before, devices);
    for route in &before_routes {
        let may_go = route.table == MAIN && route.hops.iter().any(|hop| wan.contains(&hop.dev));
        if !after_routes.contains(route) && !may_go {
            return Err(format!("somebody else's route was changed: {route:?}"));
        }
    }
    for route in &after_routes {
        // What was moved comes back.
        let returned = route.table == MAIN && route.proto == crate::kernel::STATIC;
        if !before_routes.contains(route) && !returned {
            return Err(format!("a route in another's name: {route:?}"));
        }
    }
    Ok(())
}

/// What must be true while we have nothing to do; and, when no event is half
/// over, that what others mean to be there is of use.
pub fn at_rest(shared: &mut Shared, is_whole: bool) -> Result<(), String> {
    let kernel = &shared.kernel;
    let devices = shared.devices.clone();
    let all = leaks(kernel, &devices, &mut shared.counts.packets);
    if !all.is_empty() {
        if let Some(leak) = leaks_of_ours(kernel, &devices).first() {
            return Err(format!("at rest: {leak:?}"));
        }
        let marked = all.iter().filter(|leak| leak.marked).count();
        shared.counts.held_at_rest += u32::try_from(marked).unwrap();
        shared.counts.unmarked_held += u32::try_from(all.len() - marked).unwrap();
    }
    shared.counts.unmarked_held += unbound(kernel, &devices);
    match is_whole {
        true => shared.intent.holds(&shared.kernel, &devices),
        false => Ok(()),
    }
}

/// Unmarked packets of sockets without an address whose second look-up leads to
/// the WAN: the kernel takes the WAN's address for them, and a rule cannot tell
/// them from replies.
fn unbound(kernel: &Kernel, devices: &[String]) -> u32 {
    let wan = wan(kernel, devices);
    let far = FAR.iter().map(|dst| dst.parse::<IpAddr>().unwrap());
    let leaking = far.filter(|dst| dst.is_ipv6()).filter(|&dst| {
        let goes = kernel.connect(Flow::own(dst, None, 0));
        goes.is_ok_and(|(verdicts, _)| {
            verdicts
                .iter()
                .any(|verdict| matches!(verdict, Verdict::Out { dev, .. } if wan.contains(dev)))
        })
    });
    u32::try_from(leaking.count()).unwrap()
}

fn without_what_is_others(kernel: &Kernel, devices: &[String]) -> Kernel {
    let wan = wan(kernel, devices);
    let mut rest = kernel.clone();
    // IPv6 routes with one metric are one in the kernel's answers, under the name
    // of the first: nobody can tell ours from another's then.
    let is_hidden = |route: &Route| {
        let like = |other: &Route| {
            (other.table, other.dst, other.src, other.metric)
                == (route.table, route.dst, route.src, route.metric)
                && shares(other)
        };
        let shared = route.family() == Family::V6 && shares(route);
        shared
            && kernel
                .routes
                .iter()
                .any(|other| like(other) && !is_ours(other.proto))
    };
    rest.routes.retain(|route| {
        is_ours(route.proto) && !is_hidden(route)
            || route.table != TABLE
            || route.hops.iter().all(|hop| wan.contains(&hop.dev))
            || route.kind != Kind::Unicast
    });
    rest.rules.retain(|rule| {
        is_ours(rule.proto) || rule.proto == crate::kernel::KERNEL || rule.priority > MAIN_PRIORITY
    });
    rest
}

/// What netifd and the routers mean to be there: which uplinks have a gateway.
#[derive(Debug, Clone, Default)]
pub struct Intent {
    up: Vec<Iface>,
    /// Those of them whose default route another one's has replaced, where both
    /// went into the same table with the same metric.
    replaced: Vec<Iface>,
    /// Device, router, and when its advertisement ends.
    routers: Vec<(u8, IpAddr, u64)>,
    /// Somebody did things by hand; nobody can say what is meant.
    unclear: bool,
}

impl Intent {
    pub fn note(&mut self, event: &Event, kernel: &Kernel) {
        match *event {
            Event::IfUp(iface) => {
                let is_up = kernel
                    .index(iface.device())
                    .is_some_and(|dev| kernel.is_up(dev));
                if is_up {
                    // A second one on the same device is renumbering without a goodbye.
                    let twin = |other: &Iface| other.dev == iface.dev && other.v6 == iface.v6;
                    self.unclear |= self.up.iter().any(|other| twin(other) && *other != iface);
                    self.up.retain(|other| *other != iface);
                    self.replaced.retain(|other| *other != iface);
                    self.replaced.extend(
                        self.up
                            .iter()
                            .filter(|other| other.gives_way(iface, kernel)),
                    );
                    self.up.push(iface);
                }
            }
            Event::IfDown(iface) => {
                self.unclear |= !self.up.contains(&iface)
                    && self
                        .up
                        .iter()
                        .any(|other| other.dev == iface.dev && other.v6 == iface.v6);
                self.up.retain(|other| *other != iface);
            }
            Event::Advertisement {
                dev,
                router,
                lifetime,
                ..
            } => {
                let router: IpAddr = format!("fe80::{}", router + 1).parse().unwrap();
                self.routers
                    .retain(|other| (other.0, other.1) != (dev, router));
                if lifetime > 0 {
                    let end = kernel.now + u64::from(lifetime) * 1000;
                    self.routers.push((dev, router, end));
                }
            }
            Event::LinkDown(dev) | Event::Remade(dev) => {
                self.up.retain(|iface| iface.dev != dev);
                self.routers.retain(|router| router.0 != dev);
            }
            Event::Announced { .. }
            | Event::Withdrawn { .. }
            | Event::Route { .. }
            | Event::DelRoute(_)
            | Event::Rule { .. }
            | Event::Flushed { .. }
            | Event::NetifdRestarted
            | Event::DelRule(_)
            | Event::Devices(_)
            | Event::Stolen(_)
            | Event::Restarted
            | Event::Lost
            | Event::RulesFlushed { .. } => self.unclear = true,
            Event::Pass { .. }
            | Event::MeshUp { .. }
            | Event::MeshDown { .. }
            | Event::LinkUp(_)
            | Event::TableFlushed => {}
        }
    }

    /// Marked packets find the way that is there, and none that is not.
    pub fn holds(&self, kernel: &Kernel, devices: &[String]) -> Result<(), String> {
        if self.unclear {
            return Ok(());
        }
        let wan = wan(kernel, devices);
        for (family, dst) in [(Family::V6, FAR[0]), (Family::V4, FAR[2])] {
            let dst: IpAddr = dst.parse().unwrap();
            let alive = self.routers.iter().filter(|router| router.2 > kernel.now);
            let mut gateways: Vec<(u8, IpAddr)> = match family {
                Family::V6 => alive.map(|router| (router.0, router.1)).collect(),
                Family::V4 => vec![],
            };
            let up = self.up.iter().filter(|iface| iface.family() == family);
            gateways.extend(up.map(|iface| (iface.dev, iface.router())));
            let flow = Flow::own(dst, None, MARK);
            let verdicts = match family {
                Family::V6 => kernel
                    .connect(flow)
                    .map_or(vec![], |(verdicts, _)| verdicts),
                Family::V4 => kernel.way(flow),
            };
            let meant = |verdict: &Verdict| match verdict {
                Verdict::Out {
                    dev,
                    via: Some(via),
                } => gateways.iter().any(|(at, router)| {
                    kernel.index(DEVICES[usize::from(*at)]) == Some(*dev) && router == via
                }),
                _ => false,
            };
            let out = |verdict: &&Verdict| matches!(verdict, Verdict::Out { .. });
            if let Some(astray) = verdicts.iter().filter(out).find(|verdict| !meant(verdict)) {
                return Err(format!(
                    "a marked packet goes to a router that left: {astray:?}"
                ));
            }
            let has_addr = |iface: &&Iface| {
                let addr = iface.addr().0;
                kernel
                    .addrs
                    .iter()
                    .any(|own| own.addr == addr && wan.contains(&own.dev))
            };
            let usable = self
                .up
                .iter()
                .filter(|iface| iface.family() == family && !self.replaced.contains(iface))
                .find(has_addr);
            if let Some(iface) = usable
                && !verdicts.iter().any(meant)
            {
                return Err(format!(
                    "a marked packet finds no way, and {iface:?} has one: {verdicts:?}"
                ));
            }
        }
        Ok(())
    }
}
