//! Reads JSON (RFC 8259) by descent, the little that `status` needs of netifd's:
//! without the flash that a library costs. Each function takes what it read off the
//! front.

/// Deeper than netifd's answers by far.
const MAX_DEPTH: usize = 32;

/// One value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// A string.
    Text(String),
    /// An array.
    List(Vec<Value>),
    /// An object; the order of its members is kept.
    Object(Vec<(String, Value)>),
    /// A number, `true`, `false` or `null`.
    Other,
}

impl Value {
    /// Reads a text; none where it is not JSON, or nested deeper than anybody writes.
    #[must_use]
    pub fn read(text: &str) -> Option<Self> {
        let mut rest = text;
        let value = value(&mut rest, 0)?;
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
}

/// Any value.
fn value(rest: &mut &str, depth: usize) -> Option<Value> {
    if depth > MAX_DEPTH {
        return None;
    }
    let text = rest.trim_start();
    *rest = text;
    match text.chars().next()? {
        '{' => object(rest, depth),
        '[' => list(rest, depth),
        '"' => string(rest).map(Value::Text),
        '-' | '0'..='9' => Some(number(rest)),
        _ => word(rest),
    }
}

/// Takes a character off, behind blanks.
fn take(rest: &mut &str, wanted: char) -> Option<()> {
    *rest = rest.trim_start().strip_prefix(wanted)?;
    Some(())
}

fn object(rest: &mut &str, depth: usize) -> Option<Value> {
    let mut members = Vec::new();
    take(rest, '{')?;
    if take(rest, '}').is_some() {
        return Some(Value::Object(members));
    }
    loop {
        *rest = rest.trim_start();
        let name = string(rest)?;
        take(rest, ':')?;
        members.push((name, value(rest, depth + 1)?));
        if take(rest, ',').is_none() {
            take(rest, '}')?;
            return Some(Value::Object(members));
        }
    }
}

fn list(rest: &mut &str, depth: usize) -> Option<Value> {
    let mut items = Vec::new();
    take(rest, '[')?;
    if take(rest, ']').is_some() {
        return Some(Value::List(items));
    }
    loop {
        items.push(value(rest, depth + 1)?);
        if take(rest, ',').is_none() {
            take(rest, ']')?;
            return Some(Value::List(items));
        }
    }
}

fn word(rest: &mut &str) -> Option<Value> {
    for word in ["null", "true", "false"] {
        if let Some(after) = rest.strip_prefix(word) {
            *rest = after;
            return Some(Value::Other);
        }
    }
    None
}

fn number(rest: &mut &str) -> Value {
    let is_of_number = |c: char| matches!(c, '-' | '+' | '.' | 'e' | 'E' | '0'..='9');
    *rest = rest.trim_start_matches(is_of_number);
    Value::Other
}

fn string(rest: &mut &str) -> Option<String> {
    let mut chars = rest.strip_prefix('"')?.chars();
    let mut text = String::new();
    loop {
        match chars.next()? {
            '"' => break,
            '\\' => text.push(match chars.next()? {
                c @ ('"' | '\\' | '/') => c,
                'b' => '\u{8}',
                'f' => '\u{c}',
                'n' => '\n',
                'r' => '\r',
                't' => '\t',
                'u' => escaped(&mut chars)?,
                _ => return None,
            }),
            c => text.push(c),
        }
    }
    *rest = chars.as_str();
    Some(text)
}

/// What `\uXXXX`, or two of them, stand for (UTF-16).
fn escaped(chars: &mut std::str::Chars) -> Option<char> {
    let first = unit(chars)?;
    if !(0xd800..0xe000).contains(&first) {
        return char::from_u32(first);
    }
    (chars.next()? == '\\' && chars.next()? == 'u').then_some(())?;
    let second = unit(chars)?.checked_sub(0xdc00)?;
    let high = 0xdc00_u32.checked_sub(first)?;
    (second < 0x400).then_some(())?;
    char::from_u32(0x1_0000 + ((0x400 - high) << 10) + second)
}

fn unit(chars: &mut std::str::Chars) -> Option<u32> {
    let mut unit = 0;
    for _ in 0..4 {
        unit = unit << 4 | chars.next()?.to_digit(16)?;
    }
    Some(unit)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::json::Object;

    #[test]
    fn what_is_written_is_read() {
        let evil = "say \"\u{e4}\"\\\n\u{1f600}\u{10ffff}";
        let written = Object::whole(|object| {
            object.flag("a", Some(true));
            object.number("b", 7);
            object.text("b\"", &evil);
            object.texts("c", &[evil, ""][..]);
            object.nest("d", Some(()), |_, ()| {});
        });
        let read = Value::read(&written).unwrap();
        assert_eq!(read.get("b\"").unwrap().text(), Some(evil));
        let items = read.get("c").unwrap().items();
        assert_eq!(
            items,
            [Value::Text(evil.into()), Value::Text(String::new())]
        );
        assert_eq!(read.get("d"), Some(&Value::Object(Vec::new())));
        assert_eq!(read.get("a"), Some(&Value::Other));
        assert_eq!(read.get("e"), None);
    }

    #[test]
    fn what_is_no_json_is_not_read() {
        let numbers = Value::read(" [ -1 , 1.5e3, 12 ,null] ").unwrap();
        assert_eq!(numbers.items(), [const { Value::Other }; 4]);
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
            "\"\\ud800\\ud800\"",
            "\"\\udc00\\udc00\"",
            "\"\\u12g4\"",
        ] {
            assert_eq!(Value::read(text), None, "{text}");
        }
        assert_eq!(Value::read(&"[".repeat(100_000)), None);
    }
}
