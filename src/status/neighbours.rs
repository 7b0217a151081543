//! What OpenWrt keeps beside us, where it gives the WAN's DNS servers to
//! everybody: the lists of the primary resolver, and netifd's configuration.

use std::fs;
use std::io::{self, ErrorKind};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::facts::{LeakedServer, Leaks, Seen};
use super::look::ubus::Interface;
use crate::config::uci::{self, Section};
use crate::config::{Config, Server};
use crate::input;

/// netifd's list of servers for the primary resolver, of which each interface
/// has a part under a comment with its name, before and since OpenWrt 21.02; and
/// what libc asks.
const LISTS: [&str; 3] = [
    "/tmp/resolv.conf.d/resolv.conf.auto",
    "/tmp/resolv.conf.auto",
    "/etc/resolv.conf",
];
/// How netifd's list names an interface.
const INTERFACE: &str = "# Interface ";
/// netifd's interfaces, in the configuration directory.
const NETWORK: &str = "network";
/// How much of a file is looked at.
const MAX_FILE: usize = 1024 * 1024;
/// What UCI takes for false (libubox `blobmsg_parse`, `uci_parse_bool`).
const FALSE: [&str; 5] = ["0", "off", "false", "no", "disabled"];
/// Gluon's names of the WAN's interfaces.
const INTERFACES: &str = "/lib/gluon/wan-dnsmasq/interface.d";
/// Protocols whose device is called after them and the interface.
const TUNNELS: [&str; 8] = ["pppoe", "pppoa", "ppp", "pptp", "l2tp", "3g", "6in4", "6rd"];
/// Whoever else may write to a file could put anything there.
const OTHERS_MAY_WRITE: u32 = 0o022;
/// Protocols of netifd that learn no servers, so that `peerdns` means nothing.
const WITHOUT_PEERS: [&str; 2] = ["none", "static"];

/// The leaks that can be seen in files, and in what `netifd` says where it answers.
pub fn leaks(
    config_dir: &Path,
    config: &Config,
    devices: &[String],
    netifd: Option<Vec<Interface>>,
) -> Leaks {
    let mut leaks = Leaks {
        network: config_dir.join(NETWORK),
        ..Leaks::default()
    };
    let interfaces = match netifd {
        Some(interfaces) => Ok(running(interfaces, devices)),
        None => {
            let network = leaks.read(&leaks.network.clone());
            configured(&network, devices, &read_names(Path::new(INTERFACES)))
        }
    };
    let interfaces = interfaces.unwrap_or_else(|why| {
        leaks.unread.push((leaks.network.clone(), why));
        Vec::new()
    });
    let learned = leaks.read(&config.resolver.resolv_file);
    let wan = Wan {
        devices,
        interfaces: &interfaces,
        learned: servers(&learned).map(|(_, word)| word).collect(),
    };
    for path in LISTS {
        let text = leaks.read(Path::new(path));
        for (under, word) in servers(&text) {
            if wan.owns(under, word) {
                leaks.servers.push(LeakedServer {
                    server: word.into(),
                    file: path.into(),
                });
            }
        }
    }
    for (name, gives_servers) in interfaces {
        if gives_servers {
            leaks.peerdns.push(name);
        }
    }
    leaks
}

impl Leaks {
    /// The text of a file; empty where there is none to believe.
    fn read(&mut self, path: &Path) -> String {
        match read_roots(path) {
            Ok(text) => text,
            Err(error) => {
                if error.kind() != ErrorKind::NotFound {
                    self.unread.push((path.to_owned(), error.to_string()));
                }
                String::new()
            }
        }
    }
}

/// The text of a file that root alone could write; empty for what somebody else
/// made. Anybody may put a file into /tmp.
fn read_roots(path: &Path) -> io::Result<String> {
    // The directory and a link count, too: what they lead to is their owner's choice.
    for part in [path.parent().unwrap_or(path), path] {
        if fs::symlink_metadata(part)?.uid() != 0 {
            return Ok(String::new());
        }
    }
    let file = input::open(path)?;
    let meta = file.metadata()?;
    if meta.uid() != 0 || meta.mode() & OTHERS_MAY_WRITE != 0 || meta.nlink() > 1 {
        return Ok(String::new());
    }
    let (bytes, _) = input::read_from(file, MAX_FILE)?;
    String::from_utf8(bytes).map_err(io::Error::other)
}

/// The names in Gluon's list of the WAN's interfaces, a file for each package.
fn read_names(dir: &Path) -> Vec<String> {
    let mut names = Vec::new();
    for file in input::entries(dir).unwrap_or_default() {
        for line in read_roots(&file).unwrap_or_default().lines() {
            names.push(line.trim().to_owned());
        }
    }
    names.retain(|name| !name.is_empty());
    names
}

/// The interfaces on the WAN's devices as they are now, and whether each gives
/// servers to the primary resolver.
fn running(mut interfaces: Vec<Interface>, devices: &[String]) -> Vec<(String, bool)> {
    interfaces.retain(|one| one.devices.iter().any(|name| devices.contains(name)));
    let of_wan = interfaces.into_iter();
    of_wan
        .map(|one| (one.name, !one.servers.is_empty()))
        .collect()
}

/// How a server of the WAN can be told.
struct Wan<'a> {
    devices: &'a [String],
    interfaces: &'a [(String, bool)],
    /// What DHCP and router advertisements of the WAN said.
    learned: Vec<&'a str>,
}

impl Wan<'_> {
    fn owns(&self, interface: Option<&str>, server: &str) -> bool {
        let is_ours = |name: &str| self.interfaces.iter().any(|(ours, _)| ours == name);
        let device = server.parse::<Server>().ok().and_then(|one| one.device);
        self.learned.contains(&server)
            || interface.is_some_and(is_ours)
            || device.is_some_and(|name| self.devices.iter().any(|ours| *ours == *name.as_str()))
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

/// netifd's interfaces on the WAN's devices or among the `named` ones, and whether
/// each gives its servers to the primary resolver, as they are configured.
fn configured(network: &str, devices: &[String], named: &[String]) -> Seen<Vec<(String, bool)>> {
    let sections =
        uci::parse(network).map_err(|problem| format!("line {}: {problem}", problem.line))?;
    let mut names: Vec<&str> = Vec::new();
    loop {
        let before = names.len();
        for section in &sections {
            let Some(name) = interface(section) else {
                continue;
            };
            // An interface may be on another one: `option device '@wan'`.
            let is_wan = |device: &String| match device.strip_prefix('@') {
                Some(name) => names.contains(&name),
                None => devices.contains(device),
            };
            let on_wan =
                named.iter().any(|one| one == name) || devices_of(section, name).iter().any(is_wan);
            if on_wan && !names.contains(&name) {
                names.push(name);
            }
        }
        if names.len() == before {
            break;
        }
    }
    let mut of_wan = Vec::new();
    for section in &sections {
        if let Some(name) = interface(section).filter(|name| names.contains(name)) {
            of_wan.push((name.to_owned(), gives_servers(section)));
        }
    }
    Ok(of_wan)
}

/// The name of a section that is an interface.
fn interface(section: &Section) -> Option<&str> {
    section
        .name
        .as_deref()
        .filter(|_| section.kind == "interface")
}

/// The devices that an interface may have: those that are configured (`ifname`
/// before OpenWrt 21.02), and the one that netifd makes of them: a bridge, as it was
/// configured then, or the tunnel of PPP and the like.
fn devices_of(section: &Section, name: &str) -> Vec<String> {
    let configured = value(section, "device").or_else(|| value(section, "ifname"));
    let words = configured.unwrap_or_default().split_ascii_whitespace();
    let mut devices: Vec<String> = words.map(str::to_owned).collect();
    if value(section, "type") == Some("bridge") {
        devices.push(format!("br-{name}"));
    }
    if let Some(proto) = value(section, "proto").filter(|proto| TUNNELS.contains(proto)) {
        devices.push(format!("{proto}-{name}"));
    }
    devices
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
    use crate::scratch::Scratch;

    fn interfaces(text: &str) -> Vec<(String, bool)> {
        configured(text, &["br-wan".into()], &["cellular".into()]).unwrap()
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
        assert!(configured("config interface 'wan", &[], &[]).is_err());
    }

    #[test]
    fn bridges_of_old_modems_and_tunnels() {
        let found = |text: &str, device: &str| {
            let named = ["cellular".into()];
            let found = configured(text, &[device.into()], &named).unwrap();
            found.into_iter().map(|(name, _)| name).collect::<Vec<_>>()
        };
        let legacy = "config interface 'wan'\n option type bridge\n option ifname 'eth0.2 eth1'\n";
        assert_eq!(found(legacy, "br-wan"), ["wan"]);
        assert_eq!(found(legacy, "eth1"), ["wan"]);
        assert!(found(legacy, "br-lan").is_empty());
        let ppp = "config interface 'wan'\n option proto pppoe\n option device eth0\n";
        assert_eq!(found(ppp, "pppoe-wan"), ["wan"]);
        let modem =
            "config interface 'cellular'\n option proto qmi\n option device /dev/cdc-wdm0\n";
        assert_eq!(found(modem, "wwan0"), ["cellular"]);
    }

    #[test]
    fn a_running_interface_leaks_when_its_servers_are_active() {
        let on = |name: &str, device: &str, servers: &[&str]| Interface {
            name: name.into(),
            devices: vec![device.into(), "eth0".into()],
            servers: servers.iter().map(|one| (*one).into()).collect(),
        };
        let all = [
            on("wan", "pppoe-wan", &["192.0.2.1"]),
            on("wan6", "pppoe-wan", &[]),
            on("client", "br-client", &["fdca::1"]),
        ];
        let found = running(all.into(), &["pppoe-wan".into()]);
        assert_eq!(found, [("wan".into(), true), ("wan6".into(), false)]);
    }

    #[test]
    fn what_others_could_write_is_not_read() {
        use std::os::unix::fs::{PermissionsExt, symlink};
        // Only root has files of root's.
        if !nix::unistd::geteuid().is_root() {
            return;
        }
        let dir = Scratch::new();
        let path = dir.join("file");
        let mode = |mode| fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        fs::write(&path, "x").unwrap();
        mode(0o644);
        assert_eq!(read_roots(&path).unwrap(), "x");
        mode(0o664);
        assert_eq!(read_roots(&path).unwrap(), "", "a group's");
        mode(0o644);
        symlink(&path, dir.join("link")).unwrap();
        assert_eq!(read_roots(&dir.join("link")).unwrap(), "x", "root's link");
        std::os::unix::fs::lchown(dir.join("link"), Some(65534), None).unwrap();
        assert_eq!(
            read_roots(&dir.join("link")).unwrap(),
            "",
            "somebody's link"
        );
        fs::hard_link(&path, dir.join("other")).unwrap();
        assert_eq!(read_roots(&path).unwrap(), "", "two names");
        fs::remove_file(dir.join("other")).unwrap();
        std::os::unix::fs::chown(&*dir, Some(65534), None).unwrap();
        assert_eq!(read_roots(&path).unwrap(), "", "somebody's directory");
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
            devices: &["br-wan".into()],
            interfaces: &[("wan".into(), false)],
            learned: vec!["192.0.2.1"],
        };
        assert!(wan.owns(None, "192.0.2.1"));
        assert!(wan.owns(Some("wan"), "198.51.100.9"));
        assert!(wan.owns(None, "fe80::1%br-wan"));
        assert!(!wan.owns(Some("client"), "fe80::1%br-client"));
        assert!(!wan.owns(None, "127.0.0.1"));
    }
}
