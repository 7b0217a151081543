//! Looks at everything and changes nothing. What cannot be seen stays a reason.

mod memory;
mod others;
pub mod ubus;
mod ways;

use std::fs;
use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::time::{Duration, Instant};

use nix::ifaddrs::{InterfaceAddress, getifaddrs};
use nix::net::if_::InterfaceFlags;
use nix::sys::socket::SockaddrStorage;

use super::facts::{
    Device, Facts, FoundGroup, Include, LinkState, Match, Resolver, Seen, Setup, Stopped,
    TableState,
};
use super::{neighbours, probe, process};
use crate::accounts;
use crate::config::{self, Config, Reading, STATIC_FILE};
use crate::log;
use crate::pulse;
use crate::redirect::{self, Counted, include};
use crate::resolver::servers;
use crate::routing;
use crate::wan;

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
        table: present_table(table.as_ref()),
        include: path.map(|path| include_file(path, table.as_ref())),
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
    let present: Vec<InterfaceAddress> = getifaddrs()
        .map_err(|errno| errno.desc().to_string())?
        .collect();
    let link = |name: &String| {
        let mut entries = present.iter().filter(|at| at.interface_name == *name);
        let flags = entries.clone().next()?.flags;
        let mut link = LinkState {
            up: flags.contains(InterfaceFlags::IFF_UP),
            carrier: flags.contains(InterfaceFlags::IFF_RUNNING),
            ..LinkState::default()
        };
        let addresses = entries.by_ref().filter_map(address);
        for (addr, len) in addresses {
            link.global.extend((!is_link_local(addr)).then_some(addr));
            link.addresses.push(format!("{addr}/{len}"));
        }
        Some(link)
    };
    let device = |name: &String| Device {
        name: name.clone(),
        link: link(name),
    };
    Ok(names.iter().map(device).collect())
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

/// None where no group exists.
fn wanted_table(
    groups: &[FoundGroup],
    config: &Config,
    devices: &[String],
) -> Option<redirect::Table> {
    let found = groups.iter().filter_map(|group| {
        let name = group.name.clone();
        let gid = group.gid.clone().ok().flatten()?;
        Some(redirect::Group { gid, name })
    });
    let found: Vec<redirect::Group> = found.collect();
    Some(redirect::Table::new(found, config, devices))
}

fn present_table(wanted: Option<&redirect::Table>) -> Seen<TableState> {
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
        state: match wanted.is_some_and(|table| present.is(table)) {
            true => Match::Equal,
            false => Match::Different,
        },
        redirected: present.redirected,
        stopped,
        growth: memory::growth(stopped),
    })
}

fn include_file(path: &Path, wanted: Option<&redirect::Table>) -> Include {
    // Not through a link, and without waiting for the other end of a FIFO.
    let state = match fs::symlink_metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Match::Absent),
        Err(error) => Err(error.to_string()),
        Ok(meta) if !meta.is_file() => Ok(Match::Different),
        Ok(_) => fs::read(path)
            .map(|content| {
                match wanted.is_some_and(|table| content == include::text(table).as_bytes()) {
                    true => Match::Equal,
                    false => Match::Different,
                }
            })
            .map_err(|error| error.to_string()),
    };
    Include {
        path: path.to_owned(),
        state,
        linked: Path::new(FW4).exists().then(|| is_linked(path)),
    }
}

/// Whether something that fw4 loads is a link to `path`.
fn is_linked(path: &Path) -> bool {
    let Ok(entries) = fs::read_dir(RULESET_POST) else {
        return false;
    };
    entries.flatten().any(|entry| {
        let link = entry.path();
        let same = || Some(fs::canonicalize(&link).ok()? == fs::canonicalize(path).ok()?);
        link.extension().is_some_and(|end| end == "nft")
            && (fs::read_link(&link).is_ok_and(|target| target == path) || same() == Some(true))
    })
}

/// The servers that the resolver says it has, else those that it would have.
fn known_servers(config: &Config, resolver: &Resolver) -> Vec<config::Server> {
    match &resolver.servers {
        Some(Ok(said)) => said
            .iter()
            .filter_map(|one| one.server.parse().ok())
            .collect(),
        _ => servers::in_force(config).map_or_else(|_| Vec::new(), |(servers, _)| servers),
    }
}

fn watch_unseen(error: std::io::Error) -> String {
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
