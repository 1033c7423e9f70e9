//! The one place through which all events pass in the order of the journal, between the workers and the sinks.
//!
//! What is a duplicate depends on what came before, so it is judged here, once, and whoever reads an event later, live
//! or from the journal, finds the same verdict.
//!
//! To take up what it remembers takes seconds where that is millions of keys. Nothing is delivered until then, but
//! whatever comes is stored and answered.

use super::poison;
use super::{
    DeadLetters, Dedupe, DedupeError, Delivery, Durable, Feed, FeedError, FloorPlace,
    JudgedPosition, Live, Parties,
};
use crate::metrics::Counter;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

/// What the thread `hl-dedupe` runs.
pub struct Judge {
    /// What the workers give.
    pub feed: Feed<Durable>,
    /// What the sinks know of the names of parties.
    pub parties: Parties,
    /// Keeps the journal from letting go of what would have to be judged again.
    pub place: FloorPlace,
    /// The first sequence that the journal has.
    pub first: Box<dyn Fn() -> u64 + Send>,
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
    /// It was said that there is no room.
    pub told: bool,
}

/// What is counted where all events pass.
#[derive(Debug, Default)]
pub struct JudgeStatistics {
    /// Events judged, by lane: messages, statuses, the rest.
    pub events: [Counter; 3],
    /// Those of them that say what an earlier one has said.
    pub duplicates: [Counter; 3],
    /// Events that passed although the disk had no room for their keys.
    pub unjudged: Counter,
    /// Keys that are remembered.
    pub keys: Counter,
    /// Octets of memory that these take.
    pub octets: Counter,
    /// Batches that a sink's feed had no room for.
    pub overflows: Counter,
    /// 1 once it has stopped for good: nothing more is delivered to any sink.
    pub stopped: Counter,
    /// Why it has.
    pub reason: OnceLock<String>,
}

impl Judge {
    /// Judges until told to stop, and then what is durable already. `open` gives what judges, and the sequence from
    /// which it wants to.
    pub fn run(
        mut self,
        open: impl FnOnce() -> Result<(Dedupe, u64), DedupeError>,
    ) -> Result<(), FeedError> {
        let opened = open().map_err(FeedError::from);
        let ended = opened.and_then(|(dedupe, from)| self.work(dedupe, from));
        if let Err(error) = &ended {
            // It runs once.
            let _ = self.statistics.reason.set(error.to_string());
            self.statistics.stopped.set(1);
        }
        ended
    }

    fn work(&mut self, mut dedupe: Dedupe, from: u64) -> Result<(), FeedError> {
        dedupe.share(&self.parties);
        self.place.set(dedupe.checkpointed());
        self.feed.go_back_to(from);
        self.position.set(from - 1);
        let (mut saved_at, mut interval) = (Instant::now(), FIRST_CHECKPOINT);
        loop {
            let stopping = self.stop.load(Ordering::Acquire);
            let wait = if stopping { Duration::ZERO } else { IDLE_WAIT };
            match self.feed.next(wait) {
                Ok(Some(delivery)) => self.judge(&mut dedupe, delivery)?,
                Ok(None) if stopping && self.feed.is_at_end() => {
                    self.checkpoint(&mut dedupe);
                    return Ok(());
                }
                // Behind damage that was set aside there may be nothing yet.
                Ok(None) => self.position.set(self.feed.position() - 1),
                Err(error) if error.is_shortage() && !stopping => wait_for_room(&error),
                Err(error) => return Err(error),
            }
            if saved_at.elapsed() >= interval {
                self.checkpoint(&mut dedupe);
                (saved_at, interval) = (Instant::now(), CHECKPOINT_INTERVAL);
            }
        }
    }

    /// Marks the duplicates, and passes the delivery on.
    fn judge(&mut self, dedupe: &mut Dedupe, mut delivery: Delivery) -> Result<(), FeedError> {
        let verdicts = match dedupe.judge(&mut delivery) {
            Ok(verdicts) => {
                self.told = false;
                verdicts
            }
            // Only what is delivered makes room, so it is; rather twice than not at all.
            Err(error) if error.is_shortage() => {
                if !std::mem::replace(&mut self.told, true) {
                    tracing::warn!(%error, "until there is room, what comes again is delivered again");
                }
                self.statistics.unjudged.add(delivery.events().len() as u64);
                dedupe.pass(&mut delivery)
            }
            Err(error) => return Err(error.into()),
        };
        let statistics = &self.statistics;
        for place in 0..3 {
            statistics.events[place].add(verdicts.judged[place]);
            statistics.duplicates[place].add(verdicts.duplicates[place]);
        }
        self.pass_on(delivery);
        Ok(())
    }

    /// What was judged is not judged again after a crash.
    fn checkpoint(&mut self, dedupe: &mut Dedupe) {
        dedupe.retire((self.first)());
        let saved = dedupe.checkpoint();
        let needed = match &saved {
            // The journal's segments may be what takes the room: they are not kept for this.
            Err(error) if error.is_shortage() => dedupe.judged(),
            // The one before holds.
            _ => dedupe.checkpointed(),
        };
        self.place.set(needed);
        if let Err(error) = saved
            && !std::mem::replace(&mut self.told, true)
        {
            tracing::warn!(%error, "what was judged is not saved; a restart judges it again");
        }
        self.statistics.keys.set(dedupe.keys() as u64);
        self.statistics.octets.set(dedupe.octets() as u64);
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
        if delivery.crashed().next().is_none() {
            return;
        }
        let letters = poison::letters(delivery, &self.paths, self.letters.now());
        if let Err(error) = self.letters.add_all(&letters) {
            // It is in the journal, and is found by its type.
            tracing::error!(%error, "a body that cannot be taken apart is not in the dead letters");
        }
    }
}

/// How long it waits for something before it looks whether it is to stop.
const IDLE_WAIT: Duration = Duration::from_millis(200);

/// How often what was judged is saved: what a crash lets be judged again.
const CHECKPOINT_INTERVAL: Duration = Duration::from_secs(2);

/// The same for the first time: who crashes again and again still gets on, and so does retention.
const FIRST_CHECKPOINT: Duration = Duration::from_millis(100);

fn wait_for_room(error: &FeedError) {
    tracing::warn!(%error, "nothing is passed on for want of it; it is tried again");
    std::thread::sleep(SHORTAGE_PAUSE);
}

/// How long it waits for descriptors, memory or space.
const SHORTAGE_PAUSE: Duration = Duration::from_secs(1);
