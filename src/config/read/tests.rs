//! Whole files in, configuration or message out.

use super::*;
use crate::config::{Group, Mark};
use std::fs;
use std::net::IpAddr;

/// A directory with the two files, removed at the end.
struct Dir(PathBuf);

impl Dir {
    fn new(config: Option<&[u8]>, static_servers: Option<&[u8]>) -> Self {
        use std::sync::atomic::{AtomicU32, Ordering};
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!(
            "gluon-wan-config-{}-{}",
            std::process::id(),
            NEXT.fetch_add(1, Ordering::Relaxed)
        );
        let dir = std::env::temp_dir().join(name);
        fs::create_dir(&dir).unwrap();
        for (name, content) in [(CONFIG_FILE, config), (STATIC_FILE, static_servers)] {
            if let Some(content) = content {
                fs::write(dir.join(name), content).unwrap();
            }
        }
        Self(dir)
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn config(text: &str) -> Result<Config, String> {
    let dir = Dir::new(Some(text.as_bytes()), None);
    load(&dir.0).map_err(|error| message(&dir, &error))
}

/// The message, file names without the directory.
fn message(dir: &Dir, error: &Error) -> String {
    error
        .to_string()
        .replace(&format!("{}/", dir.0.display()), "")
}

/// The message for one option in the section that knows it.
fn refused(section: &str, option: &str) -> String {
    config(&format!("config {section}\n\t{option}\n")).unwrap_err()
}

#[test]
fn no_file_and_an_empty_file_mean_the_defaults() {
    let none = Dir::new(None, None);
    let empty = Dir::new(
        Some(b""),
        Some(b"config 'static'\n\t# list 'server' '192.168.0.1'\n"),
    );
    assert_eq!(load(&none.0).unwrap(), Config::default());
    assert_eq!(load(&empty.0).unwrap(), Config::default());
}

#[test]
fn the_defaults_written_out_are_the_defaults() {
    let text = include_str!("../../../package/gluon-wan/files/etc/config/gluon-wan");
    assert_eq!(config(text).unwrap(), Config::default());
    // The shipped file shows them as comments; they must be true as well.
    let shown: String = text
        .lines()
        .map(|line| line.replacen("\t# ", "\t", 1) + "\n")
        .collect();
    assert_ne!(shown, text);
    let mut defaults = Config::default();
    // The one example: without it, netifd is asked.
    defaults.routing.devices = vec!["br-wan".into()];
    assert_eq!(config(&shown).unwrap(), defaults);
}

#[test]
fn every_option_is_read() {
    let config = config(
        "config redirect 'redirect'
            list group 'vpn'
            list group '4711'
            option include ''
        config routing
            list device 'br-wan'
            list device 'wwan0'
            option family 'ipv6 ipv4'
            option mark '0x10/0xf0'
            option table '0x2a'
            option priority 99
        config resolver
            list listen ::1
            option port 5300
            option resolv_file /tmp/resolv.conf
            option user dnsmasq
            option max_inflight 10",
    )
    .unwrap();
    assert_eq!(
        config.redirect.groups,
        [Group::Name("vpn".into()), Group::Id(4711)]
    );
    assert_eq!(config.redirect.include, None);
    assert_eq!(config.routing.devices, ["br-wan", "wwan0"]);
    assert!(config.routing.ipv4 && config.routing.ipv6);
    assert_eq!(
        config.routing.mark,
        Mark {
            value: 0x10,
            mask: 0xf0
        }
    );
    assert_eq!((config.routing.table, config.routing.priority), (42, 99));
    assert_eq!(config.resolver.listen, ["::1".parse::<IpAddr>().unwrap()]);
    assert_eq!(
        (config.resolver.port, config.resolver.max_inflight),
        (5300, 10)
    );
    assert_eq!(config.resolver.resolv_file, Path::new("/tmp/resolv.conf"));
    assert_eq!(config.resolver.user, "dnsmasq");
}

#[test]
fn static_servers_are_read_as_gluon_writes_them() {
    let text = b"config 'static'\n\tlist 'server' '192.0.2.1'\n\tlist server 'fe80::1%br-wan'\n";
    let dir = Dir::new(None, Some(text));
    let servers: Vec<String> = load(&dir.0)
        .unwrap()
        .static_servers
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(servers, ["192.0.2.1", "fe80::1%br-wan"]);
}

/// What of Gluon's file counts, and the lines that do not.
fn static_servers(text: &str) -> (Vec<String>, Vec<String>) {
    let dir = Dir::new(None, Some(text.as_bytes()));
    let reading = read(&dir.0);
    assert!(reading.refused.is_empty());
    assert_eq!(load(&dir.0).unwrap(), reading.config);
    let left_out = reading.left_out.iter();
    let left_out = left_out.map(|error| message(&dir, error));
    let servers = reading.config.static_servers.iter();
    (
        servers.map(ToString::to_string).collect(),
        left_out.collect(),
    )
}

#[test]
fn a_mistake_in_gluons_file_costs_its_line() {
    for (lines, servers, left_out) in [
        (
            "list server ' fe80::1 '",
            &["fe80::1", "192.0.2.9"] as &[_],
            None,
        ),
        (
            "option server '192.0.2.1 192.0.2.2'",
            &["192.0.2.1", "192.0.2.2", "192.0.2.9"],
            None,
        ),
        (
            "list server ''",
            &["192.0.2.9"],
            Some("value '': expected the address"),
        ),
        (
            "list server '0.0.0.0'",
            &["192.0.2.9"],
            Some("value '0.0.0.0': expected a unicast"),
        ),
        (
            "list server '192.168.001.001'",
            &["192.0.2.9"],
            Some("'192.168.001.001': expected"),
        ),
        (
            "list server '192.0.2.1",
            &["192.0.2.9"],
            Some("a quote (') is not closed"),
        ),
        (
            "list server",
            &["192.0.2.9"],
            Some("expected `list NAME VALUE`"),
        ),
        (
            "lsit server 192.0.2.1",
            &["192.0.2.9"],
            Some("'lsit' is not a UCI command"),
        ),
        (
            "list sever 192.0.2.1",
            &["192.0.2.9"],
            Some("option 'sever', value '192.0.2.1': unknown"),
        ),
        (
            "config 'static",
            &["192.0.2.9"],
            Some("a quote (') is not closed"),
        ),
    ] {
        let (found, remarks) = static_servers(&format!(
            "config static\n\t{lines}\n\tlist server 192.0.2.9\n"
        ));
        assert_eq!(found, servers, "{lines}");
        assert_eq!(
            remarks.len(),
            usize::from(left_out.is_some()),
            "{lines}: {remarks:?}"
        );
        if let Some(part) = left_out {
            assert!(
                remarks[0].starts_with("gluon-wan-dnsmasq:2: "),
                "{remarks:?}"
            );
            assert!(remarks[0].contains(part), "{remarks:?}");
        }
    }
    let twice = static_servers("config static\n list server 192.0.2.9\n list server 192.0.2.9\n");
    assert_eq!(twice.0, ["192.0.2.9"]);
    assert!(
        twice.1[0].ends_with("'192.0.2.9' is there twice, expected once"),
        "{twice:?}"
    );
    let broken = static_servers("confg static\n list server 192.0.2.9\n");
    assert_eq!((broken.0.len(), broken.1.len()), (1, 1), "{broken:?}");
}

#[test]
fn of_a_refused_file_what_is_good_counts() {
    for (text, refused, change) in [
        (
            "config redirect\n list group vpn\n list group 0\nconfig resolver\n option port 5454\n",
            &[3_usize] as &[_],
            (|config| {
                config.redirect.groups = vec![Group::Name("vpn".into())];
                config.resolver.port = 5454;
            }) as fn(&mut Config),
        ),
        (
            "config resolver\n option port 54x\n option port 5454\n option user me\n",
            &[2, 3],
            |config| config.resolver.user = "me".into(),
        ),
        (
            "config routing\n list family inet\n option table '7\n option priority 9\n",
            &[2, 3],
            |config| config.routing.priority = 9,
        ),
        (
            "config 'routing\n option table 7\nconfig resolver\n option port 5454\n",
            &[1, 2],
            |config| config.resolver.port = 5454,
        ),
        ("hello\n", &[1], |_| ()),
        (
            "config resolver\n option port 5454\nconfig resolver\n option port 1\n",
            &[3],
            |config| config.resolver.port = 5454,
        ),
    ] {
        let dir = Dir::new(Some(text.as_bytes()), None);
        let reading = read(&dir.0);
        let mut expected = Config::default();
        change(&mut expected);
        assert_eq!(reading.config, expected, "{text}");
        let lines: Vec<usize> = reading.refused.iter().filter_map(Error::line).collect();
        assert_eq!(lines, refused, "{text}: {:?}", reading.refused);
        assert!(load(&dir.0).is_err());
    }
}

#[test]
fn mistakes_are_told_up_to_a_bound() {
    let dir = Dir::new(Some("hello\n".repeat(100).as_bytes()), None);
    let refused = read(&dir.0).refused;
    assert_eq!(refused.len(), 11);
    assert_eq!(
        message(&dir, &refused[10]),
        "gluon-wan: and 90 mistakes more"
    );
}

#[test]
fn a_message_names_file_line_option_value_and_what_was_expected() {
    assert_eq!(
        config("config resolver\n\n\toption port '0'\n").unwrap_err(),
        "gluon-wan:3: option 'port', value '0': expected a port from 1 to 65535"
    );
    assert_eq!(
        config("config resolver\n\toption prot '54'\n").unwrap_err(),
        "gluon-wan:2: option 'prot', value '54': unknown in section 'resolver', \
         expected listen, port, resolv_file, user or max_inflight"
    );
    assert_eq!(
        config("config resolvr\n").unwrap_err(),
        "gluon-wan:1: section 'resolvr': unknown, expected redirect, routing or resolver"
    );
    assert_eq!(
        static_servers("config sttic\n").1,
        ["gluon-wan-dnsmasq:1: section 'sttic': unknown, expected static"]
    );
    assert_eq!(
        config("config routing\nconfig routing\n").unwrap_err(),
        "gluon-wan:2: section 'routing': stands here for the second time, expected one"
    );
    assert_eq!(
        config("config resolver\n\toption port 54\n\toption port 55\n").unwrap_err(),
        "gluon-wan:3: option 'port', value '55': given already in line 2, expected one"
    );
    assert_eq!(
        config("config routing\n\toption table 'x\n").unwrap_err(),
        "gluon-wan:2: a quote (') is not closed"
    );
}

#[test]
fn bad_values_are_refused() {
    for (section, option, part) in [
        ("redirect", "list group '0'", "from 1 to"),
        (
            "redirect",
            "list group '4294967295'",
            "from 1 to 4294967294",
        ),
        ("redirect", "list group ''", "name or number of a group"),
        ("routing", "list device 'br*'", "asterisk"),
        ("routing", "list device 'br\"wan'", "quote"),
        ("routing", "list device 'br\\wan'", "backslash"),
        ("redirect", "list group 'a b'", "name or number of a group"),
        ("redirect", "option group ''", "at least one"),
        ("redirect", "option group 'a a'", "twice"),
        ("redirect", "option include 'redirect.nft'", "absolute path"),
        ("redirect", "option include '/'", "absolute path"),
        ("redirect", "option include '/a/'", "absolute path"),
        ("redirect", "option include '/a/.'", "absolute path"),
        ("redirect", "option include '/a/..'", "absolute path"),
        (
            "routing",
            "list device 'interface-name-16'",
            "network device",
        ),
        ("routing", "list device '..'", "network device"),
        ("routing", "list family 'inet'", "ipv4 or ipv6"),
        ("routing", "option mark '0'", "VALUE/MASK"),
        ("routing", "option mark '2/1'", "within the mask"),
        ("routing", "option mark '0x100000000'", "VALUE/MASK"),
        ("routing", "option mark '-1'", "VALUE/MASK"),
        ("routing", "option table '0'", "from 1 to"),
        ("routing", "option table '254'", "not 253 default, 254 main"),
        (
            "routing",
            "option table 'main'",
            "number of a routing table",
        ),
        ("routing", "option priority '0'", "from 1 to 32765"),
        ("routing", "option priority '32766'", "from 1 to 32765"),
        ("routing", "list table '1'", "expected `option`, not `list`"),
        ("resolver", "list listen '192.0.2.1'", "127.0.0.1 or ::1"),
        ("resolver", "list listen 'localhost'", "127.0.0.1 or ::1"),
        ("resolver", "option port '65536'", "from 1 to 65535"),
        ("resolver", "option port '+54'", "from 1 to 65535"),
        ("resolver", "option port ''", "from 1 to 65535"),
        ("resolver", "option user ''", "name of a user"),
        ("resolver", "option max_inflight '0'", "from 1 to 4096"),
        ("resolver", "option max_inflight '4097'", "from 1 to 4096"),
        (
            "resolver",
            "option resolv_file 'resolv.conf'",
            "absolute path",
        ),
        ("resolver", "option", "expected `option NAME VALUE`"),
    ] {
        let message = refused(section, option);
        assert!(message.starts_with("gluon-wan:2: "), "{option}: {message}");
        assert!(message.contains(part), "{option}: {message}");
    }
    let mixed = config("config routing\n\tlist device a\n\toption device b\n").unwrap_err();
    assert!(
        mixed.contains(":3: option 'device', value 'b'") && mixed.contains("`list` lines only")
    );
    let twice = config("config routing\n\tlist device a\n\tlist device a\n").unwrap_err();
    assert!(
        twice.contains(":3: option 'device', value 'a': 'a' is there twice"),
        "{twice}"
    );
}

#[test]
fn what_is_not_text_or_not_a_file_is_refused() {
    let dir = Dir::new(Some(b"config resolver\n\xff\n"), None);
    assert_eq!(
        message(&dir, &load(&dir.0).unwrap_err()),
        "gluon-wan:2: a byte that is not UTF-8"
    );

    let dir = Dir::new(None, None);
    fs::create_dir(dir.0.join(CONFIG_FILE)).unwrap();
    let error = load(&dir.0).unwrap_err();
    assert_eq!(message(&dir, &error), "gluon-wan: cannot be read");
    assert!(crate::log::chain(&error).ends_with(": not a regular file"));

    let comment = "#".repeat(MAX_FILE);
    assert_eq!(config(&comment).unwrap(), Config::default());
    let dir = Dir::new(Some((comment + "#").as_bytes()), None);
    let message = crate::log::chain(&load(&dir.0).unwrap_err());
    assert!(message.ends_with("longer than 65536 bytes"), "{message}");
}

#[test]
fn the_longest_list_and_the_longest_path() {
    let groups = |count: u32| {
        let numbers: Vec<String> = (1..=count).map(|n| n.to_string()).collect();
        config(&format!(
            "config redirect\n\toption group '{}'\n",
            numbers.join(" ")
        ))
    };
    assert_eq!(groups(50).unwrap().redirect.groups.len(), 50);
    let message = groups(51).unwrap_err();
    assert!(message.contains("expected at most 50 values"), "{message}");

    let file = |len: usize| {
        let path = "/".to_owned() + &"x".repeat(len - 1);
        config(&format!("config resolver\n\toption resolv_file '{path}'\n"))
    };
    assert!(file(240).is_ok());
    assert!(file(241).unwrap_err().contains("240 characters at most"));
}

#[test]
fn a_message_is_one_line_whatever_is_in_the_value() {
    assert_eq!(
        config("config resolver\n\n\toption port '5\n\x1b[2J4'\n").unwrap_err(),
        r"gluon-wan:3: option 'port', value '5\n\u{1b}[2J4': expected a port from 1 to 65535"
    );
    let long = config(&format!("config {}\n", "x".repeat(9999))).unwrap_err();
    assert!(long.len() < 200, "{long}");
}
