//! Configurations that are right: as files, line by line, and what they mean.

use std::path::PathBuf;

use gluon_wan::config::{Config, Group, Mark, Server};

use super::dice::Dice;

/// One line of a file.
#[derive(Clone, Debug, Default)]
pub struct Line {
    /// `config`, `option` or `list`; empty for a comment.
    pub command: String,
    /// The section's type or the option's name; a comment's text.
    pub name: String,
    /// The section's name or the option's value.
    pub value: String,
    /// How the value is quoted: a quote, or a blank for none.
    pub quote: char,
}

/// A file, and which section and options it has.
pub type Lines = Vec<Line>;

/// Both files, and what they mean. What is not written keeps its default.
#[derive(Clone)]
pub struct Good {
    /// `gluon-wan`.
    pub own: Lines,
    /// `gluon-wan-dnsmasq`.
    pub fixed: Lines,
    /// Made without reading the files.
    pub config: Config,
}

impl Line {
    pub fn new(command: &str, name: &str, value: &str, quote: char) -> Self {
        Self {
            command: command.into(),
            name: name.into(),
            value: value.into(),
            quote,
        }
    }

    pub fn is_option(&self) -> bool {
        self.command == "option" || self.command == "list"
    }

    /// As it stands in the file, without its end.
    pub fn text(&self) -> String {
        let value = match self.quote {
            ' ' => self.value.clone(),
            '"' => format!(
                "\"{}\"",
                self.value.replace('\\', r"\\").replace('"', "\\\"")
            ),
            _ => format!("'{}'", self.value.replace('\'', r"'\''")),
        };
        match self.command.as_str() {
            "" => self.name.clone(),
            "config" => format!("config {} {value}", self.name),
            command => format!("\t{command} {} {value}", self.name),
        }
    }
}

pub fn file(lines: &[Line]) -> Vec<u8> {
    lines.iter().fold(Vec::new(), |mut file, line| {
        file.extend_from_slice(line.text().as_bytes());
        file.push(b'\n');
        file
    })
}

/// Rolls the options of one section.
struct Section<'a> {
    dice: &'a mut Dice,
    lines: Lines,
}

impl<'a> Section<'a> {
    fn new(dice: &'a mut Dice, kind: &str) -> Self {
        let mut section = Self {
            dice,
            lines: Vec::new(),
        };
        let quote = section.quote();
        section.lines.push(Line::new("config", kind, kind, quote));
        section
    }

    fn quote(&mut self) -> char {
        [' ', '\'', '"'][self.dice.below(3)]
    }

    fn filler(&mut self) {
        let text = ["", "# a comment", "  # it's one more; \"quoted\"", "\t"];
        if self.dice.below(6) == 0 {
            let text = self.dice.pick(&text);
            self.lines.push(Line::new("", text, "", ' '));
        }
    }

    fn option(&mut self, command: &str, name: &str, value: &str) {
        self.filler();
        let must = value.is_empty() || value.contains([' ', '#', '\\']);
        let quote = match self.quote() {
            ' ' if must => '\'',
            quote => quote,
        };
        self.lines.push(Line::new(command, name, value, quote));
    }

    /// An option with one value, or none of it.
    fn single(&mut self, name: &str, values: &[&'static str]) -> Option<&'static str> {
        let value = self.dice.pick(values);
        self.dice.heads().then(|| {
            self.option("option", name, value);
            value
        })
    }

    /// Some of the values as `list` lines or as one `option`, or none of them.
    fn list(&mut self, name: &str, values: &[&'static str]) -> Option<Vec<&'static str>> {
        let from = self.dice.below(values.len());
        let count = 1 + self.dice.below(values.len() - from);
        let values = &values[from..from + count];
        if self.dice.heads() {
            return None;
        }
        if self.dice.below(3) == 0 {
            self.option("option", name, &values.join(" "));
        } else {
            values
                .iter()
                .for_each(|value| self.option("list", name, value));
        }
        Some(values.to_vec())
    }
}

impl Good {
    pub fn new(dice: &mut Dice) -> Self {
        let mut config = Config::default();
        let mut sections = [
            redirect(dice, &mut config),
            routing(dice, &mut config),
            resolver(dice, &mut config),
        ];
        sections.rotate_left(dice.below(3));
        Self {
            own: sections.concat(),
            fixed: fixed(dice, &mut config),
            config,
        }
    }
}

fn redirect(dice: &mut Dice, config: &mut Config) -> Lines {
    let mut section = Section::new(dice, "redirect");
    if let Some(groups) = section.list("group", &["800", "gluon-fastd", "1", "a.b$c", "4294967294"])
    {
        config.redirect.groups = groups
            .into_iter()
            .map(|group| match group.parse() {
                Ok(id) => Group::Id(id),
                Err(_) => Group::Name(group.into()),
            })
            .collect();
    }
    let paths = [
        "",
        "/var/run/gluon-wan/other.nft",
        "/var/run/gluon-wan/$(reboot).nft",
    ];
    if let Some(path) = section.single("include", &paths) {
        config.redirect.include = (!path.is_empty()).then(|| PathBuf::from(path));
    }
    section.lines
}

fn routing(dice: &mut Dice, config: &mut Config) -> Lines {
    let mut section = Section::new(dice, "routing");
    let routing = &mut config.routing;
    if let Some(devices) = section.list("device", &["br-wan", "wwan0", "eth0.2", "interface-nam15"])
    {
        routing.devices = devices.into_iter().map(String::from).collect();
    }
    if let Some(families) = section.list("family", &["ipv6", "ipv4"]) {
        routing.ipv4 = families.contains(&"ipv4");
        routing.ipv6 = families.contains(&"ipv6");
    }
    match section.single("mark", &["0x10/0xf0", "3", "0xffffffff", "1/4294967295"]) {
        Some("0x10/0xf0") => routing.mark = mark(0x10, 0xf0),
        Some("3") => routing.mark = mark(3, u32::MAX),
        Some("0xffffffff") => routing.mark = mark(u32::MAX, u32::MAX),
        Some(_) => routing.mark = mark(1, u32::MAX),
        None => {}
    }
    match section.single("table", &["1", "0x2a", "252", "256", "4294967295"]) {
        Some("0x2a") => routing.table = 42,
        Some(table) => routing.table = table.parse().unwrap(),
        None => {}
    }
    if let Some(priority) = section.single("priority", &["1", "99", "32765"]) {
        routing.priority = priority.parse().unwrap();
    }
    section.lines
}

fn mark(value: u32, mask: u32) -> Mark {
    Mark { value, mask }
}

fn resolver(dice: &mut Dice, config: &mut Config) -> Lines {
    let mut section = Section::new(dice, "resolver");
    let resolver = &mut config.resolver;
    if let Some(listen) = section.list("listen", &["127.0.0.1", "::1"]) {
        resolver.listen = listen.iter().map(|addr| addr.parse().unwrap()).collect();
    }
    if let Some(port) = section.single("port", &["1", "54", "5300", "65535"]) {
        resolver.port = port.parse().unwrap();
    }
    if let Some(path) = section.single("resolv_file", &["/tmp/resolv.conf", "/a b/`c`;d#e"]) {
        resolver.resolv_file = path.into();
    }
    if let Some(user) = section.single("user", &["nobody", "dnsmasq", "_dns-0"]) {
        resolver.user = user.into();
    }
    if let Some(count) = section.single("max_inflight", &["1", "150", "4096"]) {
        resolver.max_inflight = count.parse().unwrap();
    }
    section.lines
}

fn fixed(dice: &mut Dice, config: &mut Config) -> Lines {
    let mut section = Section::new(dice, "static");
    let servers = [
        "192.0.2.1",
        "fe80::1%br-wan",
        "192.0.2.1#5353",
        "[2001:db8::1]:54",
    ];
    if let Some(servers) = section.list("server", &servers) {
        let server = |addr: &str, device: Option<&str>, port| Server {
            addr: addr.parse().unwrap(),
            device: device.map(String::from),
            port,
        };
        let meant = servers.into_iter().map(|text| match text {
            "192.0.2.1" => server(text, None, 53),
            "fe80::1%br-wan" => server("fe80::1", Some("br-wan"), 53),
            "192.0.2.1#5353" => server("192.0.2.1", None, 5353),
            _ => server("2001:db8::1", None, 54),
        });
        config.static_servers = meant.collect();
    }
    section.lines
}
