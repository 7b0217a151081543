//! The command line: which command, and from where it reads its configuration.

mod help;

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

use lexopt::Arg::{Long, Short, Value};
use lexopt::ValueExt;

use crate::exec;
use crate::input::Shown;

/// The name under which `exec` is installed too, as Gluon's wrapper was.
const WRAPPER: &str = "gluon-wan-dns";
/// For messages.
const COMMANDS: &str = "resolver, sync, clear, print, config, status, trace or exec";
/// Where UCI keeps its files.
const CONFIG_DIR: &str = "/etc/config";

/// What was asked for.
#[derive(Debug, PartialEq, Eq)]
pub struct Invocation {
    /// Whether messages go to syslog instead of standard error.
    pub syslog: bool,
    /// Holds the UCI files.
    pub config_dir: PathBuf,
    /// What to do.
    pub command: Command,
}

/// One command.
#[derive(Debug, PartialEq, Eq)]
pub enum Command {
    /// `--help`, `--version`: a text for standard output.
    Show(&'static str),
    /// Serve DNS in the foreground.
    Resolver,
    /// Put table, rules and routes in place; with `watch`, keep them there.
    Sync {
        /// Stay and mend what others undo.
        watch: bool,
    },
    /// Remove what `sync` made.
    Clear,
    /// The redirect table in nft language.
    Print,
    /// The configuration in force.
    Config {
        /// Only what the resolver has from its start to its end.
        fixed: bool,
    },
    /// What is in place and what is wrong.
    Status {
        /// For programs.
        json: bool,
    },
    /// Follow one look-up through all steps.
    Trace {
        /// What to look up.
        name: String,
        /// For programs.
        json: bool,
    },
    /// Run a command over the WAN.
    Exec(exec::Request),
}

/// Wrong usage, and what would be right.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{problem}\nTry `{} --help`.", .usage_of)]
pub struct UsageError {
    problem: String,
    usage_of: String,
}

/// Reads the command line, the program's name first.
///
/// # Errors
/// Anything that is not in the help text.
pub fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Invocation, UsageError> {
    let args: Vec<OsString> = args.into_iter().collect();
    let mut usage_of = "gluon-wan".to_owned();
    let read = match args.first() {
        Some(name) if file_name(name) == WRAPPER => {
            usage_of = WRAPPER.to_owned();
            wrapper(&args[1..])
        }
        _ => invocation(args, &mut usage_of),
    };
    read.map_err(|error| UsageError {
        problem: error.to_string(),
        usage_of,
    })
}

/// `usage_of` becomes what the mistake is about, if there is one.
fn invocation(args: Vec<OsString>, usage_of: &mut String) -> Result<Invocation, lexopt::Error> {
    let mut parser = lexopt::Parser::from_iter(args);
    let mut config_dir = default_config_dir();
    let mut syslog = false;
    let command = loop {
        match parser.next()? {
            Some(Short('c') | Long("config")) => config_dir = parser.value()?.into(),
            Some(Long("syslog")) => syslog = true,
            Some(Short('h') | Long("help")) => break Command::Show(help::HELP),
            Some(Short('V') | Long("version")) => {
                break Command::Show(concat!("gluon-wan ", env!("CARGO_PKG_VERSION"), "\n"));
            }
            Some(Value(name)) => {
                let name = name.string()?;
                let (command, help) = command(&name)?;
                *usage_of = format!("gluon-wan {name}");
                break with_options(command, help, &mut parser)?;
            }
            Some(other) => return Err(other.unexpected()),
            None => return Err("a command is missing".into()),
        }
    };
    Ok(Invocation {
        syslog,
        config_dir,
        command,
    })
}

/// A command without its options, and its help.
fn command(name: &str) -> Result<(Command, &'static str), lexopt::Error> {
    Ok(match name {
        "resolver" => (Command::Resolver, help::RESOLVER_HELP),
        "sync" => (Command::Sync { watch: false }, help::SYNC_HELP),
        "clear" => (Command::Clear, help::CLEAR_HELP),
        "print" => (Command::Print, help::PRINT_HELP),
        "config" => (Command::Config { fixed: false }, help::CONFIG_HELP),
        "status" => (Command::Status { json: false }, help::STATUS_HELP),
        "trace" => {
            let (name, json) = (String::new(), false);
            (Command::Trace { name, json }, help::TRACE_HELP)
        }
        "exec" => (Command::Exec(exec::Request::default()), help::EXEC_HELP),
        _ => {
            // Up to 2023, Gluon had a wrapper of this name that ran its arguments.
            let problem = format!(
                "'{name}' is not a command, expected {COMMANDS}; to run {name} over the WAN: \
                 `gluon-wan exec {name} ...`",
                name = Shown(name)
            );
            return Err(problem.into());
        }
    })
}

/// Reads what stands behind the command's name.
fn with_options(
    mut command: Command,
    help: &'static str,
    parser: &mut lexopt::Parser,
) -> Result<Command, lexopt::Error> {
    // What cannot be left out.
    let mut missing = match command {
        Command::Trace { .. } => Some("the name to look up is missing"),
        Command::Exec(_) => Some("the command to run is missing"),
        _ => None,
    };
    while let Some(arg) = parser.next()? {
        match (&mut command, arg) {
            (_, Short('h') | Long("help")) => return Ok(Command::Show(help)),
            (Command::Sync { watch }, Long("watch")) => *watch = true,
            (Command::Status { json } | Command::Trace { json, .. }, Long("json")) => *json = true,
            (Command::Config { fixed }, Long("fixed")) => *fixed = true,
            (Command::Exec(request), Long("mark")) => request.mark = true,
            (Command::Trace { name, .. }, Value(value)) if missing.take().is_some() => {
                *name = value.string()?;
            }
            (Command::Exec(request), Value(program)) => {
                // Options end where the command begins; what follows is its own.
                request.command.push(program);
                request.command.extend(parser.raw_args()?);
                return Ok(command);
            }
            (_, arg) => return Err(arg.unexpected()),
        }
    }
    missing.map_or(Ok(command), |missing| Err(missing.into()))
}

/// Gluon's wrapper knows no options: every word belongs to the command.
fn wrapper(args: &[OsString]) -> Result<Invocation, lexopt::Error> {
    let command = match args {
        [] => return Err("the command to run is missing".into()),
        [only] if only == "--help" || only == "-h" => Command::Show(help::WRAPPER_HELP),
        words => Command::Exec(exec::Request {
            mark: false,
            command: words.to_vec(),
        }),
    };
    Ok(Invocation {
        syslog: false,
        config_dir: default_config_dir(),
        command,
    })
}

fn default_config_dir() -> PathBuf {
    match std::env::var_os("UCI_CONFIG_DIR") {
        Some(dir) if !dir.is_empty() => dir.into(),
        _ => CONFIG_DIR.into(),
    }
}

fn file_name(path: &OsStr) -> &OsStr {
    std::path::Path::new(path).file_name().unwrap_or(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Command, String> {
        let words = line.split_whitespace().map(OsString::from);
        parse(words)
            .map(|invocation| invocation.command)
            .map_err(|error| error.to_string())
    }

    fn words(line: &str) -> Vec<OsString> {
        line.split_whitespace().map(OsString::from).collect()
    }

    #[test]
    fn commands() {
        for (line, command) in [
            ("gluon-wan resolver", Command::Resolver),
            ("gluon-wan sync", Command::Sync { watch: false }),
            (
                "/usr/sbin/gluon-wan sync --watch",
                Command::Sync { watch: true },
            ),
            ("gluon-wan clear", Command::Clear),
            ("gluon-wan -c /tmp print", Command::Print),
            ("gluon-wan status --json", Command::Status { json: true }),
            (
                "gluon-wan trace --json a.example",
                Command::Trace {
                    name: "a.example".into(),
                    json: true,
                },
            ),
            (
                "gluon-wan sync --watch --help",
                Command::Show(help::SYNC_HELP),
            ),
        ] {
            assert_eq!(parsed(line), Ok(command), "{line}");
        }
        let invocation = parse(words("gluon-wan --config=/tmp/x clear")).unwrap();
        assert_eq!(invocation.config_dir, PathBuf::from("/tmp/x"));
        assert!(!invocation.syslog);
        assert!(parse(words("gluon-wan --syslog sync")).unwrap().syslog);
    }

    #[test]
    fn options_of_the_command_to_run_are_its_own() {
        let exec = |mark, line| {
            Ok(Command::Exec(exec::Request {
                mark,
                command: words(line),
            }))
        };
        assert_eq!(
            parsed("gluon-wan exec ping --mark -c 1"),
            exec(false, "ping --mark -c 1")
        );
        assert_eq!(
            parsed("gluon-wan exec --mark -- -x --help"),
            exec(true, "-x --help")
        );
        assert_eq!(parsed("gluon-wan exec --mark x -- y"), exec(true, "x -- y"));
        assert_eq!(parsed("gluon-wan-dns --mark x"), exec(false, "--mark x"));
        assert_eq!(
            parsed("/usr/bin/gluon-wan-dns nslookup -h x"),
            exec(false, "nslookup -h x")
        );
        assert_eq!(
            parsed("gluon-wan-dns --help"),
            Ok(Command::Show(help::WRAPPER_HELP))
        );
    }

    #[test]
    fn wrong_usage_says_what_and_where_to_look() {
        for (line, problem, usage_of) in [
            ("gluon-wan", "a command is missing", "gluon-wan --help"),
            (
                "gluon-wan frobnicate",
                "'frobnicate' is not a command",
                "gluon-wan --help",
            ),
            ("gluon-wan -x", "-x", "gluon-wan --help"),
            ("gluon-wan -c", "-c", "gluon-wan --help"),
            ("gluon-wan clear now", "now", "gluon-wan clear --help"),
            (
                "gluon-wan clear --watch",
                "--watch",
                "gluon-wan clear --help",
            ),
            (
                "gluon-wan exec",
                "command to run is missing",
                "gluon-wan exec --help",
            ),
            (
                "gluon-wan trace",
                "name to look up is missing",
                "gluon-wan trace --help",
            ),
            ("gluon-wan trace a b", "b", "gluon-wan trace --help"),
            ("gluon-wan exec --frob", "--frob", "gluon-wan exec --help"),
            (
                "gluon-wan-dns",
                "command to run is missing",
                "gluon-wan-dns --help",
            ),
        ] {
            let error = parsed(line).unwrap_err();
            assert!(
                error.contains(problem) && error.contains(usage_of),
                "{line}: {error}"
            );
        }
    }

    #[test]
    fn every_help_fits_a_screen_and_shows_an_example() {
        for help in [
            help::HELP,
            help::RESOLVER_HELP,
            help::SYNC_HELP,
            help::CLEAR_HELP,
            help::PRINT_HELP,
            help::STATUS_HELP,
            help::TRACE_HELP,
            help::EXEC_HELP,
        ] {
            assert!(help.lines().count() <= 24 && help.lines().all(|line| line.len() <= 88));
            assert!(help.contains("Example: "), "{help}");
        }
    }
}
