//! The WAN side of a Freifunk Gluon node.
//!
//! Four parts, which do not know each other: [`redirect`] sends the DNS of the
//! VPN daemons to the [`resolver`], [`routing`] lets what carries the mark use
//! the WAN and nothing else, and the preload library (`src/packetmark`) marks
//! the sockets of programs that cannot do it. [`config`] says what is wanted;
//! [`sync`] puts it in place.

pub mod accounts;
pub mod ask;
pub mod child;
pub mod cli;
pub mod config;
pub mod exec;
pub mod follow;
pub mod health;
pub mod input;
pub mod log;
pub mod netlink;
pub mod output;
pub mod privilege;
pub mod pulse;
pub mod ready;
pub mod redirect;
pub mod resolver;
pub mod routing;
pub mod ruleset;
#[cfg(test)]
mod scratch;
pub mod signals;
pub mod status;
pub mod sync;
pub mod trace;
pub mod wan;
pub mod watch;
