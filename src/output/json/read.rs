//! Reads JSON by descent. Each function takes what it read off the front.

use super::Value;

/// Deeper than netifd's answers by far.
const MAX_DEPTH: usize = 32;

/// Any value.
pub fn value(rest: &mut &str, depth: usize) -> Option<Value> {
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
        members.push((name.into(), value(rest, depth + 1)?));
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
    let words = [
        ("null", Value::Null),
        ("true", Value::Bool(true)),
        ("false", Value::Bool(false)),
    ];
    words.into_iter().find_map(|(word, value)| {
        *rest = rest.strip_prefix(word)?;
        Some(value)
    })
}

fn number(rest: &mut &str) -> Value {
    let is_of_number = |c: char| matches!(c, '-' | '+' | '.' | 'e' | 'E' | '0'..='9');
    let end = rest.find(|c| !is_of_number(c)).unwrap_or(rest.len());
    let (digits, after) = rest.split_at(end);
    *rest = after;
    digits.parse().map_or(Value::Null, Value::Number)
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
    let mut units = vec![first];
    if (0xd800..0xdc00).contains(&first) {
        (chars.next()? == '\\' && chars.next()? == 'u').then_some(())?;
        units.push(unit(chars)?);
    }
    char::decode_utf16(units).next()?.ok()
}

fn unit(chars: &mut std::str::Chars) -> Option<u16> {
    let digits: String = chars.by_ref().take(4).collect();
    (digits.len() == 4).then_some(())?;
    u16::from_str_radix(&digits, 16).ok()
}
