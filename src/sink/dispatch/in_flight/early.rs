//! What waits for another attempt, and goes before its time: once the receiver works, and to see whether it does.

use super::InFlightSet;
use std::time::Instant;

impl InFlightSet {
    /// All that waits only because the receiver did not work may go, the oldest first. Each still takes a slot, and its
    /// conversation stays behind it.
    pub(in super::super) fn hurry(&mut self) {
        let mut early: Vec<(Instant, u64)> = self.hurrying().collect();
        early.sort_unstable_by_key(|(_, ticket)| *ticket);
        for one in early {
            self.go_early(one);
        }
    }

    /// The same for the one that is to go next.
    pub(in super::super) fn hurry_one(&mut self) {
        let next = self.hurrying().next();
        if let Some(next) = next {
            self.go_early(next);
        }
    }

    /// True when nothing is to be delivered.
    pub(in super::super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    fn hurrying(&self) -> impl Iterator<Item = (Instant, u64)> {
        let may_hurry = |(_, ticket): &(Instant, u64)| {
            let entry = self.entries.get(ticket);
            entry.is_some_and(|it| it.may_hurry && it.given_up.is_none())
        };
        self.later.iter().copied().filter(may_hurry)
    }

    fn go_early(&mut self, (at, ticket): (Instant, u64)) {
        if let Some(entry) = self.entries.get(&ticket)
            && self.later.remove(&(at, ticket))
        {
            self.ready[entry.source.place()].push_back(ticket);
        }
    }
}
