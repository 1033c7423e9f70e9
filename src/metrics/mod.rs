//! Counters and histograms that cost the hot path a plain store.
//!
//! Every counter of the hot path has one writer, its thread; so adding is a load and a store without a locked
//! instruction, and no two threads share a cache line for it. Readers see each value sometime soon.

mod histogram;

pub use histogram::{Bounds, Histogram, PowersOfTwo, Snapshot};

use std::sync::atomic::{AtomicU64, Ordering};

/// A number that one thread counts up and any thread reads.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds `n`. Only the owning thread may call this; others' additions could be lost.
    pub fn add(&self, n: u64) {
        self.0
            .store(self.0.load(Ordering::Relaxed) + n, Ordering::Relaxed);
    }

    /// Adds `n` to a number that several threads count up. It costs a locked instruction.
    pub fn add_beside_others(&self, n: u64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }

    /// The number so far.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    /// Replaces the number: a counter that shows a level, such as open connections.
    pub fn set(&self, n: u64) {
        self.0.store(n, Ordering::Relaxed);
    }
}
