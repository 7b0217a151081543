//! Messages of clients and servers (RFC 1035, RFC 6891).

use super::weather::Behaviour;

const OPT: u16 = 41;
/// Longer ones come in fragments, which are lost on this path: 1,500 bytes less
/// the headers of IPv6 and UDP.
pub const PATH: usize = 1452;

/// A query for a name that tells them apart, with EDNS of that size or none.
pub fn query(id: u16, name: u8, payload: Option<u16>) -> Vec<u8> {
    let mut message = id.to_be_bytes().to_vec();
    let extra = u8::from(payload.is_some());
    message.extend([0x01, 0x00, 0, 1, 0, 0, 0, 0, 0, extra]);
    let label = format!("Vpn{name}");
    message.push(label.len() as u8);
    message.extend(label.bytes());
    message.extend(b"\x07Example\x03org\0");
    message.extend([0, 28, 0, 1]);
    if let Some(payload) = payload {
        message.push(0);
        message.extend(OPT.to_be_bytes());
        message.extend(payload.to_be_bytes());
        message.extend([0, 0, 0, 0, 0, 0]);
    }
    message
}

/// Where the question ends.
fn end_of_question(message: &[u8]) -> usize {
    let mut at = 12;
    while message[at] != 0 {
        at += 1 + usize::from(message[at]);
    }
    at + 5
}

/// The number in the name.
pub fn name(message: &[u8]) -> u8 {
    let len = usize::from(message[12]);
    let label = std::str::from_utf8(&message[13..13 + len]).unwrap();
    label[3..].parse().unwrap()
}

/// The size that a message says it takes.
pub fn payload(message: &[u8]) -> Option<u16> {
    let opt = message.get(end_of_question(message)..)?;
    (message[11] == 1 && opt.len() >= 11).then(|| u16::from_be_bytes([opt[3], opt[4]]))
}

/// What a server says, with a number that nothing else has; and whether it is an
/// answer that a client can use.
pub fn reply(query: &[u8], behaviour: Behaviour, number: u32) -> (Vec<u8>, bool) {
    let end = end_of_question(query);
    let mut reply = query[..end].to_vec();
    reply[2] = 0x81;
    reply[3] = 0x80;
    reply[6..12].copy_from_slice(&[0, 1, 0, 0, 0, 0]);
    let failed = |mut reply: Vec<u8>, rcode: u8| {
        reply[3] |= rcode;
        reply[7] = 0;
        (reply, false)
    };
    match behaviour {
        Behaviour::Servfail => return failed(reply, 2),
        Behaviour::Notimp => return failed(reply, 4),
        Behaviour::Refused => return failed(reply, 5),
        Behaviour::Lame => {
            reply[3] = 0;
            return failed(reply, 0);
        }
        Behaviour::NoEdns if payload(query).is_some() => {
            reply.truncate(12);
            reply[5] = 0;
            return failed(reply, 1);
        }
        Behaviour::WrongQuestion => reply[14] ^= 1,
        Behaviour::Lowercased => reply[13..end].make_ascii_lowercase(),
        Behaviour::Truncated => {
            reply[2] |= 2;
            reply[7] = 0;
        }
        _ => {}
    }
    // An address record; its last bytes are the number.
    reply.extend([0xc0, 12, 0, 28, 0, 1, 0, 0, 0, 60, 0, 16]);
    reply.extend([0x20, 1, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0]);
    reply.extend(number.to_be_bytes());
    if behaviour == Behaviour::Long {
        let longest = usize::from(payload(query).unwrap_or(512));
        reply.resize(longest.max(reply.len()), 0);
    }
    (reply, behaviour != Behaviour::WrongQuestion)
}
