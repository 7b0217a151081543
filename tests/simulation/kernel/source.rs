//! The source address of a packet whose socket has none: ipv6_dev_get_saddr of
//! net/ipv6/addrconf.c (RFC 6724, section 5) and ip6_dst_lookup_tail of
//! net/ipv6/ip6_output.c. IPv6 only.

use std::net::IpAddr;

use libc::EADDRNOTAVAIL;

use super::fib6::is_link_local;
use super::net::{Family, bits, net};
use super::{Addr, Errno, Flow, Kernel, Verdict};

impl Kernel {
    /// Where a packet goes once its socket is connected, and its source address:
    /// a look-up without an address, the address that fits what was found, and
    /// where nothing was found another look-up, with it.
    pub fn connect(&self, mut flow: Flow) -> Result<(Vec<Verdict>, IpAddr), Errno> {
        let first = self.by_rules(&flow, |table| self.table6(&flow, table));
        let route = first.as_ref().ok().map(|routes| routes[0].0);
        let source = match route.and_then(|route| route.prefsrc) {
            Some(addr) => addr,
            None => self
                .source(route.map(|route| route.hops[0].dev), flow.dst)
                .ok_or(EADDRNOTAVAIL)?,
        };
        if first.is_ok() {
            return Ok((Self::verdicts(first), source));
        }
        flow.src = Some(source);
        match self.way(flow).as_slice() {
            [Verdict::Error(errno)] => Err(*errno),
            verdicts => Ok((verdicts.to_vec(), source)),
        }
    }

    /// ipv6_dev_get_saddr.
    fn source(&self, dev: Option<u32>, dst: IpAddr) -> Option<IpAddr> {
        let usable = |addr: &Addr| Family::of(addr.addr) == Family::V6 && self.is_up(addr.dev);
        let strict = is_link_local(dst);
        // In the order of devices and, on each, the newest first
        // (ipv6_link_dev_addr): of equal ones the first stays.
        let mut candidates: Vec<Addr> = self.addrs.iter().rev().copied().filter(usable).collect();
        candidates.sort_by_key(|addr| addr.dev);
        if let (true, Some(dev)) = (strict, dev) {
            candidates.retain(|addr| addr.dev == dev);
        }
        let rank = |addr: &Addr| {
            let scope = scope(addr.addr);
            let wanted = self::scope(dst);
            // Rule 2: the smallest scope that is enough, else the largest.
            let by_scope = match scope >= wanted {
                true => 1000 - i32::from(scope),
                false => i32::from(scope) - 1000,
            };
            let common = (bits(addr.addr) ^ bits(dst)).leading_zeros();
            (
                addr.addr == dst,
                by_scope,
                dev.is_none_or(|dev| addr.dev == dev),
                label(addr.addr) == label(dst),
                // "if (ret > addr->prefix_len) ret = addr->prefix_len"
                common.min(u32::from(addr.len)),
            )
        };
        let best = candidates.iter().map(rank).max()?;
        candidates
            .iter()
            .find(|addr| rank(addr) == best)
            .map(|addr| addr.addr)
    }
}

/// __ipv6_addr_type's scopes, as far as they are told apart.
fn scope(addr: IpAddr) -> u8 {
    match addr {
        IpAddr::V6(addr) if addr.is_loopback() => 1,
        addr if is_link_local(addr) => 2,
        _ => 14,
    }
}

/// The default policy table of RFC 6724, section 2.1, as the kernel has it
/// (net/ipv6/addrlabel.c).
fn label(addr: IpAddr) -> u8 {
    let table = [
        ("::1/128", 0),
        ("fc00::/7", 5),
        ("2002::/16", 2),
        ("2001::/32", 6),
        ("2001:10::/28", 7),
        ("::/0", 1),
    ];
    let found = table.iter().find(|(prefix, _)| net(prefix).contains(addr));
    found.map_or(1, |(_, label)| *label)
}
