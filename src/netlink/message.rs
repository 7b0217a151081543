//! The framing of netlink messages (linux/netlink.h): pure.

use std::fmt;
use std::io;

use super::attributes::attributes;

/// Length of struct nlmsghdr.
const HEADER: usize = 16;
/// Attribute of a refusal: why, in words (NLMSGERR_ATTR_MSG).
const ATTR_MSG: u16 = 1;
const ERROR: u16 = libc::NLMSG_ERROR as u16;
const DONE: u16 = libc::NLMSG_DONE as u16;
const NOOP: u16 = libc::NLMSG_NOOP as u16;
const DUMP_INTR: u16 = libc::NLM_F_DUMP_INTR as u16;

/// One message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Message<'a> {
    /// RTM_*, NFT_MSG_*, … with its subsystem.
    pub kind: u16,
    /// NLM_F_*.
    pub flags: u16,
    /// Of the request that it answers.
    pub sequence: u32,
    /// Of an event: the port of the socket whose request caused it, 0 for what
    /// the kernel did by itself.
    pub port: u32,
    /// What follows the header.
    pub body: &'a [u8],
}

impl Message<'_> {
    /// Whether it says how a request went: that it was refused, or an ACK.
    #[must_use]
    pub fn is_verdict(&self) -> bool {
        self.kind == ERROR
    }
}

/// The messages in what a socket gave. One that is cut off ends them; libmnl's
/// own iterator would panic on an unpadded last one.
pub(super) struct Messages<'a>(pub &'a [u8]);

impl<'a> Iterator for Messages<'a> {
    type Item = Message<'a>;

    fn next(&mut self) -> Option<Message<'a>> {
        let header = self.0.first_chunk::<HEADER>()?;
        let half = |at: usize| u16::from_ne_bytes([header[at], header[at + 1]]);
        let word = |at: usize| {
            u32::from_ne_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]])
        };
        let length = usize::try_from(word(0)).ok()?;
        let message = Message {
            kind: half(4),
            flags: half(6),
            sequence: word(8),
            port: word(12),
            body: self.0.get(HEADER..length)?,
        };
        // Messages start at multiples of 4 (NLMSG_ALIGN).
        self.0 = self.0.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some(message)
    }
}

/// The answer to one request, as far as it has come.
pub(super) struct Answer {
    sequence: u32,
    /// Whether what a dump lists changed on the way.
    pub interrupted: bool,
}

impl Answer {
    pub fn to(sequence: u32) -> Self {
        Self {
            sequence,
            interrupted: false,
        }
    }

    /// Takes some messages more; true with the last one.
    pub fn take(
        &mut self,
        messages: Messages,
        take: &mut dyn FnMut(&[u8]),
    ) -> Result<bool, Refused> {
        for message in messages {
            // What is left of an answer that was given up.
            if message.sequence != self.sequence {
                continue;
            }
            self.interrupted |= message.flags & DUMP_INTR != 0;
            match message.kind {
                ERROR | DONE => return verdict(message.body).map(|()| true),
                NOOP => {}
                _ => take(message.body),
            }
        }
        Ok(false)
    }
}

/// A request as bytes.
pub(super) fn emit(kind: u16, flags: u16, sequence: u32, body: &[u8]) -> Vec<u8> {
    let length = HEADER + body.len();
    let mut bytes = Vec::with_capacity(length);
    // Requests are a few hundred bytes long.
    bytes.extend((length as u32).to_ne_bytes());
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(flags.to_ne_bytes());
    bytes.extend(sequence.to_ne_bytes());
    // To the kernel.
    bytes.extend(0_u32.to_ne_bytes());
    bytes.extend(body);
    bytes
}

/// A request that the kernel refused, or an answer that did not come.
#[derive(Debug)]
pub struct Refused {
    errno: io::Error,
    /// What the kernel added to it, often nothing.
    reason: String,
}

impl Refused {
    /// One with words besides the kernel's own for its errno.
    #[must_use]
    pub fn because(errno: io::Error, reason: &str) -> Self {
        let reason = reason.to_owned();
        Self { errno, reason }
    }

    /// Whether the kernel said `code` (libc's E…).
    #[must_use]
    pub fn is(&self, code: i32) -> bool {
        self.errno.raw_os_error() == Some(code)
    }
}

impl From<io::Error> for Refused {
    fn from(errno: io::Error) -> Self {
        Self::because(errno, "")
    }
}

/// Without the words that came with it.
impl From<Refused> for io::Error {
    fn from(refused: Refused) -> Self {
        refused.errno
    }
}

impl std::error::Error for Refused {}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.errno.fmt(f)?;
        match self.reason.as_str() {
            "" => Ok(()),
            reason => write!(f, ": {reason}"),
        }
    }
}

/// What an NLMSG_ERROR (struct nlmsgerr) or NLMSG_DONE says: 0 or -errno, and
/// perhaps why.
pub(super) fn verdict(body: &[u8]) -> Result<(), Refused> {
    let Some((code, rest)) = body.split_first_chunk() else {
        return Ok(());
    };
    match i32::from_ne_bytes(*code) {
        0.. => Ok(()),
        code => Err(Refused {
            errno: io::Error::from_raw_os_error(code.wrapping_neg()),
            reason: match code.wrapping_neg() {
                libc::EPERM => "needs root of this network (CAP_NET_ADMIN)".into(),
                _ => reason(rest).unwrap_or_default(),
            },
        }),
    }
}

/// The words after the request, which the kernel sends back in whole.
fn reason(refused: &[u8]) -> Option<String> {
    let request = u32::from_ne_bytes(*refused.first_chunk()?) as usize;
    let words = attributes(refused, request.next_multiple_of(4)).get(ATTR_MSG)?;
    let words = String::from_utf8_lossy(words);
    Some(words.trim_end_matches('\0').to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const DUMPED: u16 = libc::NLM_F_MULTI as u16;

    fn answer(pieces: &[Vec<u8>]) -> (Answer, Vec<Vec<u8>>, Result<bool, Refused>) {
        let mut answer = Answer::to(7);
        let mut taken = Vec::new();
        let mut result = Ok(false);
        for piece in pieces {
            result = answer.take(Messages(piece), &mut |body| taken.push(body.to_vec()));
        }
        (answer, taken, result)
    }

    #[test]
    fn what_is_emitted_is_a_message() {
        let one = emit(0x0a01, 5, 77, &[1, 2, 3, 4]);
        let mut two = [one.as_slice(), &one].concat();
        let expected = Message {
            kind: 0x0a01,
            flags: 5,
            sequence: 77,
            port: 0,
            body: &[1, 2, 3, 4],
        };
        let messages: Vec<Message> = Messages(&two).collect();
        assert_eq!(messages, [expected, expected]);
        // Shorter than its own header, longer than what is there, cut off.
        for length in [0_u32, 15, 25] {
            two[..4].copy_from_slice(&length.to_ne_bytes());
            assert_eq!(Messages(&two[..20]).next(), None, "{length}");
        }
        assert_eq!(Messages(&two[..15]).next(), None);
        // The last one may end without its padding.
        let odd = emit(1, 0, 7, &[9]);
        assert_eq!(Messages(&odd).count(), 1);
    }

    #[test]
    fn an_answer_ends_with_its_verdict() {
        let (answer, taken, result) = self::answer(&[
            [
                emit(30, DUMPED, 6, b"left"),
                emit(30, DUMPED, 7, b"one "),
                emit(NOOP, DUMPED, 7, b"noop"),
            ]
            .concat(),
            [emit(30, DUMPED, 7, b"two "), emit(DONE, DUMPED, 7, &[0; 4])].concat(),
        ]);
        assert!(matches!(result, Ok(true)));
        assert!(!answer.interrupted);
        assert_eq!(taken, [b"one ", b"two "]);
        let (_, taken, result) = self::answer(&[emit(30, 0, 7, b"one ")]);
        assert!(matches!(result, Ok(false)), "the ACK is to come");
        assert_eq!(taken.len(), 1);
    }

    #[test]
    fn a_dump_tells_when_it_was_interrupted() {
        let piece = |flags| emit(30, DUMPED | flags, 7, b"one ");
        let done = |flags| emit(DONE, DUMPED | flags, 7, &[0; 4]);
        for (pieces, interrupted) in [
            (vec![piece(0), done(0)], false),
            (vec![piece(DUMP_INTR), piece(0), done(0)], true),
            (vec![piece(0), done(DUMP_INTR)], true),
        ] {
            assert_eq!(self::answer(&pieces).0.interrupted, interrupted);
        }
    }

    #[test]
    fn a_refusal_is_an_errno_and_words() {
        let refused = |code: i32, words: &[u8]| {
            let mut body = code.to_ne_bytes().to_vec();
            // The request, then an attribute that is none of ours, then the words.
            body.extend(emit(24, 0, 7, b"abcdef"));
            body.extend([0, 0]);
            for half in [8_u16, 2] {
                body.extend(half.to_ne_bytes());
            }
            body.extend(1_u32.to_ne_bytes());
            body.extend((4 + words.len() as u16).to_ne_bytes());
            body.extend(ATTR_MSG.to_ne_bytes());
            body.extend(words);
            verdict(&body).map_err(|refused| refused.to_string())
        };
        assert_eq!(refused(0, b"no matter"), Ok(()));
        let why = refused(-libc::EINVAL, b"Nexthop has invalid gateway\0").unwrap_err();
        assert!(
            why.ends_with("(os error 22): Nexthop has invalid gateway"),
            "{why}"
        );
        let why = refused(-libc::EPERM, b"words\0").unwrap_err();
        assert!(why.ends_with("(CAP_NET_ADMIN)"), "{why}");
        assert!(verdict(&i32::MIN.to_ne_bytes()).is_err());
        assert!(verdict(&[]).is_ok());
        let bare = verdict(&(-libc::ENOENT).to_ne_bytes()).unwrap_err();
        assert!(bare.is(libc::ENOENT) && bare.to_string().ends_with("(os error 2)"));
    }
}
