//! Which network devices are the WAN's.
//!
//! `list device` says so where it is configured. Else it is netifd that knows:
//! the package's update script asks it for the devices of the WAN's interfaces
//! and leaves them in a file beside the resolv file, one name a line. Where there
//! is no such file yet, `br-wan` stands for Gluon's `wan`, and the default routes
//! that netifd put into the WAN's table show its other uplinks (`ip6table 1`).
//!
//! Whoever says it: here, and only here, an alternative name becomes the one that
//! nftables and the routes know. [`find`] asks; what becomes of the answers is
//! pure ([`Devices::named`]).

mod file;
mod kernel;

use std::io;
use std::path::PathBuf;

use crate::config::{Config, Server};
use crate::netlink::Refused;

/// Why the devices are not known.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file with their names.
    #[error("{}: cannot be read", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// The kernel's routes.
    #[error("cannot look for the WAN's devices")]
    Routes(#[from] Refused),
}

/// The uplink of every Gluon node, where nobody says better.
pub const USUAL: &str = "br-wan";
/// How many devices there may be: what is named after that is left out. The
/// guard's rule compares with each, and 128 expressions are the most that fit into
/// one (NFT_RULE_MAXEXPRS of linux/netfilter/nf_tables.h).
pub const MAX_DEVICES: usize = 50;
/// The file's name, beside the resolv file.
const FILE: &str = "devices";

/// The devices of the WAN, and who says so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Devices {
    /// In the order in which they were named; each once.
    pub list: Vec<Device>,
    /// Who named them.
    pub source: Source,
    /// What was named and cannot be used, in words, each with its place.
    pub left_out: Vec<String>,
}

/// One device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Device {
    /// What the kernel calls it. Where there is no such device yet, as it was
    /// named.
    pub name: String,
    /// As it was named, where that is an alternative name of it.
    pub altname: Option<String>,
    /// Its number in the kernel, another one whenever it is made anew; none where
    /// there is no such device.
    pub index: Option<u32>,
}

/// Who says which devices are the WAN's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// `list device`.
    Configured,
    /// The file that the package's update script writes.
    File(PathBuf),
    /// Nobody: `br-wan`, and what netifd's default routes lead through.
    Routes,
}

/// Where the update script leaves the names of the devices.
#[must_use]
pub fn file(config: &Config) -> PathBuf {
    config.resolver.resolv_file.with_file_name(FILE)
}

/// Asks whoever knows. Cheap enough for every look: a small file, two system calls
/// for each name, and a dump of the WAN's table only where nobody else knows.
///
/// # Errors
/// The file cannot be read, or the kernel does not show its routes. It may be right
/// the next time: the devices known so far stay, or at first the
/// [usual](Devices::usual) one.
pub fn find(config: &Config) -> Result<Devices, Error> {
    let configured = &config.routing.devices;
    if !configured.is_empty() {
        return Ok(Devices::named(configured, Source::Configured, kernel::link));
    }
    let path = file(config);
    let said = file::read(&path)?;
    let mut devices = if said.names.is_empty() {
        let mut names = vec![USUAL.to_owned()];
        names.extend(kernel::uplinks(config.routing.table)?);
        Devices::named(&names, Source::Routes, kernel::link)
    } else {
        Devices::named(&said.names, Source::File(path), kernel::link)
    };
    devices.left_out.splice(0..0, said.left_out);
    Ok(devices)
}

impl Devices {
    /// Where nobody can be asked.
    #[must_use]
    pub fn usual() -> Self {
        Self::named(&[USUAL.to_owned()], Source::Routes, kernel::link)
    }

    /// `names` as the kernel has them. `link` knows the number and the true name of
    /// a device, whichever of its names is asked for.
    pub fn named(
        names: &[String],
        source: Source,
        link: impl Fn(&str) -> Option<(u32, String)>,
    ) -> Self {
        let mut devices = Self {
            list: Vec::new(),
            source,
            left_out: Vec::new(),
        };
        for asked in names {
            let device = match link(asked) {
                Some((index, name)) => Device {
                    altname: (name != *asked).then(|| asked.clone()),
                    index: Some(index),
                    name,
                },
                None => Device {
                    name: asked.clone(),
                    altname: None,
                    index: None,
                },
            };
            if devices.list.iter().any(|one| one.name == device.name) {
                continue;
            }
            if devices.list.len() == MAX_DEVICES {
                let line = format!("{asked} is one device more than {MAX_DEVICES}: left out");
                devices.left_out.push(line);
                break;
            }
            devices.list.push(device);
        }
        devices
    }

    /// A link-local server that stands without its device, on the WAN's device. None
    /// where the WAN has several, so that nobody can tell which one is meant. Any
    /// other server stays as it is.
    #[must_use]
    pub fn complete(&self, server: &Server) -> Option<Server> {
        if !server.needs_device() {
            return Some(server.clone());
        }
        let there = self.list.iter().filter(|device| device.index.is_some());
        let mut there: Vec<&Device> = there.collect();
        if there.is_empty() {
            there.extend(&self.list);
        }
        let [only] = there.as_slice() else {
            return None;
        };
        Some(Server {
            device: Some(only.name.clone()),
            ..server.clone()
        })
    }

    /// Whatever a device of the WAN may be called when it comes back.
    #[must_use]
    pub fn all_names(&self) -> Vec<String> {
        let altnames = self.list.iter().filter_map(|one| one.altname.clone());
        self.names().into_iter().chain(altnames).collect()
    }

    /// The names that nftables and the kernel's routes know them by.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        self.list.iter().map(|device| device.name.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    /// `br-wan`, with the alternative name `uplink`.
    fn link(name: &str) -> Option<(u32, String)> {
        ["br-wan", "uplink"]
            .contains(&name)
            .then(|| (7, "br-wan".into()))
    }

    fn named(names: &[&str]) -> Devices {
        let names: Vec<String> = names.iter().map(ToString::to_string).collect();
        Devices::named(&names, Source::Configured, link)
    }

    #[test]
    fn an_alternative_name_becomes_the_true_one_and_counts_once() {
        let devices = named(&["uplink", "br-wan", "wwan0"]);
        assert_eq!(devices.names(), ["br-wan", "wwan0"]);
        assert_eq!(devices.list[0].altname.as_deref(), Some("uplink"));
        assert_eq!(devices.list[0].index, Some(7));
        assert_eq!(
            (&devices.list[1].altname, devices.list[1].index),
            (&None, None)
        );
        assert_eq!(devices.left_out, [""; 0]);
    }

    #[test]
    fn a_link_local_server_gets_the_device_that_there_is() {
        let on = |devices: &[&str], text: &str| {
            let server = Server::without_device(text).unwrap();
            let server = named(devices).complete(&server)?;
            Some(server.to_string())
        };
        let uplink = Some("fe80::1%br-wan#54".into());
        assert_eq!(on(&["br-wan"], "fe80::1#54"), uplink);
        assert_eq!(on(&["wwan0", "uplink"], "fe80::1#54"), uplink);
        assert_eq!(on(&["wwan0"], "fe80::1"), Some("fe80::1%wwan0".into()));
        assert_eq!(on(&["wwan0", "wwan1"], "fe80::1"), None);
        assert_eq!(
            on(&["wwan0", "wwan1"], "192.0.2.1"),
            Some("192.0.2.1".into())
        );
        assert_eq!(on(&["br-wan"], "fe80::1%eth7"), Some("fe80::1%eth7".into()));
    }

    #[test]
    fn no_more_than_fit_into_a_rule() {
        let names: Vec<String> = (0..52).map(|n| format!("wan{n}")).collect();
        let devices = Devices::named(&names, Source::Configured, link);
        assert_eq!(devices.list.len(), 50);
        assert_eq!(
            devices.left_out,
            ["wan50 is one device more than 50: left out"]
        );
    }

    #[test]
    fn the_file_lies_beside_the_resolv_file() {
        let path = file(&Config::default());
        assert_eq!(path, Path::new("/var/gluon/wan-dnsmasq/devices"));
    }

    #[test]
    fn what_is_configured_counts_alone() {
        let mut config = Config::default();
        config.routing.devices = vec!["no-such-device".into()];
        let devices = find(&config).unwrap();
        assert_eq!(devices.names(), ["no-such-device"]);
        assert_eq!(devices.source, Source::Configured);
    }
}
