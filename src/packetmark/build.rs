//! How libpacketmark.so is linked: against nothing.
//!
//! The handful of C functions it calls are in every libc, and the process that
//! loads it has one. A library that names none in its dynamic section is loaded by
//! musl and by glibc alike, and is smaller.

fn main() {
    for argument in [
        // Neither the compiler's start files nor any library.
        "-nostartfiles",
        "-nostdlib",
        // GNU ld would round each segment up to a page in the file; lld does not.
        "-Wl,-z,noseparate-code",
        // Nor is a page boundary put between what becomes read-only and the rest:
        // 64 KB of file on arm64.
        "-Wl,-z,norelro",
        // No exception passes through here.
        "-Wl,--no-eh-frame-hdr",
        "-Wl,--build-id=none",
    ] {
        println!("cargo::rustc-link-arg-cdylib={argument}");
    }
    println!("cargo::rerun-if-changed=build.rs");
}
