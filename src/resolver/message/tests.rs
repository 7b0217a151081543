//! Messages that clients and servers may send, and what is made of them.

use super::*;

/// A query for `name` (labels separated by dots) of the type and class.
pub fn query(id: u16, name: &str, kind: u16, class: u16) -> Vec<u8> {
    let mut message = id.to_be_bytes().to_vec();
    message.extend([0x01, 0x00, 0, 1, 0, 0, 0, 0, 0, 0]);
    for label in name.split('.').filter(|label| !label.is_empty()) {
        message.push(label.len() as u8);
        message.extend(label.bytes());
    }
    message.push(0);
    message.extend(kind.to_be_bytes());
    message.extend(class.to_be_bytes());
    message
}

/// The reply to `query` with the RCODE, without records.
pub fn reply(query: &[u8], rcode: u8) -> Vec<u8> {
    let mut reply = query.to_vec();
    reply[2] |= 0x80;
    reply[3] = 0x80 | rcode;
    reply
}

fn question(message: &[u8]) -> Question {
    match classify(message) {
        Kind::Relay(question) => question,
        other => panic!("{other:?}"),
    }
}

#[test]
fn ordinary_queries_are_relayed() {
    for name in [
        "",
        "org",
        "vpn1.example.org",
        &["a".repeat(63).as_str(); 3].join("."),
    ] {
        for kind in [1, 28, 65, 255, 65400] {
            let message = query(7, name, kind, 1);
            assert_eq!(question(&message).end, message.len());
            // What follows the question does not matter.
            let longer = [message.as_slice(), &[0; 11]].concat();
            assert_eq!(question(&longer).end, message.len());
        }
    }
}

#[test]
fn what_we_answer_ourselves() {
    let chaos = query(7, "version.bind", 16, CLASS_CHAOS);
    let transfer = query(7, "example.org", TYPE_AXFR, 1);
    let mut update = query(7, "example.org", 6, 1);
    update[2] |= 5 << 3;
    let mut two = query(7, "example.org", 1, 1);
    two[5] = 2;
    let mut none = query(7, "example.org", 1, 1);
    none[5] = 0;
    let mut pointer = query(7, "example.org", 1, 1);
    pointer[HEADER_LEN] = 0xc0;
    let too_long = query(7, &["a".repeat(63).as_str(); 4].join("."), 1, 1);
    let cut = query(7, "example.org", 1, 1);
    for message in [chaos, transfer, update, two, none, pointer, too_long] {
        assert_eq!(classify(&message), Kind::Answer, "{message:x?}");
    }
    for len in HEADER_LEN..cut.len() {
        assert_eq!(classify(&cut[..len]), Kind::Answer, "{len}");
    }
}

#[test]
fn the_longest_query_and_the_longest_name() {
    let padded = |len: usize| {
        let mut message = query(7, "example.org", 1, 1);
        message.resize(len, 0);
        classify(&message)
    };
    assert!(matches!(padded(MAX_QUERY), Kind::Relay(_)));
    assert_eq!(padded(MAX_QUERY + 1), Kind::Answer);

    let named = |last: usize| {
        let label = &*"a".repeat(63);
        let name = [label, label, label, &label[..last]];
        classify(&query(7, &name.join("."), 1, 1))
    };
    // Three labels with their lengths, the last one with its own, the root.
    assert!(matches!(named(MAX_NAME_LEN - 3 * 64 - 2), Kind::Relay(_)));
    assert_eq!(named(MAX_NAME_LEN - 3 * 64 - 1), Kind::Answer);
    // 64 is no length of a label, though the message has the bytes.
    assert_eq!(classify(&query(7, &"a".repeat(64), 1, 1)), Kind::Answer);
}

#[test]
fn a_long_reply_is_kept_without_its_records() {
    let asked = query(7, "example.org", 1, 1);
    let question = question(&asked);
    let mut long = reply(&asked, 3);
    long[7] = 9;
    long.resize(MAX_QUERY, 1);
    assert_eq!(question.abridged(&long), long);
    long.push(1);
    assert_eq!(question.abridged(&long), reply(&asked, 3));
    // A server that left the question out has records there.
    long[5] = 0;
    let mut header = reply(&asked, 3)[..HEADER_LEN].to_vec();
    header[5] = 0;
    assert_eq!(question.abridged(&long), header);
}

#[test]
fn replies_and_fragments_are_ignored() {
    let message = query(7, "example.org", 1, 1);
    assert_eq!(classify(&reply(&message, 0)), Kind::Ignore);
    for len in 0..HEADER_LEN {
        assert_eq!(classify(&message[..len]), Kind::Ignore, "{len}");
    }
}

#[test]
fn a_reply_must_answer_the_question() {
    let asked = query(7, "vPn.example.org", 65, 1);
    let question = question(&asked);
    let answers = |reply: &[u8]| question.is_answered_by(&asked, reply);
    assert!(answers(&reply(&asked, 0)));
    assert!(answers(&reply(&query(7, "VPN.EXAMPLE.ORG", 65, 1), 3)));
    // 65 and 97 differ as letters do by case only.
    assert!(!answers(&reply(&query(7, "vpn.example.org", 97, 1), 0)));
    assert!(!answers(&reply(&query(7, "vpn.example.com", 65, 1), 0)));
    assert!(!answers(&reply(&query(7, "vpn.example.org", 65, 3), 0)));
    assert!(!answers(&reply(&query(7, "example.org", 65, 1), 0)));
    assert!(!answers(&asked), "a query is no reply");
    for len in 0..asked.len() {
        assert!(!answers(&reply(&asked, 0)[..len]), "{len}");
    }
    let mut headless = reply(&asked, 1);
    headless[5] = 0;
    headless.truncate(HEADER_LEN);
    assert!(answers(&headless), "FORMERR without the question");
    for (code, counts) in [
        (0, false),
        (2, true),
        (3, false),
        (4, true),
        (5, true),
        (6, false),
    ] {
        headless[3] = 0x80 | code;
        assert_eq!(
            answers(&headless),
            counts,
            "RCODE {code} without the question"
        );
    }
}

#[test]
fn ids_and_codes() {
    let mut message = query(0x1234, "example.org", 1, 1);
    assert_eq!(id(&message), 0x1234);
    set_id(&mut message, 0xfedc);
    assert_eq!(&message[..2], [0xfe, 0xdc]);
    assert_eq!((id(&[]), id(&[1]), rcode(&[0; 3])), (0, 0, 0));
    set_id(&mut [], 1);
}

#[test]
fn what_another_server_may_do_better() {
    let message = query(7, "example.org", 1, 1);
    let codes = [
        (0, false),
        (1, true),
        (2, true),
        (3, false),
        (4, true),
        (5, true),
        (6, false),
    ];
    for (code, failure) in codes {
        assert_eq!(is_failure(&reply(&message, code)), failure, "{code}");
    }
    // Neither RA nor AA nor TC, and no answer.
    let mut lame = reply(&message, 0);
    lame[3] = 0;
    assert!(is_failure(&lame));
    for (at, bits) in [(2, 0x04), (2, 0x02), (3, 0x80), (3, 0x03), (7, 1)] {
        let mut good = lame.clone();
        good[at] |= bits;
        assert!(!is_failure(&good), "{at} {bits}");
    }
}

#[test]
fn a_digest_is_of_all_but_the_id() {
    let message = query(7, "example.org", 1, 1);
    let digest_of = |id, at: usize, bits: u8| {
        let mut other = message.clone();
        set_id(&mut other, id);
        other[at] ^= bits;
        digest(&other)
    };
    assert_eq!(digest(&message), digest_of(8, 3, 0));
    for at in 2..message.len() {
        assert_ne!(digest(&message), digest_of(7, at, 0x20), "{at}");
    }
    assert_eq!(digest(&[]), 0);
}
