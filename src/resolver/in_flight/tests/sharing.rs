//! Clients that ask the same, and queries that share sockets.

use super::*;

#[test]
fn the_same_question_is_sent_once_and_answered_to_all() {
    let mut lab = Lab::new(&[(A, Answers(20, 0))]);
    lab.sequence(3);
    lab.world.sent.clear();
    let clients: Vec<u32> = (0..100)
        .map(|n| {
            lab.run(n % 2 / 9);
            lab.ask_for(NAME)
        })
        .collect();
    let other = lab.ask_for("Vpn.example.org");
    lab.run(30);
    assert_eq!(lab.world.sent.len(), 2, "another spelling is another query");
    for client in clients.into_iter().chain([other]) {
        assert_eq!(lab.answer(client), Some((0, 20)));
    }
    // What was answered is asked again.
    lab.ask_for(NAME);
    assert_eq!(lab.world.sent.len(), 3);
}

#[test]
fn every_client_has_its_own_time() {
    let mut lab = Lab::new(&[(A, Silent)]);
    let early = lab.ask_for(NAME);
    lab.run(4000);
    let late = lab.ask_for(NAME);
    lab.run(1000);
    assert_eq!(lab.answer(early), Some((SERVFAIL, 5000)));
    assert_eq!(lab.answer(late), None);
    lab.becomes(A, Answers(2, 0));
    lab.run(3000);
    assert_eq!(lab.answer(late).unwrap().0, 0);
}

#[test]
fn a_client_that_joins_late_has_its_query_sent_soon() {
    let mut lab = Lab::new(&[(A, Answers(10, 0))]);
    lab.sequence(3);
    lab.becomes(A, Silent);
    lab.ask_for(NAME);
    lab.run(1500);
    lab.becomes(A, Answers(10, 0));
    lab.ask_for(NAME);
    let late = lab.ask_for(NAME);
    lab.run(600);
    let (rcode, time) = lab.answer(late).unwrap();
    assert!(rcode == 0 && time < 600, "{time}");
}

#[test]
fn clients_that_repeat_make_no_packets() {
    let mut lab = Lab::new(&[(A, Answers(900, 0))]);
    lab.sequence(3);
    lab.world.sent.clear();
    for _ in 0..9 {
        lab.ask_for(NAME);
        lab.run(100);
    }
    lab.run(100);
    assert_eq!(lab.world.sent.len(), 1);
    assert_eq!(lab.in_flight.waiting, 0);
}

#[test]
fn a_client_that_repeats_itself_does_not_hurry_a_slow_server() {
    // As musl does, after 2.5 s.
    let mut lab = Lab::new(&[(A, Answers(3000, 0))]);
    lab.sequence(3);
    lab.world.sent.clear();
    let clients = [0, 2500].map(|wait| {
        lab.run(wait);
        lab.ask_for(NAME)
    });
    lab.run(600);
    assert_eq!(
        clients.map(|client| lab.answer(client).unwrap().1),
        [3000, 500]
    );
    assert_eq!(lab.world.sent.len(), 1);
}

#[test]
fn those_who_wait_for_the_same_are_bounded_too() {
    let mut lab = Lab::new(&[(A, Silent)]);
    for _ in 0..150 {
        lab.ask_for(NAME);
    }
    assert_eq!(lab.try_ask_for(NAME), Err(Rejected::Full));
    lab.run(5001);
    assert_eq!(lab.world.replies.len(), 150);
    assert!(lab.try_ask_for(NAME).is_ok());
}

#[test]
fn under_load_sockets_are_shared_and_no_answer_is_lost() {
    let mut lab = Lab::new(&[(A, Twice(300, 900))]);
    lab.sequence(2);
    let mut clients = Vec::new();
    let mut most = 0;
    for _ in 0..2000 {
        clients.push(lab.ask());
        lab.run(5);
        most = most.max(lab.world.pool.iter().count());
    }
    lab.run(1000);
    assert!(most <= 400, "{most}");
    for client in clients {
        assert_eq!(lab.answer(client), Some((0, 300)));
    }
    assert_eq!(lab.world.lost, 0);
    let mut sockets: Vec<SocketKey> = lab.world.sent.iter().map(|sent| sent.3).collect();
    sockets.sort_unstable();
    sockets.dedup();
    assert!(
        sockets.len() > 800,
        "replaced as fast as it goes: {}",
        sockets.len()
    );
    lab.run(11_000);
    assert_eq!(lab.world.pool.iter().count(), 0);
}

#[test]
fn a_query_sent_twice_through_one_socket_times_nobody() {
    let mut lab = Lab::new(&[(A, Silent)]);
    lab.ask();
    lab.world.only_socket = Some(lab.world.sent[0].3);
    lab.run(100);
    lab.becomes(A, Answers(30, 0));
    lab.run(500);
    assert_eq!(lab.world.sent.len(), 2);
    assert_eq!(lab.upstream(0).state, State::Up);
    assert_eq!(lab.upstream(0).srtt, None);
}
