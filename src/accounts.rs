//! Users and groups of the system, as libc looks them up.

use std::io;

use nix::unistd::{Gid, Uid, User};

use crate::config::{Config, Group};

/// The user that the package makes for the resolver, and who it is when nothing
/// is configured. Nobody else's process may send it signals then.
pub const RESOLVER: &str = "gluon-wan";
/// Who stands in where the package's user is missing.
const STAND_IN: &str = "nobody";

/// A user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// Its name.
    pub name: String,
    /// Its number.
    pub uid: Uid,
    /// Its primary group.
    pub gid: Gid,
}

/// Who the resolver is: the user of the configuration or, where that is
/// [`RESOLVER`] and there is none, `nobody`. None where there is no such user.
///
/// # Errors
/// The database cannot be read.
pub fn resolver(config: &Config) -> io::Result<Option<Account>> {
    let wanted = config.resolver.user.as_str();
    match user(wanted)? {
        None if wanted == RESOLVER => user(STAND_IN),
        found => Ok(found),
    }
}

fn user(name: &str) -> io::Result<Option<Account>> {
    let found = User::from_name(name)?;
    Ok(found.map(|user| Account {
        name: user.name,
        uid: user.uid,
        gid: user.gid,
    }))
}

/// The number of a group, none where it does not exist. A number needs no entry
/// in the database.
///
/// # Errors
/// The database cannot be read.
pub fn gid(group: &Group) -> io::Result<Option<Gid>> {
    match group {
        Group::Id(gid) => Ok(Some(Gid::from_raw(*gid))),
        Group::Name(name) => {
            let found = nix::unistd::Group::from_name(name)?;
            Ok(found.map(|group| group.gid))
        }
    }
}

/// The redirected group that is `own`, if one is. A resolver with this group would
/// be sent its own queries, again and again.
///
/// # Errors
/// The database cannot be read.
pub fn redirected(config: &Config, own: Gid) -> io::Result<Option<&Group>> {
    for group in &config.redirect.groups {
        if gid(group)? == Some(own) {
            return Ok(Some(group));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_user(user: &str) -> Config {
        let mut config = Config::default();
        config.resolver.user = user.into();
        config
    }

    #[test]
    fn nobody_stands_in_for_the_user_of_the_package_only() {
        let account = resolver(&with_user("root")).unwrap().unwrap();
        assert_eq!((account.uid.as_raw(), account.gid.as_raw()), (0, 0));
        assert_eq!(
            resolver(&with_user("gluon-wan-no-such-user")).unwrap(),
            None
        );
        let usual = resolver(&Config::default()).unwrap().unwrap();
        assert!([RESOLVER, STAND_IN].contains(&usual.name.as_str()));
    }

    #[test]
    fn a_redirected_group_is_told_by_its_number() {
        let mut config = Config::default();
        let named = Group::Name("root".into());
        config.redirect.groups = vec![Group::Name("no-such-group".into()), named.clone()];
        assert_eq!(redirected(&config, Gid::from_raw(0)).unwrap(), Some(&named));
        assert_eq!(redirected(&config, Gid::from_raw(7)).unwrap(), None);
        config.redirect.groups.push(Group::Id(7));
        let found = redirected(&config, Gid::from_raw(7)).unwrap();
        assert_eq!(found, Some(&Group::Id(7)));
    }
}
