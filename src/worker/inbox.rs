//! What waits for a worker, and how much of it is taken at once.
//!
//! The answer has left long ago, so nothing here is urgent; and whatever is done once for several batches, here and in
//! all that follows (a mark, the keys of dedupe, a write, a wake of each thread), costs a part of what it would cost
//! for each. So a worker that has been idle starts at once, and one that has just run waits until [`GATHER_TIME`] after
//! its last start, or does not wait where [`GATHER_BYTES`] are there already.

use crate::journal::batch::Batch;
use crate::relay::{Closed, Receiver, Room};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

/// Where a worker finds batches.
pub struct Inbox {
    receiver: Receiver<Batch>,
    /// From which what waits has taken its bytes.
    room: Arc<Room>,
    /// Taken out, and not to be had together with what came before.
    next: Option<Batch>,
    /// When the worker was last given something.
    started: Option<Instant>,
}

impl Inbox {
    /// What comes by `receiver`, and has taken its bytes from `room`.
    pub fn new(receiver: Receiver<Batch>, room: Arc<Room>) -> Inbox {
        Inbox {
            receiver,
            room,
            next: None,
            started: None,
        }
    }

    /// Waits for at least one batch, and appends it and what follows it in the journal, as far as it is there. `Err`
    /// when nothing comes any more.
    pub(super) fn take(&mut self, batches: &mut Vec<Batch>) -> Result<(), Closed> {
        if let Some(started) = self.started
            && self.room.taken() < GATHER_BYTES
        {
            // Nobody is to wake it: that would cost what this saves.
            thread::sleep(GATHER_TIME.saturating_sub(started.elapsed()));
        }
        let mut next = self.next.take();
        while next.is_none() {
            next = self.receiver.recv(None)?;
        }
        self.started = Some(Instant::now());
        let mut bytes = 0;
        while let Some(batch) = next {
            let last = batches.last().map(Batch::last_sequence);
            let follows = last.is_none_or(|last| batch.first_sequence() == last + 1);
            if !follows || bytes >= GATHER_BYTES {
                self.next = Some(batch);
                return Ok(());
            }
            bytes += batch.len();
            self.room.give_back(batch.len());
            batches.push(batch);
            // What was closed meanwhile is found so the next time.
            next = self.receiver.try_recv().unwrap_or(None);
        }
        Ok(())
    }
}

/// How long a worker that has just run waits for company.
const GATHER_TIME: Duration = Duration::from_millis(2);

/// Bytes of batches that are company enough, and are taken at once beside the last one. Whoever has an event of a batch
/// open keeps all of it in memory, so it does not get much larger than the batch of a loop.
pub const GATHER_BYTES: usize = 64 << 10;

#[cfg(test)]
mod tests {
    use super::{GATHER_BYTES, Inbox};
    use crate::feed::tests::batch;
    use crate::journal::batch::Batch;
    use crate::relay::{self, Closed, Room};
    use std::sync::Arc;

    /// What is taken each time, as first and last sequences, until nothing comes any more.
    fn taken(all: Vec<Batch>) -> Vec<Vec<(u64, u64)>> {
        let (sender, receiver) = relay::channel(all.len());
        let room = Arc::new(Room::new(1 << 30));
        for batch in all {
            assert!(room.take(batch.len()));
            sender.try_send(batch).unwrap();
        }
        drop(sender);
        let mut inbox = Inbox::new(receiver, Arc::clone(&room));
        let (mut batches, mut taken) = (Vec::new(), Vec::new());
        while inbox.take(&mut batches).is_ok() {
            let ends = batches.drain(..);
            let ends = ends.map(|it| (it.first_sequence(), it.last_sequence()));
            taken.push(ends.collect());
        }
        assert_eq!(inbox.take(&mut batches), Err(Closed));
        assert_eq!(room.taken(), 0, "all of it was given back");
        taken
    }

    fn small(first: u64, count: usize) -> Batch {
        batch(first, &vec![b"{}".to_vec(); count])
    }

    #[test]
    fn what_waits_is_taken_together() {
        let all = vec![small(1, 2), small(3, 1), small(4, 3)];
        assert_eq!(taken(all), [[(1, 2), (3, 3), (4, 6)]]);
    }

    /// Of what went to another worker the feed learns from that one.
    #[test]
    fn what_does_not_follow_is_taken_by_itself() {
        let all = vec![small(1, 1), small(2, 1), small(4, 1), small(3, 1)];
        let expected = [vec![(1, 1), (2, 2)], vec![(4, 4)], vec![(3, 3)]];
        assert_eq!(taken(all), expected);
    }

    #[test]
    fn no_more_is_taken_together_than_is_quickly_taken_apart() {
        let body = vec![b'1'; GATHER_BYTES / 4];
        let all = (1..=12).map(|sequence| batch(sequence, std::slice::from_ref(&body)));
        let taken = taken(all.collect());
        assert!(taken.iter().all(|it| it.len() <= 4), "{taken:?}");
        let all: Vec<u64> = taken.iter().flatten().map(|(first, _)| *first).collect();
        assert_eq!(all, (1..=12).collect::<Vec<u64>>());
    }
}
