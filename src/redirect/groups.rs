//! From the configured groups to those that exist.

use std::collections::BTreeSet;
use std::io;
use std::sync::{Mutex, PoisonError};

use nix::unistd;

use super::error::Error;
use super::table::Group;
use crate::config;
use crate::log;

/// Looks every group up as libc does; a number needs no entry in the database.
///
/// # Errors
/// None exists, or the database cannot be read.
pub fn find(configured: &[config::Group]) -> Result<Vec<Group>, Error> {
    let mut found = Vec::new();
    for group in configured {
        let gid = gid(group)?;
        let name = group.to_string();
        tell_once(group, gid.is_none());
        found.extend(gid.map(|gid| Group { gid, name }));
    }
    if found.is_empty() {
        let groups: Vec<String> = configured.iter().map(ToString::to_string).collect();
        let groups = groups.join(", ");
        return Err(Error::NoGroup { groups });
    }
    Ok(found)
}

/// The number of a group, none where it does not exist.
///
/// # Errors
/// The database cannot be read.
pub fn gid(group: &config::Group) -> Result<Option<u32>, Error> {
    let name = match group {
        config::Group::Id(gid) => return Ok(Some(*gid)),
        config::Group::Name(name) => name,
    };
    match unistd::Group::from_name(name) {
        Ok(group) => Ok(group.map(|group| group.gid.as_raw())),
        Err(error) => Err(Error::Lookup {
            name: name.into(),
            source: io::Error::from(error),
        }),
    }
}

/// Says that a group is missing when it was not already; `sync --watch` looks
/// them up at every event.
fn tell_once(group: &config::Group, missing: bool) {
    static SAID: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());
    let mut said = SAID.lock().unwrap_or_else(PoisonError::into_inner);
    let name = group.to_string();
    if !missing {
        said.remove(&name);
    } else if said.insert(name.clone()) {
        // Gluon has, according to its age, one or the other.
        let level = match config::Redirect::default().groups.contains(group) {
            true => log::Level::Info,
            false => log::Level::Warning,
        };
        let told = format_args!("group '{name}' does not exist, its DNS is not redirected");
        log::line(level, told);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use config::Group::{Id, Name};

    const NOBODYS: &str = "gluon-wan-no-such-group";

    #[test]
    fn numbers_need_no_entry_and_missing_names_are_left_out() {
        let found = find(&[Name(NOBODYS.into()), Id(4_000_000_000)]).unwrap();
        assert_eq!(
            found,
            [Group {
                gid: 4_000_000_000,
                name: "4000000000".into()
            }]
        );
    }

    #[test]
    fn none_left_is_an_error_that_names_them_all() {
        let error = find(&[Name(NOBODYS.into()), Name("nor-this".into())]).unwrap_err();
        let message = error.to_string();
        assert!(
            message.contains("gluon-wan-no-such-group, nor-this"),
            "{message}"
        );
    }
}
