//! The one place through which all events pass in the order of the journal, between the workers and the sinks.
//!
//! What is a duplicate depends on what came before, so it is judged here, once, and whoever reads an event later, live
//! or from the journal, finds the same verdict.

use super::poison;
use super::{DeadLetters, Delivery, Durable, Feed, FeedError, JudgedPosition, Live};
use crate::metrics::Counter;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// What the thread `hl-dedupe` runs.
pub struct Judge {
    /// What the workers give.
    pub feed: Feed<Durable>,
    /// How far everything is judged; the sinks go no further.
    pub position: Arc<JudgedPosition>,
    /// The feeds of the sinks.
    pub sinks: Vec<Live<Arc<Delivery>>>,
    /// Where bodies go that nobody can take apart.
    pub letters: DeadLetters,
    /// The path of an endpoint's number in the journal.
    pub paths: Box<dyn Fn(u16) -> String + Send>,
    /// What it counts.
    pub statistics: Arc<JudgeStatistics>,
    /// Set when it is to end once it has judged everything that is durable.
    pub stop: Arc<AtomicBool>,
}

/// What is counted where all events pass.
#[derive(Debug, Default)]
pub struct JudgeStatistics {
    /// Batches that a sink's feed had no room for.
    pub overflows: Counter,
    /// 1 once it has stopped for good: nothing more is delivered to any sink.
    pub stopped: Counter,
}

impl Judge {
    /// Judges until told to stop, and then what is durable already.
    pub fn run(mut self) -> Result<(), FeedError> {
        let ended = self.work();
        self.statistics.stopped.set(u64::from(ended.is_err()));
        ended
    }

    fn work(&mut self) -> Result<(), FeedError> {
        loop {
            let stopping = self.stop.load(Ordering::Acquire);
            let wait = if stopping { Duration::ZERO } else { IDLE_WAIT };
            match self.feed.next(wait) {
                Ok(Some(delivery)) => self.pass_on(delivery),
                Ok(None) if stopping && self.feed.is_at_end() => return Ok(()),
                Ok(None) => {
                    // Behind damage that was set aside there may be nothing yet.
                    self.position.set(self.feed.position() - 1);
                }
                Err(error) if error.is_shortage() && !stopping => {
                    tracing::warn!(%error, "what came last cannot be read; it is tried again");
                    std::thread::sleep(SHORTAGE_PAUSE);
                }
                Err(error) => return Err(error),
            }
        }
    }

    fn pass_on(&mut self, delivery: Delivery) {
        let last = delivery.last_sequence();
        self.keep_crashed(&delivery);
        let delivery = Arc::new(delivery);
        for sink in &self.sinks {
            if !sink.offer(Arc::clone(&delivery)) {
                self.statistics.overflows.add(1);
            }
        }
        // Behind the offers: who finds nothing up to here has missed it.
        self.position.set(last);
    }
}

impl Judge {
    /// Bodies that nobody can take apart are delivered as they came; a person is to look at them.
    fn keep_crashed(&mut self, delivery: &Delivery) {
        let letters = poison::letters(delivery, &self.paths, now());
        if letters.is_empty() {
            return;
        }
        if let Err(error) = self.letters.add_all(&letters) {
            // It is in the journal, and is found by its type.
            tracing::error!(%error, "a body that cannot be taken apart is not in the dead letters");
        }
    }
}

fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| {
        u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
    })
}

/// How long it waits for something before it looks whether it is to stop.
const IDLE_WAIT: Duration = Duration::from_millis(200);

/// How long it waits for descriptors or memory.
const SHORTAGE_PAUSE: Duration = Duration::from_secs(1);
