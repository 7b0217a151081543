//! EDNS (RFC 6891). A relay changes one thing of it: how large a reply over UDP may
//! be. A larger one would come in fragments, which home routers drop and forgers like;
//! what does not fit is asked for over TCP (DNS flag day 2020).

use super::message::Question;

/// The size that we ask for at most.
pub const MAX_PAYLOAD: u16 = 1232;

const TYPE_SIG: u16 = 24;
const TYPE_OPT: u16 = 41;
const TYPE_TSIG: u16 = 250;
/// Type, class, time to live and length behind a record's name.
const FIXED_LEN: usize = 10;

/// Lowers the size that a query asks for to [`MAX_PAYLOAD`], in place. A message
/// that is signed, or whose records cannot be followed, stays as it is.
pub fn limit_payload(query: &mut [u8], question: Question) {
    if let Some(at) = payload_at(query, question.end())
        && let Some(size) = query.get_mut(at..at + 2)
        && u16::from_be_bytes([size[0], size[1]]) > MAX_PAYLOAD
    {
        size.copy_from_slice(&MAX_PAYLOAD.to_be_bytes());
    }
}

/// Where the size stands, in a message that is not signed.
fn payload_at(message: &[u8], records: usize) -> Option<usize> {
    let records = follow(message, records)?;
    let opt = records.opt.filter(|_| !records.is_signed)?;
    Some(opt.class)
}

/// An OPT record.
#[derive(Clone, Copy)]
pub struct Opt {
    /// Where its class stands, which says the size.
    class: usize,
}

impl Opt {
    /// Whether it asks for DNSSEC's records: behind the size stand the rest of the
    /// RCODE, the version and the flags, of which DO is the first.
    #[must_use]
    pub fn dnssec_ok(self, message: &[u8]) -> bool {
        let flags = message.get(self.class + 4);
        flags.is_some_and(|flags| flags & 0x80 != 0)
    }
}

/// An OPT record of ours, without options.
#[must_use]
pub fn opt(dnssec_ok: bool) -> Vec<u8> {
    let [high, low] = MAX_PAYLOAD.to_be_bytes();
    let flags = u8::from(dnssec_ok) << 7;
    vec![0, 0, TYPE_OPT as u8, high, low, 0, 0, flags, 0, 0, 0]
}

/// What the records of a message tell.
#[derive(Default)]
pub struct Records {
    /// The OPT record among the additional ones.
    pub opt: Option<Opt>,
    /// A signature is among them, of all bytes before it.
    pub is_signed: bool,
}

/// Follows the records of a message, which begin at `records`. None where that cannot
/// be done, or where there are two OPT records.
#[must_use]
pub fn follow(message: &[u8], records: usize) -> Option<Records> {
    let word = |at: usize| Some(u16::from_be_bytes(*message.get(at..)?.first_chunk()?));
    let (before, additional) = (u32::from(word(6)?) + u32::from(word(8)?), word(10)?);
    let mut found = Records::default();
    let mut at = records;
    for number in 0..before + u32::from(additional) {
        let fixed = name_end(message, at)?;
        let (kind, class) = (word(fixed)?, fixed + 2);
        match kind {
            TYPE_SIG | TYPE_TSIG => found.is_signed = true,
            TYPE_OPT if number >= before && found.opt.replace(Opt { class }).is_some() => {
                return None;
            }
            _ => {}
        }
        at = fixed + FIXED_LEN + usize::from(word(fixed + FIXED_LEN - 2)?);
    }
    (at <= message.len()).then_some(found)
}

/// The offset behind the name at `at`, which may end in a pointer.
fn name_end(message: &[u8], mut at: usize) -> Option<usize> {
    loop {
        match *message.get(at)? {
            0 => return Some(at + 1),
            len @ ..0x40 => at += 1 + usize::from(len),
            0xc0.. => return Some(at + 2),
            _ => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::message::tests::query;
    use super::super::message::{Kind, classify};
    use super::*;

    fn opt(size: u16) -> Vec<u8> {
        let [high, low] = size.to_be_bytes();
        vec![0, 0, 41, high, low, 0, 0, 0x80, 0, 0, 4, 0, 10, 0, 0]
    }

    fn record(name: &[u8], kind: u8) -> Vec<u8> {
        [name, &[0, kind, 0, 1, 0, 0, 0, 0, 0, 2, 7, 7]].concat()
    }

    /// What becomes of a query with these records, `before` of them in front of
    /// the additional section.
    fn limited(before: u8, records: &[Vec<u8>]) -> (Vec<u8>, Vec<u8>) {
        let mut message = query(7, "vpn.example.org", 1, 1);
        message[7] = before;
        message[11] = records.len() as u8 - before;
        message.extend(records.concat());
        let Kind::Relay(question) = classify(&message) else {
            panic!()
        };
        let before = message.clone();
        limit_payload(&mut message, question);
        (before, message)
    }

    #[test]
    fn two_bytes_change_and_only_to_a_lower_size() {
        for size in [0, 512, 1231, 1232] {
            let (before, after) = limited(0, &[opt(size)]);
            assert_eq!(before, after, "{size}");
        }
        for size in [1233, 1400, 4096, u16::MAX] {
            let (mut before, after) = limited(0, &[opt(size)]);
            let at = before.len() - 12;
            before[at..at + 2].copy_from_slice(&[0x04, 0xd0]);
            assert_eq!(before, after, "{size}");
        }
    }

    #[test]
    fn the_record_is_found_among_others() {
        let pointer = record(&[0xc0, 12], 1);
        let named = record(b"\x03vpn\x00", 16);
        let (before, after) = limited(1, &[pointer.clone(), named, opt(4096), pointer]);
        let changed = before.iter().zip(&after).filter(|(a, b)| a != b).count();
        assert_eq!(changed, 2);
    }

    #[test]
    fn what_is_signed_odd_or_broken_stays_as_it_is() {
        let cut = |len: usize| opt(4096)[..len].to_vec();
        for records in [
            vec![opt(4096), record(&[0], 250)],
            vec![opt(4096), record(&[0], 24)],
            vec![opt(4096), opt(4096)],
            vec![record(&[0x80, 1], 1), opt(4096)],
            vec![opt(4096), vec![]],
            vec![cut(14)],
            vec![cut(9)],
            vec![cut(1)],
        ] {
            let (before, after) = limited(0, &records);
            assert_eq!(before, after, "{records:x?}");
        }
        // Not in the additional section.
        let (before, after) = limited(1, &[opt(4096)]);
        assert_eq!(before, after);
    }
}
