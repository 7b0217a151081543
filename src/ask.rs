//! A client of DNS, as small as `status` and `trace` need it: one question, one
//! answer (RFC 1035).
//!
//! Read by hand, because hickory's decoder of all record types is 100 KB of flash
//! that nothing else here needs.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, UdpSocket};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use socket2::{Domain, Socket, Type};

/// Enough for an answer over UDP without EDNS.
const BUFFER: usize = 1500;
/// The longest label and the longest name, in bytes.
const MAX_LABEL: usize = 63;
const MAX_NAME: usize = 253;

/// Types of records.
pub mod kind {
    /// An IPv4 address.
    pub const A: u16 = 1;
    /// Texts.
    pub const TXT: u16 = 16;
    /// An IPv6 address.
    pub const AAAA: u16 = 28;
}

/// Classes of records.
pub mod class {
    /// The internet.
    pub const IN: u16 = 1;
    /// What a server says of itself.
    pub const CHAOS: u16 = 3;
}

/// A question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    message: Vec<u8>,
    id: u16,
    kind: u16,
}

/// A question over UDP, and what came of it.
#[derive(Debug)]
pub struct Asked {
    question: Question,
    /// None when it is over.
    socket: Option<UdpSocket>,
    until: Instant,
    /// When it was sent.
    pub at: Instant,
    /// From which address.
    pub source: Option<IpAddr>,
    /// How long it took.
    pub took: Duration,
    /// What came back.
    pub outcome: Result<Answer, Unanswered>,
}

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unanswered {
    /// Nothing came in time.
    Silent,
    /// Nobody listens there (ICMP).
    Closed,
    /// It could not be sent, or was not allowed to.
    Failed(String),
}

/// What an answer says.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Answer {
    /// RCODE.
    pub code: u8,
    /// The data of the records of the type that was asked for.
    pub data: Vec<Vec<u8>>,
}

impl Question {
    /// A question with this id; none where `name` is no name.
    #[must_use]
    pub fn new(id: u16, name: &str, kind: u16, class: u16) -> Option<Self> {
        let name = name.strip_suffix('.').unwrap_or(name);
        let mut message = Vec::from(id.to_be_bytes());
        // Recursion desired, one question.
        message.extend([1, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
        for label in name.split('.') {
            let length = u8::try_from(label.len()).ok()?;
            if label.is_empty() || label.len() > MAX_LABEL || name.len() > MAX_NAME {
                return None;
            }
            message.push(length);
            message.extend(label.bytes());
        }
        message.push(0);
        message.extend(kind.to_be_bytes());
        message.extend(class.to_be_bytes());
        Some(Self { message, id, kind })
    }

    /// Sends it over UDP, with a mark unless that is 0; [`wait`] has the answer.
    #[must_use]
    pub fn send(self, to: SocketAddr, mark: u32, until: Instant) -> Asked {
        let mut asked = Asked {
            question: self,
            socket: None,
            until,
            at: Instant::now(),
            source: None,
            took: Duration::ZERO,
            outcome: Err(Unanswered::Silent),
        };
        if let Err(error) = asked.send(to, mark) {
            asked.end(Err(error.into()));
        }
        asked
    }

    /// Asks over TCP.
    ///
    /// # Errors
    /// No connection; `InvalidData` for what is no answer.
    pub fn over_tcp(&self, addr: SocketAddr, deadline: Instant) -> io::Result<Answer> {
        let socket = Socket::new(Domain::for_address(addr), Type::STREAM.cloexec(), None)?;
        // connect(2), too, waits no longer than that (SO_SNDTIMEO of socket(7)).
        socket.set_write_timeout(Some(left(deadline)?))?;
        socket.connect(&addr.into())?;
        let mut stream = TcpStream::from(socket);
        let length = (self.message.len() as u16).to_be_bytes();
        stream.write_all(&[&length, self.message.as_slice()].concat())?;
        let mut length = [0; 2];
        read_exact(&mut stream, &mut length, deadline)?;
        let mut answer = vec![0; u16::from_be_bytes(length).into()];
        read_exact(&mut stream, &mut answer, deadline)?;
        let no_answer = || io::Error::new(ErrorKind::InvalidData, "not an answer");
        self.read(&answer).ok_or_else(no_answer)
    }

    /// The answer in a message, none where it is no answer to this question.
    fn read(&self, message: &[u8]) -> Option<Answer> {
        let (header, rest) = message.split_first_chunk::<12>()?;
        let [id0, id1, flags, rcode, _, questions, answers0, answers1, ..] = *header;
        if [id0, id1] != self.id.to_be_bytes() || flags & 0x80 == 0 || questions > 1 {
            return None;
        }
        let mut answer = Answer {
            code: rcode & 0x0f,
            data: Vec::new(),
        };
        // Some servers leave it out when they refuse.
        if questions == 0 {
            return Some(answer);
        }
        // Type and class of the question.
        let mut rest = skip_name(rest)?.get(4..)?;
        for _ in 0..u16::from_be_bytes([answers0, answers1]) {
            // Type, class and time to live of the record, length of its data.
            let (head, data) = skip_name(rest)?.split_first_chunk::<10>()?;
            let [kind0, kind1, .., length0, length1] = *head;
            let (data, after) =
                data.split_at_checked(u16::from_be_bytes([length0, length1]).into())?;
            if u16::from_be_bytes([kind0, kind1]) == self.kind {
                answer.data.push(data.to_vec());
            }
            rest = after;
        }
        Some(answer)
    }
}

impl Asked {
    /// A socket as the resolver makes it: marked, then connected, so that it takes
    /// datagrams of nobody else.
    fn send(&mut self, to: SocketAddr, mark: u32) -> io::Result<()> {
        let kind = Type::DGRAM.cloexec().nonblocking();
        let socket = Socket::new(Domain::for_address(to), kind, None)?;
        if mark != 0 {
            socket.set_mark(mark)?;
        }
        socket.connect(&to.into())?;
        let socket = self.socket.insert(socket.into());
        self.source = socket.local_addr().ok().map(|addr| addr.ip());
        socket.send(&self.question.message).map(|_| ())
    }

    /// Takes what has come. What does not belong to the question is passed over.
    fn receive(&mut self) {
        let Some(socket) = &self.socket else { return };
        let mut buffer = [0; BUFFER];
        let outcome = match socket.recv(&mut buffer) {
            Ok(length) => {
                let message = buffer.get(..length).unwrap_or_default();
                self.question.read(message).ok_or(Unanswered::Silent)
            }
            Err(error) => Err(error.into()),
        };
        if !matches!(outcome, Err(Unanswered::Silent)) || Instant::now() >= self.until {
            self.end(outcome);
        }
    }

    fn end(&mut self, outcome: Result<Answer, Unanswered>) {
        self.took = self.at.elapsed();
        self.outcome = outcome;
        self.socket = None;
    }
}

/// Waits until each of them is answered or its time is over.
pub fn wait(all: &mut [Asked]) {
    while let Some(until) = all
        .iter()
        .filter(|one| one.socket.is_some())
        .map(|one| one.until)
        .min()
    {
        let sockets = all.iter().filter_map(|one| one.socket.as_ref());
        let mut sockets: Vec<PollFd> = sockets
            .map(|socket| PollFd::new(socket.as_fd(), PollFlags::POLLIN))
            .collect();
        // The kernel counts whole milliseconds. What it refuses is waited for no less.
        let left = until.saturating_duration_since(Instant::now()) + Duration::from_millis(1);
        let _ = poll(
            &mut sockets,
            PollTimeout::try_from(left).unwrap_or(PollTimeout::ZERO),
        );
        for one in &mut *all {
            one.receive();
        }
    }
}

impl From<io::Error> for Unanswered {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            ErrorKind::ConnectionRefused => Self::Closed,
            ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted => Self::Silent,
            _ => Self::Failed(error.to_string()),
        }
    }
}

impl Answer {
    /// The texts of its first TXT record; empty where there is none.
    #[must_use]
    pub fn texts(&self) -> Vec<String> {
        let mut data = self.data.first().map(Vec::as_slice).unwrap_or_default();
        let mut texts = Vec::new();
        while let Some((&length, after)) = data.split_first() {
            let Some((text, after)) = after.split_at_checked(length.into()) else {
                break;
            };
            texts.push(String::from_utf8_lossy(text).into_owned());
            data = after;
        }
        texts
    }

    /// The addresses in its records.
    #[must_use]
    pub fn addresses(&self) -> Vec<IpAddr> {
        let mut found = Vec::new();
        for data in &self.data {
            if let Ok(octets) = <[u8; 4]>::try_from(data.as_slice()) {
                found.push(Ipv4Addr::from(octets).into());
            } else if let Ok(octets) = <[u8; 16]>::try_from(data.as_slice()) {
                found.push(Ipv6Addr::from(octets).into());
            }
        }
        found
    }
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

/// A sender of single bytes does not buy more time.
fn read_exact(stream: &mut TcpStream, mut into: &mut [u8], deadline: Instant) -> io::Result<()> {
    while !into.is_empty() {
        stream.set_read_timeout(Some(left(deadline)?))?;
        match stream.read(into) {
            Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
            Ok(length) => into = into.get_mut(length..).unwrap_or_default(),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                return Err(ErrorKind::TimedOut.into());
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// How long it is until then; `TimedOut` when it is over.
fn left(deadline: Instant) -> io::Result<Duration> {
    match deadline.saturating_duration_since(Instant::now()) {
        Duration::ZERO => Err(ErrorKind::TimedOut.into()),
        left => Ok(left),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const POINTER: &[u8] = &[0xc0, 12];

    fn question(kind: u16) -> Question {
        Question::new(0x6757, "a.example", kind, class::IN).unwrap()
    }

    /// An answer as a server writes it, with records of these types and data.
    fn answer(question: &Question, code: u8, name: &[u8], records: &[(u16, &[u8])]) -> Vec<u8> {
        let mut message = question.message.clone();
        message[2..8].copy_from_slice(&[0x85, 0x80 | code, 0, 1, 0, records.len() as u8]);
        for (kind, data) in records {
            message.extend(name);
            message.extend(kind.to_be_bytes());
            message.extend([0, 1, 0, 0, 0, 0]);
            message.extend((data.len() as u16).to_be_bytes());
            message.extend(*data);
        }
        message
    }

    #[test]
    fn an_answer_is_read() {
        let asked = question(kind::TXT);
        for name in [POINTER, b"\x01a\x07example\0"] {
            let message = answer(
                &asked,
                0,
                name,
                &[(5, b"x"), (kind::TXT, b"\x03one\0\x03two")],
            );
            assert_eq!(asked.read(&message).unwrap().texts(), ["one", "", "two"]);
        }
        let refused = asked.read(&answer(&asked, 5, POINTER, &[])).unwrap();
        assert_eq!((refused.code, refused.data.len()), (5, 0));
        assert_eq!(asked.read(&asked.message), None, "no answer");
        let mut other = answer(&asked, 0, POINTER, &[(kind::TXT, b"\x01x")]);
        other[0] ^= 1;
        assert_eq!(asked.read(&other), None, "another id");
        let full = answer(&asked, 0, POINTER, &[(kind::TXT, b"\x03one")]);
        for end in 0..full.len() {
            assert_eq!(asked.read(&full[..end]), None, "cut at {end}");
        }
    }

    #[test]
    fn addresses_are_those_of_the_type_asked_for() {
        let asked = question(kind::A);
        let records: &[(u16, &[u8])] = &[
            (kind::A, &[192, 0, 2, 1]),
            (kind::AAAA, &[1; 16]),
            (kind::A, b"?"),
        ];
        let found = asked.read(&answer(&asked, 0, POINTER, records)).unwrap();
        assert_eq!(found.addresses(), [IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1))]);
    }

    #[test]
    fn what_is_no_name_is_not_asked() {
        let fine = |name: &str| Question::new(1, name, kind::A, class::IN).is_some();
        assert!(fine("vpn.example.org") && fine("vpn.example.org.") && fine("x"));
        for name in [
            "",
            ".",
            "a..b",
            ".a",
            &"x".repeat(64),
            &["x"; 128].join("."),
        ] {
            assert!(!fine(name), "{name}");
        }
    }
}
