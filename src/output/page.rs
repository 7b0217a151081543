//! A page of text: titles, facts in aligned columns, findings.

use std::fmt::{self, Display, Write};
use std::io::{self, IsTerminal};

/// No name makes the column of names wider than this.
const WIDEST: usize = 40;
/// Between two columns.
const GAP: usize = 2;

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

/// A page. Facts are aligned over the whole of it, tables each by itself.
#[derive(Debug, Default)]
pub struct Page {
    lines: Vec<Line>,
}

#[derive(Debug)]
enum Line {
    Title(String),
    /// A word in a colour behind other words.
    Verdict(String, Colour, String),
    Fact(String, String),
    Table(Vec<Vec<String>>),
    Bullet(Colour, char, String),
}

impl Page {
    /// `what: word`, the word in a colour.
    pub fn verdict(&mut self, what: impl Display, colour: Colour, word: impl Display) {
        let line = Line::Verdict(what.to_string(), colour, word.to_string());
        self.lines.push(line);
    }

    /// Begins a section.
    pub fn title(&mut self, title: impl Display) {
        self.lines.push(Line::Title(title.to_string()));
    }

    /// A name and what is known of it.
    pub fn fact(&mut self, name: impl Display, fact: impl Display) {
        self.lines
            .push(Line::Fact(name.to_string(), fact.to_string()));
    }

    /// Rows of cells, the first one with what the columns are.
    pub fn table(&mut self, rows: Vec<Vec<String>>) {
        self.lines.push(Line::Table(rows));
    }

    /// Something that was found, behind a mark.
    pub fn bullet(&mut self, colour: Colour, mark: char, text: impl Display) {
        self.lines
            .push(Line::Bullet(colour, mark, text.to_string()));
    }

    /// The text, with colours or without.
    #[must_use]
    pub fn text(&self, colour: bool) -> String {
        let names = self.lines.iter().filter_map(|line| match line {
            Line::Fact(name, _) => Some(Plain(name).to_string().len()),
            _ => None,
        });
        let width = names.filter(|&width| width <= WIDEST).max().unwrap_or(0);
        let mut text = String::new();
        for line in &self.lines {
            // Writing to a String does not fail.
            let _ = line.write(&mut text, width, colour);
        }
        text
    }
}

impl Line {
    fn write(&self, text: &mut String, width: usize, colour: bool) -> fmt::Result {
        match self {
            Self::Title(title) => {
                let title = Plain(title);
                writeln!(text, "{}", painted(colour, Colour::Bold, title))
            }
            Self::Verdict(what, of, word) => {
                let word = painted(colour, *of, Plain(word));
                writeln!(text, "{}: {word}", Plain(what))
            }
            Self::Fact(name, fact) => {
                let name = Plain(name).to_string();
                writeln!(text, "  {name:width$}  {}", Plain(fact))
            }
            Self::Table(rows) => table(text, rows),
            Self::Bullet(of, mark, what) => {
                let mark = painted(colour, *of, mark);
                writeln!(text, "  {mark} {}", Plain(what))
            }
        }
    }
}

/// Columns as wide as their widest cell; nothing behind the last one.
fn table(text: &mut String, rows: &[Vec<String>]) -> fmt::Result {
    let cells: Vec<Vec<String>> = rows
        .iter()
        .map(|row| row.iter().map(|cell| Plain(cell).to_string()).collect())
        .collect();
    let columns = cells.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        let of = |row: &Vec<String>| row.get(column).map_or(0, String::len);
        cells.iter().map(of).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    for row in &cells {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            write!(line, "{cell:width$}", width = width + GAP)?;
        }
        writeln!(text, "  {}", line.trim_end())?;
    }
    Ok(())
}

fn painted(on: bool, colour: Colour, text: impl Display) -> String {
    match on {
        true => format!("\x1b[{}m{text}\x1b[0m", colour as u8),
        false => text.to_string(),
    }
}

/// Whether standard output wants colours: a terminal only, and not against the
/// user's will (no-color.org).
#[must_use]
pub fn wants_colour() -> bool {
    let set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
    io::stdout().is_terminal() && !set("NO_COLOR") && !dumb
}

/// Text of which nothing but printable ASCII reaches the terminal; the rest is
/// shown as Rust writes it.
pub struct Plain<'a>(pub &'a str);

impl Display for Plain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for c in self.0.chars() {
            match c {
                ' '..='~' => f.write_char(c)?,
                c => write!(f, "{}", c.escape_default())?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn facts_are_aligned_over_the_page_and_tables_by_themselves() {
        let mut page = Page::default();
        page.verdict("x", Colour::Green, "well");
        page.title("part");
        page.fact("a", "1");
        page.fact("long-name", "2");
        page.fact("n".repeat(41), "3");
        let row = |cells: [&str; 3]| cells.map(str::to_owned).to_vec();
        page.table(vec![row(["server", "state", ""]), row(["::1", "up", "x"])]);
        page.bullet(Colour::Red, '!', "bad");
        let expected = format!(
            "x: well\npart\n  a          1\n  long-name  2\n  {}  3\n  server  state\n  ::1     up     x\n  ! bad\n",
            "n".repeat(41)
        );
        assert_eq!(page.text(false), expected);
        let coloured = page.text(true);
        assert!(coloured.starts_with("x: \x1b[32mwell\x1b[0m\n\x1b[1mpart\x1b[0m\n"));
        assert!(coloured.ends_with("  \x1b[31m!\x1b[0m bad\n"));
    }

    #[test]
    fn nothing_of_others_reaches_the_terminal_as_it_is() {
        let evil = "\x1b]0;x\x07\r\n\u{9b}31m\u{202e}\u{fc}";
        let mut page = Page::default();
        page.verdict(evil, Colour::Red, evil);
        page.title(evil);
        page.fact(evil, evil);
        page.table(vec![vec![evil.into(), evil.into()]]);
        page.bullet(Colour::Red, '!', evil);
        let text = page.text(false);
        assert_eq!(text.lines().count(), 5);
        assert!(
            text.chars().all(|c| matches!(c, '\n' | ' '..='~')),
            "{text}"
        );
        assert!(text.contains(r"\u{1b}]0;x\u{7}\r\n\u{9b}31m\u{202e}\u{fc}"));
    }
}
