//! The strings of JSON (RFC 8259, section 7): where they end, and what they say.

/// How many bytes are plain in a string: those before a quote, a backslash or a control character.
#[inline(always)]
#[expect(clippy::inline_always, reason = "most strings end in the first block")]
pub(in crate::event) fn plain_len(bytes: &[u8]) -> usize {
    if let Some(block) = bytes.first_chunk() {
        let len = plain_in(block);
        if len < block.len() {
            return len;
        }
    }
    plain_len_on(bytes)
}

/// The same for all others.
#[inline(never)]
fn plain_len_on(bytes: &[u8]) -> usize {
    let mut at = 16;
    while let Some(block) = bytes.get(at..).and_then(<[u8]>::first_chunk) {
        let len = plain_in(block);
        if len < block.len() {
            return at + len;
        }
        at += block.len();
    }
    let start = bytes.len() & !15;
    let rest = bytes.get(start..).unwrap_or_default();
    let is_mark = |byte: &u8| matches!(byte, b'"' | b'\\' | 0..b' ');
    start + rest.iter().position(is_mark).unwrap_or(rest.len())
}

/// How many bytes of the block are plain, found in a register that holds all of them.
#[inline(always)]
#[expect(clippy::inline_always, reason = "for each string")]
fn plain_in(block: &[u8; 16]) -> usize {
    let mut marks = [0; 16];
    for (mark, byte) in marks.iter_mut().zip(block) {
        // Without a branch.
        let found = u8::from(*byte == b'"') | u8::from(*byte == b'\\') | u8::from(*byte < b' ');
        *mark = found.wrapping_neg();
    }
    (u128::from_le_bytes(marks).trailing_zeros() / 8) as usize
}

/// Length of a string whose first backslash is at `at`, up to its quote; `None` if there is an escape that is none.
#[cold]
pub(in crate::event) fn escaped_len(bytes: &[u8], mut at: usize) -> Option<usize> {
    while bytes.get(at)? == &b'\\' {
        let (_, len) = escape(bytes.get(at + 1..)?)?;
        at += 1 + len;
        at += plain_len(bytes.get(at..)?);
    }
    (bytes.get(at)? == &b'"').then_some(at)
}

/// Appends what a string says, `text` being what stands between its quotes; `None` if there is an escape that is none.
pub(in crate::event) fn unescape(text: &str, out: &mut String) -> Option<()> {
    let mut rest = text;
    while let Some((plain, escaped)) = rest.split_once('\\') {
        out.push_str(plain);
        let (character, len) = escape(escaped.as_bytes())?;
        out.push(character);
        rest = escaped.get(len..)?;
    }
    out.push_str(rest);
    Some(())
}

/// What the escape says that begins behind its backslash, and its length.
fn escape(bytes: &[u8]) -> Option<(char, usize)> {
    let character = match bytes.first()? {
        b'"' => '"',
        b'\\' => '\\',
        b'/' => '/',
        b'b' => '\u{8}',
        b'f' => '\u{c}',
        b'n' => '\n',
        b'r' => '\r',
        b't' => '\t',
        b'u' => return unicode(bytes),
        _ => return None,
    };
    Some((character, 1))
}

/// What `uXXXX` says, with the escape behind it if the two are a pair of surrogates, and the length.
fn unicode(bytes: &[u8]) -> Option<(char, usize)> {
    let unit = code_unit(bytes.get(1..5)?)?;
    if let Some(character) = char::from_u32(unit) {
        return Some((character, 5));
    }
    let second = bytes
        .get(5..11)
        .and_then(|next| code_unit(next.strip_prefix(b"\\u")?))
        .filter(|second| (0xD800..0xDC00).contains(&unit) && (0xDC00..0xE000).contains(second));
    let pair = second
        .and_then(|second| char::from_u32(0x1_0000 + ((unit - 0xD800) << 10) + (second - 0xDC00)));
    Some(pair.map_or((char::REPLACEMENT_CHARACTER, 5), |pair| (pair, 11)))
}

/// Four hexadecimal digits.
fn code_unit(digits: &[u8]) -> Option<u32> {
    digits.iter().try_fold(0, |unit, &digit| {
        Some(unit << 4 | char::from(digit).to_digit(16)?)
    })
}

#[cfg(test)]
mod tests {
    use super::plain_len;

    /// However long it is, whatever ends it, and however much is behind it.
    #[test]
    fn a_string_is_plain_up_to_its_first_mark() {
        let marks = *b"\"\\\0\x1f\n";
        let plain = *b" !#[]~\x7f\x80\xa2\xdc\xff";
        for byte in plain {
            for len in 0..70 {
                let text = vec![byte; len];
                assert_eq!(plain_len(&text), len);
                for (mark, behind) in marks.into_iter().zip([0, 1, 7, 16, 40]) {
                    let behind = [marks.as_slice(), &plain].concat().repeat(3)[..behind].to_vec();
                    let text = [text.as_slice(), &[mark], &behind].concat();
                    assert_eq!(plain_len(&text), len, "{text:?}");
                }
            }
        }
    }
}
