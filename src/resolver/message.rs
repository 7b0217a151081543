//! The little of a DNS message that a relay must know: header and question
//! (RFC 1035, sections 4.1.1 and 4.1.2). Everything behind stays bytes.

/// Bytes of the header.
pub const HEADER_LEN: usize = 12;
/// A query is longer than this only to take our memory: a name has 255 bytes,
/// padding goes up to 128 (RFC 8467), a cookie or a subnet takes 40 more.
pub const MAX_QUERY: usize = 4096;
/// The longest name on the wire, with its root label.
const MAX_NAME_LEN: usize = 255;
/// Labels with one of these bits are pointers or of unknown kind.
const NOT_A_PLAIN_LABEL: u8 = 0xc0;
/// Type and class behind the name.
const FIXED_LEN: usize = 4;

const CLASS_CHAOS: u16 = 3;
const TYPE_IXFR: u16 = 251;
const TYPE_AXFR: u16 = 252;

/// RCODE 1: the server could not read the query.
pub const FORMERR: u8 = 1;
/// RCODE 2: the server tried and could not.
pub const SERVFAIL: u8 = 2;
/// RCODE 4: the server does not know how to.
pub const NOTIMP: u8 = 4;
/// RCODE 5: the server does not want to.
pub const REFUSED: u8 = 5;

/// What to do with a message of a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// One question of an ordinary query: goes to a server as it is.
    Relay(Question),
    /// Wants an answer of our own: another opcode, class CHAOS, a zone
    /// transfer, or it is malformed or longer than [`MAX_QUERY`].
    Answer,
    /// A reply, or too short to be answered: taking it up would let two
    /// servers talk to each other for ever.
    Ignore,
}

/// Where the question stands: from [`HEADER_LEN`] up to `end`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Question {
    /// The offset behind it.
    end: usize,
}

/// Looks at a message of a client.
#[must_use]
pub fn classify(message: &[u8]) -> Kind {
    let Some(header) = message.first_chunk::<HEADER_LEN>() else {
        return Kind::Ignore;
    };
    let is_reply = header[2] & 0x80 != 0;
    let opcode = header[2] >> 3 & 0x0f;
    match Question::of(message) {
        _ if is_reply => Kind::Ignore,
        _ if message.len() > MAX_QUERY => Kind::Answer,
        Some(question)
            if opcode == 0 && questions(message) == 1 && question.is_ordinary(message) =>
        {
            Kind::Relay(question)
        }
        _ => Kind::Answer,
    }
}

impl Question {
    /// The first question of a message; none where its name is not made of
    /// plain labels or the message ends in it.
    fn of(message: &[u8]) -> Option<Self> {
        let mut at = HEADER_LEN;
        loop {
            match *message.get(at)? {
                0 => break,
                len if len & NOT_A_PLAIN_LABEL != 0 => return None,
                len => at += 1 + usize::from(len),
            }
            if at - HEADER_LEN >= MAX_NAME_LEN {
                return None;
            }
        }
        let end = at + 1 + FIXED_LEN;
        (end <= message.len()).then_some(Self { end })
    }

    /// Neither CHAOS (ours to answer) nor a zone transfer (which is more than
    /// one message and no business of a stub's forwarder).
    fn is_ordinary(self, message: &[u8]) -> bool {
        let (_, fixed) = self.parts(message);
        let word = |at: usize| {
            fixed
                .get(at..at + 2)
                .map_or(0, |w| u16::from_be_bytes([w[0], w[1]]))
        };
        word(2) != CLASS_CHAOS && !matches!(word(0), TYPE_IXFR | TYPE_AXFR)
    }

    /// Name, and type with class, of the question at this place in `message`;
    /// empty where the message is too short.
    fn parts(self, message: &[u8]) -> (&[u8], &[u8]) {
        let question = message.get(HEADER_LEN..self.end).unwrap_or_default();
        question.split_at(question.len().saturating_sub(FIXED_LEN))
    }

    /// Whether `reply` answers this question of `query`.
    ///
    /// Names are compared without case: a server may spell a name as its zone
    /// does. A server that could not even read the query may leave the
    /// question out (RFC 1035 asks for it only in the example), so a failure
    /// of the server without one counts. What is said of a name needs the name.
    #[must_use]
    pub fn is_answered_by(self, query: &[u8], reply: &[u8]) -> bool {
        let Some(header) = reply.first_chunk::<HEADER_LEN>() else {
            return false;
        };
        let is_reply = header[2] & 0x80 != 0;
        let same_opcode = (header[2] >> 3 & 0x0f) == 0;
        let asked = match questions(reply) {
            0 => is_failure_code(rcode(reply)),
            1 => {
                let (name, fixed) = self.parts(query);
                let (reply_name, reply_fixed) = self.parts(reply);
                // Nearly always all bytes are equal, which is found out sooner.
                (name == reply_name || name.eq_ignore_ascii_case(reply_name))
                    && fixed == reply_fixed
                    && !fixed.is_empty()
            }
            _ => false,
        };
        is_reply && same_opcode && asked
    }

    /// The offset behind it.
    #[must_use]
    pub(super) fn end(self) -> usize {
        self.end
    }

    /// A copy of `reply` to keep: one that is longer than [`MAX_QUERY`] without
    /// its records.
    #[must_use]
    pub fn abridged(self, reply: &[u8]) -> Vec<u8> {
        if reply.len() <= MAX_QUERY {
            return reply.to_vec();
        }
        let end = if questions(reply) == 0 {
            HEADER_LEN
        } else {
            self.end
        };
        let mut kept = reply.get(..end).unwrap_or_default().to_vec();
        if let Some(records) = kept.get_mut(6..HEADER_LEN) {
            records.fill(0);
        }
        kept
    }
}

/// How many questions a message claims to have.
#[must_use]
pub fn questions(message: &[u8]) -> u16 {
    message
        .get(4..6)
        .map_or(0, |count| u16::from_be_bytes([count[0], count[1]]))
}

/// The id of a message, 0 where there is none.
#[must_use]
pub fn id(message: &[u8]) -> u16 {
    message
        .first_chunk()
        .map_or(0, |id| u16::from_be_bytes(*id))
}

/// Gives a message another id.
pub fn set_id(message: &mut [u8], id: u16) {
    if let Some(first) = message.first_chunk_mut() {
        *first = id.to_be_bytes();
    }
}

/// The low four bits of the RCODE, which is all that the header holds.
#[must_use]
pub fn rcode(message: &[u8]) -> u8 {
    message.get(3).map_or(0, |byte| byte & 0x0f)
}

/// Whether another server may do better. These RCODEs are about the server (and
/// about a message that it is too old for), every other one is about the name;
/// and a server that neither recurses nor is responsible for the name, and has
/// no answer, is the wrong one to ask (lame).
#[must_use]
pub fn is_failure(message: &[u8]) -> bool {
    is_failure_code(rcode(message)) || is_lame(message)
}

fn is_failure_code(rcode: u8) -> bool {
    matches!(rcode, FORMERR | SERVFAIL | NOTIMP | REFUSED)
}

fn is_lame(message: &[u8]) -> bool {
    const AUTHORITATIVE_OR_TRUNCATED: u8 = 0x04 | 0x02;
    const RECURSION_AVAILABLE: u8 = 0x80;
    let Some(header) = message.first_chunk::<HEADER_LEN>() else {
        return false;
    };
    rcode(message) == 0
        && header[2] & AUTHORITATIVE_OR_TRUNCATED == 0
        && header[3] & RECURSION_AVAILABLE == 0
        && header[6..8] == [0, 0]
}

/// A number by which equal messages are found; their ids do not matter. Others
/// may have the same.
#[must_use]
pub fn digest(message: &[u8]) -> u32 {
    let words = message.get(2..).unwrap_or_default().chunks(4);
    words.fold(0, |digest: u32, word| {
        let mut bytes = [0; 4];
        bytes[..word.len()].copy_from_slice(word);
        (digest.rotate_left(5) ^ u32::from_le_bytes(bytes)).wrapping_mul(0x9e37_79b1)
    })
}

#[cfg(test)]
pub(super) mod tests;
