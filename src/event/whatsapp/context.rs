//! What the updates of a change share in their `data`: the members beside the update itself.
//!
//! Each member is written once as text. It goes with every update that it belongs to, as long as its copies
//! add up to no more than [`COPIES_MAX`]; after that the event stays without it. The first update always
//! has it, so nothing is lost, and a large unknown member beside a thousand statuses costs its size a few
//! times and not a thousand.

use super::super::events::Text;
use super::super::json::document::Document;
use super::super::json::name::Name;

/// Octets that the copies of one member may add up to: what a thousand updates with 2 KiB each need.
const COPIES_MAX: usize = 2 << 20;

/// The members that apply at one point of the walk; reused from body to body.
#[derive(Debug, Default)]
pub(in crate::event) struct Context {
    members: Vec<Shared>,
    /// The members joined, and how often that text was used.
    joined: Option<Joined>,
    /// True if the body has line ends, which shared text must not have.
    has_lines: bool,
}

#[derive(Debug)]
struct Shared {
    /// `"key":value` in the text of the events.
    text: Text,
    copies_left: usize,
}

#[derive(Clone, Copy, Debug)]
struct Joined {
    text: Text,
    used: usize,
    uses_max: usize,
}

/// What [`Context::push_rest`] does with a member of the object.
#[derive(Clone, Copy)]
pub(in crate::event) enum Keep {
    /// It stays.
    All,
    /// It is carried elsewhere.
    Nothing,
    /// The array keeps the elements of which this says false; the others are carried elsewhere.
    ElementsWithout(fn(&Document<'_>, usize) -> bool),
}

impl Context {
    /// How often a text of `len` octets is repeated.
    pub(in crate::event) fn copies(len: usize) -> usize {
        (COPIES_MAX / len.max(1)).max(1)
    }

    /// Begins with another body.
    pub(in crate::event) fn begin(&mut self, document: &Document<'_>) {
        self.members.clear();
        self.joined = None;
        self.has_lines = document.has_lines();
    }

    /// How many members apply, for [`Context::pop_to`].
    pub(in crate::event) fn depth(&self) -> usize {
        self.members.len()
    }

    /// Takes back the members that were added since.
    pub(in crate::event) fn pop_to(&mut self, depth: usize) {
        self.part();
        self.members.truncate(depth);
    }

    /// Adds the member `key` with the value at `at`.
    pub(in crate::event) fn push(
        &mut self,
        out: &mut Vec<u8>,
        document: &Document<'_>,
        key: &str,
        at: usize,
    ) {
        let start = out.len();
        push_key(out, key);
        self.push_raw(out, document.raw(at));
        self.add(out, start);
    }

    /// Adds the member `key`: the object at `object` with what `keep` leaves of it. Adds nothing if that is
    /// nothing.
    pub(in crate::event) fn push_rest(
        &mut self,
        out: &mut Vec<u8>,
        document: &Document<'_>,
        key: &str,
        object: usize,
        mut keep: impl FnMut(Name, usize) -> Keep,
    ) {
        let start = out.len();
        push_key(out, key);
        out.push(b'{');
        let empty = out.len();
        for member in document.members(object) {
            let before = out.len();
            if before > empty {
                out.push(b',');
            }
            out.extend_from_slice(document.raw(member.name_at));
            out.push(b':');
            match keep(member.name, member.at) {
                Keep::All => self.push_raw(out, document.raw(member.at)),
                Keep::Nothing => out.truncate(before),
                Keep::ElementsWithout(carried) => {
                    let mut elements = document
                        .elements(member.at)
                        .filter(|&at| !carried(document, at))
                        .peekable();
                    if elements.peek().is_none() {
                        out.truncate(before);
                        continue;
                    }
                    out.push(b'[');
                    for element in elements {
                        self.push_raw(out, document.raw(element));
                        out.push(b',');
                    }
                    out.pop();
                    out.push(b']');
                }
            }
        }
        if out.len() == empty {
            out.truncate(start);
            return;
        }
        out.push(b'}');
        self.add(out, start);
    }

    /// The members for the next event, joined by commas.
    pub(in crate::event) fn text(&mut self, out: &mut Vec<u8>) -> Text {
        if let Some(joined) = self
            .joined
            .as_mut()
            .filter(|joined| joined.used < joined.uses_max)
        {
            joined.used += 1;
            return joined.text;
        }
        self.part();
        let start = out.len();
        let mut uses_max = usize::MAX;
        for member in self.members.iter().filter(|member| member.copies_left > 0) {
            if out.len() > start {
                out.push(b',');
            }
            out.extend_from_within(member.text.range());
            uses_max = uses_max.min(member.copies_left);
        }
        let text = Text::since(start, out.len());
        self.joined = Some(Joined {
            text,
            used: 1,
            uses_max,
        });
        text
    }

    fn add(&mut self, out: &[u8], start: usize) {
        self.part();
        let text = Text::since(start, out.len());
        let copies_left = Context::copies(text.len());
        self.members.push(Shared { text, copies_left });
    }

    /// Gives up the joined text, and counts the copies that it stood for.
    fn part(&mut self) {
        let Some(joined) = self.joined.take() else {
            return;
        };
        for member in self
            .members
            .iter_mut()
            .filter(|member| member.copies_left > 0)
        {
            member.copies_left = member.copies_left.saturating_sub(joined.used);
        }
    }

    fn push_raw(&self, out: &mut Vec<u8>, raw: &[u8]) {
        if self.has_lines {
            push_raw(out, raw);
        } else {
            out.extend_from_slice(raw);
        }
    }
}

/// Appends a slice of a body on one line. Line ends stand between tokens only: inside a string they would
/// not be JSON.
pub(in crate::event) fn push_raw(out: &mut Vec<u8>, raw: &[u8]) {
    let mut rest = raw;
    while let Some(at) = memchr::memchr2(b'\n', b'\r', rest) {
        out.extend_from_slice(&rest[..at]);
        out.push(b' ');
        rest = &rest[at + 1..];
    }
    out.extend_from_slice(rest);
}

/// Appends a key that needs no escape, and the colon.
pub(in crate::event) fn push_key(out: &mut Vec<u8>, key: &str) {
    out.push(b'"');
    out.extend_from_slice(key.as_bytes());
    out.extend_from_slice(b"\":");
}
