//! One server's record, and the order of several.

use super::*;

const MS: Duration = Duration::from_millis(1);
const S: Duration = Duration::from_secs(1);

fn servers(count: usize) -> Vec<Server> {
    let text = |n| format!("192.0.2.{n}");
    (1..=count).map(|n| text(n).parse().unwrap()).collect()
}

fn upstreams(count: usize, now: Instant) -> Upstreams {
    let mut upstreams = Upstreams::default();
    assert_eq!(upstreams.set(&servers(count), now), []);
    upstreams
}

/// Answers once, after so many milliseconds.
fn answers(upstreams: &mut Upstreams, at: usize, ms: u32, now: Instant) {
    let upstream = &mut upstreams.list[at];
    upstream.asked(now);
    upstream.heard(now, Some(ms * MS), false);
}

fn places(upstreams: &Upstreams, ids: impl Iterator<Item = UpstreamId>) -> Vec<usize> {
    let place = |id| upstreams.list().iter().position(|u| u.id == id).unwrap();
    ids.map(place).collect()
}

#[test]
fn round_trips_are_smoothed_as_rfc_6298_says() {
    let now = Instant::now();
    let mut one = upstreams(1, now);
    let known = |upstreams: &Upstreams| {
        let one = &upstreams.list[0];
        let ms = |time: Duration| time.as_micros() as f64 / 1000.0;
        (one.srtt.map(ms), ms(one.rttvar), ms(one.timeout()))
    };
    assert_eq!(known(&one), (None, 0.0, 100.0));
    answers(&mut one, 0, 80, now);
    assert_eq!(known(&one), (Some(80.0), 40.0, 240.0));
    answers(&mut one, 0, 160, now);
    assert_eq!(known(&one), (Some(90.0), 50.0, 290.0));
    answers(&mut one, 0, 58, now);
    assert_eq!(known(&one), (Some(86.0), 45.5, 268.0));
    one.list[0].heard(now, None, false);
    assert_eq!(known(&one), (Some(86.0), 45.5, 268.0));
    // What does not vary has still some time.
    for _ in 0..100 {
        answers(&mut one, 0, 2, now);
    }
    let (srtt, _, timeout) = known(&one);
    assert!(
        srtt.unwrap() < 2.1 && (27.0..27.1).contains(&timeout),
        "{timeout}"
    );
    // What is slow is waited for, but not alone.
    for _ in 0..10 {
        answers(&mut one, 0, 4400, now);
    }
    assert_eq!(one.list[0].timeout(), 4 * S);
    assert_eq!(one.list[0].patience(), S);
}

#[test]
fn failures_are_counted_and_three_in_a_row_are_too_many() {
    let now = Instant::now();
    let mut one = upstreams(1, now);
    let one = &mut one.list[0];
    assert!(!one.works());
    for failures in 1..=2 {
        one.heard(now, None, true);
        assert!(one.works(), "{failures}");
    }
    one.heard(now, None, false);
    assert_eq!((one.failures, one.works()), (2, true));
    for _ in 0..3 {
        one.heard(now, None, true);
    }
    assert_eq!((one.failures, one.works()), (5, false));
    one.timed_out(now, now);
    one.unreachable(now);
    one.asked(now);
    one.asked(now);
    one.tried(now);
    assert_eq!((one.failures, one.queries), (7, 2));
    one.was_late();
    assert_eq!(one.failures, 6);
}

#[test]
fn a_state_lasts_from_when_it_began() {
    let start = Instant::now();
    let mut one = upstreams(1, start);
    let one = &mut one.list[0];
    one.heard(start + S, None, false);
    one.heard(start + 2 * S, None, false);
    assert_eq!((one.state, one.since), (State::Up, start + S));
    // It has answered a younger one.
    one.heard(start + 2 * S, Some(MS), false);
    one.timed_out(start + 3 * S, start + S);
    assert_eq!(one.state, State::Up);
    one.timed_out(start + 3 * S, start + 2 * S);
    assert_eq!((one.state, one.since), (State::Silent, start + 3 * S));
    one.unreachable(start + 4 * S);
    // What an ICMP message said is more than silence says.
    one.timed_out(start + 5 * S, start + 4 * S);
    assert_eq!((one.state, one.since), (State::Unreachable, start + 4 * S));
    assert!(!one.works());
}

#[test]
fn a_server_is_dead_when_it_owes_an_answer_for_too_long() {
    let start = Instant::now();
    let mut one = upstreams(1, start);
    let one = &mut one.list[0];
    assert!(!one.tried_within(start, S));
    one.tried(start);
    assert!(one.tried_within(start + S - MS, S) && !one.tried_within(start + S, S));
    assert!(!one.is_dead(start + 99 * S), "it owes nothing");

    one.asked(start + S);
    one.asked(start + 3 * S);
    assert!(!one.is_dead(start + S + DEAD_AFTER - MS));
    assert!(one.is_dead(start + S + DEAD_AFTER));
    assert!(one.unanswered_for(start + 2 * S, S) && !one.unanswered_for(start + 2 * S, 2 * S));
    one.heard(start + 7 * S, None, true);
    assert!(!one.is_dead(start + 99 * S));
    one.unreachable(start + 8 * S);
    assert!(one.is_dead(start + 8 * S));
}

#[test]
fn all_are_asked_until_one_works_then_the_best_and_who_is_due() {
    let start = Instant::now();
    let mut three = upstreams(3, start);
    let first = |three: &Upstreams, now| places(three, three.first(now));
    assert_eq!(first(&three, start), [0, 1, 2]);
    for (at, ms) in [(0, 40), (1, 10), (2, 40)] {
        answers(&mut three, at, ms, start);
    }
    assert_eq!(first(&three, start), [1]);
    // The spare ones after 30 s, a dead one after 2.
    assert_eq!(first(&three, start + 30 * S - MS), [1]);
    assert_eq!(first(&three, start + 30 * S), [1, 0, 2]);
    three.list[0].timed_out(start + MS, start + MS);
    assert_eq!(first(&three, start + 2 * S - MS), [1]);
    assert_eq!(first(&three, start + 2 * S), [1, 0]);
}

#[test]
fn the_order_of_the_list_decides_between_equals() {
    let now = Instant::now();
    let ranked = |upstreams: &Upstreams| {
        let ranked = upstreams.ranked().into_iter();
        let last = |upstream: &Upstream| upstream.server.to_string().pop().unwrap();
        ranked.map(last).collect::<String>()
    };
    let mut four = upstreams(4, now);
    assert_eq!(ranked(&four), "1234");
    // Up to 8 ms is the same speed, and so is up to 16.
    for (at, ms) in [(0, 15), (1, 7), (2, 9), (3, 1)] {
        answers(&mut four, at, ms, now);
    }
    assert_eq!(ranked(&four), "2413");
    for _ in 0..3 {
        four.list[1].heard(now, None, true);
    }
    assert_eq!(ranked(&four), "4132");
    four.list[3].timed_out(now + MS, now + MS);
    assert_eq!(ranked(&four), "1324");
    four.list[0].unreachable(now);
    assert_eq!(ranked(&four), "3241");
    let best = four.best(|upstream| upstream.server != four.list[2].server);
    assert_eq!(best.map(|upstream| upstream.id), Some(four.list[1].id));
}

#[test]
fn a_changed_network_forgives_what_does_not_work() {
    let start = Instant::now();
    let mut three = upstreams(3, start);
    answers(&mut three, 0, 1, start);
    three.list[1].unreachable(start);
    for _ in 0..3 {
        three.list[2].heard(start, None, true);
    }
    three.forgive(start + S);
    let states: Vec<State> = three.list().iter().map(|upstream| upstream.state).collect();
    assert_eq!(states, [State::Up, State::Unknown, State::Unknown]);
    assert_eq!(
        (three.list[0].since, three.list[1].since),
        (start, start + S)
    );
    three.list[2].heard(start, None, true);
    assert!(three.list[2].works(), "counted anew");
}

#[test]
fn a_server_keeps_its_name_while_it_is_in_the_list() {
    let now = Instant::now();
    let mut upstreams = upstreams(3, now);
    let ids: Vec<UpstreamId> = upstreams
        .list()
        .iter()
        .map(|upstream| upstream.id)
        .collect();
    assert!(ids[0] != ids[1] && ids[1] != ids[2]);
    let mut other = servers(5);
    other.remove(1);
    assert_eq!(upstreams.set(&other, now), [ids[1]]);
    assert_eq!(places(&upstreams, [ids[0], ids[2]].into_iter()), [0, 1]);
    assert!(upstreams.get(ids[1]).is_none());
    assert_eq!(
        upstreams.get(ids[2]).map(|upstream| upstream.id),
        Some(ids[2])
    );
    assert!(!ids.contains(&upstreams.list()[2].id));
    upstreams.set(&servers(MAX_SERVERS + 1), now);
    assert_eq!(upstreams.list().len(), MAX_SERVERS);
}

#[test]
fn a_server_that_fails_over_tcp_is_asked_last_and_probed_now_and_then() {
    let mut now = Instant::now();
    let mut upstreams = Upstreams::default();
    let servers: Vec<Server> = ["192.0.2.1", "192.0.2.2", "192.0.2.3"]
        .map(|text| text.parse().unwrap())
        .into();
    upstreams.set(&servers, now);
    let order = |upstreams: &Upstreams, now| {
        let (order, at_once) = upstreams.over_tcp(now);
        let order: Vec<String> = order.iter().map(|one| one.server.to_string()).collect();
        (order.join(" "), at_once)
    };
    let listed = ("192.0.2.1 192.0.2.2 192.0.2.3".to_owned(), 1);
    assert_eq!(order(&upstreams, now), listed);

    let first = upstreams.list()[0].id;
    let first = upstreams.get(first).unwrap();
    first.asked_over_tcp(now);
    first.failed_over_tcp();
    let last = ("192.0.2.2 192.0.2.3 192.0.2.1".to_owned(), 1);
    assert_eq!(order(&upstreams, now), last);
    // What UDP says of it does not matter.
    let first = upstreams.list()[0].id;
    upstreams.get(first).unwrap().heard(now, None, false);
    assert_eq!(order(&upstreams, now), last);
    // Asked beside the best one, so that it costs no time.
    now += PROBE_SPARE;
    let probed = ("192.0.2.1 192.0.2.2 192.0.2.3".to_owned(), 2);
    assert_eq!(order(&upstreams, now), probed);
    let first = upstreams.get(first).unwrap();
    first.asked_over_tcp(now);
    first.heard_over_tcp(now, Duration::from_millis(3), false);
    assert_eq!(order(&upstreams, now), listed);
}
