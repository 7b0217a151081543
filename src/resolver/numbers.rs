//! The numbers used lately.

use std::collections::VecDeque;

/// The ids of the last `RECENT` queries.
pub struct RecentIds {
    order: VecDeque<u16>,
    /// One bit for each id.
    is_recent: Box<[u64; 1024]>,
}

/// So many ids are remembered.
const RECENT: usize = 256;

impl RecentIds {
    /// None used yet.
    #[must_use]
    pub fn new() -> Self {
        Self {
            order: VecDeque::with_capacity(RECENT),
            is_recent: Box::new([0; 1024]),
        }
    }

    /// Whether it is among them.
    #[must_use]
    pub fn contains(&self, id: u16) -> bool {
        let (word, bit) = place(id);
        self.is_recent[word] & bit != 0
    }

    /// Remembers one that is not among them, and forgets the oldest.
    pub fn push(&mut self, id: u16) {
        if self.order.len() == RECENT
            && let Some(oldest) = self.order.pop_front()
        {
            let (word, bit) = place(oldest);
            self.is_recent[word] &= !bit;
        }
        self.order.push_back(id);
        let (word, bit) = place(id);
        self.is_recent[word] |= bit;
    }
}

impl Default for RecentIds {
    fn default() -> Self {
        Self::new()
    }
}

fn place(id: u16) -> (usize, u64) {
    (usize::from(id / 64), 1 << (id % 64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_recent_until_so_many_others_came() {
        let mut recent = RecentIds::new();
        assert!(!recent.contains(0));
        for id in 0..=u16::MAX {
            recent.push(id);
            assert!(recent.contains(id));
            let oldest = id.saturating_sub(RECENT as u16 - 1);
            assert!(recent.contains(oldest));
            assert!(oldest == 0 || !recent.contains(oldest - 1));
        }
    }
}
