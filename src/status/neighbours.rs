//! What OpenWrt keeps beside us, where it gives the WAN's DNS servers to
//! everybody: the lists of the primary resolver, and netifd's configuration.

use std::collections::HashSet;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use super::facts::{LeakedServer, Leaks, Seen};
use crate::config::uci::{self, Section};
use crate::config::{Config, Server};
use crate::input;

/// netifd's list of servers for the primary resolver, of which each interface
/// has a part under a comment with its name; before and since OpenWrt 21.02.
const AUTO: [&str; 2] = [
    "/tmp/resolv.conf.d/resolv.conf.auto",
    "/tmp/resolv.conf.auto",
];
/// What libc asks.
const RESOLV_CONF: &str = "/etc/resolv.conf";
/// How netifd's list names an interface.
const INTERFACE: &str = "# Interface ";
/// netifd's interfaces, in the configuration directory.
const NETWORK: &str = "network";
/// How much of a file is looked at.
const MAX_FILE: usize = 1024 * 1024;
/// What UCI takes for false (libubox `blobmsg_parse`, `uci_parse_bool`).
const FALSE: [&str; 5] = ["0", "off", "false", "no", "disabled"];
/// Protocols of netifd that learn no servers, so that `peerdns` means nothing.
const WITHOUT_PEERS: [&str; 2] = ["none", "static"];

/// The leaks that can be seen in files.
pub fn leaks(config_dir: &Path, config: &Config, devices: &[String]) -> Leaks {
    let mut leaks = Leaks {
        network: config_dir.join(NETWORK),
        ..Leaks::default()
    };
    let text = |(bytes, _)| String::from_utf8(bytes).map_err(io::Error::other);
    let mut read = |path: &Path| match input::read(path, MAX_FILE).and_then(text) {
        Ok(text) => Some(text),
        Err(error) if error.kind() == ErrorKind::NotFound => None,
        Err(error) => {
            leaks.unread.push((path.to_owned(), error.to_string()));
            None
        }
    };
    let network = read(&leaks.network.clone()).unwrap_or_default();
    let learned = read(&config.resolver.resolv_file).unwrap_or_default();
    let lists: Vec<(PathBuf, String)> = AUTO
        .iter()
        .chain([&RESOLV_CONF])
        .filter_map(|path| Some((path.into(), read(Path::new(path))?)))
        .collect();
    let interfaces = match wan_interfaces(&network, devices) {
        Ok(interfaces) => interfaces,
        Err(why) => {
            leaks.unread.push((leaks.network.clone(), why));
            Vec::new()
        }
    };
    let wan = Wan {
        devices: devices.iter().map(String::as_str).collect(),
        interfaces: interfaces.iter().map(|(name, _)| name.as_str()).collect(),
        learned: servers(&learned).map(|(_, word)| word).collect(),
    };
    for (file, text) in lists {
        let found = servers(&text).filter(|(under, word)| wan.owns(*under, word));
        leaks.servers.extend(found.map(|(_, word)| LeakedServer {
            server: word.into(),
            file: file.clone(),
        }));
    }
    let leaking = interfaces.iter().filter(|(_, leaks)| *leaks);
    leaks.peerdns = leaking.map(|(name, _)| name.clone()).collect();
    leaks
}

/// How a server of the WAN can be told.
struct Wan<'a> {
    devices: HashSet<&'a str>,
    interfaces: HashSet<&'a str>,
    /// What DHCP and router advertisements of the WAN said.
    learned: HashSet<&'a str>,
}

impl Wan<'_> {
    fn owns(&self, interface: Option<&str>, server: &str) -> bool {
        let device = server.parse::<Server>().ok().and_then(|one| one.device);
        self.learned.contains(server)
            || interface.is_some_and(|name| self.interfaces.contains(name))
            || device.is_some_and(|name| self.devices.contains(name.as_str()))
    }
}

/// The servers of a resolv.conf(5), each with the interface it stands under.
fn servers(text: &str) -> impl Iterator<Item = (Option<&str>, &str)> {
    let mut interface = None;
    text.lines().filter_map(move |line| {
        if let Some(name) = line.strip_prefix(INTERFACE) {
            interface = Some(name.trim());
        }
        let mut words = line.split_ascii_whitespace();
        (words.next() == Some("nameserver")).then_some(())?;
        Some((interface, words.next()?))
    })
}

/// netifd's interfaces on the WAN's devices, and whether each gives its
/// servers to the primary resolver.
fn wan_interfaces(network: &str, devices: &[String]) -> Seen<Vec<(String, bool)>> {
    let sections =
        uci::parse(network).map_err(|problem| format!("line {}: {problem}", problem.line))?;
    let interfaces: Vec<&Section> = sections
        .iter()
        .filter(|section| section.kind == "interface")
        .collect();
    let mut names: Vec<&str> = Vec::new();
    // An interface may be on another one: `option device '@wan'`.
    let is_wan = |device: &str, names: &[&str]| {
        let alias = device.strip_prefix('@');
        devices.iter().any(|name| name == device) || alias.is_some_and(|name| names.contains(&name))
    };
    loop {
        let before = names.len();
        for section in &interfaces {
            let Some(name) = section.name.as_deref() else {
                continue;
            };
            let on_wan = device(section).split(' ').any(|one| is_wan(one, &names));
            if on_wan && !names.contains(&name) {
                names.push(name);
            }
        }
        if names.len() == before {
            break;
        }
    }
    let of_wan = interfaces.iter().filter_map(|section| {
        let name = section.name.as_deref()?;
        names
            .contains(&name)
            .then(|| (name.to_owned(), gives_servers(section)))
    });
    Ok(of_wan.collect())
}

/// `device`, or `ifname` as it was called before OpenWrt 21.02.
fn device(section: &Section) -> &str {
    value(section, "device")
        .or_else(|| value(section, "ifname"))
        .unwrap_or_default()
}

fn gives_servers(section: &Section) -> bool {
    let learns = !WITHOUT_PEERS.contains(&value(section, "proto").unwrap_or("none"));
    let on = !FALSE.contains(&value(section, "peerdns").unwrap_or("1"));
    let off = !FALSE.contains(&value(section, "disabled").unwrap_or("0"));
    learns && on && !off
}

/// The last one counts, as in libuci.
fn value<'a>(section: &'a Section, name: &str) -> Option<&'a str> {
    let mut options = section.options.iter().rev();
    let found = options.find(|option| option.name == name)?;
    Some(&found.value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn interfaces(text: &str) -> Vec<(String, bool)> {
        wan_interfaces(text, &["br-wan".into()]).unwrap()
    }

    #[test]
    fn interfaces_of_the_wan_and_their_servers() {
        let found = interfaces(
            "config interface 'wan6'\n option device '@wan'\n option proto dhcpv6\n option peerdns '0'\n\
             config interface 'wan'\n option device 'br-wan'\n option proto 'dhcp'\n\
             config interface 'old'\n option ifname 'br-wan'\n option proto dhcp\n option peerdns off\n\
             config interface 'fixed'\n option device 'br-wan'\n option proto static\n\
             config interface 'client'\n option device 'br-client'\n option proto dhcpv6\n\
             config device 'wan_dev'\n option name 'br-wan'\n",
        );
        let expected = [
            ("wan6", false),
            ("wan", true),
            ("old", false),
            ("fixed", false),
        ];
        assert_eq!(found, expected.map(|(name, leaks)| (name.into(), leaks)));
        assert!(interfaces("").is_empty());
        assert!(wan_interfaces("config interface 'wan", &[]).is_err());
    }

    #[test]
    fn servers_stand_under_their_interface() {
        let text = "# Interface wan\nnameserver 192.0.2.1\nsearch lan\n\
                    # Interface client\nnameserver fdca::1\n";
        let found: Vec<_> = servers(text).collect();
        assert_eq!(
            found,
            [(Some("wan"), "192.0.2.1"), (Some("client"), "fdca::1")]
        );
        assert_eq!(
            servers("nameserver ::1").collect::<Vec<_>>(),
            [(None, "::1")]
        );
    }

    #[test]
    fn a_server_of_the_wan_is_told_by_interface_device_or_source() {
        let wan = Wan {
            devices: ["br-wan"].into(),
            interfaces: ["wan"].into(),
            learned: ["192.0.2.1"].into(),
        };
        assert!(wan.owns(None, "192.0.2.1"));
        assert!(wan.owns(Some("wan"), "198.51.100.9"));
        assert!(wan.owns(None, "fe80::1%br-wan"));
        assert!(!wan.owns(Some("client"), "fe80::1%br-client"));
        assert!(!wan.owns(None, "127.0.0.1"));
    }
}
