//! Asks the resolver how it does: CHAOS look-ups, which it answers itself.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::thread;
use std::time::{Duration, Instant};

use super::facts::{Listener, Reply, Seen, Server};

/// An answer that costs the resolver no query of its own takes less than a
/// millisecond. Until all of them are there, so long at most: `status` is to end
/// within a second.
pub const TIME: Duration = Duration::from_millis(700);
/// Enough for an answer over UDP without EDNS.
const BUFFER: usize = 1500;
/// Connected sockets take datagrams of nobody else, so it need not be a secret.
const ID: u16 = 0x6757;
const TXT: u16 = 16;
const CHAOS: u16 = 3;
/// What our resolver's `version.bind` starts with.
const OURS: &str = "gluon-wan ";

impl Listener {
    /// Whether anything answered.
    pub fn answers(&self) -> bool {
        matches!(self.reply, Reply::Ours { .. } | Reply::Foreign(_))
    }

    /// Whether it was our resolver.
    pub fn is_ours(&self) -> bool {
        matches!(self.reply, Reply::Ours { .. })
    }
}

/// Asks at all addresses at once who is there.
pub fn listeners(addrs: &[SocketAddr], deadline: Instant) -> Vec<Listener> {
    thread::scope(|scope| {
        let started: Vec<_> = addrs
            .iter()
            .map(|&addr| (addr, scope.spawn(move || who(addr, deadline))))
            .collect();
        let joined = started.into_iter().map(|(addr, probe)| Listener {
            addr,
            reply: probe
                .join()
                .unwrap_or_else(|_| Reply::Failed("the probe broke off".into())),
        });
        joined.collect()
    })
}

fn who(addr: SocketAddr, deadline: Instant) -> Reply {
    let start = Instant::now();
    match over_udp(addr, &question("version.bind"), deadline) {
        Ok(answer) => match texts(&answer).as_deref() {
            Some([version, ..]) if version.starts_with(OURS) => Reply::Ours {
                took: start.elapsed(),
                version: version.clone(),
            },
            Some([version, ..]) => Reply::Foreign(Some(version.clone())),
            _ => Reply::Foreign(None),
        },
        Err(error) => match error.kind() {
            ErrorKind::ConnectionRefused => Reply::Closed,
            ErrorKind::WouldBlock | ErrorKind::TimedOut => Reply::Silent,
            _ => Reply::Failed(error.to_string()),
        },
    }
}

/// The resolver's servers. Over TCP, because the list may be longer than a
/// datagram.
pub fn servers(addr: SocketAddr, deadline: Instant) -> Seen<Vec<Server>> {
    let answer = over_tcp(addr, &question("health.gluon-wan"), deadline)
        .map_err(|error| format!("no answer over TCP: {error}"))?;
    match texts(&answer) {
        // A TXT record cannot be empty; without a server its one text is.
        Some(lines) => Ok(lines.iter().filter_map(|line| server(line)).collect()),
        None => Err("the resolver does not know its servers' health: another version?".into()),
    }
}

/// One server from `key=value` words; unknown words are left to newer versions.
fn server(line: &str) -> Option<Server> {
    let mut found = Server::default();
    for (key, value) in line.split(' ').filter_map(|word| word.split_once('=')) {
        let number = value.parse().unwrap_or(0);
        match key {
            "server" => found.server = value.into(),
            "state" => found.state = value.parse().unwrap_or_default(),
            "since_s" => found.since_s = number,
            "usual_us" => found.usual_us = value.parse().ok(),
            "queries" => found.queries = number,
            "failures" => found.failures = number,
            _ => {}
        }
    }
    (!found.server.is_empty()).then_some(found)
}

/// A CHAOS TXT question (RFC 1035, section 4.1).
fn question(name: &str) -> Vec<u8> {
    let mut message = Vec::from(ID.to_be_bytes());
    // Recursion desired, one question.
    message.extend([1, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
    for label in name.split('.') {
        message.push(label.len() as u8);
        message.extend(label.bytes());
    }
    message.push(0);
    message.extend(TXT.to_be_bytes());
    message.extend(CHAOS.to_be_bytes());
    message
}

/// The texts of an answer, none where it is no answer to a [`question`]. Read by
/// hand, because hickory's decoder of all record types is 100 KB of flash that
/// nothing else here needs.
fn texts(message: &[u8]) -> Option<Vec<String>> {
    let (header, rest) = message.split_first_chunk::<12>()?;
    let [id0, id1, flags, rcode, _, questions, _, answers, ..] = *header;
    let is_answer = flags & 0x80 != 0 && rcode & 0x0f == 0;
    if [id0, id1] != ID.to_be_bytes() || !is_answer || questions != 1 || answers == 0 {
        return None;
    }
    // Type and class of the question; type, class and time to live of the record.
    let record = skip_name(rest)?.get(4..)?;
    let record = skip_name(record)?;
    let (head, rest) = record.split_first_chunk::<10>()?;
    let [type0, type1, .., length0, length1] = *head;
    if [type0, type1] != TXT.to_be_bytes() {
        return None;
    }
    let mut data = rest.get(..u16::from_be_bytes([length0, length1]).into())?;
    let mut texts = Vec::new();
    while let Some((&length, after)) = data.split_first() {
        let (text, after) = after.split_at_checked(length.into())?;
        // Somebody else may have said it: nothing that a terminal obeys.
        let text = String::from_utf8_lossy(text);
        texts.push(text.chars().filter(|c| !c.is_control()).collect());
        data = after;
    }
    Some(texts)
}

/// What follows a name: labels up to the root, or up to a pointer (RFC 1035,
/// section 4.1.4).
fn skip_name(mut message: &[u8]) -> Option<&[u8]> {
    loop {
        let (&length, rest) = message.split_first()?;
        message = match length {
            0 => return Some(rest),
            0xc0.. => return rest.get(1..),
            length => rest.get(length.into()..)?,
        };
    }
}

fn over_udp(addr: SocketAddr, question: &[u8], deadline: Instant) -> io::Result<Vec<u8>> {
    let unspecified: SocketAddr = match addr {
        SocketAddr::V4(_) => ([0; 4], 0).into(),
        SocketAddr::V6(_) => ([0u16; 8], 0).into(),
    };
    let socket = UdpSocket::bind(unspecified)?;
    socket.connect(addr)?;
    socket.set_read_timeout(Some(left(deadline)?))?;
    socket.send(question)?;
    let mut buffer = vec![0; BUFFER];
    let length = socket.recv(&mut buffer)?;
    buffer.truncate(length);
    Ok(buffer)
}

fn over_tcp(addr: SocketAddr, question: &[u8], deadline: Instant) -> io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect_timeout(&addr, left(deadline)?)?;
    let length = (question.len() as u16).to_be_bytes();
    stream.set_write_timeout(Some(left(deadline)?))?;
    stream.write_all(&[&length, question].concat())?;
    let mut length = [0; 2];
    stream.set_read_timeout(Some(left(deadline)?))?;
    stream.read_exact(&mut length)?;
    let mut answer = vec![0; u16::from_be_bytes(length).into()];
    stream.set_read_timeout(Some(left(deadline)?))?;
    stream.read_exact(&mut answer)?;
    Ok(answer)
}

/// How long it is until then; TimedOut when it is over.
fn left(deadline: Instant) -> io::Result<Duration> {
    match deadline.saturating_duration_since(Instant::now()) {
        Duration::ZERO => Err(ErrorKind::TimedOut.into()),
        left => Ok(left),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::health::Health;

    #[test]
    fn health_is_read_word_by_word() {
        let line = "server=fe80::1%br-wan#54 state=up since_s=7 usual_us=3000 queries=4 failures=1";
        let expected = Server {
            server: "fe80::1%br-wan#54".into(),
            state: Health::Up,
            since_s: 7,
            usual_us: Some(3000),
            queries: 4,
            failures: 1,
        };
        assert_eq!(server(line), Some(expected.clone()));
        assert_eq!(server(&format!("{line} weight=3 x")), Some(expected));
        let never = server("server=192.0.2.1 state=unknown usual_us=-").unwrap();
        assert_eq!((never.usual_us, never.queries), (None, 0));
        assert_eq!(server(""), None);
    }

    /// An answer as hickory writes it, with this name and these texts.
    fn answer(rcode: u8, name: &[u8], texts: &[&str]) -> Vec<u8> {
        let mut message = question("version.bind");
        message[2..8].copy_from_slice(&[0x85, 0x80 | rcode, 0, 1, 0, 1]);
        message.extend(name);
        message.extend([0, 16, 0, 3, 0, 0, 0, 0]);
        let data: Vec<u8> = texts
            .iter()
            .flat_map(|text| [&[text.len() as u8], text.as_bytes()].concat())
            .collect();
        message.extend((data.len() as u16).to_be_bytes());
        message.extend(data);
        message
    }

    #[test]
    fn an_answer_is_read() {
        let pointer = &[0xc0, 12][..];
        let whole = b"\x07version\x04bind\0";
        for name in [pointer, whole] {
            let found = texts(&answer(0, name, &["one", "", "t\x1bwo"]));
            assert_eq!(found.unwrap(), ["one", "", "two"]);
        }
        assert_eq!(texts(&answer(5, pointer, &["x"])), None, "REFUSED");
        assert_eq!(texts(&question("version.bind")), None, "no answer");
        let mut other = answer(0, pointer, &["x"]);
        other[0] ^= 1;
        assert_eq!(texts(&other), None, "another id");
        let full = answer(0, pointer, &["one", "two"]);
        for end in 0..full.len() {
            assert_eq!(texts(&full[..end]), None, "cut at {end}");
        }
    }
}
