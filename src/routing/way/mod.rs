//! Which way a packet would take: the kernel is asked (RTM_GETROUTE), and the
//! rule that sends the packet there is found among the rules.
//!
//! Nothing is sent, and no privilege is needed.

mod rules;

use std::fmt;
use std::net::IpAddr;

use nix::net::if_::if_indextoname;
use rtnetlink::packet_route::route::{RouteFlags, RouteHeader, RouteType};
use rtnetlink::packet_route::rule::RuleAction;

use super::Error;
use super::kernel::Kernel;
use super::message;
use super::prefix::Family;
use super::route::{Route, Shown};
use super::rule::Rule;
use crate::netlink::route::{put_ip, put_number, request, rta};
use crate::netlink::{Refused, put};
pub use rules::{first, may_take};

/// IPPROTO_UDP of linux/in.h.
const UDP: u8 = 17;

/// A packet that this node might send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packet {
    /// Whereto.
    pub to: IpAddr,
    /// Index of the device of a link-local address, 0 for any.
    pub device: u32,
    /// Its mark, 0 for none.
    pub mark: u32,
    /// Its UDP destination port, none where only the address counts.
    pub port: Option<u16>,
    /// The address that its socket is bound to, none where the kernel chooses.
    pub source: Option<IpAddr>,
    /// Whose socket sends it.
    pub uid: u32,
}

/// What becomes of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Way {
    /// Where it goes.
    pub course: Course,
    /// The rule that sends it there, where it can be told.
    pub rule: Option<Rule>,
    /// The route that it takes, in words, none where there is none.
    pub route: Option<String>,
}

/// Where a packet goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Course {
    /// To this node itself.
    Here,
    /// Out.
    Out {
        /// Name of the device.
        device: String,
        /// The router, none when the destination is on-link.
        gateway: Option<IpAddr>,
        /// Which address it would come from.
        source: Option<IpAddr>,
    },
    /// Nowhere: what the sender is told.
    Nowhere(String),
}

/// Asks about ways. Remembers the rules, so it is not for long.
pub struct Ways {
    kernel: Kernel,
    /// Of [`Family::ALL`], in that order.
    rules: [Vec<Rule>; 2],
}

impl Ways {
    /// Opens a socket and reads all rules.
    ///
    /// # Errors
    /// No netlink.
    pub fn open() -> Result<Self, Error> {
        let mut kernel = Kernel::open().map_err(Error::Socket)?;
        let mut rules = |family| {
            let read = kernel.rules(family);
            let what = "rules";
            read.map_err(|source| Error::Read { what, source })
        };
        let rules = [rules(Family::Ipv6)?, rules(Family::Ipv4)?];
        Ok(Self { kernel, rules })
    }

    /// The rules of a family, the first one first.
    #[must_use]
    pub fn rules(&self, family: Family) -> &[Rule] {
        match family {
            Family::Ipv6 => &self.rules[0],
            Family::Ipv4 => &self.rules[1],
        }
    }

    /// What would become of `packet`.
    ///
    /// # Errors
    /// The kernel does not say.
    pub fn of(&mut self, packet: &Packet) -> Result<Way, Refused> {
        // IPv6 names the table in any case, and refuses to be asked for it.
        let named = match packet.to {
            IpAddr::V4(_) => RouteFlags::LookupTable,
            IpAddr::V6(_) => RouteFlags::empty(),
        };
        let taken = match self.ask(packet, named, message::named) {
            Ok(Some(taken)) => taken,
            Ok(None) => return Err(std::io::Error::other("no answer").into()),
            Err(refused) => return self.nowhere(packet, refused),
        };
        // Before Linux 4.13 there is no such question; the way is known without.
        let stored = |answer: &[u8]| message::routes(answer).into_iter().next();
        let found = self.ask(packet, named | RouteFlags::FibMatch, stored);
        let found = found.ok().flatten();
        let table = found.as_ref().unwrap_or(&taken).table;
        let sends = |rule: &Rule| rule.action == RuleAction::ToTable && rule.table == table;
        let rules = self.rules(Family::of(packet.to));
        Ok(Way {
            course: course(&taken),
            rule: first(rules, packet, &sends).cloned(),
            route: found.map(|route| Shown(&route, &device_name(route.device)).to_string()),
        })
    }

    /// The kernel says "no way" with one of these errors; any other is no answer.
    fn nowhere(&self, packet: &Packet, refused: Refused) -> Result<Way, Refused> {
        // Of routes and rules: unreachable, prohibit, blackhole (fib_props of
        // net/ipv4/fib_semantics.c, fib_rule_action of the two families).
        let known = [
            libc::ENETUNREACH,
            libc::EHOSTUNREACH,
            libc::EACCES,
            libc::EINVAL,
        ];
        if !known.iter().any(|&code| refused.is(code)) {
            return Err(refused);
        }
        let stops = |rule: &Rule| {
            !matches!(
                rule.action,
                RuleAction::ToTable | RuleAction::Goto | RuleAction::Nop
            )
        };
        let rules = self.rules(Family::of(packet.to));
        Ok(Way {
            course: Course::Nowhere(refused.to_string()),
            rule: first(rules, packet, &stops).cloned(),
            route: None,
        })
    }

    /// The route that the kernel names, as `read` finds it in the answer.
    fn ask(
        &mut self,
        packet: &Packet,
        flags: RouteFlags,
        read: fn(&[u8]) -> Option<Route>,
    ) -> Result<Option<Route>, Refused> {
        let bits = match packet.to {
            IpAddr::V4(_) => 32,
            IpAddr::V6(_) => 128,
        };
        let mut body = request(&RouteHeader {
            address_family: message::address_family(Family::of(packet.to)),
            destination_prefix_length: bits,
            source_prefix_length: packet.source.map_or(0, |_| bits),
            flags,
            ..RouteHeader::default()
        });
        put_ip(&mut body, rta::DST, packet.to);
        if let Some(source) = packet.source {
            put_ip(&mut body, rta::SRC, source);
        }
        put_number(&mut body, rta::MARK, packet.mark);
        put_number(&mut body, rta::UID, packet.uid);
        if packet.device != 0 {
            put_number(&mut body, rta::OIF, packet.device);
        }
        if let Some(port) = packet.port {
            put(&mut body, rta::IP_PROTO, &[UDP]);
            put(&mut body, rta::DPORT, &port.to_be_bytes());
        }
        let mut named = None;
        self.kernel.way(&body, &mut |answer| named = read(answer))?;
        Ok(named)
    }
}

fn course(route: &Route) -> Course {
    match route.kind {
        RouteType::Local | RouteType::Anycast => Course::Here,
        RouteType::Unreachable => Course::Nowhere("unreachable".into()),
        RouteType::Prohibit => Course::Nowhere("prohibited".into()),
        RouteType::BlackHole => Course::Nowhere("dropped".into()),
        _ => Course::Out {
            device: device_name(route.device),
            gateway: route.gateway,
            source: route.prefsrc,
        },
    }
}

fn device_name(index: u32) -> String {
    let name = if_indextoname(index).ok();
    name.and_then(|name| name.into_string().ok())
        .unwrap_or_else(|| format!("#{index}"))
}

impl fmt::Display for Course {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Here => f.write_str("this node"),
            Self::Out {
                device,
                gateway: Some(gateway),
                ..
            } => write!(f, "{device} via {gateway}"),
            Self::Out { device, .. } => write!(f, "{device}, on-link"),
            Self::Nowhere(why) => write!(f, "nowhere ({why})"),
        }
    }
}
