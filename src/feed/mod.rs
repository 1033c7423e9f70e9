//! What a sink reads from: the batches in journal order, live where possible, from the journal otherwise.
//!
//! A feed is asked for what follows a sequence. Batches that were just taken apart come live, over a bounded
//! channel; where one is missing, because the channel was full, the sink was not there, or the process has
//! just started, the feed reads the journal. So the journal is the queue: a slow sink costs disk, never memory
//! and never the answer. Restart, overflow, lag and a new sink are one and the same case.

mod arrivals;
mod cursor;
mod dedupe_stage;
mod origin;
mod progress;
mod replay;
mod retention_hold;
mod selection;

pub use cursor::{
    Corrected, Cursor, CursorError, Cursors, OPEN_MAX, Saved, StoredCursor, TakeOver, highest,
    read_all,
};
pub use dedupe_stage::{DedupeStage, DedupeStatistics};
pub use origin::{Decided, DecidedPosition, Durable, Feeds, Origin, RecentBatches};
pub use progress::{Lanes, Open, Progress, confirmed, reached, undelivered};
pub use replay::{Replay, ReplayError, ReplayState, Replays};
pub use retention_hold::RetentionHolds;
pub use selection::{EventOutcome, Selection, Tally};

use crate::dead_letter::DeadLetterError;
use crate::dedupe::DedupeError;
use crate::disk::Storage;
use crate::journal::batch::FrameAt;
use crate::journal::{JournalError, Reader};
use crate::relay::{Closed, Sleeper};
use crate::worker::{EventBatch, Live, Worker};
use arrivals::{Arrivals, Offered};
use std::borrow::Borrow;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

/// How long a gap may be open because another worker is still at the batch before it is read from the journal.
const NEIGHBOUR_PATIENCE: Duration = Duration::from_millis(10);

/// How long it rests where nothing comes live any more, before who asks looks around.
const CLOSED_PAUSE: Duration = Duration::from_millis(10);

/// How long it works through the journal before it lets others have the core.
const WORKED_AT_MOST: Duration = Duration::from_micros(200);

/// Why a feed cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum FeedError {
    /// The journal cannot be read.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// Duplicates cannot be found.
    #[error(transparent)]
    Dedupe(#[from] DedupeError),
    /// A body that nobody can take apart cannot be made a dead letter, and so is not passed.
    #[error("a notification that cannot be taken apart waits for its dead letter: {0}")]
    DeadLetters(#[from] DeadLetterError),
}

impl FeedError {
    /// True for what passes: space on the disk, descriptors, memory, room among the dead letters.
    pub fn is_shortage(&self) -> bool {
        match self {
            FeedError::Journal(error) => error.is_shortage(),
            FeedError::Dedupe(error) => error.is_shortage(),
            FeedError::DeadLetters(error) => error.is_shortage() || error.is_full(),
        }
    }

    /// The first sequence that there is, if what was asked for lies before it and was removed by retention.
    pub fn gone(&self) -> Option<u64> {
        match self {
            FeedError::Journal(JournalError::Gone { first, .. }) => Some(*first),
            FeedError::Journal(_) | FeedError::Dedupe(_) | FeedError::DeadLetters(_) => None,
        }
    }
}

/// The reading end.
pub struct Feed<O: Origin> {
    live: Box<dyn Arrivals<O::Output>>,
    storage: Arc<dyn Storage>,
    /// It reads from the journal, until that has no more or what comes live fits.
    is_reading: bool,
    reader: Option<Reader>,
    /// The last batch that was given stands there.
    last: Option<FrameAt>,
    origin: O,
    /// The sequence that comes next.
    next: u64,
    /// Since when it is there but not here.
    missing_since: Option<Instant>,
    /// When the core was last left to others.
    stepped_aside: Instant,
    /// See [`Feed::take_set_aside`].
    set_aside: u64,
}

impl Feed<Durable> {
    /// A feed of everything from sequence `next` on, whose thread is that of the only worker too: nobody offers it
    /// anything.
    pub fn of_worker(
        worker: Worker,
        storage: Arc<dyn Storage>,
        origin: Durable,
        next: u64,
    ) -> Feed<Durable> {
        Feed::of(Box::new(worker), storage, origin, next)
    }
}

impl<O: Origin> Feed<O> {
    /// A feed of everything from sequence `next` on, and the end at which batches are offered.
    pub fn new(storage: Arc<dyn Storage>, origin: O, next: u64) -> (Live<O::Output>, Feed<O>) {
        Feed::waking(&Arc::default(), storage, origin, next)
    }

    /// The same, for a thread that waits for several: what is offered wakes `sleeper`.
    pub fn waking(
        sleeper: &Arc<Sleeper>,
        storage: Arc<dyn Storage>,
        origin: O,
        next: u64,
    ) -> (Live<O::Output>, Feed<O>) {
        let (live, offered) = Offered::new(sleeper);
        (live, Feed::of(Box::new(offered), storage, origin, next))
    }

    fn of(
        live: Box<dyn Arrivals<O::Output>>,
        storage: Arc<dyn Storage>,
        origin: O,
        next: u64,
    ) -> Feed<O> {
        Feed {
            live,
            storage,
            is_reading: false,
            reader: None,
            last: None,
            origin,
            next,
            missing_since: None,
            stepped_aside: Instant::now(),
            set_aside: 0,
        }
    }

    /// The next batch, from the sequence that follows the last one given. Waits up to `timeout` for one. What it
    /// gives may begin before that sequence; see [`EventBatch::notifications`].
    pub fn next(&mut self, timeout: Duration) -> Result<Option<O::Output>, FeedError> {
        let deadline = Instant::now() + timeout;
        loop {
            if let Some(given) = self.live.take(self.next) {
                self.stop_reading();
                return Ok(Some(self.given(given)));
            }
            let patience = if self.is_at_end() {
                self.missing_since = None;
                // What comes next may come live again.
                self.is_reading = false;
                deadline.saturating_duration_since(Instant::now())
            } else {
                let since = *self.missing_since.get_or_insert_with(Instant::now);
                let patience = NEIGHBOUR_PATIENCE.saturating_sub(since.elapsed());
                // Once it reads from the journal it goes on there until the journal has no more.
                if (patience.is_zero() || self.is_reading)
                    && let Some(delivery) = self.read()?
                {
                    return Ok(Some(delivery));
                }
                patience.max(Duration::from_millis(1))
            };
            if Instant::now() >= deadline {
                return Ok(None);
            }
            match self.live.wait(patience) {
                Ok(()) => {}
                // Who offered batches has gone; what is left is in the journal.
                Err(Closed) if self.is_at_end() => {
                    thread::sleep(patience.min(CLOSED_PAUSE));
                    return Ok(None);
                }
                Err(Closed) => {
                    self.missing_since = Some(deadline.checked_sub(timeout).unwrap_or(deadline));
                }
            }
        }
    }

    /// The next batch from the journal, without any wait: for who asks at times of its own, and has nobody offer it
    /// live ones.
    pub fn next_stored(&mut self) -> Result<Option<O::Output>, FeedError> {
        if self.is_at_end() {
            return Ok(None);
        }
        self.read()
    }

    /// The sequence that the next batch will bring.
    pub fn position(&self) -> u64 {
        self.next
    }

    /// True when there is nothing that it has not given.
    pub fn is_at_end(&self) -> bool {
        self.origin.available() < self.next
    }

    /// True while what it gives comes from the journal, since there was no room for it when it was live.
    pub fn is_reading(&self) -> bool {
        self.is_reading
    }

    /// True when a live batch waits.
    pub fn has_live(&self) -> bool {
        !self.live.is_empty()
    }

    /// The next batch is to bring `next`, which it has brought before.
    pub fn go_back_to(&mut self, next: u64) {
        self.next = next;
        self.stop_reading();
        self.missing_since = None;
        self.set_aside = 0;
    }

    /// Sequences that it has passed over since the last call because the damage that took them was set aside.
    pub fn take_set_aside(&mut self) -> u64 {
        std::mem::take(&mut self.set_aside)
    }

    /// The next batch from the journal, as far as it is available.
    fn read(&mut self) -> Result<Option<O::Output>, FeedError> {
        self.is_reading = true;
        if let Some(given) = self.origin.at_hand(self.next) {
            return Ok(Some(self.given(given)));
        }
        if self
            .reader
            .as_ref()
            .is_none_or(|reader| reader.position() != self.next)
        {
            let storage = Arc::clone(&self.storage);
            self.reader = Some(Reader::open_behind(storage, self.last, self.next)?);
        }
        let Some(reader) = &mut self.reader else {
            return Ok(None);
        };
        let before = reader.set_aside();
        let batch = reader.next(Some(self.origin.available()))?;
        self.set_aside += reader.set_aside() - before;
        let Some(batch) = batch else {
            // Behind damage that was set aside, perhaps, where nothing stands yet: nothing before it is to be
            // waited for.
            self.next = self.next.max(reader.position());
            return Ok(None);
        };
        let given = self.origin.make(batch)?;
        self.step_aside();
        Ok(Some(self.given(given)))
    }

    /// Who catches up works without a pause. On a core that it shares, whoever answers would wait for the end of its
    /// time slice, again and again. Where others want all of the core, each step costs a slice of theirs, so there is
    /// none after every small batch.
    fn step_aside(&mut self) {
        if self.stepped_aside.elapsed() >= WORKED_AT_MOST {
            thread::yield_now();
            self.stepped_aside = Instant::now();
        }
    }

    fn stop_reading(&mut self) {
        self.is_reading = false;
        self.reader = None;
    }

    fn given(&mut self, given: O::Output) -> O::Output {
        let delivery: &EventBatch = given.borrow();
        self.next = delivery.last_sequence() + 1;
        self.last = delivery.at().or(self.last);
        self.missing_since = None;
        given
    }
}

#[cfg(test)]
pub(crate) mod tests;
