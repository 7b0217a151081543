//! Maps by numbers, and the numbers used lately.

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasherDefault, Hasher};

/// A map by numbers that nobody outside can choose: ids are drawn at random,
/// keys are counted. The standard hasher, made for keys that an attacker picks,
/// would be a sixth of a query's work.
pub type NumberMap<K, V> = HashMap<K, V, BuildHasherDefault<NumberHasher>>;

/// Spreads a number over 64 bits (Fibonacci hashing).
#[derive(Default)]
pub struct NumberHasher(u64);

impl Hasher for NumberHasher {
    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.write_u32((self.0 as u32) << 8 | u32::from(byte));
        }
    }

    fn write_u16(&mut self, number: u16) {
        self.write_u32(number.into());
    }

    fn write_u32(&mut self, number: u32) {
        self.0 = u64::from(number).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

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

    #[test]
    fn neighbours_fall_into_different_places() {
        let hash = |number: u16| {
            let mut hasher = NumberHasher::default();
            hasher.write_u16(number);
            hasher.finish()
        };
        let low: std::collections::HashSet<u64> = (0..256).map(|n| hash(n) % 256).collect();
        assert_eq!(low.len(), 256);
        let high: std::collections::HashSet<u64> = (0..256).map(|n| hash(n) >> 57).collect();
        assert!(high.len() > 100, "{}", high.len());
    }
}
