//! The one place through which all events pass in the order of the journal, between the workers and the sinks.
//!
//! What is a duplicate depends on what came before, so it is decided here, once, and whoever reads an event later, live
//! or from the journal, finds the same decision.
//!
//! To take up what it remembers takes seconds where that is millions of keys. Nothing is delivered until then, but
//! whatever comes is stored and answered.

use super::origin::{DecidedPosition, Durable};
use super::receivers::{KnownReceivers, Receivers};
use super::retention_hold::RetentionHold;
use super::{Feed, FeedError};
use crate::dead_letter::Quarantine;
use crate::dedupe::{Dedupe, DedupeError, Parties};
use crate::log::Repeats;
use crate::metrics::Counter;
use crate::worker::EventBatch;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

/// What the thread `hl-dedupe` runs, or that of the only worker.
pub struct DedupeStage {
    /// What is durable.
    pub feed: Feed<Durable>,
    /// What the sinks know of the names of parties.
    pub parties: Parties,
    /// Keeps the journal from removing what would have to be decided again.
    pub hold: RetentionHold,
    /// The first sequence that the journal has.
    pub first: Box<dyn Fn() -> u64 + Send>,
    /// How far everything is decided; the sinks go no further.
    pub position: Arc<DecidedPosition>,
    /// The feeds of the sinks.
    pub sinks: Receivers,
    /// Bodies that nobody can take apart.
    pub quarantine: Arc<Quarantine>,
    pub statistics: Arc<DedupeStatistics>,
    /// Set when it is to end once it has decided everything that is durable.
    pub stop: Arc<AtomicBool>,
}

/// Its state while it runs.
struct Running {
    parts: DedupeStage,
    sinks: KnownReceivers,
    dedupe: Dedupe,
    /// It was said that there is no room to write down what is decided.
    shortage_logged: bool,
    /// It was said that what was decided cannot be saved.
    checkpoint_logged: bool,
    /// Times that the journal could not be read, for the log.
    shortages: Repeats,
}

/// What is counted where all events pass.
#[derive(Debug, Default)]
pub struct DedupeStatistics {
    /// Events decided, by lane: messages, statuses, the rest.
    pub events: [Counter; 3],
    /// Those of them that say what an earlier one has said.
    pub duplicates: [Counter; 3],
    /// Events that passed although the disk had no room for their keys.
    pub undecided: Counter,
    /// Keys that are remembered.
    pub keys: Counter,
    /// Bytes of memory that these take.
    pub bytes: Counter,
    /// Batches that a sink's feed had no room for.
    pub overflows: Counter,
    /// 1 once it has stopped for good: nothing more is delivered to any sink.
    pub stopped: Counter,
    /// Why it has.
    pub reason: OnceLock<String>,
}

impl DedupeStage {
    /// Decides until it is asked to stop, and then what is durable already. `open` gives what decides, and the sequence
    /// from which it wants to.
    pub fn run(
        self,
        open: impl FnOnce() -> Result<(Dedupe, u64), DedupeError>,
    ) -> Result<(), FeedError> {
        let statistics = Arc::clone(&self.statistics);
        let opened = open().map_err(FeedError::from);
        let ended = opened.and_then(|(dedupe, from)| Running::new(self, dedupe, from).work());
        if let Err(error) = &ended {
            // It runs once.
            let _ = statistics.reason.set(error.to_string());
            statistics.stopped.set(1);
        }
        ended
    }
}

impl Running {
    fn new(mut parts: DedupeStage, mut dedupe: Dedupe, from: u64) -> Running {
        dedupe.share(&parts.parties);
        parts.hold.set(dedupe.checkpointed());
        parts.feed.go_back_to(from);
        parts.position.set(from - 1);
        Running {
            sinks: parts.sinks.known(),
            parts,
            dedupe,
            shortage_logged: false,
            checkpoint_logged: false,
            shortages: Repeats::default(),
        }
    }

    fn work(mut self) -> Result<(), FeedError> {
        let (mut saved_at, mut interval) = (Instant::now(), FIRST_CHECKPOINT);
        loop {
            let stopping = self.parts.stop.load(Ordering::Acquire);
            let wait = if stopping { Duration::ZERO } else { IDLE_WAIT };
            match self.parts.feed.next(wait) {
                Ok(Some(delivery)) => self.decide(delivery)?,
                Ok(None) if stopping && self.parts.feed.is_at_end() => {
                    self.checkpoint();
                    return Ok(());
                }
                // Behind damage that was set aside there may be nothing yet.
                Ok(None) => self.parts.position.set(self.parts.feed.position() - 1),
                Err(error) if error.is_shortage() && !stopping => {
                    if let Some(times) = self.shortages.count() {
                        tracing::warn!(
                            %error,
                            times,
                            "dedupe cannot read the journal for lack of file descriptors, memory or space: nothing is delivered to any sink meanwhile; it is tried again every second; raise LimitNOFILE, or make room"
                        );
                    }
                    std::thread::sleep(SHORTAGE_PAUSE);
                }
                Err(error) => return Err(error),
            }
            if saved_at.elapsed() >= interval {
                self.checkpoint();
                (saved_at, interval) = (Instant::now(), CHECKPOINT_INTERVAL);
            }
        }
    }

    /// Marks the duplicates, and passes the delivery on.
    fn decide(&mut self, mut delivery: EventBatch) -> Result<(), FeedError> {
        // Of what a worker has taken together, the begin may have been read from the journal meanwhile.
        delivery.begin_at(self.dedupe.decided() + 1);
        let decisions = match self.dedupe.decide(&mut delivery) {
            Ok(decisions) => {
                self.shortage_logged = false;
                decisions
            }
            // Only what is delivered makes room, so it is; rather twice than not at all.
            Err(error) if error.is_shortage() => {
                if !std::mem::replace(&mut self.shortage_logged, true) {
                    tracing::warn!(%error, "no space for the keys of dedupe: until there is, events that come again are delivered again; make room on its disk");
                }
                let undecided = &self.parts.statistics.undecided;
                undecided.add(delivery.events().len() as u64);
                self.dedupe.pass(&mut delivery)
            }
            Err(error) => return Err(error.into()),
        };
        let statistics = &self.parts.statistics;
        for place in 0..3 {
            statistics.events[place].add(decisions.decided[place]);
            statistics.duplicates[place].add(decisions.duplicates[place]);
        }
        self.pass_on(delivery)?;
        let synced = self.dedupe.sync_many();
        self.log_unsaved(synced);
        Ok(())
    }

    /// What was decided is not decided again after a crash.
    fn checkpoint(&mut self) {
        self.dedupe.retire((self.parts.first)());
        let saved = self.dedupe.checkpoint();
        let needed = match &saved {
            // The journal's segments may be what takes the room: they are not kept for this.
            Err(error) if error.is_shortage() => self.dedupe.decided(),
            // The one before holds.
            _ => self.dedupe.checkpointed(),
        };
        self.parts.hold.set(needed);
        if saved.is_ok() {
            self.checkpoint_logged = false;
        }
        self.log_unsaved(saved);
        let statistics = &self.parts.statistics;
        statistics.keys.set(self.dedupe.keys() as u64);
        statistics.bytes.set(self.dedupe.bytes() as u64);
    }

    fn log_unsaved(&mut self, saved: Result<(), DedupeError>) {
        if let Err(error) = saved
            && !std::mem::replace(&mut self.checkpoint_logged, true)
        {
            tracing::warn!(%error, "the state of dedupe cannot be saved; it is tried again every 2 s, and a restart before that reads more of the journal; make room on its disk");
        }
    }

    fn pass_on(&mut self, delivery: EventBatch) -> Result<(), FeedError> {
        let last = delivery.last_sequence();
        self.keep_poisoned(&delivery)?;
        let delivery = Arc::new(delivery);
        let overflows = self.sinks.offer(&delivery);
        self.parts.statistics.overflows.add(overflows);
        // Behind the offers: who finds nothing up to here has missed it.
        self.parts.position.set(last);
        Ok(())
    }

    /// Nobody passes a body that nobody can take apart before it is a dead letter.
    fn keep_poisoned(&self, delivery: &EventBatch) -> Result<(), FeedError> {
        loop {
            let kept = self
                .parts
                .quarantine
                .keep(delivery)
                .map_err(FeedError::from);
            match kept {
                Err(error) if error.is_shortage() && !self.parts.stop.load(Ordering::Acquire) => {
                    if let Some(times) = self.shortages.count() {
                        tracing::warn!(
                            %error,
                            times,
                            "a body that cannot be taken apart is no dead letter yet, for lack of space: nothing is delivered to any sink meanwhile; it is tried again every second; make room"
                        );
                    }
                    std::thread::sleep(SHORTAGE_PAUSE);
                }
                kept => return kept,
            }
        }
    }
}

/// How long it waits for something before it looks whether it is to stop.
const IDLE_WAIT: Duration = Duration::from_millis(200);

/// How often what was decided is saved: what a crash lets be decided again.
const CHECKPOINT_INTERVAL: Duration = Duration::from_secs(2);

/// The same for the first time: who crashes again and again still gets on, and so does retention.
const FIRST_CHECKPOINT: Duration = Duration::from_millis(100);

/// How long it waits for descriptors, memory or space.
const SHORTAGE_PAUSE: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests;
