//! From the configured groups to those that exist.

use super::error::Error;
use super::table::Group;
use crate::accounts;
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
    match accounts::gid(group) {
        Ok(gid) => Ok(gid.map(|gid| gid.as_raw())),
        Err(source) => Err(Error::Lookup {
            name: group.to_string(),
            source,
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
