//! Writes JSON (RFC 8259), member by member: the little that `status` and `trace`
//! need, without the flash that a library costs.

use std::fmt::{self, Display, Write};

use super::put;

/// An object in the making.
pub struct Object(String);

impl Object {
    /// An object and a line feed.
    pub fn whole(write: impl FnOnce(&mut Self)) -> String {
        let mut object = Self(String::new());
        object.0.push('{');
        write(&mut object);
        object.0.push_str("}\n");
        object.0
    }

    /// A text.
    pub fn text(&mut self, name: &str, text: &dyn Display) {
        self.text_or_null(name, Some(text));
    }

    /// A text, `null` where there is none.
    pub fn maybe(&mut self, name: &str, text: Option<&impl Display>) {
        self.text_or_null(name, text.map(|text| text as &dyn Display));
    }

    fn text_or_null(&mut self, name: &str, text: Option<&dyn Display>) {
        self.name(name);
        match text {
            Some(text) => self.string(text),
            None => self.0.push_str("null"),
        }
    }

    /// A whole number, `null` where there is none.
    pub fn number(&mut self, name: &str, number: impl Into<Option<u64>>) {
        self.name(name);
        // Writing to a String does not fail.
        let _ = match number.into() {
            Some(number) => write!(self.0, "{number}"),
            None => self.0.write_str("null"),
        };
    }

    /// Whether it is so, `null` where that is not known.
    pub fn flag(&mut self, name: &str, flag: Option<bool>) {
        self.name(name);
        self.0.push_str(match flag {
            Some(true) => "true",
            Some(false) => "false",
            None => "null",
        });
    }

    /// An object, `null` where there is nothing to make it of.
    pub fn nest<T>(&mut self, name: &str, of: Option<T>, write: impl FnOnce(&mut Self, T)) {
        self.name(name);
        match of {
            Some(of) => {
                self.0.push('{');
                write(self, of);
                self.0.push('}');
            }
            None => self.0.push_str("null"),
        }
    }

    /// An array of objects, `null` where there is none.
    pub fn list<T>(&mut self, name: &str, items: Option<&[T]>, write: impl Fn(&mut Self, &T)) {
        self.name(name);
        let Some(items) = items else {
            return self.0.push_str("null");
        };
        self.0.push('[');
        for item in items {
            self.next();
            self.0.push('{');
            write(self, item);
            self.0.push('}');
        }
        self.0.push(']');
    }

    /// An array of texts, `null` where there is none.
    pub fn texts<'a, T: Display + 'a>(&mut self, name: &str, texts: impl Into<Option<&'a [T]>>) {
        self.name(name);
        let Some(texts) = texts.into() else {
            return self.0.push_str("null");
        };
        self.0.push('[');
        for text in texts {
            self.next();
            self.string(text);
        }
        self.0.push(']');
    }

    fn name(&mut self, name: &str) {
        self.next();
        self.string(&name);
        self.0.push(':');
    }

    /// A comma behind all but the first.
    fn next(&mut self) {
        if !self.0.ends_with(['{', '[']) {
            self.0.push(',');
        }
    }

    fn string(&mut self, text: &dyn Display) {
        self.0.push('"');
        put(&mut self.0, text, escape);
        self.0.push('"');
    }
}

/// Quote, backslash and control characters must be escaped (section 7); here all
/// is that is not printable ASCII, because a terminal may be what reads it.
fn escape(to: &mut String, c: char) -> fmt::Result {
    match c {
        '"' | '\\' => write!(to, "\\{c}")?,
        ' '..='~' => to.push(c),
        c => {
            for unit in c.encode_utf16(&mut [0; 2]) {
                write!(to, "\\u{unit:04x}")?;
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_member() {
        let text = Object::whole(|object| {
            object.maybe("a", None::<&&str>);
            object.flag("b", Some(true));
            object.number("c", u64::MAX);
            object.texts("d", &["x{", "y["][..]);
            object.nest("e", Some(()), |_, ()| {});
            object.list("f", Some(&[0; 0]), |_, _| {});
            object.list("g", Some(&[1, 2]), |object, n| object.number("h", *n));
            object.number("i", None);
            object.nest("j", Some("x"), |object, x| object.text("k", &x));
            object.texts("l", None::<&[String]>);
        });
        assert_eq!(
            text,
            "{\"a\":null,\"b\":true,\"c\":18446744073709551615,\"d\":[\"x{\",\"y[\"],\"e\":{},\
             \"f\":[],\"g\":[{\"h\":1},{\"h\":2}],\"i\":null,\"j\":{\"k\":\"x\"},\"l\":null}\n"
        );
    }

    #[test]
    fn strings_are_escaped() {
        let evil = "say \"ä\"\\\n\u{1}\u{7f}\u{85}\u{1f600}";
        assert_eq!(
            Object::whole(|object| object.text(evil, &evil)),
            r#"{"E":"E"}"#.replace(
                'E',
                r#"say \"\u00e4\"\\\u000a\u0001\u007f\u0085\ud83d\ude00"#
            ) + "\n"
        );
    }
}
