//! Keeps in place what [`crate::sync`] puts there.
use crate::config::Config;
use crate::redirect::{self, Events};
use crate::sync::{self, Error};
use std::path::Path;
use tokio::io::unix::AsyncFd;
/// Stays until a signal ends it.
///
/// # Errors
/// What keeps it from watching.
pub fn run(_dir: &Path, config: Config) -> Result<(), Error> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .build()
        .map_err(|_| redirect::Error::NotKept)?;
    runtime.block_on(async {
        let events = Events::open()?;
        // SAFETY: the socket stays the same and open while `events` lives.
        let events =
            unsafe { AsyncFd::register_with_interest(events, tokio::io::Interest::READABLE) };
        let mut events = events.map_err(|_| redirect::Error::NotKept)?;
        sync::sync(&config)?;
        loop {
            let mut ready = events
                .readable_mut()
                .await
                .map_err(|_| redirect::Error::NotKept)?;
            let ours = ready.get_inner_mut().drain()?;
            ready.clear_ready();
            if ours && let Err(error) = sync::sync(&config) {
                crate::log!("{error}");
            }
        }
    })
}
