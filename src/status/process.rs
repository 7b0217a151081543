//! Who holds a socket, and whether it may mark what it sends. From /proc, so
//! that it holds for whatever program has the port.

use std::ffi::OsStr;
use std::fs;
use std::io::{self, ErrorKind};
use std::net::{IpAddr, SocketAddr};
use std::path::Path;

use super::facts::{Process, Seen};
use crate::input::entries;

/// CAP_NET_ADMIN and CAP_NET_RAW (linux/capability.h). Before Linux 5.17 the
/// latter is not enough; our resolver tries it out when it starts.
const MARKING: u64 = 1 << 12 | 1 << 13;
/// In lines of /proc/net/udp: the own address, and the socket's inode.
const LOCAL: usize = 1;
const INODE: usize = 9;

/// The process with the UDP socket bound to `addr`.
pub fn holder(addr: SocketAddr) -> Seen<Process> {
    let table = match addr {
        SocketAddr::V4(_) => "/proc/net/udp",
        SocketAddr::V6(_) => "/proc/net/udp6",
    };
    let sockets = fs::read_to_string(table).map_err(|error| format!("{table}: {error}"))?;
    let inode = inode(&sockets, addr).ok_or_else(|| format!("{addr} is not in {table}"))?;
    let wanted = format!("socket:[{inode}]");
    let mut denied = false;
    for process in entries(Path::new("/proc")).map_err(|error| error.to_string())? {
        let name = process.file_name().and_then(OsStr::to_str);
        let Some(pid) = name.and_then(|name| name.parse().ok()) else {
            continue;
        };
        match has_open(&process, &wanted) {
            Ok(true) => return describe(pid, &process),
            Ok(false) => {}
            Err(error) => denied |= error.kind() == ErrorKind::PermissionDenied,
        }
    }
    Err(match denied {
        true => "which process it is, only root can see".into(),
        false => "no process has its socket".into(),
    })
}

/// As /proc/net/udp writes it: 32 bits at a time, as the machine reads them.
fn written(addr: SocketAddr) -> String {
    let octets = match addr.ip() {
        IpAddr::V4(addr) => addr.octets().to_vec(),
        IpAddr::V6(addr) => addr.octets().to_vec(),
    };
    let mut hex = String::new();
    for word in octets.as_chunks().0 {
        hex += &format!("{:08X}", u32::from_ne_bytes(*word));
    }
    format!("{hex}:{:04X}", addr.port())
}

fn inode(sockets: &str, addr: SocketAddr) -> Option<&str> {
    let wanted = written(addr);
    let mut lines = sockets.lines().map(|line| line.split_ascii_whitespace());
    let found = lines.find(|words| words.clone().nth(LOCAL) == Some(wanted.as_str()));
    found?.nth(INODE)
}

fn has_open(process: &Path, socket: &str) -> io::Result<bool> {
    for fd in entries(&process.join("fd"))? {
        if fs::read_link(fd).is_ok_and(|to| to.as_os_str() == socket) {
            return Ok(true);
        }
    }
    Ok(false)
}

fn describe(pid: u32, process: &Path) -> Seen<Process> {
    let status = process.join("status");
    let text = fs::read_to_string(&status).map_err(|error| error.to_string())?;
    let field = |name: &str| {
        let mut lines = text.lines();
        let value = lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        value.map(str::trim)
    };
    let capabilities = field("CapEff").and_then(|hex| u64::from_str_radix(hex, 16).ok());
    let capabilities = capabilities.ok_or_else(|| format!("{}: no CapEff", status.display()))?;
    // Real, effective, saved, of the file system: the socket's is the effective.
    let uid = field("Uid").and_then(|ids| ids.split_ascii_whitespace().nth(1)?.parse().ok());
    Ok(Process {
        pid,
        uid: uid.ok_or_else(|| format!("{}: no Uid", status.display()))?,
        name: field("Name").unwrap_or("?").into(),
        may_mark: capabilities & MARKING != 0,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::UdpSocket;

    #[test]
    fn a_socket_is_found_by_its_address() {
        let sockets = format!(
            "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref\n\
             1: {} 00000000:0000 07 00000000:00000000 00:00000000 00000000  0 0 4711 2 0000000000000000 0\n",
            written("127.0.0.1:54".parse().unwrap())
        );
        assert_eq!(
            inode(&sockets, "127.0.0.1:54".parse().unwrap()),
            Some("4711")
        );
        assert_eq!(inode(&sockets, "127.0.0.1:53".parse().unwrap()), None);
    }

    #[test]
    fn this_process_holds_its_own_socket() {
        for addr in ["127.0.0.1:0", "[::1]:0"] {
            let Ok(socket) = UdpSocket::bind(addr) else {
                continue;
            };
            let holder = holder(socket.local_addr().unwrap()).unwrap();
            assert_eq!(holder.pid, std::process::id());
        }
    }
}
