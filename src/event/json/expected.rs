//! What a text is likely to look like: a body as one before it, an element of an array as the one before it.
//!
//! What stands between two scalars, names and punctuation, is a *gap* here. Where the gaps of two texts are the same, so
//! are their nodes but for the places. So a gap is compared as a whole instead of being taken apart, and adds the
//! containers that it added when it was first met. At the first difference the scan goes on by itself, from there.

use super::name::Name;
use super::scan::{Escaped, Node, offset, scalar};
use super::span::Span;

/// The shape of one text: its gaps, and what stands between them. Positions count from that of its first node.
#[derive(Debug, Default)]
pub(super) struct Expected {
    steps: Vec<Step>,
    /// The words of the gaps.
    gaps: Vec<Word>,
    containers: Vec<Container>,
    /// Number of nodes.
    count: usize,
}

/// A gap, and the scalar behind it, if there is one.
#[derive(Clone, Copy, Debug)]
struct Step {
    /// Its length in bytes.
    len: usize,
    /// How many words it has.
    words: usize,
    /// Position of the scalar; without one, the number of nodes.
    node: usize,
    name: Name,
}

/// An array or an object.
#[derive(Clone, Copy, Debug)]
struct Container {
    /// Its begin and its end count from the starts of the gaps that they lie in.
    node: Node,
    /// Its position.
    at: usize,
    /// Positions of the scalars before these gaps; [`usize::MAX`] where there is none.
    begins: usize,
    ends: usize,
}

/// Eight bytes of a gap, little-endian. Where the last ones have none, bits are not set, neither in the mask.
#[derive(Clone, Copy, Debug)]
struct Word {
    bytes: u64,
    mask: u64,
}

/// Where following has come to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reached {
    pub(super) at: usize,
    /// How many nodes there are, and how many were there when the last text began.
    pub(super) count: usize,
    pub(super) first: usize,
    pub(super) reach: Reach,
}

impl Reached {
    /// Nowhere: it is at the place in the text and among the nodes where it has begun.
    #[inline]
    pub(super) fn new((at, count): (usize, usize), reach: Reach) -> Reached {
        Reached {
            at,
            count,
            first: count,
            reach,
        }
    }
}

/// How far a text is as expected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reach {
    /// To its end.
    Whole,
    /// To the end of a scalar.
    BehindScalar,
    /// To where a value begins, which has this name.
    BeforeValue(Name),
}

impl Expected {
    /// Learns how a container looks that was found among `nodes`: the one at `first`, with all that is behind it. It
    /// has no line end.
    pub(super) fn learn(&mut self, bytes: &[u8], nodes: &[Node], first: usize) {
        self.forget();
        let nodes = nodes.get(first..).unwrap_or_default();
        let Some(whole) = nodes.first() else { return };
        let (mut gap, mut scalar) = (whole.span.start, usize::MAX);
        for (at, node) in nodes.iter().enumerate() {
            self.end_containers(at, gap, scalar);
            if node.is_container() {
                let mut moved = node.moved(gap.wrapping_neg(), offset(first).wrapping_neg());
                // That end is found when it is met.
                moved.span.end = node.span.end;
                self.containers.push(Container {
                    node: moved,
                    at,
                    begins: scalar,
                    ends: OPEN,
                });
            } else {
                let text = Span {
                    start: gap,
                    end: node.span.start,
                };
                self.step(text.of(bytes), at, node.name);
                (gap, scalar) = (node.span.end, at);
            }
        }
        self.end_containers(nodes.len(), gap, scalar);
        let text = Span {
            start: gap,
            end: whole.span.end,
        };
        self.step(text.of(bytes), nodes.len(), Name::Other);
        self.count = nodes.len();
        // A scalar alone needs no help. What a name with an escape says is noted elsewhere.
        let has_escape = |gap: &Word| gap.bytes.to_le_bytes().contains(&b'\\');
        if !whole.is_container() || self.gaps.iter().any(has_escape) {
            self.forget();
        }
    }

    /// Expects nothing any more.
    fn forget(&mut self) {
        self.steps.clear();
        self.gaps.clear();
        self.containers.clear();
        self.count = 0;
    }

    /// Notes that those of the open containers end in this gap that end before the node at position `at`.
    fn end_containers(&mut self, at: usize, gap: u32, scalar: usize) {
        let ending = |it: &&mut Container| it.ends == OPEN && it.node.after == offset(at);
        for container in self.containers.iter_mut().rev().filter(ending) {
            container.ends = scalar;
            container.node.span.end -= gap;
        }
    }

    /// Adds a step over a gap, to the scalar at position `at`.
    fn step(&mut self, gap: Option<&[u8]>, at: usize, name: Name) {
        let gap = gap.unwrap_or_default();
        let words = gap.chunks(8).map(Word::new);
        self.steps.push(Step {
            len: gap.len(),
            words: words.len(),
            node: at,
            name,
        });
        self.gaps.extend(words);
    }

    /// [Follows](Expected::follow) elements of an array, from one on, up to the first that is not as expected.
    #[inline(never)]
    pub(super) fn follow_all(
        &self,
        body: &[u8],
        room: &mut [Node],
        escaped: &mut Escaped,
        mut place: (usize, usize),
    ) -> Option<Reached> {
        loop {
            let reached = self.follow(body, room, escaped, place)?;
            if reached.reach != Reach::Whole || body.get(reached.at) != Some(&b',') {
                return Some(reached);
            }
            place = (reached.at + 1, reached.count);
        }
    }

    /// Reads what begins at `at`, and lists it from position `first` on, as far as it is as expected. Gives where the
    /// scan goes on; `None` is a refusal. What is open there has an empty place.
    #[inline]
    pub(super) fn follow(
        &self,
        body: &[u8],
        room: &mut [Node],
        escaped: &mut Escaped,
        (at, first): (usize, usize),
    ) -> Option<Reached> {
        let mut reach = Reach::BeforeValue(Name::Other);
        let Some(room) = room.get_mut(first..first + self.count) else {
            return Some(Reached::new((at, first), reach));
        };
        let mut rest = body.get(at..)?;
        let mut gaps = self.gaps.as_slice();
        let mut count = 0;
        for step in &self.steps {
            let gap;
            (gap, gaps) = gaps.split_at_checked(step.words)?;
            if !begins_with(rest, gap, step.len) {
                break;
            }
            let behind = rest.get(step.len..)?;
            if gaps.is_empty() {
                (rest, count, reach) = (behind, step.node, Reach::Whole);
                break;
            }
            let start = body.len() - behind.len();
            // Most are strings.
            if behind.first() != Some(&b'"') && !begins_scalar(behind) {
                // An array may have ended instead, and so the gap is another.
                if let Some(b'{' | b'[') = behind.first() {
                    (rest, count, reach) = (behind, step.node, Reach::BeforeValue(step.name));
                }
                break;
            }
            let (len, kind) = scalar(behind, start, escaped)?;
            (count, reach) = (step.node, Reach::BehindScalar);
            *room.get_mut(count)? = Node {
                span: Span::new(start, start + len),
                after: offset(first + count + 1),
                kind,
                name: step.name,
            };
            rest = behind.get(len..)?;
        }
        if reach == Reach::BehindScalar {
            count += 1;
        }
        self.place_containers(room, (offset(at), offset(first)), count, reach);
        Some(Reached {
            at: body.len() - rest.len(),
            count: first + count,
            first,
            reach,
        })
    }

    /// Lists the containers among the first `count` nodes of a text that begins at `at`.
    #[inline]
    fn place_containers(
        &self,
        room: &mut [Node],
        (at, first): (u32, u32),
        count: usize,
        reach: Reach,
    ) {
        // What ends behind the last scalar may have more in it.
        let ended = offset(count - usize::from(reach == Reach::BehindScalar));
        for container in self.containers.iter().take_while(|it| it.at < count) {
            let gap = |scalar: usize| room.get(scalar).map_or(at, |scalar| scalar.span.end);
            let mut node = container.node.moved(gap(container.begins), first);
            node.span.end = if container.node.after <= ended {
                gap(container.ends).wrapping_add(container.node.span.end)
            } else {
                node.span.start
            };
            if let Some(place) = room.get_mut(container.at) {
                *place = node;
            }
        }
    }
}

impl Word {
    /// Up to eight bytes.
    fn new(bytes: &[u8]) -> Word {
        let word = |bytes: &mut dyn Iterator<Item = u8>| {
            let mut word = [0; 8];
            word.iter_mut().zip(bytes).for_each(|(to, byte)| *to = byte);
            u64::from_le_bytes(word)
        };
        Word {
            bytes: word(&mut bytes.iter().copied()),
            mask: word(&mut bytes.iter().map(|_| u8::MAX)),
        }
    }

    #[inline]
    fn is(&self, word: u64) -> bool {
        word & self.mask == self.bytes
    }
}

/// True unless something else than a scalar may begin here.
#[inline]
fn begins_scalar(text: &[u8]) -> bool {
    !matches!(text.first(), Some(b'{' | b'[' | b']' | ..=b' '))
}

/// True if `text` begins with a gap that is `len` bytes long.
#[inline]
fn begins_with(text: &[u8], gap: &[Word], len: usize) -> bool {
    let (words, _) = text.as_chunks();
    if let Some(words) = words.get(..gap.len()) {
        let mut pairs = words.iter().zip(gap);
        return pairs.all(|(word, expected)| expected.is(u64::from_le_bytes(*word)));
    }
    // Its last word is longer than the text.
    let mut pairs = text.chunks(8).zip(gap);
    text.len() >= len && pairs.all(|(bytes, expected)| expected.is(Word::new(bytes).bytes))
}

/// Instead of the position of a scalar, while a container is open.
const OPEN: usize = usize::MAX - 1;
