//! Runs a check on one random input after the other, and prints what fails in the
//! shortest form that was found, as a test.

use std::fmt::Debug;

use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestRng, TestRunner};

/// How often a failing input is made simpler and tried again.
const SHRINKS: u32 = 20_000;

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().unwrap())
}

/// The seeds from `SIMULATION_SEED` (1) on, as many as `SIMULATION_SEEDS` says
/// (`usual`): each is one input.
pub fn seeds(usual: u64) -> impl Iterator<Item = u64> {
    let first = number("SIMULATION_SEED", 1);
    first..first + number("SIMULATION_SEEDS", usual)
}

/// Where inputs come from: the same seed, the same input.
pub fn runner(seed: u64) -> TestRunner {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let config = Config {
        failure_persistence: None,
        ..Config::default()
    };
    TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &bytes))
}

/// Tries `check` on an input for each seed.
pub fn run<S: Strategy>(
    module: &str,
    usual: u64,
    strategy: S,
    check: impl Fn(&S::Value) -> Result<(), TestCaseError>,
) where
    S::Value: Debug,
{
    for seed in seeds(usual) {
        let mut tree = strategy.new_tree(&mut runner(seed)).unwrap();
        let Err(mut failure) = check(&tree.current()) else {
            continue;
        };
        // As TestRunner::shrink does; it wants the input by value.
        let mut simplest = tree.current();
        let mut tries = 0;
        while tries < SHRINKS {
            tries += 1;
            let input = tree.current();
            match check(&input) {
                Err(error) => {
                    (failure, simplest) = (error, input);
                    if !tree.simplify() {
                        break;
                    }
                }
                Ok(()) => {
                    if !tree.complicate() {
                        break;
                    }
                }
            }
        }
        panic!(
            "seed {seed}: {failure}\n\n#[test]\nfn seed_{seed}() {{\n    use crate::{module}::prelude::*;\n    \
             replay(&{simplest:?}).unwrap();\n}}\n"
        );
    }
}

/// The kinds of failures (by their first words), how many seeds found each, and the
/// shortest history of one.
pub fn survey<S: Strategy>(
    usual: u64,
    strategy: S,
    mut check: impl FnMut(&S::Value) -> Result<(), TestCaseError>,
) where
    S::Value: Debug,
{
    let kind = |error: &TestCaseError| {
        let text = error.to_string();
        text.split([';', '{', '[', '('])
            .next()
            .unwrap_or_default()
            .to_owned()
    };
    let mut kinds = std::collections::BTreeMap::<String, (u64, u64, String)>::new();
    let mut passed = 0;
    for seed in seeds(usual) {
        let mut tree = strategy.new_tree(&mut runner(seed)).unwrap();
        let Err(error) = check(&tree.current()) else {
            passed += 1;
            continue;
        };
        let kind_of_it = kind(&error);
        if let Some(known) = kinds.get_mut(&kind_of_it) {
            known.0 += 1;
            continue;
        }
        let (mut text, mut tries) = (format!("{:?}: {error}", tree.current()), 0);
        let mut same = |value: &S::Value| check(value).err().filter(|e| kind(e) == kind_of_it);
        while tries < 3000 {
            tries += 1;
            match same(&tree.current()) {
                Some(error) => {
                    text = format!("{:?}\n    {error}", tree.current());
                    if !tree.simplify() {
                        break;
                    }
                }
                None => {
                    if !tree.complicate() {
                        break;
                    }
                }
            }
        }
        kinds.insert(kind_of_it, (1, seed, text));
    }
    println!("{passed} passed");
    for (kind, (count, seed, text)) in kinds {
        println!("{count} times, first by seed {seed}: {kind}\n  {text}");
    }
}
