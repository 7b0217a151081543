//! Broken resolv files: the good lines count, and nothing else does.

use std::net::IpAddr;

use gluon_wan::config::Server;
use gluon_wan::resolver::servers;
use gluon_wan::resolver::upstream::MAX_SERVERS;

use super::dice::Dice;
use crate::scratch::Scratch;

/// What servers stand in good lines: those of the lab in tests/broken.bats.
const SERVERS: [&str; 6] = [
    "10.9.0.1",
    "10.9.0.2",
    "2001:db8:9::1",
    "fe80::9:1%br-wan",
    "[2001:db8:9::2]:53",
    "10.9.0.3#53",
];
/// How much of a file is read.
const MAX_FILE: usize = 65_536;

/// One broken file.
pub struct Case {
    /// The fault.
    pub fault: &'static str,
    /// The file.
    pub bytes: Vec<u8>,
    /// Good lines; where one of them still stands, its server counts.
    good: Vec<Vec<u8>>,
}

/// Breaks a good file by the fault of this number.
pub fn case(number: usize, dice: &mut Dice) -> Case {
    let from = dice.below(SERVERS.len());
    let count = 1 + dice.below(SERVERS.len() - from);
    let good = SERVERS[from..from + count].iter();
    let good: Vec<Vec<u8>> = good
        .map(|server| format!("nameserver {server}").into())
        .collect();
    let mut lines = good.clone();
    for comment in ["# br-wan", "search lan", "options edns0", ""] {
        if dice.heads() {
            lines.insert(dice.below(lines.len() + 1), comment.into());
        }
    }
    let at = dice.below(lines.len() + 1);
    let odd = |line: &[u8]| line.to_vec();
    let mut more: Vec<Vec<u8>> = Vec::new();
    let mut before: &[u8] = b"";
    let fault = match number % 10 {
        0 => {
            more.push(odd(dice.pick(&BAD_LINES)));
            "bad line"
        }
        1 => {
            before = b"\xef\xbb\xbf";
            "byte order mark"
        }
        2 => {
            more.extend((0..2000 + dice.below(4000)).map(|_| odd(dice.pick(&BAD_LINES))));
            "many bad lines"
        }
        3 => {
            more.push(vec![
                *dice.pick(&[&b'x', &b' ', &b'#', &0]);
                dice.below(2 * MAX_FILE)
            ]);
            "long line"
        }
        4 => {
            more.extend((0..5000).map(|n| format!("nameserver 192.0.2.{}", n % 100).into()));
            "many servers"
        }
        5 => {
            lines.iter_mut().for_each(|line| line.push(b'\r'));
            "carriage returns"
        }
        6 => "cut off",
        7 => "byte changed",
        8 => "bytes changed",
        _ => "lines joined",
    };
    lines.splice(at..at, more);
    let mut bytes = [before, &lines.join(&b'\n'), b"\n"].concat();
    match fault {
        "cut off" => bytes.truncate(dice.below(bytes.len() + 1)),
        "byte changed" => *dice.pick_mut(&mut bytes) ^= 1 << dice.below(8),
        "bytes changed" => (0..5).for_each(|_| *dice.pick_mut(&mut bytes) = dice.byte()),
        "lines joined" => {
            *dice.pick_mut(&mut bytes) = *dice.pick(&[&b' ', &b'\n', &b'\r', &0, &b'#'])
        }
        _ => {}
    }
    Case { fault, bytes, good }
}

const BAD_LINES: [&[u8]; 18] = [
    b"nameserver",
    b"nameserver 10.9.0",
    b"nameserver 10.9.0.256",
    b"nameserver 10.9.0.1.",
    b"nameserver dns.example.org",
    b"nameserver $(reboot)",
    b"nameserver 10.9.0.66;10.9.0.67",
    b"nameserver 10.9.0.66,10.9.0.67",
    b"nameserver 10.9.0.66\0",
    b"nameserver 0.0.0.0",
    b"nameserver ::",
    b"nameserver ff02::fb",
    b"nameserver fe80::66",
    b"nameserver fe80::66%br\xffwan",
    b"nameserver 10.9.0.66#99999",
    b"nameserver=10.9.0.66",
    b"Nameserver 10.9.0.66",
    b"#nameserver 10.9.0.66",
];

/// Checks what is read of the file. Returns the servers in use, one a line, as
/// tests/broken/node.bash sees them.
pub fn check(case: &Case) -> String {
    let scratch = Scratch::new();
    let path = scratch.join("resolv.conf");
    std::fs::write(&path, &case.bytes).unwrap();
    let (servers, remarks) = servers::read(&path).unwrap();

    let whole = match case.bytes.get(..MAX_FILE) {
        Some(start) if case.bytes.len() > MAX_FILE => {
            assert!(
                remarks[0].contains("longer than 65536 bytes"),
                "{remarks:?}"
            );
            &start[..start.iter().rposition(|&byte| byte == b'\n').unwrap_or(0)]
        }
        _ => &case.bytes[..],
    };
    // A byte order mark hides no server.
    let whole = whole.strip_prefix(b"\xef\xbb\xbf").unwrap_or(whole);
    let lines: Vec<&[u8]> = whole.split(|&byte| byte == b'\n').collect();
    for server in &servers {
        let stands = lines.iter().filter_map(|line| written(line));
        let mut stands = stands.filter(|(addr, device, port)| {
            *addr == server.addr && *device == server.device && *port == server.port
        });
        assert!(stands.next().is_some(), "{server} is not written there");
    }
    for line in case
        .good
        .iter()
        .filter(|good| lines.contains(&good.as_slice()))
    {
        let (addr, ..) = written(line).unwrap();
        assert!(
            servers.iter().any(|server| server.addr == addr),
            "{addr} is lost"
        );
    }
    assert!(remarks.len() <= 7);
    for remark in remarks {
        assert!(
            remark.len() < 500 && !remark.contains(char::is_control),
            "{remark:?}"
        );
    }
    let line = |server: &Server| format!("{}#{}\n", server.addr, server.port);
    servers.iter().take(MAX_SERVERS).map(line).collect()
}

/// The server of a line, as generously as one can read it.
fn written(line: &[u8]) -> Option<(IpAddr, Option<String>, u16)> {
    let text = String::from_utf8_lossy(line);
    let text = text.trim_start_matches('\u{feff}');
    let (keyword, word) = text
        .trim_ascii_start()
        .split_once(|c: char| c.is_ascii_whitespace())?;
    let word = word.split_ascii_whitespace().next()?;
    let (host, port) = match word.strip_prefix('[') {
        Some(rest) => rest.split_once(']')?,
        None => word.split_at(word.find('#').unwrap_or(word.len())),
    };
    let port = match port.trim_start_matches(['#', ':']) {
        "" => 53,
        hex if hex.starts_with("0x") => u16::from_str_radix(&hex[2..], 16).ok()?,
        decimal => decimal.parse().ok()?,
    };
    let (addr, device) = match host.split_once('%') {
        Some((addr, device)) => (addr, Some(device.to_owned())),
        None => (host, None),
    };
    (keyword == "nameserver").then_some((addr.parse().ok()?, device, port))
}
