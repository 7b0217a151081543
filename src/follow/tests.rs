//! Real directories and a real inotify: what it tells of is the kernel's say.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use super::{Files, walk};

/// Nothing here takes so long, and nothing waits for it but what must not come.
const SOON: Duration = Duration::from_secs(10);
/// An event that must not come would be there by then.
const NEVER: Duration = Duration::from_millis(200);
/// Never looks by itself.
const NO_LOOK: Duration = Duration::from_secs(3600);

/// A directory, gone with the test.
struct Directory(PathBuf);

impl Directory {
    fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let path =
            std::env::temp_dir().join(format!("gluon-wan-follow.{}.{count}", std::process::id()));
        fs::create_dir(&path).unwrap();
        Self(path)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).unwrap();
    }
}

/// Runs a test within a runtime, in an own directory.
fn run(test: impl AsyncFnOnce(&Directory)) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let directory = Directory::new();
    runtime.block_on(test(&directory));
}

async fn is_told(files: &mut Files) -> bool {
    tokio::time::timeout(SOON, files.changed()).await.is_ok()
}

async fn is_silent(files: &mut Files) -> bool {
    tokio::time::timeout(NEVER, files.changed()).await.is_err()
}

fn follow(path: PathBuf) -> Files {
    Files::with_interval(&[path], NO_LOOK)
}

/// Writes a file beside it, then renames it.
fn replace(path: &Path, text: &str) {
    let beside = path.with_extension("new");
    fs::write(&beside, text).unwrap();
    fs::rename(beside, path).unwrap();
}

fn replace_link(path: &Path, target: &str) {
    let beside = path.with_extension("new");
    symlink(target, &beside).unwrap();
    fs::rename(beside, path).unwrap();
}

#[test]
fn a_file_is_written_replaced_and_removed() {
    run(async |dir| {
        let file = dir.path("file");
        let mut files = follow(file.clone());
        fs::write(&file, "1").unwrap();
        assert!(is_told(&mut files).await, "made");
        fs::write(&file, "2").unwrap();
        assert!(is_told(&mut files).await, "written");
        replace(&file, "3");
        assert!(is_told(&mut files).await, "replaced");
        fs::remove_file(&file).unwrap();
        assert!(is_told(&mut files).await, "removed");
        fs::write(dir.path("other"), "4").unwrap();
        assert!(is_silent(&mut files).await, "another file");
    });
}

#[test]
fn an_empty_file_is_news_only_when_it_is_closed() {
    run(async |dir| {
        let mut files = follow(dir.path("file"));
        let open = fs::File::create(dir.path("file")).unwrap();
        assert!(is_silent(&mut files).await, "still open");
        drop(open);
        assert!(is_told(&mut files).await, "closed");
        fs::write(dir.path("source"), "1").unwrap();
        fs::remove_file(dir.path("file")).unwrap();
        assert!(is_told(&mut files).await, "removed");
        fs::hard_link(dir.path("source"), dir.path("file")).unwrap();
        assert!(is_told(&mut files).await, "another name for a file");
    });
}

#[test]
fn directories_may_come_later() {
    run(async |dir| {
        let mut files = follow(dir.path("a/b/file"));
        fs::create_dir(dir.path("a")).unwrap();
        assert!(is_told(&mut files).await, "the first directory");
        fs::create_dir(dir.path("a/b")).unwrap();
        assert!(is_told(&mut files).await, "the second directory");
        fs::write(dir.path("a/b/file"), "1").unwrap();
        assert!(is_told(&mut files).await, "the file");
        fs::create_dir_all(dir.path("new/b")).unwrap();
        fs::rename(dir.path("a"), dir.path("old")).unwrap();
        assert!(is_told(&mut files).await, "a directory is moved away");
        fs::rename(dir.path("new"), dir.path("a")).unwrap();
        assert!(is_told(&mut files).await, "another one takes its place");
        fs::write(dir.path("a/b/file"), "2").unwrap();
        assert!(is_told(&mut files).await, "a file in it");
        fs::write(dir.path("old/b/file"), "3").unwrap();
        assert!(is_silent(&mut files).await, "a file in the old one");
    });
}

#[test]
fn a_linked_file_is_followed_to_where_it_is() {
    run(async |dir| {
        for place in ["one", "two"] {
            fs::create_dir(dir.path(place)).unwrap();
            fs::write(dir.path(place).join("target"), "1").unwrap();
        }
        symlink("one/target", dir.path("file")).unwrap();
        let mut files = follow(dir.path("file"));
        fs::write(dir.path("one/target"), "2").unwrap();
        assert!(is_told(&mut files).await, "the target is written");
        replace(&dir.path("one/target"), "3");
        assert!(is_told(&mut files).await, "the target is replaced");
        replace_link(&dir.path("file"), "two/target");
        assert!(is_told(&mut files).await, "the link leads elsewhere");
        fs::write(dir.path("one/target"), "4").unwrap();
        assert!(is_silent(&mut files).await, "the old target");
        fs::remove_file(dir.path("two/target")).unwrap();
        assert!(is_told(&mut files).await, "the new target is removed");
        fs::write(dir.path("two/target"), "5").unwrap();
        assert!(is_told(&mut files).await, "the new target is back");
    });
}

#[test]
fn links_among_the_directories_are_followed() {
    run(async |dir| {
        for place in ["one", "two"] {
            fs::create_dir_all(dir.path(place).join("deep")).unwrap();
        }
        symlink("one", dir.path("link")).unwrap();
        symlink(dir.path("link/deep"), dir.path("absolute")).unwrap();
        fs::create_dir(dir.path("up")).unwrap();
        let mut files = follow(dir.path("up/../absolute/file"));
        replace(&dir.path("one/deep/file"), "1");
        assert!(is_told(&mut files).await, "through three links");
        replace_link(&dir.path("link"), "two");
        assert!(
            is_told(&mut files).await,
            "a link in the middle leads elsewhere"
        );
        replace(&dir.path("one/deep/file"), "2");
        assert!(is_silent(&mut files).await, "the old place");
        replace(&dir.path("two/deep/file"), "3");
        assert!(is_told(&mut files).await, "the new place");
    });
}

#[test]
fn a_link_that_leads_nowhere_is_waited_for() {
    run(async |dir| {
        symlink("missing/target", dir.path("file")).unwrap();
        symlink("loop", dir.path("loop")).unwrap();
        let mut files = Files::with_interval(&[dir.path("file"), dir.path("loop/file")], NO_LOOK);
        fs::create_dir(dir.path("missing")).unwrap();
        assert!(is_told(&mut files).await, "its directory is there");
        fs::write(dir.path("missing/target"), "1").unwrap();
        assert!(is_told(&mut files).await, "its target is there");
        fs::remove_file(dir.path("loop")).unwrap();
        assert!(is_told(&mut files).await, "the loop is gone");
    });
}

#[test]
fn busy_directories_on_the_way_are_not_listened_to() {
    run(async |dir| {
        fs::create_dir(dir.path("deep")).unwrap();
        let places = walk(&[dir.path("deep/file")]);
        let parent = places.iter().find(|place| place.path == dir.0).unwrap();
        assert!(parent.names.is_empty(), "{parent:?}");
        let mut files = follow(dir.path("deep/file"));
        fs::write(dir.path("other"), "1").unwrap();
        assert!(is_silent(&mut files).await);
    });
}

#[test]
fn without_inotify_it_looks() {
    run(async |dir| {
        let file = dir.path("file");
        symlink("target", &file).unwrap();
        let mut files = Files::with_interval(&[file], Duration::from_millis(20));
        let blind = |files: &mut Files| {
            files.inotify = None;
            files.seen = Some(files.identities());
        };
        blind(&mut files);
        fs::write(dir.path("target"), "1").unwrap();
        assert!(is_told(&mut files).await, "written");
        blind(&mut files);
        replace(&dir.path("target"), "2");
        assert!(
            is_told(&mut files).await,
            "replaced by one of the same length"
        );
        blind(&mut files);
        fs::remove_file(dir.path("target")).unwrap();
        assert!(is_told(&mut files).await, "removed");
        // What it opens on the way works again.
        assert!(files.seen.is_none() && files.inotify.is_some());
        fs::write(dir.path("target"), "3").unwrap();
        assert!(is_told(&mut files).await, "inotify is back");
    });
}
