//! Sockets: those towards servers carry the mark, those towards clients are on
//! the loopback device only.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6, TcpListener, UdpSocket};

use socket2::{Domain, Protocol, SockAddr, SockFilter, SockRef, Socket, Type};

use crate::config::Server;

/// TCP connections that may wait to be accepted. Each costs the kernel some hundred
/// bytes; more than that, and a client waits for a second before it knocks again.
const BACKLOG: i32 = 128;

/// The address of a server. For a link-local one the index of its device is
/// looked up, which changes when the device is made again.
///
/// # Errors
/// There is no such device now.
pub fn address(server: &Server) -> io::Result<SocketAddr> {
    match (server.addr, &server.device) {
        (IpAddr::V6(addr), Some(device)) => {
            let scope = nix::net::if_::if_nametoindex(device.as_str())?;
            Ok(SocketAddrV6::new(addr, server.port, 0, scope).into())
        }
        (addr, _) => Ok(SocketAddr::new(addr, server.port)),
    }
}

/// A UDP socket towards a server: marked, at a `port` of its own, then connected,
/// so that route and source address are those of the mark, only this server can
/// answer, and ICMP errors reach us. It takes what comes in through `devices`,
/// where these are known. Port 0 lets the kernel choose one.
///
/// # Errors
/// The port is taken (EADDRINUSE) or may not be had (EACCES), no route, no privilege for the mark, no
/// descriptors.
pub fn udp(to: SocketAddr, port: u16, mark: u32, devices: Option<&[u32]>) -> io::Result<UdpSocket> {
    let socket = marked(to, Type::DGRAM, Protocol::UDP, mark)?;
    if let Some(devices) = devices {
        socket.attach_filter(&coming_from(devices, Some(to)))?;
    }
    let any = match to {
        SocketAddr::V4(_) => SocketAddr::from((Ipv4Addr::UNSPECIFIED, port)),
        SocketAddr::V6(_) => SocketAddr::from((Ipv6Addr::UNSPECIFIED, port)),
    };
    socket.bind(&any.into())?;
    socket.connect(&to.into())?;
    Ok(socket.into())
}

/// Lets an open socket take what comes in through other devices than before.
///
/// # Errors
/// No memory.
pub fn filter_by_device(socket: &UdpSocket, devices: Option<&[u32]>) -> io::Result<()> {
    let socket = SockRef::from(socket);
    match devices {
        Some(devices) => {
            let server = socket.peer_addr()?.as_socket();
            socket.attach_filter(&coming_from(devices, server))
        }
        None => match socket.detach_filter() {
            // There was none.
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(()),
            outcome => outcome,
        },
    }
}

/// A TCP socket towards a server: marked, not yet connected. A reply that comes in
/// through another device is no danger here: it would have to know sequence
/// numbers that only the server has seen.
///
/// # Errors
/// No privilege for the mark, no descriptors.
pub fn tcp(to: SocketAddr, mark: u32) -> io::Result<Socket> {
    marked(to, Type::STREAM, Protocol::TCP, mark)
}

fn marked(to: SocketAddr, kind: Type, protocol: Protocol, mark: u32) -> io::Result<Socket> {
    let kind = kind.nonblocking().cloexec();
    let socket = Socket::new(Domain::for_address(to), kind, Some(protocol))?;
    socket.set_mark(mark)?;
    Ok(socket)
}

/// Tries to mark a socket, and reads the mark back.
///
/// # Errors
/// EPERM without the capability; another error where the kernel took the mark
/// and did not keep it.
pub fn probe_mark(mark: u32) -> io::Result<()> {
    let socket = Socket::new(Domain::IPV4, Type::DGRAM.cloexec(), Some(Protocol::UDP))?;
    socket.set_mark(mark)?;
    match socket.mark()? {
        held if held == mark => Ok(()),
        held => Err(io::Error::other(format!(
            "the kernel holds {held:#x} in its place"
        ))),
    }
}

/// A UDP socket for clients.
///
/// # Errors
/// The address or port is taken, or not there.
pub fn listen_udp(on: SocketAddr) -> io::Result<UdpSocket> {
    Ok(loopback(on, Type::DGRAM, Protocol::UDP)?.into())
}

/// A TCP socket for clients.
///
/// # Errors
/// The address or port is taken, or not there.
pub fn listen_tcp(on: SocketAddr) -> io::Result<TcpListener> {
    let socket = loopback(on, Type::STREAM, Protocol::TCP)?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// For what has come in through the loopback device only, not just to its
/// address: a redirected query has any local address as its source, while no
/// other machine's packet comes in through `lo`, whatever route_localnet says or
/// a DNAT rule does.
///
/// Binding to the device would do for IPv4. For IPv6 it would also bind the
/// answers to it, and the kernel finds no way through `lo` to an address of
/// another device.
///
/// Where the address is not there yet, or no longer, the socket waits for it: at
/// boot and in a gluon-reload `lo` is down for a while.
fn loopback(on: SocketAddr, kind: Type, protocol: Protocol) -> io::Result<Socket> {
    let kind = kind.nonblocking().cloexec();
    let socket = Socket::new(Domain::for_address(on), kind, Some(protocol))?;
    if on.is_ipv6() {
        socket.set_only_v6(true)?;
        socket.set_freebind_v6(true)?;
    } else {
        socket.set_freebind_v4(true)?;
    }
    if protocol == Protocol::TCP {
        socket.set_reuse_address(true)?;
    }
    socket.attach_filter(&coming_from(&[], None))?;
    socket.bind(&SockAddr::from(on))?;
    Ok(socket)
}

/// Classic BPF (linux/filter.h): takes a packet whole when it came in through
/// `lo`, where no other machine's can, or through one of `devices` (indices), or
/// through the one that a link-local `server` is local to; else nothing of it.
fn coming_from(devices: &[u32], server: Option<SocketAddr>) -> Vec<SockFilter> {
    /// BPF_LD | BPF_W | BPF_ABS of SKF_AD_OFF + SKF_AD_IFINDEX.
    const LOAD: u16 = 0x20;
    const DEVICE: u32 = (-0x1000_i32 + 8) as u32;
    /// BPF_JMP | BPF_JEQ | BPF_K.
    const JUMP_IF_EQUAL: u16 = 0x15;
    /// LOOPBACK_IFINDEX (net/net_namespace.h): the same in every namespace.
    const LOOPBACK: u32 = 1;
    /// BPF_RET | BPF_K: so many bytes.
    const RETURN: u16 = 0x06;
    let scope = match server {
        Some(SocketAddr::V6(server)) => server.scope_id(),
        _ => 0,
    };
    let mut program = vec![SockFilter::new(LOAD, 0, 0, DEVICE)];
    // From the last to the first: each jumps over those before it.
    for (over, &device) in (1..=u8::MAX).zip([LOOPBACK, scope].iter().chain(devices)) {
        program.insert(1, SockFilter::new(JUMP_IF_EQUAL, over, 0, device));
    }
    program.push(SockFilter::new(RETURN, 0, 0, 0));
    program.push(SockFilter::new(RETURN, 0, 0, u32::MAX));
    program
}
