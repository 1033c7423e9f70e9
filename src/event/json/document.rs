//! A parsed body, read by the positions of its values.

use super::name::Name;
use super::scan::{Kind, Node, Scan};
use super::span::Span;

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
    pub(in crate::event) name_at: usize,
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
        let text = match node.kind {
            Kind::Number => self.body.get(node.span.range()),
            _ => self.string(at),
        };
        text.filter(|text| !text.is_empty())
    }

    /// What a string says.
    pub(in crate::event) fn string(&self, at: usize) -> Option<&'d str> {
        let node = self.node(at)?;
        let quoted = node.span.range();
        let text = || self.body.get(quoted.start + 1..quoted.end - 1);
        match node.kind {
            Kind::Plain => text(),
            Kind::Escaped => self.scan.unescaped(at, text()?),
            _ => None,
        }
    }

    /// The members of an object in the order of the text; none if it is something else.
    #[inline]
    pub(in crate::event) fn members(&self, at: usize) -> impl Iterator<Item = Member> + use<'d> {
        let inside = self.inside(at, Kind::Object);
        let mut next = at + 1;
        std::iter::from_fn(move || {
            // A name, and its value behind it.
            let name_at = next;
            let name = inside.get(name_at)?.name;
            let at = name_at + 1;
            next = inside.get(at)?.after as usize;
            Some(Member { name, name_at, at })
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
