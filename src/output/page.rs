//! A page of text: titles, facts in aligned columns, findings.

use std::fmt::{self, Display};
use std::io::{self, IsTerminal};

use super::put;

/// No name makes the column of names wider than this.
const WIDEST: usize = 40;
/// Between two columns.
const GAP: &str = "  ";

/// Colours, and what else a terminal can do to a word (SGR parameters of ECMA-48).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Colour {
    /// Bold.
    Bold = 1,
    /// What is wrong.
    Red = 31,
    /// What is right.
    Green = 32,
    /// What is not known.
    Yellow = 33,
}

/// A page. The names of facts are aligned over the whole of it, and so are the
/// columns of its table.
#[derive(Debug)]
pub struct Page {
    /// The text, in which the blanks behind cells are missing.
    text: String,
    cells: Vec<Cell>,
    coloured: bool,
}

/// Something with another column behind it.
#[derive(Debug)]
struct Cell {
    /// Where it ends in the text.
    end: usize,
    width: usize,
    /// 0 for the names of facts, from 1 on those of the table.
    column: usize,
}

impl Page {
    /// An empty page, with colours or without.
    #[must_use]
    pub fn new(coloured: bool) -> Self {
        Self {
            text: String::new(),
            cells: Vec::new(),
            coloured,
        }
    }

    /// `what: word`, the word in a colour.
    pub fn verdict(&mut self, what: &dyn Display, colour: Colour, word: &dyn Display) {
        self.plain(what);
        self.text.push_str(": ");
        self.painted(colour, word);
        self.text.push('\n');
    }

    /// Begins a section.
    pub fn title(&mut self, title: &dyn Display) {
        self.painted(Colour::Bold, title);
        self.text.push('\n');
    }

    /// A name and what is known of it.
    pub fn fact(&mut self, name: &dyn Display, fact: &dyn Display) {
        self.text.push_str(GAP);
        self.cell(0, name);
        self.plain(fact);
        self.text.push('\n');
    }

    /// A row of the table, the first one with what the columns are.
    pub fn row(&mut self, cells: &[&dyn Display]) {
        self.text.push_str(GAP);
        for (at, cell) in cells.iter().enumerate() {
            match at + 1 {
                last if last == cells.len() => self.plain(cell),
                column => self.cell(column, cell),
            }
        }
        self.text.push('\n');
    }

    /// Something that was found, behind a mark.
    pub fn bullet(&mut self, colour: Colour, mark: char, text: &dyn Display) {
        self.text.push_str(GAP);
        self.painted(colour, &mark);
        self.text.push(' ');
        self.plain(text);
        self.text.push('\n');
    }

    /// The whole text: each cell as wide as the widest of its column.
    #[must_use]
    pub fn text(self) -> String {
        let mut text = String::new();
        let mut from = 0;
        for cell in &self.cells {
            let of_column = |other: &&Cell| {
                other.column == cell.column && (cell.column > 0 || other.width <= WIDEST)
            };
            let of_column = self.cells.iter().filter(of_column);
            let widest = of_column.map(|other| other.width).max().unwrap_or(0);
            text.push_str(self.text.get(from..cell.end).unwrap_or_default());
            for _ in cell.width..widest {
                text.push(' ');
            }
            from = cell.end;
        }
        text.push_str(self.text.get(from..).unwrap_or_default());
        text
    }

    fn cell(&mut self, column: usize, text: &dyn Display) {
        let start = self.text.len();
        self.plain(text);
        let end = self.text.len();
        let width = end - start;
        self.cells.push(Cell { end, width, column });
        self.text.push_str(GAP);
    }

    /// Nothing but printable ASCII reaches the terminal; the rest is shown as Rust
    /// writes it.
    fn plain(&mut self, text: &dyn Display) {
        put(&mut self.text, text, escape);
    }

    fn painted(&mut self, colour: Colour, text: &dyn Display) {
        if self.coloured {
            self.text.push_str(&format!("\x1b[{}m", colour as u8));
        }
        self.plain(text);
        if self.coloured {
            self.text.push_str("\x1b[0m");
        }
    }
}

fn escape(to: &mut String, c: char) -> fmt::Result {
    match c {
        ' '..='~' => to.push(c),
        c => to.extend(c.escape_default()),
    }
    Ok(())
}

/// Whether standard output wants colours: a terminal only, and not against the
/// user's will (no-color.org).
#[must_use]
pub fn wants_colour() -> bool {
    let set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
    io::stdout().is_terminal() && !set("NO_COLOR") && !dumb
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn facts_are_aligned_over_the_page_and_tables_by_themselves() {
        let page = |coloured| {
            let mut page = Page::new(coloured);
            page.verdict(&"x", Colour::Green, &"well");
            page.title(&"part");
            page.fact(&"a", &"1");
            page.fact(&"long-name", &"2");
            page.fact(&"n".repeat(41), &"3");
            page.row(&[&"server", &"state", &""]);
            page.row(&[&"::1", &"up", &"x"]);
            page.bullet(Colour::Red, '!', &"bad");
            page.text()
        };
        let expected = format!(
            "x: well\npart\n  a          1\n  long-name  2\n  {}  3\n  server  state  \n  ::1     up     x\n  ! bad\n",
            "n".repeat(41)
        );
        assert_eq!(page(false), expected);
        let coloured = page(true);
        assert!(coloured.starts_with("x: \x1b[32mwell\x1b[0m\n\x1b[1mpart\x1b[0m\n"));
        assert!(coloured.ends_with("  \x1b[31m!\x1b[0m bad\n"));
    }

    #[test]
    fn nothing_of_others_reaches_the_terminal_as_it_is() {
        let evil = "\x1b]0;x\x07\r\n\u{9b}31m\u{202e}\u{fc}";
        let mut page = Page::new(false);
        page.verdict(&evil, Colour::Red, &evil);
        page.title(&evil);
        page.fact(&evil, &evil);
        page.row(&[&evil, &evil]);
        page.bullet(Colour::Red, '!', &evil);
        let text = page.text();
        assert_eq!(text.lines().count(), 5);
        assert!(
            text.chars().all(|c| matches!(c, '\n' | ' '..='~')),
            "{text}"
        );
        assert!(text.contains(r"\u{1b}]0;x\u{7}\r\n\u{9b}31m\u{202e}\u{fc}"));
    }
}
