//! Broken configurations by the thousand. Each is refused with a message that
//! names the place, or means what a right one could say.
//!
//! `BROKEN_SEED` (9) and `BROKEN_COUNT` (3000) say which and how many. Where
//! `BROKEN_FILES` names a directory, each is left there together with what came
//! of it: tests/broken.bats tries those on the real program.

// A check fails by a panic.
#![allow(clippy::panic, clippy::unwrap_used)]

mod broken {
    pub mod dice;
    pub mod faults;
    pub mod good;
    pub mod harmless;
    pub mod resolv;
}

#[path = "../src/scratch.rs"]
mod scratch;

use std::fs;
use std::path::Path;

use broken::dice::Dice;
use broken::faults::{self, Case, Outcome, Place};
use broken::good::{Good, file};
use broken::{harmless, resolv};
use gluon_wan::config::{self, CONFIG_FILE, Config, Error, STATIC_FILE};
use gluon_wan::input::Shown;
use gluon_wan::log;
use scratch::Scratch;

/// A message of the log stays within a line of a terminal or four.
const LONGEST_MESSAGE: usize = 500;

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().unwrap())
}

/// A directory of this test's own.
struct Dir(Scratch);

impl Dir {
    fn new() -> Self {
        Self(Scratch::new())
    }

    /// What the files mean, or the first mistake in one of them.
    fn load(&self, own: &[u8], fixed: &[u8]) -> Result<Config, Error> {
        for (name, content) in [(CONFIG_FILE, own), (STATIC_FILE, fixed)] {
            let path = self.0.join(name);
            // A disk waits when a file is cut and written anew.
            let _ = fs::remove_file(&path);
            fs::write(&path, content).unwrap();
        }
        let config = Config::load(&self.0)?;
        // A mistake in Gluon's file costs its line alone.
        let mut reading = config::read(&self.0);
        assert!(reading.refused.is_empty());
        assert_eq!(reading.config, config);
        harmless::in_range(&config);
        reading.left_out.drain(..).next().map_or(Ok(config), Err)
    }
}

#[test]
fn a_broken_configuration_is_refused_with_its_place_or_harmless() {
    let (seed, count) = (
        setting("BROKEN_SEED", 9),
        setting("BROKEN_COUNT", 3000) as usize,
    );
    println!("BROKEN_SEED={seed} BROKEN_COUNT={count}");
    let dir = Dir::new();
    let mut dice = Dice::new(seed);
    let mut refused = vec![(0, 0); faults::COUNT];
    for number in 0..count {
        let good = Good::new(&mut dice);
        let meant = dir.load(&file(&good.own), &file(&good.fixed));
        assert_eq!(meant.unwrap(), good.config, "{number}");
        let case = faults::case(number, &good, &mut dice);
        let loaded = dir.load(&case.own, &case.fixed);
        // For the reader of a failed test, who sees this only then.
        println!("{number}, {}: {}", case.fault, outcome(&dir.0, &loaded));
        println!("{}\n---\n{}", start(&case.own), start(&case.fixed));
        check(&dir, &case, &loaded);
        what_stands(&dir, &case, &good.config);
        leave(&dir.0, number, &case, &loaded);
        let tried = &mut refused[number % faults::COUNT];
        *tried = (tried.0 + 1, tried.1 + usize::from(loaded.is_err()));
    }
    // Neither all nor none: the faults are real, and what is accepted is tried too.
    let total: usize = refused.iter().map(|(_, refused)| refused).sum();
    assert!(
        (count / 2..count).contains(&total),
        "{total} of {count} refused"
    );
}

#[test]
fn a_good_configuration_cut_off_anywhere() {
    let dir = Dir::new();
    let good = Good::new(&mut Dice::new(setting("BROKEN_SEED", 9)));
    for is_own in [true, false] {
        let (own, fixed) = (file(&good.own), file(&good.fixed));
        let length = if is_own { own.len() } else { fixed.len() };
        for end in 0..=length {
            let (own, fixed) = match is_own {
                true => (&own[..end], &fixed[..]),
                false => (&own[..], &fixed[..end]),
            };
            let case = Case {
                fault: "cut off",
                own: own.into(),
                fixed: fixed.into(),
                outcome: Outcome::Either,
            };
            check(&dir, &case, &dir.load(own, fixed));
        }
    }
}

/// A file that is replaced is read as it was or as it is.
#[test]
fn a_configuration_that_changes_while_it_is_read() {
    let dir = Dir::new();
    let mut dice = Dice::new(setting("BROKEN_SEED", 9));
    let goods: Vec<Good> = (0..2).map(|_| Good::new(&mut dice)).collect();
    let texts = goods
        .iter()
        .map(|good| (file(&good.own), file(&good.fixed)));
    let texts: Vec<_> = texts.collect();
    dir.load(&texts[0].0, b"").unwrap();
    let path = dir.0.join(CONFIG_FILE);
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let read = (0..2000).map(|_| Config::load(&dir.0).unwrap());
            read.for_each(|mut config| {
                config
                    .static_servers
                    .clone_from(&goods[0].config.static_servers);
                let mut other = goods[1].config.clone();
                other
                    .static_servers
                    .clone_from(&goods[0].config.static_servers);
                assert!(config == goods[0].config || config == other);
            });
        });
        let new = dir.0.join("new");
        for (own, _) in texts.iter().cycle() {
            fs::write(&new, own).unwrap();
            fs::rename(&new, &path).unwrap();
            if reader.is_finished() {
                break;
            }
        }
    });
}

/// What came of a case: the message without the directory, or `accepted`.
fn outcome(dir: &Path, loaded: &Result<Config, Error>) -> String {
    match loaded {
        Ok(_) => "accepted".into(),
        Err(error) => log::chain(error).replacen(&format!("{}/", dir.display()), "", 1),
    }
}

fn start(bytes: &[u8]) -> String {
    String::from_utf8_lossy(&bytes[..bytes.len().min(2000)]).into_owned()
}

fn check(dir: &Dir, case: &Case, loaded: &Result<Config, Error>) {
    match (&case.outcome, loaded) {
        (Outcome::Refused(place, words), Err(error)) => {
            let message = outcome(&dir.0, loaded);
            assert!(named(*place, &message), "expected {place:?}: {message}");
            for word in words {
                let quoted = [format!("'{}'", Shown(word)), format!("`{word}`")];
                assert!(
                    quoted.iter().any(|word| message.contains(word)),
                    "{word:?}: {message}"
                );
            }
            well_formed(case, error, &message);
        }
        (Outcome::RefusedWhole(file), Err(_)) => {
            let message = outcome(&dir.0, loaded);
            assert!(message.starts_with(&format!("{file}: ")), "{message}");
        }
        (Outcome::Means(config), Ok(loaded)) => assert_eq!(loaded, &**config),
        (Outcome::Near(place, ..), Err(error)) => {
            let message = outcome(&dir.0, loaded);
            // Of two that are the same, the second one is named.
            let twice = ["twice", "given already", "second time"]
                .iter()
                .any(|what| message.contains(what));
            assert!(
                twice || named(*place, &message),
                "expected {place:?}: {message}"
            );
            well_formed(case, error, &message);
        }
        (Outcome::Near(_, option, good), Ok(loaded)) => {
            let differ = fields(loaded)
                .into_iter()
                .zip(fields(good))
                .filter(|(now, then)| now != then);
            for ((name, _), _) in differ {
                assert_eq!(Some(name), option.as_deref());
            }
            could_be_said(loaded);
        }
        (Outcome::Either, Err(error)) => well_formed(case, error, &outcome(&dir.0, loaded)),
        (Outcome::Either, Ok(loaded)) => could_be_said(loaded),
        (_, Ok(_)) => panic!("accepted"),
        (_, Err(error)) => panic!("{}", log::chain(error)),
    }
}

/// Whatever is wrong with a file, what a service starts with is harmless; and of an
/// option that is refused, nothing but that option is another one.
fn what_stands(dir: &Dir, case: &Case, good: &Config) {
    let stands = config::read(&dir.0).config;
    could_be_said(&stands);
    let Outcome::Refused((CONFIG_FILE, _), words) = &case.outcome else {
        return;
    };
    if ["bad value", "value twice", "list for option"].contains(&case.fault) {
        let pairs = fields(&stands).into_iter().zip(fields(good));
        for ((name, values), (_, meant)) in pairs {
            assert!(values == meant || *name == words[0], "{name}: {values:?}");
        }
    }
}

fn named((file, line): Place, message: &str) -> bool {
    message.starts_with(&format!("{file}:{line}: "))
}

/// The message is one printable line, and what it quotes stands where it says.
fn well_formed(case: &Case, error: &Error, message: &str) {
    assert!(
        message.len() <= LONGEST_MESSAGE,
        "{} bytes: {message}",
        message.len()
    );
    assert!(
        message.bytes().all(|b| b == b' ' || b.is_ascii_graphic()),
        "{message:?}"
    );
    let (path, line, words) = match error {
        Error::Read { path, .. } | Error::More { path, .. } => (path, 1, vec![]),
        Error::Syntax { path, problem } => (path, problem.line, vec![]),
        Error::Section {
            path,
            line,
            section,
            ..
        } => (path, *line, vec![section]),
        Error::Option {
            path,
            line,
            option,
            value,
            ..
        } => (path, *line, vec![option, value]),
    };
    let file = match path.file_name().is_some_and(|name| name == CONFIG_FILE) {
        true => &case.own,
        false => &case.fixed,
    };
    let text = String::from_utf8_lossy(file);
    let rest: Vec<&str> = text.split('\n').skip(line - 1).collect();
    assert!(!rest.is_empty(), "there is no line {line}");
    for word in words {
        let shown = format!("'{}'", Shown(word));
        assert!(message.contains(&shown), "{shown}: {message}");
        assert!(
            unquoted(&rest.join("\n")).contains(&unquoted(word)),
            "{word:?}: {message}"
        );
    }
}

/// Without what UCI's quoting may have put in or taken out.
fn unquoted(text: &str) -> String {
    text.replace(['\'', '"', '\\', '\n'], "")
}

/// There is a right file that says the same.
fn could_be_said(config: &Config) {
    harmless::in_range(config);
    let other = Dir::new();
    let quote = |value: &str| format!("'{}'", value.replace('\'', r"'\''"));
    let mut own = String::new();
    let (mut section, mut fixed) = ("", String::from("config static\n"));
    for (name, values) in fields(config) {
        let of = match name {
            "group" | "include" => "redirect",
            "listen" | "port" | "resolv_file" | "user" | "max_inflight" => "resolver",
            _ => "routing",
        };
        let lines = values
            .iter()
            .map(|(command, value)| format!("\t{command} {name} {}\n", quote(value)));
        if name == "server" {
            fixed.extend(lines);
            continue;
        }
        if of != section {
            own += &format!("config {of}\n");
            section = of;
        }
        own.extend(lines);
    }
    assert_eq!(
        &other.load(own.as_bytes(), fixed.as_bytes()).unwrap(),
        config
    );
}

/// Every option with its values, and whether they are written as `list`.
fn fields(config: &Config) -> Vec<(&'static str, Vec<(&'static str, String)>)> {
    let Config {
        redirect,
        routing,
        resolver,
        static_servers,
    } = config;
    fn list<T: ToString>(values: &[T]) -> Vec<(&'static str, String)> {
        values
            .iter()
            .map(|value| ("list", value.to_string()))
            .collect()
    }
    let one = |value: &dyn ToString| vec![("option", value.to_string())];
    let families = [("ipv4", routing.ipv4), ("ipv6", routing.ipv6)];
    let families: Vec<&str> = families
        .iter()
        .filter(|(_, is)| *is)
        .map(|(name, _)| *name)
        .collect();
    let include = redirect.include.as_deref().unwrap_or(Path::new(""));
    vec![
        ("group", list(&redirect.groups)),
        ("include", one(&include.display())),
        ("device", list(&routing.devices)),
        ("family", list(&families)),
        ("mark", one(&routing.mark)),
        ("table", one(&routing.table)),
        ("priority", one(&routing.priority)),
        ("listen", list(&resolver.listen)),
        ("port", one(&resolver.port)),
        ("resolv_file", one(&resolver.resolv_file.display())),
        ("user", one(&resolver.user)),
        ("max_inflight", one(&resolver.max_inflight)),
        ("server", list(static_servers)),
    ]
}

/// For tests/broken.bats.
fn leave(dir: &Path, number: usize, case: &Case, loaded: &Result<Config, Error>) {
    let Some(files) = std::env::var_os("BROKEN_FILES") else {
        return;
    };
    let to = Path::new(&files).join(format!("config/{number}"));
    fs::create_dir_all(&to).unwrap();
    fs::write(to.join(CONFIG_FILE), &case.own).unwrap();
    fs::write(to.join(STATIC_FILE), &case.fixed).unwrap();
    // An include elsewhere would be written outside of the lab.
    let elsewhere = loaded.as_ref().is_ok_and(|config| {
        let include = config.redirect.include.as_ref();
        include.is_some_and(|path| !path.starts_with("/var/run/gluon-wan"))
    });
    let elsewhere = if elsewhere { " elsewhere" } else { "" };
    // A mistake in Gluon's file is none of `sync`.
    let outcome = match outcome(dir, loaded) {
        of_gluons if of_gluons.starts_with(STATIC_FILE) => "accepted".into(),
        outcome => outcome,
    };
    fs::write(to.join("outcome"), outcome + elsewhere + "\n").unwrap();
}

#[test]
fn a_broken_resolv_file_keeps_its_good_servers_and_gains_none() {
    let seed = setting("BROKEN_SEED", 9);
    println!("BROKEN_SEED={seed}");
    let files = std::env::var_os("BROKEN_FILES");
    let mut dice = Dice::new(seed);
    for number in 0..setting("BROKEN_COUNT", 3000) as usize / 3 {
        let case = resolv::case(number, &mut dice);
        println!("{number}, {}:\n{}", case.fault, start(&case.bytes));
        let servers = resolv::check(&case);
        if let Some(files) = &files {
            let to = Path::new(files).join(format!("resolv/{number}"));
            fs::create_dir_all(&to).unwrap();
            fs::write(to.join("resolv.conf"), &case.bytes).unwrap();
            fs::write(to.join("servers"), servers).unwrap();
        }
    }
}
