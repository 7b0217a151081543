//! What CHAOS names have to say: the first two as dnsmasq does.

use std::fmt::Write;
use std::time::Instant;

use super::Report;
use crate::health::Health;
use crate::resolver::upstream::{State, Upstream};

/// What `version.bind` says.
pub(super) const VERSION: &str = concat!("gluon-wan ", env!("CARGO_PKG_VERSION"));

/// The texts of a name, which is as it stands in a message; none where it is none of
/// ours.
pub(super) fn of(name: &[u8], report: &dyn Report) -> Option<Vec<String>> {
    let is = |ours: &[u8]| name.eq_ignore_ascii_case(ours);
    if is(b"\x07version\x04bind\0") || is(b"\x07version\x06server\0") {
        return Some(vec![VERSION.into()]);
    }
    let now = Instant::now();
    let of_server: &dyn Fn(&Upstream) -> String = if is(b"\x07servers\x04bind\0") {
        &counters
    } else if is(b"\x06health\x09gluon-wan\0") {
        &|upstream| health(upstream, now)
    } else {
        return None;
    };
    Some(report.upstreams().iter().map(of_server).collect())
}

/// One server as dnsmasq tells of it.
fn counters(upstream: &Upstream) -> String {
    let server = &upstream.server;
    let mut text = server.addr.to_string();
    if let Some(device) = &server.device {
        let _ = write!(text, "%{device}");
    }
    let (queries, failures) = (upstream.queries, upstream.failures);
    let _ = write!(text, "#{} {queries} {failures}", server.port);
    text
}

/// One server as `key=value` words, for `gluon-wan status`.
pub(super) fn health(upstream: &Upstream, now: Instant) -> String {
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
