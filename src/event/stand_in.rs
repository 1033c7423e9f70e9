//! A second opinion on a body that simd-json refuses.
//!
//! Some of what it refuses is JSON by RFC 8259: numbers that no machine type holds (`1e400`, an integer of
//! thirty digits), and escapes of lone surrogates. For such a body a stand-in is made: a copy with
//! harmless characters in those places, of the same length, so that offsets in it hold for the original.

use serde::de::IgnoredAny;

/// Writes a stand-in for `body` to `copy`; false when `body` is not JSON.
pub(super) fn write(body: &[u8], copy: &mut Vec<u8>) -> bool {
    // IgnoredAny keeps its nesting on the heap, and looks into strings only as far as the grammar does.
    if std::str::from_utf8(body).is_err() || serde_json::from_slice::<IgnoredAny>(body).is_err() {
        return false;
    }
    copy.clear();
    copy.extend_from_slice(body);
    let mut at = 0;
    while let Some(&character) = copy.get(at) {
        at = match character {
            b'"' => string(copy, at + 1),
            b'-' | b'0'..=b'9' => number(copy, at),
            _ => at + 1,
        };
    }
    true
}

/// Replaces escapes of lone surrogates; gives the offset after the closing quote.
fn string(copy: &mut [u8], mut at: usize) -> usize {
    loop {
        match copy.get(at) {
            None => return at,
            Some(b'"') => return at + 1,
            Some(b'\\') if copy.get(at + 1) == Some(&b'u') => match escaped(copy, at) {
                Some(0xD800..=0xDBFF) if matches!(escaped(copy, at + 6), Some(0xDC00..=0xDFFF)) => {
                    at += 12;
                }
                Some(0xD800..=0xDFFF) => {
                    copy[at + 2..at + 6].copy_from_slice(b"fffd");
                    at += 6;
                }
                _ => at += 6,
            },
            Some(b'\\') => at += 2,
            Some(_) => at += 1,
        }
    }
}

/// The code unit of the escape `\uXXXX` at `at`, if there is one.
fn escaped(copy: &[u8], at: usize) -> Option<u16> {
    let digits = copy.get(at..at + 6)?.strip_prefix(b"\\u")?;
    u16::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}

/// Puts a zero in place of a number; gives the offset after it.
fn number(copy: &mut [u8], mut at: usize) -> usize {
    copy[at] = b'0';
    at += 1;
    while let Some(character @ (b'+' | b'-' | b'.' | b'e' | b'E' | b'0'..=b'9')) = copy.get_mut(at)
    {
        *character = b' ';
        at += 1;
    }
    at
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stand_in(body: &str) -> Option<String> {
        let mut copy = Vec::new();
        write(body.as_bytes(), &mut copy).then(|| String::from_utf8(copy).unwrap())
    }

    #[test]
    fn keeps_every_offset() {
        let body =
            r#"{"a":1e400,"\udc00":[-12,"\ud83d\ude00 \\ud800 \ud800\n\ud800\ud83d\ude00"]}"#;
        let copy =
            r#"{"a":0    ,"\ufffd":[0  ,"\ud83d\ude00 \\ud800 \ufffd\n\ufffd\ud83d\ude00"]}"#;
        assert_eq!(stand_in(body).as_deref(), Some(copy));
    }

    #[test]
    fn refuses_what_is_not_json() {
        for body in [
            "",
            " ",
            "{",
            "[1,]",
            "{\"a\":1}x",
            "\u{feff}{}",
            "\"\u{1}\"",
            "01",
            "\"\\ud8\"",
        ] {
            assert_eq!(stand_in(body), None, "{body:?}");
        }
        assert!(!write(b"\"\xff\"", &mut Vec::new()));
    }
}
