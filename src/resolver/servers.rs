//! Which servers to use: the static list of the configuration or, where it is
//! empty, the resolv file that the hotplug script writes; and which devices lead
//! to them.

mod in_force;
mod resolv_file;

use std::path::{Path, PathBuf};

use super::network::Wan;
use crate::config::{self, CONFIG_FILE, Config, Resolver, STATIC_FILE, Server};
use crate::log::{self, Remarks};
use crate::wan::{self, Devices};

pub use in_force::in_force;
pub use resolv_file::{parse, read};

/// The configuration, the servers and the WAN's devices in use, kept up to date.
pub struct Supply {
    dir: PathBuf,
    config: Config,
    servers: Option<Vec<Server>>,
    devices: Option<Devices>,
    /// Not said again at every look.
    said_of_servers: Remarks,
    said_of_config: Remarks,
    said_of_devices: Remarks,
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
            said_of_servers: Remarks::default(),
            said_of_config: Remarks::default(),
            said_of_devices: Remarks::default(),
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
        self.said_of_servers.warn_of_news(remarks);
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
        self.said_of_devices.warn_of_news(remarks);
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
        let mut remarks = Vec::new();
        let mut a_server_is_bad = false;
        for error in &reading.left_out {
            remarks.push(format!("{}: left out", log::chain(error)));
            a_server_is_bad |= !is_emptied(error);
        }
        if let Some(error) = reading.refused.first() {
            let error = log::chain(error);
            remarks.push(format!("{error}: the configuration stays as it was"));
        } else {
            // Servers that worked are better than none, until the list is right again.
            let new = &mut reading.config.static_servers;
            let none_is_good = new.is_empty() && a_server_is_bad;
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
        self.said_of_config.warn_of_news(remarks);
    }
}

/// Whether a line is wrong only in that nothing is left in it: no server was meant.
fn is_emptied(error: &config::Error) -> bool {
    matches!(error, config::Error::Option { value, .. } if value.trim().is_empty())
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

#[cfg(test)]
mod tests;
