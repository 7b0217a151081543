//! The file that makes the table a part of fw4's own transaction.
//!
//! fw4 loads it through the link in `/usr/share/nftables.d/ruleset-post/`. A
//! file that does not load means no firewall at all at the next boot, so the
//! old one stays until nft has said yes to the new one.

use std::ffi::{CString, OsStr, OsString};
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use nftnl::nftnl_sys::libc;
use nix::unistd::geteuid;

use super::table::{NAME, Table};
use super::{Outcome, directory};
use crate::child::{self, Limits, Stream};

/// Readable for all, as fw4's own files are.
const FILE_MODE: u32 = 0o644;
/// Between the file's name and the number of the process, as long as it is
/// written. A name that nobody else gives to a file of theirs.
const TEMPORARY: &str = ".gluon-wan-";
/// nft takes some milliseconds; on a busy router a few hundred.
const CHECK: Limits = Limits {
    time: Duration::from_secs(10),
    bytes: 1000,
};
/// How much of nft's complaint is shown.
const COMPLAINT_LINES: usize = 3;

/// Why the file is not as it must be. The old one stays.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Its directory is not root's alone, or cannot be made.
    #[error(transparent)]
    Directory(#[from] directory::Error),
    /// The file could not be made, written or removed.
    #[error("{}: {action}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// What failed.
        action: &'static str,
        /// Why.
        source: io::Error,
    },
    /// fw4 could not load the new file.
    #[error("{}: not replaced, nft refuses the new one: {complaint}", path.display())]
    Refused {
        /// The file.
        path: PathBuf,
        /// The first lines of what nft said.
        complaint: String,
    },
    /// nft did not answer whether the new file can be loaded.
    #[error("{}: not replaced, the new one cannot be checked with nft", path.display())]
    Unchecked {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// The whole file. It can be loaded any number of times and over any older one,
/// and leaves one table: what is not there cannot be deleted, so it is added
/// first.
pub fn text(table: &Table) -> String {
    format!(
        "# Made by `gluon-wan sync` and loaded by fw4 with its own ruleset. Changes are lost.\n\
         table inet {NAME}\n\
         delete table inet {NAME}\n\
         {table}"
    )
}

/// Writes the file whole and checked, unless it is right already.
///
/// Its directory is made when it is missing, and has to be root's alone, since what
/// lies there becomes the firewall. The new content goes to a file of
/// another name beside it, is checked with `nft -c` where there is an nft, and
/// renamed.
///
/// # Errors
/// What failed. The old file stays then.
pub fn write(path: &Path, table: &Table) -> Result<Outcome, Error> {
    let text = text(table);
    if directory::check(dir_of(path), false).is_ok() && is_right(path, text.as_bytes()) {
        return Ok(Outcome::Unchanged);
    }
    directory::check(dir_of(path), true)?;
    let new = Temporary::create(path, text.as_bytes())?;
    check(path, &new.path)?;
    fs::rename(&new.path, path).map_err(failed(path, "cannot be replaced"))?;
    Ok(Outcome::Written)
}

/// Removes the file. Its directory stays.
///
/// # Errors
/// What failed.
pub fn remove(path: &Path) -> Result<Outcome, Error> {
    match directory::check(dir_of(path), false) {
        Err(error) if error.is_not_there() => return Ok(Outcome::Unchanged),
        result => result?,
    }
    Temporary::sweep(path);
    match fs::remove_file(path) {
        Ok(()) => Ok(Outcome::Written),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Outcome::Unchanged),
        Err(error) => Err(failed(path, "cannot be removed")(error)),
    }
}

fn dir_of(path: &Path) -> &Path {
    path.parent().unwrap_or(Path::new("/"))
}

fn failed(path: &Path, action: &'static str) -> impl FnOnce(io::Error) -> Error {
    let path = path.to_owned();
    move |source| Error::File {
        path,
        action,
        source,
    }
}

/// Whether the file is ours alone and says just that. A link, or what somebody
/// else could write to, is not.
fn is_right(path: &Path, text: &[u8]) -> bool {
    let read = || -> io::Result<bool> {
        // Without O_NONBLOCK a FIFO would wait for its other end.
        let mut file = OpenOptions::new()
            .read(true)
            .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK)
            .open(path)?;
        let meta = file.metadata()?;
        let ours = meta.is_file()
            && meta.uid() == geteuid().as_raw()
            && meta.mode() & 0o7777 == FILE_MODE
            && meta.len() == text.len() as u64;
        let mut content = Vec::new();
        Ok(ours && file.read_to_end(&mut content).is_ok() && content == text)
    };
    read().unwrap_or(false)
}

/// The new file under its other name; removed when it is not renamed.
struct Temporary {
    path: PathBuf,
}

impl Temporary {
    fn create(target: &Path, text: &[u8]) -> Result<Self, Error> {
        Self::sweep(target);
        let path = target.with_file_name(Self::name(target, std::process::id()));
        // One may be left of a process that was killed and had our number.
        match fs::remove_file(&path) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                return Err(failed(&path, "cannot be removed")(error));
            }
            _ => {}
        }
        // create_new is O_EXCL, which follows no link either.
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(FILE_MODE)
            .open(&path)
            .map_err(failed(&path, "cannot be made"))?;
        let this = Self { path };
        fill(file, text).map_err(failed(&this.path, "cannot be written"))?;
        Ok(this)
    }

    /// Its name while the process with this number writes it.
    fn name(target: &Path, process: u32) -> OsString {
        let mut name = target.file_name().unwrap_or_default().to_owned();
        name.push(format!("{TEMPORARY}{process}"));
        name
    }

    /// Removes those of processes that were killed before they could rename
    /// theirs: /var/run is memory. Best effort; what cannot be removed is in
    /// nobody's way.
    fn sweep(target: &Path) {
        for entry in fs::read_dir(dir_of(target)).into_iter().flatten().flatten() {
            let left = Self::writer(target, &entry.file_name())
                .is_some_and(|process| !Path::new("/proc").join(process.to_string()).exists());
            if left {
                let _ = fs::remove_file(entry.path());
            }
        }
    }

    /// The process whose file has this name; none where it is another file.
    fn writer(target: &Path, name: &OsStr) -> Option<u32> {
        let (_, process) = name.to_str()?.rsplit_once(TEMPORARY)?;
        let process = process.parse().ok()?;
        (Self::name(target, process) == name).then_some(process)
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        // Renamed or not: what has this name now is of no use.
        let _ = fs::remove_file(&self.path);
    }
}

/// The umask must not take from the mode.
fn fill(mut file: File, text: &[u8]) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    file.set_permissions(fs::Permissions::from_mode(FILE_MODE))?;
    file.write_all(text)
}

/// Whether nft would load it; nothing is said against it where there is no nft.
fn check(path: &Path, new: &Path) -> Result<(), Error> {
    let answer = CString::new(new.as_os_str().as_bytes())
        .map_err(io::Error::from)
        .and_then(|new| child::ask(&[c"nft", c"-c", c"-f", &new], Stream::Error, CHECK));
    let answer = match answer {
        Ok(answer) if answer.end.is_success() => return Ok(()),
        Ok(answer) => answer,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(source) => {
            let path = path.to_owned();
            return Err(Error::Unchecked { path, source });
        }
    };
    let complaint = String::from_utf8_lossy(&answer.said);
    let lines: Vec<&str> = complaint
        .lines()
        .take(COMPLAINT_LINES)
        .map(str::trim)
        .collect();
    Err(Error::Refused {
        path: path.to_owned(),
        complaint: match lines.is_empty() {
            true => answer.end.to_string(),
            false => lines.join(" / "),
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use crate::redirect::Group;

    #[test]
    fn whose_temporary_file_it_is() {
        let of = |name| Temporary::writer(Path::new("/run/redirect.nft"), OsStr::new(name));
        assert_eq!(of("redirect.nft.gluon-wan-812"), Some(812));
        for other in [
            "redirect.nft",
            "redirect.nft.812",
            "redirect.nft.gluon-wan-",
            "redirect.nft.gluon-wan-0812",
            "other.nft.gluon-wan-812",
        ] {
            assert_eq!(of(other), None, "{other}");
        }
    }

    #[test]
    fn the_whole_file() {
        let group = Group {
            gid: 800,
            name: "800".into(),
        };
        let expected = format!(
            "# Made by `gluon-wan sync` and loaded by fw4 with its own ruleset. Changes are lost.\n\
             table inet gluon_wan\n\
             delete table inet gluon_wan\n\
             {}",
            include_str!("../../nft/one-group.nft")
        );
        assert_eq!(
            text(&Table::new(
                vec![group],
                &Config::default(),
                &["br-wan".into()]
            )),
            expected
        );
    }
}
