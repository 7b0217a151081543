//! The wanted table, a pure value: in nft language, and as what nf_tables keeps.

use std::collections::BTreeSet;
use std::fmt;

use nftnl::nftnl_sys::libc;

use super::expr::{Expr, Set};
use super::guard::Guard;
use super::objects::{Chain, Objects, Rule};
use crate::config::Config;

/// The table's name. Its family is inet, for IPv4 and IPv6 at once.
pub const NAME: &str = "gluon_wan";
/// The chain that redirects.
pub const CHAIN: &str = "dns_redirect";
/// Before routing is decided, where a redirect of local traffic has to be; nft
/// calls it `dstnat`, but not in an output chain.
pub const PRIORITY: i32 = -100;
const TABLE_COMMENT: &str = "gluon-wan: DNS of the VPN daemons goes to the WAN resolver";
const DNS_PORT: u16 = 53;
const TCP: u8 = libc::IPPROTO_TCP as u8;
const UDP: u8 = libc::IPPROTO_UDP as u8;
/// The longest comment that nft takes: NFTNL_UDATA_COMMENT_MAXLEN, without NUL.
const MAX_COMMENT: usize = 127;

/// The table as it must be. Shown as `nft -s list table inet gluon_wan` shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    /// Whose DNS is redirected, in the configuration's order; each gid once.
    groups: Vec<Group>,
    /// Where it goes, on 127.0.0.1 and ::1.
    port: u16,
    /// What keeps marked packets out of the mesh.
    guard: Guard,
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
    /// A table for `groups`, at least one, and the WAN's `devices`. Where two have the same number, the
    /// first counts.
    pub fn new(mut groups: Vec<Group>, config: &Config, devices: &[String]) -> Self {
        let mut seen = BTreeSet::new();
        groups.retain(|group| seen.insert(group.gid));
        Self {
            groups,
            port: config.resolver.port,
            guard: Guard::new(&config.routing, devices),
        }
    }

    /// Whose DNS is redirected.
    pub fn groups(&self) -> &[Group] {
        &self.groups
    }

    /// The port it goes to.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The same table as nf_tables keeps it.
    pub(super) fn objects(&self) -> Objects {
        let output = libc::NF_INET_LOCAL_OUT as u32;
        let chain = Chain::base(CHAIN, "nat", output, PRIORITY);
        let rule = Rule {
            chain: CHAIN.into(),
            exprs: self.rule(),
            comment: Some(self.comment()),
        };
        Objects {
            flags: 0,
            comment: Some(TABLE_COMMENT.into()),
            chains: vec![chain, Guard::chain()],
            rules: vec![rule, self.guard.rule()],
            sets: if self.groups.len() == 1 { 1 } else { 2 },
            others: 0,
        }
    }

    /// What the rule in [`fmt::Display`] says, in the same order.
    fn rule(&self) -> Vec<Expr> {
        let gids: BTreeSet<u32> = self.groups.iter().map(|group| group.gid).collect();
        let of_group = match gids.first() {
            Some(gid) if gids.len() == 1 => Expr::Equals(gid.to_ne_bytes().into()),
            _ => Expr::In(Set::Gids(gids)),
        };
        vec![
            Expr::MetaSkGid,
            of_group,
            Expr::MetaL4Proto,
            Expr::In(Set::Protocols([TCP, UDP].into())),
            Expr::DestinationPort,
            Expr::Equals(DNS_PORT.to_be_bytes().into()),
            Expr::Counter,
            Expr::LoadPort(self.port),
            Expr::Redirect,
        ]
    }

    /// The rule's comment: the groups' names, as many as fit.
    fn comment(&self) -> String {
        const MORE: &str = ", ...";
        let mut comment = String::from("gluon-wan: ");
        for (at, group) in self.groups.iter().enumerate() {
            let separator = if at == 0 { "" } else { ", " };
            let last = at + 1 == self.groups.len();
            let reserved = if last { 0 } else { MORE.len() };
            if comment.len() + separator.len() + group.name.len() + reserved > MAX_COMMENT {
                comment.push_str(MORE.trim_start_matches(if at == 0 { ", " } else { "" }));
                break;
            }
            comment.push_str(separator);
            comment.push_str(&group.name);
        }
        comment
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut gids: Vec<u32> = self.groups.iter().map(|group| group.gid).collect();
        gids.sort_unstable();
        let gids: Vec<String> = gids.iter().map(u32::to_string).collect();
        let skgid = match gids.as_slice() {
            [gid] => gid.clone(),
            gids => format!("{{ {} }}", gids.join(", ")),
        };
        let (port, comment) = (self.port, self.comment());
        writeln!(f, "table inet {NAME} {{")?;
        writeln!(f, "\tcomment \"{TABLE_COMMENT}\"")?;
        writeln!(f, "\tchain {CHAIN} {{")?;
        writeln!(
            f,
            "\t\ttype nat hook output priority {PRIORITY}; policy accept;"
        )?;
        writeln!(
            f,
            "\t\tmeta skgid {skgid} meta l4proto {{ tcp, udp }} th dport {DNS_PORT} \
             counter redirect to :{port} comment \"{comment}\""
        )?;
        writeln!(f, "\t}}")?;
        writeln!(f)?;
        write!(f, "{}", self.guard)?;
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
        ] {
            assert_eq!(table.to_string(), golden);
        }
    }

    #[test]
    fn a_number_counts_once_and_the_first_name_stays() {
        let doubled = table(&[(800, "a"), (801, "b"), (800, "c")], 54);
        assert_eq!(doubled, table(&[(800, "a"), (801, "b")], 54));
        assert_eq!((doubled.groups().len(), doubled.port()), (2, 54));
        assert_eq!(table(&[(800, "a"), (800, "b")], 54).objects().sets, 1);
    }

    #[test]
    fn numbers_are_listed_in_order_and_names_as_configured() {
        let text = table(&[(801, "z"), (1, "m"), (256, "a")], 54).to_string();
        assert!(text.contains("skgid { 1, 256, 801 } "), "{text}");
        assert!(text.contains("\"gluon-wan: z, m, a\""), "{text}");
    }

    #[test]
    fn the_rule_in_bytes() {
        // Ports are in network order on every machine, the group in host order.
        assert_eq!(
            table(&[(0x0001_0203, "g")], 0x1234).rule(),
            [
                Expr::MetaSkGid,
                Expr::Equals(0x0001_0203_u32.to_ne_bytes().into()),
                Expr::MetaL4Proto,
                Expr::In(Set::Protocols([6, 17].into())),
                Expr::DestinationPort,
                Expr::Equals(vec![0, 53]),
                Expr::Counter,
                Expr::LoadPort(0x1234),
                Expr::Redirect,
            ]
        );
    }

    #[test]
    fn of_several_groups_the_rule_has_all() {
        let rule = table(&[(801, "b"), (800, "a")], 54).rule();
        assert_eq!(rule[1], Expr::In(Set::Gids([800, 801].into())));
    }

    #[test]
    fn a_comment_never_gets_longer_than_nft_takes() {
        let name = |len: usize| "n".repeat(len);
        let comment = |names: &[String]| {
            let groups = names.iter().zip(1..);
            let groups: Vec<_> = groups.map(|(name, gid)| (gid, name.as_str())).collect();
            table(&groups, 54).comment()
        };
        assert_eq!(comment(&[name(116)]).len(), 127);
        assert_eq!(comment(&[name(117)]), "gluon-wan: ...");
        assert_eq!(comment(&[name(50), name(64)]).len(), 127);
        assert!(comment(&[name(50), name(65)]).ends_with("n, ..."));
        assert!(comment(&vec![name(8); 50]).ends_with("n, ..."));
        for first in 1..120 {
            for second in 1..120 {
                let comment = comment(&[name(first), name(second), name(3)]);
                assert!(comment.len() <= MAX_COMMENT, "{first} {second}");
            }
        }
    }
}
