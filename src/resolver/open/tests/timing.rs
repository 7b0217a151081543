//! What only shows in what was sent, and in what is known of the servers then.

use super::*;

impl Lab {
    fn upstream(&self, at: usize) -> &Upstream {
        &self.open.upstreams.list()[at]
    }
}

#[test]
fn the_next_server_is_not_asked_before_the_best_had_its_time() {
    let mut lab = Lab::new(&[(A, Answers(2, 0)), (B, Answers(2, 0))]);
    lab.sequence(10);
    lab.becomes(A, Answers(20, 0));
    lab.world.sent.clear();
    let asked = lab.now;
    let client = lab.ask();
    lab.run(30);
    assert_eq!(lab.answer(client, asked), Some((0, 20)));
    assert_eq!(lab.world.sent.len(), 1);
}

#[test]
fn all_that_answer_are_timed_although_one_was_faster() {
    let mut lab = Lab::new(&[(A, Answers(5, 0)), (B, Answers(1, 0)), (C, Answers(8, 0))]);
    let asked = lab.now;
    let client = lab.ask();
    lab.run(20);
    assert_eq!(lab.answer(client, asked), Some((0, 1)));
    let usual = [0, 1, 2].map(|at| lab.upstream(at).usual.map(|usual| usual.as_millis()));
    assert_eq!(usual, [Some(5), Some(1), Some(8)]);
    assert!(lab.world.open_sockets.is_empty());
}

#[test]
fn what_the_kernel_says_of_a_server_is_taken_at_once() {
    let mut lab = Lab::new(&[(A, Answers(2, 0)), (B, Answers(2, 0))]);
    lab.sequence(100);
    lab.becomes(A, Icmp);
    let (_, times) = lab.sequence(1);
    assert_eq!(times, [3]);
    assert_eq!(lab.upstream(0).state, State::Unreachable);
    assert_eq!(lab.upstream(1).state, State::Up);
}

#[test]
fn what_lingers_does_not_count_as_waiting() {
    let mut lab = Lab::new(&[(A, Answers(1, 0)), (B, Silent)]);
    for _ in 0..150 {
        lab.ask();
    }
    assert!(matches!(lab.try_ask(), Err(Rejected::Full)));
    lab.run(2);
    for _ in 0..150 {
        lab.ask();
    }
    assert!(matches!(lab.try_ask(), Err(Rejected::Full)));
}

#[test]
fn a_failure_asks_one_more_and_gives_it_its_time() {
    let mut lab = Lab::new(&[(A, Answers(2, 0)), (B, Answers(2, 0)), (C, Answers(2, 0))]);
    lab.sequence(100);
    lab.becomes(A, Answers(1, SERVFAIL));
    lab.becomes(B, Answers(20, 0));
    lab.world.sent.clear();
    lab.sequence(1);
    let asked: Vec<&str> = lab.world.sent.iter().map(|(name, _)| &**name).collect();
    assert_eq!(asked, [A, B]);
}

#[test]
fn a_repeated_query_times_nobody() {
    let mut lab = Lab::new(&[(A, Answers(3, 0))]);
    lab.sequence(10);
    lab.becomes(A, Answers(900, 0));
    lab.sequence(1);
    assert!(lab.world.sent.len() > 11, "repeated");
    assert_eq!(lab.upstream(0).usual, Some(3 * MS));
}

#[test]
fn an_unreachable_server_is_asked_again_after_a_pause() {
    let mut lab = Lab::new(&[(A, Answers(2, 0))]);
    lab.sequence(10);
    lab.becomes(A, Icmp);
    lab.world.sent.clear();
    lab.ask();
    lab.run(u64::try_from(RETRY.as_millis()).unwrap());
    assert_eq!(lab.world.sent.len(), 1);
    lab.run(2);
    assert_eq!(lab.world.sent.len(), 2);
}

#[test]
fn a_changed_network_repeats_what_waits_once_and_nothing_else() {
    let mut lab = Lab::new(&[(A, Answers(1, 0)), (B, Silent)]);
    lab.ask();
    lab.run(2);
    lab.becomes(A, Silent);
    lab.ask();
    lab.run(1);
    lab.world.sent.clear();
    lab.world.now = Some(lab.now);
    lab.open.network_changed(lab.now, &mut lab.world);
    lab.run(u64::try_from(RETRY.as_millis()).unwrap() - 1);
    // The first query lingers: it has its answer.
    let asked: Vec<&str> = lab.world.sent.iter().map(|(name, _)| &**name).collect();
    assert_eq!(asked, [A, B]);
}

#[test]
fn a_server_without_a_route_keeps_no_other_from_being_asked_again() {
    let mut lab = Lab::new(&[(A, NoRoute), (B, Silent)]);
    let asked = |lab: &Lab| lab.world.sent.iter().filter(|(name, _)| name == B).count();
    lab.ask();
    // The first patience, then the first two pauses.
    lab.run(100 + 50 + 100);
    assert_eq!(asked(&lab), 4);
    lab.world.now = Some(lab.now);
    lab.open.network_changed(lab.now, &mut lab.world);
    lab.run(50);
    assert_eq!(asked(&lab), 6);
}
