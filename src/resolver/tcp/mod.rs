//! TCP: hickory's framing and time-outs towards clients ([`clients`]), marked
//! connections towards servers ([`connection`]), and the same bytes between them
//! ([`lookup`] says which server is asked when).
//!
//! hickory's `Server` would encode every reply anew and lose what it does not
//! know; its stream gives and takes whole messages as bytes.

mod clients;
mod connection;
mod lookup;

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;

use tokio::sync::Semaphore;
use tokio::task::{AbortHandle, spawn_local};

use super::relay::Relay;
use connection::Connections;

pub use clients::serve;

/// Look-ups that wait for a server's answer at a time; further ones wait for one
/// of these.
const MAX_WAITING: usize = 16;

/// How queries go on to servers; shared by all clients.
struct Asking {
    relay: Arc<Relay>,
    mark: u32,
    slots: Semaphore,
    connections: Connections,
}

impl Asking {
    fn new(relay: &Arc<Relay>, mark: u32) -> Self {
        Self {
            relay: Arc::clone(relay),
            mark,
            slots: Semaphore::new(MAX_WAITING),
            connections: Connections::default(),
        }
    }
}

/// Something to be done, whatever its type: a runtime's code for a task is made for
/// each type of future.
type Task<'a, T> = Pin<Box<dyn Future<Output = T> + 'a>>;

/// Starts what goes on by itself.
fn spawn(task: impl Future<Output = ()> + 'static) -> AbortHandle {
    let task: Task<'static, ()> = Box::pin(task);
    spawn_local(task).abort_handle()
}

/// A few tasks that end with whoever waits for them.
struct Tasks<'a, T>(Vec<Task<'a, T>>);

impl<'a, T> Tasks<'a, T> {
    fn new() -> Self {
        Self(Vec::new())
    }

    fn len(&self) -> usize {
        self.0.len()
    }

    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn add(&mut self, task: impl Future<Output = T> + 'a) {
        self.0.push(Box::pin(task));
    }

    /// What the first one to end comes to; none where there are none. Nothing is
    /// lost when the wait is given up.
    async fn next(&mut self) -> Option<T> {
        poll_fn(|context| {
            for at in 0..self.0.len() {
                if let Poll::Ready(outcome) = self.0[at].as_mut().poll(context) {
                    drop(self.0.swap_remove(at));
                    return Poll::Ready(Some(outcome));
                }
            }
            if self.is_empty() {
                Poll::Ready(None)
            } else {
                Poll::Pending
            }
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::{pending, ready};

    #[tokio::test]
    async fn the_first_to_end_is_next() {
        let mut tasks = Tasks::new();
        assert_eq!(tasks.next().await, None);
        tasks.add(pending());
        tasks.add(ready(7));
        assert_eq!(tasks.next().await, Some(7));
        assert_eq!(tasks.len(), 1);
    }
}
