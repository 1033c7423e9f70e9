//! Takes every body of a batch apart, with memory that comes back from the batches before.

use super::event_batch::{EventBatch, Made};
use super::forms::{Forms, Reading};
use super::poison::{GuardedExtractor, Poison};
use crate::event::{Headers, Origin, Sender as From};
use crate::journal::batch::{Batch, Seal};
use crate::journal::record::{FLAG_FOREIGN, Record};
use crossbeam_channel::{Receiver, Sender, bounded};
use std::sync::Arc;

/// Makes deliveries, with memory that comes back from the ones before.
pub struct Extraction {
    extractor: GuardedExtractor,
    reading: Reading,
    give: Sender<Made>,
    take: Receiver<Made>,
}

impl Extraction {
    /// A maker without any memory yet.
    pub fn new() -> Extraction {
        Extraction::guarded(GuardedExtractor::default())
    }

    /// A maker that spares the bodies that nobody can take apart, and in a server leaves word of what it is at.
    pub fn sparing(poison: &Arc<Poison>) -> Extraction {
        Extraction::guarded(GuardedExtractor::new(poison))
    }

    fn guarded(extractor: GuardedExtractor) -> Extraction {
        let (give, take) = bounded(SPARE_MAX);
        Extraction {
            extractor,
            reading: Reading::default(),
            give,
            take,
        }
    }

    /// The same, that reads each body by the form that it was stored with.
    #[must_use]
    pub fn reading(mut self, forms: &Arc<Forms>) -> Extraction {
        self.read_by(forms);
        self
    }

    /// Reads by these forms from here on.
    pub fn read_by(&mut self, forms: &Arc<Forms>) {
        if !Arc::ptr_eq(&self.reading.forms, forms) {
            self.reading = Reading::new(forms);
        }
    }

    /// Takes every body of a durable batch apart.
    #[must_use]
    pub fn make(&mut self, batch: Batch) -> EventBatch {
        let mut made = self.take.try_recv().unwrap_or_default();
        let Made {
            events,
            counts,
            poisoned,
        } = &mut made;
        events.clear();
        counts.clear();
        *poisoned = 0;
        let first = batch.first_sequence();
        self.extractor.begin(first, batch.last_sequence());
        for ((sequence, record), position) in batch.records_from(0).zip(0..) {
            let origin = Origin {
                sequence,
                record: position,
                endpoint: record.endpoint,
                received_at: record.received_at,
                foreign: record.flags & FLAG_FOREIGN != 0,
            };
            let from = self.reading.of(record.flags);
            let from = from.map(|form| From {
                form,
                headers: &record,
            });
            let before = events.len();
            let body = record.body;
            *poisoned += usize::from(!self.extractor.extract(from, body, origin, events));
            counts.push(events.len() - before);
        }
        self.extractor.end();
        events.fit();
        EventBatch {
            batch,
            made,
            forms: Arc::clone(&self.reading.forms),
            spare: self.give.clone(),
        }
    }

    /// A delivery of this one of its notifications, in memory of its own. `None` if it is not in there.
    #[must_use]
    pub fn alone(&mut self, delivery: &EventBatch, sequence: u64) -> Option<EventBatch> {
        let record = delivery.notification(sequence)?.record;
        self.read_by(&delivery.forms);
        Some(self.take_apart(sequence, &record))
    }

    /// A delivery of one stored body, in memory of its own.
    #[must_use]
    pub fn take_apart(&mut self, sequence: u64, record: &Record<'_>) -> EventBatch {
        let came = (record.endpoint, record.flags, record.received_at);
        self.make_one(sequence, came, record.headers(), record.body)
    }

    /// A delivery of one notification, in memory of its own. Beside the sequence that it had: its endpoint, flags and
    /// time of arrival.
    pub(crate) fn make_one<'h>(
        &mut self,
        sequence: u64,
        (endpoint, flags, received_at): (u16, u16, u64),
        headers: impl Iterator<Item = (&'h [u8], &'h [u8])>,
        body: &[u8],
    ) -> EventBatch {
        let mut batch = Batch::unpooled();
        batch.append(endpoint, flags, received_at, headers, body);
        batch.seal(&Seal {
            epoch: 0,
            salt: 0,
            first_sequence: sequence,
            committed_at: 0,
            durable: 0,
        });
        self.make(batch)
    }
}

impl Headers for Record<'_> {
    fn each<'h>(&'h self, take: &mut dyn FnMut(&'h [u8], &'h [u8])) {
        self.headers().for_each(|(name, value)| take(name, value));
    }
}

impl Default for Extraction {
    fn default() -> Extraction {
        Extraction::new()
    }
}

/// Lists of events that wait to be used again.
const SPARE_MAX: usize = 16;
