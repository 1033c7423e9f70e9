//! What a text is likely to look like: a body as one before it, an element of an array as the one before it.
//!
//! What stands between two scalars, names and punctuation, is a *gap* here. Where the gaps of two texts are the same,
//! so are their nodes but for the places. So a gap is compared as a whole instead of being taken apart, and adds the
//! containers that it added when it was first met. At the first difference the scan goes on by itself, from there.

use super::name::Name;
use super::node::{Node, offset};
use super::scalar::{Escaped, scalar};
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
#[derive(Clone, Copy, Debug, PartialEq)]
struct Word {
    bytes: u64,
    mask: u64,
}

/// Where following has come to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reached {
    pub(super) at: usize,
    /// How many nodes there are.
    pub(super) count: usize,
    pub(super) reach: Reach,
    /// How many steps were passed, and how many words they have.
    pub(super) passed: usize,
    words: usize,
    /// Where the text begins, and the position of its first node.
    begin: usize,
    pub(super) first: usize,
}

impl Reached {
    /// Nowhere yet in a text that begins at `at`, with its first node at position `count`.
    #[inline]
    pub(super) fn nothing((at, count): (usize, usize), name: Name) -> Reached {
        Reached {
            at,
            count,
            reach: Reach::BeforeValue(name),
            passed: 0,
            words: 0,
            begin: at,
            first: count,
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

    /// How many of its steps are those of another shape, too, from the first on.
    pub(super) fn alike(&self, other: &Expected) -> usize {
        let (mut steps, mut words) = (0, 0);
        for (step, other_step) in self.steps.iter().zip(&other.steps) {
            let gap = words..words + step.words;
            if step.len != other_step.len || self.gaps.get(gap.clone()) != other.gaps.get(gap) {
                break;
            }
            (steps, words) = (steps + 1, words + step.words);
        }
        steps
    }

    /// Follows elements of an array, from one at `place` on, up to the first that is not as expected.
    #[inline(never)]
    pub(super) fn follow_all(
        &self,
        body: &[u8],
        room: &mut [Node],
        escaped: &mut Escaped,
        mut place: (usize, usize),
    ) -> Option<Reached> {
        loop {
            let reached = Reached::nothing(place, Name::Other);
            let reached = self.go(body, room, escaped, reached)?;
            self.place_containers(room, &reached);
            if reached.reach != Reach::Whole || body.get(reached.at) != Some(&b',') {
                return Some(reached);
            }
            place = (reached.at + 1, reached.count);
        }
    }

    /// Reads a text on from where following has come to, as far as it is as expected, and lists its scalars. `None` is
    /// a refusal.
    #[inline(always)]
    #[expect(
        clippy::inline_always,
        reason = "what it has reached stays in registers"
    )]
    pub(super) fn go(
        &self,
        body: &[u8],
        room: &mut [Node],
        escaped: &mut Escaped,
        mut reached: Reached,
    ) -> Option<Reached> {
        let first = reached.first;
        let Some(room) = room.get_mut(first..first + self.count) else {
            return Some(reached);
        };
        let mut rest = body.get(reached.at..)?;
        let mut gaps = self.gaps.get(reached.words..)?;
        let mut count = reached.count - first;
        let mut passed = reached.passed;
        for step in self.steps.get(passed..)? {
            let (gap, later) = gaps.split_at_checked(step.words)?;
            if !begins_with(rest, gap, step.len) {
                break;
            }
            let behind = rest.get(step.len..)?;
            if later.is_empty() {
                (rest, count, reached.reach) = (behind, step.node, Reach::Whole);
                break;
            }
            let start = body.len() - behind.len();
            // Most are strings.
            if behind.first() != Some(&b'"') && !begins_scalar(behind) {
                // An array may have ended instead, and so the gap is another.
                if let Some(b'{' | b'[') = behind.first() {
                    (rest, count) = (behind, step.node);
                    reached.reach = Reach::BeforeValue(step.name);
                    passed += 1;
                }
                break;
            }
            let (len, kind) = scalar(behind, start, escaped)?;
            count = step.node + 1;
            *room.get_mut(step.node)? = Node {
                span: Span::new(start, start + len),
                after: offset(first + count),
                kind,
                name: step.name,
            };
            rest = behind.get(len..)?;
            reached.reach = Reach::BehindScalar;
            passed += 1;
            gaps = later;
        }
        reached.at = body.len() - rest.len();
        reached.count = first + count;
        reached.passed = passed;
        reached.words = self.gaps.len() - gaps.len();
        Some(reached)
    }

    /// Lists the containers of what was read. What is open has an empty place.
    #[inline(always)]
    #[expect(
        clippy::inline_always,
        reason = "what it has reached stays in registers"
    )]
    pub(super) fn place_containers(&self, room: &mut [Node], reached: &Reached) {
        let (at, first) = (offset(reached.begin), reached.first);
        let count = reached.count - first;
        // What ends behind the last scalar may have more in it.
        let is_behind = reached.reach == Reach::BehindScalar;
        let ended = offset(count - usize::from(is_behind));
        let room = room.get_mut(first..).unwrap_or_default();
        for container in self.containers.iter().take_while(|it| it.at < count) {
            let gap = |scalar: usize| room.get(scalar).map_or(at, |scalar| scalar.span.end);
            let mut node = container.node.moved(gap(container.begins), offset(first));
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
    /// At most eight bytes.
    fn new(bytes: &[u8]) -> Word {
        let (mut word, mut mask) = ([0; 8], [0; 8]);
        word[..bytes.len()].copy_from_slice(bytes);
        mask[..bytes.len()].fill(u8::MAX);
        Word {
            bytes: u64::from_le_bytes(word),
            mask: u64::from_le_bytes(mask),
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
