//! A node's routing under random events of others, and this program's part of it
//! as it is shipped: what it reads, plans and changes goes through the model of
//! the kernel, request by request, and others' requests fall between any two.

pub mod events;
pub mod properties;
pub mod world;

use proptest::prelude::*;
use proptest::test_runner::TestCaseError;

use crate::seeds;
use events::{Event, event};
use world::{Counts, World};

/// What a pasted test needs.
#[allow(dead_code, unused_imports)]
pub mod prelude {
    pub use super::events::Event::{self, *};
    pub use super::events::Iface;

    /// Lives through a history.
    pub fn replay(history: &[super::Step]) -> Result<(), String> {
        super::replay(history, &mut super::Counts::default())
    }
}

/// How many requests of ours go by before it happens, and what.
pub type Step = (u8, Event);

fn history() -> impl Strategy<Value = Vec<Step>> {
    let gap = prop_oneof![3 => Just(0_u8), 2 => 1..30_u8];
    prop::collection::vec((gap, event()), 1..40)
}

/// Lives through a history; what was found wrong, if anything.
pub fn replay(history: &[Step], counts: &mut Counts) -> Result<(), String> {
    World::new(history).run(counts)
}

/// As many histories as `SIMULATION_SEEDS` says.
#[test]
fn any_history() {
    let counts = std::cell::RefCell::new(Counts::default());
    seeds::run("node", 200, history(), |history: &Vec<Step>| {
        let mut counts = counts.borrow_mut();
        replay(history, &mut counts).map_err(TestCaseError::fail)
    });
    println!("{}", counts.borrow());
}

/// Every kind of failure, with its shortest history: for whoever mends several.
#[test]
#[ignore = "a survey, not a check"]
fn survey() {
    let mut counts = Counts::default();
    crate::seeds::survey(300, history(), |history: &Vec<Step>| {
        replay(history, &mut counts).map_err(TestCaseError::fail)
    });
    println!("{counts}");
}
