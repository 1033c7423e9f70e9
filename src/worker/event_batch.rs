//! Durable batches with their events: what workers make, feeds pass on and sinks deliver.

use super::forms::Forms;
use super::spares::{Made, Spares};
use crate::event::{Event, Events};
use crate::journal::batch::{Batch, FrameAt};
use crate::journal::record::Record;
use std::sync::Arc;

/// One or more durable batches, each behind the other, and the events in them. Their buffers go back to the loops when
/// the last sink has released them.
#[derive(Debug)]
pub struct EventBatch {
    pub(super) made: Made,
    /// By which it was read.
    pub(super) forms: Arc<Forms>,
    /// Where the memory of the events goes when the last sink has released them.
    pub(super) spares: Arc<Spares>,
}

/// One stored body with its events.
#[derive(Clone, Copy, Debug)]
pub struct Notification<'d> {
    pub sequence: u64,
    /// The body, its headers and where and when it came.
    pub record: Record<'d>,
    events: &'d Events,
    first: usize,
    len: usize,
}

impl EventBatch {
    /// Sequence of the first notification.
    pub fn first_sequence(&self) -> u64 {
        self.made.batches.first().map_or(0, Batch::first_sequence)
    }

    /// Sequence of the last notification.
    pub fn last_sequence(&self) -> u64 {
        self.made.batches.last().map_or(0, Batch::last_sequence)
    }

    /// Releases the batches whose notifications all stand before `sequence`: who goes on there had them in another way.
    /// The last one stays.
    pub fn begin_at(&mut self, sequence: u64) {
        let Made {
            batches,
            events,
            counts,
            ..
        } = &mut self.made;
        let before = batches.iter().take(batches.len().saturating_sub(1));
        let before = before.take_while(|batch| batch.last_sequence() < sequence);
        let before = before.count();
        let records = batches.drain(..before).map(|batch| batch.count() as usize);
        let records: usize = records.sum();
        events.remove_first(counts.drain(..records).sum());
    }

    /// Where the last of it stands in the journal, if it came from there.
    pub fn at(&self) -> Option<FrameAt> {
        self.made.batches.last()?.at
    }

    /// Bytes of memory that it takes, in bodies and events.
    pub fn bytes(&self) -> usize {
        let batches: usize = self.made.batches.iter().map(Batch::len).sum();
        batches + self.made.events.bytes() + self.made.counts.capacity() * 8
    }

    /// All events of it.
    pub fn events(&self) -> &Events {
        &self.made.events
    }

    /// Notes that the event at a position of [`EventBatch::events`] says what an earlier one has said.
    pub fn mark_duplicate(&mut self, position: usize) {
        self.made.events.mark_duplicate(position);
    }

    /// How many events the extraction made of the notifications from sequence `from` on. Counted there, so that it
    /// stays true whatever happens to the events on their way.
    pub fn made_from(&self, from: u64) -> u64 {
        let passed = from.saturating_sub(self.first_sequence());
        let passed = usize::try_from(passed).unwrap_or(usize::MAX);
        let counts = self.made.counts.iter().skip(passed);
        counts.map(|&count| count as u64).sum()
    }

    /// The notifications whose body nobody can take apart, see [`Poison`](super::Poison).
    pub fn poisoned(&self) -> impl Iterator<Item = Notification<'_>> {
        let some = (self.made.poisoned > 0).then(|| self.notifications(0));
        let is_poisoned = |it: &Notification<'_>| it.events().any(|event| event.is_dead());
        some.into_iter().flatten().filter(is_poisoned)
    }

    /// The notifications from sequence `from` on, in order.
    pub fn notifications(&self, from: u64) -> impl Iterator<Item = Notification<'_>> {
        let mut first = 0;
        let batches = self.made.batches.iter();
        batches
            .flat_map(|batch| batch.records_from(0))
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

    /// The notification with this sequence, if it is one of these.
    pub fn notification(&self, sequence: u64) -> Option<Notification<'_>> {
        let before = sequence.checked_sub(self.first_sequence())?;
        let before = usize::try_from(before).ok()?;
        let mut batches = self.made.batches.iter();
        let batch = batches.find(|batch| batch.last_sequence() >= sequence)?;
        let (_, record) = batch.records_from(sequence).next()?;
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

impl Drop for EventBatch {
    fn drop(&mut self) {
        self.spares.give_back(std::mem::take(&mut self.made));
    }
}

impl<'d> Notification<'d> {
    /// The events of this body, in the order in which they stand in it.
    pub fn events(&self) -> impl Iterator<Item = Event<'d>> {
        let events = self.events;
        (self.first..self.first + self.len).filter_map(move |position| events.get(position))
    }

    /// The event at this place in the body, from 0.
    pub fn event(&self, index: u32) -> Option<Event<'d>> {
        // They stand in their order, so that of tens of thousands one is looked at.
        let place = usize::try_from(index).ok().filter(|it| *it < self.len);
        let event = place.and_then(|place| self.events.get(self.first + place));
        let event = event.filter(|event| event.index() == index);
        event.or_else(|| self.events().find(|event| event.index() == index))
    }
}
