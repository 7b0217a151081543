//! The UCI file format, as OpenWrt's libuci reads it (uci `file.c`).
//!
//! A file is a sequence of commands, one a line or separated by `;`:
//!
//! ```text
//! config TYPE [NAME]      # starts a section
//!     option NAME VALUE
//!     list NAME VALUE     # one more value of a list
//! package NAME            # allowed, without a meaning here
//! ```
//!
//! Words are separated by blanks. `'…'` is taken as it is, `"…"` knows
//! backslash escapes, both may span lines; a backslash outside of quotes takes
//! the next character as it is and, at the end of a line, continues it. An
//! unquoted `#` starts a comment, inside a word too.

use std::iter::Peekable;
use std::str::Chars;

use crate::input::Shown;

/// One section of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Section {
    /// The word after `config`.
    pub kind: String,
    /// The second word, none for an anonymous section.
    pub name: Option<String>,
    /// Where the section starts, counted from 1.
    pub line: usize,
    /// Whether its `config` line is missing or cannot be read, so that it has no
    /// kind. Only in what was [salvaged](salvage).
    pub broken: bool,
    /// Its options in the order of the file.
    pub options: Vec<Opt>,
}

/// One `option` or `list` line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opt {
    /// The option's name.
    pub name: String,
    /// The value, quotes removed.
    pub value: String,
    /// Whether it was written as `list`.
    pub is_list: bool,
    /// Where it starts, counted from 1.
    pub line: usize,
}

/// What is wrong with bytes that are no text.
pub const NOT_UTF8: &str = "a byte that is not UTF-8";

/// Why a file is not UCI, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what}")]
pub struct SyntaxError {
    /// The line, counted from 1.
    pub line: usize,
    /// What is wrong and what was expected.
    pub what: String,
}

/// Reads a whole file.
///
/// # Errors
/// The first command that is not UCI. Nothing of such a file is used.
pub fn parse(text: &str) -> Result<Vec<Section>, SyntaxError> {
    let mut sections: Vec<Section> = Vec::new();
    let mut reader = Reader::new(text, 1);
    while let Some((line, words)) = reader.command()? {
        take(&mut sections, line, &words)?;
    }
    Ok(sections)
}

/// What can be saved of a file that is not UCI: a mistake costs its line and
/// nothing else. A quote that goes on in the next line counts as one that was
/// forgotten.
///
pub fn salvage(bytes: &[u8]) -> (Vec<Section>, Vec<SyntaxError>) {
    let mut sections = vec![Section::broken(1)];
    let mut mistakes = Vec::new();
    let mut first = 1;
    let mut rest = bytes;
    while !rest.is_empty() {
        let count = command_lines(rest);
        let length = end_of_line(rest, count);
        let (lines, behind) = rest.split_at(length);
        if let Err(mistake) = salvage_command(&mut sections, first, lines) {
            if lines.trim_ascii_start().starts_with(b"config") {
                sections.push(Section::broken(first));
            }
            mistakes.push(mistake);
        }
        (first, rest) = (first + count, behind);
    }
    sections.retain(|section| !section.broken || !section.options.is_empty());
    (sections, mistakes)
}

/// How many lines the first command has: each but the last one ends with a
/// backslash.
fn command_lines(bytes: &[u8]) -> usize {
    let continued = |line: &&[u8]| line.ends_with(b"\\");
    let lines = bytes.split(|&byte| byte == b'\n');
    lines.take_while(continued).count() + 1
}

fn end_of_line(bytes: &[u8], count: usize) -> usize {
    let mut ends = bytes.iter().enumerate().filter(|(_, byte)| **byte == b'\n');
    ends.nth(count - 1).map_or(bytes.len(), |(at, _)| at + 1)
}

fn salvage_command(
    sections: &mut Vec<Section>,
    first: usize,
    lines: &[u8],
) -> Result<(), SyntaxError> {
    let text = str::from_utf8(lines).map_err(|_| SyntaxError {
        line: first,
        what: NOT_UTF8.into(),
    })?;
    let mut reader = Reader::new(text, first);
    while let Some((line, words)) = reader.command()? {
        take(sections, line, &words)?;
    }
    Ok(())
}

/// Adds a command to the sections so far.
fn take(sections: &mut Vec<Section>, line: usize, words: &[String]) -> Result<(), SyntaxError> {
    let error = |what: String| Err(SyntaxError { line, what });
    let Some((command, args)) = words.split_first() else {
        return Ok(());
    };
    match (command.as_str(), args) {
        ("package", [_]) => {}
        ("config", [kind]) => sections.push(Section::new(kind, None, line)),
        ("config", [kind, name]) if is_name(name) => {
            sections.push(Section::new(kind, Some(name), line));
        }
        ("config", [_, name]) => {
            return error(format!(
                "section name '{}': expected letters, digits and _ only",
                Shown(name)
            ));
        }
        ("config", _) => return error("expected `config TYPE [NAME]`".into()),
        ("option" | "list", [name, value]) => {
            let Some(section) = sections.last_mut() else {
                return error(format!(
                    "`{command} {}` stands before any `config` line",
                    Shown(name)
                ));
            };
            section.options.push(Opt {
                name: name.clone(),
                value: value.clone(),
                is_list: command == "list",
                line,
            });
        }
        ("option" | "list", _) => return error(format!("expected `{command} NAME VALUE`")),
        ("package", _) => return error("expected `package NAME`".into()),
        _ => {
            return error(format!(
                "'{}' is not a UCI command: expected config, option, list or package",
                Shown(command)
            ));
        }
    }
    Ok(())
}

/// What libuci takes as the name of a section; of what is longer, a quote is
/// missing.
fn is_name(name: &str) -> bool {
    name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

impl Section {
    fn new(kind: &str, name: Option<&String>, line: usize) -> Self {
        Self {
            kind: kind.to_owned(),
            name: name.cloned(),
            line,
            broken: false,
            options: Vec::new(),
        }
    }

    fn broken(line: usize) -> Self {
        Self {
            broken: true,
            ..Self::new("", None, line)
        }
    }
}

struct Reader<'a> {
    chars: Peekable<Chars<'a>>,
    line: usize,
    /// Where the first quoted piece opens that goes on in the next line. Nearly
    /// always its closing quote was forgotten.
    spanning: Option<usize>,
}

impl<'a> Reader<'a> {
    /// `line` is the number of the first one.
    fn new(text: &'a str, line: usize) -> Self {
        Self {
            chars: text.chars().peekable(),
            line,
            spanning: None,
        }
    }

    /// The words up to the end of the line or `;`, and the line they start on;
    /// none at the end of the file.
    fn command(&mut self) -> Result<Option<(usize, Vec<String>)>, SyntaxError> {
        let mut words = Vec::new();
        let mut line = self.line;
        loop {
            match self.chars.peek() {
                None if words.is_empty() => return Ok(None),
                None => return Ok(Some((line, words))),
                Some('\n' | ';') => {
                    self.next();
                    if !words.is_empty() {
                        return Ok(Some((line, words)));
                    }
                    line = self.line;
                }
                Some('#') => self.skip_comment(),
                Some(c) if c.is_ascii_whitespace() => {
                    self.next();
                }
                Some(_) => {
                    if let Some(word) = self.word()? {
                        words.push(word);
                    }
                }
            }
        }
    }

    /// One word, in pieces that may be quoted; none when it was nothing but a
    /// continued line.
    fn word(&mut self) -> Result<Option<String>, SyntaxError> {
        let mut word = String::new();
        let mut is_word = false;
        while let Some(&c) = self.chars.peek() {
            match c {
                '#' | ';' => break,
                c if c.is_ascii_whitespace() => break,
                '\'' | '"' => {
                    self.next();
                    self.quoted(c, &mut word)?;
                    is_word = true;
                }
                '\\' => {
                    self.next();
                    match self.next() {
                        Some('\n') | None => {}
                        Some(c) => {
                            word.push(c);
                            is_word = true;
                        }
                    }
                }
                c => {
                    self.next();
                    word.push(c);
                    is_word = true;
                }
            }
        }
        Ok(is_word.then_some(word))
    }

    /// The rest of a quoted piece, up to and with the closing quote.
    fn quoted(&mut self, quote: char, word: &mut String) -> Result<(), SyntaxError> {
        let start = self.line;
        while let Some(c) = self.next() {
            match c {
                c if c == quote => {
                    if self.line > start {
                        self.spanning.get_or_insert(start);
                    }
                    return Ok(());
                }
                '\\' if quote == '"' => match self.next() {
                    Some('\n') => {}
                    Some(c) => word.push(c),
                    None => break,
                },
                c => word.push(c),
            }
        }
        Err(match self.spanning {
            None => SyntaxError {
                line: start,
                what: format!("a quote ({quote}) is not closed"),
            },
            Some(line) => SyntaxError {
                line,
                what: format!(
                    "a quote is not closed: this one, or the one ({quote}) in line {start}"
                ),
            },
        })
    }

    fn skip_comment(&mut self) {
        while self.chars.peek().is_some_and(|&c| c != '\n') {
            self.next();
        }
    }

    fn next(&mut self) -> Option<char> {
        let c = self.chars.next();
        if c == Some('\n') {
            self.line += 1;
        }
        c
    }
}

#[cfg(test)]
mod tests;
