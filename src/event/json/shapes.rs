//! The shapes of the bodies that come again and again.
//!
//! A shape is learned when it has come twice. Which of them a body has shows on the way: where it differs from one, it
//! is followed on by another that has been the same up to there.

use super::expected::{Expected, Reach, Reached};
use super::name::Name;
use super::node::Node;
use super::scalar::Escaped;

/// What bodies are likely to look like.
#[derive(Debug, Default)]
pub(super) struct Shapes {
    known: Vec<Shape>,
    /// The one that is tried first.
    last: usize,
    /// Hashes of shapes that are not known and came of late, and the one that is replaced next.
    odd: [u64; ODD_MAX],
    next_odd: usize,
}

#[derive(Debug, Default)]
struct Shape {
    expected: Expected,
    /// How many of its steps are those of each other shape, too.
    alike: [usize; KNOWN_MAX],
    /// How often it has come of late, rather than others that are not known.
    worth: u32,
}

impl Shapes {
    /// Reads the body at `place` on, as far as it has one of the shapes. Says which, if it has that to its end.
    #[inline(never)]
    pub(super) fn follow(
        &self,
        body: &[u8],
        room: &mut [Node],
        escaped: &mut Escaped,
        place: (usize, usize),
    ) -> Option<(Reached, Option<usize>)> {
        let mut reached = Reached::nothing(place, Name::Other);
        let (mut which, mut tried) = (self.last, 0);
        while let Some(shape) = self.known.get(which) {
            reached = shape.expected.go(body, room, escaped, reached)?;
            tried |= 1 << which;
            let differs = match reached.reach {
                Reach::Whole => false,
                Reach::BehindScalar => true,
                Reach::BeforeValue(_) => reached.passed == 0,
            };
            let is_next =
                |other: &usize| tried & 1 << other == 0 && shape.alike[*other] == reached.passed;
            let Some(other) = (0..self.known.len()).find(|it| differs && is_next(it)) else {
                shape.expected.place_containers(room, &reached);
                break;
            };
            which = other;
        }
        Some((reached, (reached.reach == Reach::Whole).then_some(which)))
    }

    /// Notes that a body had one of the shapes.
    pub(super) fn has_come(&mut self, which: usize) {
        self.last = which;
        let shape = &mut self.known[which];
        shape.worth = (shape.worth + 1).min(WORTH_MAX);
    }

    /// Notes that a body had none of the shapes but that of `nodes`, which have no line end. Learns it if it has come
    /// before, of late.
    pub(super) fn has_come_otherwise(&mut self, bytes: &[u8], nodes: &[Node]) {
        // A scalar alone has none.
        if !nodes.first().is_some_and(Node::is_container) {
            return;
        }
        let shape = nodes.iter().fold(0, |hash, node| node.hash(hash));
        let Some(odd) = self.odd.iter().position(|odd| *odd == shape) else {
            self.odd[self.next_odd] = shape;
            self.next_odd = (self.next_odd + 1) % ODD_MAX;
            return;
        };
        let Some(which) = self.room() else { return };
        self.odd[odd] = 0;
        self.known[which].expected.learn(bytes, nodes, 0);
        for other in 0..self.known.len() {
            let alike = self.known[which]
                .expected
                .alike(&self.known[other].expected);
            self.known[which].alike[other] = alike;
            self.known[other].alike[which] = alike;
        }
    }

    /// The place of a shape that is new, or that comes no more.
    fn room(&mut self) -> Option<usize> {
        if self.known.len() < KNOWN_MAX {
            self.known.push(Shape::default());
            return Some(self.known.len() - 1);
        }
        let least = (0..KNOWN_MAX).min_by_key(|it| self.known[*it].worth)?;
        let shape = &mut self.known[least];
        let is_worthless = shape.worth == 0;
        shape.worth = shape.worth.saturating_sub(1);
        is_worthless.then_some(least)
    }
}

/// Most shapes that are known: some of messages and some of statuses make up nearly all bodies.
const KNOWN_MAX: usize = 8;

/// Most shapes that have come once.
const ODD_MAX: usize = 8;

/// So often others come before a shape is given up that came often.
const WORTH_MAX: u32 = 16;
