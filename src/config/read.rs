//! From sections and options to [`Config`]: names, duplicates, one or many.
//!
//! A file is read twice at most. As it stands, as libuci reads it; and where
//! anything is wrong with it, once more line by line, for what can be used of it all
//! the same.

use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use super::options::{self, Kind, Setting};
use super::uci::{self, NOT_UTF8, Opt, Section, SyntaxError};
use super::{CONFIG_FILE, Config, Error, Reading, STATIC_FILE, values};
use crate::input;

/// How long a file may be: a configuration is a few lines.
const MAX_FILE: usize = 64 * 1024;
/// How many mistakes of a file are told one by one.
const MAX_TOLD: usize = 10;

/// Both files of `dir`, and what is wrong with them.
pub(super) fn read(dir: &Path) -> Reading {
    let mut config = Config::default();
    let refused = File::new(dir.join(CONFIG_FILE), own).read(&mut config);
    let left_out = File::new(dir.join(STATIC_FILE), fixed).read(&mut config);
    Reading {
        config,
        refused,
        left_out,
    }
}

/// The same, but the first mistake in the own file is an error.
pub(super) fn load(dir: &Path) -> Result<Config, Error> {
    let mut config = Config::default();
    File::new(dir.join(CONFIG_FILE), own).strict(&mut config)?;
    File::new(dir.join(STATIC_FILE), fixed).read(&mut config);
    Ok(config)
}

/// What a file's sections mean.
type Meaning = fn(&[Section], &mut Config, &mut Mistakes);

/// A file, and what its sections mean.
struct File {
    path: PathBuf,
    meaning: Meaning,
}

impl File {
    fn new(path: PathBuf, meaning: Meaning) -> Self {
        Self { path, meaning }
    }

    /// Takes what is right in it, and says what is not.
    fn read(self, config: &mut Config) -> Vec<Error> {
        let before = config.clone();
        if self.strict(config).is_ok() {
            return Vec::new();
        }
        *config = before;
        let mut mistakes = Mistakes::of(&self.path);
        match self.bytes() {
            Ok(bytes) => {
                let (sections, broken) = uci::salvage(&bytes);
                for problem in broken {
                    mistakes.syntax(problem);
                }
                (self.meaning)(&sections, config, &mut mistakes);
            }
            Err(error) => mistakes.found.push(error),
        }
        mistakes.told()
    }

    /// Takes all of it.
    ///
    /// # Errors
    /// The first mistake.
    fn strict(&self, config: &mut Config) -> Result<(), Error> {
        let syntax = |problem| Error::Syntax {
            path: self.path.clone(),
            problem,
        };
        let text = String::from_utf8(self.bytes()?).map_err(|error| {
            syntax(SyntaxError {
                line: line_of(error.as_bytes(), error.utf8_error().valid_up_to()),
                what: NOT_UTF8.into(),
            })
        })?;
        let sections = uci::parse(&text).map_err(syntax)?;
        let mut mistakes = Mistakes::of(&self.path);
        (self.meaning)(&sections, config, &mut mistakes);
        mistakes.found.into_iter().next().map_or(Ok(()), Err)
    }

    /// Empty where there is no file.
    fn bytes(&self) -> Result<Vec<u8>, Error> {
        let unreadable = |source| Error::Read {
            path: self.path.clone(),
            source,
        };
        match input::read(&self.path, MAX_FILE) {
            Ok((bytes, false)) => Ok(bytes),
            Ok((_, true)) => {
                let what = format!("longer than {MAX_FILE} bytes");
                Err(unreadable(io::Error::other(what)))
            }
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(Vec::new()),
            Err(error) => Err(unreadable(error)),
        }
    }
}

/// The sections of `gluon-wan`: each type once and only known ones.
fn own(sections: &[Section], config: &mut Config, mistakes: &mut Mistakes) {
    let mut seen: Vec<&str> = Vec::new();
    for section in sections {
        let kind = section.kind.as_str();
        if section.broken {
            for line in &section.options {
                let problem = "in no section: the `config` line before it is missing or wrong";
                mistakes.option(line, problem.into());
            }
        } else if !options::SECTIONS.contains(&kind) {
            let expected = one_of(&options::SECTIONS);
            mistakes.section(section, format!("unknown, expected {expected}"));
        } else if seen.contains(&kind) {
            let problem = "stands here for the second time, expected one";
            mistakes.section(section, problem.into());
        } else {
            seen.push(kind);
            known_section(section, config, mistakes);
        }
    }
}

fn known_section(section: &Section, config: &mut Config, mistakes: &mut Mistakes) {
    let kind = section.kind.as_str();
    let names: Vec<&str> = options::of_section(kind).map(|one| one.name).collect();
    for unknown in section
        .options
        .iter()
        .filter(|o| !names.contains(&o.name.as_str()))
    {
        let expected = one_of(&names);
        mistakes.option(
            unknown,
            format!("unknown in section '{kind}', expected {expected}"),
        );
    }
    for setting in options::of_section(kind) {
        let lines = section.options.iter().filter(|o| o.name == setting.name);
        let lines: Vec<&Opt> = lines.collect();
        if !lines.is_empty() {
            take(setting, &lines, config, mistakes);
        }
    }
}

/// All lines that name one option.
fn take(setting: &Setting, lines: &[&Opt], config: &mut Config, mistakes: &mut Mistakes) {
    match setting.kind {
        Kind::One { set, .. } => {
            for again in &lines[1..] {
                let first = lines[0].line;
                mistakes.option(
                    again,
                    format!("given already in line {first}, expected one"),
                );
            }
            let line = lines[0];
            if line.is_list {
                mistakes.option(line, "has one value, expected `option`, not `list`".into());
            } else if let Err(problem) = set(config, &line.value) {
                mistakes.option(line, problem);
            }
        }
        Kind::Many { clear, add, get } => {
            let (before, mistakes_before) = (config.clone(), mistakes.count());
            clear(config);
            each_value(lines, mistakes, |text| add(config, text));
            if get(config).is_empty() {
                *config = before;
                if mistakes.count() == mistakes_before {
                    mistakes.option(lines[0], "expected at least one value".into());
                }
            }
        }
    }
}

/// The values of a list: `list NAME VALUE`, or one `option NAME 'VALUE VALUE'` as
/// OpenWrt's own scripts allow.
fn each_value(
    lines: &[&Opt],
    mistakes: &mut Mistakes,
    mut add: impl FnMut(&str) -> Result<(), String>,
) {
    let is_odd = |line: &Opt| !line.is_list && lines.len() > 1;
    for line in lines.iter().filter(|line| is_odd(line)) {
        let problem = "beside other lines of the same name, expected `list` lines only";
        mistakes.option(line, problem.into());
    }
    for line in lines.iter().filter(|line| !is_odd(line)) {
        for word in words(line) {
            if let Err(problem) = add(word) {
                mistakes.option(line, problem);
            }
        }
    }
}

fn words(line: &Opt) -> Vec<&str> {
    match line.is_list {
        true => vec![&line.value],
        false => line.value.split_ascii_whitespace().collect(),
    }
}

/// The sections of `gluon-wan-dnsmasq`, which is not ours: whatever is good in it
/// counts, however it is written.
fn fixed(sections: &[Section], config: &mut Config, mistakes: &mut Mistakes) {
    for section in sections {
        // There is only one kind, so a `config` line that is broken costs nothing else.
        if !section.broken && section.kind != "static" {
            mistakes.section(section, "unknown, expected static".into());
            continue;
        }
        for line in &section.options {
            if line.name != "server" {
                mistakes.option(line, "unknown in section 'static', expected server".into());
                continue;
            }
            let mut words: Vec<&str> = line.value.split_ascii_whitespace().collect();
            if words.is_empty() {
                // What the form leaves when a line of it is emptied.
                words.push("");
            }
            for word in words {
                let added = values::server(word)
                    .and_then(|one| options::push(&mut config.static_servers, one, word));
                if let Err(problem) = added {
                    mistakes.option(line, problem);
                }
            }
        }
    }
}

/// What is wrong with a file.
struct Mistakes<'a> {
    path: &'a Path,
    found: Vec<Error>,
    /// How many are not among them.
    more: usize,
}

impl<'a> Mistakes<'a> {
    fn of(path: &'a Path) -> Self {
        Self {
            path,
            found: Vec::new(),
            more: 0,
        }
    }

    fn count(&self) -> usize {
        self.found.len() + self.more
    }

    fn add(&mut self, error: impl FnOnce(PathBuf) -> Error) {
        if self.found.len() < MAX_TOLD {
            self.found.push(error(self.path.to_owned()));
        } else {
            self.more += 1;
        }
    }

    fn syntax(&mut self, problem: SyntaxError) {
        self.add(|path| Error::Syntax { path, problem });
    }

    fn section(&mut self, section: &Section, problem: String) {
        self.add(|path| Error::Section {
            path,
            line: section.line,
            section: section.kind.clone(),
            problem,
        });
    }

    fn option(&mut self, line: &Opt, problem: String) {
        self.add(|path| Error::Option {
            path,
            line: line.line,
            option: line.name.clone(),
            value: line.value.clone(),
            problem,
        });
    }

    /// In the order of the file.
    fn told(self) -> Vec<Error> {
        let mut told: Vec<Error> = Vec::new();
        for error in self.found {
            let at = told.partition_point(|before| before.line() <= error.line());
            told.insert(at, error);
        }
        if self.more > 0 {
            told.push(Error::More {
                path: self.path.to_owned(),
                count: self.more,
            });
        }
        told
    }
}

fn line_of(bytes: &[u8], offset: usize) -> usize {
    1 + bytes[..offset]
        .iter()
        .filter(|&&byte| byte == b'\n')
        .count()
}

fn one_of(names: &[&str]) -> String {
    match names {
        [rest @ .., last] if !rest.is_empty() => format!("{} or {last}", rest.join(", ")),
        _ => names.join(", "),
    }
}

#[cfg(test)]
mod tests;
