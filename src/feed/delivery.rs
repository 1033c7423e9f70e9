//! One batch with its events: what workers make, feeds pass on and sinks deliver.

use super::FeedError;
use super::forms::{Forms, Reading};
use super::poison::{Guarded, Poison};
use crate::event::{EventRef, Events, Headers, Origin, Sender as From};
use crate::journal::batch::{Batch, FrameAt, Place};
use crate::journal::record::{FLAG_FOREIGN, Record};
use crossbeam_channel::{Receiver, Sender, bounded};
use std::sync::Arc;

/// A durable batch and the events in it. Its buffer goes back to the loop when the last sink has released it.
#[derive(Debug)]
pub struct Delivery {
    batch: Batch,
    made: Made,
    /// By which it was read.
    forms: Arc<Forms>,
    /// Where the memory of the events goes when the last sink has released them.
    spare: Sender<Made>,
}

/// What a batch was taken apart to.
#[derive(Debug, Default)]
struct Made {
    events: Events,
    /// How many events each record gave. Kept beside the events, so that what is done with them can be checked.
    counts: Vec<usize>,
    /// How many bodies nobody can take apart, see [`Poison`].
    poisoned: usize,
}

/// Makes deliveries, with memory that comes back from the ones before.
#[derive(Debug)]
pub struct Maker {
    extractor: Guarded,
    reading: Reading,
    give: Sender<Made>,
    take: Receiver<Made>,
}

impl Maker {
    /// A maker without any memory yet.
    #[must_use]
    pub fn new() -> Maker {
        Maker::guarded(Guarded::default())
    }

    /// A maker that spares the bodies that nobody can take apart, and in a server leaves word of what it is at.
    #[must_use]
    pub fn sparing(poison: &Arc<Poison>) -> Maker {
        Maker::guarded(Guarded::new(poison))
    }

    fn guarded(extractor: Guarded) -> Maker {
        let (give, take) = bounded(SPARE_MAX);
        Maker {
            extractor,
            reading: Reading::default(),
            give,
            take,
        }
    }

    /// The same, that reads each body by the form that it was stored with.
    #[must_use]
    pub fn reading(mut self, forms: &Arc<Forms>) -> Maker {
        self.read_by(forms);
        self
    }

    /// Reads by these forms from here on.
    pub fn read_by(&mut self, forms: &Arc<Forms>) {
        if !Arc::ptr_eq(self.reading.forms(), forms) {
            self.reading = Reading::new(forms);
        }
    }

    /// Takes every body of a durable batch apart.
    #[must_use]
    pub fn make(&mut self, batch: Batch) -> Delivery {
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
        Delivery {
            batch,
            made,
            forms: Arc::clone(self.reading.forms()),
            spare: self.give.clone(),
        }
    }

    /// The same for who passes it on: whatever nobody can take apart is a durable dead letter when this returns.
    pub(super) fn make_known(&mut self, batch: Batch) -> Result<Delivery, FeedError> {
        let delivery = self.make(batch);
        self.extractor.poison().keep(&delivery)?;
        Ok(delivery)
    }

    /// A delivery of one stored body, in memory of its own.
    #[must_use]
    pub fn take_apart(&mut self, sequence: u64, record: &Record<'_>) -> Delivery {
        let came = (record.endpoint, record.flags, record.received_at);
        self.make_one(sequence, came, record.headers(), record.body)
    }

    /// A delivery of one notification, in memory of its own. Beside the sequence that it had: its endpoint, flags and
    /// time of arrival.
    pub(super) fn make_one<'h>(
        &mut self,
        sequence: u64,
        (endpoint, flags, received_at): (u16, u16, u64),
        headers: impl Iterator<Item = (&'h [u8], &'h [u8])>,
        body: &[u8],
    ) -> Delivery {
        let mut batch = Batch::unpooled();
        batch.append(endpoint, flags, received_at, headers, body);
        batch.seal(&Place {
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

    /// Where it stands in the journal, if it came from there.
    #[must_use]
    pub fn at(&self) -> Option<FrameAt> {
        self.batch.at()
    }

    /// Bytes of memory that it takes, in bodies and events.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.batch.len() + self.made.events.bytes() + self.made.counts.capacity() * 8
    }

    /// All events of the batch.
    #[must_use]
    pub fn events(&self) -> &Events {
        &self.made.events
    }

    /// Notes that the event at a position of [`Delivery::events`] says what an earlier one has said.
    pub fn mark_duplicate(&mut self, position: usize) {
        self.made.events.mark_duplicate(position);
    }

    /// How many events the extraction made of the notifications from sequence `from` on. Counted there, so that it
    /// stays true whatever happens to the events on their way.
    #[must_use]
    pub fn made_from(&self, from: u64) -> u64 {
        let passed = from.saturating_sub(self.first_sequence());
        let passed = usize::try_from(passed).unwrap_or(usize::MAX);
        let counts = self.made.counts.iter().skip(passed);
        counts.map(|&count| count as u64).sum()
    }

    /// The notifications whose body nobody can take apart, see [`Poison`].
    pub fn poisoned(&self) -> impl Iterator<Item = Notification<'_>> {
        let some = (self.made.poisoned > 0).then(|| self.notifications(0));
        let is_poisoned = |it: &Notification<'_>| it.events().any(|event| event.is_dead());
        some.into_iter().flatten().filter(is_poisoned)
    }

    /// The notifications from sequence `from` on, in order.
    pub fn notifications(&self, from: u64) -> impl Iterator<Item = Notification<'_>> {
        let mut first = 0;
        self.batch
            .records_from(0)
            .map(move |(sequence, record)| {
                let later = self.events().iter().skip(first);
                let len = later
                    .take_while(|event| event.sequence() == sequence)
                    .count();
                let notification = Notification {
                    sequence,
                    record,
                    events: self.events(),
                    first,
                    len,
                };
                first += len;
                notification
            })
            .filter(move |notification| notification.sequence >= from)
    }

    /// A delivery of this one notification, in memory of its own. `None` if it is not here.
    #[must_use]
    pub fn alone(&self, sequence: u64, maker: &mut Maker) -> Option<Delivery> {
        let record = self.notification(sequence)?.record;
        maker.read_by(&self.forms);
        Some(maker.take_apart(sequence, &record))
    }

    /// The notification with this sequence, if it is one of these.
    #[must_use]
    pub fn notification(&self, sequence: u64) -> Option<Notification<'_>> {
        let before = sequence.checked_sub(self.first_sequence())?;
        let before = usize::try_from(before).ok()?;
        let (_, record) = self.batch.records_from(sequence).next()?;
        Some(Notification {
            sequence,
            record,
            events: self.events(),
            first: self.made.counts.iter().take(before).sum(),
            len: *self.made.counts.get(before)?,
        })
    }

    /// Loses the last event, as a bug would.
    #[cfg(test)]
    pub(crate) fn lose_an_event(&mut self) {
        self.made.events.lose_the_last();
    }
}

impl Drop for Delivery {
    fn drop(&mut self) {
        let mut made = std::mem::take(&mut self.made);
        // A large one gives its memory back here, and not when it is used again.
        made.events.clear();
        // Where enough are kept already, this one is freed.
        let _ = self.spare.try_send(made);
    }
}

impl<'d> Notification<'d> {
    /// The events of this body, in the order in which they stand in it.
    pub fn events(&self) -> impl Iterator<Item = EventRef<'d>> {
        let events = self.events;
        (self.first..self.first + self.len).filter_map(move |position| events.get(position))
    }

    /// The event at this place in the body, from 0.
    #[must_use]
    pub fn event(&self, index: u32) -> Option<EventRef<'d>> {
        // They stand in their order, so that of tens of thousands one is looked at.
        let place = usize::try_from(index).ok().filter(|it| *it < self.len);
        let event = place.and_then(|place| self.events.get(self.first + place));
        let event = event.filter(|event| event.index() == index);
        event.or_else(|| self.events().find(|event| event.index() == index))
    }
}
