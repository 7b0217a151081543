//! Servers that are dead, return, or fail: how soon, and with how many packets.

use super::*;

#[test]
fn when_all_are_silent_few_packets_are_sent() {
    for servers in [&[A][..], &[A, B], &[A, B, C]] {
        let silent: Vec<_> = servers.iter().map(|name| (*name, Silent)).collect();
        let mut lab = Lab::new(&silent);
        for n in 0..4 {
            lab.world.sent.clear();
            let client = lab.ask();
            lab.run(5000);
            assert_eq!(lab.answer(client), Some((SERVFAIL, 5000)));
            for name in servers {
                let sends = lab.world.sent_to(name);
                assert!((2..=4).contains(&sends), "{sends} to {name}, look-up {n}");
            }
        }
    }
    let names: Vec<String> = (1..=16).map(|n| format!("192.0.2.{n}")).collect();
    let many: Vec<_> = names.iter().map(|name| (name.as_str(), Silent)).collect();
    let mut lab = Lab::new(&many);
    for _ in 0..4 {
        lab.world.sent.clear();
        lab.ask();
        lab.run(5500);
        assert!(lab.world.sent.len() <= 12, "{}", lab.world.sent.len());
    }
}

#[test]
fn what_the_kernel_does_not_send_is_tried_with_another_query() {
    let mut lab = Lab::new(&[(A, NoRoute)]);
    for _ in 0..5 {
        lab.ask();
    }
    lab.world.unsent.clear();
    lab.run(500);
    let mut tried = lab.world.unsent.clone();
    tried.sort_unstable();
    tried.dedup();
    assert_eq!(tried.len(), 5, "{:?}", lab.world.unsent);
}

#[test]
fn after_all_were_dead_the_first_to_return_answers_all_at_once() {
    for death in [Silent, Icmp, NoRoute] {
        let mut lab = Lab::new(&[(A, death), (B, death), (C, death)]);
        let old = lab.ask();
        lab.run(5500);
        assert_eq!(lab.answer(old), Some((SERVFAIL, 5000)));
        let waiting: Vec<u32> = (0..20).map(|_| lab.ask()).collect();
        lab.run(4000);
        lab.becomes(B, Answers(2, 0));
        let back = lab.now;
        lab.run(200);
        for client in waiting {
            let (rcode, _) = lab.answer(client).unwrap();
            let at = lab.world.replies.iter().find(|r| r.0 == client).unwrap().3;
            assert!(rcode == 0 && at - back < 100 * MS, "{:?}", at - back);
        }
        assert_eq!(lab.world.lost, 0);
    }
}

#[test]
fn a_client_that_asks_on_is_answered_when_the_server_returns() {
    for (servers, death) in [(1, Silent), (3, Silent), (1, Icmp), (1, NoRoute)] {
        let all: Vec<_> = [A, B, C].iter().map(|name| (*name, death)).collect();
        for phase in (0..200).step_by(20) {
            let mut lab = Lab::new(&all[..servers]);
            // The same question every 200 ms.
            for _ in 0..50 {
                lab.ask_for(NAME);
                lab.run(200);
            }
            lab.run(phase);
            lab.becomes(A, Answers(2, 0));
            let back = lab.now;
            lab.run(100);
            let answered = lab.world.replies.iter().find(|reply| reply.2 == 0);
            let at = answered.expect("nothing within 100 ms").3;
            assert!(at - back < 100 * MS);
        }
    }
}

#[test]
fn dead_servers_are_asked_in_turn_and_not_by_every_query() {
    let mut lab = Lab::new(&[(A, Silent)]);
    lab.ask();
    lab.run(6000);
    lab.world.sent.clear();
    for _ in 0..100 {
        lab.ask();
    }
    lab.run(2000);
    let count = lab.world.sent.len();
    assert!((30..=41).contains(&count), "{count} packets in 2 s");
    let mut ids: Vec<u16> = lab.world.sent.iter().map(|sent| sent.1).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), count, "each time another one's turn");
}

#[test]
fn a_dead_server_is_noticed_when_it_returns() {
    let mut lab = Lab::new(&[(A, Silent), (B, Answers(30, 0))]);
    lab.sequence(20);
    lab.becomes(A, Answers(2, 0));
    lab.run(3000);
    lab.sequence(2);
    lab.run(500);
    let (_, times) = lab.sequence(5);
    assert!(times.iter().all(|time| *time <= 3), "{times:?}");
}

#[test]
fn the_last_good_server_dies_while_a_dead_one_has_returned() {
    let mut lab = Lab::new(&[(A, Silent), (B, Answers(2, 0))]);
    lab.sequence(10);
    lab.run(6000);
    lab.sequence(1);
    lab.becomes(A, Answers(2, 0));
    lab.becomes(B, Silent);
    let (errors, times) = lab.sequence(1);
    assert!(errors == 0 && times[0] < 150, "{times:?}");
}

#[test]
fn whoever_comes_to_need_a_dead_server_has_it_asked() {
    // Another query's turn there is much later.
    let mut lab = Lab::new(&[(A, Answers(1, SERVFAIL)), (B, Silent)]);
    lab.ask();
    lab.run(4900);
    lab.ask();
    lab.run(200);
    lab.becomes(B, Answers(1, 0));
    let client = lab.ask();
    lab.run(1000);
    let (rcode, time) = lab.answer(client).unwrap();
    assert!(rcode == 0 && time < 100, "{rcode} {time}");
}

#[test]
fn a_failure_is_passed_on_when_no_server_has_better() {
    let mut lab = Lab::new(&[(A, Answers(1, SERVFAIL)), (B, Answers(1, REFUSED))]);
    let client = lab.ask();
    lab.run(100);
    let (rcode, time) = lab.answer(client).unwrap();
    assert!(matches!(rcode, SERVFAIL | REFUSED) && time <= 5);

    // One that is silent might still know better, as long as it may just be slow;
    // one that is dead hardly.
    let mut lab = Lab::new(&[(A, Answers(1, REFUSED)), (B, Silent)]);
    for wait in [5000, 500] {
        let client = lab.ask();
        lab.run(6000);
        assert_eq!(lab.answer(client), Some((REFUSED, wait)));
    }
}

#[test]
fn a_failure_asks_one_more_and_gives_it_its_time() {
    let mut lab = Lab::new(&[(A, Answers(2, 0)), (B, Answers(2, 0)), (C, Answers(2, 0))]);
    lab.sequence(100);
    lab.becomes(A, Answers(1, SERVFAIL));
    lab.becomes(B, Answers(20, 0));
    lab.world.sent.clear();
    lab.sequence(1);
    let asked: Vec<&str> = lab.world.sent.iter().map(|sent| &*sent.0).collect();
    assert_eq!(asked, [A, B]);
}

#[test]
fn what_says_nothing_is_held_while_another_is_left() {
    for rcode in [1, 4] {
        let mut lab = Lab::new(&[(A, Answers(1, rcode)), (B, Answers(50, 0))]);
        let client = lab.ask();
        lab.run(100);
        assert_eq!(lab.answer(client), Some((0, 50)));
        lab.list(&[A]);
        let client = lab.ask();
        lab.run(100);
        assert_eq!(lab.answer(client), Some((rcode, 1)));
    }
    for rcode in [0, NXDOMAIN, 6] {
        let mut lab = Lab::new(&[(A, Answers(1, rcode)), (B, Answers(50, 0))]);
        let client = lab.ask();
        lab.run(100);
        assert_eq!(lab.answer(client), Some((rcode, 1)));
    }
}

#[test]
fn an_answer_after_a_failure_on_the_same_socket_counts() {
    let mut lab = Lab::new(&[(A, Silent), (B, Silent)]);
    let client = lab.ask_for(NAME);
    let (_, id, _, socket) = lab.world.sent[0].clone();
    for rcode in [SERVFAIL, 0] {
        let mut bytes = reply(&query(id, NAME, 1, 1), rcode);
        lab.in_flight
            .heard(lab.now, &mut lab.world, socket, &mut bytes);
    }
    assert_eq!(lab.answer(client), Some((0, 0)));
}

#[test]
fn a_changed_network_sends_what_waits_once_more_at_once() {
    let mut lab = Lab::new(&[(A, Answers(2, 0))]);
    lab.sequence(3);
    lab.becomes(A, Silent);
    let client = lab.ask();
    lab.run(700);
    lab.becomes(A, Answers(2, 0));
    lab.network_changes();
    lab.run(5);
    assert_eq!(lab.answer(client), Some((0, 702)));
}

#[test]
fn however_often_the_network_changes_one_more_is_sent() {
    for servers in [1, 2, 3] {
        let all = [(A, Silent), (B, Silent), (C, Silent)];
        let mut lab = Lab::new(&all[..servers]);
        lab.ask();
        for _ in 0..100 {
            lab.run(45);
            lab.network_changes();
        }
        lab.run(1000);
        let sends = lab.world.sent.len();
        assert!(sends <= 4 * servers + 1, "{sends} to {servers}");
    }
}

#[test]
fn a_changed_network_repeats_nothing_that_is_answered() {
    let mut lab = Lab::new(&[(A, Answers(1, 0)), (B, Silent)]);
    lab.ask();
    lab.run(2);
    lab.world.sent.clear();
    lab.network_changes();
    lab.run(5000);
    assert!(lab.world.sent.is_empty());
}

#[test]
fn what_never_left_leaves_when_there_is_a_way() {
    let mut lab = Lab::new(&[(A, NoRoute), (B, NoRoute)]);
    let client = lab.ask();
    for _ in 0..20 {
        lab.run(100);
        lab.network_changes();
    }
    lab.becomes(B, Answers(2, 0));
    lab.network_changes();
    lab.run(5);
    assert_eq!(lab.answer(client), Some((0, 2002)));
    assert_eq!(lab.world.sent.len(), 1);
}

#[test]
fn each_query_whose_hope_is_on_the_dead_is_sent_to_them() {
    // A works, and fails from now on; B falls silent, and the next query asks both.
    let mut lab = Lab::new(&[(A, Answers(1, 0)), (B, Silent)]);
    lab.ask();
    lab.run(4900);
    lab.becomes(A, Answers(1, SERVFAIL));
    lab.ask();
    // B is dead now, and the query before has just been sent to it again.
    lab.run(101);
    lab.world.sent.clear();
    let client = lab.ask();
    lab.run(500);
    assert_eq!(lab.world.sent_to(B), 1);
    assert_eq!(lab.answer(client), Some((SERVFAIL, 500)));
}

#[test]
fn a_server_that_answers_after_anothers_failure_was_passed_on_is_alive() {
    let mut lab = Lab::new(&[(A, Silent), (B, Answers(1, SERVFAIL))]);
    lab.ask();
    lab.run(6000);
    // A is dead now, and returns slow.
    lab.becomes(A, Answers(1500, 0));
    let client = lab.ask();
    lab.run(1000);
    assert_eq!(lab.answer(client).map(|answer| answer.0), Some(SERVFAIL));
    lab.run(1000);
    assert_eq!(lab.upstream(0).state, State::Up);
    let client = lab.ask();
    lab.run(2000);
    assert_eq!(lab.answer(client), Some((0, 1501)));
}
