//! A packet through rules as nf_tables has them.

use super::*;
use crate::ruleset::{Chain, Set};

const INET: u8 = 1;

fn packet() -> Packet {
    Packet {
        family: 2,
        protocol: 17,
        port: 53,
        destination: Some(vec![127, 0, 0, 1]),
        device: Some("lo".into()),
        uid: None,
        gid: Some(800),
        mark: 0,
    }
}

fn place(name: &str) -> Place<'_> {
    Place {
        family: INET,
        table: b"x",
        name: name.as_bytes(),
    }
}

/// For as long as the tests run.
fn kept(bytes: &[u8]) -> &'static [u8] {
    bytes.to_vec().leak()
}

/// A base chain `out`, and others, each of rules.
fn ruleset<'a>(chains: &'a [(&str, Vec<Vec<Expr<'a>>>)]) -> Ruleset<'a> {
    let chains = chains.iter().map(|(name, rules)| {
        let numbered = rules.iter().zip(1..);
        let rules = numbered.map(|(exprs, handle)| Rule {
            handle,
            exprs: exprs.clone(),
        });
        Chain {
            place: place(name),
            rules: rules.collect(),
        }
    });
    Ruleset {
        bases: vec![Base {
            place: place("out"),
            hook: OUTPUT,
            priority: -100,
        }],
        chains: chains.collect(),
        sets: vec![Set {
            place: place("s"),
            elements: vec![kept(&853u16.to_be_bytes()), kept(&53u16.to_be_bytes())],
        }],
    }
}

fn load(what: Field) -> Expr<'static> {
    Expr::Load { what, register: 1 }
}

fn is(data: &[u8]) -> Expr<'static> {
    Expr::Compare {
        register: 1,
        inverted: false,
        data: kept(data),
    }
}

fn port(port: u16) -> [Expr<'static>; 2] {
    [load(Field::Transport(2, 2)), is(&port.to_be_bytes())]
}

fn redirect(to: u16) -> [Expr<'static>; 2] {
    let data = kept(&[to.to_be_bytes().as_slice(), &[0, 0]].concat());
    let register = Some(1);
    [
        Expr::Immediate { data, register: 1 },
        Expr::Redirect { register },
    ]
}

fn deeds(chains: &[(&str, Vec<Vec<Expr>>)], packet: &Packet) -> Vec<(What, bool, u64)> {
    let deeds = walk(&ruleset(chains), packet).into_iter();
    deeds
        .map(|deed| (deed.what, deed.certain, deed.handle))
        .collect()
}

/// Of rules in the base chain.
fn of(rules: Vec<Vec<Expr>>) -> Vec<(What, bool, u64)> {
    deeds(&[("out", rules)], &packet())
}

#[test]
fn what_matches_happens() {
    let rule = |asked| [port(asked).to_vec(), redirect(1053).to_vec()].concat();
    assert_eq!(
        of(vec![rule(5353), rule(53), rule(53)]),
        [(What::Redirect(Some(1053)), true, 2)]
    );
    assert_eq!(
        of(vec![vec![Expr::Unknown { register: None }, Expr::NoTrack]]),
        [(What::NoTrack, false, 1)]
    );
    assert_eq!(of(vec![vec![Expr::Accept], vec![Expr::Drop]]), []);
}

#[test]
fn what_may_happen_ends_nothing() {
    let maybe = || Expr::Unknown { register: None };
    let found = of(vec![
        vec![maybe(), Expr::Accept],
        vec![maybe(), Expr::Drop],
        vec![Expr::NoTrack],
    ]);
    assert_eq!(found, [(What::Drop, false, 2), (What::NoTrack, true, 3)]);
}

#[test]
fn sets_and_unknown_registers() {
    let among = |set: &'static str, inverted| Expr::Lookup {
        register: 1,
        inverted,
        set: set.as_bytes(),
    };
    let rule = |lookup| vec![load(Field::Transport(2, 2)), lookup, Expr::NoTrack];
    assert_eq!(
        of(vec![rule(among("s", false))]),
        [(What::NoTrack, true, 1)]
    );
    assert_eq!(of(vec![rule(among("s", true))]), []);
    assert_eq!(
        of(vec![rule(among("of ranges", false))]),
        [(What::NoTrack, false, 1)]
    );
    let overwritten = vec![
        load(Field::Gid),
        Expr::Unknown { register: Some(1) },
        is(&[1, 0, 0, 0]),
        Expr::NoTrack,
    ];
    assert_eq!(of(vec![overwritten]), [(What::NoTrack, false, 1)]);
}

#[test]
fn marks_are_followed() {
    let set = |mark: u32| {
        let data = kept(&mark.to_ne_bytes());
        vec![
            Expr::Immediate { data, register: 1 },
            Expr::SetMark { register: 1 },
        ]
    };
    let bits = |mask: u32, xor: u32| {
        vec![
            load(Field::Mark),
            Expr::Bitwise {
                from: 1,
                to: 1,
                mask: kept(&mask.to_ne_bytes()),
                xor: kept(&xor.to_ne_bytes()),
            },
            Expr::SetMark { register: 1 },
        ]
    };
    let marked = Packet {
        mark: 1,
        ..packet()
    };
    let after = |rules| deeds(&[("out", rules)], &marked);
    assert_eq!(
        after(vec![set(0x10), set(0x10)]),
        [(What::Mark(Some(0x10)), true, 1)]
    );
    // meta mark set meta mark and 0xff00ffff xor 0x10000: another bit.
    assert_eq!(
        after(vec![bits(0xff00_ffff, 0x1_0000)]),
        [(What::Mark(Some(0x1_0001)), true, 1)]
    );
    // meta mark set ct mark: of a new flow, 0.
    let restore = vec![load(Field::FlowMark), Expr::SetMark { register: 1 }];
    assert_eq!(after(vec![restore]), [(What::Mark(Some(0)), true, 1)]);
    let matched = |value, mask, inverted| {
        vec![
            Expr::MatchMark {
                value,
                mask,
                inverted,
            },
            Expr::NoTrack,
        ]
    };
    assert_eq!(
        after(vec![matched(1, 1, false), matched(1, 1, true)]),
        [(What::NoTrack, true, 1)]
    );
    let change = vec![
        Expr::ChangeMark {
            clear: 0xff,
            turn: 4,
        },
        Expr::Accept,
    ];
    assert_eq!(
        after(vec![change, set(9)]),
        [(What::Mark(Some(4)), true, 1)]
    );
}

#[test]
fn chains_call_chains_and_loops_end() {
    let call = |chain: &'static str, back| {
        vec![Expr::Call {
            chain: chain.as_bytes(),
            back,
        }]
    };
    let chains = [
        ("out", vec![call("a", true), vec![Expr::NoTrack]]),
        ("a", vec![vec![Expr::Return], vec![Expr::Drop]]),
    ];
    assert_eq!(deeds(&chains, &packet()), [(What::NoTrack, true, 2)]);
    let chains = [
        ("out", vec![call("a", false), vec![Expr::NoTrack]]),
        ("a", vec![]),
    ];
    assert_eq!(deeds(&chains, &packet()), [], "goto does not come back");
    let chains = [("out", vec![call("out", true), vec![Expr::NoTrack]])];
    assert!(!deeds(&chains, &packet()).is_empty());
}

#[test]
fn other_families_are_not_ours() {
    let chains = [("out", vec![vec![Expr::NoTrack]])];
    let mut rules = ruleset(&chains);
    rules.bases[0].place.family = 10;
    assert_eq!(walk(&rules, &packet()), []);
}
