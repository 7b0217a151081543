//! Ways to break a configuration, and what must come of each.

use gluon_wan::config::{CONFIG_FILE, Config, STATIC_FILE};

use super::dice::Dice;
use super::good::{Good, Line, Lines, file};

/// What must come of a broken configuration.
pub enum Outcome {
    /// Refused. The message names this line, and each of these words in quotes.
    Refused(Place, Vec<String>),
    /// Refused; where in the file cannot be said.
    RefusedWhole(&'static str),
    /// It means just that.
    Means(Box<Config>),
    /// Refused at this place, or it means the same but for this option of it.
    Near(Place, Option<String>, Box<Config>),
    /// Refused with a place, or harmless.
    Either,
}

/// A file and a line of it, counted from 1.
pub type Place = (&'static str, usize);

/// One broken configuration.
pub struct Case {
    /// The fault.
    pub fault: &'static str,
    /// Content of `gluon-wan`.
    pub own: Vec<u8>,
    /// Content of `gluon-wan-dnsmasq`.
    pub fixed: Vec<u8>,
    /// What must come of it.
    pub outcome: Outcome,
}

type Fault = fn(&mut Broken);

/// The faults, by name.
const FAULTS: [(&str, Fault); 27] = [
    ("bad value", bad_value),
    ("value at its bound", bound),
    ("unknown option", unknown_option),
    ("unknown section", unknown_section),
    ("unknown command", unknown_command),
    ("bad section name", bad_section_name),
    ("option twice", option_twice),
    ("value twice", value_twice),
    ("section twice", section_twice),
    ("list for option", list_for_option),
    ("option beside list", option_beside_list),
    ("word missing", word_missing),
    ("word too many", word_too_many),
    ("option before section", option_before_section),
    ("quote missing", quote_missing),
    ("quote too many", quote_too_many),
    ("quotes swapped", quotes_swapped),
    ("other spelling", other_spelling),
    ("byte order mark", byte_order_mark),
    ("latin-1", latin_1),
    ("long value", long_value),
    ("long list", long_list),
    ("long file", long_file),
    ("cut off", cut_off),
    ("byte changed", byte_changed),
    ("bytes changed", bytes_changed),
    ("lines changed", lines_changed),
];

/// How many faults there are.
pub const COUNT: usize = FAULTS.len();

/// Breaks `good` by the fault of this number.
pub fn case(number: usize, good: &Good, dice: &mut Dice) -> Case {
    let (name, fault) = FAULTS[number % COUNT];
    // Gluon's file has one section and one option: less to break.
    let is_own = dice.below(4) != 0;
    let (name_of_file, lines) = match is_own {
        true => (CONFIG_FILE, good.own.clone()),
        false => (STATIC_FILE, good.fixed.clone()),
    };
    let mut broken = Broken {
        file: name_of_file,
        lines,
        bytes: None,
        config: Box::new(good.config.clone()),
        outcome: Outcome::Either,
        dice,
    };
    fault(&mut broken);
    let bytes = broken.bytes.unwrap_or_else(|| file(&broken.lines));
    let (own, fixed) = match is_own {
        true => (bytes, file(&good.fixed)),
        false => (file(&good.own), bytes),
    };
    Case {
        fault: name,
        own,
        fixed,
        outcome: broken.outcome,
    }
}

/// A file on the way from good to broken.
struct Broken<'a> {
    file: &'static str,
    lines: Lines,
    /// Where lines are not enough.
    bytes: Option<Vec<u8>>,
    /// What the good files mean.
    config: Box<Config>,
    outcome: Outcome,
    dice: &'a mut Dice,
}

impl Broken<'_> {
    fn refused(&mut self, at: usize, words: &[&str]) {
        // Gluon's file is read line by line then, and a quote ends with its line.
        let is_cut = self.file == STATIC_FILE && words.iter().any(|word| word.contains('\n'));
        let words = if is_cut { &[] } else { words };
        let words = words.iter().map(|word| (*word).into()).collect();
        self.outcome = Outcome::Refused((self.file, at + 1), words);
    }

    /// The index of such a line or, where there is none, of an option that is
    /// there from now on.
    fn line(&mut self, is_it: impl Fn(&Line) -> bool) -> usize {
        let all = 0..self.lines.len();
        let found: Vec<usize> = all.filter(|&at| is_it(&self.lines[at])).collect();
        if found.is_empty() {
            self.insert_option();
            self.lines.len() - 1
        } else {
            found[self.dice.below(found.len())]
        }
    }

    fn option(&mut self) -> usize {
        self.line(Line::is_option)
    }

    fn section(&mut self) -> usize {
        self.line(|line| line.command == "config")
    }

    /// A right option for the last section, where none is.
    fn insert_option(&mut self) {
        let kind = self.lines.iter().rfind(|line| line.command == "config");
        let (name, value) = match kind.map(|line| line.name.as_str()) {
            Some("redirect") => ("group", "800"),
            Some("routing") => ("device", "br-wan"),
            Some("resolver") => ("listen", "::1"),
            _ => ("server", "192.0.2.1"),
        };
        self.lines.push(Line::new("list", name, value, '\''));
    }

    /// All other lines of the option in this line are gone; where it is now.
    fn alone(&mut self, at: usize) -> usize {
        let name = self.lines[at].name.clone();
        let mut number = 0;
        let mut now = at;
        self.lines.retain(|line| {
            let stays = number == at || line.name != name || !line.is_option();
            if !stays && number < at {
                now -= 1;
            }
            number += 1;
            stays
        });
        now
    }
}

/// Values that an option must not have.
fn bad_values(option: &str) -> &'static [&'static str] {
    match option {
        "group" => &[
            "0",
            "4294967295",
            "a:b",
            "a,b",
            "-x",
            "é",
            "g'",
            "a/b",
            "",
            "18446744073709551616",
        ],
        "include" => &[
            "a",
            "/",
            "/a/",
            "/a/..",
            "./a",
            "$(reboot)",
            "/a\nb",
            "/a\0",
        ],
        "device" => &[
            "",
            ".",
            "..",
            "a/b",
            "a:1",
            "interface-name-16",
            "a\u{b}b",
            "à",
            "eth0\0",
            "br*",
            "br\"wan",
        ],
        "family" => &["inet", "IPv6", "4", "ipv6;", "", "unix"],
        "mark" => &[
            "0",
            "0x0/0x1",
            "2/1",
            "0x100000000",
            "-1",
            "1/",
            "/1",
            "0x1/0x",
            "1/1/1",
            "0X1/0X1",
            "1 /1",
        ],
        "table" => &[
            "0",
            "253",
            "254",
            "255",
            "main",
            "4294967296",
            "-1",
            "+1",
            "1.0",
            "0x",
            "",
            " 1",
            "１",
        ],
        "priority" => &[
            "0",
            "32766",
            "32767",
            "99999999999999999999999",
            "-5",
            "1e3",
            "{ 1 }",
        ],
        "listen" => &[
            "0.0.0.0",
            "::",
            "192.0.2.1",
            "localhost",
            "127.0.0.2",
            "::1%lo",
            "127.0.0.1:54",
            "",
        ],
        "port" => &[
            "0",
            "65536",
            "-54",
            "+54",
            "dns",
            "54 ",
            "5\n4",
            "$PORT",
            "`id`",
            "54;",
            "",
            "\u{1b}[2J",
        ],
        "resolv_file" => &[
            "",
            "resolv.conf",
            "/",
            "/tmp/",
            "/tmp/.",
            "/\0",
            "C:\\resolv.conf",
        ],
        "user" => &["", "-r", "a b", "root:0", "no\"body", "no\\body", "ü"],
        "max_inflight" => &["0", "4097", "-1", "150.0", "150ms", "many", "0x1001", ""],
        _ => &[
            "",
            "192.0.2",
            "192.0.2.256",
            "dns.example.org",
            "192.0.2.1#0",
            "192.0.2.1#65536",
            "192.0.2.1:53",
            "0.0.0.0",
            "::",
            "ff02::1",
            "255.255.255.255",
            "fe80::1%",
            "fe80::1%a/b",
            "::1%lo",
            "[::1",
            "[::1]53",
            "$(reboot)",
            "192.0.2.1\0",
        ],
    }
}

fn bad_value(broken: &mut Broken) {
    let at = broken.option();
    let line = &mut broken.lines[at];
    // An option with one value takes blanks as they are.
    if is_list(&line.name) {
        line.command = "list".into();
    }
    line.value = broken.dice.pick(bad_values(&line.name)).into();
    line.quote = if broken.dice.heads() { '\'' } else { '"' };
    let (name, value) = (line.name.clone(), line.value.clone());
    let at = if is_list(&name) { broken.alone(at) } else { at };
    broken.refused(at, &[&name, &value]);
}

fn is_list(option: &str) -> bool {
    ["group", "device", "family", "listen", "server"].contains(&option)
}

/// The last values that are right.
fn bound(broken: &mut Broken) {
    let (routing, resolver) = (&mut broken.config.routing, &mut broken.config.resolver);
    let heads = broken.dice.heads();
    let low_or_high = |low, high| if heads { low } else { high };
    for line in &mut broken.lines {
        match line.name.as_str() {
            "table" => {
                routing.table = low_or_high(1, u32::MAX);
                line.value = routing.table.to_string();
            }
            "priority" => {
                routing.priority = low_or_high(1, 32765);
                line.value = format!("{:#x}", routing.priority);
            }
            "port" => {
                resolver.port = low_or_high(1, 65535) as u16;
                line.value = resolver.port.to_string();
            }
            "max_inflight" => {
                resolver.max_inflight = low_or_high(1, 4096) as usize;
                line.value = format!("00{}", resolver.max_inflight);
            }
            _ => {}
        }
    }
    broken.outcome = Outcome::Means(broken.config.clone());
}

fn unknown_option(broken: &mut Broken) {
    let at = broken.option();
    let line = &mut broken.lines[at];
    line.name = match broken.dice.below(6) {
        0 => line.name.to_uppercase(),
        1 => line.name[1..].into(),
        2 => line.name.clone() + "s",
        3 => line.name.clone() + "$(id)",
        4 => "ifname".into(),
        _ => "''".into(),
    };
    let words = [line.name.trim_matches('\'').to_owned(), line.value.clone()];
    broken.refused(at, &[&words[0], &words[1]]);
}

fn unknown_section(broken: &mut Broken) {
    let at = broken.section();
    let line = &mut broken.lines[at];
    line.name = match broken.dice.below(4) {
        0 => line.name.to_uppercase(),
        1 => line.name.clone() + "x",
        2 => "dnsmasq".into(),
        _ => "''".into(),
    };
    let word = line.name.trim_matches('\'').to_owned();
    broken.refused(at, &[&word]);
}

fn unknown_command(broken: &mut Broken) {
    let at = broken.line(|line| !line.command.is_empty());
    // A section that is not there swallows nothing but its options.
    let word = broken
        .dice
        .pick(&["opton", "Config", "set", "$(reboot)", "{", "option\u{a0}"]);
    let line = &mut broken.lines[at];
    *line = Line::new(
        "",
        &line
            .text()
            .trim_start()
            .replacen(&line.command.clone(), word, 1),
        "",
        ' ',
    );
    broken.refused(at, &[word]);
}

fn bad_section_name(broken: &mut Broken) {
    let at = broken.section();
    let word = broken
        .dice
        .pick(&["a-b", "a b", "ü", "x\ny", "@redirect[0]", "a;b"]);
    let line = &mut broken.lines[at];
    (line.value, line.quote) = (word.into(), '\'');
    broken.refused(at, &[word]);
}

fn option_twice(broken: &mut Broken) {
    let at = broken.option();
    let mut again = broken.lines[at].clone();
    let words = [again.name.clone(), again.value.clone()];
    // Of an option that may be a list, the first line is the odd one.
    let odd = if broken.file == STATIC_FILE {
        at + 1
    } else if is_list(&again.name) {
        again.command = "list".into();
        at + usize::from(broken.lines[at].command == "list")
    } else {
        at + 1
    };
    broken.lines.insert(at + 1, again);
    broken.refused(odd, &[&words[0], &words[1]]);
}

fn value_twice(broken: &mut Broken) {
    let at = broken.line(|line| line.is_option() && is_list(&line.name));
    let at = if broken.lines[at].is_option() {
        at
    } else {
        broken.option()
    };
    if !is_list(&broken.lines[at].name) {
        return option_twice(broken);
    }
    let at = broken.alone(at);
    let line = &mut broken.lines[at];
    line.command = "option".into();
    let word = line.value.split(' ').next().unwrap_or_default().to_owned();
    line.value = format!("{} {word}", line.value);
    line.quote = '\'';
    let words = [line.name.clone(), line.value.clone(), word];
    broken.refused(at, &[&words[0], &words[1], &words[2]]);
}

fn section_twice(broken: &mut Broken) {
    let at = broken.section();
    let again = broken.lines[at].clone();
    let word = again.name.clone();
    broken.lines.push(again);
    if broken.file == STATIC_FILE {
        broken.outcome = Outcome::Means(broken.config.clone());
        return;
    }
    broken.refused(broken.lines.len() - 1, &[&word]);
}

fn list_for_option(broken: &mut Broken) {
    let at = broken.line(|line| line.is_option() && !is_list(&line.name));
    if is_list(&broken.lines[at].name) {
        return bad_value(broken);
    }
    broken.lines[at].command = "list".into();
    let words = [
        broken.lines[at].name.clone(),
        broken.lines[at].value.clone(),
    ];
    broken.refused(at, &[&words[0], &words[1], "option", "list"]);
}

fn option_beside_list(broken: &mut Broken) {
    let at = broken.option();
    if !is_list(&broken.lines[at].name) {
        return list_for_option(broken);
    }
    let at = broken.alone(at);
    broken.lines[at].command = "list".into();
    let name = broken.lines[at].name.clone();
    broken
        .lines
        .insert(at + 1, Line::new("option", &name, "x", '"'));
    broken.refused(at + 1, &[&name, "x"]);
}

fn word_missing(broken: &mut Broken) {
    let at = broken.line(|line| !line.command.is_empty());
    let line = &mut broken.lines[at];
    let text = match line.command.as_str() {
        "config" => "config".into(),
        command if broken.dice.heads() => format!("{command} {}", line.name),
        command => command.into(),
    };
    *line = Line::new("", &text, "", ' ');
    broken.refused(at, &[]);
}

fn word_too_many(broken: &mut Broken) {
    let at = broken.line(|line| !line.command.is_empty());
    let more = broken.dice.pick(&[" x", " ''", " 'a b'", " \\ "]);
    let text = broken.lines[at].text() + more;
    broken.lines[at] = Line::new("", &text, "", ' ');
    broken.refused(at, &[]);
}

fn option_before_section(broken: &mut Broken) {
    let at = broken.option();
    let line = broken.lines.remove(at);
    broken.lines.insert(0, line);
    broken.refused(0, &[]);
    if broken.file == STATIC_FILE {
        // It can belong to one section only.
        broken.outcome = Outcome::Either;
    }
}

/// Puts another text in place of a quoted value.
fn requote(broken: &mut Broken, other: impl Fn(&str, char) -> String) {
    let at = broken.line(|line| !line.command.is_empty());
    let quote = ['\'', '"'][broken.dice.below(2)];
    let line = &mut broken.lines[at];
    let value = other(&line.value, quote);
    let line = Line::new(&line.command, &line.name, &value, ' ');
    broken.lines[at] = Line::new("", &line.text(), "", ' ');
    broken.refused(at, &[]);
}

fn quote_missing(broken: &mut Broken) {
    let opening = broken.dice.heads();
    requote(broken, |value, quote| {
        // Not where a comment would hide the quote that is left.
        let value = value.replace(['#', ' '], "");
        if opening {
            format!("{value}{quote}")
        } else {
            format!("{quote}{value}")
        }
    });
}

fn quote_too_many(broken: &mut Broken) {
    let opening = broken.dice.heads();
    requote(broken, |value, quote| match opening {
        // What was quoted is not any more.
        true => format!("{quote}{quote}{}{quote}", value.replace(['#', ' '], "")),
        false => format!("{quote}{value}{quote}{quote}"),
    });
}

fn quotes_swapped(broken: &mut Broken) {
    requote(broken, |value, quote| {
        let other = if quote == '"' { '\'' } else { '"' };
        format!("{quote}{value}{other}")
    });
}

/// Other bytes that mean the same.
fn other_spelling(broken: &mut Broken) {
    let mut text = String::from_utf8(file(&broken.lines)).unwrap();
    for _ in 0..broken.dice.below(4) {
        text = match broken.dice.below(7) {
            0 => text.replace('\n', "\r\n"),
            1 => text.replace('\t', " \t "),
            2 => text.replace('\n', "\n\n\n"),
            3 => text.replace('\n', " # don't\n"),
            4 => text.replace('\n', " ;\n;"),
            5 => format!("package gluon-wan\n{text}"),
            _ => text.trim_end().into(),
        };
    }
    if broken.dice.heads() {
        text = text
            .replace("option ", "opt\\ion ")
            .replace("list ", "'li'st \\\n");
    }
    broken.bytes = Some(text.into());
    broken.outcome = Outcome::Means(broken.config.clone());
}

fn byte_order_mark(broken: &mut Broken) {
    broken.lines.retain(|line| !line.command.is_empty());
    let first = broken.lines[0].text();
    broken.lines[0] = Line::new("", &format!("\u{feff}{first}"), "", ' ');
    broken.refused(0, &["\u{feff}config"]);
}

fn latin_1(broken: &mut Broken) {
    let at = broken.dice.below(broken.lines.len());
    let mut bytes = file(&broken.lines[..at]);
    bytes.extend_from_slice(b"# gr\xfc\xdfe\n");
    bytes.extend_from_slice(&file(&broken.lines[at..]));
    broken.bytes = Some(bytes);
    broken.refused(at, &[]);
}

fn long_value(broken: &mut Broken) {
    let at = broken.option();
    let line = &mut broken.lines[at];
    line.value = "/".repeat(1000 + broken.dice.below(50_000));
    let (name, value) = (line.name.clone(), line.value.clone());
    broken.refused(at, &[&name, &value]);
}

fn long_list(broken: &mut Broken) {
    let at = broken.option();
    let section = broken.lines[..at]
        .iter()
        .rfind(|line| line.command == "config");
    let (name, prefix) = match section.map(|line| line.name.as_str()) {
        Some("redirect") => ("group", "g"),
        Some("routing") => ("device", "eth"),
        Some("static") => ("server", "2001:db8::"),
        _ => return long_value(broken),
    };
    broken.lines.retain(|line| line.name != name);
    let at = broken
        .lines
        .iter()
        .rposition(|line| match line.name.as_str() {
            "redirect" => name == "group",
            "routing" => name == "device",
            kind => kind == "static",
        });
    let at = at.unwrap_or_default() + 1;
    let more = (1..=51 + broken.dice.below(1000))
        .map(|n| Line::new("list", name, &format!("{prefix}{n}"), ' '));
    broken.lines.splice(at..at, more);
    broken.refused(at + 50, &[name, &format!("{prefix}51")]);
}

fn long_file(broken: &mut Broken) {
    let more = broken.dice.pick(&["# nothing", "", "config resolver"]);
    let lines = 65_536 / (more.len() + 1) + 1;
    broken
        .lines
        .extend((0..lines).map(|_| Line::new("", more, "", ' ')));
    broken.outcome = Outcome::RefusedWhole(broken.file);
}

fn cut_off(broken: &mut Broken) {
    let mut bytes = file(&broken.lines);
    bytes.truncate(broken.dice.below(bytes.len() + 1));
    broken.bytes = Some(bytes);
}

fn byte_changed(broken: &mut Broken) {
    let mut bytes = file(&broken.lines);
    let at = broken.dice.below(bytes.len());
    let old = bytes[at];
    bytes[at] = match broken.dice.heads() {
        true => old ^ 1 << broken.dice.below(8),
        false => broken.dice.byte(),
    };
    let line = bytes[..at].iter().filter(|&&byte| byte == b'\n').count();
    // What these do is not bound to their line.
    let bound = |byte| !b"'\"\\\n;#".contains(&byte);
    if bound(old) && bound(bytes[at]) {
        let option = broken.lines[line]
            .is_option()
            .then(|| broken.lines[line].name.clone());
        broken.outcome = Outcome::Near((broken.file, line + 1), option, broken.config.clone());
    }
    broken.bytes = Some(bytes);
}

fn bytes_changed(broken: &mut Broken) {
    let mut bytes = file(&broken.lines);
    for _ in 0..=broken.dice.below(8) {
        let at = broken.dice.below(bytes.len());
        let byte = match broken.dice.heads() {
            true => broken.dice.byte(),
            false => *b"'\"\\\n;# \0\r\t/%:"
                .get(broken.dice.below(13))
                .unwrap_or(&b'x'),
        };
        match broken.dice.below(3) {
            0 => bytes[at] = byte,
            1 => bytes.insert(at, byte),
            _ => drop(bytes.remove(at)),
        }
    }
    broken.bytes = Some(bytes);
}

fn lines_changed(broken: &mut Broken) {
    for _ in 0..=broken.dice.below(4) {
        let (at, to) = (
            broken.dice.below(broken.lines.len()),
            broken.dice.below(broken.lines.len()),
        );
        match broken.dice.below(3) {
            0 => broken.lines.swap(at, to),
            1 => broken.lines.insert(to, broken.lines[at].clone()),
            _ if broken.lines.len() > 1 => drop(broken.lines.remove(at)),
            _ => {}
        }
    }
}
