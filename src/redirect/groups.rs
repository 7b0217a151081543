//! From the configured groups to those that exist.

use std::io;

use nix::unistd;

use super::error::Error;
use super::table::Group;
use crate::config;

/// The groups of a configuration.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Groups {
    /// Those that exist.
    pub found: Vec<Group>,
    /// Those that do not.
    pub missing: Vec<config::Group>,
}

/// Looks every group up as libc does; a number needs no entry in the database.
///
/// # Errors
/// The database cannot be read.
pub fn find(configured: &[config::Group]) -> Result<Groups, Error> {
    let mut groups = Groups::default();
    for group in configured {
        match gid(group)? {
            Some(gid) => groups.found.push(Group {
                gid,
                name: group.to_string(),
            }),
            None => groups.missing.push(group.clone()),
        }
    }
    Ok(groups)
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

#[cfg(test)]
mod tests {
    use super::*;
    use config::Group::{Id, Name};

    #[test]
    fn numbers_need_no_entry_and_missing_names_are_told() {
        let nobodys = Name("gluon-wan-no-such-group".into());
        let groups = find(&[nobodys.clone(), Id(4_000_000_000)]).unwrap();
        let found = Group {
            gid: 4_000_000_000,
            name: "4000000000".into(),
        };
        assert_eq!(groups.found, [found]);
        assert_eq!(groups.missing, [nobodys]);
    }
}
