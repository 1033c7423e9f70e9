//! A parsed body, read by the positions of its values.

use super::name::Name;
use super::node::{Kind, Node};
use super::scan::Scan;
use super::span::Span;
use std::ops::Range;

/// Borrowed view of one parsed body. Values are named by their position in the list of nodes; one that is not in it
/// is a value of no type.
#[derive(Clone, Copy)]
pub(in crate::event) struct Document<'d> {
    body: &'d str,
    nodes: &'d [Node],
    scan: &'d Scan,
}

/// One member of an object.
#[derive(Clone, Copy, Debug)]
pub(in crate::event) struct Member {
    pub(in crate::event) name: Name,
    pub(in crate::event) at: usize,
}

impl<'d> Document<'d> {
    /// What `scan` has found in `body`.
    pub(in crate::event) fn new(body: &'d str, scan: &'d Scan) -> Self {
        let nodes = scan.nodes();
        Document { body, nodes, scan }
    }

    pub(in crate::event) fn body(&self) -> &'d [u8] {
        self.body.as_bytes()
    }

    /// True if there is a line end in the value of the body, where it is between two tokens always.
    pub(in crate::event) fn has_lines(&self) -> bool {
        self.scan.has_lines()
    }

    pub(in crate::event) fn is_object(&self, at: usize) -> bool {
        self.node(at).is_some_and(|node| node.kind == Kind::Object)
    }

    /// True for an array that has elements.
    pub(in crate::event) fn is_filled_array(&self, at: usize) -> bool {
        self.elements(at).next().is_some()
    }

    /// The text of a string that is not empty, or of a number.
    pub(in crate::event) fn scalar(&self, at: usize) -> Option<&'d str> {
        let node = self.node(at)?;
        let place = node.span.range();
        match node.kind {
            // Not an empty one.
            Kind::Plain if place.len() > 2 => self.body.get(place.start + 1..place.end - 1),
            Kind::Number => self.body.get(place),
            Kind::Escaped => self.string(at),
            _ => None,
        }
    }

    /// What a string says.
    pub(in crate::event) fn string(&self, at: usize) -> Option<&'d str> {
        let node = self.node(at)?;
        if !matches!(node.kind, Kind::Plain | Kind::Escaped) {
            return None;
        }
        let quoted = node.span.range();
        let text = self.body.get(quoted.start + 1..quoted.end - 1)?;
        match node.kind {
            Kind::Plain => Some(text),
            _ => self.scan.unescaped(quoted.start + 1, text),
        }
    }

    /// What the name of a member says.
    pub(in crate::event) fn name(&self, member: Member) -> Option<&'d str> {
        let place = self.name_place(member)?;
        let text = self.body.get(place.start + 1..place.end - 1)?;
        if text.contains('\\') {
            self.scan.unescaped(place.start + 1, text)
        } else {
            Some(text)
        }
    }

    /// The name of a member as it stands in the body.
    pub(in crate::event) fn raw_name(&self, member: Member) -> &'d [u8] {
        let place = self.name_place(member).unwrap_or_default();
        self.body().get(place).unwrap_or_default()
    }

    /// The place of a name, with its quotes: between it and its value there are only the colon and white space.
    fn name_place(&self, member: Member) -> Option<Range<usize>> {
        let before = self
            .body()
            .get(..self.node(member.at)?.span.start as usize)?;
        let quote = |text: &[u8]| text.iter().rposition(|&byte| byte == b'"');
        let end = quote(before)?;
        let mut start = quote(before.get(..end)?)?;
        // A quote that the name has in it stands behind a backslash, and that not behind another one.
        let backslashes = |at: usize| {
            let before = before[..at].iter().rev();
            before.take_while(|&&byte| byte == b'\\').count()
        };
        while backslashes(start) % 2 == 1 {
            start = quote(before.get(..start)?)?;
        }
        Some(start..end + 1)
    }

    /// The members of an object in the order of the text; none if it is something else.
    #[inline]
    pub(in crate::event) fn members(&self, at: usize) -> impl Iterator<Item = Member> + use<'d> {
        let inside = self.inside(at, Kind::Object);
        let mut next = at + 1;
        std::iter::from_fn(move || {
            let at = next;
            let Node { name, after, .. } = *inside.get(at)?;
            next = after as usize;
            Some(Member { name, at })
        })
    }

    /// The elements of an array; none if it is something else.
    #[inline]
    pub(in crate::event) fn elements(&self, at: usize) -> impl Iterator<Item = usize> + use<'d> {
        let inside = self.inside(at, Kind::Array);
        let mut next = at + 1;
        std::iter::from_fn(move || {
            let at = next;
            next = inside.get(at)?.after as usize;
            Some(at)
        })
    }

    /// The value of a member; of a repeated name the last, as nearly every JSON library has it.
    pub(in crate::event) fn member(&self, at: usize, name: Name) -> Option<usize> {
        self.members(at)
            .filter(|member| member.name == name)
            .last()
            .map(|member| member.at)
    }

    /// [`Document::scalar`] of [`Document::member`].
    pub(in crate::event) fn text(&self, at: usize, name: Name) -> Option<&'d str> {
        self.scalar(self.member(at, name)?)
    }

    /// The place of a value in the body.
    pub(in crate::event) fn span(&self, at: usize) -> Span {
        self.node(at).map(|node| node.span).unwrap_or_default()
    }

    /// A value as it stands in the body.
    pub(in crate::event) fn raw(&self, at: usize) -> &'d [u8] {
        self.span(at).of(self.body()).unwrap_or_default()
    }

    #[inline]
    fn node(&self, at: usize) -> Option<&'d Node> {
        self.nodes.get(at)
    }

    /// The nodes up to the end of a container of this kind; of anything else none.
    #[inline]
    fn inside(&self, at: usize, kind: Kind) -> &'d [Node] {
        match self.node(at) {
            Some(node) if node.kind == kind => self.nodes.get(..node.after as usize),
            _ => None,
        }
        .unwrap_or_default()
    }
}
