//! How far the records of one event loop are durable: one padded atomic, and a wake for a loop that sleeps.

use crate::relay::SleepFlag;
use crossbeam_utils::CachePadded;
use std::sync::atomic::{AtomicU64, Ordering};

/// What the commit thread reports to one event loop.
pub struct DurablePosition {
    line: CachePadded<Line>,
    wake: Box<dyn Fn() + Send + Sync>,
}

struct Line {
    /// [`super::batch::Batch::last_ticket`] of the last durable batch of the loop.
    records: AtomicU64,
    asleep: SleepFlag,
}

impl DurablePosition {
    /// At 0. `wake` interrupts the loop's wait, from any thread; it is called at most once for each
    /// time that the loop said it would sleep, and once more if the journal fails.
    pub fn new(wake: Box<dyn Fn() + Send + Sync>) -> DurablePosition {
        DurablePosition {
            line: CachePadded::new(Line {
                records: AtomicU64::new(0),
                asleep: SleepFlag::default(),
            }),
            wake,
        }
    }

    /// The loop's running number up to which its records are durable.
    pub fn records(&self) -> u64 {
        self.line.records.load(Ordering::Acquire)
    }

    /// The loop is about to wait; gives the position as of now. If that is news, the loop acts on it
    /// instead of waiting. In any case it calls [`DurablePosition::awake`] after.
    pub fn prepare_sleep(&self) -> u64 {
        self.line.asleep.set();
        self.records()
    }

    /// The loop is up again and needs no wake.
    pub fn awake(&self) {
        self.line.asleep.awake();
    }

    /// Everything up to `records` is durable.
    pub(crate) fn publish(&self, records: u64) {
        self.line.records.store(records, Ordering::Release);
        if self.line.asleep.needs_wake() {
            (self.wake)();
        }
    }

    /// Wakes the loop in any case, so that it sees that the journal has failed.
    pub(crate) fn alarm(&self) {
        (self.wake)();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::AtomicU32;

    #[test]
    fn only_a_loop_that_sleeps_is_woken_and_only_once() {
        let wakes = Arc::new(AtomicU32::new(0));
        let position = DurablePosition::new(Box::new({
            let wakes = Arc::clone(&wakes);
            move || {
                wakes.fetch_add(1, Ordering::Relaxed);
            }
        }));
        position.publish(1);
        assert_eq!(wakes.load(Ordering::Relaxed), 0);
        assert_eq!(position.prepare_sleep(), 1);
        position.publish(2);
        position.publish(3);
        assert_eq!(wakes.load(Ordering::Relaxed), 1);
        assert_eq!(position.records(), 3);
        position.awake();
        position.publish(4);
        assert_eq!(wakes.load(Ordering::Relaxed), 1);
    }
}
