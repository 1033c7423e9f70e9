//! The strings of JSON (RFC 8259, section 7): where they end, and what they say.

/// The offset of the first octet from `at` on that ends a string or is not plain in one: a quote, a backslash or a
/// control character; the length of `octets` if there is none.
#[inline]
pub(in crate::event) fn plain_end(octets: &[u8], mut at: usize) -> usize {
    while let Some(word) = octets.get(at..).and_then(<[u8]>::first_chunk) {
        let found = marks(u64::from_le_bytes(*word));
        if found != 0 {
            return at + (found.trailing_zeros() / 8) as usize;
        }
        at += 8;
    }
    let is_plain = |octet: &u8| !matches!(octet, b'"' | b'\\' | 0..b' ');
    let last = octets.get(at..).unwrap_or_default();
    at + last.iter().take_while(|octet| is_plain(octet)).count()
}

/// Sets the top bit of each octet of the word that is not plain; above the first of them perhaps of others, too.
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

/// Appends what a string says that begins, behind its quote, at `start` and has its first backslash at `at`. Gives the
/// offset of the octet that ends it; `None` if there is an escape that is none.
#[cold]
pub(in crate::event) fn unescape(
    body: &str,
    mut start: usize,
    mut at: usize,
    out: &mut String,
) -> Option<usize> {
    let octets = body.as_bytes();
    while octets.get(at) == Some(&b'\\') {
        out.push_str(body.get(start..at)?);
        let (character, len) = escape(octets.get(at + 1..)?)?;
        out.push(character);
        start = at + 1 + len;
        at = plain_end(octets, start);
    }
    out.push_str(body.get(start..at)?);
    Some(at)
}

/// What the escape says that begins behind its backslash, and its length.
fn escape(octets: &[u8]) -> Option<(char, usize)> {
    let character = match octets.first()? {
        b'"' => '"',
        b'\\' => '\\',
        b'/' => '/',
        b'b' => '\u{8}',
        b'f' => '\u{c}',
        b'n' => '\n',
        b'r' => '\r',
        b't' => '\t',
        b'u' => return unicode(octets),
        _ => return None,
    };
    Some((character, 1))
}

/// What `uXXXX` says, with the escape behind it if the two are a pair of surrogates, and the length.
fn unicode(octets: &[u8]) -> Option<(char, usize)> {
    let unit = code_unit(octets.get(1..5)?)?;
    if let Some(character) = char::from_u32(unit) {
        return Some((character, 5));
    }
    let second = octets
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
