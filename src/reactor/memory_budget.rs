//! What the connections of a loop hold in memory, and who gives it up when it is too much.
//!
//! Held are incomplete requests, whole ones that a limit has put back, and answers that nobody reads. First come, first
//! served would let a few slow senders keep everybody else out until their deadlines. So whoever has held something
//! for longer than [`PATIENCE`] without a request being served goes first, the oldest before the others; only when
//! nobody has is it the one that asks for more. A sender that is as quick as a network lets it be is done before
//! that, and is not given up for newcomers however many these are.

use std::collections::BTreeSet;

/// See the module.
pub(super) struct MemoryBudget {
    bytes: usize,
    bytes_max: usize,
    /// Whoever holds something: since which tick, and its token.
    holders: BTreeSet<(u64, usize)>,
}

/// The part of one connection, as it was noted last.
#[derive(Debug, Default)]
pub(super) struct Share {
    bytes: usize,
    since: u64,
}

impl MemoryBudget {
    pub(super) fn new(bytes_max: usize) -> MemoryBudget {
        MemoryBudget {
            bytes: 0,
            bytes_max,
            holders: BTreeSet::new(),
        }
    }

    /// Bytes of all connections.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Notes that a connection holds so many `bytes` now; `anew` when what it held before has been served.
    pub(super) fn note(
        &mut self,
        share: &mut Share,
        token: usize,
        bytes: usize,
        (now, anew): (u64, bool),
    ) {
        // The usual case: nothing before, nothing now.
        if bytes == 0 && share.bytes == 0 {
            return;
        }
        self.bytes = self.bytes - share.bytes + bytes;
        if share.bytes > 0 && (bytes == 0 || (anew && share.since != now)) {
            self.holders.remove(&(share.since, token));
            share.bytes = 0;
        }
        if bytes > 0 && share.bytes == 0 {
            share.since = now;
            self.holders.insert((now, token));
        }
        share.bytes = bytes;
    }

    /// The token of the connection that has to give up what it holds, if anybody has to; `asking` is the one that has
    /// grown last.
    pub(super) fn victim(&self, now: u64, asking: usize) -> Option<usize> {
        if self.bytes <= self.bytes_max {
            return None;
        }
        let &(since, oldest) = self.holders.first()?;
        let slow = now.saturating_sub(since) > PATIENCE;
        Some(if slow { oldest } else { asking })
    }
}

/// Ticks, two seconds of them: to fill a budget of 256 MiB with what is younger takes more than a gigabit a second.
const PATIENCE: u64 = 40;

#[cfg(test)]
mod tests {
    use super::{MemoryBudget, PATIENCE, Share};

    #[test]
    fn the_slow_give_up_before_the_one_that_asks() {
        let mut budget = MemoryBudget::new(100);
        let [mut slow, mut quick, mut asking] =
            [Share::default(), Share::default(), Share::default()];
        budget.note(&mut slow, 1, 50, (0, false));
        budget.note(&mut quick, 2, 50, (0, false));
        assert_eq!(budget.victim(9, 2), None);
        budget.note(&mut asking, 3, 10, (9, false));
        assert_eq!(budget.victim(9, 3), Some(3), "nobody is slow yet");
        // More of the same does not make it younger, a request that was served does.
        budget.note(&mut slow, 1, 60, (10, false));
        budget.note(&mut quick, 2, 40, (10, true));
        assert_eq!(budget.victim(PATIENCE, 3), Some(3));
        assert_eq!(budget.victim(PATIENCE + 1, 3), Some(1));
        budget.note(&mut slow, 1, 0, (PATIENCE + 1, false));
        assert_eq!((budget.bytes(), budget.victim(99, 3)), (50, None));
    }

    #[test]
    fn who_holds_nothing_is_on_no_list() {
        let mut budget = MemoryBudget::new(0);
        let mut share = Share::default();
        for (bytes, anew) in [
            (0, true),
            (5, true),
            (7, true),
            (7, false),
            (0, true),
            (0, false),
        ] {
            budget.note(&mut share, 1, bytes, (1, anew));
            assert_eq!(budget.holders.len(), usize::from(bytes > 0));
            assert_eq!(budget.bytes(), bytes);
        }
    }
}
