//! A look-up's network: clients, the queries in flight as they are shipped, servers
//! and what lies between. Nothing sleeps: time is a number.

pub mod core;
pub mod dns;
pub mod table;
pub mod weather;
pub mod world;

use std::cell::RefCell;
use std::fmt;

use proptest::prelude::*;
use proptest::test_runner::TestCaseError;

use crate::seeds;
use weather::{Behaviour, Delay, Link, behaviour, delay, link};
use world::{Seen, World};

/// What a pasted test needs.
#[allow(dead_code, unused_imports)]
pub mod prelude {
    pub use super::Action::*;
    pub use super::Scenario;
    pub use super::weather::Behaviour::*;
    pub use super::weather::Delay::*;
    pub use super::weather::Link;

    /// Lives through a scenario.
    pub fn replay(scenario: &Scenario) -> Result<(), String> {
        super::replay(scenario, &mut super::Seen::default())
    }
}

/// What happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// A client asks for one of a few names, with one of a few EDNS sizes.
    Ask {
        name: u8,
        edns: u8,
    },
    /// Nothing passes for a while.
    Outage {
        ms: u16,
    },
    /// The kernel says that links or routes changed, so many times; with another
    /// address for us.
    NetworkChanged {
        renumbered: bool,
        times: u8,
    },
    /// Another list of servers, as bits.
    Servers(u8),
    /// No more open files than that; 0: as many as one likes.
    Descriptors(u8),
    Behaves {
        server: u8,
        behaviour: Behaviour,
    },
    Slows {
        server: u8,
        delay: Delay,
    },
    /// Somebody who sees nothing sends replies.
    Forge,
}

/// A network and what happens in it.
#[derive(Clone)]
pub struct Scenario {
    pub links: Vec<Link>,
    /// Each after a pause in milliseconds.
    pub steps: Vec<(u16, Action)>,
    /// Decides what gets lost, and the like.
    pub chance: u64,
}

/// As a test has it.
impl fmt::Debug for Scenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            links,
            steps,
            chance,
        } = self;
        write!(
            f,
            "Scenario {{ links: vec!{links:?}, steps: vec!{steps:?}, chance: {chance} }}"
        )
    }
}

fn action() -> impl Strategy<Value = Action> {
    prop_oneof![
        12 => (0..4_u8, 0..4_u8).prop_map(|(name, edns)| Action::Ask { name, edns }),
        1 => (100..8000_u16).prop_map(|ms| Action::Outage { ms }),
        1 => (any::<bool>(), 1..8_u8)
            .prop_map(|(renumbered, times)| Action::NetworkChanged { renumbered, times }),
        1 => any::<u8>().prop_map(Action::Servers),
        1 => (0..6_u8).prop_map(Action::Descriptors),
        2 => (0..4_u8, behaviour()).prop_map(|(server, behaviour)| Action::Behaves { server, behaviour }),
        1 => (0..4_u8, delay()).prop_map(|(server, delay)| Action::Slows { server, delay }),
        2 => Just(Action::Forge),
    ]
}

fn scenario() -> impl Strategy<Value = Scenario> {
    let pause =
        prop_oneof![2 => Just(0_u16), 4 => 1..300_u16, 3 => 300..3000_u16, 1 => 3000..12_000_u16];
    let steps = prop::collection::vec((pause, action()), 1..40);
    (prop::collection::vec(link(), 1..5), steps, any::<u64>()).prop_map(|(links, steps, chance)| {
        Scenario {
            links,
            steps,
            chance,
        }
    })
}

pub fn replay(scenario: &Scenario, seen: &mut Seen) -> Result<(), String> {
    World::new(scenario).run(scenario, seen)
}

#[test]
fn any_scenario() {
    let seen = RefCell::new(Seen::default());
    seeds::run("network", 200, scenario(), |scenario: &Scenario| {
        replay(scenario, &mut seen.borrow_mut()).map_err(TestCaseError::fail)
    });
    println!("{}", seen.borrow());
}

/// Every kind of failure, with its shortest scenario: for whoever mends several.
#[test]
#[ignore = "a survey, not a check"]
fn survey() {
    let mut seen = Seen::default();
    seeds::survey(300, scenario(), |scenario: &Scenario| {
        replay(scenario, &mut seen).map_err(TestCaseError::fail)
    });
    println!("{seen}");
}
