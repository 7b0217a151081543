//! What `LIBPACKETMARK_MARK` says.

/// Reads a mark: decimal, or hexadecimal after `0x`; no sign, no blank. Nothing
/// at all and 0 are 0, "no mark", as for Gluon's library.
///
/// Returns nothing for a text that is not a number from 0 to 2^32-1.
pub fn parse(text: &[u8]) -> Option<u32> {
    if text.is_empty() {
        return Some(0);
    }
    let (digits, radix) = match text {
        [b'0', b'x' | b'X', digits @ ..] => (digits, 16),
        digits => (digits, 10),
    };
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0_u32, |value, &digit| {
        let digit = char::from(digit).to_digit(radix)?;
        value.checked_mul(radix)?.checked_add(digit)
    })
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn decimal_and_hexadecimal() {
        for (text, value) in [
            ("", 0),
            ("0", 0),
            ("1", 1),
            ("010", 10),
            ("0x1", 1),
            ("0X1f", 0x1f),
            ("0xDEADbeef", 0xdead_beef),
            ("4294967295", u32::MAX),
            ("0x00000000ffffffff", u32::MAX),
        ] {
            assert_eq!(parse(text.as_bytes()), Some(value), "{text}");
        }
    }

    #[test]
    fn anything_else_is_refused() {
        for text in [
            "x",
            "0x",
            "1x",
            "0x1g",
            " 1",
            "1 ",
            "1\n",
            "+1",
            "-1",
            "0x-1",
            "1/1",
            "0x1/0x1",
            "1.0",
            "\u{661}",
            "4294967296",
            "0x100000000",
            "99999999999999999999",
        ] {
            assert_eq!(parse(text.as_bytes()), None, "{text:?}");
        }
    }
}
