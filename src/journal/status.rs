//! What the journal's threads report to everybody else: the state, the positions, the statistics.

use super::position::DurablePosition;
use crate::metrics::{Histogram, PowersOfTwo};
use crossbeam_utils::CachePadded;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

/// Whether the journal takes notifications.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It does.
    Open,
    /// There is no space for more than what was accepted already. Passes by itself.
    Full,
    /// A write or a sync has failed: nothing becomes durable any more until the process is restarted.
    Failed,
}

/// Shared by reference with loops, feeds and metrics. Everything here is an atomic.
pub struct Status {
    conditions: CachePadded<Conditions>,
    progress: CachePadded<Progress>,
    reserve: u64,
    positions: OnceLock<Arc<[Arc<DurablePosition>]>>,
    /// Counts for whoever watches.
    pub statistics: Statistics,
}

/// Written seldom, so that the loops may look at every turn.
#[derive(Debug, Default)]
struct Conditions {
    failed: AtomicBool,
    shortage: AtomicBool,
}

/// Written at every commit.
#[derive(Debug, Default)]
struct Progress {
    durable: AtomicU64,
    next: AtomicU64,
    room: AtomicU64,
    prepared: AtomicU64,
}

/// Counts since the start, and sizes as of now.
#[derive(Debug, Default)]
pub struct Statistics {
    /// Syncs of the active segment, each of which made one or more batches durable.
    pub commits: AtomicU64,
    /// Records made durable.
    pub records: AtomicU64,
    /// Bytes written in frames, padding included.
    pub bytes: AtomicU64,
    /// Rolls from one segment to the next.
    pub rolls: AtomicU64,
    /// Rolls that had to wait because the next segment was not ready.
    pub stalls: AtomicU64,
    /// Microseconds that each sync took.
    pub sync_micros: Histogram<PowersOfTwo>,
    /// Records that each sync made durable.
    pub commit_records: Histogram<PowersOfTwo>,
    /// Bytes of all segments and spares on the disk.
    pub disk_bytes: AtomicU64,
    /// Segments that hold records.
    pub segments: AtomicU64,
    /// Lowest sequence that is in the journal.
    pub first_sequence: AtomicU64,
    /// Bytes beyond `max_size` that are kept because a consumer has not had them.
    pub held_bytes: AtomicU64,
    /// While there are any: who has not had everything before this sequence is such a consumer.
    pub held_before: AtomicU64,
    /// When the oldest segment that holds records was begun, in microseconds since 1970; 0 while that is not known.
    pub first_commit: AtomicU64,
}

impl Status {
    pub(crate) fn new(next_sequence: u64, room: u64, reserve: u64) -> Status {
        let status = Status {
            conditions: CachePadded::default(),
            progress: CachePadded::default(),
            reserve,
            positions: OnceLock::new(),
            statistics: Statistics::default(),
        };
        status.set_next_sequence(next_sequence);
        status.set_durable(next_sequence - 1);
        status.set_room(room);
        status
    }

    /// Whether the journal takes notifications. Two loads of a line that hardly ever changes, as long
    /// as all is well.
    pub fn state(&self) -> State {
        if self.conditions.failed.load(Ordering::Acquire) {
            State::Failed
        } else if self.conditions.shortage.load(Ordering::Relaxed)
            && self.progress.prepared.load(Ordering::Relaxed) == 0
            && self.progress.room.load(Ordering::Relaxed) < self.reserve
        {
            State::Full
        } else {
            State::Open
        }
    }

    /// Highest sequence that is durable, 0 for none. What is durable stays what it is.
    pub fn durable(&self) -> u64 {
        self.progress.durable.load(Ordering::Acquire)
    }

    /// Sequence of the next record that is written.
    pub fn next_sequence(&self) -> u64 {
        self.progress.next.load(Ordering::Relaxed)
    }

    /// Bytes left in the active segment.
    pub fn room(&self) -> u64 {
        self.progress.room.load(Ordering::Relaxed)
    }

    /// Segments that are ready for use.
    pub fn prepared(&self) -> u64 {
        self.progress.prepared.load(Ordering::Relaxed)
    }

    /// True while the next segment cannot be prepared for lack of space.
    pub fn shortage(&self) -> bool {
        self.conditions.shortage.load(Ordering::Relaxed)
    }

    pub(crate) fn set_durable(&self, sequence: u64) {
        self.progress.durable.store(sequence, Ordering::Release);
    }

    pub(crate) fn set_next_sequence(&self, sequence: u64) {
        self.progress.next.store(sequence, Ordering::Relaxed);
    }

    pub(crate) fn set_room(&self, bytes: u64) {
        self.progress.room.store(bytes, Ordering::Relaxed);
    }

    pub(crate) fn segment_prepared(&self) {
        self.progress.prepared.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn segment_taken(&self) {
        self.progress.prepared.fetch_sub(1, Ordering::Relaxed);
    }

    /// Gives the value before.
    pub(crate) fn set_shortage(&self, shortage: bool) -> bool {
        self.conditions.shortage.swap(shortage, Ordering::Relaxed)
    }

    /// The loops to wake on failure.
    pub(crate) fn set_positions(&self, positions: Arc<[Arc<DurablePosition>]>) {
        // Set once, by `Journal::split`, which consumes the journal.
        let _ = self.positions.set(positions);
    }

    /// From here on nothing becomes durable. Wakes every loop.
    pub(crate) fn fail(&self) {
        self.conditions.failed.store(true, Ordering::SeqCst);
        for position in self.positions.get().into_iter().flat_map(|all| all.iter()) {
            position.alarm();
        }
    }
}

/// Fails the journal when one of its threads ends otherwise than as intended, panics included.
pub(crate) struct FailOnDrop<'a>(pub Option<&'a Status>);

impl FailOnDrop<'_> {
    /// The thread has ended as intended.
    pub(crate) fn disarm(mut self) {
        self.0 = None;
    }
}

impl Drop for FailOnDrop<'_> {
    fn drop(&mut self) {
        if let Some(status) = self.0 {
            status.fail();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn full_only_without_room_and_without_a_prepared_segment() {
        let status = Status::new(1, 100, 50);
        status.set_shortage(true);
        assert_eq!(status.state(), State::Open);
        status.set_room(49);
        assert_eq!(status.state(), State::Full);
        status.segment_prepared();
        assert_eq!(status.state(), State::Open);
        status.segment_taken();
        status.set_shortage(false);
        assert_eq!(status.state(), State::Open);
        status.fail();
        assert_eq!(status.state(), State::Failed);
    }
}
