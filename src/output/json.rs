//! Writes and reads JSON (RFC 8259): the little that `status` and `trace` need,
//! without the flash that a library costs.

mod read;

use std::borrow::Cow;
use std::fmt::{self, Write};

/// One value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// `null`
    Null,
    /// `true`, `false`
    Bool(bool),
    /// A whole number.
    Number(u64),
    /// A string.
    Text(String),
    /// An array.
    List(Vec<Value>),
    /// An object; the order of its members is kept.
    Object(Vec<(Cow<'static, str>, Value)>),
}

impl Value {
    /// An object of its members.
    pub fn object(members: impl IntoIterator<Item = (&'static str, Self)>) -> Self {
        let members = members.into_iter();
        Self::Object(members.map(|(name, value)| (name.into(), value)).collect())
    }

    /// Reads a text; none where it is not JSON, or nested deeper than anybody writes.
    /// Numbers that are not whole and not negative are read as `null`.
    #[must_use]
    pub fn read(text: &str) -> Option<Self> {
        let mut rest = text;
        let value = read::value(&mut rest, 0)?;
        rest.trim_start().is_empty().then_some(value)
    }

    /// A member of an object.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Self> {
        match self {
            Self::Object(members) => {
                let found = members.iter().find(|(member, _)| member == name)?;
                Some(&found.1)
            }
            _ => None,
        }
    }

    /// The items of an array, none where it is none.
    #[must_use]
    pub fn items(&self) -> &[Self] {
        match self {
            Self::List(items) => items,
            _ => &[],
        }
    }

    /// The text of a string.
    #[must_use]
    pub fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    /// An array of what `item` makes of each.
    pub fn list<T>(items: &[T], item: impl Fn(&T) -> Self) -> Self {
        Self::List(items.iter().map(item).collect())
    }
}

impl From<bool> for Value {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}

impl From<u64> for Value {
    fn from(value: u64) -> Self {
        Self::Number(value)
    }
}

impl From<String> for Value {
    fn from(value: String) -> Self {
        Self::Text(value)
    }
}

impl From<&str> for Value {
    fn from(value: &str) -> Self {
        Self::Text(value.into())
    }
}

impl<T: Into<Self>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, T::into)
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("null"),
            Self::Bool(value) => write!(f, "{value}"),
            Self::Number(value) => write!(f, "{value}"),
            Self::Text(text) => string(f, text),
            Self::List(items) => {
                f.write_char('[')?;
                for (at, item) in items.iter().enumerate() {
                    write!(f, "{}{item}", if at == 0 { "" } else { "," })?;
                }
                f.write_char(']')
            }
            Self::Object(members) => {
                f.write_char('{')?;
                for (at, (name, value)) in members.iter().enumerate() {
                    f.write_str(if at == 0 { "" } else { "," })?;
                    string(f, name)?;
                    write!(f, ":{value}")?;
                }
                f.write_char('}')
            }
        }
    }
}

/// Quote, backslash and control characters must be escaped (section 7); here all
/// is that is not printable ASCII, because a terminal may be what reads it.
fn string(f: &mut fmt::Formatter<'_>, text: &str) -> fmt::Result {
    f.write_char('"')?;
    for c in text.chars() {
        match c {
            '"' | '\\' => write!(f, "\\{c}")?,
            ' '..='~' => f.write_char(c)?,
            c => {
                let mut units = [0; 2];
                for unit in c.encode_utf16(&mut units) {
                    write!(f, "\\u{unit:04x}")?;
                }
            }
        }
    }
    f.write_char('"')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_value() {
        let value = Value::object([
            ("a", Value::Null),
            ("b", true.into()),
            ("c", u64::MAX.into()),
            ("d", Value::list(&["x", "y"], |text| (*text).into())),
            ("e", Value::object([])),
            ("f", Value::list(&[0u64; 0], |n| (*n).into())),
            ("g", None::<u64>.into()),
        ]);
        assert_eq!(
            value.to_string(),
            r#"{"a":null,"b":true,"c":18446744073709551615,"d":["x","y"],"e":{},"f":[],"g":null}"#
        );
    }

    #[test]
    fn what_is_written_is_read() {
        let value = Value::object([
            ("a", Value::List(vec![Value::Null, true.into(), 7.into()])),
            ("b\"", Value::from("say \"\u{e4}\"\\\n\u{1f600}")),
            ("c", Value::object([])),
        ]);
        assert_eq!(Value::read(&value.to_string()), Some(value));
        let numbers = Value::read(" [ -1 , 1.5e3, 12 ] ").unwrap();
        assert_eq!(
            numbers.items(),
            [Value::Null, Value::Null, Value::Number(12)]
        );
        for text in [
            "",
            "{",
            "[1,]",
            "[1 2]",
            "{\"a\"}",
            "\"\\x\"",
            "\"",
            "nul",
            "1 1",
            "\"\\ud800\"",
        ] {
            assert_eq!(Value::read(text), None, "{text}");
        }
        assert_eq!(Value::read(&"[".repeat(100_000)), None);
    }

    #[test]
    fn strings_are_escaped() {
        let text = Value::from("say \"ä\"\\\n\u{1}\u{7f}\u{85}\u{1f600}");
        assert_eq!(
            text.to_string(),
            r#""say \"\u00e4\"\\\u000a\u0001\u007f\u0085\ud83d\ude00""#
        );
    }
}
