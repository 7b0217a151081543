//! The command `gluon-wan`: parse, run one command, print the error chain.

mod unwinder;

use std::error::Error;
use std::process::ExitCode;

use gluon_wan::cli::{self, Command};
use gluon_wan::config::{self, Config};
use gluon_wan::{exec, log, output, redirect, resolver, status, sync, trace, wan, watch};

/// Wrong usage or configuration; 1 is for everything else that fails.
const EXIT_USAGE: u8 = 2;

/// An error and the exit code it ends with.
struct Failure(u8, Box<dyn Error>);

impl<E: Error + 'static> From<E> for Failure {
    fn from(error: E) -> Self {
        Self(1, error.into())
    }
}

fn main() -> ExitCode {
    match run() {
        Ok(code) => code,
        Err(Failure(code, error)) => {
            log::error!("{}", log::chain(&*error));
            ExitCode::from(code)
        }
    }
}

fn run() -> Result<ExitCode, Failure> {
    let usage = |error| Failure(EXIT_USAGE, Box::new(error));
    let invocation = cli::parse(std::env::args_os()).map_err(usage)?;
    if invocation.syslog {
        log::to_syslog();
    }
    let dir = invocation.config_dir.as_path();
    let load = || {
        let refused = |error| Failure(EXIT_USAGE, Box::new(error));
        Config::load(dir).map_err(refused)
    };
    match invocation.command {
        Command::Show(text) => output::show(text)?,
        Command::Exec(request) => {
            let Err(error) = exec::run(&request, dir);
            return Err(Failure(error.exit_code(), Box::new(error)));
        }
        Command::Print => {
            let config = load()?;
            let devices = wan::find(&config)?.names();
            let wanted = redirect::wanted(&config, &devices)?;
            output::show(&wanted.table.to_string())?;
            wanted.redirects()?;
        }
        Command::Sync { watch: false } => sync::sync(&load()?)?,
        Command::Sync { watch: true } => watch::run(dir, config::read(dir).said())?,
        Command::Config { fixed: true } => output::show(&config::show::fixed(&load()?))?,
        Command::Config { fixed: false } => {
            let reading = config::read(dir);
            let right = reading.refused.is_empty();
            output::show(&config::show::whole(&reading.said()))?;
            if !right {
                return Ok(ExitCode::from(EXIT_USAGE));
            }
        }
        Command::Clear => sync::clear(&load()?)?,
        Command::Resolver => resolver::run(dir, config::read(dir).said())?,
        Command::Trace { name, json } => return Ok(trace::run(&load()?, &name, json)?),
        Command::Status { json } => {
            return Ok(status::run(dir, &config::read(dir), json)?);
        }
    }
    Ok(ExitCode::SUCCESS)
}
