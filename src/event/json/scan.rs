//! One pass over a body: whether it is JSON by RFC 8259, and where each value stands in it.
//!
//! Values are listed in the order of the text, each with its place and, for a container, the value that follows
//! all that is in it. Nothing is copied but the text of strings with an escape. Numbers are checked and left as
//! they are written, so they keep every digit; the escape of a lone surrogate is JSON, and reads as U+FFFD.
//!
//! simd-json's tape would need the places of its values found beside it, and a copy of the body to unescape in; alone
//! it takes half the time of the whole extraction with this (`cargo bench --bench extraction`). Most strings of a
//! webhook are a few words of eight octets, too short for wider registers to pay.

use super::super::pages::own_pages;
use super::name::Name;
use super::span::Span;
use super::string;

/// Deepest nesting of arrays and objects that is taken apart. The platform's bodies nest about ten deep;
/// common parsers, which read what is made of them, give up at 128.
pub const NESTING_MAX: usize = 100;

/// The values of one body; reused from body to body.
#[derive(Debug, Default)]
pub(in crate::event) struct Scan {
    /// Room for as many as there were in one body so far, and more; see [`Scan::nodes`].
    room: Vec<Node>,
    count: usize,
    escaped: Escaped,
    has_lines: bool,
}

/// One value, or the name of a member.
#[derive(Clone, Copy, Debug)]
pub(in crate::event) struct Node {
    pub(in crate::event) span: Span,
    /// Position of the node that follows this one and all that is in it; of a container that is not closed yet, the
    /// position of the one that it is in.
    pub(in crate::event) after: u32,
    pub(in crate::event) kind: Kind,
    /// Of a string before a colon.
    pub(in crate::event) name: Name,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::event) enum Kind {
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
pub(in crate::event) enum Refused {
    NotJson,
    /// It is JSON as far as it was looked at.
    TooDeep,
}

/// What strings with an escape say.
#[derive(Debug, Default)]
struct Escaped {
    /// Joined.
    text: String,
    /// The strings by their positions among the nodes, and their places in the text.
    places: Vec<(usize, Span)>,
}

impl Scan {
    /// Lists the values of `body`.
    pub(in crate::event) fn fill(&mut self, body: &str) -> Result<(), Refused> {
        self.count = 0;
        // Offsets have 32 bits.
        if u32::try_from(body.len()).is_err() {
            return Err(Refused::NotJson);
        }
        // No value, but for the first, goes without an octet that parts it from another one. Few bodies have nearly
        // as many, and the room for these would be eight times as large as the body.
        let most = body.len() / 2 + 1;
        let usual = most.div_ceil(8);
        if self.room.len() < usual {
            self.room.resize(usual, Node::NONE);
        }
        loop {
            let read = self.pass(body);
            let was_full = self.count == self.room.len() && self.count < most;
            if read.is_ok() || !was_full {
                return read;
            }
            // It begins anew with more room: to grow on the way would cost every body something.
            let grown = self.count + self.count / 2 + 1;
            self.room.resize(grown.min(most), Node::NONE);
        }
    }

    /// Makes room for the values of a large body.
    pub(in crate::event) fn expect_many(&mut self) {
        own_pages(&mut self.room);
    }

    /// One pass over `body`, as far as there is room.
    fn pass(&mut self, body: &str) -> Result<(), Refused> {
        self.escaped.text.clear();
        self.escaped.places.clear();
        let mut pass = Pass {
            body,
            octets: body.as_bytes(),
            at: 0,
            room: &mut self.room,
            count: 0,
            open: NOTHING,
            depth: 0,
            escaped: &mut self.escaped,
            has_lines: false,
        };
        pass.space();
        // What stands around the whole is in no event.
        pass.has_lines = false;
        let is_value = pass.document().is_some();
        (self.count, self.has_lines) = (pass.count, pass.has_lines);
        pass.space();
        let is_whole = is_value && pass.at == body.len();
        let is_too_deep = pass.depth > NESTING_MAX;
        if is_whole {
            Ok(())
        } else if is_too_deep {
            Err(Refused::TooDeep)
        } else {
            Err(Refused::NotJson)
        }
    }

    /// The values in the order of the text.
    #[inline]
    pub(in crate::event) fn nodes(&self) -> &[Node] {
        self.room.get(..self.count).unwrap_or_default()
    }

    /// True if there is a line end between the first token and the last. There is none in a token.
    pub(in crate::event) fn has_lines(&self) -> bool {
        self.has_lines
    }

    /// What the string at position `node` says; it has an escape.
    pub(in crate::event) fn unescaped(&self, node: usize) -> Option<&str> {
        let Escaped { text, places } = &self.escaped;
        let found = places.binary_search_by_key(&node, |place| place.0).ok()?;
        text.get(places.get(found)?.1.range())
    }

    /// What its buffers have room for.
    #[cfg(test)]
    pub(in crate::event) fn capacities(&self) -> [usize; 2] {
        [self.room.capacity(), self.escaped.text.capacity()]
    }
}

impl Node {
    const NONE: Node = Node {
        span: Span { start: 0, end: 0 },
        after: 0,
        kind: Kind::Literal,
        name: Name::Other,
    };
}

/// The pass over one body. Its parts go into one function, so that what it keeps here stays in registers.
struct Pass<'p> {
    body: &'p str,
    octets: &'p [u8],
    /// The octet that is next.
    at: usize,
    room: &'p mut [Node],
    count: usize,
    /// The innermost container that is open, or [`NOTHING`].
    open: u32,
    /// How many are open.
    depth: usize,
    escaped: &'p mut Escaped,
    has_lines: bool,
}

/// No container is open.
const NOTHING: u32 = u32::MAX;

/// `None` is a refusal.
#[expect(clippy::inline_always, reason = "see above")]
impl Pass<'_> {
    /// A value with all that is in it.
    fn document(&mut self) -> Option<()> {
        loop {
            self.value()?;
            // Behind a value, and behind each container that ends with it.
            loop {
                if self.open == NOTHING {
                    return Some(());
                }
                self.space();
                let is_object = self.room.get(self.open as usize)?.kind == Kind::Object;
                match self.octets.get(self.at)? {
                    b',' => {
                        self.at += 1;
                        self.space();
                        if is_object {
                            self.name()?;
                        }
                        break;
                    }
                    b'}' if is_object => self.close()?,
                    b']' if !is_object => self.close()?,
                    _ => return None,
                }
            }
        }
    }

    /// A value: of a container what stands before its first scalar, or all of it if it is empty.
    #[inline(always)]
    fn value(&mut self) -> Option<()> {
        loop {
            match self.octets.get(self.at)? {
                b'"' => return self.string().map(|_| ()),
                b'{' => {
                    self.open(Kind::Object)?;
                    if self.octets.get(self.at)? == &b'}' {
                        return self.close();
                    }
                    self.name()?;
                }
                b'[' => {
                    self.open(Kind::Array)?;
                    if self.octets.get(self.at)? == &b']' {
                        return self.close();
                    }
                }
                b'-' | b'0'..=b'9' => {
                    return self.scalar(number_end(self.octets, self.at)?, Kind::Number);
                }
                _ => return self.scalar(literal_end(self.octets, self.at)?, Kind::Literal),
            }
        }
    }

    /// The name of a member, with its colon.
    #[inline(always)]
    fn name(&mut self) -> Option<()> {
        if self.octets.get(self.at)? != &b'"' {
            return None;
        }
        let node = self.count;
        let text = self.string()?;
        self.room.get_mut(node)?.name = Name::of(text);
        self.space();
        if self.octets.get(self.at)? != &b':' {
            return None;
        }
        self.at += 1;
        self.space();
        Some(())
    }

    /// A string; gives what it says.
    #[inline(always)]
    fn string(&mut self) -> Option<&[u8]> {
        let start = self.at + 1;
        let end = string::plain_end(self.octets, start);
        if self.octets.get(end)? == &b'"' {
            self.scalar(end + 1, Kind::Plain)?;
            return self.octets.get(start..end);
        }
        let end = unescape(self.escaped, self.body, self.count, start, end)?;
        self.scalar(end + 1, Kind::Escaped)?;
        let (_, place) = self.escaped.places.last()?;
        place.of(self.escaped.text.as_bytes())
    }

    /// A value without others in it, up to before `end`.
    #[inline(always)]
    fn scalar(&mut self, end: usize, kind: Kind) -> Option<()> {
        let after = offset(self.count + 1);
        self.push(end, after, kind)
    }

    #[inline(always)]
    fn open(&mut self, kind: Kind) -> Option<()> {
        self.depth += 1;
        if self.depth > NESTING_MAX {
            return None;
        }
        let node = offset(self.count);
        self.push(self.at + 1, self.open, kind)?;
        self.open = node;
        self.space();
        Some(())
    }

    /// Closes the innermost container, whose last octet is next.
    #[inline(always)]
    fn close(&mut self) -> Option<()> {
        self.at += 1;
        self.depth -= 1;
        let node = self.room.get_mut(self.open as usize)?;
        self.open = node.after;
        node.after = offset(self.count);
        node.span.end = offset(self.at);
        Some(())
    }

    #[inline(always)]
    fn push(&mut self, end: usize, after: u32, kind: Kind) -> Option<()> {
        *self.room.get_mut(self.count)? = Node {
            span: Span::new(self.at, end),
            after,
            kind,
            name: Name::Other,
        };
        self.count += 1;
        self.at = end;
        Some(())
    }

    #[inline(always)]
    fn space(&mut self) {
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = self.octets.get(self.at) {
            self.has_lines |= matches!(self.octets[self.at], b'\n' | b'\r');
            self.at += 1;
        }
    }
}

/// The string at position `node`, which begins behind its quote at `start` and has its first backslash at `at`. Gives
/// the offset of the quote that ends it.
#[cold]
#[inline(never)]
fn unescape(
    escaped: &mut Escaped,
    body: &str,
    node: usize,
    start: usize,
    at: usize,
) -> Option<usize> {
    let first = escaped.text.len();
    let end = string::unescape(body, start, at, &mut escaped.text)?;
    let place = Span::new(first, escaped.text.len());
    escaped.places.push((node, place));
    (body.as_bytes().get(end)? == &b'"').then_some(end)
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
