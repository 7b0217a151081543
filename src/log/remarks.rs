//! What would be said again and again, and is said once; and what would be too much.

use super::{Level, line};

/// How many different remarks are remembered: of a source of ever new ones, some are
/// said twice rather than kept.
const REMEMBERED: usize = 20;

/// Remarks that were made, so that they are not made again.
#[derive(Debug, Default)]
pub struct Remarks(Vec<String>);

impl Remarks {
    /// Warns, unless it was said before.
    pub fn warn(&mut self, remark: &str) {
        if self.0.iter().any(|said| said == remark) {
            return;
        }
        if self.0.len() == REMEMBERED {
            self.0.clear();
        }
        self.0.push(remark.to_owned());
        line(Level::Warning, format_args!("{remark}"));
    }

    /// All that is true now: warns of what was not the last time, and forgets what is no
    /// longer.
    pub fn warn_of_news(&mut self, remarks: Vec<String>) {
        for remark in remarks.iter().filter(|remark| !self.0.contains(remark)) {
            line(Level::Warning, format_args!("{remark}"));
        }
        self.0 = remarks;
    }

    /// They have been dealt with: when they are true again, they are news.
    pub fn forget(&mut self) {
        self.0.clear();
    }
}

/// The first few of many lines, and how many more there are.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Told {
    /// The first ones.
    pub lines: Vec<String>,
    /// How many are not among `lines`.
    pub more: usize,
}

impl Told {
    /// Adds a line, if it is among the first `most`.
    pub fn tell(&mut self, most: usize, line: impl FnOnce() -> String) {
        if self.lines.len() < most {
            self.lines.push(line());
        } else {
            self.more += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_remark_is_remembered_until_it_is_forgotten() {
        let mut remarks = Remarks::default();
        remarks.warn("a");
        remarks.warn("a");
        assert_eq!(remarks.0, ["a"]);
        for number in 0..REMEMBERED {
            remarks.warn(&number.to_string());
        }
        assert!(remarks.0.len() <= REMEMBERED);
        remarks.warn_of_news(vec!["b".into()]);
        assert_eq!(remarks.0, ["b"]);
        remarks.forget();
        assert!(remarks.0.is_empty());
    }

    #[test]
    fn the_first_few_are_told_and_the_others_counted() {
        let mut told = Told::default();
        for word in ["a", "b", "c"] {
            told.tell(2, || word.into());
        }
        assert_eq!((told.lines, told.more), (vec!["a".into(), "b".into()], 1));
    }
}
