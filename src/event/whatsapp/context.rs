//! What the updates of a change share in their `data`: the members beside the update itself.
//!
//! Each member is written once as text. It goes with every update that it belongs to, as long as its copies
//! add up to no more than [`COPIES_MAX`]; after that the event stays without it. The first update always
//! has it, so nothing is lost, and a large unknown member beside a thousand statuses costs its size a few
//! times and not a thousand.

use super::super::events::Text;
use super::super::json::document::Document;
use super::super::json::name::Name;

/// Bytes that the copies of one member may add up to: what a thousand updates with 2 KiB each need.
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
    /// How often a text of `len` bytes is repeated.
    pub(in crate::event) fn copies(len: usize) -> usize {
        (COPIES_MAX / len.max(1)).max(1)
    }

    /// Bytes of memory that it takes.
    pub(in crate::event) fn bytes(&self) -> usize {
        self.members.capacity() * size_of::<Shared>()
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

    /// Adds the member `key`, which is given as it is written, from a comma to the colon, with the value at `at`.
    pub(in crate::event) fn push(
        &mut self,
        out: &mut Vec<u8>,
        document: &Document<'_>,
        key: &str,
        at: usize,
    ) {
        let start = begin_member(out, key);
        self.push_raw(out, document.raw(at));
        self.add(out, start);
    }

    /// Adds the member `key`, given alike: the object at `object` with what `keep` leaves of it. Adds nothing if that
    /// is nothing.
    pub(in crate::event) fn push_rest(
        &mut self,
        out: &mut Vec<u8>,
        document: &Document<'_>,
        key: &str,
        object: usize,
        mut keep: impl FnMut(Name, usize) -> Keep,
    ) {
        let mut start = None;
        for member in document.members(object) {
            let mut elements = match keep(member.name, member.at) {
                Keep::Nothing => continue,
                Keep::All => None,
                Keep::ElementsWithout(carried) => {
                    let elements = document.elements(member.at);
                    Some(
                        elements
                            .filter(move |&at| !carried(document, at))
                            .peekable(),
                    )
                }
            };
            if elements.as_mut().is_some_and(|it| it.peek().is_none()) {
                continue;
            }
            if start.is_none() {
                start = Some(begin_member(out, key));
                out.push(b'{');
            } else {
                out.push(b',');
            }
            out.extend_from_slice(document.raw_name(member));
            out.push(b':');
            let Some(elements) = elements else {
                self.push_raw(out, document.raw(member.at));
                continue;
            };
            out.push(b'[');
            for element in elements {
                self.push_raw(out, document.raw(element));
                out.push(b',');
            }
            out.pop();
            out.push(b']');
        }
        if let Some(start) = start {
            out.push(b'}');
            self.add(out, start);
        }
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
        let text = self.in_place().unwrap_or_else(|| self.join(out));
        let left = self.members.iter().map(|member| member.copies_left);
        self.joined = Some(Joined {
            text,
            used: 1,
            uses_max: left.filter(|&left| left > 0).min().unwrap_or(usize::MAX),
        });
        text
    }

    /// The members as they stand, if all are left and each follows the one before.
    fn in_place(&self) -> Option<Text> {
        let (first, last) = (self.members.first()?, self.members.last()?);
        let mut next = first.text.range().start;
        for member in &self.members {
            let place = member.text.range();
            if place.start != next || member.copies_left == 0 {
                return None;
            }
            // Behind a comma.
            next = place.end + 1;
        }
        Some(Text::since(first.text.range().start, last.text.range().end))
    }

    /// Joins those that are left.
    fn join(&self, out: &mut Vec<u8>) -> Text {
        let start = out.len();
        for member in self.members.iter().filter(|member| member.copies_left > 0) {
            if out.len() > start {
                out.push(b',');
            }
            out.extend_from_within(member.text.range());
        }
        Text::since(start, out.len())
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

/// Appends a key, and gives the start of the text of its member: behind the comma, which is that of the member before
/// where the two stand together.
fn begin_member(out: &mut Vec<u8>, key: &str) -> usize {
    out.extend_from_slice(key.as_bytes());
    out.len() - key.len() + 1
}
