//! Routes by where they lead, found in a sorted list: the one lookup of all that
//! is computed here. Thousands of routes are looked up among thousands, but only
//! when somebody floods the WAN with them; a hash map for that is 8 kB of flash.

use super::route::{Path, Route};

/// Paths, each with a number: what the number is, the maker knows.
pub(super) struct Index(Vec<(Path, u32)>);

impl Index {
    /// Of routes, each with its place in `routes`.
    pub fn by_place<'a>(routes: impl Iterator<Item = &'a Route>) -> Self {
        Self::of(
            (0..)
                .zip(routes)
                .map(|(place, route)| (route.path(), place)),
        )
    }

    /// Of paths with their numbers, in any order.
    pub fn of(entries: impl Iterator<Item = (Path, u32)>) -> Self {
        let mut entries: Vec<(Path, u32)> = entries.collect();
        sort(&mut entries);
        Self(entries)
    }

    /// Whether it is there.
    pub fn has(&self, path: &Path) -> bool {
        self.all(path).next().is_some()
    }

    /// The numbers of a path, the smallest first.
    pub fn all<'a>(&'a self, path: &'a Path) -> impl Iterator<Item = u32> + use<'a> {
        let start = self.0.partition_point(|(one, _)| one < path);
        let from = self.0.get(start..).unwrap_or_default();
        from.iter()
            .take_while(move |(one, _)| one == path)
            .map(|&(_, number)| number)
    }
}

fn sort(entries: &mut [(Path, u32)]) {
    entries.sort_unstable();
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::routing::route::Prefix;

    #[test]
    fn all_of_a_path_and_nothing_else() {
        let path = |len| {
            let everywhere = Prefix::around("::".parse().unwrap(), len);
            Route::ours(1, everywhere, 2).path()
        };
        let index = Index::of([(path(3), 9), (path(1), 5), (path(3), 7)].into_iter());
        assert_eq!(index.all(&path(3)).collect::<Vec<_>>(), [7, 9]);
        assert_eq!(index.all(&path(1)).collect::<Vec<_>>(), [5]);
        assert!(!index.has(&path(0)) && !index.has(&path(2)) && !index.has(&path(4)));
    }
}
