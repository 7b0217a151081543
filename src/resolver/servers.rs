//! Which servers to use: the static list of the configuration or, where it is
//! empty, the resolv file that the hotplug script writes; and which devices lead
//! to them.

use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use super::local::{Kind, Local};
use super::network::Wan;
use super::upstream::MAX_SERVERS;
use crate::config::{self, CONFIG_FILE, Config, Resolver, STATIC_FILE, Server};
use crate::input::{self, Shown};
use crate::log;
use crate::wan::{self, Devices};

/// A resolv file is a few lines; more than this is not one.
const MAX_FILE: usize = 64 * 1024;
/// How many of its mistakes are told one by one. A file that is none at all has
/// thousands, and the router's log is short.
const MAX_TOLD: usize = 5;

/// The configuration, the servers and the WAN's devices in use, kept up to date.
pub struct Supply {
    dir: PathBuf,
    config: Config,
    servers: Option<Vec<Server>>,
    devices: Option<Devices>,
    /// What was said at the last look, so that it is not said at every look.
    said_of_servers: Vec<String>,
    said_of_config: Vec<String>,
    said_of_devices: Vec<String>,
}

impl Supply {
    /// Nothing in use yet.
    #[must_use]
    pub fn new(dir: &Path, config: Config) -> Self {
        Self {
            dir: dir.to_owned(),
            config,
            servers: None,
            devices: None,
            said_of_servers: Vec::new(),
            said_of_config: Vec::new(),
            said_of_devices: Vec::new(),
        }
    }

    /// The configuration in use.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The files that decide.
    #[must_use]
    pub fn files(&self) -> Vec<PathBuf> {
        let resolv_file = self.config.resolver.resolv_file.clone();
        vec![
            resolv_file,
            self.dir.join(STATIC_FILE),
            self.dir.join(CONFIG_FILE),
            wan::file(&self.config),
        ]
    }

    /// Looks at the resolv file again. Returns the servers where they are
    /// others than before.
    pub fn changed(&mut self) -> Option<&[Server]> {
        let found = in_force(&self.config);
        let remarks = found.as_ref().map_or_else(
            |error| {
                let path = self.config.resolver.resolv_file.display();
                vec![format!(
                    "{path}: cannot be read, the servers stay as they are: {error}"
                )]
            },
            |(_, remarks)| remarks.clone(),
        );
        say_news(&mut self.said_of_servers, remarks);
        let (servers, _) = found.ok()?;
        if self.servers.as_ref() == Some(&servers) {
            return None;
        }
        let shown: Vec<String> = servers.iter().map(ToString::to_string).collect();
        match shown.as_slice() {
            [] => log::warning!("no server is known: queries fail until one is"),
            shown => log::notice!("servers: {}", shown.join(", ")),
        }
        self.servers = Some(servers);
        self.servers.as_deref()
    }

    /// Looks at the WAN's devices again, and tells whether they are others than
    /// before.
    pub fn devices_changed(&mut self) -> bool {
        let found = wan::find(&self.config);
        let remarks = match &found {
            Ok(devices) => devices.left_out.clone(),
            Err(error) => vec![format!(
                "the WAN's devices stay as they are: {}",
                log::chain(error)
            )],
        };
        say_news(&mut self.said_of_devices, remarks);
        match found {
            Ok(devices) if self.devices.as_ref() != Some(&devices) => {
                self.devices = Some(devices);
                true
            }
            _ => false,
        }
    }

    /// The indices of the WAN's devices, as they were at the last look; none where
    /// they are not known. That `br-wan` is the one is a guess, which counts only
    /// where there is a `br-wan`.
    #[must_use]
    pub fn devices(&self) -> Option<Vec<u32>> {
        let devices = self.devices.as_ref()?;
        let indices: Vec<u32> = devices.list.iter().filter_map(|one| one.index).collect();
        let is_guess = matches!(devices.source, wan::Source::Routes);
        (!is_guess || !indices.is_empty()).then_some(indices)
    }

    /// The WAN's devices and table, as they were at the last look.
    #[must_use]
    pub fn wan(&self) -> Wan {
        Wan::new(self.devices.as_ref(), self.config.routing.table)
    }

    /// Reads the configuration again. A bad one changes nothing.
    pub fn reload(&mut self) {
        let mut reading = config::read(&self.dir);
        let left_out = reading.left_out.iter();
        let mut remarks: Vec<String> = left_out
            .map(|error| format!("{}: left out", log::chain(error)))
            .collect();
        if let Some(error) = reading.refused.first() {
            let error = log::chain(error);
            remarks.push(format!("{error}: the configuration stays as it was"));
        } else {
            // Servers that worked are better than none, until the list is right again.
            let new = &mut reading.config.static_servers;
            let none_is_good = new.is_empty() && !remarks.is_empty();
            if none_is_good && !self.config.static_servers.is_empty() {
                new.clone_from(&self.config.static_servers);
                remarks.push(format!(
                    "no server of {STATIC_FILE} is good: the old ones stay"
                ));
            }
            let old = std::mem::replace(&mut self.config, reading.config);
            if is_fixed_at_start(&old) != is_fixed_at_start(&self.config) {
                let fixed = "listen, port, user, max_inflight and mark";
                remarks.push(format!("{fixed} change with a restart"));
            }
        }
        say_news(&mut self.said_of_config, remarks);
    }
}

/// Logs what was not said last time.
fn say_news(said: &mut Vec<String>, remarks: Vec<String>) {
    for remark in remarks.iter().filter(|remark| !said.contains(remark)) {
        log::warning!("{remark}");
    }
    *said = remarks;
}

/// What is bound or given up once, before the first query.
fn is_fixed_at_start(config: &Config) -> impl PartialEq + use<> {
    let Resolver {
        listen,
        port,
        user,
        max_inflight,
        ..
    } = config.resolver.clone();
    (listen, port, user, max_inflight, config.routing.mark)
}

/// The servers that count now, and remarks on what does not.
///
/// # Errors
/// The resolv file is there and cannot be read.
pub fn in_force(config: &Config) -> io::Result<(Vec<Server>, Vec<String>)> {
    let resolver = &config.resolver;
    let (mut servers, mut remarks) = match config.static_servers.as_slice() {
        [] => {
            let (mut servers, mut remarks) = read(&resolver.resolv_file)?;
            let local = Local::read().unwrap_or_else(|error| {
                remarks.push(format!("the node's own addresses are not known: {error}"));
                Local::default()
            });
            let index = |name: &str| nix::net::if_::if_nametoindex(name).ok();
            remarks.extend(leave_out(&mut servers, |server| {
                unfit(server, &local, index)
            }));
            (servers, remarks)
        }
        fixed => complete(fixed, config),
    };
    remarks.extend(leave_out(&mut servers, |server| {
        is_ours(server, resolver).then_some("is this resolver itself")
    }));
    if servers.len() > MAX_SERVERS {
        let count = servers.len();
        remarks.push(format!(
            "{count} servers are configured: the first {MAX_SERVERS} are used"
        ));
        servers.truncate(MAX_SERVERS);
    }
    Ok((servers, remarks))
}

/// The static servers. A link-local one that stands without its device is on the
/// WAN's, where the WAN has one.
fn complete(fixed: &[Server], config: &Config) -> (Vec<Server>, Vec<String>) {
    if !fixed.iter().any(Server::needs_device) {
        return (fixed.to_vec(), Vec::new());
    }
    let devices = wan::find(config).ok();
    let mut servers = Vec::new();
    let mut remarks = Vec::new();
    for server in fixed {
        match devices
            .as_ref()
            .and_then(|devices| devices.complete(server))
        {
            Some(complete) if servers.contains(&complete) => {}
            Some(complete) => servers.push(complete),
            None => remarks.push(format!(
                "the server {server} stands without its device, and the WAN has not just one: \
                 left out"
            )),
        }
    }
    (servers, remarks)
}

/// Takes the servers out that something is wrong with, and says what.
fn leave_out(
    servers: &mut Vec<Server>,
    wrong: impl Fn(&Server) -> Option<&'static str>,
) -> Vec<String> {
    let mut remarks = Vec::new();
    servers.retain(|server| {
        let reason = wrong(server);
        remarks.extend(reason.map(|reason| format!("the server {server} {reason}: left out")));
        reason.is_none()
    });
    remarks
}

/// Why a server that was announced cannot be one. Where it is this node, another
/// resolver of it, the primary one most likely, would look the VPN's servers up in
/// the mesh. `index` knows the numbers of devices.
#[must_use]
pub fn unfit(
    server: &Server,
    local: &Local,
    index: impl Fn(&str) -> Option<u32>,
) -> Option<&'static str> {
    let device = match server.device.as_deref().map(index) {
        // Without the device, it has no address either.
        Some(None) => return None,
        Some(device) => device,
        None => None,
    };
    match local.kind(server.addr, device)? {
        // What listens there has nobody else to ask.
        Kind::Own if server.addr.is_loopback() && local.is_alone() => None,
        Kind::Own => Some("is this node itself"),
        Kind::Broadcast => Some("is a broadcast address"),
    }
}

/// Whether it is where we listen: each query would be asked again.
fn is_ours(server: &Server, resolver: &Resolver) -> bool {
    server.port == resolver.port && resolver.listen.contains(&server.addr)
}

/// The servers of a resolv file, and remarks on what does not count in it. That
/// it is not there means none: the WAN is not up yet.
///
/// # Errors
/// It is there and cannot be read.
pub fn read(path: &Path) -> io::Result<(Vec<Server>, Vec<String>)> {
    let (mut bytes, more) = match input::read(path, MAX_FILE) {
        Ok(read) => read,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Default::default()),
        Err(error) => return Err(error),
    };
    let mut remarks = Vec::new();
    if more {
        // Of the last line only a part was read, maybe half an address.
        let whole = bytes.iter().rposition(|&byte| byte == b'\n');
        bytes.truncate(whole.unwrap_or_default());
        remarks.push(format!(
            "{}: longer than {MAX_FILE} bytes: the rest is left out",
            path.display()
        ));
    }
    let (servers, mistakes) = parse(&String::from_utf8_lossy(&bytes));
    remarks.extend(told(path, &mistakes));
    Ok((servers, remarks))
}

/// What is said of the mistakes in a resolv file, by line.
fn told(path: &Path, mistakes: &[(usize, String)]) -> Vec<String> {
    let path = path.display();
    let (first, more) = mistakes.split_at(mistakes.len().min(MAX_TOLD));
    let mut remarks: Vec<String> = first
        .iter()
        .map(|(line, mistake)| format!("{path}:{line}: {mistake}: line left out"))
        .collect();
    if !more.is_empty() {
        let count = more.len();
        remarks.push(format!("{path}: and {count} lines more are left out"));
    }
    remarks
}

/// Reads resolv.conf(5): `nameserver ADDR`, also as [`Server`] is written
/// elsewhere. Other keywords are no business of a forwarder. One bad line must
/// not take the good ones with it; it comes back with its number.
#[must_use]
pub fn parse(text: &str) -> (Vec<Server>, Vec<(usize, String)>) {
    let mut servers: Vec<Server> = Vec::new();
    let mut mistakes = Vec::new();
    // Some editors begin a file with a byte order mark.
    let text = text.trim_start_matches('\u{feff}');
    for (number, line) in (1..).zip(text.lines()) {
        // `#` and `;` start a comment at the beginning of a line only; in a
        // word `#` starts the port.
        let mut words = line.split_ascii_whitespace();
        if words.next() != Some("nameserver") {
            continue;
        }
        let Some(word) = words.next() else {
            mistakes.push((number, "expected nameserver ADDRESS".into()));
            continue;
        };
        match word.parse::<Server>() {
            // What was no UTF-8 in the name of a device: another device.
            _ if word.contains(char::REPLACEMENT_CHARACTER) => {
                mistakes.push((number, format!("'{}' is not UTF-8", Shown(word))));
            }
            Ok(server) if servers.contains(&server) => {}
            Ok(server) => servers.push(server),
            Err(error) => mistakes.push((number, format!("'{}': expected {error}", Shown(word)))),
        }
    }
    (servers, mistakes)
}

#[cfg(test)]
mod tests {
    use super::super::local::tests::local;
    use super::*;

    fn shown(text: &str) -> Vec<String> {
        parse(text).0.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn nameserver_lines_are_read() {
        let text = "# WAN\n; old\nsearch lan\noptions edns0\n\
            nameserver 192.0.2.1\n  nameserver\tfe80::1%br-wan\r\n\
            nameserver 2001:db8::1#5353 # trailing\nnameserver 192.0.2.1\n\
            #nameserver 192.0.2.9";
        assert_eq!(
            shown(text),
            ["192.0.2.1", "fe80::1%br-wan", "2001:db8::1#5353"]
        );
        assert_eq!(shown(""), Vec::<String>::new());
    }

    #[test]
    fn a_bad_line_is_named_and_the_others_count() {
        let (servers, mistakes) = parse("nameserver\nnameserver fe80::1\nnameserver 192.0.2.1\n");
        assert_eq!(servers.len(), 1);
        assert_eq!(mistakes[0], (1, "expected nameserver ADDRESS".into()));
        assert_eq!(mistakes[1].0, 2);
        assert!(mistakes[1].1.contains("fe80::1%br-wan"), "{mistakes:?}");
    }

    #[test]
    fn what_is_not_text_names_no_server() {
        let cut_off = "nameserver fe80::1%br\u{fffd}wan\nnameserver 192.0.2.1\u{fffd}\n";
        let (servers, mistakes) = parse(cut_off);
        assert_eq!(servers, []);
        assert_eq!(mistakes.len(), 2);
        assert_eq!(shown("\u{feff}nameserver 192.0.2.1\n"), ["192.0.2.1"]);
    }

    fn read_text(text: &str) -> (Vec<Server>, Vec<String>) {
        let path = std::env::temp_dir().join(format!("gluon-wan-resolv.{}", std::process::id()));
        std::fs::write(&path, text).unwrap();
        let read = read(&path);
        std::fs::remove_file(&path).unwrap();
        read.unwrap()
    }

    #[test]
    fn a_file_is_cut_between_lines_and_its_mistakes_are_counted() {
        // Cut where MAX_FILE ends, the last line would name 192.0.2.1.
        let last = "nameserver 192.0.2.1";
        let mut text = String::from("nameserver 192.0.2.7\n");
        text += &"#".repeat(MAX_FILE - text.len() - last.len() - 1);
        text += &format!("\n{last}0\n");
        let (servers, remarks) = read_text(&text);
        assert_eq!(servers, ["192.0.2.7".parse().unwrap()]);
        assert_eq!(remarks.len(), 1, "nothing of the last line: {remarks:?}");
        assert!(remarks[0].ends_with("longer than 65536 bytes: the rest is left out"));

        let (servers, remarks) = read_text(&"nameserver x\n".repeat(7));
        assert_eq!((servers.len(), remarks.len()), (0, 6));
        assert!(remarks[4].contains(":5: 'x': expected the address"));
        assert!(remarks[5].ends_with(": and 2 lines more are left out"));
    }

    fn with_static(servers: impl IntoIterator<Item = String>) -> Config {
        let static_servers = servers
            .into_iter()
            .map(|text| text.parse().unwrap())
            .collect();
        Config {
            static_servers,
            ..Config::default()
        }
    }

    #[test]
    fn static_servers_stay_while_no_line_of_their_file_is_good() {
        let dir = std::env::temp_dir().join(format!("gluon-wan-supply.{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let mut supply = Supply::new(&dir, with_static(["192.0.2.1".into()]));
        let mut after = |text: &str| {
            std::fs::write(dir.join(STATIC_FILE), text).unwrap();
            supply.reload();
            let servers = supply.config.static_servers.iter();
            servers.map(ToString::to_string).collect::<Vec<_>>()
        };
        assert_eq!(
            after("config static\n list server nonsense\n"),
            ["192.0.2.1"]
        );
        let mixed = "config static\n list server nonsense\n list server 192.0.2.2\n";
        assert_eq!(after(mixed), ["192.0.2.2"]);
        assert_eq!(after("config static\n"), [""; 0]);
        assert_eq!(after("config static\n list server nonsense\n"), [""; 0]);
        std::fs::remove_dir_all(&dir).unwrap();
    }

    #[test]
    fn the_resolver_never_asks_itself() {
        let fixed = ["127.0.0.1#54", "127.0.0.1", "::ffff:127.0.0.1#54", "::1#54"];
        let config = with_static(fixed.map(String::from));
        let (left, remarks) = in_force(&config).unwrap();
        assert_eq!(left, ["127.0.0.1".parse().unwrap()]);
        assert_eq!(remarks.len(), 3);
        assert_eq!(
            remarks[0],
            "the server 127.0.0.1#54 is this resolver itself: left out"
        );
    }

    #[test]
    fn an_announced_server_is_another_machine() {
        let local = local(
            &["10.9.0.10/32", "2001:db8::1/128", "fe80::1/128"],
            &["10.9.0.255/32"],
        );
        let index = |name: &str| (name == "br-wan").then_some(7);
        let mut servers: Vec<Server> = [
            "127.0.0.53",
            "10.9.0.1",
            "::1",
            "10.9.0.10#5353",
            "10.9.0.255",
            "::ffff:10.9.0.10",
            "2001:db8::1",
            "2001:db8::2",
            "fe80::1%br-wan",
            "fe80::1%gone",
            "fe80::2%br-wan",
        ]
        .map(|text| text.parse().unwrap())
        .into();
        let remarks = leave_out(&mut servers, |server| unfit(server, &local, index));
        let left: Vec<String> = servers.iter().map(ToString::to_string).collect();
        assert_eq!(
            left,
            ["10.9.0.1", "2001:db8::2", "fe80::1%gone", "fe80::2%br-wan"]
        );
        assert_eq!(
            remarks[..2],
            [
                "the server 127.0.0.53 is this node itself: left out",
                "the server ::1 is this node itself: left out"
            ]
        );
        assert_eq!(
            remarks[3],
            "the server 10.9.0.255 is a broadcast address: left out"
        );
        assert_eq!(remarks.len(), 7);
        // Without any network, no mesh can be asked.
        let alone = super::super::local::tests::local(&["127.0.0.0/8", "::1/128"], &[]);
        let loopback = "127.0.0.53".parse().unwrap();
        assert_eq!(unfit(&loopback, &alone, index), None);
        assert!(unfit(&loopback, &Local::default(), index).is_some());
    }

    #[test]
    fn a_long_list_is_cut() {
        let cut = |count| {
            let config = with_static((1..=count).map(|n| format!("192.0.2.{n}")));
            let (servers, remarks) = in_force(&config).unwrap();
            (servers.len(), remarks.len())
        };
        assert_eq!(cut(MAX_SERVERS), (MAX_SERVERS, 0));
        assert_eq!(cut(MAX_SERVERS + 3), (MAX_SERVERS, 1));
    }

    #[test]
    fn no_file_means_no_server_and_a_directory_is_an_error() {
        let read = |path: &str| read(Path::new(path));
        assert_eq!(
            read("/nonexistent/resolv.conf").unwrap(),
            Default::default()
        );
        assert!(read("/").is_err());
    }
}
