//! From the commit thread to the workers.

use super::sources::Sources;
use crate::journal::HandOn;
use crate::journal::batch::Batch;
use crate::relay::{self, Room};
use crate::worker::{self, Extraction, Inbox, Worker};
use std::sync::Arc;

/// So many workers, and what hands batches on to them.
pub(super) fn workers(
    count: usize,
    maker: impl Fn() -> Extraction,
    sources: &mut Sources,
) -> (Vec<Worker>, HandOn) {
    let (mut workers, mut ways) = (Vec::new(), Vec::new());
    for _ in 0..count {
        let (sender, inbox) = relay::channel(WORKER_INBOX);
        let room = Arc::new(Room::new(WORKER_BYTES));
        let statistics = Arc::new(worker::Statistics::default());
        sources.workers.push(Arc::clone(&statistics));
        ways.push((sender, Arc::clone(&room)));
        workers.push(Worker::new(Inbox::new(inbox, room), maker(), statistics));
    }
    (workers, hand_on(ways))
}

/// Gives each durable batch to a worker. One that finds no room is dropped: the feeds read it from the journal. What
/// follows each other goes to one worker, which takes it together, until that has enough to do.
fn hand_on(workers: Vec<(relay::Sender<Batch>, Arc<Room>)>) -> HandOn {
    let (mut next, mut handed) = (0, 0);
    Box::new(move |batch| {
        if handed >= worker::GATHER_BYTES {
            (next, handed) = ((next + 1) % workers.len(), 0);
        }
        let (worker, room) = &workers[next];
        let bytes = batch.len();
        handed += bytes;
        if room.take(bytes)
            && let Err(batch) = worker.try_send(batch)
        {
            room.give_back(bytes);
            drop(batch);
        }
    })
}

/// Batches that may wait for a worker, and their bytes; beyond, the feeds read them from the journal.
const WORKER_INBOX: usize = 512;
const WORKER_BYTES: usize = 16 << 20;

#[cfg(test)]
mod tests {
    use super::{Arc, Room, WORKER_BYTES, hand_on, relay};
    use crate::feed::tests::batch;

    /// Sixty-four batches waited for each worker, of whatever size.
    #[test]
    fn what_waits_for_a_worker_is_bounded_in_bytes() {
        let (worker, inbox) = relay::channel(64);
        let room = Arc::new(Room::new(WORKER_BYTES));
        let mut hand_on = hand_on(vec![(worker, Arc::clone(&room))]);
        let mut hand = || (1..=20).for_each(|it| hand_on(batch(it, &[vec![b'x'; 3 << 20]])));
        hand();
        assert_eq!(inbox.len(), 5);
        let first = inbox.try_recv().unwrap().unwrap();
        room.give_back(first.len());
        hand();
        assert_eq!(inbox.len(), 5);
    }
}
