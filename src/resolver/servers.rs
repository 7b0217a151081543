//! Which servers to use: the static list of the configuration or, where it is
//! empty, the resolv file that the hotplug script writes.

use std::io::{self, ErrorKind, Read};
use std::path::Path;

use super::upstream::MAX_SERVERS;
use crate::config::{Config, Server};
use crate::log;

/// A resolv file is a few lines; more than this is not one.
const MAX_FILE: u64 = 64 * 1024;

/// The servers that count now.
///
/// A resolv file that is not there means none: the WAN is not up yet.
///
/// # Errors
/// The resolv file is there and cannot be read.
pub fn current(config: &Config) -> io::Result<Vec<Server>> {
    let mut servers = match config.static_servers.is_empty() {
        true => resolv_file(&config.resolver.resolv_file)?,
        false => config.static_servers.clone(),
    };
    let own = |server: &Server| {
        server.port == config.resolver.port && config.resolver.listen.contains(&server.addr)
    };
    if let Some(server) = servers.iter().find(|server| own(server)) {
        log!("the server {server} is this resolver itself: left out");
        servers.retain(|server| !own(server));
    }
    if servers.len() > MAX_SERVERS {
        log!(
            "{} servers are configured: the first {MAX_SERVERS} are used",
            servers.len()
        );
        servers.truncate(MAX_SERVERS);
    }
    Ok(servers)
}

fn resolv_file(path: &Path) -> io::Result<Vec<Server>> {
    let mut bytes = Vec::new();
    match std::fs::File::open(path) {
        Ok(file) => file.take(MAX_FILE).read_to_end(&mut bytes)?,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let (servers, mistakes) = parse(&String::from_utf8_lossy(&bytes));
    for (line, mistake) in mistakes {
        log!("{}:{line}: {mistake}: line left out", path.display());
    }
    Ok(servers)
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
    fn the_resolver_never_asks_itself() {
        let mut config = Config::default();
        config.static_servers = ["127.0.0.1#54", "127.0.0.1", "::1#54"]
            .map(|text| text.parse().unwrap())
            .to_vec();
        let left: Vec<String> = current(&config)
            .unwrap()
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(left, ["127.0.0.1"]);
    }

    #[test]
    fn a_long_list_is_cut() {
        let mut config = Config::default();
        config.static_servers = (1..=MAX_SERVERS + 3)
            .map(|n| format!("192.0.2.{n}").parse().unwrap())
            .collect();
        assert_eq!(current(&config).unwrap().len(), MAX_SERVERS);
    }
}
