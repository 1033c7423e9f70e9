//! A place in a text.

use std::ops::Range;

/// A stretch of a text in octets, which is shorter than 4 GiB.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::event) struct Span {
    pub(in crate::event) start: u32,
    pub(in crate::event) end: u32,
}

impl Span {
    /// From `start` to before `end`, in a text that was found short enough.
    #[inline]
    #[expect(clippy::cast_possible_truncation, reason = "the text is short enough")]
    pub(in crate::event) fn new(start: usize, end: usize) -> Span {
        Span {
            start: start as u32,
            end: end as u32,
        }
    }

    /// All of `body`; of one that is too long for offsets, its beginning.
    pub(in crate::event) fn whole(body: &[u8]) -> Span {
        Span {
            start: 0,
            end: u32::try_from(body.len()).unwrap_or(u32::MAX),
        }
    }

    #[inline]
    pub(in crate::event) fn range(self) -> Range<usize> {
        self.start as usize..self.end as usize
    }

    /// The octets of `body` at this place.
    #[inline]
    pub(in crate::event) fn of(self, body: &[u8]) -> Option<&[u8]> {
        body.get(self.range())
    }

    #[inline]
    pub(in crate::event) fn len(self) -> usize {
        (self.end - self.start) as usize
    }
}
