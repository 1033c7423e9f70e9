//! One pass over a body: whether it is JSON by RFC 8259, and where each value stands in it.
//!
//! Values are listed in the order of the text, each with its place, its name if it is a member and, for a container,
//! the value that follows all that is in it. Nothing is copied: what a string with an escape says is found out when
//! somebody asks. Numbers are checked and left as they are written, so they keep every digit; the escape of a lone
//! surrogate is JSON, and reads as U+FFFD.
//!
//! simd-json's tape would need the places of its values found beside it, and a copy of the body to unescape in. Most
//! strings of a webhook are a few words of eight bytes, too short for wider registers to pay, and what stands between
//! them is known from the bodies before ([`shapes`](super::shapes)).

use super::super::pages::own_pages;
use super::expected::{Expected, Reach, Reached};
use super::name::Name;
use super::node::{Kind, Node, offset};
use super::scalar::{Escaped, scalar};
use super::shapes::Shapes;
use super::span::Span;
use super::string;

/// Deepest nesting of arrays and objects that is taken apart. The platform's bodies nest about ten deep;
/// common parsers, which read what is made of them, give up at 128.
pub const NESTING_MAX: usize = 100;

/// Most nodes of what is expected to be met again.
const EXPECTED_MAX: usize = 256;

/// The values of one body; reused from body to body.
#[derive(Debug, Default)]
pub(in crate::event) struct Scan {
    /// Room for as many as there were in one body so far, and more; see [`Scan::nodes`].
    room: Vec<Node>,
    count: usize,
    escaped: Escaped,
    has_lines: bool,
    /// How bodies look.
    shapes: Shapes,
    /// How an element of some array looks.
    element: Expected,
}

/// Why there are no values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::event) enum Refused {
    NotJson,
    /// It is JSON as far as it was looked at.
    TooDeep,
}

impl Scan {
    /// Lists the values of `body`.
    pub(in crate::event) fn fill(&mut self, body: &str) -> Result<(), Refused> {
        self.count = 0;
        // Offsets have 32 bits.
        if u32::try_from(body.len()).is_err() {
            return Err(Refused::NotJson);
        }
        // No value, but for the first, goes without a byte that parts it from another one. Few bodies have nearly
        // as many, and the room for these would be eight times as large as the body.
        let most = body.len() / 2 + 1;
        let usual = most.div_ceil(8);
        if self.room.len() < usual {
            self.room.resize(usual, Node::NONE);
        }
        loop {
            let read = self.pass(body);
            let was_full = self.count == self.room.len() && self.count < most;
            if let Ok(shape) = read {
                self.note_shape(body, shape);
            }
            if read.is_ok() || !was_full {
                return read.map(|_| ());
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

    /// Notes which shape this body has, if it is a known one.
    fn note_shape(&mut self, body: &str, shape: Option<usize>) {
        if let Some(which) = shape {
            self.shapes.has_come(which);
        } else if self.count <= EXPECTED_MAX && !self.has_lines {
            // A large one is rare, and one that somebody has laid out is, too.
            let nodes = self.room.get(..self.count).unwrap_or_default();
            self.shapes.has_come_otherwise(body.as_bytes(), nodes);
        }
    }

    /// One pass over `body`, as far as there is room. Says which of the known shapes it has.
    fn pass(&mut self, body: &str) -> Result<Option<usize>, Refused> {
        self.escaped.clear();
        let mut pass = Pass {
            body,
            bytes: body.as_bytes(),
            at: 0,
            name: Name::Other,
            room: &mut self.room,
            count: 0,
            open: NOTHING,
            in_object: false,
            depth: 0,
            escaped: &mut self.escaped,
            has_lines: false,
            shape: None,
            element: &mut self.element,
            array: NOTHING,
        };
        // What stands around the whole is in no event.
        (pass.at, _) = space(pass.bytes, 0);
        let is_value = pass.document(&self.shapes).is_some();
        (self.count, self.has_lines) = (pass.count, pass.has_lines);
        let is_whole = is_value && space(pass.bytes, pass.at).0 == body.len();
        let is_too_deep = pass.depth > NESTING_MAX;
        if is_whole {
            Ok(pass.shape)
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

    /// What the string says whose text begins at `at` of the body. It has an escape, and `text` stands between its
    /// quotes.
    pub(in crate::event) fn unescaped(&self, at: usize, text: &str) -> Option<&str> {
        self.escaped.says(at, text)
    }

    /// Bytes that were written to in its buffers: of addresses alone nothing is taken.
    pub(in crate::event) fn bytes(&self) -> usize {
        self.room.len() * size_of::<Node>() + self.escaped.bytes()
    }

    /// What its buffers have room for.
    #[cfg(test)]
    pub(in crate::event) fn capacities(&self) -> [usize; 2] {
        [self.room.capacity(), self.escaped.capacity()]
    }
}

/// The pass over one body. Its parts go into one function, so that what it keeps here stays in registers.
struct Pass<'p> {
    body: &'p str,
    bytes: &'p [u8],
    /// The byte that is next.
    at: usize,
    /// The name of the value that is next.
    name: Name,
    room: &'p mut [Node],
    count: usize,
    /// The innermost container that is open, or [`NOTHING`].
    open: u32,
    /// True if that is an object.
    in_object: bool,
    /// How many are open.
    depth: usize,
    escaped: &'p mut Escaped,
    has_lines: bool,
    /// Which of the known shapes it has.
    shape: Option<usize>,
    /// How the elements of `array` look, which is an open one, or [`NOTHING`].
    element: &'p mut Expected,
    array: u32,
}

/// No container is open.
const NOTHING: u32 = u32::MAX;

/// `None` is a refusal.
#[expect(clippy::inline_always, reason = "see above")]
impl Pass<'_> {
    /// A value with all that is in it.
    fn document(&mut self, shapes: &Shapes) -> Option<()> {
        let place = (self.at, self.count);
        let mut reached;
        (reached, self.shape) = shapes.follow(self.bytes, self.room, self.escaped, place)?;
        loop {
            self.go_on(&reached);
            if let Reach::BeforeValue(name) = reached.reach {
                self.name = name;
                self.value()?;
            }
            // Behind a value, and behind each container that ends with it.
            while self.open != NOTHING {
                match self.token()? {
                    b',' => break,
                    b'}' if self.in_object => self.close()?,
                    b']' if !self.in_object => self.close()?,
                    _ => return None,
                }
            }
            if self.open == NOTHING {
                return Some(());
            }
            self.at += 1;
            if self.in_object {
                self.name()?;
            } else {
                self.name = Name::Other;
            }
            let place = (self.at, self.count);
            reached = if !self.in_object && self.expects_element() {
                let element = &self.element;
                element.follow_all(self.bytes, self.room, self.escaped, place)?
            } else {
                Reached::nothing(place, self.name)
            };
        }
    }

    /// Goes on where following has come to.
    #[inline(always)]
    fn go_on(&mut self, reached: &Reached) {
        (self.at, self.count) = (reached.at, reached.count);
        if reached.reach != Reach::Whole {
            for node in reached.first..reached.count {
                self.open_again(node);
            }
        }
    }

    /// Opens what was listed as expected and whose end is not met yet, the outer one first.
    #[inline(always)]
    fn open_again(&mut self, at: usize) {
        if let Some(node) = self.room.get_mut(at)
            && node.is_container()
            && node.span.len() == 0
        {
            node.after = self.open;
            self.open = offset(at);
            self.in_object = node.kind == Kind::Object;
            self.depth += 1;
        }
    }

    /// True if it is known how the next element of the innermost array may look: as the first, if that is an object.
    #[inline(always)]
    fn expects_element(&mut self) -> bool {
        let first = self.open as usize + 1;
        let is_first = |node: &Node| node.kind == Kind::Object && node.after == offset(self.count);
        if self.array == NOTHING
            && self.room.get(first).is_some_and(is_first)
            && self.count - first <= EXPECTED_MAX
            && !self.has_lines
        {
            let nodes = self.room.get(..self.count).unwrap_or_default();
            self.element.learn(self.bytes, nodes, first);
            self.array = self.open;
        }
        self.array == self.open
    }

    /// A value: of a container what stands before its first scalar, or all of it if it is empty.
    #[inline(always)]
    fn value(&mut self) -> Option<()> {
        loop {
            match self.token()? {
                b'{' => {
                    self.open(Kind::Object)?;
                    if self.token()? == b'}' {
                        return self.close();
                    }
                    self.name()?;
                }
                b'[' => {
                    self.open(Kind::Array)?;
                    self.name = Name::Other;
                    if self.token()? == b']' {
                        return self.close();
                    }
                }
                _ => {
                    let rest = self.bytes.get(self.at..)?;
                    let (len, kind) = scalar(rest, self.at, self.escaped)?;
                    return self.push(self.at + len, kind);
                }
            }
        }
    }

    /// The name of a member, with its colon.
    #[inline(always)]
    fn name(&mut self) -> Option<()> {
        if self.token()? != b'"' {
            return None;
        }
        let start = self.at + 1;
        let text = self.bytes.get(start..)?;
        let len = string::plain_len(text);
        if text.get(len)? == &b'"' {
            self.name = Name::of(text.get(..len)?);
            self.at = start + len + 1;
        } else {
            let len = self.escaped.note(start, text, len)?;
            self.name = self.escaped.name(self.body.get(start..start + len)?)?;
            self.at = start + len + 1;
        }
        if self.token()? != b':' {
            return None;
        }
        self.at += 1;
        Some(())
    }

    #[inline(always)]
    fn open(&mut self, kind: Kind) -> Option<()> {
        self.depth += 1;
        if self.depth > NESTING_MAX {
            return None;
        }
        let node = offset(self.count);
        self.push(self.at + 1, kind)?;
        // Until it is closed, this is where it is in.
        self.room.get_mut(node as usize)?.after = self.open;
        self.open = node;
        self.in_object = kind == Kind::Object;
        Some(())
    }

    /// Closes the innermost container, whose last byte is next.
    #[inline(always)]
    fn close(&mut self) -> Option<()> {
        self.at += 1;
        self.depth -= 1;
        if self.array == self.open {
            self.array = NOTHING;
        }
        let node = self.room.get_mut(self.open as usize)?;
        self.open = node.after;
        node.after = offset(self.count);
        node.span.end = offset(self.at);
        let outer = self.room.get(self.open as usize);
        self.in_object = outer.is_some_and(|outer| outer.kind == Kind::Object);
        Some(())
    }

    /// Lists the value from here to before `end`.
    #[inline(always)]
    fn push(&mut self, end: usize, kind: Kind) -> Option<()> {
        let node = self.room.get_mut(self.count)?;
        self.count += 1;
        *node = Node {
            span: Span::new(self.at, end),
            after: offset(self.count),
            kind,
            name: self.name,
        };
        self.at = end;
        Some(())
    }

    /// The next byte that is not white space.
    #[inline(always)]
    fn token(&mut self) -> Option<u8> {
        let byte = *self.bytes.get(self.at)?;
        if byte > b' ' {
            return Some(byte);
        }
        let (at, has_lines) = space(self.bytes, self.at);
        self.at = at;
        self.has_lines |= has_lines;
        self.bytes.get(at).copied()
    }
}

/// The offset behind the white space at `at`, and whether there is a line end in it.
#[inline(never)]
fn space(bytes: &[u8], at: usize) -> (usize, bool) {
    let rest = bytes.get(at..).unwrap_or_default();
    let is_space = |byte: &&u8| matches!(byte, b' ' | b'\t' | b'\n' | b'\r');
    let space = rest.iter().take_while(is_space);
    space.fold((at, false), |(at, has_lines), byte| {
        (at + 1, has_lines | matches!(byte, b'\n' | b'\r'))
    })
}
