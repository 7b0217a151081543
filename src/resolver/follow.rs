//! What makes the resolver look again: changed files, links and routes.

use std::io;
use std::path::{Path, PathBuf};

use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use rtnetlink::sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use crate::ready::{self, Source};

/// rtnetlink's multicast groups (RTMGRP_* of linux/rtnetlink.h): links, IPv4
/// addresses, routes and rules, IPv6 addresses, routes and rules.
const GROUPS: u32 = 0x1 | 0x10 | 0x40 | 0x80 | 0x100 | 0x400 | 0x4_0000;

/// Tells when one of some files may have changed, appeared or gone.
pub struct Files {
    inotify: AsyncFd<Source<Inotify>>,
    paths: Vec<PathBuf>,
}

impl Files {
    /// Follows `paths`, which need not be there.
    ///
    /// # Errors
    /// No inotify.
    pub fn new(paths: Vec<PathBuf>) -> io::Result<Self> {
        let inotify = Inotify::init(InitFlags::IN_NONBLOCK | InitFlags::IN_CLOEXEC)?;
        let files = Self {
            inotify: ready::register(Source(inotify), Interest::READABLE)?,
            paths,
        };
        files.watch();
        Ok(files)
    }

    /// Waits for an event that concerns one of the files.
    ///
    /// # Errors
    /// The kernel's queue is broken.
    pub async fn changed(&self) -> io::Result<()> {
        loop {
            let mut ready = self.inotify.readable().await?;
            let events = match ready.try_io(|inotify| Ok(inotify.get_ref().0.read_events()?)) {
                Ok(events) => events?,
                Err(_would_block) => continue,
            };
            // A directory may have come between a file and what was watched.
            self.watch();
            let overflow = AddWatchFlags::IN_Q_OVERFLOW | AddWatchFlags::IN_IGNORED;
            let concerned = events.iter().any(|event| {
                event.mask.intersects(overflow)
                    || event
                        .name
                        .as_ref()
                        .is_none_or(|name| self.concerns(Path::new(name), event.mask))
            });
            if concerned {
                return Ok(());
            }
        }
    }

    /// A new, still empty file is no news before it is closed; a new directory
    /// or link is.
    fn concerns(&self, name: &Path, mask: AddWatchFlags) -> bool {
        self.paths.iter().any(|path| {
            let is_the_file = path.file_name().is_some_and(|file| file == name);
            let just_made = mask.contains(AddWatchFlags::IN_CREATE)
                && path.symlink_metadata().is_ok_and(|meta| meta.is_file());
            let is_a_parent = path.iter().any(|part| part == name);
            is_the_file && !just_made || is_a_parent && !is_the_file
        })
    }

    /// Watches the directory of each file or, where it is not there, the nearest
    /// one above it. Watching twice is watching once.
    fn watch(&self) {
        let events = AddWatchFlags::IN_CREATE
            | AddWatchFlags::IN_CLOSE_WRITE
            | AddWatchFlags::IN_MOVED_TO
            | AddWatchFlags::IN_MOVED_FROM
            | AddWatchFlags::IN_DELETE
            | AddWatchFlags::IN_DELETE_SELF
            | AddWatchFlags::IN_MOVE_SELF
            | AddWatchFlags::IN_ONLYDIR;
        for path in &self.paths {
            let above = path.ancestors().skip(1);
            // What cannot be watched is looked at again with the next event.
            let _ = above
                .map(|dir| self.inotify.get_ref().0.add_watch(dir, events))
                .find(Result::is_ok);
        }
    }
}

/// Tells when links, addresses, routes or rules have changed.
pub struct Network {
    socket: AsyncFd<Socket>,
}

impl Network {
    /// Subscribes; needs no privilege.
    ///
    /// # Errors
    /// No rtnetlink.
    pub fn new() -> io::Result<Self> {
        let mut socket = Socket::new(NETLINK_ROUTE)?;
        socket.set_non_blocking(true)?;
        socket.bind(&SocketAddr::new(0, GROUPS))?;
        Ok(Self {
            socket: ready::register(socket, Interest::READABLE)?,
        })
    }

    /// Waits for a change and takes all that is told of it. What has changed
    /// does not matter, so neither does an overflow.
    ///
    /// # Errors
    /// The socket is broken.
    pub async fn changed(&self) -> io::Result<()> {
        let mut ready = self.socket.readable().await?;
        let mut word = [0; 1];
        loop {
            let taken = ready.try_io(|socket| {
                // The rest of a datagram is cut off.
                socket.get_ref().recv(&mut word.as_mut_slice(), 0)
            });
            match taken {
                Ok(Err(error)) if error.raw_os_error() == Some(libc::ENOBUFS) => {}
                Ok(Err(error)) => return Err(error),
                Ok(Ok(_)) => {}
                Err(_would_block) => return Ok(()),
            }
        }
    }
}
