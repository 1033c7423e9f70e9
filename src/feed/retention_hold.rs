//! What sinks still need of the journal.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// The lowest sequence that anybody still needs, for the journal's retention.
#[derive(Clone, Debug)]
pub struct RetentionHolds {
    lowest: Arc<AtomicU64>,
    holds: Arc<parking_lot::Mutex<Vec<Arc<AtomicU64>>>>,
}

/// What one of them still needs.
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
}

impl RetentionHold {
    /// Nothing up to `confirmed` is needed any more.
    pub fn set(&self, confirmed: u64) {
        self.mine.store(confirmed + 1, Ordering::Relaxed);
        let holds = self.all.holds.lock();
        let lowest = holds.iter().map(|hold| hold.load(Ordering::Relaxed)).min();
        self.all
            .lowest
            .store(lowest.unwrap_or(u64::MAX), Ordering::Relaxed);
    }
}
