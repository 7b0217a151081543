//! libpacketmark.so: marks the sockets of programs that cannot do it themselves.
//!
//! Loaded with `LD_PRELOAD`, it stands before the `socket()` of libc and gives
//! every IPv4 and IPv6 socket the packet mark (`SO_MARK`) of the environment
//! variable `LIBPACKETMARK_MARK`. Name and variable are those of Gluon's library.
//! Sockets that libc makes for itself, its resolver's for one, do not pass here.
//!
//! `LIBPACKETMARK_STRICT=1` makes `socket()` fail where otherwise a socket would
//! go unmarked; without it the process says so once, on standard error or, where
//! that is closed or /dev/null, in the system log.
//!
//! It has no standard library and no unwinder. Where panics unwind, in a debug build, it
//! is only looked at, and has both.
#![cfg_attr(all(not(test), panic = "abort"), no_std)]

mod mark;
mod message;

// A test program is not to have its own socket() replaced.
#[cfg(not(test))]
mod capability;
#[cfg(not(test))]
mod kernel;
#[cfg(not(test))]
mod preload;
#[cfg(not(test))]
mod process;
#[cfg(not(test))]
mod report;

#[cfg(all(not(test), panic = "abort"))]
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}
