//! The facts and the verdict for programs. docs/status.schema.json describes
//! it; a member that is there stays, and keeps its meaning.

use super::facts::{
    Asked, Device, Facts, Group, Include, Leaks, Listener, Match, Reply, Resolver, Seen, Server,
    Table,
};
use super::judge::{Finding, Unseen, Verdict};
use crate::output::json::Value;
use crate::pulse::Watch;
use crate::routing::Difference;
use crate::routing::way::{Course, Way};

/// Grows when a member goes or changes its meaning, not when one is added.
const FORMAT: u64 = 1;

/// One object and a line feed.
pub fn show(facts: &Facts, verdict: &Verdict) -> String {
    let object = Value::object([
        ("format", FORMAT.into()),
        ("version", env!("CARGO_PKG_VERSION").into()),
        ("healthy", verdict.is_healthy().into()),
        ("problems", Value::list(&verdict.problems, finding)),
        ("notes", Value::list(&verdict.notes, finding)),
        ("unseen", Value::list(&verdict.unseen, unseen)),
        (
            "devices",
            seen(&facts.devices, |all| Value::list(all, device)),
        ),
        ("redirect", redirect(facts)),
        ("include", facts.include.as_ref().map(include).into()),
        ("routing", seen(&facts.routing, routing)),
        ("ways", seen(&facts.ways, |all| Value::list(all, asked))),
        ("watch", seen(&facts.watch, watch)),
        ("resolver", resolver(&facts.resolver)),
        ("leaks", leaks(facts)),
    ]);
    format!("{object}\n")
}

/// `null` for what could not be seen; the reason is among `unseen`.
fn seen<T>(fact: &Seen<T>, show: impl Fn(&T) -> Value) -> Value {
    fact.as_ref().map_or(Value::Null, show)
}

fn texts(lines: &[String]) -> Value {
    Value::list(lines, |line| line.as_str().into())
}

fn finding(finding: &Finding) -> Value {
    let advice = Some(finding.advice.as_str()).filter(|advice| !advice.is_empty());
    Value::object([
        ("part", finding.part.into()),
        ("what", finding.what.as_str().into()),
        ("advice", advice.into()),
    ])
}

fn unseen(unseen: &Unseen) -> Value {
    Value::object([
        ("part", unseen.part.into()),
        ("what", unseen.what.as_str().into()),
        ("reason", unseen.reason.as_str().into()),
    ])
}

fn device(device: &Device) -> Value {
    let link = device.link.as_ref();
    Value::object([
        ("name", device.name.as_str().into()),
        ("exists", link.is_some().into()),
        ("up", link.is_some_and(|link| link.up).into()),
        ("carrier", link.is_some_and(|link| link.carrier).into()),
        (
            "addresses",
            link.map_or(Value::List(Vec::new()), |link| texts(&link.addresses)),
        ),
    ])
}

fn redirect(facts: &Facts) -> Value {
    Value::object([
        ("port", u64::from(facts.port).into()),
        ("groups", Value::list(&facts.groups, group)),
        ("table", seen(&facts.table, table)),
    ])
}

fn group(group: &Group) -> Value {
    let gid = group.gid.clone().ok().flatten();
    Value::object([
        ("name", group.name.as_str().into()),
        ("gid", gid.map(u64::from).into()),
    ])
}

fn table(table: &Table) -> Value {
    Value::object([
        ("state", state(&table.state)),
        ("packets", table.redirected.packets.into()),
        ("bytes", table.redirected.bytes.into()),
        ("stopped", table.stopped.marked.into()),
        ("unredirected", table.stopped.unredirected.into()),
        ("unmarked", table.stopped.unmarked.into()),
    ])
}

fn state(state: &Match) -> Value {
    match state {
        Match::Equal => "equal",
        Match::Different => "different",
        Match::Absent => "absent",
    }
    .into()
}

fn include(include: &Include) -> Value {
    Value::object([
        ("path", include.path.display().to_string().into()),
        ("state", seen(&include.state, state)),
        ("fw4_loads_it", include.linked.into()),
    ])
}

fn routing(difference: &Difference) -> Value {
    let obstacles = difference.obstacles.iter().map(ToString::to_string);
    Value::object([
        ("wanted", texts(&difference.wanted)),
        ("changes", texts(&difference.changes)),
        ("obstacles", texts(&obstacles.collect::<Vec<_>>())),
    ])
}

fn asked(asked: &Asked) -> Value {
    let mut members = vec![
        ("to", asked.packet.to.to_string().into()),
        ("marked", (asked.packet.mark != 0).into()),
    ];
    members.extend(way_members(asked.way.as_ref().ok()));
    Value::object(members)
}

/// Where a packet goes, and who sends it there; all `null` where nobody said.
pub fn way_members(way: Option<&Way>) -> Vec<(&'static str, Value)> {
    let (goes, device, gateway) = match way.map(|way| &way.course) {
        Some(Course::Here) => (Some("here"), None, None),
        Some(Course::Out {
            device, gateway, ..
        }) => (Some("out"), Some(device.as_str()), gateway.as_ref()),
        Some(Course::Nowhere(_)) => (Some("nowhere"), None, None),
        None => (None, None, None),
    };
    let rule = way.and_then(|way| way.rule.as_ref());
    vec![
        ("goes", goes.into()),
        ("device", device.into()),
        ("gateway", gateway.map(ToString::to_string).into()),
        ("rule", rule.map(ToString::to_string).into()),
        ("route", way.and_then(|way| way.route.clone()).into()),
    ]
}

fn watch(watch: &Watch) -> Value {
    let (state, beat) = match watch {
        Watch::None => ("absent", None),
        Watch::Ended => ("ended", None),
        Watch::Here(beat) if beat.stopped => ("stopped", Some(beat)),
        Watch::Here(beat) => ("watches", Some(beat)),
    };
    let change = |(ago, change): &(u64, String)| {
        Value::object([("ago_s", (*ago).into()), ("change", change.as_str().into())])
    };
    Value::object([
        ("state", state.into()),
        ("pid", beat.map(|beat| u64::from(beat.pid)).into()),
        ("looked_s", beat.map(|beat| beat.idle_s).into()),
        ("mended", beat.map(|beat| u64::from(beat.mended)).into()),
        (
            "changes",
            Value::list(beat.map_or(&[], |beat| &beat.changes), change),
        ),
        ("trouble", texts(beat.map_or(&[], |beat| &beat.trouble))),
    ])
}

fn resolver(resolver: &Resolver) -> Value {
    let process = resolver.process.as_ref().and_then(|one| one.as_ref().ok());
    let servers = resolver.servers.as_ref().and_then(|all| all.as_ref().ok());
    Value::object([
        ("listen", Value::list(&resolver.listeners, listener)),
        ("pid", process.map(|process| u64::from(process.pid)).into()),
        ("may_mark", process.map(|process| process.may_mark).into()),
        ("source", resolver.source.display().to_string().into()),
        (
            "servers",
            servers.map(|all| Value::list(all, server)).into(),
        ),
    ])
}

fn listener(listener: &Listener) -> Value {
    let (state, took, version) = match &listener.reply {
        Reply::Ours { took, version } => ("answers", Some(took), Some(version)),
        Reply::Foreign(version) => ("foreign", None, version.as_ref()),
        Reply::Closed => ("closed", None, None),
        Reply::Silent => ("silent", None, None),
        Reply::Failed(_) => ("failed", None, None),
    };
    let micros = took.map(|took| u64::try_from(took.as_micros()).unwrap_or(u64::MAX));
    Value::object([
        ("address", listener.addr.to_string().into()),
        ("state", state.into()),
        ("answer_us", micros.into()),
        ("version", version.map(String::as_str).into()),
    ])
}

fn server(server: &Server) -> Value {
    Value::object([
        ("server", server.server.as_str().into()),
        ("state", server.state.word().into()),
        ("since_s", server.since_s.into()),
        ("usual_us", server.usual_us.into()),
        ("queries", server.queries.into()),
        ("failures", server.failures.into()),
    ])
}

fn leaks(facts: &Facts) -> Value {
    let Leaks {
        servers, peerdns, ..
    } = &facts.leaks;
    let routes = seen(&facts.routing, |difference| texts(&difference.misplaced));
    Value::object([
        ("routes", routes),
        (
            "servers",
            Value::list(servers, |leaked| {
                Value::object([
                    ("server", leaked.server.as_str().into()),
                    ("file", leaked.file.display().to_string().into()),
                ])
            }),
        ),
        ("peerdns", texts(peerdns)),
    ])
}
