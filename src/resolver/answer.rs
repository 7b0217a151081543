//! Answers of our own, built by hickory-server: CHAOS look-ups, what is not a
//! plain query, what cannot be read, no server, overload.
//!
//! The same handler serves UDP and TCP. Everything else is relayed as bytes.

use std::net::SocketAddr;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use hickory_server::net::NetError;
use hickory_server::net::runtime::{Time, TokioTime};
use hickory_server::net::xfer::Protocol;
use hickory_server::proto::op::{Edns, Header, HeaderCounts, Metadata, OpCode, ResponseCode};
use hickory_server::proto::rr::rdata::TXT;
use hickory_server::proto::rr::{DNSClass, Name, RData, Record, RecordType};
use hickory_server::proto::serialize::binary::{BinDecodable, BinDecoder, BinEncoder};
use hickory_server::server::{Request, RequestHandler, ResponseHandler, ResponseInfo};
use hickory_server::zone_handler::{MessageResponse, MessageResponseBuilder, Queries};

use super::message::{self, Kind, MAX_QUERY};
use super::upstream::{State, Upstream};
use crate::health::Health;

/// What `version.bind` says.
const VERSION: &str = concat!("gluon-wan ", env!("CARGO_PKG_VERSION"));
/// The payload size that we take (DNS flag day 2020).
const MAX_PAYLOAD: u16 = 1232;
/// Without EDNS, UDP carries so much (RFC 1035, section 4.2.1).
const PLAIN_PAYLOAD: u16 = 512;

/// Where the state of the servers can be read.
pub trait Report: Send + Sync + 'static {
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

/// Answers one message.
pub struct Answerer {
    report: Arc<dyn Report>,
    reason: Reason,
}

/// Encodes the answer to `message`; none where it deserves none.
#[must_use]
pub fn encode(
    report: &Arc<dyn Report>,
    message: &[u8],
    client: SocketAddr,
    protocol: Protocol,
    reason: Reason,
) -> Option<Vec<u8>> {
    if message::classify(message) == Kind::Ignore {
        return None;
    }
    let encoded = Encoded::new(protocol);
    match read(message, client, protocol) {
        Some(request) => {
            let answerer = Answerer {
                report: Arc::clone(report),
                reason,
            };
            now(answerer.handle_request::<_, TokioTime>(&request, encoded.clone()))?;
        }
        None => now(header_only(message, reason, encoded.clone()))?,
    }
    encoded.take()
}

/// The message, decoded. Not of one that claims many questions, for which
/// hickory would make room, nor of a long one: a few bytes that point to a name
/// take hundreds of bytes when they are decoded.
fn read(message: &[u8], client: SocketAddr, protocol: Protocol) -> Option<Request> {
    let modest = message.len() <= MAX_QUERY && message::questions(message) <= 1;
    modest
        .then(|| Request::from_bytes(message.to_vec(), client, protocol).ok())
        .flatten()
}

/// The outcome of a future that has nothing to wait for.
fn now<T>(future: impl Future<Output = T>) -> Option<T> {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(outcome) => Some(outcome),
        Poll::Pending => None,
    }
}

#[async_trait::async_trait]
impl RequestHandler for Answerer {
    async fn handle_request<R: ResponseHandler, T: Time>(
        &self,
        request: &Request,
        mut response: R,
    ) -> ResponseInfo {
        let edns = request.edns.as_ref().map(|asked| {
            let mut edns = Edns::new();
            edns.set_max_payload(MAX_PAYLOAD)
                .set_dnssec_ok(asked.flags().dnssec_ok);
            edns
        });
        let (code, texts) = self.outcome(request);
        let mut metadata = Metadata::response_from_request(&request.metadata);
        metadata.response_code = code;
        metadata.recursion_available = true;
        metadata.authoritative = texts.is_some();
        let mut builder = MessageResponseBuilder::from_message_request(request);
        if let Some(edns) = &edns {
            builder.edns(edns);
        }
        let answer = texts.map(|texts| text_record(request, texts));
        let sent = response
            .send_response(builder.build(metadata, &answer, None, None, None))
            .await;
        sent.unwrap_or_else(|_| no_info(metadata))
    }
}

impl Answerer {
    /// The RCODE and, for CHAOS look-ups, the texts.
    fn outcome(&self, request: &Request) -> (ResponseCode, Option<Vec<String>>) {
        if request.metadata.op_code != OpCode::Query {
            return (ResponseCode::NotImp, None);
        }
        let Ok(info) = request.request_info() else {
            return (ResponseCode::FormErr, None);
        };
        if info.query.query_class() == DNSClass::CH {
            let wants_text = matches!(info.query.query_type(), RecordType::TXT | RecordType::ANY);
            let name = info.query.name().to_string();
            let texts = wants_text.then(|| self.texts(&name)).flatten();
            let code = if texts.is_some() {
                ResponseCode::NoError
            } else {
                ResponseCode::Refused
            };
            return (code, texts);
        }
        match self.reason {
            Reason::NoServer => (ResponseCode::ServFail, None),
            // A zone transfer, or a question that is none.
            Reason::Message if is_transfer(info.query.query_type()) => {
                (ResponseCode::Refused, None)
            }
            Reason::Message => (ResponseCode::FormErr, None),
            Reason::Overload => (ResponseCode::Refused, None),
        }
    }

    /// What CHAOS names have to say: the first two as dnsmasq does.
    fn texts(&self, name: &str) -> Option<Vec<String>> {
        match name {
            "version.bind." | "version.server." => Some(vec![VERSION.into()]),
            "servers.bind." => {
                let upstreams = self.report.upstreams();
                let line = |u: &Upstream| {
                    let server = &u.server;
                    let device = server
                        .device
                        .as_ref()
                        .map(|d| format!("%{d}"))
                        .unwrap_or_default();
                    format!(
                        "{}{device}#{} {} {}",
                        server.addr, server.port, u.queries, u.failures
                    )
                };
                Some(upstreams.iter().map(line).collect())
            }
            "health.gluon-wan." => {
                let now = Instant::now();
                Some(
                    self.report
                        .upstreams()
                        .iter()
                        .map(|u| health(u, now))
                        .collect(),
                )
            }
            _ => None,
        }
    }
}

/// One server as `key=value` words, for `gluon-wan status`.
fn health(upstream: &Upstream, now: Instant) -> String {
    let state = match upstream.state {
        State::Unknown => Health::Unknown,
        State::Up if upstream.works() => Health::Up,
        State::Up => Health::Failing,
        State::Silent => Health::Silent,
        State::Unreachable => Health::Unreachable,
    };
    let usual = upstream
        .srtt
        .map_or("-".into(), |usual| usual.as_micros().to_string());
    let since = now.saturating_duration_since(upstream.since).as_secs();
    let Upstream {
        server,
        queries,
        failures,
        ..
    } = upstream;
    format!(
        "server={server} state={state} since_s={since} usual_us={usual} queries={queries} failures={failures}"
    )
}

/// An answer to what is not or cannot be read, with nothing of it but the header.
async fn header_only(message: &[u8], reason: Reason, mut response: Encoded) {
    let mut decoder = BinDecoder::new(message);
    let Ok(header) = Header::read(&mut decoder) else {
        return;
    };
    let Ok(nothing) = Queries::read(&mut BinDecoder::new(&[]), 0) else {
        return;
    };
    let code = match (header.metadata.op_code, reason) {
        (OpCode::Query, Reason::Message) => ResponseCode::FormErr,
        (OpCode::Query, Reason::NoServer) => ResponseCode::ServFail,
        (OpCode::Query, Reason::Overload) => ResponseCode::Refused,
        _ => ResponseCode::NotImp,
    };
    let answer = MessageResponseBuilder::new(&nothing, None).error_msg(&header.metadata, code);
    let _ = response.send_response(answer).await;
}

fn is_transfer(kind: RecordType) -> bool {
    matches!(kind, RecordType::AXFR | RecordType::IXFR)
}

/// One TXT record; a CHAOS answer has no time to live.
fn text_record(request: &Request, mut texts: Vec<String>) -> Record {
    // A TXT record has one text at least (RFC 1035, section 3.3.14).
    if texts.is_empty() {
        texts.push(String::new());
    }
    let name = request
        .queries
        .queries()
        .first()
        .map_or_else(Name::root, |query| query.original().name().clone());
    let mut record = Record::from_rdata(name, 0, RData::TXT(TXT::new(texts)));
    record.dns_class = DNSClass::CH;
    record
}

fn no_info(metadata: Metadata) -> ResponseInfo {
    Header {
        metadata,
        counts: HeaderCounts::default(),
    }
    .into()
}

/// Keeps the answer's bytes.
#[derive(Clone)]
struct Encoded {
    bytes: Arc<Mutex<Vec<u8>>>,
    protocol: Protocol,
}

impl Encoded {
    fn new(protocol: Protocol) -> Self {
        Self {
            bytes: Arc::default(),
            protocol,
        }
    }

    fn take(&self) -> Option<Vec<u8>> {
        let mut bytes = self.bytes.lock().unwrap_or_else(PoisonError::into_inner);
        Some(std::mem::take(&mut *bytes)).filter(|bytes| !bytes.is_empty())
    }
}

#[async_trait::async_trait]
impl ResponseHandler for Encoded {
    async fn send_response<'a>(
        &mut self,
        response: MessageResponse<
            '_,
            'a,
            impl Iterator<Item = &'a Record> + Send + 'a,
            impl Iterator<Item = &'a Record> + Send + 'a,
            impl Iterator<Item = &'a Record> + Send + 'a,
            impl Iterator<Item = &'a Record> + Send + 'a,
        >,
    ) -> Result<ResponseInfo, NetError> {
        let limit = match (self.protocol, response.edns()) {
            (Protocol::Udp, Some(_)) => MAX_PAYLOAD,
            (Protocol::Udp, None) => PLAIN_PAYLOAD,
            _ => u16::MAX,
        };
        let mut bytes = Vec::with_capacity(usize::from(PLAIN_PAYLOAD));
        let mut encoder = BinEncoder::new(&mut bytes);
        encoder.set_max_size(limit);
        let info = response.destructive_emit(&mut encoder)?;
        *self.bytes.lock().unwrap_or_else(PoisonError::into_inner) = bytes;
        Ok(info)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resolver::message::tests::{query, reply};
    use crate::resolver::message::{id, rcode};
    use crate::resolver::upstream::Upstreams;
    use hickory_server::proto::op::Message;

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
        let report: Arc<dyn Report> = Arc::new(Fixed(upstreams.list().to_vec()));
        encode(
            &report,
            message,
            ([127, 0, 0, 1], 9).into(),
            Protocol::Udp,
            reason,
        )
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
                .map(|n| format!("192.0.2.{n}").parse().unwrap())
                .collect();
            let mut upstreams = Upstreams::default();
            upstreams.set(&servers, Instant::now());
            let report: Arc<dyn Report> = Arc::new(Fixed(upstreams.list().to_vec()));
            let client = ([127, 0, 0, 1], 9).into();
            let bytes = encode(&report, query, client, protocol, Reason::Message).unwrap();
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
}
