//! What others' rules do is a problem only where it does harm.

use super::*;
use crate::status::judge::{judge, tests::healthy};

const LOOKUP: Purpose = Purpose::Lookup { tcp: true };
const QUERY: Purpose = Purpose::Query { separated: true };

fn done(purpose: Purpose, what: What, certain: bool, priority: i32) -> Done {
    let deed = Deed {
        what,
        certain,
        in_output: true,
        priority,
        family: 1,
        table: "proxy".into(),
        chain: "out".into(),
        handle: 4,
    };
    Done { purpose, deed }
}

fn verdict(done: Vec<Done>) -> Verdict {
    let mut facts = healthy();
    facts.others = Ok(done);
    judge(&facts)
}

#[track_caller]
fn problem(words: &str, done: Done) {
    let verdict = verdict(vec![done.clone(), done]);
    assert!(
        verdict.problems.len() == 1 && verdict.notes.is_empty(),
        "{verdict:?}"
    );
    let what = &verdict.problems[0].what;
    assert!(what.contains(words), "{what}");
    assert!(
        what.starts_with("table inet proxy, chain out (rule 4)"),
        "{what}"
    );
}

#[track_caller]
fn note(words: &str, done: Done) {
    let verdict = verdict(vec![done]);
    assert!(
        verdict.is_healthy() && verdict.notes.len() == 1,
        "{verdict:?}"
    );
    assert!(verdict.notes[0].what.contains(words), "{verdict:?}");
}

#[track_caller]
fn nothing(done: Done) {
    assert_eq!(verdict(vec![done]), Verdict::default());
}

#[test]
fn redirects() {
    let elsewhere = What::Redirect(Some(1053));
    problem("before gluon-wan can", done(LOOKUP, elsewhere, true, -199));
    nothing(done(LOOKUP, elsewhere, true, -105));
    problem(
        "sends to port 1053 what the resolver asks",
        done(QUERY, elsewhere, true, -105),
    );
    note(
        "may send elsewhere",
        done(QUERY, What::Redirect(None), false, -100),
    );
    nothing(done(LOOKUP, What::Redirect(Some(54)), true, -300));
    nothing(done(Purpose::Plain, elsewhere, true, -100));
}

#[test]
fn conntrack_and_drops() {
    problem(
        "hides DNS of the VPN daemons",
        done(LOOKUP, What::NoTrack, true, -300),
    );
    note(
        "tracked again",
        done(Purpose::Lookup { tcp: false }, What::NoTrack, true, -300),
    );
    nothing(done(LOOKUP, What::NoTrack, false, -300));
    nothing(done(QUERY, What::NoTrack, true, -300));
    problem(
        "drops what the resolver asks",
        done(QUERY, What::Drop, true, 0),
    );
    nothing(done(QUERY, What::Drop, false, 0));
}

#[test]
fn marks() {
    let gone = What::Mark(Some(0x10));
    note("gluon-wan gives it back", done(QUERY, gone, true, -150));
    problem("takes the mark", done(QUERY, gone, true, 501));
    let mut late = done(QUERY, gone, true, -150);
    late.deed.in_output = false;
    problem("takes the mark", late);
    nothing(done(QUERY, What::Mark(Some(0x11)), true, -150));
    nothing(done(Purpose::Query { separated: false }, gone, true, -150));
    problem(
        "gives mark 0x11 to what everybody sends",
        done(Purpose::Plain, What::Mark(Some(0x11)), true, 0),
    );
    nothing(done(Purpose::Plain, gone, true, 0));
    nothing(done(Purpose::Plain, What::Mark(None), true, 0));
}

#[test]
fn what_cannot_be_read_is_said() {
    let mut facts = healthy();
    facts.others = Err("needs root".into());
    assert_eq!(judge(&facts).unseen.len(), 1);
}
