//! Pinned threads that make events of what is durable. They never wait for a sink.
//!
//! A batch comes from the commit thread, each of its bodies is taken apart once, and the feed of the one who decides
//! what is a duplicate is offered the result. Whatever is not passed on here, because a channel was full, is read
//! from the journal later, and taken apart in the same way by whoever reads it.

mod event_batch;
mod extraction;
mod forms;
mod live;
pub(crate) mod poison;

pub use event_batch::{EventBatch, Notification};
pub use extraction::Extraction;
pub use forms::{Forms, FormsError};
pub use live::Live;
pub use poison::Poison;

use crate::event::Lane;
use crate::journal::batch::Batch;
use crate::metrics::Counter;
use crate::relay::{Receiver, Room};

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
    /// Batches that the feed had no room for.
    pub overflows: Counter,
}

/// Works until the commit thread is gone and everything it left has been passed on. What waits in `inbox` has taken
/// its bytes from `room`.
pub fn run(
    inbox: &Receiver<Batch>,
    room: &Room,
    mut maker: Extraction,
    feed: &Live<EventBatch>,
    statistics: &Statistics,
) {
    while let Ok(next) = inbox.recv(None) {
        let Some(batch) = next else { continue };
        room.give_back(batch.len());
        let notifications = batch.count();
        let delivery = maker.make(batch);
        count(&delivery, u64::from(notifications), statistics);
        if !feed.offer(delivery) {
            statistics.overflows.add(1);
        }
    }
}

fn count(delivery: &EventBatch, notifications: u64, statistics: &Statistics) {
    let (mut lanes, mut unparsed, mut unknown) = ([0; Lane::COUNT], 0, 0);
    for event in delivery.events().iter() {
        lanes[event.lane().index()] += 1;
        unparsed += u64::from(event.unparsed().is_some());
        unknown += u64::from(!event.is_known());
    }
    statistics.notifications.add(notifications);
    for (counter, events) in statistics.events.iter().zip(lanes) {
        counter.add(events);
    }
    statistics.unparsed.add(unparsed);
    statistics.unknown.add(unknown);
}
