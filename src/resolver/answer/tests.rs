//! What is answered to what, byte by byte where that matters.

use std::time::Instant;

use hickory_server::proto::op::Message;
use hickory_server::proto::rr::RData;

use super::reply::PLAIN_PAYLOAD;
use super::texts::{VERSION, health};
use super::*;
use crate::resolver::edns::MAX_PAYLOAD;
use crate::resolver::message::tests::{query, reply};
use crate::resolver::message::{MAX_QUERY, id, rcode};
use crate::resolver::upstream::Upstreams;

struct Fixed(Vec<Upstream>);

impl Report for Fixed {
    fn upstreams(&self) -> Vec<Upstream> {
        self.0.clone()
    }
}

fn answer(message: &[u8], reason: Reason) -> Option<Vec<u8>> {
    let mut upstreams = Upstreams::default();
    let now = Instant::now();
    upstreams.set(
        &[
            "192.0.2.1".parse().unwrap(),
            "fe80::1%wan#54".parse().unwrap(),
        ],
        now,
    );
    let first = upstreams.list()[0].id;
    let first = upstreams.get(first).unwrap();
    first.asked(now);
    first.heard(now, Some(std::time::Duration::from_millis(3)), false);
    let report = Fixed(upstreams.list().to_vec());
    encode(&report, message, Protocol::Udp, reason)
}

fn texts(name: &str) -> Vec<String> {
    let bytes = answer(&query(9, name, 16, 3), Reason::Message).unwrap();
    let message = Message::from_vec(&bytes).unwrap();
    let RData::TXT(txt) = &message.answers[0].data else {
        panic!()
    };
    txt.txt_data
        .iter()
        .map(|text| String::from_utf8_lossy(text).into_owned())
        .collect()
}

#[test]
fn chaos_names() {
    assert_eq!(texts("Version.Bind"), [VERSION]);
    assert_eq!(
        texts("servers.bind"),
        ["192.0.2.1#53 1 0", "fe80::1%wan#54 0 0"]
    );
    let health = texts("health.gluon-wan");
    assert!(health[0].starts_with("server=192.0.2.1 state=up since_s=0 usual_us=3000 "));
    assert!(
        health[1].starts_with("server=fe80::1%wan#54 state=unknown "),
        "{health:?}"
    );
    for (name, kind) in [("hostname.bind", 16), ("version.bind", 1)] {
        let bytes = answer(&query(9, name, kind, 3), Reason::Message).unwrap();
        assert_eq!(rcode(&bytes), 5, "{name}");
    }
}

#[test]
fn what_does_not_fit_is_cut_off() {
    let health = query(9, "health.gluon-wan", 16, 3);
    let mut with_edns = health.clone();
    with_edns[11] = 1;
    with_edns.extend([0, 0, 41, 0x10, 0, 0, 0, 0, 0, 0, 0]);
    let answered = |servers: usize, query: &[u8], protocol| {
        let servers: Vec<_> = (1..=servers)
            .map(|n| format!("192.0.2.{}", 100 + n).parse().unwrap())
            .collect();
        let mut upstreams = Upstreams::default();
        upstreams.set(&servers, Instant::now());
        let report = Fixed(upstreams.list().to_vec());
        let bytes = encode(&report, query, protocol, Reason::Message).unwrap();
        let message = Message::from_vec(&bytes).unwrap();
        assert_eq!(message.edns.is_some(), query.len() > health.len());
        let is_cut = bytes[2] & 0x02 != 0;
        (is_cut, bytes.len())
    };
    // Each server takes some 75 bytes.
    for (servers, query, protocol, limit) in [
        (10, &health, Protocol::Udp, PLAIN_PAYLOAD),
        (16, &with_edns, Protocol::Udp, MAX_PAYLOAD),
    ] {
        let (is_cut, len) = answered(servers, query, protocol);
        assert!(is_cut && len <= limit.into(), "{servers} {len}");
    }
    for (servers, query, protocol, least) in [
        (4, &health, Protocol::Udp, 200),
        (10, &with_edns, Protocol::Udp, PLAIN_PAYLOAD),
        (16, &health, Protocol::Tcp, PLAIN_PAYLOAD),
    ] {
        let (is_cut, len) = answered(servers, query, protocol);
        assert!(!is_cut && len > least.into(), "{servers} {len}");
    }
}

#[test]
fn a_server_that_answers_with_failures_is_failing() {
    let now = Instant::now();
    let mut upstreams = Upstreams::default();
    upstreams.set(&["192.0.2.1".parse().unwrap()], now);
    let id = upstreams.list()[0].id;
    let upstream = upstreams.get(id).unwrap();
    for state in ["up", "up", "failing"] {
        upstream.heard(now, None, true);
        let told = health(upstream, now);
        assert!(told.contains(&format!("state={state} ")), "{told}");
    }
}

#[test]
fn failures_keep_id_and_question_and_mirror_edns() {
    let plain = query(0x1234, "vPn.example.org", 28, 1);
    for (reason, code) in [(Reason::NoServer, 2), (Reason::Overload, 5)] {
        let bytes = answer(&plain, reason).unwrap();
        assert_eq!((id(&bytes), rcode(&bytes)), (0x1234, code));
        assert_eq!(bytes[12..], plain[12..], "question, spelling and all");
        assert_eq!(bytes[2] & 0x81, 0x81, "a reply, RD kept");
        assert_eq!(bytes[3] & 0x80, 0x80, "RA");
    }
    let mut with_edns = plain.clone();
    with_edns[11] = 1;
    // OPT, payload 4096, version 0, DO, no options (RFC 6891, section 6.1.2).
    with_edns.extend([0, 0, 41, 0x10, 0, 0, 0, 0x80, 0, 0, 0]);
    let bytes = answer(&with_edns, Reason::NoServer).unwrap();
    assert_eq!(
        bytes[bytes.len() - 11..],
        [0, 0, 41, 0x04, 0xd0, 0, 0, 0x80, 0, 0, 0]
    );
}

#[test]
fn what_is_no_plain_query() {
    let base = query(7, "example.org", 1, 1);
    let mut notify = base.clone();
    notify[2] |= 4 << 3;
    let mut two = [base.as_slice(), &base[12..]].concat();
    two[5] = 2;
    let mut pointer = base.clone();
    pointer[12] = 0xc0;
    let mut bad_notify = pointer.clone();
    bad_notify[2] |= 4 << 3;
    let transfer = query(7, "example.org", 252, 1);
    let cut = &base[..20];
    let mut long = base.clone();
    long.resize(MAX_QUERY + 1, 0);
    let mut claims_many = base.clone();
    claims_many[4..6].fill(0xff);
    for (message, code) in [
        (notify.as_slice(), 4),
        (&two, 1),
        (&pointer, 1),
        (&bad_notify, 4),
        (&transfer, 5),
        (cut, 1),
        (&long, 1),
        (&claims_many, 1),
        (&base, 1),
    ] {
        let bytes = answer(message, Reason::Message).unwrap();
        assert_eq!((id(&bytes), rcode(&bytes)), (7, code), "{message:x?}");
        assert_eq!(bytes[2] & 0x80, 0x80);
    }
    for (reason, code) in [(Reason::NoServer, 2), (Reason::Overload, 5)] {
        assert_eq!(rcode(&answer(cut, reason).unwrap()), code);
    }
    let mut bad_reply = reply(&pointer, 0);
    bad_reply[4] = 9;
    assert_eq!(
        answer(&bad_reply, Reason::Message),
        None,
        "a reply gets none"
    );
    assert_eq!(answer(&base[..11], Reason::Message), None, "too short");
}
