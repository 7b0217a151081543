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
