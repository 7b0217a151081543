//! Answers of our own: CHAOS look-ups, what is not a plain query, what cannot be
//! read, no server, overload. All else is relayed as bytes.
//!
//! What is said is decided here. [`reply`] reads the message and writes the answer,
//! [`texts`] are what CHAOS names have to say.

mod reply;
mod texts;

use hickory_server::net::xfer::Protocol;
use hickory_server::proto::op::{OpCode, ResponseCode};
use hickory_server::proto::rr::{DNSClass, RecordType};

use super::message::{self, Kind};
use super::upstream::Upstream;
use reply::Asked;

/// Where the state of the servers can be read.
pub trait Report {
    /// The servers, as they are now.
    fn upstreams(&self) -> Vec<Upstream>;
}

/// Why a client gets an answer of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// The message itself wants it: see [`super::message::Kind::Answer`].
    Message,
    /// No server is known, or none has answered.
    NoServer,
    /// As many queries as allowed wait already.
    Overload,
}

/// Encodes the answer to `message`; none where it deserves none.
#[must_use]
pub fn encode(
    report: &dyn Report,
    message: &[u8],
    protocol: Protocol,
    reason: Reason,
) -> Option<Vec<u8>> {
    if message::classify(message) == Kind::Ignore {
        return None;
    }
    let asked = Asked::read(message).or_else(|| Asked::read_header(message))?;
    match outcome(&asked, reason, report) {
        Ok(texts) => asked.reply(ResponseCode::NoError, Some(&texts), protocol),
        Err(code) => asked.reply(code, None, protocol),
    }
}

/// The texts that a CHAOS look-up gets, or the RCODE that anything else does.
fn outcome(
    asked: &Asked<'_>,
    reason: Reason,
    report: &dyn Report,
) -> Result<Vec<String>, ResponseCode> {
    if asked.opcode() != OpCode::Query {
        return Err(ResponseCode::NotImp);
    }
    let kind = match asked.query() {
        Some(query) if query.query_class() == DNSClass::CH => {
            let texts = match query.query_type() {
                RecordType::TXT | RecordType::ANY => texts::of(asked.name(), report),
                _ => None,
            };
            return texts.ok_or(ResponseCode::Refused);
        }
        query => query.map(|query| query.query_type()),
    };
    Err(match (reason, kind) {
        (Reason::NoServer, _) => ResponseCode::ServFail,
        (Reason::Overload, _) => ResponseCode::Refused,
        (Reason::Message, Some(RecordType::AXFR | RecordType::IXFR)) => ResponseCode::Refused,
        // A question that is none.
        (Reason::Message, _) => ResponseCode::FormErr,
    })
}

#[cfg(test)]
mod tests;
