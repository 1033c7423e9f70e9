//! Where a feed's batches come from when they do not come live.

use super::{Feed, FeedError};
use crate::dead_letter::Quarantine;
use crate::dedupe::Duplicates;
use crate::disk::Storage;
use crate::journal::Status;
use crate::journal::batch::Batch;
use crate::relay::Sleeper;
use crate::worker::{Delivery, Forms, Live, Maker};
use parking_lot::Mutex;
use std::borrow::Borrow;
use std::collections::VecDeque;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use tokio::sync::Notify;
use tokio::sync::futures::Notified;

/// What a feed gives, how far there is any, and how it is made of what stands in the journal.
pub trait Origin: fmt::Debug + Send {
    /// A batch, taken apart.
    type Given: Borrow<Delivery> + fmt::Debug + Send;

    /// The highest sequence that may be given.
    fn available(&self) -> u64;

    /// Makes of a batch from the journal what would have come live.
    fn make(&mut self, batch: Batch) -> Result<Self::Given, FeedError>;

    /// What brings the sequence `next`, if it was made already and is at hand.
    fn at_hand(&self, next: u64) -> Option<Self::Given> {
        let _ = next;
        None
    }
}

/// Everything that is durable, for the one who judges what is a duplicate.
#[derive(Debug)]
pub struct Durable {
    status: Arc<Status>,
    maker: Maker,
    quarantine: Arc<Quarantine>,
}

impl Durable {
    /// What the journal with this status holds.
    #[must_use]
    pub fn new(status: Arc<Status>, quarantine: &Arc<Quarantine>, forms: &Arc<Forms>) -> Durable {
        Durable {
            status,
            maker: Maker::sparing(quarantine.poison()).reading(forms),
            quarantine: Arc::clone(quarantine),
        }
    }
}

impl Origin for Durable {
    type Given = Delivery;

    fn available(&self) -> u64 {
        self.status.durable()
    }

    fn make(&mut self, batch: Batch) -> Result<Delivery, FeedError> {
        make(&mut self.maker, &self.quarantine, batch)
    }
}

/// Everything of which it is known whether it is a duplicate, for the sinks.
#[derive(Debug)]
pub struct Judged {
    position: Arc<JudgedPosition>,
    maker: Maker,
    quarantine: Arc<Quarantine>,
    duplicates: Duplicates,
    shared: Option<Shelf>,
}

/// The last batches that feeds beside each other have read from the journal. The lanes of a sink are often at the same
/// place, and what one of them has taken apart is not taken apart again for the next. A large one is here only as long
/// as somebody else has it.
#[derive(Clone, Debug, Default)]
pub struct Shelf(Arc<Mutex<VecDeque<Kept>>>);

#[derive(Debug)]
enum Kept {
    Ordinary(Arc<Delivery>),
    Large(Weak<Delivery>),
}

/// The highest sequence of which, and below which, everything was judged.
#[derive(Debug, Default)]
pub struct JudgedPosition {
    sequence: AtomicU64,
    moved: Notify,
}

impl JudgedPosition {
    /// Nothing up to `sequence` is unjudged any more.
    pub fn set(&self, sequence: u64) {
        if self.sequence.swap(sequence, Ordering::Release) != sequence {
            self.moved.notify_waiters();
        }
    }

    /// Reads it.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.sequence.load(Ordering::Acquire)
    }

    /// Ends once it has moved after this call. Who asks for this first, and then looks at it, misses nothing.
    pub fn moved(&self) -> Notified<'_> {
        self.moved.notified()
    }
}

impl Shelf {
    pub(super) fn put(&self, delivery: &Arc<Delivery>) {
        let mut kept = self.0.lock();
        if kept.len() == SHELF_MAX {
            kept.pop_front();
        }
        kept.push_back(if delivery.bytes() <= SHELF_BYTES / SHELF_MAX {
            Kept::Ordinary(Arc::clone(delivery))
        } else {
            Kept::Large(Arc::downgrade(delivery))
        });
    }

    pub(super) fn find(&self, sequence: u64) -> Option<Arc<Delivery>> {
        let kept = self.0.lock();
        let mut here = kept.iter().rev().filter_map(|kept| match kept {
            Kept::Ordinary(delivery) => Some(Arc::clone(delivery)),
            Kept::Large(delivery) => delivery.upgrade(),
        });
        let has =
            |it: &Arc<Delivery>| (it.first_sequence()..=it.last_sequence()).contains(&sequence);
        here.find(has)
    }
}

/// What it takes to open a feed for a sink.
#[derive(Clone, Debug)]
pub struct Feeds {
    /// The journal.
    pub journal: Arc<dyn Storage>,
    /// How far everything is judged.
    pub judged: Arc<JudgedPosition>,
    /// Where the duplicates are written down.
    pub dedupe: Arc<dyn Storage>,
    /// Bodies that nobody can take apart.
    pub quarantine: Arc<Quarantine>,
    /// How the bodies are read.
    pub forms: Arc<Forms>,
}

impl Feeds {
    /// A feed of everything from sequence `next` on, and the end at which batches are offered to it, which wakes
    /// `sleeper`. Without that end, the feed reads the journal alone.
    #[must_use]
    pub fn open(&self, sleeper: &Arc<Sleeper>, next: u64) -> (Live<Arc<Delivery>>, Feed<Judged>) {
        self.open_at(None, sleeper, next)
    }

    /// The same for one of several that read beside each other, and share what they read.
    #[must_use]
    pub fn open_beside(
        &self,
        shared: &Shelf,
        sleeper: &Arc<Sleeper>,
        next: u64,
    ) -> (Live<Arc<Delivery>>, Feed<Judged>) {
        self.open_at(Some(shared.clone()), sleeper, next)
    }

    fn open_at(
        &self,
        shared: Option<Shelf>,
        sleeper: &Arc<Sleeper>,
        next: u64,
    ) -> (Live<Arc<Delivery>>, Feed<Judged>) {
        let origin = Judged {
            position: Arc::clone(&self.judged),
            maker: Maker::sparing(self.quarantine.poison()).reading(&self.forms),
            quarantine: Arc::clone(&self.quarantine),
            duplicates: Duplicates::open(Arc::clone(&self.dedupe)),
            shared,
        };
        Feed::waking(sleeper, Arc::clone(&self.journal), origin, next)
    }
}

/// Takes a batch apart for who passes it on: whatever nobody can take apart is a durable dead letter when this returns.
fn make(maker: &mut Maker, quarantine: &Quarantine, batch: Batch) -> Result<Delivery, FeedError> {
    let delivery = maker.make(batch);
    quarantine.keep(&delivery)?;
    Ok(delivery)
}

impl Origin for Judged {
    type Given = Arc<Delivery>;

    fn available(&self) -> u64 {
        self.position.get()
    }

    fn make(&mut self, batch: Batch) -> Result<Arc<Delivery>, FeedError> {
        let mut delivery = make(&mut self.maker, &self.quarantine, batch)?;
        self.duplicates.mark(&mut delivery)?;
        let delivery = Arc::new(delivery);
        if let Some(shared) = &self.shared {
            shared.put(&delivery);
        }
        Ok(delivery)
    }

    fn at_hand(&self, next: u64) -> Option<Arc<Delivery>> {
        self.shared.as_ref()?.find(next)
    }
}

/// Batches on a shelf: as many as there are lanes, and one.
const SHELF_MAX: usize = 4;

/// Bytes that these may keep in memory.
const SHELF_BYTES: usize = 4 << 20;
