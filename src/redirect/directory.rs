//! Directories in which what root writes can land nowhere else.
//!
//! Nobody but root may own one or put anything into it, and no part of the way there
//! may be a link that somebody could have planted. Then nobody can exchange a part of the
//! way either, so a path that was looked at once can be used as it is. Above it, a
//! directory like /tmp will do, where everybody can write and nobody can move what is
//! root's.

use std::fs::{self, DirBuilder, Metadata};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use nix::unistd::geteuid;

use crate::follow::parts;

const MODE: u32 = 0o755;
const OTHERS_WRITE: u32 = 0o022;
const STICKY: u32 = 0o1000;
/// As the kernel follows in one path (MAXSYMLINKS of linux/namei.h).
const MAX_LINKS: usize = 40;

/// Why nothing is written there.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A part of the way could be somebody else's doing.
    #[error(
        "{}: must be a directory, and no link, that belongs to root and that only root can \
         write to: remove it", .0.display()
    )]
    Unsafe(PathBuf),
    /// It cannot be looked at, or be made.
    #[error("{}: cannot be made", path.display())]
    Failed {
        /// What.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl Error {
    /// Whether a part of the way is not there.
    pub fn is_not_there(&self) -> bool {
        matches!(self, Self::Failed { source, .. } if source.kind() == ErrorKind::NotFound)
    }
}

/// Looks at the way to `dir`, an absolute path. With `make`, makes what is missing.
///
/// # Errors
/// Somebody else has, or could have, a hand in it; it cannot be made; without `make`, it is
/// not there.
pub fn check(dir: &Path, make: bool) -> Result<(), Error> {
    let mut at = PathBuf::from("/");
    let mut rest = parts(dir);
    let mut links = 0;
    // Whether others can put something into `at`.
    let mut is_open = false;
    while let Some(name) = rest.pop() {
        if name == ".." {
            at.pop();
            continue;
        }
        let path = at.join(name);
        let failed = |source| Error::Failed {
            path: path.clone(),
            source,
        };
        let meta = look(&path, make).map_err(failed)?;
        if meta.is_symlink() && is_systems(&at) && !is_open && is_roots(&meta) && links < MAX_LINKS
        {
            links += 1;
            let target = fs::read_link(&path).map_err(failed)?;
            if target.is_absolute() {
                at = PathBuf::from("/");
            }
            rest.extend(parts(&target));
            continue;
        }
        is_open = meta.mode() & OTHERS_WRITE != 0;
        let may_be_open = meta.mode() & STICKY != 0 && !rest.is_empty();
        if !meta.is_dir() || !is_roots(&meta) || (is_open && !may_be_open) {
            return Err(Error::Unsafe(path));
        }
        at = path;
    }
    Ok(())
}

fn look(path: &Path, make: bool) -> io::Result<Metadata> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound && make => {
            match DirBuilder::new().mode(MODE).create(path) {
                // Somebody was faster: what counts is what is there then.
                Err(error) if error.kind() != ErrorKind::AlreadyExists => Err(error),
                _ => fs::symlink_metadata(path),
            }
        }
        result => result,
    }
}

/// Links in / and /var are the system's: OpenWrt's /var leads to /tmp, others' /var/run
/// to /run.
fn is_systems(dir: &Path) -> bool {
    dir == Path::new("/") || dir == Path::new("/var")
}

fn is_roots(meta: &Metadata) -> bool {
    meta.uid() == 0 || meta.uid() == geteuid().as_raw()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    /// A directory of this test alone, gone with it.
    struct Place(PathBuf);

    impl Place {
        fn new(name: &str) -> Self {
            let name = format!("gluon-wan-{}-{name}", std::process::id());
            let path = std::env::temp_dir().canonicalize().unwrap().join(name);
            DirBuilder::new().mode(MODE).create(&path).unwrap();
            Self(path)
        }
    }

    impl Drop for Place {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn what_is_missing_is_made_where_it_may_be() {
        let place = Place::new("made");
        let dir = place.0.join("a/b");
        assert!(check(&dir, false).unwrap_err().is_not_there());
        check(&dir, true).unwrap();
        assert_eq!(fs::metadata(&dir).unwrap().mode() & 0o7777, MODE);
        check(&dir, false).unwrap();
        check(&dir.join("../b"), false).unwrap();
    }

    #[test]
    fn links_and_what_others_can_write_to_are_refused() {
        let place = Place::new("refused");
        let dir = place.0.join("dir");
        check(&dir, true).unwrap();
        symlink(&dir, place.0.join("link")).unwrap();
        symlink(place.0.join("nowhere"), place.0.join("dangling")).unwrap();
        fs::write(place.0.join("file"), "").unwrap();
        for way in ["link", "link/below", "dangling", "file"] {
            let refused = check(&place.0.join(way), true);
            assert!(matches!(refused, Err(Error::Unsafe(_))), "{way}");
        }
        assert!(!place.0.join("nowhere").exists());
        for (mode, last, above) in [
            (0o775, false, false),
            (0o757, false, false),
            (0o1777, false, true),
            (0o755, true, true),
        ] {
            fs::set_permissions(&dir, fs::Permissions::from_mode(mode)).unwrap();
            assert_eq!(check(&dir, true).is_ok(), last, "{mode:o}");
            assert_eq!(check(&dir.join("below"), true).is_ok(), above, "{mode:o}");
        }
    }
}
