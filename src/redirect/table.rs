//! The wanted table, a pure value: in nft language, and as what nf_tables keeps.

use std::fmt;

use super::chain::{Base, Chain, EARLY, Hook, Kind};
use super::objects::Objects;
use super::set::Numbers;
use super::{dns, mark};
use crate::config::Config;

/// The table's name. Its family is inet, for IPv4 and IPv6 at once.
pub const NAME: &str = "gluon_wan";
/// The table's comment.
pub const COMMENT: &str = "gluon-wan: DNS of the VPN daemons goes to the WAN resolver";
/// The chain that sees packets first.
pub(super) const FIRST: &str = "own_flows";

/// The table as it must be. Shown as `nft -s list table inet gluon_wan` shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    groups: Vec<Group>,
    port: u16,
    chains: Vec<Chain>,
}

/// A group that exists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// Its number.
    pub gid: u32,
    /// As the configuration writes it, a name or the number.
    pub name: String,
}

impl Table {
    /// A table for `groups`, where the WAN has these `devices`. Where two groups have
    /// the same number, the first counts. Without any, nothing is redirected; what is
    /// marked is guarded all the same.
    pub fn new(mut groups: Vec<Group>, config: &Config, devices: &[String]) -> Self {
        let mut gids = Numbers::default();
        groups.retain(|group| gids.insert(group.gid));
        Self {
            chains: chains(&groups, &gids, config, devices),
            port: config.resolver.port,
            groups,
        }
    }

    /// Whose DNS is redirected, in the configuration's order; each gid once.
    pub fn groups(&self) -> &[Group] {
        &self.groups
    }

    /// Where it goes, on 127.0.0.1 and ::1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Its chains, in the order in which a packet sees them.
    pub(super) fn chains(&self) -> &[Chain] {
        &self.chains
    }

    /// The same table as nf_tables keeps it.
    pub(super) fn objects(&self) -> Objects {
        Objects::of(COMMENT, &self.chains)
    }
}

fn chains(groups: &[Group], gids: &Numbers, config: &Config, devices: &[String]) -> Vec<Chain> {
    let (routing, port) = (&config.routing, config.resolver.port);
    let filter = |hook| Base {
        kind: Kind::Filter,
        hook,
        priority: EARLY,
    };
    let leaving = filter(Hook::Postrouting);
    let mut first = Chain {
        name: FIRST,
        base: Some(filter(Hook::Output)),
        rules: vec![
            dns::own_connections(routing.mark, port),
            mark::remember(routing),
        ],
    };
    let mut chains = vec![mark::restore(routing.mark), dns::error_guard()];
    chains.extend(mark::guards(routing, devices, leaving));
    if !groups.is_empty() {
        first.rules.insert(0, dns::own_flows(gids, port));
        let names: Vec<&str> = groups.iter().map(|group| group.name.as_str()).collect();
        chains.insert(0, dns::redirect(&names, gids, port));
        chains.push(dns::guard(gids, port, leaving));
    }
    chains.insert(0, first);
    chains
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "table inet {NAME} {{")?;
        writeln!(f, "\tcomment \"{COMMENT}\"")?;
        for (at, chain) in self.chains.iter().enumerate() {
            if at > 0 {
                writeln!(f)?;
            }
            write!(f, "{chain}")?;
        }
        writeln!(f, "}}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Mark, Routing};

    fn configured(groups: &[(u32, &str)], config: &Config) -> Table {
        let group = |&(gid, name): &(u32, &str)| Group {
            gid,
            name: name.into(),
        };
        let devices = match config.routing.devices.as_slice() {
            [] => &["br-wan".to_owned()],
            devices => devices,
        };
        Table::new(groups.iter().map(group).collect(), config, devices)
    }

    fn table(groups: &[(u32, &str)], port: u16) -> Table {
        let mut config = Config::default();
        config.resolver.port = port;
        configured(groups, &config)
    }

    /// Both families, two devices, a mark of which some bits count.
    fn two_uplinks() -> Config {
        let routing = Routing {
            devices: vec!["br-wan".into(), "wwan0".into()],
            ipv4: true,
            mark: Mark {
                value: 0x10,
                mask: 0xf0,
            },
            ..Routing::default()
        };
        Config {
            routing,
            ..Config::default()
        }
    }

    #[test]
    fn shown_as_the_goldens() {
        let gluon = [(800, "gluon-fastd"), (801, "gluon-mesh-vpn")];
        for (table, golden) in [
            (
                table(&[(800, "800")], 54),
                include_str!("../../nft/one-group.nft"),
            ),
            (table(&gluon, 54), include_str!("../../nft/two-groups.nft")),
            (
                table(&gluon, 5454),
                include_str!("../../nft/other-port.nft"),
            ),
            (
                configured(&gluon, &two_uplinks()),
                include_str!("../../nft/two-uplinks.nft"),
            ),
            (table(&[], 54), include_str!("../../nft/no-group.nft")),
        ] {
            assert_eq!(table.to_string(), golden);
        }
    }

    #[test]
    fn a_number_counts_once_and_the_first_name_stays() {
        let doubled = table(&[(800, "a"), (801, "b"), (800, "c")], 54);
        assert_eq!(doubled, table(&[(800, "a"), (801, "b")], 54));
        assert_eq!((doubled.groups().len(), doubled.port()), (2, 54));
        // Protocols twice, and ports.
        assert_eq!(table(&[(800, "a"), (800, "b")], 54).objects().sets, 3);
    }

    #[test]
    fn numbers_are_listed_in_order_and_names_as_configured() {
        let text = table(&[(801, "z"), (1, "m"), (256, "a")], 54).to_string();
        assert!(text.contains("skgid { 1, 256, 801 } "), "{text}");
        assert!(text.contains("\"gluon-wan: z, m, a\""), "{text}");
    }
}
