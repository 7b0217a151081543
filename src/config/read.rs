//! From sections and options to [`Config`]: names, numbers, duplicates.

use std::collections::HashSet;
use std::io::ErrorKind;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use super::uci::{self, Opt, Section};
use super::{CONFIG_FILE, Config, Error, Group, Mark, STATIC_FILE, Server};
use super::{is_device_name, number};

/// Tables of the kernel's own: unspec, default, main, local (RT_TABLE_* of
/// linux/rtnetlink.h).
const KERNEL_TABLES: [u32; 4] = [0, 253, 254, 255];
/// The priority of the kernel's rule for `main`.
const MAIN_PRIORITY: u32 = 32766;
/// The largest (u32)-1 means "no group" to setgid and chown.
const NO_GID: u32 = u32::MAX;
/// What max_inflight may be: each open query costs memory, and every one needs
/// an id of 16 bits that cannot be guessed.
const MAX_INFLIGHT: u64 = 4096;

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
            config.static_servers = file.list(options, server)?;
            Ok(())
        })
    })?;
    Ok(config)
}

fn redirect(config: &mut Config, file: &File, section: &Section) -> Result<(), Error> {
    let redirect = &mut config.redirect;
    file.options(section, &["group", "include"], |file, name, options| {
        match name {
            "group" => redirect.groups = file.filled_list(options, group)?,
            _ => {
                redirect.include = file.single(options, |text| {
                    if text.is_empty() {
                        Ok(None)
                    } else {
                        absolute(text).map(Some)
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
            "device" => routing.devices = file.filled_list(options, device)?,
            "family" => {
                let families = file.filled_list(options, family)?;
                routing.ipv4 = families.contains(&Family::Ipv4);
                routing.ipv6 = families.contains(&Family::Ipv6);
            }
            "mark" => routing.mark = file.single(options, mark)?,
            "table" => routing.table = file.single(options, table)?,
            _ => routing.priority = file.single(options, priority)?,
        }
        Ok(())
    })
}

fn resolver(config: &mut Config, file: &File, section: &Section) -> Result<(), Error> {
    let resolver = &mut config.resolver;
    let names = ["listen", "port", "resolv_file", "user", "max_inflight"];
    file.options(section, &names, |file, name, options| {
        match name {
            "listen" => resolver.listen = file.filled_list(options, listen)?,
            "port" => resolver.port = file.single(options, port)?,
            "resolv_file" => resolver.resolv_file = file.single(options, absolute)?,
            "user" => resolver.user = file.single(options, user)?,
            _ => resolver.max_inflight = file.single(options, max_inflight)?,
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
        let bytes = match std::fs::read(&path) {
            Ok(bytes) => bytes,
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
                if values.contains(&value) {
                    return Err(self.error(line, format!("'{word}' is there twice, expected once")));
                }
                values.push(value);
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

/// `Ok` where the value is what it must be.
fn check<T>(ok: bool, value: T, expected: &str) -> Result<T, String> {
    if ok {
        Ok(value)
    } else {
        Err(format!("expected {expected}"))
    }
}

fn ranged(text: &str, min: u64, max: u64, what: &str) -> Result<u64, String> {
    number(text)
        .filter(|n| (min..=max).contains(n))
        .ok_or_else(|| format!("expected {what} from {min} to {max}"))
}

fn ranged_u32(text: &str, min: u32, max: u32, what: &str) -> Result<u32, String> {
    ranged(text, min.into(), max.into(), what).map(|n| u32::try_from(n).unwrap_or(max))
}

fn group(text: &str) -> Result<Group, String> {
    if text.bytes().all(|byte| byte.is_ascii_digit()) && !text.is_empty() {
        let what = "a group by name, or by number (0 is root's own and never redirected)";
        return ranged_u32(text, 1, NO_GID - 1, what).map(Group::Id);
    }
    check(
        is_account_name(text),
        Group::Name(text.into()),
        "the name or number of a group",
    )
}

fn user(text: &str) -> Result<String, String> {
    check(is_account_name(text), text.into(), "the name of a user")
}

/// What can stand in a line of /etc/passwd or /etc/group as a name.
fn is_account_name(text: &str) -> bool {
    !text.is_empty()
        && !text.starts_with('-')
        && text
            .bytes()
            .all(|b| b.is_ascii_graphic() && !b":,/#\"'\\".contains(&b))
}

fn device(text: &str) -> Result<String, String> {
    let expected = "the name of a network device: 1 to 15 characters, no blank, slash, colon, \
                    quote, asterisk or backslash";
    // In nft's language, the last three would end the name or stand for others.
    let fits = is_device_name(text) && !text.contains(['"', '*', '\\']);
    check(fits, text.into(), expected)
}

#[derive(PartialEq)]
enum Family {
    Ipv4,
    Ipv6,
}

fn family(text: &str) -> Result<Family, String> {
    match text {
        "ipv4" => Ok(Family::Ipv4),
        "ipv6" => Ok(Family::Ipv6),
        _ => Err("expected ipv4 or ipv6".into()),
    }
}

/// As netifd and iproute2 read it: without a mask, all bits count.
fn mark(text: &str) -> Result<Mark, String> {
    let (value, mask) = text.split_once('/').unwrap_or((text, "0xffffffff"));
    let parse = |text| number(text).and_then(|n| u32::try_from(n).ok());
    parse(value)
        .zip(parse(mask))
        .map(|(value, mask)| Mark { value, mask })
        .filter(|mark| mark.value != 0 && mark.value & !mark.mask == 0)
        .ok_or_else(|| {
            "expected VALUE/MASK, as 0x1/0x1, the value not 0 and within the mask".into()
        })
}

fn table(text: &str) -> Result<u32, String> {
    let what = "the number of a routing table of our own (not 253 default, 254 main, 255 local)";
    let table = ranged_u32(text, 1, u32::MAX, what)?;
    check(!KERNEL_TABLES.contains(&table), table, what)
}

fn priority(text: &str) -> Result<u32, String> {
    ranged_u32(
        text,
        1,
        MAIN_PRIORITY - 1,
        "a priority before the rule for main (32766),",
    )
}

fn listen(text: &str) -> Result<IpAddr, String> {
    let expected = "127.0.0.1 or ::1, where the redirect leads to";
    match text.parse::<IpAddr>() {
        Ok(addr) => check(
            Config::default().resolver.listen.contains(&addr),
            addr,
            expected,
        ),
        Err(_) => Err(format!("expected {expected}")),
    }
}

fn port(text: &str) -> Result<u16, String> {
    ranged(text, 1, u16::MAX.into(), "a port").map(|n| u16::try_from(n).unwrap_or(u16::MAX))
}

fn max_inflight(text: &str) -> Result<usize, String> {
    ranged(text, 1, MAX_INFLIGHT, "a number").map(|n| usize::try_from(n).unwrap_or(usize::MAX))
}

fn absolute(text: &str) -> Result<PathBuf, String> {
    let path = PathBuf::from(text);
    let ok = path.is_absolute() && path.file_name().is_some() && !text.contains(['\n', '\0']);
    check(ok, path, "the absolute path of a file")
}

fn server(text: &str) -> Result<Server, String> {
    text.parse().map_err(|error| format!("expected {error}"))
}

#[cfg(test)]
mod tests;
