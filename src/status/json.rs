//! The facts and the verdict for programs. docs/status.schema.json describes
//! it; a member that is there stays, and keeps its meaning. `null` stands for what
//! could not be seen; the reason is among `unseen`.

use super::facts::{AskedWay, Facts, Listener, Match, Reply, Resolver, ServerHealth};
use super::judge::{Finding, Verdict};
use crate::output::json::Object;
use crate::pulse::Watch;
use crate::routing::way::{Course, Way};

/// Grows when a member goes or changes its meaning, not when one is added.
const FORMAT: u64 = 1;

/// One object and a line feed.
pub fn show(facts: &Facts, verdict: &Verdict) -> String {
    Object::whole(|object| {
        object.number("format", FORMAT);
        object.text("version", &env!("CARGO_PKG_VERSION"));
        object.flag("healthy", Some(verdict.is_healthy()));
        findings(object, "problems", "advice", &verdict.problems);
        findings(object, "notes", "advice", &verdict.notes);
        findings(object, "unseen", "reason", &verdict.unseen);
        devices(object, facts);
        redirect(object, facts);
        routing(object, facts);
        object.nest("watch", facts.watch.as_ref().ok(), watch);
        object.nest("resolver", Some(&facts.resolver), resolver);
        leaks(object, facts);
    })
}

fn findings(object: &mut Object, name: &str, advice: &str, findings: &[Finding]) {
    object.list(name, Some(findings), |object, finding| {
        object.text("part", &finding.part);
        object.text("what", &finding.what);
        let has_advice = !finding.advice.is_empty();
        object.maybe(advice, has_advice.then_some(&finding.advice));
    });
}

fn devices(object: &mut Object, facts: &Facts) {
    let devices = facts.devices.as_deref().ok();
    object.list("devices", devices, |object, device| {
        let link = device.link.as_ref();
        object.text("name", &device.name);
        object.flag("exists", Some(link.is_some()));
        object.flag("up", Some(link.is_some_and(|link| link.up)));
        object.flag("carrier", Some(link.is_some_and(|link| link.carrier)));
        object.texts("addresses", link.map_or(&[][..], |link| &link.addresses));
    });
}

fn redirect(object: &mut Object, facts: &Facts) {
    object.nest("redirect", Some(facts), |object, facts| {
        object.number("port", u64::from(facts.port));
        object.list("groups", Some(&facts.groups), |object, group| {
            object.text("name", &group.name);
            let gid = group.gid.as_ref().ok().copied().flatten();
            object.number("gid", gid.map(u64::from));
        });
        object.nest("table", facts.table.as_ref().ok(), |object, table| {
            object.text("state", &state(table.state));
            object.number("packets", table.redirected.packets);
            object.number("bytes", table.redirected.bytes);
            object.number("stopped", table.stopped.marked);
            object.number("unredirected", table.stopped.unredirected);
            object.number("unmarked", table.stopped.unmarked);
        });
    });
    object.nest("include", facts.include.as_ref(), |object, include| {
        object.text("path", &include.path.display());
        let state = include.state.as_ref().ok().map(|&found| state(found));
        object.maybe("state", state.as_ref());
        object.flag("fw4_loads_it", include.linked);
    });
}

fn state(state: Match) -> &'static str {
    match state {
        Match::Equal => "equal",
        Match::Different => "different",
        Match::Absent => "absent",
    }
}

fn routing(object: &mut Object, facts: &Facts) {
    let routing = facts.routing.as_ref().ok();
    object.nest("routing", routing, |object, difference| {
        object.texts("wanted", &difference.wanted[..]);
        object.texts("changes", &difference.changes[..]);
        object.texts("obstacles", &difference.obstacles[..]);
    });
    object.list("ways", facts.ways.as_deref().ok(), asked);
}

fn asked(object: &mut Object, asked: &AskedWay) {
    object.text("to", &asked.packet.to);
    object.flag("marked", Some(asked.packet.mark != 0));
    way(object, asked.way.as_ref().ok());
}

/// Where a packet goes, and who sends it there; all `null` where nobody said.
pub fn way(object: &mut Object, way: Option<&Way>) {
    let (goes, out) = match way.map(|way| &way.course) {
        Some(Course::Here) => (Some(&"here"), None),
        Some(Course::Out {
            device, gateway, ..
        }) => (Some(&"out"), Some((device, gateway.as_ref()))),
        Some(Course::Nowhere(_)) => (Some(&"nowhere"), None),
        None => (None, None),
    };
    object.maybe("goes", goes);
    object.maybe("device", out.map(|(device, _)| device));
    let gateway = out.and_then(|(_, gateway)| gateway);
    object.maybe("gateway", gateway);
    let rule = way.and_then(|way| way.rule.as_ref());
    object.maybe("rule", rule);
    let route = way.and_then(|way| way.route.as_ref());
    object.maybe("route", route);
}

fn watch(object: &mut Object, watch: &Watch) {
    let (state, beat) = match watch {
        Watch::None => ("absent", None),
        Watch::Ended => ("ended", None),
        Watch::Here(beat) if beat.stopped => ("stopped", Some(beat)),
        Watch::Here(beat) => ("watches", Some(beat)),
    };
    object.text("state", &state);
    object.number("pid", beat.map(|beat| u64::from(beat.pid)));
    object.number("looked_s", beat.map(|beat| beat.idle_s));
    object.number("mended", beat.map(|beat| u64::from(beat.mended)));
    let changes = beat.map_or(&[][..], |beat| &beat.changes);
    object.list("changes", Some(changes), |object, (ago, change)| {
        object.number("ago_s", *ago);
        object.text("change", change);
    });
    object.texts("trouble", beat.map_or(&[][..], |beat| &beat.trouble));
}

fn resolver(object: &mut Object, resolver: &Resolver) {
    object.list("listen", Some(&resolver.listeners), listener);
    let process = resolver.process.as_ref().and_then(|one| one.as_ref().ok());
    object.number("pid", process.map(|process| u64::from(process.pid)));
    object.flag("may_mark", process.map(|process| process.may_mark));
    object.text("source", &resolver.source.display());
    let servers = resolver
        .servers
        .as_ref()
        .and_then(|all| all.as_deref().ok());
    object.list("servers", servers, server);
}

fn listener(object: &mut Object, listener: &Listener) {
    let (state, took, version) = match &listener.reply {
        Reply::Ours { took, version } => ("answers", Some(took), Some(version)),
        Reply::Foreign(version) => ("foreign", None, version.as_ref()),
        Reply::Closed => ("closed", None, None),
        Reply::Silent => ("silent", None, None),
        Reply::Failed(_) => ("failed", None, None),
    };
    object.text("address", &listener.addr);
    object.text("state", &state);
    object.number("answer_us", took.map(|took| took.as_micros() as u64));
    object.maybe("version", version);
}

fn server(object: &mut Object, server: &ServerHealth) {
    object.text("server", &server.server);
    object.text("state", &server.state);
    object.number("since_s", server.since_s);
    object.number("usual_us", server.usual_us);
    object.number("queries", server.queries);
    object.number("failures", server.failures);
}

fn leaks(object: &mut Object, facts: &Facts) {
    object.nest("leaks", Some(&facts.leaks), |object, leaks| {
        let routes = facts.routing.as_ref().ok();
        object.texts("routes", routes.map(|difference| &difference.misplaced[..]));
        object.list("servers", Some(&leaks.servers), |object, leaked| {
            object.text("server", &leaked.server);
            object.text("file", &leaked.file.display());
        });
        object.texts("peerdns", &leaks.peerdns[..]);
    });
}
