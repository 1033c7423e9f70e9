//! What comes live, while there is room for it.

use crate::relay::{Closed, Receiver, Room, Sleeper, channel_of};
use crate::worker::{EventBatch, Gathering, Live, Worker};
use std::borrow::Borrow;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// Batches that nobody has to read from the journal. Some may be missing, and for those there is the journal.
pub trait Arrivals<T>: Send {
    /// The batch that brings the sequence `next`, if it may be had now. What stands before that is dropped.
    fn take(&mut self, next: u64) -> Option<T>;

    /// Waits up to `timeout` for something to come, or returns early. `Err` when nothing comes any more.
    fn wait(&mut self, timeout: Duration) -> Result<(), Closed>;

    /// True when nothing waits.
    fn is_empty(&self) -> bool;
}

/// What others offer, in any order.
pub(super) struct Offered<T> {
    receiver: Receiver<T>,
    /// Taken by what is in `receiver` and in `early`.
    room: Arc<Room>,
    /// Batches that came before it was their turn, by first sequence.
    early: BTreeMap<u64, T>,
    /// Where it goes on.
    next: u64,
    gathering: Gathering,
}

impl<T: Borrow<EventBatch>> Offered<T> {
    /// Nothing yet, and the end at which it is offered, which wakes `sleeper`.
    pub(super) fn new(sleeper: &Arc<Sleeper>) -> (Live<T>, Offered<T>) {
        let (sender, receiver) = channel_of(sleeper, LIVE_MAX);
        let room = Arc::new(Room::new(LIVE_BYTES));
        let offered = Offered {
            receiver,
            room: Arc::clone(&room),
            early: BTreeMap::new(),
            next: 0,
            gathering: Gathering::default(),
        };
        (Live::new(sender, room), offered)
    }

    /// Keeps a batch until it is its turn. The ones furthest ahead are dropped when there are too many.
    fn keep(&mut self, given: T) {
        let delivery: &EventBatch = given.borrow();
        let (first, last) = (delivery.first_sequence(), delivery.last_sequence());
        let dropped = if last < self.next {
            Some(given)
        } else if let Some(same) = self.early.insert(first, given) {
            Some(same)
        } else if self.early.len() > LIVE_MAX {
            self.early.pop_last().map(|(_, furthest)| furthest)
        } else {
            None
        };
        if let Some(given) = dropped {
            self.leave(&given);
        }
    }

    /// It is on its way no more.
    fn leave(&self, given: &T) {
        let delivery: &EventBatch = given.borrow();
        self.room.give_back(delivery.bytes());
    }
}

impl<T: Borrow<EventBatch> + Send> Arrivals<T> for Offered<T> {
    fn take(&mut self, next: u64) -> Option<T> {
        self.next = next;
        while let Ok(Some(given)) = self.receiver.try_recv() {
            self.keep(given);
        }
        while let Some(entry) = self.early.first_entry() {
            if *entry.key() > next {
                return None;
            }
            let given = entry.remove();
            self.leave(&given);
            let delivery: &EventBatch = given.borrow();
            if delivery.last_sequence() >= next {
                self.gathering.start();
                return Some(given);
            }
        }
        None
    }

    fn wait(&mut self, timeout: Duration) -> Result<(), Closed> {
        if !self.gathering.wait(self.room.taken(), Some(timeout))
            && let Some(given) = self.receiver.recv(Some(timeout))?
        {
            self.keep(given);
        }
        Ok(())
    }

    fn is_empty(&self) -> bool {
        self.receiver.is_empty()
    }
}

/// The only worker gives what it makes in order, and makes only what is wanted.
impl Arrivals<EventBatch> for Worker {
    fn take(&mut self, next: u64) -> Option<EventBatch> {
        Worker::take(self, next)
    }

    fn wait(&mut self, timeout: Duration) -> Result<(), Closed> {
        Worker::wait(self, timeout)
    }

    fn is_empty(&self) -> bool {
        Worker::is_empty(self)
    }
}

/// Batches that wait for one sink in memory, and the bytes of their bodies and events. The rest is in the journal.
pub(super) const LIVE_MAX: usize = 64;
const LIVE_BYTES: usize = 16 << 20;
