//! All options of `/etc/config/gluon-wan` in one table: where each stands, what it
//! is for, how it is taken and how it is shown.

use super::values::{self, Family};
use super::{Config, MAX_VALUES};
use crate::input::Shown;

/// The types of sections, in the order of the file.
pub const SECTIONS: [&str; 3] = ["redirect", "routing", "resolver"];

/// One option.
pub struct Setting {
    /// The type of the section it stands in.
    pub section: &'static str,
    /// Its name, which no other section has.
    pub name: &'static str,
    /// What it is for, in a line.
    pub help: &'static str,
    /// Whether the resolver has it from its start to its end: what is bound, opened
    /// or given up before the first query.
    pub fixed: bool,
    /// One value or several.
    pub(super) kind: Kind,
}

/// How values get into the configuration and out of it.
pub(super) enum Kind {
    /// `option NAME VALUE`.
    One {
        set: fn(&mut Config, &str) -> Result<(), String>,
        get: fn(&Config) -> String,
    },
    /// `list NAME VALUE`, at least one line.
    Many {
        /// The default values go when the first other one comes.
        clear: fn(&mut Config),
        add: fn(&mut Config, &str) -> Result<(), String>,
        get: fn(&Config) -> Vec<String>,
    },
}

impl Setting {
    /// Its values, as they are written.
    #[must_use]
    pub fn values(&self, config: &Config) -> Vec<String> {
        match self.kind {
            Kind::One { get, .. } => vec![get(config)],
            Kind::Many { get, .. } => get(config),
        }
    }

    /// Whether it has several values.
    #[must_use]
    pub fn is_list(&self) -> bool {
        matches!(self.kind, Kind::Many { .. })
    }
}

/// The options of a section, by name.
pub fn of_section(section: &str) -> impl Iterator<Item = &'static Setting> {
    SETTINGS
        .iter()
        .filter(move |setting| setting.section == section)
}

/// Puts a further value into a list.
pub(super) fn push<T: PartialEq>(list: &mut Vec<T>, value: T, text: &str) -> Result<(), String> {
    if list.contains(&value) {
        return Err(format!("'{}' is there twice, expected once", Shown(text)));
    }
    if list.len() == MAX_VALUES {
        return Err(format!("one more, expected at most {MAX_VALUES} values"));
    }
    list.push(value);
    Ok(())
}

fn strings<T: ToString>(list: &[T]) -> Vec<String> {
    list.iter().map(ToString::to_string).collect()
}

/// An option whose field has the type that [`values`] makes.
macro_rules! one {
    ($($field:ident).+, $parse:path, $show:expr) => {
        Kind::One {
            set: |config, text| {
                config.$($field).+ = $parse(text)?;
                Ok(())
            },
            get: |config| $show(&config.$($field).+),
        }
    };
}

/// A list whose field is a vector.
macro_rules! many {
    ($($field:ident).+, $parse:path) => {
        Kind::Many {
            clear: |config| config.$($field).+.clear(),
            add: |config, text| push(&mut config.$($field).+, $parse(text)?, text),
            get: |config| strings(&config.$($field).+),
        }
    };
}

/// The table, in the order in which options are read and shown.
pub const SETTINGS: [Setting; 12] = [
    Setting {
        section: "redirect",
        name: "group",
        help: "Whose DNS goes to the resolver: groups by name or number",
        fixed: false,
        kind: many!(redirect.groups, values::group),
    },
    Setting {
        section: "redirect",
        name: "include",
        help: "Where fw4 finds the table; '' for nowhere",
        fixed: false,
        kind: one!(redirect.include, values::include, |path: &Option<
            std::path::PathBuf,
        >| {
            path.as_ref()
                .map_or_else(String::new, |path| path.display().to_string())
        }),
    },
    Setting {
        section: "routing",
        name: "device",
        help: "The WAN's devices, in place of those that netifd names",
        fixed: false,
        kind: many!(routing.devices, values::device),
    },
    Setting {
        section: "routing",
        name: "family",
        help: "What is kept apart from the mesh: ipv6, ipv4",
        fixed: false,
        kind: Kind::Many {
            clear: |config| (config.routing.ipv4, config.routing.ipv6) = (false, false),
            add: |config, text| {
                let family = match values::family(text)? {
                    Family::Ipv4 => &mut config.routing.ipv4,
                    Family::Ipv6 => &mut config.routing.ipv6,
                };
                match std::mem::replace(family, true) {
                    true => Err(format!("'{text}' is there twice, expected once")),
                    false => Ok(()),
                }
            },
            get: |config| {
                let routing = &config.routing;
                let families = [("ipv6", routing.ipv6), ("ipv4", routing.ipv4)];
                let chosen = families.into_iter().filter(|(_, chosen)| *chosen);
                chosen.map(|(name, _)| name.to_owned()).collect()
            },
        },
    },
    Setting {
        section: "routing",
        name: "mark",
        help: "What traffic for the WAN carries: VALUE/MASK",
        fixed: true,
        kind: one!(routing.mark, values::mark, ToString::to_string),
    },
    Setting {
        section: "routing",
        name: "table",
        help: "The WAN's routing table",
        fixed: false,
        kind: one!(routing.table, values::table, ToString::to_string),
    },
    Setting {
        section: "routing",
        name: "priority",
        help: "Of the rule that leads to the table; the next one is used too",
        fixed: false,
        kind: one!(routing.priority, values::priority, ToString::to_string),
    },
    Setting {
        section: "resolver",
        name: "listen",
        help: "Where the resolver serves: 127.0.0.1, ::1 or both",
        fixed: true,
        kind: many!(resolver.listen, values::listen),
    },
    Setting {
        section: "resolver",
        name: "port",
        help: "Its port, and where the redirect leads to",
        fixed: true,
        kind: one!(resolver.port, values::port, ToString::to_string),
    },
    Setting {
        section: "resolver",
        name: "resolv_file",
        help: "Where the WAN's servers are written to, and the names of its devices beside it",
        fixed: false,
        kind: one!(
            resolver.resolv_file,
            values::absolute,
            |path: &std::path::Path| { path.display().to_string() }
        ),
    },
    Setting {
        section: "resolver",
        name: "user",
        help: "Who the resolver is once its port is bound",
        fixed: true,
        kind: one!(resolver.user, values::user, ToString::to_string),
    },
    Setting {
        section: "resolver",
        name: "max_inflight",
        help: "How many queries may wait for an answer: 1 to 4096",
        fixed: true,
        kind: one!(
            resolver.max_inflight,
            values::max_inflight,
            ToString::to_string
        ),
    },
];
