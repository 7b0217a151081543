//! Runs a command over the WAN: its DNS always, all of its traffic with the mark.
//!
//! The kernel redirects the DNS of whoever has a redirected group as primary
//! group, and libpacketmark marks what the command sends. The command takes the
//! place of this process, so its exit code and its signals are its own.

mod elf;
mod program;

use std::convert::Infallible;
use std::env;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::unistd::{self, Gid, Uid};
use socket2::{Domain, Socket, Type};

use crate::child;
use crate::config::{self, Config, Group, Mark};
use crate::redirect;
use program::Runner;

/// The preload library, under the name that Gluon gave it.
const LIBRARY: &str = "libpacketmark.so";
/// Where the package puts it.
const LIBRARY_DIR: &str = "/usr/lib";

/// What is run, and how.
#[derive(Debug, PartialEq, Eq, Default)]
pub struct Request {
    /// Whether to preload libpacketmark, so that all traffic takes the WAN.
    pub mark: bool,
    /// The program and its arguments, at least one word.
    pub command: Vec<OsString>,
}

/// Why the command was not run.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The configuration says which group and which mark.
    #[error(transparent)]
    Config(#[from] config::Error),
    /// The group database could not be read.
    #[error(transparent)]
    Lookup(#[from] redirect::Error),
    /// None of the configured groups exists.
    #[error("none of the groups {groups} exists; set `list group` in section `redirect`")]
    NoGroup {
        /// As configured, with commas between them.
        groups: String,
    },
    /// The kernel did not let us have the group.
    #[error("cannot take group '{group}' as primary group, which needs root or CAP_SETGID")]
    SetGroup {
        /// As configured.
        group: String,
        /// What the kernel said.
        source: Errno,
    },
    /// The command would not be able to set the mark.
    #[error(
        "cannot set mark {mark} on a socket, which needs root or CAP_NET_ADMIN \
         (or CAP_NET_RAW since Linux 5.17)"
    )]
    Mark {
        /// The configured mark.
        mark: Mark,
        /// What the kernel said.
        source: io::Error,
    },
    /// The preload library is in none of its places.
    #[error("{LIBRARY} is missing: looked in {looked_in}")]
    NoLibrary {
        /// The places, with commas between them.
        looked_in: String,
    },
    /// The library would not get into the command.
    #[error(
        "traffic of '{}' cannot be marked: {reason}; without --mark, its DNS alone takes the WAN",
        command.display()
    )]
    Unmarkable {
        /// As given on the command line.
        command: OsString,
        /// What keeps the library out.
        reason: String,
    },
    /// The command would not stay in the group.
    #[error("DNS of '{}' cannot be redirected: {reason}", command.display())]
    LeavesGroup {
        /// As given on the command line.
        command: OsString,
        /// Why not.
        reason: String,
    },
    /// The loader takes blanks and colons in `LD_PRELOAD` for separators.
    #[error("{}: LD_PRELOAD cannot hold a path with a blank or a colon", path.display())]
    LibraryPath {
        /// Where the library was found.
        path: PathBuf,
    },
    /// The kernel could not run the command.
    #[error("cannot run '{}'", command.display())]
    Run {
        /// As given on the command line.
        command: OsString,
        /// What the kernel said.
        source: io::Error,
    },
}

impl Error {
    /// As env(1): 127 the command was not found, 126 it cannot be run, 125 the
    /// rest.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Run { source, .. } if source.kind() == io::ErrorKind::NotFound => 127,
            Self::Run { .. } => 126,
            _ => 125,
        }
    }
}

/// Becomes the command. Supplementary groups and environment stay, but for what
/// the mark needs.
///
/// # Errors
/// Whatever would have run the command other than promised; it was not run then.
pub fn run(request: &Request, config_dir: &Path) -> Result<Infallible, Error> {
    let config = Config::load(config_dir)?;
    let program = request.command.first().cloned().unwrap_or_default();
    let mut variables = Vec::new();
    let (group, gid) = group(&config.redirect.groups)?;
    let runner = Runner {
        uid: Uid::effective().as_raw(),
        gid: gid.as_raw(),
    };
    let file = program::find(&program, env::var_os("PATH").as_deref());
    if request.mark {
        probe(config.routing.mark)?;
        let library = find_library(&library_dirs(env::current_exe().ok().as_deref()))?;
        let file = file.as_deref();
        if let Some(reason) = file.and_then(|file| program::refuses(file, &library, runner)) {
            let command = program;
            return Err(Error::Unmarkable { command, reason });
        }
        variables = preload(&library, config.routing.mark);
    } else if let Some(reason) = file.and_then(|file| program::leaves_group(&file, runner)) {
        let command = program;
        return Err(Error::LeavesGroup { command, reason });
    }
    join(group, gid)?;
    Err(Error::Run {
        source: child::become_program(&request.command, &variables),
        command: program,
    })
}

/// Takes a group as primary group, for good.
fn join(group: &Group, gid: Gid) -> Result<(), Error> {
    unistd::setresgid(gid, gid, gid).map_err(|source| Error::SetGroup {
        group: group.to_string(),
        source,
    })
}

/// The first group that exists.
fn group(groups: &[Group]) -> Result<(&Group, Gid), Error> {
    for group in groups {
        if let Some(gid) = redirect::gid(group)? {
            return Ok((group, Gid::from_raw(gid)));
        }
    }
    let names: Vec<_> = groups.iter().map(|group| format!("'{group}'")).collect();
    Err(Error::NoGroup {
        groups: names.join(", "),
    })
}

/// Sets the mark on a socket of our own, which tells more than a list of
/// capabilities: which one it takes depends on the kernel.
fn probe(mark: Mark) -> Result<(), Error> {
    Socket::new(Domain::IPV4, Type::DGRAM, None)
        .or_else(|_| Socket::new(Domain::IPV6, Type::DGRAM, None))
        .and_then(|socket| socket.set_mark(mark.value))
        .map_err(|source| Error::Mark { mark, source })
}

/// What makes a command preload the library, and tells that what to do.
fn preload(library: &Path, mark: Mark) -> Vec<(&'static str, OsString)> {
    let others = env::var_os("LD_PRELOAD").unwrap_or_default();
    let mut variables = vec![
        ("LD_PRELOAD", before(library, &others)),
        // Decimal is what Gluon's library of the same name understands, too.
        ("LIBPACKETMARK_MARK", mark.value.to_string().into()),
    ];
    // All traffic was promised to take the WAN: better none than some elsewhere.
    if env::var_os("LIBPACKETMARK_STRICT").is_none() {
        variables.push(("LIBPACKETMARK_STRICT", "1".into()));
    }
    variables
}

/// Beside this program, in the `lib` beside its directory (`/usr/sbin`,
/// `/usr/lib`), and where the package puts it.
fn library_dirs(program: Option<&Path>) -> Vec<PathBuf> {
    let mut dirs = Vec::new();
    if let Some(dir) = program.and_then(Path::parent) {
        dirs.push(dir.to_owned());
        dirs.extend(dir.parent().map(|prefix| prefix.join("lib")));
    }
    if !dirs.iter().any(|dir| dir == Path::new(LIBRARY_DIR)) {
        dirs.push(LIBRARY_DIR.into());
    }
    dirs
}

/// The loader only warns about a library that it does not find, and runs the
/// command without; so it has to be found here.
fn find_library(dirs: &[PathBuf]) -> Result<PathBuf, Error> {
    let Some(path) = dirs
        .iter()
        .map(|dir| dir.join(LIBRARY))
        .find(|path| path.is_file())
    else {
        let dirs: Vec<_> = dirs.iter().map(|dir| dir.display().to_string()).collect();
        return Err(Error::NoLibrary {
            looked_in: dirs.join(", "),
        });
    };
    let bytes = path.as_os_str().as_bytes();
    if bytes.iter().any(|byte| matches!(byte, b' ' | b':')) {
        return Err(Error::LibraryPath { path });
    }
    Ok(path)
}

/// A value of `LD_PRELOAD` with one library more, the first to be asked.
fn before(library: &Path, others: &OsStr) -> OsString {
    let mut value = library.as_os_str().to_owned();
    if !others.is_empty() {
        value.push(":");
        value.push(others);
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_library_goes_before_those_that_are_there() {
        let library = Path::new("/usr/lib/libpacketmark.so");
        assert_eq!(before(library, OsStr::new("")), library.as_os_str());
        assert_eq!(
            before(library, OsStr::new("a.so /b.so:c.so")),
            "/usr/lib/libpacketmark.so:a.so /b.so:c.so"
        );
    }

    #[test]
    fn the_library_is_looked_for_beside_the_program() {
        let dirs = |program: &str| library_dirs(Some(Path::new(program)));
        let paths = |paths: &[&str]| paths.iter().map(PathBuf::from).collect::<Vec<_>>();
        assert_eq!(
            dirs("/usr/sbin/gluon-wan"),
            paths(&["/usr/sbin", "/usr/lib"])
        );
        assert_eq!(
            dirs("/opt/x/bin/gluon-wan"),
            paths(&["/opt/x/bin", "/opt/x/lib", "/usr/lib"])
        );
        assert_eq!(library_dirs(None), paths(&["/usr/lib"]));
    }

    #[test]
    fn exit_codes_are_those_of_env() {
        let run = |error: io::ErrorKind| Error::Run {
            command: "x".into(),
            source: error.into(),
        };
        assert_eq!(run(io::ErrorKind::NotFound).exit_code(), 127);
        assert_eq!(run(io::ErrorKind::PermissionDenied).exit_code(), 126);
        let groups = String::new();
        assert_eq!(Error::NoGroup { groups }.exit_code(), 125);
    }
}
