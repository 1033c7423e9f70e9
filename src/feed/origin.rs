//! Where a feed's batches come from when they do not come live.

use super::{Feed, FeedError};
use crate::dead_letter::Quarantine;
use crate::dedupe::Duplicates;
use crate::disk::Storage;
use crate::journal::Status;
use crate::journal::batch::Batch;
use crate::relay::Sleeper;
use crate::worker::{self, EventBatch, Extraction, Forms, Live};
use parking_lot::Mutex;
use std::borrow::Borrow;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use tokio::sync::Notify;
use tokio::sync::futures::Notified;

/// What a feed gives, how far there is any, and how it is made of what stands in the journal.
pub trait Origin: Send {
    /// A batch, taken apart.
    type Output: Borrow<EventBatch> + Send + 'static;

    /// The highest sequence that may be given.
    fn available(&self) -> u64;

    /// Makes of a batch from the journal what would have come live.
    fn make(&mut self, batch: Batch) -> Result<Self::Output, FeedError>;

    /// What brings the sequence `next`, if it was made already and is at hand.
    fn at_hand(&self, next: u64) -> Option<Self::Output> {
        let _ = next;
        None
    }
}

/// Everything that is durable, for the one who decides what is a duplicate.
pub struct Durable {
    status: Arc<Status>,
    maker: Extraction,
    quarantine: Arc<Quarantine>,
    /// Where what is read behind this sequence is counted.
    counted: Option<(u64, Arc<worker::Statistics>)>,
}

impl Durable {
    /// What the journal with this status holds.
    pub fn new(status: Arc<Status>, quarantine: &Arc<Quarantine>, forms: &Arc<Forms>) -> Durable {
        Durable {
            status,
            maker: Extraction::sparing(quarantine.poison()).reading(forms),
            quarantine: Arc::clone(quarantine),
            counted: None,
        }
    }

    /// The same for the thread of the only worker: what stands behind `last` and does not come live is counted all the
    /// same.
    #[must_use]
    pub fn counting(mut self, last: u64, statistics: &Arc<worker::Statistics>) -> Durable {
        self.counted = Some((last, Arc::clone(statistics)));
        self
    }
}

impl Origin for Durable {
    type Output = EventBatch;

    fn available(&self) -> u64 {
        self.status.durable()
    }

    fn make(&mut self, batch: Batch) -> Result<EventBatch, FeedError> {
        let made = make(&mut self.maker, &self.quarantine, batch)?;
        if let Some((last, statistics)) = &self.counted
            && made.first_sequence() > *last
        {
            statistics.count(&made);
            statistics.overflows.add(1);
        }
        Ok(made)
    }
}

/// Everything of which it is known whether it is a duplicate, for the sinks.
pub struct Decided {
    position: Arc<DecidedPosition>,
    maker: Extraction,
    quarantine: Arc<Quarantine>,
    duplicates: Duplicates,
    shared: Option<RecentBatches>,
}

/// The last batches that feeds beside each other have read from the journal. The lanes of a sink are often at the same
/// place, and what one of them has taken apart is not taken apart again for the next. A large one is here only as long
/// as somebody else has it.
#[derive(Clone, Default)]
pub struct RecentBatches(Arc<Mutex<VecDeque<Recent>>>);

enum Recent {
    Ordinary(Arc<EventBatch>),
    Large(Weak<EventBatch>),
}

/// The highest sequence of which, and below which, everything was decided.
#[derive(Debug, Default)]
pub struct DecidedPosition {
    sequence: AtomicU64,
    moved: Notify,
}

impl DecidedPosition {
    /// Nothing up to `sequence` is undecided any more.
    pub fn set(&self, sequence: u64) {
        if self.sequence.swap(sequence, Ordering::Release) != sequence {
            self.moved.notify_waiters();
        }
    }

    /// Reads it.
    pub fn get(&self) -> u64 {
        self.sequence.load(Ordering::Acquire)
    }

    /// Whoever waits for it to move is to look at something else.
    pub fn wake(&self) {
        self.moved.notify_waiters();
    }

    /// Ends once it has moved after this call. Who asks for this first, and then looks at it, misses nothing.
    pub fn moved(&self) -> Notified<'_> {
        self.moved.notified()
    }
}

impl RecentBatches {
    pub(super) fn put(&self, delivery: &Arc<EventBatch>) {
        let mut kept = self.0.lock();
        if kept.len() == SHELF_MAX {
            kept.pop_front();
        }
        kept.push_back(if delivery.bytes() <= SHELF_BYTES / SHELF_MAX {
            Recent::Ordinary(Arc::clone(delivery))
        } else {
            Recent::Large(Arc::downgrade(delivery))
        });
    }

    pub(super) fn find(&self, sequence: u64) -> Option<Arc<EventBatch>> {
        let kept = self.0.lock();
        let mut here = kept.iter().rev().filter_map(|kept| match kept {
            Recent::Ordinary(delivery) => Some(Arc::clone(delivery)),
            Recent::Large(delivery) => delivery.upgrade(),
        });
        let has =
            |it: &Arc<EventBatch>| (it.first_sequence()..=it.last_sequence()).contains(&sequence);
        here.find(has)
    }
}

/// What it takes to open a feed for a sink.
#[derive(Clone)]
pub struct Feeds {
    pub journal: Arc<dyn Storage>,
    /// How far the journal is durable.
    pub status: Arc<Status>,
    /// How far everything is decided.
    pub decided: Arc<DecidedPosition>,
    /// Where the duplicates are written down.
    pub dedupe: Arc<dyn Storage>,
    /// Bodies that nobody can take apart.
    pub quarantine: Arc<Quarantine>,
    /// How the bodies are read.
    pub forms: Arc<Forms>,
}

impl Feeds {
    /// True if everything up to `sequence` is decided, as far as there is anything. After a start it takes some time
    /// until what was decided before is known again; until then the end of a feed is not the end of what there is.
    #[must_use]
    pub fn is_decided_to(&self, sequence: u64) -> bool {
        self.decided.get() >= sequence.min(self.status.durable())
    }

    /// A feed of everything from sequence `next` on, and the end at which batches are offered to it, which wakes
    /// `sleeper`. Without that end, the feed reads the journal alone.
    pub fn open(
        &self,
        sleeper: &Arc<Sleeper>,
        next: u64,
    ) -> (Live<Arc<EventBatch>>, Feed<Decided>) {
        self.open_at(None, sleeper, next)
    }

    /// The same for one of several that read beside each other, and share what they read.
    pub fn open_beside(
        &self,
        shared: &RecentBatches,
        sleeper: &Arc<Sleeper>,
        next: u64,
    ) -> (Live<Arc<EventBatch>>, Feed<Decided>) {
        self.open_at(Some(shared.clone()), sleeper, next)
    }

    fn open_at(
        &self,
        shared: Option<RecentBatches>,
        sleeper: &Arc<Sleeper>,
        next: u64,
    ) -> (Live<Arc<EventBatch>>, Feed<Decided>) {
        let origin = Decided {
            position: Arc::clone(&self.decided),
            maker: Extraction::sparing(self.quarantine.poison()).reading(&self.forms),
            quarantine: Arc::clone(&self.quarantine),
            duplicates: Duplicates::open(Arc::clone(&self.dedupe)),
            shared,
        };
        Feed::waking(sleeper, Arc::clone(&self.journal), origin, next)
    }
}

/// Takes a batch apart for who passes it on: whatever nobody can take apart is a durable dead letter when this returns.
fn make(
    maker: &mut Extraction,
    quarantine: &Quarantine,
    batch: Batch,
) -> Result<EventBatch, FeedError> {
    let delivery = maker.make(batch);
    quarantine.keep(&delivery)?;
    Ok(delivery)
}

impl Origin for Decided {
    type Output = Arc<EventBatch>;

    fn available(&self) -> u64 {
        self.position.get()
    }

    fn make(&mut self, batch: Batch) -> Result<Arc<EventBatch>, FeedError> {
        let mut delivery = make(&mut self.maker, &self.quarantine, batch)?;
        self.duplicates.mark(&mut delivery, self.position.get())?;
        let delivery = Arc::new(delivery);
        if let Some(shared) = &self.shared {
            shared.put(&delivery);
        }
        Ok(delivery)
    }

    fn at_hand(&self, next: u64) -> Option<Arc<EventBatch>> {
        self.shared.as_ref()?.find(next)
    }
}

/// Batches on a shelf: as many as there are lanes, and one.
const SHELF_MAX: usize = 4;

/// Bytes that these may keep in memory.
const SHELF_BYTES: usize = 4 << 20;
