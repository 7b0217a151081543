//! How a DNS server is written: in `list server` and in the resolv file.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

/// The port of DNS (RFC 1035, section 4.2).
pub const DNS_PORT: u16 = 53;

/// An upstream server: an address, a port and, for link-local addresses, the
/// device they are local to.
///
/// Written as `ADDR`, `ADDR#PORT`, `[ADDR]:PORT`, each with `%DEVICE` behind the
/// address where it is link-local.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Server {
    /// The address. Unicast, never the unspecified one.
    pub addr: IpAddr,
    /// The Linux device of a link-local address. Kept by name: the index
    /// changes when the device is made again.
    pub device: Option<String>,
    /// The port, 53 if none is written.
    pub port: u16,
}

/// What [`Server::from_str`] takes, for messages.
pub const SERVER_SYNTAX: &str = "the address of a DNS server, as 192.0.2.1, 2001:db8::1, \
     fe80::1%br-wan, 192.0.2.1#5353 or [2001:db8::1]:5353";

/// Why a text is not a [`Server`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ServerError {
    /// Not an address, port or device name.
    #[error("{SERVER_SYNTAX}")]
    Syntax,
    /// fe80::/10 without the device it is local to.
    #[error("a link-local address with its device, as fe80::1%br-wan")]
    NoDevice,
    /// `%device` behind an address that is not link-local.
    #[error("no %device behind an address that is not link-local (fe80::/10)")]
    NeedlessDevice,
    /// An address that no server can have.
    #[error("a unicast address, not the unspecified one, a multicast one or the broadcast one")]
    NotUnicast,
}

impl FromStr for Server {
    type Err = ServerError;

    fn from_str(text: &str) -> Result<Self, ServerError> {
        match Self::without_device(text)? {
            server if server.needs_device() => Err(ServerError::NoDevice),
            server => Ok(server),
        }
    }
}

impl Server {
    /// As [`Server::from_str`], but a link-local address may stand alone: who uses it
    /// has to know the device.
    ///
    /// # Errors
    /// Any but [`ServerError::NoDevice`].
    pub fn without_device(text: &str) -> Result<Self, ServerError> {
        let (host, port) = split_port(text)?;
        let (addr, device) = match host.split_once('%') {
            Some((addr, device)) if is_device_name(device) => (addr, Some(device.to_owned())),
            Some(_) => return Err(ServerError::Syntax),
            None => (host, None),
        };
        let addr: IpAddr = addr.parse().map_err(|_| ServerError::Syntax)?;
        // ::ffff:192.0.2.1 is 192.0.2.1 to the kernel (RFC 4291, section 2.5.5.2).
        let addr = addr.to_canonical();
        let link_local = matches!(addr, IpAddr::V6(addr) if addr.is_unicast_link_local());
        if addr.is_unspecified() || addr.is_multicast() || is_broadcast(addr) {
            return Err(ServerError::NotUnicast);
        }
        match (link_local, &device) {
            (false, Some(_)) => Err(ServerError::NeedlessDevice),
            _ => Ok(Self { addr, device, port }),
        }
    }

    /// Whether it is a link-local address that stands alone.
    #[must_use]
    pub fn needs_device(&self) -> bool {
        let link_local = matches!(self.addr, IpAddr::V6(addr) if addr.is_unicast_link_local());
        link_local && self.device.is_none()
    }
}

fn split_port(text: &str) -> Result<(&str, u16), ServerError> {
    let split = match text.strip_prefix('[') {
        Some(rest) => match rest.split_once(']').ok_or(ServerError::Syntax)? {
            (host, "") => (host, None),
            (host, port) => (
                host,
                Some(port.strip_prefix(':').ok_or(ServerError::Syntax)?),
            ),
        },
        None => match text.split_once('#') {
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        },
    };
    match split {
        (host, None) => Ok((host, DNS_PORT)),
        (host, Some(port)) => match super::number(port).map(u16::try_from) {
            Some(Ok(port)) if port != 0 => Ok((host, port)),
            _ => Err(ServerError::Syntax),
        },
    }
}

fn is_broadcast(addr: IpAddr) -> bool {
    matches!(addr, IpAddr::V4(addr) if addr.is_broadcast())
}

/// Whether the kernel would take `name` for a network device (`dev_valid_name`
/// in net/core/dev.c: 1 to 15 bytes, no slash, colon or blank, not `.` or `..`).
#[must_use]
pub fn is_device_name(name: &str) -> bool {
    (1..=15).contains(&name.len())
        && name != "."
        && name != ".."
        // 0xa0 is a blank to the kernel.
        && !name
            .bytes()
            .any(|b| matches!(b, b'/' | b':' | b' ' | b'\t'..=b'\r' | 0xa0 | 0))
}

/// Whether it can also stand in nft's language, where a quote or backslash would
/// end the name and an asterisk stand for others.
#[must_use]
pub fn is_plain_device_name(name: &str) -> bool {
    is_device_name(name) && !name.contains(['"', '*', '\\'])
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { addr, device, port } = self;
        match device {
            // The kernel takes `#` in a name, where it would start the port.
            Some(device) if device.contains('#') => return write!(f, "[{addr}%{device}]:{port}"),
            Some(device) => write!(f, "{addr}%{device}")?,
            None => write!(f, "{addr}")?,
        }
        // dnsmasq's spelling, which `servers.bind` uses too.
        if *port == DNS_PORT {
            Ok(())
        } else {
            write!(f, "#{port}")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_spelling() {
        for (text, shown) in [
            ("192.0.2.1", "192.0.2.1"),
            ("192.0.2.1#53", "192.0.2.1"),
            ("192.0.2.1#5353", "192.0.2.1#5353"),
            ("[192.0.2.1]:5353", "192.0.2.1#5353"),
            ("2001:db8::1", "2001:db8::1"),
            ("[2001:db8::1]", "2001:db8::1"),
            ("[2001:DB8:0::1]:5353", "2001:db8::1#5353"),
            ("fe80::1%br-wan", "fe80::1%br-wan"),
            ("fe80::1%br-wan#54", "fe80::1%br-wan#54"),
            ("[fe80::1%br-wan]:54", "fe80::1%br-wan#54"),
            ("[fe80::1%br#wan]", "[fe80::1%br#wan]:53"),
            ("127.0.0.1#5300", "127.0.0.1#5300"),
            ("::ffff:192.0.2.1", "192.0.2.1"),
            ("[::ffff:c000:201]:54", "192.0.2.1#54"),
        ] {
            assert_eq!(text.parse::<Server>().unwrap().to_string(), shown);
            assert_eq!(shown.parse::<Server>().unwrap().to_string(), shown);
        }
    }

    #[test]
    fn what_is_refused() {
        use ServerError::{NeedlessDevice, NoDevice, NotUnicast, Syntax};
        for (text, error) in [
            ("", Syntax),
            ("dns.example.org", Syntax),
            ("192.0.2", Syntax),
            ("192.0.2.256", Syntax),
            ("192.0.2.1#", Syntax),
            ("192.0.2.1#0", Syntax),
            ("192.0.2.1#65536", Syntax),
            ("192.0.2.1#+5", Syntax),
            ("192.0.2.1:53", Syntax),
            ("[2001:db8::1", Syntax),
            ("[2001:db8::1]53", Syntax),
            ("[2001:db8::1]:", Syntax),
            ("fe80::1", NoDevice),
            ("fe80::1%", Syntax),
            ("fe80::1%a/b", Syntax),
            ("fe80::1%a\x0bb", Syntax),
            ("fe80::1%\u{e0}", Syntax),
            ("fe80::1%interface-name-16", Syntax),
            ("2001:db8::1%br-wan", NeedlessDevice),
            ("0.0.0.0", NotUnicast),
            ("::", NotUnicast),
            ("::ffff:0.0.0.0", NotUnicast),
            ("::ffff:224.0.0.1", NotUnicast),
            ("224.0.0.1", NotUnicast),
            ("ff02::fb", NotUnicast),
            ("255.255.255.255", NotUnicast),
        ] {
            assert_eq!(text.parse::<Server>(), Err(error), "{text:?}");
        }
    }
}
