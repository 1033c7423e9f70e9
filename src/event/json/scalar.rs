//! Values without others in them: where they end, and what the strings among them say that have an escape.

use super::name::Name;
use super::node::Kind;
use super::string;
use std::cell::OnceCell;

/// The scalar that `text` begins with, which stands at `at` of the body: its length, and what it is.
#[inline(always)]
#[expect(clippy::inline_always, reason = "for each value")]
pub(super) fn scalar(text: &[u8], at: usize, escaped: &mut Escaped) -> Option<(usize, Kind)> {
    match text.split_first()? {
        (b'"', said) => {
            let len = string::plain_len(said);
            if said.get(len)? == &b'"' {
                return Some((len + 2, Kind::Plain));
            }
            Some((escaped.note(at + 1, said, len)? + 2, Kind::Escaped))
        }
        (b'-' | b'0'..=b'9', _) => Some((number_len(text)?, Kind::Number)),
        _ => Some((literal_len(text)?, Kind::Literal)),
    }
}

/// The strings of a body that have an escape.
#[derive(Debug, Default)]
pub(super) struct Escaped {
    /// Where their text begins in the body, and what they say, once somebody has asked: few are ever looked at.
    strings: Vec<(usize, OnceCell<Box<str>>)>,
    /// What a name says.
    name: String,
}

impl Escaped {
    /// Forgets those of the body before.
    pub(super) fn clear(&mut self) {
        self.strings.clear();
    }

    /// Notes the string whose text is next in `rest`, which stands at `start` of the body, and whose first backslash is
    /// at `at` of it. Gives its length up to the quote.
    #[inline(never)]
    pub(super) fn note(&mut self, start: usize, rest: &[u8], at: usize) -> Option<usize> {
        let len = string::escaped_len(rest, at)?;
        self.strings.push((start, OnceCell::new()));
        Some(len)
    }

    /// The name that stands so between its quotes.
    #[inline(never)]
    pub(super) fn name(&mut self, text: &str) -> Option<Name> {
        self.name.clear();
        string::unescape(text, &mut self.name)?;
        Some(Name::of(self.name.as_bytes()))
    }

    /// What the string says that was noted at `start`, with `text` between its quotes.
    pub(super) fn says(&self, start: usize, text: &str) -> Option<&str> {
        let found = self.strings.binary_search_by_key(&start, |string| string.0);
        let said = self.strings.get(found.ok()?)?.1.get_or_init(|| {
            let mut said = String::new();
            // It was found to be right.
            let _ = string::unescape(text, &mut said);
            said.into_boxed_str()
        });
        Some(said)
    }

    /// Bytes of memory that it takes, but for what the strings say that somebody has asked for.
    pub(super) fn bytes(&self) -> usize {
        self.strings.capacity() * size_of::<(usize, OnceCell<Box<str>>)>() + self.name.capacity()
    }

    /// How many it has room for.
    #[cfg(test)]
    pub(super) fn capacity(&self) -> usize {
        self.strings.capacity()
    }
}

/// The length of a number.
fn number_len(text: &[u8]) -> Option<usize> {
    let mut len = usize::from(text.first() == Some(&b'-'));
    len = match text.get(len)? {
        b'0' => len + 1,
        _ => digits_end(text, len)?,
    };
    if text.get(len) == Some(&b'.') {
        len = digits_end(text, len + 1)?;
    }
    if let Some(b'e' | b'E') = text.get(len) {
        len += 1 + usize::from(matches!(text.get(len + 1), Some(b'+' | b'-')));
        len = digits_end(text, len)?;
    }
    Some(len)
}

/// The offset behind one or more digits.
fn digits_end(text: &[u8], start: usize) -> Option<usize> {
    let digits = text.get(start..)?.iter();
    let count = digits.take_while(|byte| byte.is_ascii_digit()).count();
    (count > 0).then_some(start + count)
}

fn literal_len(text: &[u8]) -> Option<usize> {
    let literals: [&[u8]; 3] = [b"true", b"false", b"null"];
    let literal = literals.into_iter().find(|it| text.starts_with(it))?;
    Some(literal.len())
}
