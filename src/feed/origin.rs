//! Where a feed's batches come from when they do not come live.

use super::dedupe::Duplicates;
use super::delivery::{Delivery, Maker};
use super::poison::Poison;
use super::{Feed, FeedError, Live};
use crate::journal::batch::Batch;
use crate::journal::{Status, Storage};
use crate::relay::Sleeper;
use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
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
}

/// Everything that is durable, for the one who judges what is a duplicate.
#[derive(Debug)]
pub struct Durable {
    status: Arc<Status>,
    maker: Maker,
}

impl Durable {
    /// What the journal with this status holds.
    #[must_use]
    pub fn new(status: Arc<Status>, maker: Maker) -> Durable {
        Durable { status, maker }
    }
}

impl Origin for Durable {
    type Given = Delivery;

    fn available(&self) -> u64 {
        self.status.durable()
    }

    fn make(&mut self, batch: Batch) -> Result<Delivery, FeedError> {
        Ok(self.maker.make(batch))
    }
}

/// Everything of which it is known whether it is a duplicate, for the sinks.
#[derive(Debug)]
pub struct Judged {
    position: Arc<JudgedPosition>,
    maker: Maker,
    duplicates: Duplicates,
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

impl Judged {
    /// What was judged up to this position, as it moves on.
    #[must_use]
    pub fn new(position: Arc<JudgedPosition>, maker: Maker, duplicates: Duplicates) -> Judged {
        Judged {
            position,
            maker,
            duplicates,
        }
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
    /// Bodies that nobody is to take apart.
    pub poison: Arc<Poison>,
}

impl Feeds {
    /// A feed of everything from sequence `next` on, and the end at which batches are offered to it, which wakes
    /// `sleeper`. Without that end, the feed reads the journal alone.
    #[must_use]
    pub fn open(&self, sleeper: &Arc<Sleeper>, next: u64) -> (Live<Arc<Delivery>>, Feed<Judged>) {
        let maker = Maker::sparing(&self.poison);
        let duplicates = Duplicates::open(Arc::clone(&self.dedupe));
        let origin = Judged::new(Arc::clone(&self.judged), maker, duplicates);
        Feed::waking(sleeper, Arc::clone(&self.journal), origin, next)
    }
}

impl Origin for Judged {
    type Given = Arc<Delivery>;

    fn available(&self) -> u64 {
        self.position.get()
    }

    fn make(&mut self, batch: Batch) -> Result<Arc<Delivery>, FeedError> {
        let mut delivery = self.maker.make(batch);
        self.duplicates.mark(&mut delivery)?;
        Ok(Arc::new(delivery))
    }
}
