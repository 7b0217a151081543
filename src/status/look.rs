//! Looks at everything and changes nothing. What cannot be seen stays a reason.

mod memory;
mod others;
pub mod ubus;
mod ways;

use std::fs;
use std::io::{self, ErrorKind};
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::ifaddrs::{InterfaceAddress, getifaddrs};
use nix::net::if_::InterfaceFlags;
use nix::sys::socket::SockaddrStorage;

use super::facts::{
    Device, Facts, FoundGroup, Include, Match, Resolver, Seen, Setup, Stopped, TableState,
};
use super::{neighbours, probe, process};
use crate::accounts;
use crate::config::{self, Config, Reading, STATIC_FILE};
use crate::redirect::{self, Counted, include};
use crate::resolver::servers;
use crate::routing;
use crate::wan;
use crate::{input, log, pulse};

/// Where there is this, fw4 is the firewall.
const FW4: &str = "/sbin/fw4";
/// What fw4 loads with its ruleset.
const RULESET_POST: &str = "/usr/share/nftables.d/ruleset-post";

/// What all questions together may take, of the second that `status` has.
const TIME: Duration = Duration::from_millis(900);

/// Everything, within a second even where nothing answers.
pub fn gather(config_dir: &Path, reading: &Reading) -> Facts {
    let config = &reading.config;
    let groups: Vec<FoundGroup> = config.redirect.groups.iter().map(group).collect();
    let found = wan::find(config).map_err(|error| log::chain(&error));
    let setup = setup(reading, found.as_ref().map_or(&[], |one| &one.left_out));
    let names = found.map(|devices| devices.names());
    let names_seen = names.as_deref().unwrap_or_default();
    let table = wanted_table(&groups, config, names_seen);
    let path = config.redirect.include.as_deref();
    let until = Instant::now() + TIME;
    let resolver = resolver(config_dir, config);
    // Who waited for a resolver that hangs does not wait as long for netifd as well.
    let netifd = ubus::interfaces(until);
    let leaks = neighbours::leaks(config_dir, config, names_seen, netifd);
    let devices = names.as_deref().map_err(Clone::clone).and_then(devices);
    let servers = known_servers(config, &resolver);
    let process = resolver.process.as_ref();
    let uid = process.and_then(|one| Some(one.as_ref().ok()?.uid));
    let gid = groups.iter().find_map(|group| group.gid.clone().ok()?);
    let device = names_seen.first().map(String::as_str);
    Facts {
        setup,
        ways: ways::ways(
            &config.routing,
            devices.as_deref().unwrap_or_default(),
            &servers,
            uid,
        ),
        others: others::others(config, device, &servers, gid, uid),
        watch: pulse::watch().map_err(watch_unseen),
        devices,
        port: config.resolver.port,
        table: present_table(&table),
        include: path.map(|path| include_file(path, &table)),
        groups,
        routing: routing::difference(&config.routing, names_seen)
            .map_err(|error| log::chain(&error)),
        resolver,
        leaks,
    }
}

fn setup(reading: &Reading, devices_left_out: &[String]) -> Setup {
    let config = &reading.config;
    let words = |errors: &[config::Error]| errors.iter().map(|error| log::chain(error)).collect();
    let mut left_out: Vec<String> = words(&reading.left_out);
    left_out.extend_from_slice(devices_left_out);
    if let Ok((_, remarks)) = servers::in_force(config) {
        left_out.extend(remarks);
    }
    let account = accounts::resolver(config).map_err(|error| error.to_string());
    let own = account
        .as_ref()
        .ok()
        .and_then(|account| Some(account.as_ref()?.gid));
    let own_group = own.and_then(|gid| accounts::redirected(config, gid).ok()?);
    Setup {
        refused: words(&reading.refused),
        left_out,
        wanted_user: config.resolver.user.clone(),
        own_group: own_group.map(ToString::to_string),
        user: account.map(|account| account.map(|account| account.name)),
    }
}

fn devices(names: &[String]) -> Seen<Vec<Device>> {
    let mut devices = Vec::new();
    for name in names {
        let (name, link) = (name.clone(), None);
        devices.push(Device { name, link });
    }
    for entry in getifaddrs().map_err(|errno| errno.desc().to_string())? {
        for device in &mut devices {
            if device.name == entry.interface_name {
                let link = device.link.get_or_insert_default();
                link.up = entry.flags.contains(InterfaceFlags::IFF_UP);
                link.carrier = entry.flags.contains(InterfaceFlags::IFF_RUNNING);
                if let Some((addr, len)) = address(&entry) {
                    link.global.extend((!is_link_local(addr)).then_some(addr));
                    link.addresses.push(format!("{addr}/{len}"));
                }
            }
        }
    }
    Ok(devices)
}

fn address(entry: &InterfaceAddress) -> Option<(IpAddr, u32)> {
    let addr = ip(entry.address.as_ref()?)?;
    let len = match ip(entry.netmask.as_ref()?)? {
        IpAddr::V4(mask) => u32::from(mask).count_ones(),
        IpAddr::V6(mask) => u128::from(mask).count_ones(),
    };
    Some((addr, len))
}

fn ip(addr: &SockaddrStorage) -> Option<IpAddr> {
    let v4 = addr.as_sockaddr_in().map(|addr| addr.ip().into());
    v4.or_else(|| addr.as_sockaddr_in6().map(|addr| addr.ip().into()))
}

fn is_link_local(addr: IpAddr) -> bool {
    match addr {
        IpAddr::V4(addr) => addr.is_link_local(),
        IpAddr::V6(addr) => addr.is_unicast_link_local(),
    }
}

fn group(group: &config::Group) -> FoundGroup {
    FoundGroup {
        name: group.to_string(),
        gid: redirect::gid(group).map_err(|error| log::chain(&error)),
    }
}

fn wanted_table(groups: &[FoundGroup], config: &Config, devices: &[String]) -> redirect::Table {
    let mut found = Vec::new();
    for FoundGroup { name, gid } in groups {
        if let Ok(Some(gid)) = *gid {
            let name = name.clone();
            found.push(redirect::Group { gid, name });
        }
    }
    redirect::Table::new(found, config, devices)
}

fn present_table(wanted: &redirect::Table) -> Seen<TableState> {
    let present = redirect::Reconciler::open()
        .and_then(|mut reconciler| reconciler.present())
        .map_err(|error| log::chain(&error))?;
    let Some(present) = present else {
        return Ok(TableState {
            state: Match::Absent,
            redirected: Counted::default(),
            stopped: Stopped::default(),
            growth: None,
        });
    };
    let stopped = Stopped {
        marked: present.stopped.packets,
        unredirected: present.unredirected.packets,
        unmarked: present.unmarked.packets,
    };
    Ok(TableState {
        state: match present.is(wanted) {
            true => Match::Equal,
            false => Match::Different,
        },
        redirected: present.redirected,
        stopped,
        growth: memory::growth(stopped),
    })
}

fn include_file(path: &Path, wanted: &redirect::Table) -> Include {
    let is_wanted = || -> io::Result<bool> {
        // Not through a link, and without waiting for the other end of a FIFO.
        let is_file = fs::symlink_metadata(path)?.is_file();
        Ok(is_file && fs::read(path)? == include::text(wanted).as_bytes())
    };
    let state = match is_wanted() {
        Ok(true) => Ok(Match::Equal),
        Ok(false) => Ok(Match::Different),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Match::Absent),
        Err(error) => Err(error.to_string()),
    };
    Include {
        path: path.to_owned(),
        state,
        linked: Path::new(FW4).exists().then(|| is_linked(path)),
    }
}

/// Whether something that fw4 loads is a link to `path`.
fn is_linked(path: &Path) -> bool {
    let real = fs::canonicalize(path).ok();
    let leads_there = |link: &PathBuf| {
        link.extension().is_some_and(|end| end == "nft")
            && (fs::read_link(link).is_ok_and(|target| target == path)
                || real.is_some() && fs::canonicalize(link).ok() == real)
    };
    let links = input::entries(Path::new(RULESET_POST)).unwrap_or_default();
    links.iter().any(leads_there)
}

/// The servers that the resolver says it has, else those that it would have.
fn known_servers(config: &Config, resolver: &Resolver) -> Vec<config::Server> {
    let Some(Ok(said)) = &resolver.servers else {
        return servers::in_force(config).map_or_else(|_| Vec::new(), |(servers, _)| servers);
    };
    let mut known = Vec::new();
    for one in said {
        known.extend(one.server.parse());
    }
    known
}

fn watch_unseen(error: io::Error) -> String {
    match error.kind() {
        ErrorKind::PermissionDenied => "only root can see it".into(),
        _ => error.to_string(),
    }
}

fn resolver(config_dir: &Path, config: &Config) -> Resolver {
    let deadline = Instant::now() + probe::TIME;
    let Config { resolver, .. } = config;
    let addrs = resolver.listen.iter();
    let addrs: Vec<SocketAddr> = addrs
        .map(|&addr| SocketAddr::new(addr, resolver.port))
        .collect();
    let listeners = probe::listeners(&addrs, deadline);
    let answering = listeners.iter().find(|one| one.answers());
    let ours = listeners.iter().find(|one| one.is_ours());
    Resolver {
        process: answering.map(|one| process::holder(one.addr)),
        servers: ours.map(|one| probe::servers(one.addr, deadline)),
        listeners,
        source: match config.static_servers.as_slice() {
            [] => resolver.resolv_file.clone(),
            _ => config_dir.join(STATIC_FILE),
        },
        mark: config.routing.mark,
    }
}
