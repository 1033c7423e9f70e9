//! One pass over a body: whether it is JSON by RFC 8259, and where each value stands in it.
//!
//! Values are listed in the order of the text, each with its place and, for a container, the value that follows
//! all that is in it. Nothing is copied but the text of strings with an escape. Numbers are checked and left as
//! they are written, so they keep every digit; the escape of a lone surrogate is JSON, and reads as U+FFFD.
//!
//! It takes some 40 % of the time that simd-json's tape takes with the places of its values, which would have to be
//! found beside it (`cargo bench --bench extraction`). Most strings of a webhook are a few words of eight octets, too
//! short for wider registers to pay.

use super::name::Name;
use super::span::Span;
use super::string;

/// Deepest nesting of arrays and objects that is taken apart. The platform's bodies nest about ten deep;
/// common parsers, which read what is made of them, give up at 128.
pub const NESTING_MAX: usize = 100;

/// The values of one body; reused from body to body.
#[derive(Debug, Default)]
pub(super) struct Scan {
    pub(super) nodes: Vec<Node>,
    /// There is a line end between two tokens.
    pub(super) has_lines: bool,
    /// What the strings with an escape say, joined.
    unescaped: String,
    /// Those strings by their positions among the nodes, and their places in the text above.
    escaped: Vec<(usize, Span)>,
    /// The containers that are still open.
    open: Vec<Open>,
    /// More of them are than can be.
    is_too_deep: bool,
}

/// One value, or the name of a member.
#[derive(Clone, Copy, Debug)]
pub(super) struct Node {
    pub(super) span: Span,
    /// Position of the node that follows this one and all that is in it.
    pub(super) after: u32,
    pub(super) kind: Kind,
    /// Of a string before a colon.
    pub(super) name: Name,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Object,
    Array,
    /// A string that says what stands between its quotes.
    Plain,
    /// A string with an escape, see [`Scan::unescaped`].
    Escaped,
    Number,
    /// `true`, `false` or `null`.
    Literal,
}

/// Why there are no values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refused {
    NotJson,
    /// It is JSON as far as it was looked at.
    TooDeep,
}

#[derive(Clone, Copy, Debug)]
struct Open {
    node: usize,
    is_object: bool,
}

impl Scan {
    /// Lists the values of `body`.
    pub(super) fn fill(&mut self, body: &str) -> Result<(), Refused> {
        self.nodes.clear();
        self.has_lines = false;
        self.unescaped.clear();
        self.escaped.clear();
        self.open.clear();
        self.is_too_deep = false;
        // Offsets have 32 bits.
        let is_short = u32::try_from(body.len()).is_ok();
        let end = is_short.then(|| self.document(body)).flatten();
        match end {
            Some(end) if end == body.len() => Ok(()),
            _ if self.is_too_deep => Err(Refused::TooDeep),
            _ => Err(Refused::NotJson),
        }
    }

    /// What the string at position `node` says; it has an escape.
    pub(super) fn unescaped(&self, node: usize) -> Option<&str> {
        let found = self
            .escaped
            .binary_search_by_key(&node, |escaped| escaped.0);
        let (_, text) = self.escaped.get(found.ok()?)?;
        self.unescaped.get(text.range())
    }

    /// What its buffers hold at most.
    #[cfg(test)]
    pub(super) fn capacities(&self) -> [usize; 2] {
        [self.nodes.capacity(), self.unescaped.capacity()]
    }

    /// A value with the white space around it; gives the offset behind. Here and below, `None` is a refusal.
    fn document(&mut self, body: &str) -> Option<usize> {
        let octets = body.as_bytes();
        let mut at = self.space(octets, 0);
        loop {
            at = self.value(body, at)?;
            // Behind a value, and behind each container that ends with it.
            loop {
                at = self.space(octets, at);
                let Some(&Open { is_object, .. }) = self.open.last() else {
                    return Some(at);
                };
                match octets.get(at)? {
                    b',' => {
                        at = self.space(octets, at + 1);
                        if is_object {
                            at = self.name(body, at)?;
                        }
                        break;
                    }
                    b'}' if is_object => at = self.close(at),
                    b']' if !is_object => at = self.close(at),
                    _ => return None,
                }
            }
        }
    }

    /// The value at `at`, with the beginnings of what it contains up to the first scalar or empty container.
    #[inline]
    fn value(&mut self, body: &str, mut at: usize) -> Option<usize> {
        let octets = body.as_bytes();
        loop {
            match octets.get(at)? {
                b'"' => return self.string(body, at),
                b'{' => {
                    self.open(at, Kind::Object)?;
                    at = self.space(octets, at + 1);
                    if octets.get(at) == Some(&b'}') {
                        return Some(self.close(at));
                    }
                    at = self.name(body, at)?;
                }
                b'[' => {
                    self.open(at, Kind::Array)?;
                    at = self.space(octets, at + 1);
                    if octets.get(at) == Some(&b']') {
                        return Some(self.close(at));
                    }
                }
                b'-' | b'0'..=b'9' => {
                    let end = number_end(octets, at)?;
                    return Some(self.push(at, end, Kind::Number));
                }
                _ => {
                    let end = literal_end(octets, at)?;
                    return Some(self.push(at, end, Kind::Literal));
                }
            }
        }
    }

    /// The name of a member with its colon; gives the offset of the value.
    #[inline]
    fn name(&mut self, body: &str, at: usize) -> Option<usize> {
        let octets = body.as_bytes();
        if octets.get(at) != Some(&b'"') {
            return None;
        }
        let end = self.string(body, at)?;
        let node = self.nodes.last_mut()?;
        let text = if node.kind == Kind::Plain {
            octets.get(at + 1..end - 1)
        } else {
            self.escaped.last()?.1.of(self.unescaped.as_bytes())
        };
        node.name = Name::of(text?);
        let at = self.space(octets, end);
        (octets.get(at) == Some(&b':')).then(|| self.space(octets, at + 1))
    }

    #[expect(
        clippy::inline_always,
        reason = "a call costs as much as a string of usual length"
    )]
    #[inline(always)]
    fn string(&mut self, body: &str, start: usize) -> Option<usize> {
        let octets = body.as_bytes();
        let at = string::plain_end(octets, start + 1);
        match octets.get(at)? {
            b'"' => Some(self.push(start, at + 1, Kind::Plain)),
            b'\\' => self.escaped(body, start, at),
            _ => None,
        }
    }

    /// A string that begins at `start` and has its first backslash at `at`.
    #[cold]
    #[inline(never)]
    fn escaped(&mut self, body: &str, start: usize, at: usize) -> Option<usize> {
        let first = self.unescaped.len();
        let at = string::unescape(body, start + 1, at, &mut self.unescaped)?;
        let text = Span::new(first, self.unescaped.len());
        self.escaped.push((self.nodes.len(), text));
        (body.as_bytes().get(at) == Some(&b'"')).then(|| self.push(start, at + 1, Kind::Escaped))
    }

    #[inline]
    fn open(&mut self, at: usize, kind: Kind) -> Option<()> {
        if self.open.len() == NESTING_MAX {
            self.is_too_deep = true;
            return None;
        }
        let is_object = kind == Kind::Object;
        let node = self.nodes.len();
        self.open.push(Open { node, is_object });
        // Where it ends, and what follows it, is set when it is closed.
        self.push(at, at, kind);
        Some(())
    }

    /// Closes the innermost container, whose last character is at `at`.
    #[inline]
    fn close(&mut self, at: usize) -> usize {
        let after = offset(self.nodes.len());
        let open = self.open.pop();
        if let Some(node) = open.and_then(|open| self.nodes.get_mut(open.node)) {
            node.span.end = offset(at + 1);
            node.after = after;
        }
        at + 1
    }

    #[inline]
    fn push(&mut self, start: usize, end: usize, kind: Kind) -> usize {
        self.nodes.push(Node {
            span: Span::new(start, end),
            after: offset(self.nodes.len() + 1),
            kind,
            name: Name::Other,
        });
        end
    }

    /// The offset behind white space.
    #[inline]
    fn space(&mut self, octets: &[u8], mut at: usize) -> usize {
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = octets.get(at) {
            self.has_lines |= octets[at] < b' ' && octets[at] != b'\t';
            at += 1;
        }
        at
    }
}

/// The offset behind the number at `at`.
fn number_end(octets: &[u8], mut at: usize) -> Option<usize> {
    at += usize::from(octets.get(at) == Some(&b'-'));
    at = match octets.get(at)? {
        b'0' => at + 1,
        _ => digits_end(octets, at)?,
    };
    if octets.get(at) == Some(&b'.') {
        at = digits_end(octets, at + 1)?;
    }
    if let Some(b'e' | b'E') = octets.get(at) {
        at += 1 + usize::from(matches!(octets.get(at + 1), Some(b'+' | b'-')));
        at = digits_end(octets, at)?;
    }
    Some(at)
}

/// The offset behind one or more digits.
fn digits_end(octets: &[u8], start: usize) -> Option<usize> {
    let digits = octets.get(start..)?.iter();
    let count = digits.take_while(|octet| octet.is_ascii_digit()).count();
    (count > 0).then_some(start + count)
}

fn literal_end(octets: &[u8], at: usize) -> Option<usize> {
    let rest = octets.get(at..)?;
    let literals: [&[u8]; 3] = [b"true", b"false", b"null"];
    let literal = literals.into_iter().find(|it| rest.starts_with(it))?;
    Some(at + literal.len())
}

/// Bodies have been found shorter than 4 GiB, and have fewer values than octets.
#[expect(clippy::cast_possible_truncation, reason = "see above")]
fn offset(at: usize) -> u32 {
    at as u32
}
