//! Routes by where they lead, found in a sorted list: the one lookup of all that
//! is computed here. Thousands of routes are looked up among thousands, but only
//! when somebody floods the WAN with them; a hash map for that is 8 kB of flash.

use super::route::{Path, Route};

/// Paths, each with a number: what the number is, the maker knows.
pub(super) struct Index(Vec<(Path, u32)>);

impl Index {
    /// Of routes, each with its place among them.
    pub fn by_place<'a>(routes: impl Iterator<Item = &'a Route>) -> Self {
        let mut entries = Vec::new();
        for route in routes {
            entries.push((route.path(), entries.len() as u32));
        }
        Self::of(entries)
    }

    /// Of paths with their numbers, in any order.
    pub fn of(mut entries: Vec<(Path, u32)>) -> Self {
        entries.sort_unstable();
        Self(entries)
    }

    /// Whether it is there.
    pub fn has(&self, path: &Path) -> bool {
        !self.all(path).is_empty()
    }

    /// What there is of a path, the smallest number first.
    pub fn all(&self, path: &Path) -> &[(Path, u32)] {
        let start = self.0.partition_point(|(one, _)| one < path);
        let from = self.0.get(start..).unwrap_or_default();
        let length = from.iter().take_while(|(one, _)| one == path).count();
        &from[..length]
    }

    /// The smallest number of a path.
    pub fn first(&self, path: &Path) -> Option<u32> {
        self.all(path).first().map(|&(_, number)| number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::routing::prefix::Prefix;

    #[test]
    fn all_of_a_path_and_nothing_else() {
        let path = |len| {
            let everywhere = Prefix::around("::".parse().unwrap(), len);
            Route::ours(1, everywhere, 2).path()
        };
        let index = Index::of(vec![(path(3), 9), (path(1), 5), (path(3), 7)]);
        assert_eq!(index.all(&path(3)), [(path(3), 7), (path(3), 9)]);
        assert_eq!(index.all(&path(1)), [(path(1), 5)]);
        assert_eq!(
            (index.first(&path(3)), index.first(&path(2))),
            (Some(7), None)
        );
        assert!(!index.has(&path(0)) && !index.has(&path(2)) && !index.has(&path(4)));
    }
}
