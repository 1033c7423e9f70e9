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
    /// The texts of the gaps, one behind the other.
    gaps: Vec<u8>,
    containers: Vec<Container>,
    /// Number of nodes.
    count: usize,
}

/// A gap, and the scalar behind it, if there is one.
#[derive(Clone, Copy, Debug)]
struct Step {
    /// Its begin.
    window: Window,
    /// Its length in bytes.
    len: usize,
    /// Where it ends in the texts.
    end: usize,
    /// Position of the scalar; without one, the number of nodes.
    node: usize,
    /// That of the next node.
    after: u32,
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

/// The first bytes of a gap, as most of it as there is room for: so many are compared at once. Where it has none, bits
/// are not set, neither in the mask.
#[derive(Clone, Copy, Debug)]
struct Window {
    bytes: [u8; WINDOW],
    mask: [u8; WINDOW],
}

/// Where following has come to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reached {
    pub(super) at: usize,
    /// How many nodes there are.
    pub(super) count: usize,
    pub(super) reach: Reach,
    /// How many steps were passed.
    pub(super) passed: usize,
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
        if !whole.is_container() || self.gaps.contains(&b'\\') {
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
        self.gaps.extend_from_slice(gap);
        self.steps.push(Step {
            window: Window::new(gap),
            len: gap.len(),
            end: self.gaps.len(),
            node: at,
            after: offset(at + 1),
            name,
        });
    }

    /// How many of its steps are those of another shape, too, from the first on.
    pub(super) fn alike(&self, other: &Expected) -> usize {
        let pairs = self.steps.iter().zip(&other.steps);
        let same = |(step, other_step): &(&Step, &Step)| {
            step.gap(&self.gaps) == other_step.gap(&other.gaps)
        };
        pairs.take_while(same).count()
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
        let mut at = reached.at;
        // Little is known here beside the place, so that it stays in registers.
        let mut steps = self.steps.get(reached.passed..)?.iter();
        while let Some(step) = steps.next() {
            let rest = body.get(at..)?;
            if !step.is_next(rest, &self.gaps) {
                return Some(self.stopped(reached, at, steps.len() + 1));
            }
            let text = rest.get(step.len..)?;
            let start = at.wrapping_add(step.len);
            if step.node == self.count {
                reached.reach = Reach::Whole;
                (reached.at, reached.count) = (start, first + step.node);
                return Some(reached);
            }
            // Most are strings.
            if text.first() != Some(&b'"') && !begins_scalar(text) {
                // An array may have ended instead, and so the gap is another.
                if let Some(b'{' | b'[') = text.first() {
                    reached = self.stopped(reached, start, steps.len());
                    reached.reach = Reach::BeforeValue(step.name);
                    reached.count = first + step.node;
                    return Some(reached);
                }
                return Some(self.stopped(reached, at, steps.len() + 1));
            }
            let (len, kind) = scalar(text, start, escaped)?;
            at = start.wrapping_add(len);
            *room.get_mut(step.node)? = Node {
                span: Span::new(start, at),
                after: step.after.wrapping_add(offset(first)),
                kind,
                name: step.name,
            };
        }
        Some(reached)
    }

    /// Where following has come to that stops at `at`, with so many steps left.
    fn stopped(&self, mut reached: Reached, at: usize, left: usize) -> Reached {
        let passed = self.steps.len() - left;
        if passed > reached.passed
            && let Some(last) = self.steps.get(passed - 1)
        {
            reached.reach = Reach::BehindScalar;
            reached.count = reached.first + last.node + 1;
        }
        (reached.at, reached.passed) = (at, passed);
        reached
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

impl Step {
    /// Its gap.
    fn gap<'g>(&self, gaps: &'g [u8]) -> &'g [u8] {
        let begin = self.end - self.len;
        gaps.get(begin..self.end).unwrap_or_default()
    }

    /// True if `text` begins with its gap.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "for each value")]
    fn is_next(&self, text: &[u8], gaps: &[u8]) -> bool {
        match text.first_chunk() {
            Some(begin) if self.len <= WINDOW => self.window.is(begin),
            _ => self.is_next_at_length(text, gaps),
        }
    }

    /// The same for few: a long gap, or one near the end of the text.
    #[inline(never)]
    fn is_next_at_length(&self, text: &[u8], gaps: &[u8]) -> bool {
        text.starts_with(self.gap(gaps))
    }
}

impl Window {
    fn new(gap: &[u8]) -> Window {
        let gap = &gap[..gap.len().min(WINDOW)];
        let (mut bytes, mut mask) = ([0; WINDOW], [0; WINDOW]);
        bytes[..gap.len()].copy_from_slice(gap);
        mask[..gap.len()].fill(u8::MAX);
        Window { bytes, mask }
    }

    /// True if `text` is these bytes, as far as the mask says: all at once, in registers that hold sixteen.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "for each value")]
    #[expect(clippy::needless_bitwise_bool, reason = "without a branch")]
    fn is(&self, text: &[u8; WINDOW]) -> bool {
        let expected = self.bytes.iter().zip(&self.mask);
        let pairs = text.iter().zip(expected);
        pairs.fold(true, |same, (byte, (expected, mask))| {
            same & (byte & mask == *expected)
        })
    }
}

/// True unless something else than a scalar may begin here.
#[inline]
fn begins_scalar(text: &[u8]) -> bool {
    !matches!(text.first(), Some(b'{' | b'[' | b']' | ..=b' '))
}

/// Bytes that are compared at once: more than nearly every gap has.
const WINDOW: usize = 32;

/// Instead of the position of a scalar, while a container is open.
const OPEN: usize = usize::MAX - 1;
