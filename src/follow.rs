//! Tells when a file may have changed, appeared or gone.
//!
//! inotify watches inodes, not paths, so a path is walked as the kernel walks it:
//! whatever lies on the way is watched, links and what they lead to, and the walk
//! is taken again when something on it has changed. Where inotify is not to be
//! had, because others have used it up or a directory must not be read, the
//! files are looked at every few seconds.
//!
//! What is mounted over a directory on the way is not noticed.

use std::env;
use std::ffi::{OsStr, OsString};
use std::fmt::Write;
use std::fs::{self, Metadata};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify, InotifyEvent, WatchDescriptor};
use tokio::io::Interest;
use tokio::time::sleep_until;

use crate::log;
use crate::ready;

/// How often files are looked at that inotify does not tell of.
const LOOK: Duration = Duration::from_secs(3);
/// So many links in one path, and it leads nowhere (MAXSYMLINKS of linux/namei.h).
const MAX_LINKS: usize = 40;
/// While a walk does not end where the last one did, somebody is changing the
/// directories at that moment. After so many walks, the events say the rest.
const MAX_WALKS: usize = 4;

/// Some files that are followed.
pub struct Files {
    paths: Vec<PathBuf>,
    inotify: Option<Inotify>,
    watches: Vec<Watch>,
    /// What the files were at the last look, while inotify does not tell of all.
    seen: Option<Vec<Option<Identity>>>,
    next_look: Instant,
    interval: Duration,
    said: Option<String>,
}

struct Watch {
    descriptor: WatchDescriptor,
    place: Place,
}

/// An inode on the way to a file, and what to hear of it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Place {
    inode: (u64, u64),
    path: PathBuf,
    mask: AddWatchFlags,
    /// The entries of a directory that count.
    names: Vec<OsString>,
}

/// Differs when a file has become another one or has been written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Identity {
    inode: (u64, u64),
    size: u64,
    written: (i64, i64),
    changed: (i64, i64),
}

impl Files {
    /// Follows `paths`, which need not be there. Changes count from now on.
    #[must_use]
    pub fn new(paths: &[PathBuf]) -> Self {
        Self::with_interval(paths, LOOK)
    }

    fn with_interval(paths: &[PathBuf], interval: Duration) -> Self {
        // What is absolute stays as it is.
        let here = env::current_dir().unwrap_or_default();
        let mut files = Self {
            paths: paths.iter().map(|path| here.join(path)).collect(),
            inotify: None,
            watches: Vec::new(),
            seen: None,
            next_look: Instant::now() + interval,
            interval,
            said: None,
        };
        files.watch();
        files
    }

    /// Whether one of the files may have changed since it was asked last. Never waits.
    pub fn have_changed(&mut self) -> bool {
        let events = match self.inotify.as_ref().map(Inotify::read_events) {
            Some(Ok(events)) => events,
            None | Some(Err(Errno::EAGAIN)) => Vec::new(),
            Some(Err(_)) => {
                self.go_blind();
                Vec::new()
            }
        };
        if events.iter().any(|event| self.concerns(event)) {
            self.watch();
            return true;
        }
        if self.next_look().is_none_or(|time| time > Instant::now()) {
            return false;
        }
        self.next_look = Instant::now() + self.interval;
        let before = self.seen.take();
        self.watch();
        before != Some(self.identities())
    }

    /// What becomes readable when it is worth to ask; none without inotify.
    #[must_use]
    pub fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        self.inotify.as_ref().map(AsFd::as_fd)
    }

    /// When to ask all the same; none while inotify tells of all.
    #[must_use]
    pub fn next_look(&self) -> Option<Instant> {
        self.seen.is_some().then_some(self.next_look)
    }

    /// Waits until one of the files may have changed. Nothing is lost when the
    /// wait is given up and begun anew. Must be called within a runtime.
    pub async fn changed(&mut self) {
        while !self.have_changed() {
            let event = readable(self.descriptor());
            let look = time(self.next_look());
            let heard = tokio::select! {
                heard = event => heard,
                () = look => Ok(()),
            };
            if heard.is_err() {
                self.go_blind();
            }
        }
    }

    /// inotify never fails; should it, looking is left.
    fn go_blind(&mut self) {
        self.inotify = None;
        self.seen = Some(self.identities());
    }

    /// Watches all that lies on the way to the files, and nothing else. Where that
    /// cannot be, the files will be looked at.
    fn watch(&mut self) {
        let outcome = self.try_to_watch();
        self.seen = outcome.is_err().then(|| self.identities());
        let seconds = self.interval.as_secs();
        let remark = outcome.err().map(|error| {
            let mut remark =
                format!("inotify does not tell of changes, looking every {seconds} s at ");
            for (at, path) in self.paths.iter().enumerate() {
                let separator = if at == 0 { "" } else { ", " };
                // Writing to a string cannot fail.
                let _ = write!(remark, "{separator}{}", path.display());
            }
            let _ = write!(remark, ": {error}");
            remark
        });
        if let Some(remark) = &remark
            && self.said.as_ref() != Some(remark)
        {
            log::warning!("{remark}");
        }
        self.said = remark;
    }

    fn try_to_watch(&mut self) -> io::Result<()> {
        let inotify = match self.inotify.take() {
            Some(inotify) => inotify,
            None => {
                self.watches.clear();
                Inotify::init(InitFlags::IN_NONBLOCK | InitFlags::IN_CLOEXEC)?
            }
        };
        let inotify = self.inotify.insert(inotify);
        let mut outcome = Ok(());
        let mut places = walk(&self.paths);
        for _ in 0..MAX_WALKS {
            let mut watches = Vec::with_capacity(places.len());
            outcome = Ok(());
            for place in &places {
                match inotify.add_watch(&place.path, place.mask) {
                    Ok(descriptor) => watches.push(Watch {
                        descriptor,
                        place: place.clone(),
                    }),
                    Err(error) => outcome = Err(error.into()),
                }
            }
            for old in &self.watches {
                if watches.iter().all(|new| new.descriptor != old.descriptor) {
                    // It is gone already when the inode is.
                    let _ = inotify.rm_watch(old.descriptor);
                }
            }
            self.watches = watches;
            // What has changed before it was watched, no event tells.
            let again = walk(&self.paths);
            if again == places {
                break;
            }
            places = again;
        }
        outcome
    }

    fn concerns(&self, event: &InotifyEvent) -> bool {
        if event.mask.contains(AddWatchFlags::IN_Q_OVERFLOW) {
            return true;
        }
        let watch = self.watches.iter().find(|one| one.descriptor == event.wd);
        let Some(Watch { place, .. }) = watch else {
            return false;
        };
        let Some(name) = &event.name else {
            // The inode itself is moved, gone or no longer watched.
            return true;
        };
        place.names.contains(name) && !is_just_made(&place.path.join(name), event.mask)
    }

    fn identities(&self) -> Vec<Option<Identity>> {
        let identity = |path: &PathBuf| fs::metadata(path).ok().map(|meta| Identity::of(&meta));
        self.paths.iter().map(identity).collect()
    }
}

/// A new, still empty file is no news before it is closed; a directory, a link,
/// or another name for a file is.
fn is_just_made(path: &Path, mask: AddWatchFlags) -> bool {
    mask.contains(AddWatchFlags::IN_CREATE)
        && fs::symlink_metadata(path).is_ok_and(|meta| meta.is_file() && meta.len() == 0)
}

impl Identity {
    fn of(meta: &Metadata) -> Self {
        Self {
            inode: inode(meta),
            size: meta.size(),
            written: (meta.mtime(), meta.mtime_nsec()),
            changed: (meta.ctime(), meta.ctime_nsec()),
        }
    }
}

fn inode(meta: &Metadata) -> (u64, u64) {
    (meta.dev(), meta.ino())
}

/// Waits for ever where there is no descriptor.
async fn readable(descriptor: Option<BorrowedFd<'_>>) -> io::Result<()> {
    let Some(descriptor) = descriptor else {
        return std::future::pending().await;
    };
    // Known to the runtime for this wait only: it becomes another one at times.
    let descriptor = ready::register(descriptor, Interest::READABLE)?;
    let ready = descriptor.readable().await;
    ready.map(|_| ())
}

/// Waits for ever where there is no time.
async fn time(time: Option<Instant>) {
    match time {
        Some(time) => sleep_until(time.into()).await,
        None => std::future::pending().await,
    }
}

/// What lies on the way to each of the files (absolute paths) now.
fn walk(paths: &[PathBuf]) -> Vec<Place> {
    let mut places = Vec::new();
    for path in paths {
        walk_to(path, &mut places);
    }
    places
}

/// One way, as path_resolution(7) describes it. It ends where something is
/// missing.
fn walk_to(path: &Path, places: &mut Vec<Place>) {
    let itself = AddWatchFlags::IN_MOVE_SELF | AddWatchFlags::IN_DELETE_SELF;
    let link = itself | AddWatchFlags::IN_ATTRIB | AddWatchFlags::IN_DONT_FOLLOW;
    let mut here = PathBuf::from("/");
    let mut links = 0;
    // The last one is next.
    let mut ahead = parts(path);
    while let Some(part) = ahead.pop() {
        if part == ".." {
            here.pop();
            continue;
        }
        let entry = here.join(&part);
        let found = fs::symlink_metadata(&entry);
        if ahead.is_empty() || found.is_err() {
            note_entry(places, &here, &part);
        }
        let Ok(found) = found else { return };
        if found.is_symlink() {
            note(places, &entry, inode(&found), link);
            let Ok(target) = fs::read_link(&entry) else {
                return;
            };
            links += 1;
            if links > MAX_LINKS {
                return;
            }
            if target.is_absolute() {
                here = "/".into();
            }
            ahead.extend(parts(&target));
        } else if !ahead.is_empty() {
            note(places, &entry, inode(&found), itself);
            here = entry;
        }
    }
}

/// The parts of a path, the last one first, as whoever walks along it takes them.
#[must_use]
pub fn parts(path: &Path) -> Vec<OsString> {
    let mut parts = Vec::new();
    for part in path.components().rev() {
        if matches!(part, Component::Normal(_) | Component::ParentDir) {
            parts.push(part.as_os_str().to_owned());
        }
    }
    parts
}

/// Changes of one entry of a directory are to be heard.
fn note_entry(places: &mut Vec<Place>, directory: &Path, name: &OsStr) {
    let entries = AddWatchFlags::IN_CREATE
        | AddWatchFlags::IN_CLOSE_WRITE
        | AddWatchFlags::IN_MOVED_TO
        | AddWatchFlags::IN_MOVED_FROM
        | AddWatchFlags::IN_DELETE;
    let Ok(meta) = fs::symlink_metadata(directory) else {
        return;
    };
    let place = note(places, directory, inode(&meta), entries);
    if place.names.iter().all(|known| known != name) {
        place.names.push(name.to_owned());
    }
}

/// One watch for an inode, however many ways lead over it: a second one would
/// take the place of the first.
fn note<'a>(
    places: &'a mut Vec<Place>,
    path: &Path,
    inode: (u64, u64),
    mask: AddWatchFlags,
) -> &'a mut Place {
    let at = places.iter().position(|place| place.inode == inode);
    let at = at.unwrap_or_else(|| {
        places.push(Place {
            inode,
            path: path.to_owned(),
            mask: AddWatchFlags::empty(),
            names: Vec::new(),
        });
        places.len() - 1
    });
    places[at].mask |= mask;
    &mut places[at]
}

#[cfg(test)]
mod tests;
