//! Which servers to use: the static list of the configuration or, where it is
//! empty, the resolv file that the hotplug script writes.

use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::path::{Path, PathBuf};

use super::upstream::MAX_SERVERS;
use crate::config::{CONFIG_FILE, Config, Resolver, STATIC_FILE, Server};
use crate::log;

/// A resolv file is a few lines; more than this is not one.
const MAX_FILE: u64 = 64 * 1024;
/// How many of its mistakes are told one by one. A file that is none at all has
/// thousands, and the router's log is short.
const MAX_TOLD: usize = 5;

/// The configuration and the servers in use, kept up to date.
pub struct Supply {
    dir: PathBuf,
    config: Config,
    servers: Option<Vec<Server>>,
    /// What was said at the last look, so that it is not said at every look.
    said_of_servers: Vec<String>,
    said_of_config: Vec<String>,
}

impl Supply {
    /// Nothing in use yet.
    #[must_use]
    pub fn new(dir: &Path, config: Config) -> Self {
        Self {
            dir: dir.to_owned(),
            config,
            servers: None,
            said_of_servers: Vec::new(),
            said_of_config: Vec::new(),
        }
    }

    /// The files that decide.
    #[must_use]
    pub fn files(&self) -> Vec<PathBuf> {
        let resolv_file = self.config.resolver.resolv_file.clone();
        vec![
            resolv_file,
            self.dir.join(STATIC_FILE),
            self.dir.join(CONFIG_FILE),
        ]
    }

    /// Looks at the resolv file again. Returns the servers where they are
    /// others than before.
    pub fn changed(&mut self) -> Option<&[Server]> {
        let found = current(&self.config);
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
            [] => log!("no server is known: queries fail until one is"),
            shown => log!("servers: {}", shown.join(", ")),
        }
        self.servers = Some(servers);
        self.servers.as_deref()
    }

    /// Reads the configuration again. A bad one changes nothing.
    pub fn reload(&mut self) {
        let remark = match Config::load(&self.dir) {
            Ok(new) => {
                let fixed = is_fixed_at_start(&new) == is_fixed_at_start(&self.config);
                self.config = new;
                (!fixed).then(|| {
                    "listen, port, user, max_inflight and mark change with a restart".into()
                })
            }
            Err(error) => {
                let reason = std::error::Error::source(&error).map(|error| format!(": {error}"));
                let reason = reason.unwrap_or_default();
                Some(format!(
                    "{error}{reason}: the configuration stays as it was"
                ))
            }
        };
        say_news(&mut self.said_of_config, remark.into_iter().collect());
    }
}

/// Logs what was not said last time.
fn say_news(said: &mut Vec<String>, remarks: Vec<String>) {
    for remark in remarks.iter().filter(|remark| !said.contains(remark)) {
        log!("{remark}");
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
/// A resolv file that is not there means none: the WAN is not up yet.
///
/// # Errors
/// The resolv file is there and cannot be read.
fn current(config: &Config) -> io::Result<(Vec<Server>, Vec<String>)> {
    let (mut servers, mut remarks) = match config.static_servers.as_slice() {
        [] => resolv_file(&config.resolver.resolv_file)?,
        fixed => (fixed.to_vec(), Vec::new()),
    };
    let own = |server: &Server| {
        server.port == config.resolver.port && config.resolver.listen.contains(&server.addr)
    };
    if let Some(server) = servers.iter().find(|server| own(server)) {
        remarks.push(format!(
            "the server {server} is this resolver itself: left out"
        ));
        servers.retain(|server| !own(server));
    }
    if servers.len() > MAX_SERVERS {
        let count = servers.len();
        remarks.push(format!(
            "{count} servers are configured: the first {MAX_SERVERS} are used"
        ));
        servers.truncate(MAX_SERVERS);
    }
    Ok((servers, remarks))
}

fn resolv_file(path: &Path) -> io::Result<(Vec<Server>, Vec<String>)> {
    let mut bytes = Vec::new();
    match File::open(path) {
        Ok(file) => file.take(MAX_FILE).read_to_end(&mut bytes)?,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Default::default()),
        Err(error) => return Err(error),
    };
    let (servers, mistakes) = parse(&String::from_utf8_lossy(&bytes));
    Ok((servers, remarks(path, &mistakes)))
}

/// What is said of the mistakes in a resolv file, by line.
fn remarks(path: &Path, mistakes: &[(usize, String)]) -> Vec<String> {
    let path = path.display();
    let (told, more) = mistakes.split_at(mistakes.len().min(MAX_TOLD));
    let mut remarks: Vec<String> = told
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
    for (number, line) in (1..).zip(text.lines()) {
        // `#` and `;` start a comment at the beginning of a line only; in a
        // word `#` starts the port.
        let mut words = line.split_ascii_whitespace();
        if words.next() != Some("nameserver") {
            continue;
        }
        match words.next().map(str::parse::<Server>) {
            Some(Ok(server)) if servers.contains(&server) => {}
            Some(Ok(server)) => servers.push(server),
            Some(Err(error)) => mistakes.push((number, format!("expected {error}"))),
            None => mistakes.push((number, "expected nameserver ADDRESS".into())),
        }
    }
    (servers, mistakes)
}

#[cfg(test)]
mod tests {
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
    fn a_file_that_is_none_is_told_in_a_few_lines() {
        let path = Path::new("/resolv.conf");
        let told = |text: &str| remarks(path, &parse(text).1);
        assert_eq!(told(&"nameserver x\n".repeat(MAX_TOLD)).len(), MAX_TOLD);
        let garbage = told(&"nameserver x\n".repeat(2000));
        assert_eq!(garbage.len(), MAX_TOLD + 1);
        assert_eq!(
            garbage[MAX_TOLD],
            format!(
                "/resolv.conf: and {} lines more are left out",
                2000 - MAX_TOLD
            )
        );
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
    fn the_resolver_never_asks_itself() {
        let config = with_static(["127.0.0.1#54", "127.0.0.1", "::1#54"].map(String::from));
        let left: Vec<String> = current(&config)
            .unwrap()
            .0
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(left, ["127.0.0.1"]);
    }

    #[test]
    fn a_long_list_is_cut() {
        let config = with_static((1..=MAX_SERVERS + 3).map(|n| format!("192.0.2.{n}")));
        assert_eq!(current(&config).unwrap().0.len(), MAX_SERVERS);
    }
}
