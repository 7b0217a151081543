//! The one line that a process may write, put together without an allocator.

/// Where a line is cut off, so that it reaches a pipe or a log in one piece.
const LONGEST: usize = 300;

/// A line of text that ends with a line feed, however much was put into it.
pub struct Line {
    text: [u8; LONGEST],
    length: usize,
}

impl Line {
    /// An empty line.
    pub const fn new() -> Self {
        Self {
            text: [b'\n'; LONGEST],
            length: 0,
        }
    }

    /// Adds a text, as far as it fits. Bytes that are not printable ASCII, which
    /// might be a terminal's escapes, become question marks.
    pub fn text(&mut self, text: &[u8]) -> &mut Self {
        let free = self.text.iter_mut().take(LONGEST - 1).skip(self.length);
        for (place, &byte) in free.zip(text) {
            *place = match byte {
                b' '..=b'~' => byte,
                _ => b'?',
            };
            self.length += 1;
        }
        self
    }

    /// Adds a decimal number.
    pub fn number(&mut self, number: u32) -> &mut Self {
        if number >= 10 {
            self.number(number / 10);
        }
        self.text(&[b'0' + (number % 10) as u8])
    }

    /// The line, its line feed included.
    pub fn bytes(&self) -> &[u8] {
        self.text.get(..=self.length).unwrap_or(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::{LONGEST, Line};

    fn line(write: impl FnOnce(&mut Line) -> &mut Line) -> Vec<u8> {
        write(&mut Line::new()).bytes().to_vec()
    }

    #[test]
    fn text_and_numbers() {
        assert_eq!(line(|line| line), b"\n");
        assert_eq!(
            line(|line| line.text(b"a ").number(0).text(b" ").number(10)),
            b"a 0 10\n"
        );
        assert_eq!(
            line(|line| line.number(u32::MAX).number(1_000_000_000)),
            b"42949672951000000000\n"
        );
    }

    #[test]
    fn escapes_do_not_reach_a_terminal() {
        assert_eq!(line(|line| line.text(b"\x1b[2J\n\xff")), b"?[2J??\n");
    }

    #[test]
    fn what_is_too_long_is_cut_and_still_a_line() {
        let line = line(|line| line.text(&[b'x'; 2 * LONGEST]).number(1));
        assert_eq!(line.len(), LONGEST);
        assert!(line.ends_with(b"x\n"));
    }
}
