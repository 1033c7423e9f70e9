//! Pinned threads that make events of what is durable. They never wait for a sink.
//!
//! Batches come from the commit thread and [gather](gathering), each of their bodies is taken apart once, and the one
//! who decides what is a duplicate has the result. With several workers that is a thread of its own, and its feed is
//! offered what each of them has made; with one it is the worker's thread, on which that feed asks for what it wants
//! next. Whatever is not passed on here, because a channel was full, is read from the journal later, and taken apart in
//! the same way by whoever reads it.

mod event_batch;
mod extraction;
mod forms;
mod gathering;
mod inbox;
mod live;
pub(crate) mod poison;
mod spares;

pub use event_batch::{EventBatch, Notification};
pub use extraction::Extraction;
pub use forms::Forms;
pub use gathering::{GATHER_BYTES, Gathering};
pub use inbox::Inbox;
pub use live::Live;
pub use poison::Poison;

use crate::event::Lane;
use crate::journal::batch::Batch;
use crate::metrics::Counter;
use crate::relay::Closed;
use std::sync::Arc;
use std::time::Duration;

/// What one worker counts.
#[derive(Debug, Default)]
pub struct Statistics {
    /// Notifications taken apart.
    pub notifications: Counter,
    /// Events made, by lane: messages, statuses, the rest.
    pub events: [Counter; Lane::COUNT],
    /// Bodies that are not JSON, or cannot be taken apart.
    pub unparsed: Counter,
    /// Events of a type that is not documented.
    pub unknown: Counter,
    /// Batches that are read from the journal, because there was no room for them.
    pub overflows: Counter,
}

/// What a worker's thread has.
pub struct Worker {
    inbox: Inbox,
    maker: Extraction,
    statistics: Arc<Statistics>,
    /// Empty but while they are taken apart.
    batches: Vec<Batch>,
}

impl Worker {
    /// One that takes what is in `inbox` apart by `maker`.
    pub fn new(inbox: Inbox, maker: Extraction, statistics: Arc<Statistics>) -> Worker {
        Worker {
            inbox,
            maker,
            statistics,
            batches: Vec::new(),
        }
    }

    /// Works until the commit thread is gone and everything it left has been passed on.
    pub fn run(mut self, feed: &Live<EventBatch>) {
        loop {
            if let Some(made) = self.make() {
                if !feed.offer(made) {
                    self.statistics.overflows.add(1);
                }
            } else if self.inbox.wait(None).is_err() {
                return;
            }
        }
    }

    /// Takes what brings `sequence` apart, with what has gathered behind it; `None` if it is not there, or waits for
    /// company. What ends before it is dropped.
    pub fn take(&mut self, sequence: u64) -> Option<EventBatch> {
        if self.inbox.go_to(sequence) {
            self.make()
        } else {
            None
        }
    }

    /// Waits up to `timeout` for what may be taken. `Err` when nothing comes any more.
    pub fn wait(&mut self, timeout: Duration) -> Result<(), Closed> {
        self.inbox.wait(Some(timeout))
    }

    /// True when nothing waits.
    pub fn is_empty(&self) -> bool {
        self.inbox.is_empty()
    }

    fn make(&mut self) -> Option<EventBatch> {
        self.inbox.take(&mut self.batches);
        if self.batches.is_empty() {
            return None;
        }
        let made = self.maker.make_all(&mut self.batches);
        self.statistics.count(&made);
        Some(made)
    }
}

impl Statistics {
    /// Counts what was taken apart.
    pub fn count(&self, made: &EventBatch) {
        let notifications = made.last_sequence() + 1 - made.first_sequence();
        let (mut lanes, mut unparsed, mut unknown) = ([0; Lane::COUNT], 0, 0);
        for event in made.events().iter() {
            lanes[event.lane().index()] += 1;
            unparsed += u64::from(event.unparsed().is_some());
            unknown += u64::from(!event.is_known());
        }
        self.notifications.add(notifications);
        for (counter, events) in self.events.iter().zip(lanes) {
            counter.add(events);
        }
        self.unparsed.add(unparsed);
        self.unknown.add(unknown);
    }
}
