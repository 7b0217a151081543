//! How the program is linked: without unwind tables.
//!
//! It aborts where it panics, so nothing ever reads them, and they are a seventh
//! of the binary. No profile can leave them out, and the standard library comes
//! with its own. A debug build keeps them, for backtraces.

use std::env::var;

fn main() {
    // Cargo does not tell what the profile says, but OpenWrt's rust-package.mk
    // changes it through the environment.
    let unwinds = var("CARGO_PROFILE_RELEASE_PANIC").is_ok_and(|panic| panic == "unwind");
    let is_release = var("PROFILE").is_ok_and(|profile| profile == "release");
    if is_release && !unwinds {
        let here = var("CARGO_MANIFEST_DIR").unwrap_or_default();
        println!("cargo::rustc-link-arg-bins=-Wl,-T,{here}/src/no-unwind.ld");
    }
    println!("cargo::rerun-if-env-changed=CARGO_PROFILE_RELEASE_PANIC");
    println!("cargo::rerun-if-changed=src/build.rs");
    println!("cargo::rerun-if-changed=src/no-unwind.ld");
}
