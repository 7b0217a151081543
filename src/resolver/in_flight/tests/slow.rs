//! Servers that take their time, or lose some: every answer reaches its client,
//! as soon as it comes, and few packets are sent for it.

use super::*;

/// Time of the answer, and sends for it; everything else lingers on.
fn one(lab: &mut Lab) -> (u128, usize) {
    lab.world.sent.clear();
    let client = lab.ask();
    lab.run(5100);
    let (rcode, time) = lab.answer(client).unwrap();
    assert_eq!(rcode, 0);
    // Earlier ones may still be in flight.
    let own = lab.world.sent[0].1;
    let sends = lab.world.sent.iter().filter(|sent| sent.1 == own).count();
    (time, sends)
}

#[test]
fn any_constant_delay_is_waited_for() {
    for ms in [
        5, 20, 60, 150, 200, 300, 500, 600, 900, 1200, 2000, 3000, 4500,
    ] {
        let mut lab = Lab::new(&[(A, Answers(ms, 0))]);
        for n in 0..5 {
            let (time, sends) = one(&mut lab);
            assert_eq!(time, ms.into(), "look-up {n} at {ms} ms");
            assert!(sends <= 4, "{sends} sends, look-up {n} at {ms} ms");
            assert!(n < 2 || sends == 1 || ms > 4000, "{sends} sends at {ms} ms");
        }
        assert_eq!(lab.world.lost, 0);
        let srtt = lab.upstream(0).srtt.unwrap().as_millis();
        assert_eq!(srtt, ms.into());
    }
}

#[test]
fn a_delay_that_grows_is_waited_for_and_learnt() {
    let mut lab = Lab::new(&[(A, Answers(20, 0))]);
    lab.sequence(20);
    for ms in (100..=1500).step_by(100).chain([1500; 20]) {
        lab.becomes(A, Answers(ms, 0));
        let (time, sends) = one(&mut lab);
        assert_eq!(time, ms.into());
        assert!(sends <= 4, "{sends} at {ms} ms");
    }
    assert_eq!(one(&mut lab), (1500, 1));
    lab.becomes(A, Answers(20, 0));
    lab.sequence(60);
    assert!(lab.upstream(0).timeout() < 100 * MS);
}

#[test]
fn slow_servers_are_not_asked_more_for_being_two() {
    let mut lab = Lab::new(&[(A, Answers(900, 0)), (B, Answers(950, 0))]);
    for n in 0..6 {
        let (time, _) = one(&mut lab);
        assert_eq!(time, 900);
        assert!(lab.world.sent_to(A) <= 4 && lab.world.sent_to(B) <= 4);
        assert!(n < 4 || lab.world.sent.len() == 1);
    }
}

#[test]
fn a_lost_query_costs_one_time_out() {
    let mut lab = Lab::new(&[(A, Answers(20, 0))]);
    lab.sequence(50);
    lab.becomes(A, Silent);
    let client = lab.ask();
    lab.run(1);
    lab.becomes(A, Answers(20, 0));
    lab.run(300);
    let (rcode, time) = lab.answer(client).unwrap();
    assert!(rcode == 0 && time <= 20 + 250, "{time}");
}

#[test]
fn half_of_all_is_lost() {
    let mut lab = Lab::new(&[(A, LosesHalf(600))]);
    let (errors, times) = lab.sequence(100);
    assert_eq!(errors, 0);
    assert!(times.iter().all(|time| *time < 3000), "{times:?}");
}

#[test]
fn it_comes_back_after_an_outage_of_any_length() {
    for away in [10, 150, 300, 500, 2000] {
        for before in [None, Some(10), Some(500)] {
            for outage in [500, 3000, 5500, 20_000] {
                let mut lab = Lab::new(&[(A, Silent)]);
                if let Some(before) = before {
                    lab.becomes(A, Answers(before, 0));
                    lab.sequence(5);
                    lab.becomes(A, Silent);
                }
                lab.ask();
                lab.run(outage);
                lab.becomes(A, Answers(away, 0));
                for _ in 0..3 {
                    let (time, sends) = one(&mut lab);
                    assert_eq!(time, away.into(), "{before:?} {outage}");
                    assert!(sends <= 4, "{sends}");
                }
            }
        }
    }
}

#[test]
fn an_answer_is_worth_any_failure_before_it() {
    let mut lab = Lab::new(&[(A, Answers(1, SERVFAIL)), (B, Answers(900, 0))]);
    let client = lab.ask();
    lab.run(6000);
    assert_eq!(lab.answer(client), Some((0, 900)));
}

#[test]
fn double_and_late_replies_find_their_socket() {
    let mut lab = Lab::new(&[(A, Twice(5, 3000)), (B, Answers(8000, 0))]);
    for _ in 0..50 {
        lab.ask();
        lab.run(20);
    }
    lab.run(30_000);
    assert_eq!(lab.world.lost, 0);
    assert_eq!(lab.world.pool.iter().count(), 0, "closed without a query");
    assert!(lab.world.pool.due().is_none());
}

#[test]
fn all_that_answer_are_timed_although_one_was_faster() {
    let mut lab = Lab::new(&[
        (A, Answers(5, 0)),
        (B, Answers(1, 0)),
        (C, Answers(3800, 0)),
    ]);
    let client = lab.ask();
    lab.run(4000);
    assert_eq!(lab.answer(client), Some((0, 1)));
    let srtt = [0, 1, 2].map(|at| lab.upstream(at).srtt.map(|srtt| srtt.as_millis()));
    assert_eq!(srtt, [Some(5), Some(1), Some(3800)]);
    assert_eq!(lab.upstream(2).state, State::Up);
    assert_eq!(lab.upstream(2).failures, 0, "late is not never");
}

#[test]
fn a_repetition_is_timed_by_itself() {
    let mut lab = Lab::new(&[(A, Silent)]);
    lab.ask();
    lab.run(50);
    // The first one is lost, the second is sent after 100 ms.
    lab.becomes(A, Answers(30, 0));
    lab.run(1000);
    assert_eq!(lab.upstream(0).srtt, Some(30 * MS));
}

#[test]
fn one_silent_question_makes_no_other_slow() {
    // As a server that drops some types: nothing but them is repeated.
    let mut lab = Lab::new(&[(A, Answers(20, 0))]);
    lab.sequence(20);
    for _ in 0..10 {
        lab.becomes(A, Silent);
        let odd = lab.ask();
        lab.becomes(A, Answers(20, 0));
        lab.world.sent.clear();
        let (errors, times) = lab.sequence(10);
        assert_eq!((errors, times), (0, vec![20; 10]));
        let id = |client: u32| lab.clients[client as usize].1;
        let _ = id(odd);
        assert!(lab.world.sent.len() <= 12, "{}", lab.world.sent.len());
    }
}

#[test]
fn a_client_that_asks_again_gets_the_answer_to_its_first_question() {
    // Slower than any client waits. The first one is told so after 5 s, and asks again.
    let mut lab = Lab::new(&[(A, Answers(5400, 0))]);
    let first = lab.ask_for(NAME);
    lab.run(5010);
    assert_eq!(lab.answer(first), Some((SERVFAIL, 5000)));
    let again = lab.ask_for(NAME);
    let other = lab.ask_for("other.example.org");
    lab.run(500);
    assert_eq!(lab.answer(again), Some((0, 390)));
    assert_eq!(lab.answer(other), None);
    lab.run(5000);
    let replies = lab.world.replies.iter().filter(|one| one.0 == again);
    assert_eq!(replies.count(), 1);
}
