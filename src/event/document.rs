//! A parsed body: simd-json's tape, read by index, with the place of each value in the text.
//!
//! Strings come unescaped from the tape. Numbers come as they are written, so they keep every digit.

use super::span::{Span, Spans};
use simd_json::{Node, StaticNode};

/// Borrowed view of one parsed body. Values are named by their index on the tape; an index that is not on
/// it is a value of no type.
#[derive(Clone, Copy)]
pub(super) struct Document<'d> {
    body: &'d [u8],
    nodes: &'d [Node<'d>],
    spans: &'d Spans,
}

/// One member of an object.
#[derive(Clone, Copy, Debug)]
pub(super) struct Member<'d> {
    pub(super) key: &'d str,
    pub(super) key_at: usize,
    pub(super) at: usize,
}

impl<'d> Document<'d> {
    pub(super) fn new(body: &'d [u8], nodes: &'d [Node<'d>], spans: &'d Spans) -> Self {
        Document { body, nodes, spans }
    }

    pub(super) fn body(&self) -> &'d [u8] {
        self.body
    }

    pub(super) fn is_object(&self, at: usize) -> bool {
        matches!(self.nodes.get(at), Some(Node::Object { .. }))
    }

    /// True for an array that has elements.
    pub(super) fn is_filled_array(&self, at: usize) -> bool {
        matches!(self.nodes.get(at), Some(Node::Array { len, .. }) if *len > 0)
    }

    /// The text of a string that is not empty, or of a number.
    pub(super) fn scalar(&self, at: usize) -> Option<&'d str> {
        match self.nodes.get(at)? {
            Node::String(text) => (!text.is_empty()).then_some(*text),
            Node::Static(StaticNode::I64(_) | StaticNode::U64(_) | StaticNode::F64(_)) => {
                std::str::from_utf8(self.raw(at)).ok()
            }
            Node::Static(_) | Node::Object { .. } | Node::Array { .. } => None,
        }
    }

    /// The members of an object in the order of the text; none if it is something else.
    pub(super) fn members(&self, at: usize) -> impl Iterator<Item = Member<'d>> + use<'d> {
        let len = match self.nodes.get(at) {
            Some(Node::Object { len, .. }) => *len,
            _ => 0,
        };
        let document = *self;
        let mut next = at + 1;
        (0..len).map_while(move |_| {
            let key_at = next;
            let Some(Node::String(key)) = document.nodes.get(key_at) else {
                return None;
            };
            let at = key_at + 1;
            next = document.after(at);
            Some(Member { key, key_at, at })
        })
    }

    /// The elements of an array; none if it is something else.
    pub(super) fn elements(&self, at: usize) -> impl Iterator<Item = usize> + use<'d> {
        let len = match self.nodes.get(at) {
            Some(Node::Array { len, .. }) => *len,
            _ => 0,
        };
        let document = *self;
        let mut next = at + 1;
        (0..len).map(move |_| {
            let at = next;
            next = document.after(at);
            at
        })
    }

    /// The value of a key; of a repeated one the last, as nearly every JSON library has it.
    pub(super) fn member(&self, at: usize, key: &str) -> Option<usize> {
        self.members(at)
            .filter(|member| member.key == key)
            .last()
            .map(|member| member.at)
    }

    /// [`Document::scalar`] of [`Document::member`].
    pub(super) fn text(&self, at: usize, key: &str) -> Option<&'d str> {
        self.scalar(self.member(at, key)?)
    }

    /// The place of a value in the body.
    pub(super) fn span(&self, at: usize) -> Span {
        self.spans.get(self.body, at).unwrap_or_default()
    }

    /// A value as it stands in the body.
    pub(super) fn raw(&self, at: usize) -> &'d [u8] {
        self.span(at).of(self.body).unwrap_or_default()
    }

    /// Index of the value that follows this one and all that is in it.
    fn after(&self, at: usize) -> usize {
        match self.nodes.get(at) {
            Some(Node::Object { count, .. } | Node::Array { count, .. }) => at + 1 + count,
            _ => at + 1,
        }
    }
}
