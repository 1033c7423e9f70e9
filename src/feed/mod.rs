//! What a sink reads from: the batches in journal order, live where possible, from the journal otherwise.
//!
//! A feed is asked for what follows a sequence. Batches that the workers have just taken apart come over a bounded
//! channel; where one is missing, because the channel was full, the sink was not there, or the process has
//! just started, the feed reads the journal. So the journal is the queue: a slow sink costs disk, never memory
//! and never the answer. Restart, overflow, lag and a new sink are one and the same case.

mod cursor;
mod dedupe;
mod delivery;
mod floor;

pub use cursor::{Corrected, Cursor, CursorError, Cursors, Found, Saved, highest, read_all};
pub use dedupe::{
    Conversation, Dedupe, DedupeError, Duplicates, Options as DedupeOptions, Parties, Verdicts,
};
pub use delivery::{Delivery, Maker, Notification};
pub use floor::Floor;

use crate::journal::{JournalError, Reader, Status, Storage};
use crate::relay::{Closed, Receiver, Sender, channel};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Batches that wait for one sink in memory. The rest is in the journal.
const LIVE_MAX: usize = 64;

/// How long a gap may be open because another worker is still at the batch before it is read from the journal.
const NEIGHBOUR_PATIENCE: Duration = Duration::from_millis(5);

/// Hands live batches to one feed. A full feed is no error: it will read the journal.
#[derive(Clone, Debug)]
pub struct Live(Sender<Arc<Delivery>>);

impl Live {
    /// Offers a batch; false when the feed had no room for it.
    #[must_use]
    pub fn offer(&self, delivery: &Arc<Delivery>) -> bool {
        self.0.try_send(Arc::clone(delivery)).is_ok()
    }
}

/// The reading end for one sink.
#[derive(Debug)]
pub struct Feed {
    live: Receiver<Arc<Delivery>>,
    /// Live batches that came before it was their turn, by first sequence.
    early: BTreeMap<u64, Arc<Delivery>>,
    storage: Arc<dyn Storage>,
    status: Arc<Status>,
    /// Open while the feed reads from the journal.
    reader: Option<Reader>,
    maker: Maker,
    /// The sequence that comes next.
    next: u64,
    /// Since when it is there but not here.
    missing_since: Option<Instant>,
    /// See [`Feed::take_set_aside`].
    set_aside: u64,
}

impl Feed {
    /// A feed of everything from sequence `next` on, and the end that the workers hold.
    #[must_use]
    pub fn new(storage: Arc<dyn Storage>, status: Arc<Status>, next: u64) -> (Live, Feed) {
        let (sender, live) = channel(LIVE_MAX);
        let feed = Feed {
            live,
            early: BTreeMap::new(),
            storage,
            status,
            reader: None,
            maker: Maker::new(),
            next,
            missing_since: None,
            set_aside: 0,
        };
        (Live(sender), feed)
    }

    /// The next batch, from the sequence that follows the last one given. Waits up to `timeout` for one. What it
    /// gives may begin before that sequence; see [`Delivery::notifications`].
    pub fn next(&mut self, timeout: Duration) -> Result<Option<Arc<Delivery>>, JournalError> {
        let deadline = Instant::now() + timeout;
        loop {
            while let Ok(Some(delivery)) = self.live.try_recv() {
                self.keep(delivery);
            }
            if let Some(delivery) = self.take_contiguous() {
                return Ok(Some(delivery));
            }
            let patience = if self.status.durable() < self.next {
                self.missing_since = None;
                deadline.saturating_duration_since(Instant::now())
            } else {
                let since = *self.missing_since.get_or_insert_with(Instant::now);
                let patience = NEIGHBOUR_PATIENCE.saturating_sub(since.elapsed());
                // Once it reads from the journal it goes on there until the journal has no more.
                if (patience.is_zero() || self.reader.is_some())
                    && let Some(delivery) = self.read()?
                {
                    return Ok(Some(delivery));
                }
                patience.max(Duration::from_millis(1))
            };
            if Instant::now() >= deadline {
                return Ok(None);
            }
            match self.live.recv(Some(patience)) {
                Ok(Some(delivery)) => self.keep(delivery),
                Ok(None) => {}
                // The workers have gone; what they left is in the journal.
                Err(Closed) if self.status.durable() < self.next => return Ok(None),
                Err(Closed) => {
                    self.missing_since = Some(deadline.checked_sub(timeout).unwrap_or(deadline));
                }
            }
        }
    }

    /// The sequence that the next batch will bring.
    #[must_use]
    pub fn position(&self) -> u64 {
        self.next
    }

    /// The next batch is to bring `next`, which it has brought before.
    pub fn go_back_to(&mut self, next: u64) {
        self.next = next;
        self.reader = None;
        self.missing_since = None;
        self.set_aside = 0;
    }

    /// Sequences that it has passed over since the last call because the damage that took them was set aside.
    pub fn take_set_aside(&mut self) -> u64 {
        std::mem::take(&mut self.set_aside)
    }

    /// Keeps a live batch until it is its turn. The ones furthest ahead are let go when there are too many.
    fn keep(&mut self, delivery: Arc<Delivery>) {
        if delivery.last_sequence() >= self.next {
            self.early.insert(delivery.first_sequence(), delivery);
        }
        if self.early.len() > LIVE_MAX {
            self.early.pop_last();
        }
    }

    fn take_contiguous(&mut self) -> Option<Arc<Delivery>> {
        while let Some(entry) = self.early.first_entry() {
            if *entry.key() > self.next {
                return None;
            }
            let delivery = entry.remove();
            if delivery.last_sequence() >= self.next {
                self.reader = None;
                return Some(self.given(delivery));
            }
        }
        None
    }

    /// The next batch from the journal, as far as it is durable.
    fn read(&mut self) -> Result<Option<Arc<Delivery>>, JournalError> {
        if self
            .reader
            .as_ref()
            .is_none_or(|reader| reader.position() != self.next)
        {
            self.reader = Some(Reader::open(Arc::clone(&self.storage), self.next)?);
        }
        let Some(reader) = &mut self.reader else {
            return Ok(None);
        };
        let before = reader.set_aside();
        let batch = reader.next(Some(self.status.durable()))?;
        self.set_aside += reader.set_aside() - before;
        let Some(batch) = batch else {
            // Behind damage that was set aside, perhaps, where nothing stands yet: nothing before it is to be
            // waited for.
            self.next = self.next.max(reader.position());
            return Ok(None);
        };
        let delivery = Arc::new(self.maker.make(batch));
        Ok(Some(self.given(delivery)))
    }

    fn given(&mut self, delivery: Arc<Delivery>) -> Arc<Delivery> {
        self.next = delivery.last_sequence() + 1;
        self.missing_since = None;
        delivery
    }
}

#[cfg(test)]
pub(crate) mod tests;
