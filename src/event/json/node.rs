//! One value of a body as it is listed: what it is, where it stands, and where what is in it ends.

use super::name::Name;
use super::span::Span;

/// One value.
#[derive(Clone, Copy, Debug)]
pub(in crate::event) struct Node {
    pub(in crate::event) span: Span,
    /// Position of the node that follows this one and all that is in it; of a container that is not closed yet, the
    /// position of the one that it is in.
    pub(in crate::event) after: u32,
    pub(in crate::event) kind: Kind,
    /// Of a member; of other values [`Name::Other`].
    pub(in crate::event) name: Name,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::event) enum Kind {
    Object,
    Array,
    /// A string that says what stands between its quotes.
    Plain,
    /// A string with an escape, see [`Scan::unescaped`](super::scan::Scan::unescaped).
    Escaped,
    Number,
    /// `true`, `false` or `null`.
    Literal,
}

impl Node {
    pub(super) const NONE: Node = Node {
        span: Span { start: 0, end: 0 },
        after: 0,
        kind: Kind::Literal,
        name: Name::Other,
    };

    pub(super) fn is_container(&self) -> bool {
        matches!(self.kind, Kind::Object | Kind::Array)
    }

    /// Mixes what does not depend on its place into a hash of nodes.
    pub(super) fn hash(&self, hash: u64) -> u64 {
        let looks = u64::from(self.after) << 16 | (self.kind as u64) << 8 | self.name as u64;
        (hash.rotate_left(5) ^ looks).wrapping_mul(0x9e37_79b9_7f4a_7c15)
    }

    /// The same in a text that begins at `at`, with a first node at `first`.
    #[inline]
    pub(super) fn moved(&self, at: u32, first: u32) -> Node {
        // Texts are short enough.
        Node {
            span: Span {
                start: self.span.start.wrapping_add(at),
                end: self.span.end.wrapping_add(at),
            },
            after: self.after.wrapping_add(first),
            ..*self
        }
    }
}

/// Bodies have been found shorter than 4 GiB, and have fewer values than bytes.
#[expect(clippy::cast_possible_truncation, reason = "see above")]
pub(super) fn offset(at: usize) -> u32 {
    at as u32
}
