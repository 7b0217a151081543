//! A simulated world, from a seed: no kernel, no clock, no root. README.md says
//! what is in it.

// A check fails by a panic.
#![allow(
    missing_docs,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    clippy::unwrap_used
)]

mod dice;
mod kernel;
mod network;
mod node;
mod seeds;
