//! Whether the preload library reaches a program: what the kernel and the loader
//! will make of its file, found out before it is run.
//!
//! The loader takes no library into a program without one (linked statically, as
//! Go's are), into one of another architecture, and into one that gains a privilege
//! by being run (secure execution, ld.so(8)). It says so at best, and runs it.

use std::ffi::{CString, OsStr, OsString};
use std::fs::Metadata;
use std::io::ErrorKind;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::elf::{self, Elf};
use crate::input;

/// How many interpreters of interpreters there may be (`exec_binprm` of fs/exec.c).
const MAX_INTERPRETERS: usize = 5;
/// How much of a file the kernel looks at for `#!` (BINPRM_BUF_SIZE).
const MAX_SHEBANG: u64 = 256;
/// Who runs what is neither a program nor says who runs it: `execvp` does that.
const SHELL: &str = "/bin/sh";
/// Where commands are looked for when nobody says (confstr(3), _CS_PATH).
const DEFAULT_PATH: &str = "/bin:/usr/bin";
const SETUID: u32 = 0o4000;
/// Setgid counts only together with the group's permission to execute.
const SETGID: u32 = 0o2010;
/// The attribute that holds a file's capabilities (capabilities(7)).
const CAPABILITIES: &std::ffi::CStr = c"security.capability";

/// Who will run the program.
#[derive(Debug, Clone, Copy)]
pub struct Runner {
    /// The user.
    pub uid: u32,
    /// The redirected group.
    pub gid: u32,
}

/// The file that `execvp` would run, none where there is none.
pub fn find(command: &OsStr, path: Option<&OsStr>) -> Option<PathBuf> {
    if command.as_bytes().contains(&b'/') {
        return Some(command.into());
    }
    let path = path.unwrap_or(OsStr::new(DEFAULT_PATH));
    std::env::split_paths(path)
        .map(|dir| match dir.as_os_str().is_empty() {
            true => Path::new(".").join(command),
            false => dir.join(command),
        })
        .find(|file| {
            file.metadata()
                .is_ok_and(|meta| meta.is_file() && meta.mode() & 0o111 != 0)
        })
}

/// Why a program that is setgid leaves the redirected group, none where it does not.
pub fn leaves_group(file: &Path, runner: Runner) -> Option<String> {
    let (file, meta) = last(file).ok()?;
    changes_group(&meta, runner).then(|| {
        format!(
            "{} is setgid, and would leave the redirected group",
            file.display()
        )
    })
}

/// Why `library` does not get into a program, none where it does or where the kernel
/// will have the better words.
pub fn refuses(file: &Path, library: &Path, runner: Runner) -> Option<String> {
    let (file, meta) = match last(file) {
        Ok(found) => found,
        Err(error) if error.kind() == ErrorKind::NotFound => return None,
        Err(error) => return Some(format!("it cannot be read: {error}")),
    };
    let shown = file.display();
    if meta.mode() & SETUID != 0 && meta.uid() != runner.uid {
        return Some(format!("{shown} is setuid"));
    }
    if changes_group(&meta, runner) {
        return Some(format!("{shown} is setgid"));
    }
    // Of root's they give it no more than it has.
    if runner.uid != 0 && has_capabilities(&file) {
        return Some(format!("{shown} has capabilities of its own"));
    }
    let program = elf::read(&file).ok()??;
    let library = elf::read(library).ok()??;
    why_not(&program, &library).map(|why| format!("{shown} {why}"))
}

fn why_not(program: &Elf, library: &Elf) -> Option<String> {
    let Some(loader) = &program.loader else {
        return Some("is linked statically".into());
    };
    if program.machine != library.machine {
        return Some("is built for another architecture than libpacketmark.so".into());
    }
    let is_there = Path::new(OsStr::from_bytes(loader)).exists();
    let shown = String::from_utf8_lossy(loader);
    (!is_there).then(|| {
        format!(
            "needs the loader {}, which is missing",
            input::Shown(&shown)
        )
    })
}

fn changes_group(meta: &Metadata, runner: Runner) -> bool {
    meta.mode() & SETGID == SETGID && meta.gid() != runner.gid
}

/// The program that is run in the end: of a script its interpreter.
fn last(file: &Path) -> std::io::Result<(PathBuf, Metadata)> {
    let mut file = file.to_owned();
    for _ in 0..MAX_INTERPRETERS {
        let mut opened = input::open(&file)?;
        let meta = opened.metadata()?;
        let start = input::read_piece(&mut opened, MAX_SHEBANG)?;
        if elf::is_elf(&start) {
            return Ok((file, meta));
        }
        let next = interpreter(&start).unwrap_or_else(|| SHELL.into());
        file = next.into();
    }
    Err(std::io::Error::other("too many interpreters"))
}

/// What stands behind `#!`, up to the first blank.
fn interpreter(start: &[u8]) -> Option<OsString> {
    let line = start.strip_prefix(b"#!")?;
    let line = line.split(|&byte| byte == b'\n' || byte == 0).next()?;
    let words = line.split(|byte| matches!(byte, b' ' | b'\t'));
    let word = words.into_iter().find(|word| !word.is_empty())?;
    Some(OsString::from_vec(word.to_vec()))
}

fn has_capabilities(file: &Path) -> bool {
    let Ok(path) = CString::new(file.as_os_str().as_bytes()) else {
        return false;
    };
    // SAFETY: both names end with a NUL and live during the call; of a value of no
    // length, only the length is asked for.
    let length = unsafe {
        libc::getxattr(
            path.as_ptr(),
            CAPABILITIES.as_ptr(),
            std::ptr::null_mut(),
            0,
        )
    };
    length > 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_interpreter_is_what_the_kernel_takes() {
        for (start, found) in [
            (&b"#!/bin/sh -e\necho"[..], Some("/bin/sh")),
            (b"#! \t/usr/bin/env python3\n", Some("/usr/bin/env")),
            (b"#!/bin/sh", Some("/bin/sh")),
            (b"#!\n", None),
            (b"echo", None),
            (b"", None),
        ] {
            assert_eq!(interpreter(start).as_deref(), found.map(OsStr::new));
        }
    }

    #[test]
    fn a_command_is_looked_for_in_the_path() {
        let path = Some(OsStr::new("/nonexistent:/bin"));
        assert_eq!(find(OsStr::new("sh"), path), Some("/bin/sh".into()));
        assert_eq!(find(OsStr::new("no-such-command"), path), None);
        assert_eq!(find(OsStr::new("./x"), path), Some("./x".into()));
    }

    #[test]
    fn what_keeps_the_library_out() {
        let elf = |loader: Option<&str>, machine| Elf {
            machine,
            loader: loader.map(|loader| loader.as_bytes().to_vec()),
        };
        let machine = (2, 1, 62);
        let library = elf(None, machine);
        let why = |program: Elf| why_not(&program, &library).unwrap_or_default();
        assert_eq!(why(elf(Some("/bin/sh"), machine)), "");
        assert_eq!(why(elf(None, machine)), "is linked statically");
        assert!(why(elf(Some("/bin/sh"), (1, 1, 3))).contains("another architecture"));
        assert!(why(elf(Some("/no/ld.so"), machine)).contains("/no/ld.so, which is missing"));
    }
}
