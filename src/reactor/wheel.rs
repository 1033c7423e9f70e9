//! Deadlines of one loop's connections: a hashed wheel with one place for each connection.
//!
//! Moving a deadline back, which every request does, costs nothing here: the connection notes the later tick and
//! the wheel learns of it when the earlier one comes. Links are indices, so nothing is allocated once
//! the table of connections has grown.

/// Ticks that the wheel spans. A later deadline is looked at once a turn.
const SPAN: u64 = 1024;

const NONE: u32 = u32::MAX;

/// The wheel. Ticks are counted by the caller and only ever grow.
pub(super) struct Wheel {
    /// First connection of each tick, modulo the span.
    heads: Vec<u32>,
    links: Vec<Link>,
    /// All ticks up to here have been delivered.
    now: u64,
    scheduled: usize,
    /// No deadline is earlier than this.
    earliest: u64,
}

#[derive(Clone, Copy, Debug)]
struct Link {
    next: u32,
    previous: u32,
    /// When the connection is looked at; 0 when it is not on the wheel.
    tick: u64,
}

impl Wheel {
    pub(super) fn new(now: u64) -> Wheel {
        let heads = vec![NONE; usize::try_from(SPAN).unwrap_or_default()];
        Wheel {
            heads,
            links: Vec::new(),
            now,
            scheduled: 0,
            earliest: u64::MAX,
        }
    }

    /// Makes sure that `slot` is looked at no later than at `tick`, and no later than one span from now.
    pub(super) fn schedule(&mut self, slot: usize, tick: u64) {
        if slot >= self.links.len() {
            self.links.resize(
                slot + 1,
                Link {
                    next: NONE,
                    previous: NONE,
                    tick: 0,
                },
            );
        }
        let tick = tick.clamp(self.now + 1, self.now + SPAN - 1);
        let current = self.links[slot].tick;
        if current != 0 && current <= tick {
            return;
        }
        self.remove(slot);
        let head = Self::head(tick);
        let next = self.heads[head];
        self.links[slot] = Link {
            next,
            previous: NONE,
            tick,
        };
        let this = u32::try_from(slot).expect("connections are bounded below 2^32");
        if next != NONE {
            self.links[next as usize].previous = this;
        }
        self.heads[head] = this;
        self.scheduled += 1;
        self.earliest = self.earliest.min(tick);
    }

    /// Forgets `slot`.
    pub(super) fn remove(&mut self, slot: usize) {
        let Some(&Link {
            next,
            previous,
            tick,
        }) = self.links.get(slot)
        else {
            return;
        };
        if tick == 0 {
            return;
        }
        if next != NONE {
            self.links[next as usize].previous = previous;
        }
        if previous == NONE {
            self.heads[Self::head(tick)] = next;
        } else {
            self.links[previous as usize].next = next;
        }
        self.links[slot].tick = 0;
        self.scheduled -= 1;
    }

    /// Moves on to `now` and puts every slot whose tick has come into `due`.
    pub(super) fn advance(&mut self, now: u64, due: &mut Vec<usize>) {
        if self.earliest <= now {
            for tick in self.earliest.max(self.now + 1)..=now.min(self.now + SPAN - 1) {
                while self.heads[Self::head(tick)] != NONE {
                    let slot = self.heads[Self::head(tick)] as usize;
                    self.remove(slot);
                    due.push(slot);
                }
            }
            let next = (now + 1..now + SPAN).find(|&tick| self.heads[Self::head(tick)] != NONE);
            self.earliest = next.unwrap_or(u64::MAX);
        }
        self.now = now;
    }

    /// A tick before which nothing is due; `None` when nothing is scheduled.
    pub(super) fn next(&self) -> Option<u64> {
        (self.scheduled > 0).then_some(self.earliest)
    }

    fn head(tick: u64) -> usize {
        usize::try_from(tick % SPAN).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::{SPAN, Wheel};
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    #[test]
    fn an_earlier_deadline_moves_and_a_later_one_waits() {
        let mut wheel = Wheel::new(100);
        let mut due = Vec::new();
        wheel.schedule(7, 150);
        wheel.schedule(7, 120);
        wheel.schedule(7, 140);
        assert_eq!(wheel.next(), Some(120));
        wheel.advance(119, &mut due);
        assert!(due.is_empty());
        wheel.advance(130, &mut due);
        assert_eq!((due.as_slice(), wheel.next()), (&[7][..], None));
    }

    #[test]
    fn a_far_deadline_is_looked_at_once_a_turn() {
        let mut wheel = Wheel::new(0);
        let mut due = Vec::new();
        wheel.schedule(0, 10 * SPAN);
        wheel.advance(SPAN - 1, &mut due);
        assert_eq!(due, [0]);
    }

    proptest! {
        #[test]
        fn agrees_with_a_sorted_map(
            steps in prop::collection::vec((0usize..20, 1u64..300, any::<bool>(), 0u64..40), 1..200),
        ) {
            let (mut wheel, mut model) = (Wheel::new(0), BTreeMap::new());
            let mut now = 0;
            for (slot, delay, remove, pass) in steps {
                if remove {
                    wheel.remove(slot);
                    model.remove(&slot);
                } else {
                    wheel.schedule(slot, now + delay);
                    let tick = model.entry(slot).or_insert(now + delay);
                    *tick = (*tick).min(now + delay);
                }
                now += pass;
                let mut due = Vec::new();
                wheel.advance(now, &mut due);
                due.sort_unstable();
                let expected = model.iter().filter(|(_, tick)| **tick <= now);
                let expected: Vec<usize> = expected.map(|(slot, _)| *slot).collect();
                model.retain(|_, tick| *tick > now);
                prop_assert_eq!(due, expected);
                let earliest = model.values().min().copied();
                prop_assert!(wheel.next().unwrap_or(u64::MAX) <= earliest.unwrap_or(u64::MAX));
                prop_assert_eq!(wheel.next().is_none(), earliest.is_none());
            }
        }
    }
}
