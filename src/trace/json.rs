//! The steps and the verdict for programs; docs/trace.schema.json describes them.

use std::time::Duration;

use super::facts::{Exchange, Outcome, Trace, Upstream};
use crate::output::json::Object;
use crate::status;

/// One object and a line feed.
pub fn show(trace: &Trace, fault: Option<&str>) -> String {
    let lookup = &trace.lookup;
    Object::whole(|object| {
        object.text("name", &trace.name);
        object.flag("works", Some(fault.is_none()));
        object.maybe("fault", fault.as_ref());
        object.text("group", &trace.group);
        object.number("gid", u64::from(trace.gid));
        object.text("mark", &trace.mark);
        object.text("primary", &lookup.primary);
        object.list("replies", Some(&lookup.replies), exchange);
        object.number("redirected", lookup.redirected.as_ref().ok().copied());
        let who = lookup.answered_by.as_ref();
        object.maybe("answered_by", who);
        object.list("servers", trace.upstreams.as_deref().ok(), upstream);
        object.list("answers", Some(&trace.answers), |object, target| {
            object.text("address", &target.addr);
            object.nest("way", Some(target.way.as_ref().ok()), status::way);
        });
    })
}

fn upstream(object: &mut Object, upstream: &Upstream) {
    object.text("server", &upstream.server);
    object.number("asked", upstream.asked);
    let source = upstream.source.as_ref();
    object.maybe("source", source);
    object.nest("way", Some(upstream.way.as_ref().ok()), status::way);
    object.list("replies", Some(&upstream.replies), exchange);
}

fn exchange(object: &mut Object, reply: &Exchange) {
    let (outcome, code) = match &reply.outcome {
        Outcome::Addresses(_) => ("answer", Some(0)),
        Outcome::Code(code) => ("answer", Some(u64::from(*code))),
        Outcome::Silent => ("silent", None),
        Outcome::Closed => ("closed", None),
        Outcome::Failed(_) => ("failed", None),
    };
    let micros = |time: Duration| time.as_micros() as u64;
    object.text("type", &reply.kind);
    object.number("at_us", micros(reply.at));
    object.number("took_us", micros(reply.took));
    object.text("outcome", &outcome);
    object.number("rcode", code);
    object.texts("addresses", reply.outcome.addresses());
}
