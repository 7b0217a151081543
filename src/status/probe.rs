//! Asks the resolver how it does: CHAOS look-ups, which it answers itself.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::thread;
use std::time::{Duration, Instant};

use hickory_server::proto::op::{Message, MessageType, ResponseCode};
use hickory_server::proto::rr::RData;

use super::facts::{Listener, Reply, Seen, Server};

/// An answer that costs the resolver no query of its own takes less than a
/// millisecond; after this it is none.
const TIME: Duration = Duration::from_secs(1);
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
pub fn listeners(addrs: &[SocketAddr]) -> Vec<Listener> {
    thread::scope(|scope| {
        let started: Vec<_> = addrs
            .iter()
            .map(|&addr| (addr, scope.spawn(move || who(addr))))
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

fn who(addr: SocketAddr) -> Reply {
    let start = Instant::now();
    match over_udp(addr, &question("version.bind")) {
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
pub fn servers(addr: SocketAddr) -> Seen<Vec<Server>> {
    let answer = over_tcp(addr, &question("health.gluon-wan"))
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
            "state" => found.state = value.into(),
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

/// The texts of an answer, none where it is no answer to a [`question`].
fn texts(message: &[u8]) -> Option<Vec<String>> {
    let message = Message::from_vec(message).ok()?;
    let head = &message.metadata;
    let fits = head.id == ID
        && head.message_type == MessageType::Response
        && head.response_code == ResponseCode::NoError;
    let text = |bytes: &[u8]| -> String {
        // Somebody else may have said it: nothing that a terminal obeys.
        let text = String::from_utf8_lossy(bytes);
        text.chars().filter(|c| !c.is_control()).collect()
    };
    let mut data = message.answers.iter().map(|record| &record.data);
    let found = data.find_map(|data| match data {
        RData::TXT(txt) => Some(txt.txt_data.iter().map(|bytes| text(bytes)).collect()),
        _ => None,
    });
    found.filter(|_| fits)
}

fn over_udp(addr: SocketAddr, question: &[u8]) -> io::Result<Vec<u8>> {
    let unspecified: SocketAddr = match addr {
        SocketAddr::V4(_) => ([0; 4], 0).into(),
        SocketAddr::V6(_) => ([0u16; 8], 0).into(),
    };
    let socket = UdpSocket::bind(unspecified)?;
    socket.connect(addr)?;
    socket.set_read_timeout(Some(TIME))?;
    socket.send(question)?;
    let mut buffer = vec![0; BUFFER];
    let length = socket.recv(&mut buffer)?;
    buffer.truncate(length);
    Ok(buffer)
}

fn over_tcp(addr: SocketAddr, question: &[u8]) -> io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect_timeout(&addr, TIME)?;
    stream.set_read_timeout(Some(TIME))?;
    stream.set_write_timeout(Some(TIME))?;
    let length = (question.len() as u16).to_be_bytes();
    stream.write_all(&[&length, question].concat())?;
    let mut length = [0; 2];
    stream.read_exact(&mut length)?;
    let mut answer = vec![0; u16::from_be_bytes(length).into()];
    stream.read_exact(&mut answer)?;
    Ok(answer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn health_is_read_word_by_word() {
        let line = "server=fe80::1%br-wan#54 state=up since_s=7 usual_us=3000 queries=4 failures=1";
        let expected = Server {
            server: "fe80::1%br-wan#54".into(),
            state: "up".into(),
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

    #[test]
    fn a_question_is_one_of_chaos() {
        let asked = Message::from_vec(&question("version.bind")).unwrap();
        assert_eq!(asked.queries[0].to_string(), "version.bind. CH TXT");
        assert_eq!(texts(&question("version.bind")), None, "not an answer");
        assert_eq!(texts(b"nothing"), None);
    }
}
