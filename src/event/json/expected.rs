//! What a text is likely to look like: a body as one before it, an element of an array as the one before it.
//!
//! What stands between two scalars, names and punctuation, is a *gap* here. Where the gaps of two texts are the same, so
//! are their nodes but for the places. So a gap is compared as a whole instead of being taken apart, and adds the nodes
//! that it added when it was first met. At the first difference the scan goes on by itself, from there.

use super::name::Name;
use super::scan::{Escaped, Kind, Node, offset, scalar};
use super::span::Span;

/// The shape of one text: its gaps, and the nodes that each adds.
#[derive(Debug, Default)]
pub(super) struct Expected {
    steps: Vec<Step>,
    /// The gaps, joined.
    gaps: Vec<u8>,
    /// What the gaps add. Places count from the start of the gap, positions from that of the first node. The place of
    /// a container is empty until its end is met.
    nodes: Vec<Node>,
    ends: Vec<End>,
    /// While it learns, the containers that are open, and whether what comes next in them is a name.
    open: Vec<(usize, bool)>,
    /// Likewise, how many nodes and ends belong to a step.
    stepped: (usize, usize),
}

/// How long a gap is, and how many nodes and ends belong to it.
#[derive(Clone, Copy, Debug, Default)]
struct Step {
    gap: usize,
    nodes: usize,
    ends: usize,
}

/// The end of a container.
#[derive(Clone, Copy, Debug)]
struct End {
    /// Position of the container.
    node: usize,
    /// Its end, from the start of the gap that it lies in.
    offset: u32,
}

/// How far a text is as expected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reach {
    /// To its end.
    Whole,
    /// To the end of a scalar.
    BehindScalar,
    /// To where a value begins.
    BeforeValue,
}

impl Expected {
    /// Learns how a container looks that was found between `nodes`: the one at `first`, with all that is behind it. It
    /// has no line end.
    pub(super) fn learn(&mut self, bytes: &[u8], nodes: &[Node], first: usize) {
        self.forget();
        if !matches!(nodes[first].kind, Kind::Object | Kind::Array) {
            return;
        }
        let mut gap = nodes[first].span.start;
        for (at, node) in nodes.iter().enumerate().skip(first) {
            self.end_containers(nodes, (at, first), gap);
            let mut is_name = false;
            if let Some((container, next)) = self.open.last_mut() {
                is_name = *next;
                *next = nodes[*container].kind == Kind::Object && !is_name;
            }
            let len = match node.kind {
                Kind::Object | Kind::Array => {
                    self.open.push((at, node.kind == Kind::Object));
                    0
                }
                Kind::Plain if is_name => node.span.len(),
                // What it says is noted under its position.
                Kind::Escaped if is_name => return self.forget(),
                _ => {
                    self.step(
                        Span {
                            start: gap,
                            end: node.span.start,
                        }
                        .of(bytes),
                    );
                    gap = node.span.end;
                    continue;
                }
            };
            let start = (node.span.start - gap) as usize;
            self.nodes.push(Node {
                span: Span::new(start, start + len),
                after: node.after - offset(first),
                ..*node
            });
        }
        self.end_containers(nodes, (nodes.len(), first), gap);
        self.step(
            Span {
                start: gap,
                end: nodes[first].span.end,
            }
            .of(bytes),
        );
    }

    /// Expects nothing any more.
    pub(super) fn forget(&mut self) {
        self.steps.clear();
        self.gaps.clear();
        self.nodes.clear();
        self.ends.clear();
        self.open.clear();
        self.stepped = (0, 0);
    }

    /// Reads what begins at `at`, and lists it from position `count` on, as far as it is as expected. Gives where the
    /// scan goes on; `None` is a refusal. What is open there has an empty place.
    #[inline(never)]
    pub(super) fn follow(
        &self,
        body: &str,
        room: &mut [Node],
        escaped: &mut Escaped,
        (mut at, mut count): (usize, usize),
    ) -> Option<(usize, usize, Reach)> {
        let first = count;
        let mut rest = body.as_bytes().get(at..)?;
        let (mut gaps, mut nodes) = (self.gaps.as_slice(), self.nodes.as_slice());
        let mut ends = self.ends.as_slice();
        let mut reach = Reach::BeforeValue;
        for step in &self.steps {
            let (gap, added, ended);
            (gap, gaps) = gaps.split_at_checked(step.gap)?;
            (added, nodes) = nodes.split_at_checked(step.nodes)?;
            (ended, ends) = ends.split_at_checked(step.ends)?;
            // The scalar needs room, too.
            let places = room.get_mut(count..=count + added.len());
            let (Some(behind), Some(places)) = (rest.strip_prefix(gap), places) else {
                break;
            };
            for (place, node) in places.iter_mut().zip(added) {
                *place = node.moved(offset(at), offset(first));
            }
            for end in ended {
                room.get_mut(first + end.node)?.span.end = offset(at) + end.offset;
            }
            (at, count) = (at + gap.len(), count + added.len());
            if gaps.is_empty() {
                reach = Reach::Whole;
                break;
            }
            let scalars = [b'"', b'-', b't', b'f', b'n'];
            let is_scalar = |byte: &u8| scalars.contains(byte) || byte.is_ascii_digit();
            if !behind.first().is_some_and(is_scalar) {
                reach = Reach::BeforeValue;
                break;
            }
            reach = Reach::BehindScalar;
            let (len, kind) = scalar(behind, count, escaped)?;
            *room.get_mut(count)? = Node::new(at, at + len, count + 1, kind, Name::Other);
            (at, count) = (at + len, count + 1);
            rest = behind.get(len..)?;
        }
        Some((at, count, reach))
    }

    /// Adds the ends of the containers that end before the node at `at`, if the first of all stands at `first`.
    fn end_containers(&mut self, nodes: &[Node], (at, first): (usize, usize), gap: u32) {
        let ends = |(container, _): &mut (usize, bool)| nodes[*container].after == offset(at);
        while let Some((container, _)) = self.open.pop_if(ends) {
            self.ends.push(End {
                node: container - first,
                offset: nodes[container].span.end - gap,
            });
        }
    }

    /// Adds a step over a gap, with the nodes and ends that were added since the one before.
    fn step(&mut self, gap: Option<&[u8]>) {
        let gap = gap.unwrap_or_default();
        self.gaps.extend_from_slice(gap);
        self.steps.push(Step {
            gap: gap.len(),
            nodes: self.nodes.len() - self.stepped.0,
            ends: self.ends.len() - self.stepped.1,
        });
        self.stepped = (self.nodes.len(), self.ends.len());
    }
}
