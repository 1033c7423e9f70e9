//! Where each value stands in the body.
//!
//! simd-json's first stage lists the offset of every structural character: brackets, commas, colons and the
//! first character of each string, number and literal. Values stand there in the order of the tape, so
//! one pass over that list gives each node of the tape its place, with no second look at the text between.

/// A stretch of the body in octets. Bodies are shorter than 4 GiB: simd-json refuses longer ones.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) start: u32,
    pub(super) end: u32,
}

impl Span {
    /// All of `body`; of one that is too long for offsets, its beginning.
    pub(super) fn whole(body: &[u8]) -> Span {
        Span {
            start: 0,
            end: u32::try_from(body.len()).unwrap_or(u32::MAX),
        }
    }

    /// The octets of `body` at this place.
    pub(super) fn of(self, body: &[u8]) -> Option<&[u8]> {
        body.get(self.start as usize..self.end as usize)
    }

    pub(super) fn len(self) -> usize {
        (self.end - self.start) as usize
    }
}

/// The places of all nodes of a tape; reused from body to body.
#[derive(Debug, Default)]
pub(super) struct Spans {
    /// For each node its offset, and after the last one the length of the body.
    start: Vec<u32>,
    /// For each node the offset after its last character; for scalars, white space may stand before it.
    end: Vec<u32>,
    /// The containers that are still open.
    open: Vec<u32>,
}

impl Spans {
    /// Finds the places of `nodes` nodes. False if the list does not fit the tape, which would be a fault of
    /// the parser.
    pub(super) fn fill(&mut self, body: &[u8], structurals: &[u32], nodes: usize) -> bool {
        let Spans { start, end, open } = self;
        open.clear();
        start.resize(nodes, 0);
        end.resize(nodes, 0);
        let (start, end) = (&mut start[..], &mut end[..]);
        let mut count = 0;
        // The scalar whose end is the next structural character.
        let mut scalar = usize::MAX;
        for &at in structurals {
            let Some(&character) = body.get(at as usize) else {
                return false;
            };
            if let Some(end) = end.get_mut(scalar) {
                *end = at;
            }
            scalar = usize::MAX;
            match character {
                b',' | b':' => continue,
                b'}' | b']' => {
                    let Some(end) = open.pop().and_then(|node| end.get_mut(node as usize)) else {
                        return false;
                    };
                    *end = at + 1;
                    continue;
                }
                #[expect(clippy::cast_possible_truncation, reason = "fewer nodes than octets")]
                b'{' | b'[' => open.push(count as u32),
                _ => scalar = count,
            }
            let Some(start) = start.get_mut(count) else {
                return false;
            };
            *start = at;
            count += 1;
        }
        if let (Some(end), Ok(len)) = (end.get_mut(scalar), u32::try_from(body.len())) {
            *end = len; // the body is one scalar
        }
        count == nodes && open.is_empty()
    }

    /// The place of a node, the white space after a scalar left out.
    pub(super) fn get(&self, body: &[u8], node: usize) -> Option<Span> {
        let (start, mut end) = (*self.start.get(node)?, *self.end.get(node)?);
        while end > start
            && matches!(
                body.get(end as usize - 1),
                Some(b' ' | b'\t' | b'\n' | b'\r')
            )
        {
            end -= 1;
        }
        Some(Span { start, end })
    }
}
