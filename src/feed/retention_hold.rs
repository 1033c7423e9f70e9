//! What sinks still need of the journal.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// The lowest sequence that anybody still needs, for the journal's retention.
#[derive(Clone, Debug)]
pub struct RetentionHolds {
    lowest: Arc<AtomicU64>,
    holds: Arc<parking_lot::Mutex<Vec<Arc<AtomicU64>>>>,
}

/// What one of them still needs, until it is released: whoever has ended may go on after all.
#[derive(Clone)]
pub struct RetentionHold {
    all: RetentionHolds,
    mine: Arc<AtomicU64>,
}

impl RetentionHolds {
    /// One that keeps `lowest` up to date; without any sink, nothing is needed.
    pub fn new(lowest: Arc<AtomicU64>) -> RetentionHolds {
        lowest.store(u64::MAX, Ordering::Relaxed);
        RetentionHolds {
            lowest,
            holds: Arc::default(),
        }
    }

    /// Takes part with everything behind `confirmed`.
    pub fn hold(&self, confirmed: u64) -> RetentionHold {
        let mine = Arc::new(AtomicU64::new(0));
        self.holds.lock().push(Arc::clone(&mine));
        let hold = RetentionHold {
            all: self.clone(),
            mine,
        };
        hold.set(confirmed);
        hold
    }

    fn update(&self) {
        let holds = self.holds.lock();
        let lowest = holds.iter().map(|hold| hold.load(Ordering::Relaxed)).min();
        self.lowest
            .store(lowest.unwrap_or(u64::MAX), Ordering::Relaxed);
    }
}

impl RetentionHold {
    /// Nothing up to `confirmed` is needed any more.
    pub fn set(&self, confirmed: u64) {
        self.mine.store(confirmed + 1, Ordering::Relaxed);
        self.all.update();
    }

    /// It needs nothing any more.
    pub fn release(self) {
        let mut holds = self.all.holds.lock();
        holds.retain(|hold| !Arc::ptr_eq(hold, &self.mine));
        drop(holds);
        self.all.update();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_released_is_needed_by_nobody() {
        let lowest = Arc::new(AtomicU64::new(0));
        let holds = RetentionHolds::new(Arc::clone(&lowest));
        let now = || lowest.load(Ordering::Relaxed);
        let (one, other) = (holds.hold(7), holds.hold(3));
        assert_eq!(now(), 4);
        let successor = holds.hold(3);
        other.clone().release();
        assert_eq!(now(), 4);
        successor.release();
        assert_eq!(now(), 8);
        // Whoever was late does no harm.
        other.set(4);
        assert_eq!(now(), 8);
        one.release();
        assert_eq!(now(), u64::MAX);
    }
}
