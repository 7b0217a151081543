//! One value of each option: what it may be, and what to say when it is not.

use std::net::IpAddr;
use std::path::PathBuf;

use super::{Config, Group, Mark, Server, is_plain_device_name, number};

/// Tables of the kernel's own: unspec, default, main, local (RT_TABLE_* of
/// linux/rtnetlink.h).
const KERNEL_TABLES: [u32; 4] = [0, 253, 254, 255];
/// The priority of the kernel's rule for `main`.
const MAIN_PRIORITY: u32 = 32766;
/// The largest (u32)-1 means "no group" to setgid and chown.
const NO_GID: u32 = u32::MAX;
/// What max_inflight may be: each open query costs memory, and every one needs
/// an id of 16 bits that cannot be guessed.
const MAX_INFLIGHT: u64 = 4096;
/// How long a path may be: with what is put behind it while the file is made, its
/// last part is still a name (NAME_MAX of linux/limits.h is 255).
const MAX_PATH: usize = 240;

/// `Ok` where the value is what it must be.
fn check<T>(ok: bool, value: T, expected: &str) -> Result<T, String> {
    if ok {
        Ok(value)
    } else {
        Err(format!("expected {expected}"))
    }
}

fn ranged(text: &str, min: u64, max: u64, what: &str) -> Result<u64, String> {
    number(text)
        .filter(|n| (min..=max).contains(n))
        .ok_or_else(|| format!("expected {what} from {min} to {max}"))
}

fn ranged_u32(text: &str, min: u32, max: u32, what: &str) -> Result<u32, String> {
    ranged(text, min.into(), max.into(), what).map(|n| u32::try_from(n).unwrap_or(max))
}

/// `list group`: digits only are a number.
pub fn group(text: &str) -> Result<Group, String> {
    if text.bytes().all(|byte| byte.is_ascii_digit()) && !text.is_empty() {
        let what = "a group by name, or by number (0 is root's own and never redirected)";
        return ranged_u32(text, 1, NO_GID - 1, what).map(Group::Id);
    }
    check(
        is_account_name(text),
        Group::Name(text.into()),
        "the name or number of a group",
    )
}

/// `option user`.
pub fn user(text: &str) -> Result<String, String> {
    check(is_account_name(text), text.into(), "the name of a user")
}

/// What can stand in a line of /etc/passwd or /etc/group as a name.
fn is_account_name(text: &str) -> bool {
    !text.is_empty()
        && !text.starts_with('-')
        && text
            .bytes()
            .all(|b| b.is_ascii_graphic() && !b":,/#\"'\\".contains(&b))
}

/// `list device`.
pub fn device(text: &str) -> Result<String, String> {
    let expected = "the name of a network device: 1 to 15 characters, since nftables knows no longer \
                    ones, no blank, slash, colon, quote, asterisk or backslash";
    check(is_plain_device_name(text), text.into(), expected)
}

/// What `list family` says.
#[derive(PartialEq)]
pub enum Family {
    /// `ipv4`.
    Ipv4,
    /// `ipv6`.
    Ipv6,
}

/// `list family`.
pub fn family(text: &str) -> Result<Family, String> {
    match text {
        "ipv4" => Ok(Family::Ipv4),
        "ipv6" => Ok(Family::Ipv6),
        _ => Err("expected ipv4 or ipv6".into()),
    }
}

/// `option mark`, as netifd and iproute2 read it: without a mask, all bits count.
pub fn mark(text: &str) -> Result<Mark, String> {
    let (value, mask) = text.split_once('/').unwrap_or((text, "0xffffffff"));
    let parse = |text| number(text).and_then(|n| u32::try_from(n).ok());
    parse(value)
        .zip(parse(mask))
        .map(|(value, mask)| Mark { value, mask })
        .filter(|mark| mark.value != 0 && mark.value & !mark.mask == 0)
        .ok_or_else(|| {
            "expected VALUE/MASK, as 0x1/0x1, the value not 0 and within the mask".into()
        })
}

/// `option table`.
pub fn table(text: &str) -> Result<u32, String> {
    let what = "the number of a routing table of our own (not 253 default, 254 main, 255 local)";
    let table = ranged_u32(text, 1, u32::MAX, what)?;
    check(!KERNEL_TABLES.contains(&table), table, what)
}

/// `option priority`.
pub fn priority(text: &str) -> Result<u32, String> {
    ranged_u32(
        text,
        1,
        MAIN_PRIORITY - 1,
        "a priority before the rule for main (32766),",
    )
}

/// `list listen`.
pub fn listen(text: &str) -> Result<IpAddr, String> {
    let expected = "127.0.0.1 or ::1, where the redirect leads to";
    match text.parse::<IpAddr>() {
        Ok(addr) => check(
            Config::default().resolver.listen.contains(&addr),
            addr,
            expected,
        ),
        Err(_) => Err(format!("expected {expected}")),
    }
}

/// `option port`.
pub fn port(text: &str) -> Result<u16, String> {
    ranged(text, 1, u16::MAX.into(), "a port").map(|n| u16::try_from(n).unwrap_or(u16::MAX))
}

/// `option max_inflight`.
pub fn max_inflight(text: &str) -> Result<usize, String> {
    ranged(text, 1, MAX_INFLIGHT, "a number").map(|n| usize::try_from(n).unwrap_or(usize::MAX))
}

/// `option include`: empty writes none.
pub fn include(text: &str) -> Result<Option<PathBuf>, String> {
    match text {
        "" => Ok(None),
        path => absolute(path).map(Some),
    }
}

/// `option resolv_file`, and every path.
pub fn absolute(text: &str) -> Result<PathBuf, String> {
    let path = PathBuf::from(text);
    // Path takes `/a/` and `/a/.` for a file `a`; the kernel does not.
    let is_file = path
        .file_name()
        .is_some_and(|name| text.ends_with(&*name.to_string_lossy()));
    let ok = path.is_absolute() && is_file && !text.contains(['\n', '\0']);
    let what = format!("the absolute path of a file, {MAX_PATH} characters at most");
    check(ok && text.len() <= MAX_PATH, path, &what)
}

/// `list server`. Gluon's web form takes link-local addresses without a device.
pub fn server(text: &str) -> Result<Server, String> {
    Server::without_device(text).map_err(|error| format!("expected {error}"))
}
