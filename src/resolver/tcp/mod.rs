//! TCP: hickory's framing and time-outs towards clients ([`clients`]), marked
//! connections towards servers ([`connection`]), and the same bytes between them
//! ([`lookup`] says which server is asked when).
//!
//! hickory's `Server` would encode every reply anew and lose what it does not
//! know; its stream gives and takes whole messages as bytes.

mod clients;
mod connection;
mod lookup;

use std::sync::Arc;

use tokio::sync::Semaphore;

use super::relay::Relay;
use connection::Connections;

pub use clients::serve;

/// Look-ups that wait for a server's answer at a time; further ones wait for one
/// of these.
const MAX_WAITING: usize = 16;

/// How queries go on to servers; shared by all clients.
#[derive(Clone)]
struct Asking {
    relay: Arc<Relay>,
    mark: u32,
    slots: Arc<Semaphore>,
    connections: Arc<Connections>,
}

impl Asking {
    fn new(relay: Arc<Relay>, mark: u32) -> Self {
        Self {
            relay,
            mark,
            slots: Arc::new(Semaphore::new(MAX_WAITING)),
            connections: Arc::default(),
        }
    }
}
