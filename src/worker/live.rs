//! The end of a feed's channel at which batches are offered.

use super::event_batch::EventBatch;
use crate::relay::{Room, Sender};
use std::borrow::Borrow;
use std::sync::Arc;

/// Hands live batches to one feed. A full feed is no error: it will read the journal.
pub struct Live<T> {
    sender: Sender<T>,
    room: Arc<Room>,
}

impl<T> Clone for Live<T> {
    fn clone(&self) -> Live<T> {
        Live {
            sender: self.sender.clone(),
            room: Arc::clone(&self.room),
        }
    }
}

impl<T: Borrow<EventBatch>> Live<T> {
    /// Offers go to `sender`, and take their bytes from `room`.
    pub fn new(sender: Sender<T>, room: Arc<Room>) -> Live<T> {
        Live { sender, room }
    }

    /// Offers a batch; false when the feed had no room for it.
    #[must_use]
    pub fn offer(&self, given: T) -> bool {
        let bytes = given.borrow().bytes();
        if !self.room.take(bytes) {
            return false;
        }
        let sent = self.sender.try_send(given).is_ok();
        if !sent {
            self.room.give_back(bytes);
        }
        sent
    }
}
