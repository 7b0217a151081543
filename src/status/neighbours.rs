//! What OpenWrt keeps beside us, where it gives the WAN's DNS servers to
//! everybody: the lists of the primary resolver, and netifd's configuration.

use std::collections::HashSet;
use std::fs;
use std::io::{self, ErrorKind};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::facts::{LeakedServer, Leaks, Seen};
use super::look::ubus::{self, Interface};
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
/// Gluon's names of the WAN's interfaces.
const INTERFACES: &str = "/lib/gluon/wan-dnsmasq/interface.d";
/// Protocols whose device is called after them and the interface.
const TUNNELS: [&str; 8] = ["pppoe", "pppoa", "ppp", "pptp", "l2tp", "3g", "6in4", "6rd"];
/// Whoever else may write to a file could put anything there.
const OTHERS_MAY_WRITE: u32 = 0o022;
/// Protocols of netifd that learn no servers, so that `peerdns` means nothing.
const WITHOUT_PEERS: [&str; 2] = ["none", "static"];

/// The leaks that can be seen in files.
pub fn leaks(config_dir: &Path, config: &Config, devices: &[String]) -> Leaks {
    let mut leaks = Leaks {
        network: config_dir.join(NETWORK),
        ..Leaks::default()
    };
    let mut read = |path: &Path| match read_roots(path) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => None,
        Err(error) => {
            leaks.unread.push((path.to_owned(), error.to_string()));
            None
        }
    };
    let interfaces = match ubus::interfaces() {
        Some(interfaces) => Ok(running(&interfaces, devices)),
        None => {
            let network = read(&config_dir.join(NETWORK)).unwrap_or_default();
            let named = read_names(Path::new(INTERFACES));
            configured(&network, devices, &named)
        }
    };
    let learned = read(&config.resolver.resolv_file).unwrap_or_default();
    let lists: Vec<(PathBuf, String)> = AUTO
        .iter()
        .chain([&RESOLV_CONF])
        .filter_map(|path| Some((path.into(), read(Path::new(path))?)))
        .collect();
    let interfaces = match interfaces {
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

/// The text of a file that root alone could write; none of what somebody else
/// made. Anybody may put a file into /tmp.
fn read_roots(path: &Path) -> io::Result<Option<String>> {
    // The directory and a link count, too: what they lead to is their owner's choice.
    for part in [path.parent().unwrap_or(path), path] {
        if fs::symlink_metadata(part)?.uid() != 0 {
            return Ok(None);
        }
    }
    let file = input::open(path)?;
    let meta = file.metadata()?;
    if meta.uid() != 0 || meta.mode() & OTHERS_MAY_WRITE != 0 || meta.nlink() > 1 {
        return Ok(None);
    }
    let (bytes, _) = input::read_from(file, MAX_FILE)?;
    String::from_utf8(bytes).map(Some).map_err(io::Error::other)
}

/// The names in Gluon's list of the WAN's interfaces, a file for each package.
fn read_names(dir: &Path) -> Vec<String> {
    let files = fs::read_dir(dir).into_iter().flatten().flatten();
    let texts = files.filter_map(|file| read_roots(&file.path()).ok()?);
    let names = |text: String| {
        let lines = text.lines().map(|line| line.trim().to_owned());
        lines.filter(|line| !line.is_empty()).collect::<Vec<_>>()
    };
    texts.flat_map(names).collect()
}

/// The interfaces on the WAN's devices as they are now, and whether each gives
/// servers to the primary resolver.
fn running(interfaces: &[Interface], devices: &[String]) -> Vec<(String, bool)> {
    let of_wan = interfaces
        .iter()
        .filter(|one| one.devices.iter().any(|name| devices.contains(name)));
    of_wan
        .map(|one| (one.name.clone(), !one.servers.is_empty()))
        .collect()
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

/// netifd's interfaces on the WAN's devices or among the `named` ones, and whether
/// each gives its servers to the primary resolver, as they are configured.
fn configured(network: &str, devices: &[String], named: &[String]) -> Seen<Vec<(String, bool)>> {
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
            let on_wan = named.iter().any(|one| one == name)
                || devices_of(section, name)
                    .iter()
                    .any(|one| is_wan(one, &names));
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
        let found = running(&all, &["pppoe-wan".into()]);
        assert_eq!(found, [("wan".into(), true), ("wan6".into(), false)]);
    }

    #[test]
    fn what_others_could_write_is_not_read() {
        use std::os::unix::fs::{PermissionsExt, symlink};
        // Only root has files of root's.
        if !nix::unistd::geteuid().is_root() {
            return;
        }
        let dir = std::env::temp_dir().join(format!("gluon-wan-roots.{}", std::process::id()));
        let path = dir.join("file");
        let mode = |mode| fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        fs::create_dir(&dir).unwrap();
        fs::write(&path, "x").unwrap();
        mode(0o644);
        assert_eq!(read_roots(&path).unwrap().as_deref(), Some("x"));
        mode(0o664);
        assert_eq!(read_roots(&path).unwrap(), None, "a group's");
        mode(0o644);
        symlink(&path, dir.join("link")).unwrap();
        assert!(
            read_roots(&dir.join("link")).unwrap().is_some(),
            "root's link"
        );
        std::os::unix::fs::lchown(dir.join("link"), Some(65534), None).unwrap();
        assert_eq!(
            read_roots(&dir.join("link")).unwrap(),
            None,
            "somebody's link"
        );
        fs::hard_link(&path, dir.join("other")).unwrap();
        assert_eq!(read_roots(&path).unwrap(), None, "two names");
        fs::remove_file(dir.join("other")).unwrap();
        std::os::unix::fs::chown(&dir, Some(65534), None).unwrap();
        assert_eq!(read_roots(&path).unwrap(), None, "somebody's directory");
        fs::remove_dir_all(&dir).unwrap();
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
