//! One batch with its events: what workers make, feeds pass on and sinks deliver.

use super::forms::Forms;
use crate::event::{Event, Events};
use crate::journal::batch::{Batch, FrameAt};
use crate::journal::record::Record;
use crossbeam_channel::Sender;
use std::sync::Arc;

/// A durable batch and the events in it. Its buffer goes back to the loop when the last sink has released it.
#[derive(Debug)]
pub struct EventBatch {
    pub(super) batch: Batch,
    pub(super) made: Made,
    /// By which it was read.
    pub(super) forms: Arc<Forms>,
    /// Where the memory of the events goes when the last sink has released them.
    pub(super) spare: Sender<Made>,
}

/// What a batch was taken apart to.
#[derive(Debug, Default)]
pub(super) struct Made {
    pub(super) events: Events,
    /// How many events each record gave. Kept beside the events, so that what is done with them can be checked.
    pub(super) counts: Vec<usize>,
    /// How many bodies nobody can take apart, see [`Poison`](super::Poison).
    pub(super) poisoned: usize,
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
        self.batch.first_sequence()
    }

    /// Sequence of the last notification.
    pub fn last_sequence(&self) -> u64 {
        self.batch.last_sequence()
    }

    /// Where it stands in the journal, if it came from there.
    pub fn at(&self) -> Option<FrameAt> {
        self.batch.at
    }

    /// Bytes of memory that it takes, in bodies and events.
    pub fn bytes(&self) -> usize {
        self.batch.len() + self.made.events.bytes() + self.made.counts.capacity() * 8
    }

    /// All events of the batch.
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

    /// The notification with this sequence, if it is one of these.
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

impl Drop for EventBatch {
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
