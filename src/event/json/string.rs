//! The strings of JSON (RFC 8259, section 7): where they end, and what they say.

/// How many bytes are plain in a string: those before a quote, a backslash or a control character.
#[inline(never)]
pub(in crate::event) fn plain_len(bytes: &[u8]) -> usize {
    let mut rest = bytes;
    while let Some((word, behind)) = rest.split_first_chunk() {
        let found = marks(u64::from_le_bytes(*word));
        if found != 0 {
            return bytes.len() - rest.len() + (found.trailing_zeros() / 8) as usize;
        }
        rest = behind;
    }
    let is_mark = |byte: &u8| matches!(byte, b'"' | b'\\' | 0..b' ');
    let last = rest.iter().position(is_mark).unwrap_or(rest.len());
    bytes.len() - rest.len() + last
}

/// Sets the top bit of each byte of the word that is not plain; above the first of them perhaps of others, too.
///
/// "Determine if a word has a byte equal to n" and "less than n" of Sean Eron Anderson, "Bit Twiddling Hacks".
#[inline]
fn marks(word: u64) -> u64 {
    const ONES: u64 = u64::from_ne_bytes([1; 8]);
    let less = |word: u64, than: u8| word.wrapping_sub(ONES * u64::from(than)) & !word;
    let quote = less(word ^ (ONES * u64::from(b'"')), 1);
    let backslash = less(word ^ (ONES * u64::from(b'\\')), 1);
    (quote | backslash | less(word, b' ')) & (ONES << 7)
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
