//! What waits for a worker, and how much of it is taken at once.

use super::gathering::{GATHER_BYTES, GATHER_TIME, Gathering};
use crate::journal::batch::Batch;
use crate::relay::{Closed, Receiver, Room};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

/// Where a worker finds batches.
pub struct Inbox {
    receiver: Receiver<Batch>,
    /// From which what waits has taken its bytes.
    room: Arc<Room>,
    /// Taken out, and not to be had together with what came before.
    next: Option<Batch>,
    gathering: Gathering,
}

impl Inbox {
    /// What comes by `receiver`, and has taken its bytes from `room`.
    pub fn new(receiver: Receiver<Batch>, room: Arc<Room>) -> Inbox {
        Inbox {
            receiver,
            room,
            next: None,
            gathering: Gathering::default(),
        }
    }

    /// Appends what waits, as far as it is to be taken together; nothing while more is waited for.
    pub(super) fn take(&mut self, batches: &mut Vec<Batch>) {
        if !self.gathering.left(self.room.taken()).is_zero() {
            return;
        }
        let mut next = self.next.take().or_else(|| self.received());
        if next.is_some() {
            self.gathering.start();
        }
        let mut bytes = 0;
        while let Some(batch) = next {
            let last = batches.last().map(Batch::last_sequence);
            let follows = last.is_none_or(|last| batch.first_sequence() == last + 1);
            if !follows || bytes >= GATHER_BYTES {
                self.next = Some(batch);
                return;
            }
            bytes += batch.len();
            self.room.give_back(batch.len());
            batches.push(batch);
            next = self.received();
        }
    }

    /// Drops what ends before `sequence`. True if what comes next brings it.
    pub(super) fn go_to(&mut self, sequence: u64) -> bool {
        while let Some(batch) = self.next.take().or_else(|| self.received()) {
            if batch.last_sequence() >= sequence {
                return self.next.insert(batch).first_sequence() <= sequence;
            }
            self.room.give_back(batch.len());
        }
        false
    }

    /// Waits up to `timeout` for what may be taken. `Err` when nothing comes any more.
    pub(super) fn wait(&mut self, timeout: Option<Duration>) -> Result<(), Closed> {
        if self.gathering.wait(self.room.taken(), timeout) {
            return Ok(());
        }
        if self.next.is_none() {
            self.next = self.receiver.recv(timeout)?;
        } else {
            // What stands behind it is not what is wanted either: who waits looks elsewhere.
            thread::sleep(timeout.map_or(GATHER_TIME, |it| it.min(GATHER_TIME)));
        }
        Ok(())
    }

    /// True when nothing waits.
    pub(super) fn is_empty(&self) -> bool {
        self.next.is_none() && self.receiver.is_empty()
    }

    /// What was closed meanwhile is found so by [`Inbox::wait`].
    fn received(&self) -> Option<Batch> {
        self.receiver.try_recv().unwrap_or(None)
    }
}

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
        loop {
            inbox.take(&mut batches);
            if batches.is_empty() {
                if inbox.wait(None) == Err(Closed) {
                    break;
                }
                continue;
            }
            let ends = batches.drain(..);
            let ends = ends.map(|it| (it.first_sequence(), it.last_sequence()));
            taken.push(ends.collect());
        }
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

    /// Who had the begin of it in another way, or waits for what will not come, takes nothing that it cannot use.
    #[test]
    fn what_is_not_wanted_is_dropped_or_left() {
        let (sender, receiver) = relay::channel(8);
        let room = Arc::new(Room::new(1 << 30));
        for batch in [small(1, 2), small(3, 2), small(5, 1), small(9, 2)] {
            assert!(room.take(batch.len()));
            sender.try_send(batch).unwrap();
        }
        let mut inbox = Inbox::new(receiver, Arc::clone(&room));
        assert!(inbox.go_to(4), "the second batch has it");
        let mut batches = Vec::new();
        inbox.take(&mut batches);
        let ends = batches.iter();
        let ends = ends.map(|it| (it.first_sequence(), it.last_sequence()));
        assert_eq!(ends.collect::<Vec<_>>(), [(3, 4), (5, 5)]);
        for (sequence, is_there) in [(6, false), (8, false), (9, true), (10, true), (11, false)] {
            assert_eq!(inbox.go_to(sequence), is_there, "{sequence}");
        }
        assert_eq!(room.taken(), 0);
        assert!(inbox.is_empty());
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
