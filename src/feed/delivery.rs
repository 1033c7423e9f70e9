//! One batch with its events: what workers make, feeds pass on and sinks deliver.

use crate::event::{EventRef, Events, Extractor, Origin};
use crate::journal::batch::Batch;
use crate::journal::record::Record;
use crossbeam_channel::{Receiver, Sender, bounded};

/// A durable batch and the events in it. Its buffer goes back to the loop when the last sink has let go of it.
#[derive(Debug)]
pub struct Delivery {
    batch: Batch,
    events: Events,
    /// Where the memory of the events goes when the last sink has let go.
    spare: Sender<Events>,
}

/// Makes deliveries, with memory that comes back from the ones before.
#[derive(Debug)]
pub struct Maker {
    extractor: Extractor,
    give: Sender<Events>,
    take: Receiver<Events>,
}

impl Maker {
    /// A maker without any memory yet.
    #[must_use]
    pub fn new() -> Maker {
        let (give, take) = bounded(SPARE_MAX);
        Maker {
            extractor: Extractor::new(),
            give,
            take,
        }
    }

    /// Takes every body of a durable batch apart.
    #[must_use]
    pub fn make(&mut self, batch: Batch) -> Delivery {
        let mut events = self.take.try_recv().unwrap_or_default();
        events.clear();
        for ((record, position), sequence) in batch.records().zip(0..).zip(batch.first_sequence()..)
        {
            let origin = Origin {
                sequence,
                record: position,
                received_at: record.received_at,
            };
            self.extractor.extract(record.body, origin, &mut events);
        }
        Delivery {
            batch,
            events,
            spare: self.give.clone(),
        }
    }
}

impl Default for Maker {
    fn default() -> Maker {
        Maker::new()
    }
}

/// Lists of events that wait to be used again.
const SPARE_MAX: usize = 16;

/// One stored body with its events.
#[derive(Clone, Copy, Debug)]
pub struct Notification<'d> {
    /// Sequence in the journal.
    pub sequence: u64,
    /// The body, its headers and where and when it came.
    pub record: Record<'d>,
    events: &'d Events,
    first: usize,
    len: usize,
}

impl Delivery {
    /// Sequence of the first notification.
    #[must_use]
    pub fn first_sequence(&self) -> u64 {
        self.batch.first_sequence()
    }

    /// Sequence of the last notification.
    #[must_use]
    pub fn last_sequence(&self) -> u64 {
        self.batch.last_sequence()
    }

    /// All events of the batch.
    #[must_use]
    pub fn events(&self) -> &Events {
        &self.events
    }

    /// The notifications from sequence `from` on, in order.
    pub fn notifications(&self, from: u64) -> impl Iterator<Item = Notification<'_>> {
        let mut first = 0;
        let numbered = self.batch.records().zip(self.batch.first_sequence()..);
        numbered
            .map(move |(record, sequence)| {
                let later = self.events.iter().skip(first);
                let len = later
                    .take_while(|event| event.sequence() == sequence)
                    .count();
                let notification = Notification {
                    sequence,
                    record,
                    events: &self.events,
                    first,
                    len,
                };
                first += len;
                notification
            })
            .filter(move |notification| notification.sequence >= from)
    }
}

impl Drop for Delivery {
    fn drop(&mut self) {
        // Where enough are kept already, this one is freed.
        let _ = self.spare.try_send(std::mem::take(&mut self.events));
    }
}

impl<'d> Notification<'d> {
    /// The events of this body, in the order in which they stand in it.
    pub fn events(&self) -> impl Iterator<Item = EventRef<'d>> {
        let events = self.events;
        (self.first..self.first + self.len).filter_map(move |position| events.get(position))
    }
}
