//! The steps and the verdict for programs; docs/inspection.md says what is there.

use std::net::IpAddr;
use std::time::Duration;

use super::facts::{Exchange, Outcome, Seen, Target, Trace, Upstream};
use crate::output::json::Value;
use crate::routing::way::Way;
use crate::status;

/// One object and a line feed.
pub fn show(trace: &Trace, fault: Option<&str>) -> String {
    let lookup = &trace.lookup;
    let upstreams = trace.upstreams.as_ref().ok();
    let object = Value::object([
        ("name", trace.name.as_str().into()),
        ("works", fault.is_none().into()),
        ("fault", fault.into()),
        ("group", trace.group.as_str().into()),
        ("gid", u64::from(trace.gid).into()),
        ("mark", trace.mark.to_string().into()),
        ("primary", lookup.primary.to_string().into()),
        ("replies", Value::list(&lookup.replies, exchange)),
        (
            "redirected",
            lookup.redirected.as_ref().ok().copied().into(),
        ),
        ("answered_by", lookup.answered_by.as_deref().into()),
        (
            "servers",
            upstreams.map(|all| Value::list(all, upstream)).into(),
        ),
        ("answers", Value::list(&trace.answers, target)),
    ]);
    format!("{object}\n")
}

fn upstream(upstream: &Upstream) -> Value {
    Value::object([
        ("server", upstream.server.as_str().into()),
        ("asked", upstream.asked.into()),
        (
            "source",
            upstream.source.map(|addr| addr.to_string()).into(),
        ),
        ("way", way(&upstream.way)),
        ("replies", Value::list(&upstream.replies, exchange)),
    ])
}

fn target(target: &Target) -> Value {
    Value::object([
        ("address", target.addr.to_string().into()),
        ("way", way(&target.way)),
    ])
}

fn way(way: &Seen<Way>) -> Value {
    Value::object(status::way_members(way.as_ref().ok()))
}

fn exchange(reply: &Exchange) -> Value {
    let (outcome, code) = match &reply.outcome {
        Outcome::Addresses(_) => ("answer", Some(0)),
        Outcome::Code(code) => ("answer", Some(u64::from(*code))),
        Outcome::Silent => ("silent", None),
        Outcome::Closed => ("closed", None),
        Outcome::Failed(_) => ("failed", None),
    };
    let address = |addr: &IpAddr| addr.to_string().into();
    Value::object([
        ("type", reply.kind.into()),
        ("at_us", micros(reply.at)),
        ("took_us", micros(reply.took)),
        ("outcome", outcome.into()),
        ("rcode", code.into()),
        ("addresses", Value::list(reply.outcome.addresses(), address)),
    ])
}

fn micros(time: Duration) -> Value {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX).into()
}
