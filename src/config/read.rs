//! From sections and options to [`Config`]: names, duplicates, one or many.

use std::collections::HashSet;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use super::uci::{self, Opt, Section};
use super::values::{self, Family};
use super::{CONFIG_FILE, Config, Error, STATIC_FILE};
use crate::input::{self, Shown};

/// How long a file may be: a configuration is a few lines.
const MAX_FILE: usize = 64 * 1024;
/// How many values a list may have, so that whatever is accepted also fits into
/// one message for the kernel.
const MAX_VALUES: usize = 100;

pub(super) fn load(dir: &Path) -> Result<Config, Error> {
    let mut config = Config::default();
    File::read(dir.join(CONFIG_FILE))?.each(
        &["redirect", "routing", "resolver"],
        |file, s| match s.kind.as_str() {
            "redirect" => redirect(&mut config, file, s),
            "routing" => routing(&mut config, file, s),
            _ => resolver(&mut config, file, s),
        },
    )?;
    File::read(dir.join(STATIC_FILE))?.each(&["static"], |file, section| {
        file.options(section, &["server"], |file, _, options| {
            config.static_servers = file.list(options, values::server)?;
            Ok(())
        })
    })?;
    Ok(config)
}

fn redirect(config: &mut Config, file: &File, section: &Section) -> Result<(), Error> {
    let redirect = &mut config.redirect;
    file.options(section, &["group", "include"], |file, name, options| {
        match name {
            "group" => redirect.groups = file.filled_list(options, values::group)?,
            _ => {
                redirect.include = file.single(options, |text| {
                    if text.is_empty() {
                        Ok(None)
                    } else {
                        values::absolute(text).map(Some)
                    }
                })?;
            }
        }
        Ok(())
    })
}

fn routing(config: &mut Config, file: &File, section: &Section) -> Result<(), Error> {
    let routing = &mut config.routing;
    let names = ["device", "family", "mark", "table", "priority"];
    file.options(section, &names, |file, name, options| {
        match name {
            "device" => routing.devices = file.filled_list(options, values::device)?,
            "family" => {
                let families = file.filled_list(options, values::family)?;
                routing.ipv4 = families.contains(&Family::Ipv4);
                routing.ipv6 = families.contains(&Family::Ipv6);
            }
            "mark" => routing.mark = file.single(options, values::mark)?,
            "table" => routing.table = file.single(options, values::table)?,
            _ => routing.priority = file.single(options, values::priority)?,
        }
        Ok(())
    })
}

fn resolver(config: &mut Config, file: &File, section: &Section) -> Result<(), Error> {
    let resolver = &mut config.resolver;
    let names = ["listen", "port", "resolv_file", "user", "max_inflight"];
    file.options(section, &names, |file, name, options| {
        match name {
            "listen" => resolver.listen = file.filled_list(options, values::listen)?,
            "port" => resolver.port = file.single(options, values::port)?,
            "resolv_file" => resolver.resolv_file = file.single(options, values::absolute)?,
            "user" => resolver.user = file.single(options, values::user)?,
            _ => resolver.max_inflight = file.single(options, values::max_inflight)?,
        }
        Ok(())
    })
}

/// A file and its sections, empty when there is no file.
struct File {
    path: PathBuf,
    sections: Vec<Section>,
}

impl File {
    fn read(path: PathBuf) -> Result<Self, Error> {
        let bytes = match input::read(&path, MAX_FILE) {
            Ok((bytes, false)) => bytes,
            Ok((_, true)) => {
                let source = io::Error::other(format!("longer than {MAX_FILE} bytes"));
                return Err(Error::Read { path, source });
            }
            Err(error) if error.kind() == ErrorKind::NotFound => Vec::new(),
            Err(source) => return Err(Error::Read { path, source }),
        };
        let parsed = String::from_utf8(bytes)
            .map_err(|error| uci::SyntaxError {
                line: line_of(error.as_bytes(), error.utf8_error().valid_up_to()),
                what: "a byte that is not UTF-8".into(),
            })
            .and_then(|text| uci::parse(&text));
        match parsed {
            Ok(sections) => Ok(Self { path, sections }),
            Err(problem) => Err(Error::Syntax { path, problem }),
        }
    }

    /// Calls `take` for every section; each type only once and only known ones.
    fn each(
        self,
        kinds: &[&str],
        mut take: impl FnMut(&Self, &Section) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let mut seen = HashSet::new();
        for section in &self.sections {
            let problem = if !kinds.contains(&section.kind.as_str()) {
                format!("unknown, expected {}", one_of(kinds))
            } else if !seen.insert(section.kind.as_str()) {
                "stands here for the second time, expected one".into()
            } else {
                take(&self, section)?;
                continue;
            };
            return Err(Error::Section {
                path: self.path.clone(),
                line: section.line,
                section: section.kind.clone(),
                problem,
            });
        }
        Ok(())
    }

    /// Calls `take` for every option of the section with all lines that name it.
    fn options(
        &self,
        section: &Section,
        names: &[&str],
        mut take: impl FnMut(&Self, &str, &[&Opt]) -> Result<(), Error>,
    ) -> Result<(), Error> {
        if let Some(unknown) = section
            .options
            .iter()
            .find(|o| !names.contains(&o.name.as_str()))
        {
            let kind = &section.kind;
            let problem = format!("unknown in section '{kind}', expected {}", one_of(names));
            return Err(self.error(unknown, problem));
        }
        for name in names {
            let lines: Vec<&Opt> = section.options.iter().filter(|o| o.name == *name).collect();
            if !lines.is_empty() {
                take(self, name, &lines)?;
            }
        }
        Ok(())
    }

    /// An option with one value: `option NAME VALUE`, once.
    fn single<T>(
        &self,
        lines: &[&Opt],
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Result<T, Error> {
        if let Some(again) = lines.get(1) {
            let first = lines[0].line;
            return Err(self.error(
                again,
                format!("given already in line {first}, expected one"),
            ));
        }
        let line = lines[0];
        if line.is_list {
            return Err(self.error(line, "has one value, expected `option`, not `list`".into()));
        }
        parse(&line.value).map_err(|problem| self.error(line, problem))
    }

    /// An option with several values: `list NAME VALUE`, or one
    /// `option NAME 'VALUE VALUE'` as OpenWrt's own scripts allow.
    fn list<T: PartialEq>(
        &self,
        lines: &[&Opt],
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Result<Vec<T>, Error> {
        if let Some(option) = lines.iter().find(|line| !line.is_list)
            && lines.len() > 1
        {
            let problem = "beside other lines of the same name, expected `list` lines only";
            return Err(self.error(option, problem.into()));
        }
        let mut values = Vec::new();
        for line in lines {
            let words: Vec<&str> = match line.is_list {
                true => vec![&line.value],
                false => line.value.split_ascii_whitespace().collect(),
            };
            for word in words {
                let value = parse(word).map_err(|problem| self.error(line, problem))?;
                let problem = if values.contains(&value) {
                    format!("'{}' is there twice, expected once", Shown(word))
                } else if values.len() == MAX_VALUES {
                    format!("one more, expected at most {MAX_VALUES} values")
                } else {
                    values.push(value);
                    continue;
                };
                return Err(self.error(line, problem));
            }
        }
        Ok(values)
    }

    /// A list that must not be empty, which `option NAME ''` would make it.
    fn filled_list<T: PartialEq>(
        &self,
        lines: &[&Opt],
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Result<Vec<T>, Error> {
        let values = self.list(lines, parse)?;
        if values.is_empty() {
            return Err(self.error(lines[0], "expected at least one value".into()));
        }
        Ok(values)
    }

    fn error(&self, line: &Opt, problem: String) -> Error {
        Error::Option {
            path: self.path.clone(),
            line: line.line,
            option: line.name.clone(),
            value: line.value.clone(),
            problem,
        }
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
