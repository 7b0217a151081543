//! Reads what a message asks, and writes what is answered.
//!
//! hickory decodes header and question and encodes the header. Its decoder and
//! encoder of records stay out: they link what it knows of all types, 60 kB, and an
//! answer has a text and an OPT at most.

use hickory_server::net::xfer::Protocol;
use hickory_server::proto::op::{Header, HeaderCounts, Metadata, OpCode, Query, ResponseCode};
use hickory_server::proto::serialize::binary::{
    BinDecodable, BinDecoder, BinEncodable, BinEncoder,
};

use crate::resolver::edns::{self, MAX_PAYLOAD};
use crate::resolver::message::{self, HEADER_LEN, MAX_QUERY};

/// Without EDNS, UDP carries so much (RFC 1035, section 4.2.1).
pub(super) const PLAIN_PAYLOAD: u16 = 512;
/// Type and class of the question.
const FIXED_LEN: usize = 4;
/// The longest text of a TXT record (RFC 1035, section 3.3).
const MAX_TEXT: usize = 255;

/// What a message asks, as far as an answer needs it.
pub(super) struct Asked<'a> {
    metadata: Metadata,
    query: Option<Query>,
    /// The same as it came, spelling and all.
    question: &'a [u8],
    /// DO of its OPT record, where it has one.
    dnssec_ok: Option<bool>,
}

impl<'a> Asked<'a> {
    /// Reads a whole message. Not one that claims many questions, nor a long one: it
    /// came to take our time.
    pub(super) fn read(message: &'a [u8]) -> Option<Self> {
        if message.len() > MAX_QUERY || message::questions(message) > 1 {
            return None;
        }
        let mut decoder = BinDecoder::new(message);
        let Header { metadata, counts } = Header::read(&mut decoder).ok()?;
        let query = match counts.queries {
            0 => None,
            _ => Some(Query::read(&mut decoder).ok()?),
        };
        let question = decoder.slice_from(HEADER_LEN).ok()?;
        let records = edns::follow(message, decoder.index())?;
        let dnssec_ok = records.opt.map(|opt| opt.dnssec_ok(message));
        Some(Self {
            metadata,
            query,
            question,
            dnssec_ok,
        })
    }

    /// Of a message that cannot be read, its header.
    pub(super) fn read_header(message: &'a [u8]) -> Option<Self> {
        let header = Header::read(&mut BinDecoder::new(message)).ok()?;
        Some(Self {
            metadata: header.metadata,
            query: None,
            question: &[],
            dnssec_ok: None,
        })
    }

    /// Its opcode.
    pub(super) fn opcode(&self) -> OpCode {
        self.metadata.op_code
    }

    /// Its question, if it has one that can be read.
    pub(super) fn query(&self) -> Option<&Query> {
        self.query.as_ref()
    }

    /// The name in its question, as it stands there.
    pub(super) fn name(&self) -> &[u8] {
        let end = self.question.len().saturating_sub(FIXED_LEN);
        &self.question[..end]
    }

    /// Encodes the answer with this RCODE, and a TXT record where there are texts.
    /// Where that is too long, it says so and leaves it out.
    pub(super) fn reply(
        &self,
        code: ResponseCode,
        texts: Option<&[String]>,
        protocol: Protocol,
    ) -> Option<Vec<u8>> {
        let limit = match (protocol, self.dnssec_ok) {
            (Protocol::Udp, Some(_)) => MAX_PAYLOAD,
            (Protocol::Udp, None) => PLAIN_PAYLOAD,
            _ => u16::MAX,
        };
        let opt = self.dnssec_ok.map(edns::opt).unwrap_or_default();
        let mut text = texts.map(text_record).unwrap_or_default();
        let mut metadata = Metadata::response_from_request(&self.metadata);
        metadata.response_code = code;
        metadata.recursion_available = true;
        metadata.authoritative = texts.is_some();
        metadata.truncation =
            HEADER_LEN + self.question.len() + text.len() + opt.len() > limit.into();
        if metadata.truncation {
            text.clear();
        }
        let counts = HeaderCounts {
            queries: self.query.is_some().into(),
            answers: (!text.is_empty()).into(),
            authorities: 0,
            additionals: self.dnssec_ok.is_some().into(),
        };
        let mut bytes = Vec::with_capacity(PLAIN_PAYLOAD.into());
        let header = Header { metadata, counts };
        header.emit(&mut BinEncoder::new(&mut bytes)).ok()?;
        for part in [self.question, &text, &opt] {
            bytes.extend_from_slice(part);
        }
        Some(bytes)
    }
}

/// A TXT record for the name in the question; a CHAOS answer has no time to live.
fn text_record(texts: &[String]) -> Vec<u8> {
    // A pointer to the name, TXT, CH, 0 seconds, and two bytes for the length.
    let mut record = vec![0xc0, HEADER_LEN as u8, 0, 16, 0, 3, 0, 0, 0, 0, 0, 0];
    let start = record.len();
    for text in texts {
        let text = text.as_bytes();
        let text = &text[..text.len().min(MAX_TEXT)];
        record.push(text.len() as u8);
        record.extend_from_slice(text);
    }
    // A TXT record has one text at least (RFC 1035, section 3.3.14).
    if texts.is_empty() {
        record.push(0);
    }
    let length = (record.len() - start) as u16;
    record[start - 2..start].copy_from_slice(&length.to_be_bytes());
    record
}
