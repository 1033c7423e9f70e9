//! Pinned threads that make events of what is durable. They never wait for a sink.
//!
//! Batches come from the commit thread and [gather](inbox), each of their bodies is taken apart once, and the feed of
//! the one who decides what is a duplicate is offered the result. Whatever is not passed on here, because a channel was
//! full, is read from the journal later, and taken apart in the same way by whoever reads it.

mod event_batch;
mod extraction;
mod forms;
mod inbox;
mod live;
pub(crate) mod poison;
mod spares;

pub use event_batch::{EventBatch, Notification};
pub use extraction::Extraction;
pub use forms::Forms;
pub use inbox::{GATHER_BYTES, Inbox};
pub use live::Live;
pub use poison::Poison;

use crate::event::Lane;
use crate::metrics::Counter;

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

/// Works until the commit thread is gone and everything it left has been passed on.
pub fn run(
    mut inbox: Inbox,
    mut maker: Extraction,
    feed: &Live<EventBatch>,
    statistics: &Statistics,
) {
    let mut batches = Vec::new();
    while inbox.take(&mut batches).is_ok() {
        let delivery = maker.make_all(&mut batches);
        count(&delivery, statistics);
        if !feed.offer(delivery) {
            statistics.overflows.add(1);
        }
    }
}

fn count(delivery: &EventBatch, statistics: &Statistics) {
    let notifications = delivery.last_sequence() + 1 - delivery.first_sequence();
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
