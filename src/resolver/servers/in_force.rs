//! The servers that count: which of those that are configured or announced can be
//! asked.

use std::io;

use super::resolv_file;
use crate::config::{Config, Resolver, Server};
use crate::resolver::local::{Kind, Local};
use crate::resolver::upstream::MAX_SERVERS;
use crate::wan;

/// The servers that count now, and remarks on what does not.
///
/// # Errors
/// The resolv file is there and cannot be read.
pub fn in_force(config: &Config) -> io::Result<(Vec<Server>, Vec<String>)> {
    let resolver = &config.resolver;
    let (mut servers, mut remarks) = match config.static_servers.as_slice() {
        [] => {
            let (mut servers, mut remarks) = resolv_file::read(&resolver.resolv_file)?;
            let local = Local::read().unwrap_or_else(|error| {
                remarks.push(format!("the node's own addresses are not known: {error}"));
                Local::default()
            });
            let index = |name: &str| nix::net::if_::if_nametoindex(name).ok();
            leave_out(&mut servers, &mut remarks, &|server| {
                unfit(server, &local, index)
            });
            (servers, remarks)
        }
        fixed => complete(fixed, config),
    };
    leave_out(&mut servers, &mut remarks, &|server| {
        is_ours(server, resolver).then_some("is this resolver itself")
    });
    if servers.len() > MAX_SERVERS {
        let count = servers.len();
        remarks.push(format!(
            "{count} servers are configured: the first {MAX_SERVERS} are used"
        ));
        servers.truncate(MAX_SERVERS);
    }
    Ok((servers, remarks))
}

/// The static servers. A link-local one that stands without its device is on the
/// WAN's, where the WAN has one.
fn complete(fixed: &[Server], config: &Config) -> (Vec<Server>, Vec<String>) {
    if !fixed.iter().any(Server::needs_device) {
        return (fixed.to_vec(), Vec::new());
    }
    let devices = wan::find(config).ok();
    let mut servers = Vec::new();
    let mut remarks = Vec::new();
    for server in fixed {
        match devices
            .as_ref()
            .and_then(|devices| devices.complete(server))
        {
            Some(complete) if servers.contains(&complete) => {}
            Some(complete) => servers.push(complete),
            None => remarks.push(format!(
                "the server {server} stands without its device, and the WAN has not just one: \
                 left out"
            )),
        }
    }
    (servers, remarks)
}

/// Takes the servers out that something is wrong with, and says what.
pub(super) fn leave_out(
    servers: &mut Vec<Server>,
    remarks: &mut Vec<String>,
    wrong: &dyn Fn(&Server) -> Option<&'static str>,
) {
    servers.retain(|server| {
        let reason = wrong(server);
        remarks.extend(reason.map(|reason| format!("the server {server} {reason}: left out")));
        reason.is_none()
    });
}

/// Why a server that was announced cannot be one. Where it is this node, another
/// resolver of it, the primary one most likely, would look the VPN's servers up in
/// the mesh. `index` knows the numbers of devices.
#[must_use]
pub(super) fn unfit(
    server: &Server,
    local: &Local,
    index: impl Fn(&str) -> Option<u32>,
) -> Option<&'static str> {
    let device = match server.device.as_deref().map(index) {
        // Without the device, it has no address either.
        Some(None) => return None,
        Some(device) => device,
        None => None,
    };
    match local.kind(server.addr, device)? {
        // What listens there has nobody else to ask.
        Kind::Own if server.addr.is_loopback() && local.is_alone() => None,
        Kind::Own => Some("is this node itself"),
        Kind::Broadcast => Some("is a broadcast address"),
    }
}

/// Whether it is where we listen: each query would be asked again.
fn is_ours(server: &Server, resolver: &Resolver) -> bool {
    server.port == resolver.port && resolver.listen.contains(&server.addr)
}
