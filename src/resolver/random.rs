//! Random numbers that nobody can guess, taken from the kernel in small lots.

/// One system call gives so many bytes.
const LOT: usize = 64;

/// A source of random numbers.
pub struct Random {
    lot: [u8; LOT],
    used: usize,
}

impl Random {
    /// Nothing taken yet.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            lot: [0; LOT],
            used: LOT,
        }
    }

    /// Sixteen bits.
    pub fn u16(&mut self) -> u16 {
        if self.used + 2 > LOT {
            // getrandom(2) fails only on kernels before 3.17, which cannot run
            // the rest either; a resolver with guessable ids must not go on.
            if getrandom::fill(&mut self.lot).is_err() {
                std::process::abort();
            }
            self.used = 0;
        }
        let number = u16::from_ne_bytes([self.lot[self.used], self.lot[self.used + 1]]);
        self.used += 2;
        number
    }
}

impl Default for Random {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_differ() {
        let mut random = Random::new();
        let numbers: std::collections::HashSet<u16> = (0..1000).map(|_| random.u16()).collect();
        assert!(numbers.len() > 900, "{}", numbers.len());
    }
}
