//! What must hold for whatever bytes come from outside: one function for each
//! parser, used by the fuzz target of the same name and by tests/fuzz_corpus.rs.

#[path = "../broken/harmless.rs"]
mod harmless;
#[path = "../../src/scratch.rs"]
mod scratch;

use std::fmt::Write;
use std::path::Path;
use std::time::Instant;

use gluon_wan::config::{CONFIG_FILE, Config, STATIC_FILE, Server, uci};
use gluon_wan::resolver::answer::{self, Reason, Report};
use gluon_wan::resolver::message::{self, HEADER_LEN, Kind, MAX_QUERY, Question};
use gluon_wan::resolver::servers;
use gluon_wan::resolver::upstream::{MAX_SERVERS, Upstream, Upstreams};
use hickory_server::net::xfer::Protocol;
use hickory_server::proto::op::Message;
use scratch::Scratch;

/// The opcode's bits in the third byte of a message.
const OPCODE: u8 = 0x78;

/// Panics when the bytes make something happen that must not.
pub type Check = fn(&[u8]);

/// Finds the function for a directory of the corpus.
pub const TARGETS: [(&str, Check); 7] = [
    ("query", query),
    ("reply", reply),
    ("answer", answer),
    ("resolv_file", resolv_file),
    ("uci", uci),
    ("config", config),
    ("server", server),
];

/// A message of a client is relayed, answered or ignored; what is relayed can
/// be answered.
pub fn query(bytes: &[u8]) {
    match message::classify(bytes) {
        Kind::Ignore => assert!(bytes.len() < HEADER_LEN || is_reply(bytes)),
        Kind::Answer => assert!(bytes.len() >= HEADER_LEN),
        Kind::Relay(question) => {
            assert!((HEADER_LEN + 5..=MAX_QUERY).contains(&bytes.len()));
            assert!(!question.is_answered_by(bytes, bytes));
            assert!(question.is_answered_by(bytes, &replied(bytes)));
            assert_eq!(question.abridged(bytes), bytes);
        }
    }
}

/// A message of a server, the second half of `bytes`, answers the query, the
/// first half, or it does not; only the question decides.
pub fn reply(bytes: &[u8]) {
    let Some((&half, bytes)) = bytes.split_first() else {
        return;
    };
    let (query, reply) = bytes.split_at(usize::from(half).min(bytes.len()));
    let Kind::Relay(question) = message::classify(query) else {
        return;
    };
    let answered = question.is_answered_by(query, reply);
    if answered {
        assert!(reply.len() >= HEADER_LEN && is_reply(reply));
        assert!(message::questions(reply) == 1 || message::rcode(reply) != 0);
    }
    held(question, reply);
    // Whatever comes behind the question changes nothing.
    let long = [reply, &[0; MAX_QUERY]].concat();
    if reply.len() >= HEADER_LEN + query.len() {
        assert_eq!(question.is_answered_by(query, &long), answered);
    }
    held(question, &long);
}

/// What is kept of a reply is short, and still the same reply.
fn held(question: Question, reply: &[u8]) {
    let kept = question.abridged(reply);
    assert!(kept.len() <= MAX_QUERY && reply.get(..6) == kept.get(..6));
    if kept.len() < reply.len() {
        assert_eq!(kept[6..HEADER_LEN], [0; 6]);
    }
}

fn is_reply(bytes: &[u8]) -> bool {
    bytes.get(2).is_some_and(|flags| flags & 0x80 != 0)
}

fn replied(query: &[u8]) -> Vec<u8> {
    let mut reply = query.to_vec();
    reply[2] |= 0x80;
    reply
}

/// As many servers as can be, with long names, so that answers get long.
struct Many;

impl Report for Many {
    fn upstreams(&self) -> Vec<Upstream> {
        let server = |n: usize| Server {
            addr: std::net::Ipv6Addr::new(0xfe80, 0, 0, 0, 0x1234, 0x5678, 0x9abc, n as u16).into(),
            device: Some("interface-name1".into()),
            port: 65535,
        };
        let servers: Vec<Server> = (0..MAX_SERVERS).map(server).collect();
        let mut upstreams = Upstreams::default();
        upstreams.set(&servers, Instant::now());
        upstreams.list().to_vec()
    }
}

/// Every message that is no reply gets an answer of ours, and it is one: the
/// first byte says over what and why.
pub fn answer(bytes: &[u8]) {
    let Some((&how, bytes)) = bytes.split_first() else {
        return;
    };
    let (protocol, limit) = match how & 1 {
        0 => (Protocol::Udp, 1232),
        _ => (Protocol::Tcp, 65535),
    };
    let reason = match how >> 1 & 3 {
        0 => Reason::NoServer,
        1 => Reason::Overload,
        _ => Reason::Message,
    };
    let answer = answer::encode(&Many, bytes, protocol, reason);
    if bytes.len() < HEADER_LEN || is_reply(bytes) {
        assert_eq!(answer, None);
        return;
    }
    let answer = answer.expect("an answer");
    assert!(answer.len() <= limit, "{} bytes", answer.len());
    assert!(is_reply(&answer) && message::id(&answer) == message::id(bytes));
    assert_eq!(answer[2] & OPCODE, bytes[2] & OPCODE);
    Message::from_vec(&answer).expect("an answer that can be read");
}

/// The servers of a resolv file can be written down and read again.
pub fn resolv_file(bytes: &[u8]) {
    let (servers, _) = servers::parse(&String::from_utf8_lossy(bytes));
    let written = servers.iter().fold(String::new(), |mut text, server| {
        let _ = writeln!(text, "nameserver {server}");
        text
    });
    assert_eq!(servers::parse(&written).0, servers);
}

/// What was read from UCI can be written down and read again.
pub fn uci(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let lines = text.matches('\n').count() + 1;
    match uci::parse(&text) {
        Err(error) => assert!((1..=lines).contains(&error.line)),
        Ok(sections) => {
            assert!(sections.iter().is_sorted_by_key(|section| section.line));
            assert!(sections.iter().all(|section| section.line <= lines));
            let written: String = sections.iter().map(written).collect();
            let again = uci::parse(&written).expect("what was written");
            assert_eq!(
                again.iter().map(words).collect::<Vec<_>>(),
                sections.iter().map(words).collect::<Vec<_>>()
            );
        }
    }
}

/// Type, name and options of a section; an option is whether it is a list's,
/// its name and its value.
type Words<'a> = (&'a str, Option<&'a str>, Vec<(bool, &'a str, &'a str)>);

fn words(section: &uci::Section) -> Words<'_> {
    let options = section.options.iter();
    (
        &section.kind,
        section.name.as_deref(),
        options
            .map(|o| (o.is_list, o.name.as_str(), o.value.as_str()))
            .collect(),
    )
}

fn written(section: &uci::Section) -> String {
    let quoted = |word: &str| format!("'{}'", word.replace('\'', r"'\''"));
    let mut text = format!("config {}", quoted(&section.kind));
    if let Some(name) = &section.name {
        let _ = write!(text, " {}", quoted(name));
    }
    text.push('\n');
    for option in &section.options {
        let command = if option.is_list { "list" } else { "option" };
        let _ = writeln!(
            text,
            "{command} {} {}",
            quoted(&option.name),
            quoted(&option.value)
        );
    }
    text
}

/// Both files of a configuration, a zero byte between them: the invariants that
/// its types promise hold, or the message names the file.
pub fn config(bytes: &[u8]) {
    thread_local! {
        static DIR: Scratch = Scratch::new();
    }
    DIR.with(|dir| config_in(dir, bytes));
}

fn config_in(dir: &Path, bytes: &[u8]) {
    let (own, fixed) = match bytes.iter().position(|&byte| byte == 0) {
        Some(at) => (&bytes[..at], &bytes[at + 1..]),
        None => (bytes, &[][..]),
    };
    std::fs::write(dir.join(CONFIG_FILE), own).expect("a file");
    std::fs::write(dir.join(STATIC_FILE), fixed).expect("a file");
    match Config::load(dir) {
        Err(error) => assert!(error.to_string().contains(CONFIG_FILE)),
        Ok(config) => harmless::in_range(&config),
    }
}

/// A server can be written down and read again.
pub fn server(bytes: &[u8]) {
    if let Ok(server) = String::from_utf8_lossy(bytes).parse::<Server>() {
        assert_eq!(server.to_string().parse(), Ok(server));
    }
}
