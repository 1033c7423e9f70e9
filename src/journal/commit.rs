//! The commit thread: gives every batch its place, writes, syncs once for all, and only then reports.
//!
//! While one commit is under way the next gathers in the channel: group commit without a timer. Nothing
//! is published or handed on before it is durable, also what was answered before (`received`), so no
//! consumer ever sees a sequence that a power cut could take back and give to another record.
//!
//! A write or a sync that fails ends the thread for good: the kernel may have dropped the dirty pages
//! and would call the next sync a success.

use super::batch::{Batch, FrameAt, Seal};
use super::clock::commit_time;
use super::error::JournalError;
use super::frame::NUMBER_END;
use super::names;
use super::path_check::{self, Watch};
use super::position::DurablePosition;
use super::segment::{HEADER_BLOCK, Segment};
use super::status::{FailOnDrop, State, Status};
use crate::disk::block::{ALIGNMENT, on_disk, padded};
use crate::disk::{Guard, Storage, write_all_at};
use crate::relay::{Closed, Receiver, Sender};
use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// Takes each durable batch, in order. It is called on the commit thread and must not block.
pub type HandOn = Box<dyn FnMut(Batch) + Send>;

/// The writing end of the journal, to be run on a thread of its own.
pub struct Committer {
    pub(crate) storage: Arc<dyn Storage>,
    pub(crate) active: Segment,
    /// Where the next frame goes.
    pub(crate) offset: u64,
    /// What stands before this offset need not stay in the cache.
    pub(crate) forgotten: u64,
    pub(crate) next_sequence: u64,
    /// Time of the last commit, microseconds since 1970.
    pub(crate) latest: u64,
    /// Bytes that a frame can have in a segment of the configured size.
    pub(crate) frame_max: u64,
    pub(crate) sync_interval: Duration,
    pub(crate) unsynced_max: u64,
    pub(crate) status: Arc<Status>,
    pub(crate) positions: Arc<[Arc<DurablePosition>]>,
    /// For each loop, the ticket to publish; kept between commits.
    pub(crate) tickets: Vec<u64>,
    pub(crate) hand_on: HandOn,
    pub(crate) prepared: Receiver<Segment>,
    pub(crate) rolled: Sender<Rolled>,
    /// Taken from the inbox, not written yet.
    pub(crate) waiting: VecDeque<Batch>,
    /// Written, not known to be durable yet.
    pub(crate) unsynced: Vec<Batch>,
    pub(crate) unsynced_bytes: u64,
    /// When the oldest of `unsynced` was written.
    pub(crate) unsynced_since: Option<Instant>,
    /// An answer waits for one of `unsynced`.
    pub(crate) sync_wanted: bool,
    pub(crate) watch: Watch,
    pub(crate) _lock: Arc<Guard>,
}

/// The active segment has changed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rolled {
    pub(crate) epoch: u64,
    pub(crate) first_sequence: u64,
    /// Microseconds since 1970.
    pub(crate) at: u64,
    /// By the clock that nobody sets.
    pub(crate) monotonic: Duration,
}

impl Committer {
    /// Commits what comes until the channel is closed, and what is in it then. An error is final: the
    /// journal is [`State::Failed`], every loop has been woken, and nothing more becomes durable.
    pub fn run(mut self, inbox: &Receiver<Batch>) -> Result<(), JournalError> {
        let status = Arc::clone(&self.status);
        let fail = FailOnDrop(Some(&status));
        while self.turn(inbox)? {}
        fail.disarm();
        Ok(())
    }

    /// One commit, or the wait for the sync that is due next. False when all is done.
    pub(super) fn turn(&mut self, inbox: &Receiver<Batch>) -> Result<bool, JournalError> {
        let open = self.gather(inbox).is_ok();
        if self.status.state() == State::Failed {
            return Err(JournalError::Failed);
        }
        if self.watch.is_due() || !open {
            self.look_for_active()?;
        }
        self.write_waiting(inbox)?;
        if !open || self.sync_is_due() {
            self.sync()?;
        }
        Ok(open)
    }

    /// Waits for a batch or for the time of the next sync or look, then takes what else waits. `Err` when the
    /// channel is closed and empty.
    fn gather(&mut self, inbox: &Receiver<Batch>) -> Result<(), Closed> {
        let until_sync = self
            .unsynced_since
            .map(|since| self.sync_interval.saturating_sub(since.elapsed()));
        let until_look = self.watch.left();
        let timeout = until_sync.map_or(until_look, |until_sync| until_sync.min(until_look));
        let mut next = inbox.recv(Some(timeout))?;
        let mut gathered = 0;
        while let Some(batch) = next {
            gathered += batch.len();
            self.waiting.extend((!batch.is_empty()).then_some(batch));
            if gathered >= COMMIT_BYTES {
                break;
            }
            next = inbox.try_recv()?;
        }
        Ok(())
    }

    /// Writes everything in `waiting`, with one call for as many frames as that takes.
    fn write_waiting(&mut self, inbox: &Receiver<Batch>) -> Result<(), JournalError> {
        if self.waiting.is_empty() {
            return Ok(());
        }
        let mut now = self.now();
        while !self.waiting.is_empty() {
            let first = self.unsynced.len();
            let mut length = 0;
            while let Some(mut batch) = self.take_fitting(length, self.unsynced.len() - first) {
                let end = self.next_sequence + u64::from(batch.count());
                if end > NUMBER_END {
                    return Err(JournalError::UsedUp);
                }
                batch.seal(&Seal {
                    epoch: self.active.epoch,
                    salt: self.active.salt,
                    first_sequence: self.next_sequence,
                    committed_at: now,
                    durable: self.status.durable(),
                });
                batch.at = Some(FrameAt {
                    epoch: self.active.epoch,
                    offset: self.offset + length,
                    first_sequence: self.next_sequence,
                });
                length += on_disk(batch.frame().len());
                self.next_sequence = end;
                self.sync_wanted |= batch.needs_sync();
                self.unsynced.push(batch);
            }
            if length > 0 {
                self.write(first, length)?;
            } else {
                self.roll(inbox)?;
                now = self.now();
            }
        }
        Ok(())
    }

    /// The next batch, if it can go into the write that has `length` bytes in `count` frames so far.
    fn take_fitting(&mut self, length: u64, count: usize) -> Option<Batch> {
        let next = on_disk(padded(self.waiting.front()?.len()));
        let fits = next <= self.active.size - self.offset - length;
        let bounded = length == 0 || (length + next <= WRITE_BYTES && count < WRITE_PARTS);
        if fits && bounded {
            self.waiting.pop_front()
        } else {
            None
        }
    }

    /// Writes the frames from `first` on in `unsynced` at the end of the active segment.
    fn write(&mut self, first: usize, length: u64) -> Result<(), JournalError> {
        let mut parts = [IoSlice::new(&[]); WRITE_PARTS];
        let frames = self.unsynced.iter().skip(first).map(Batch::frame);
        let mut count = 0;
        for (part, frame) in parts.iter_mut().zip(frames) {
            *part = IoSlice::new(frame);
            count += 1;
        }
        let parts = parts.get_mut(..count).unwrap_or_default();
        write_all_at(&*self.active.file, parts, self.offset).map_err(self.error("write"))?;
        self.offset += length;
        self.unsynced_bytes += length;
        if self.unsynced_since.is_none() && !self.sync_wanted {
            self.unsynced_since = Some(Instant::now());
        }
        self.status.set_room(self.active.size - self.offset);
        self.status.set_next_sequence(self.next_sequence);
        let written = &self.status.statistics.bytes;
        written.fetch_add(length, Ordering::Relaxed);
        Ok(())
    }

    fn sync_is_due(&self) -> bool {
        self.sync_wanted
            || self.unsynced_bytes >= self.unsynced_max
            || self
                .unsynced_since
                .is_some_and(|since| since.elapsed() >= self.sync_interval)
    }

    /// Makes everything that was written durable, and then reports it.
    fn sync(&mut self) -> Result<(), JournalError> {
        if self.unsynced.is_empty() {
            return Ok(());
        }
        let started = Instant::now();
        self.active.file.sync_data().map_err(self.error("sync"))?;
        let took = started.elapsed();
        self.unsynced_bytes = 0;
        self.unsynced_since = None;
        self.sync_wanted = false;

        // First for all, then for each loop: so what was answered is never beyond `Status::durable`.
        let records = self.next_sequence - 1 - self.status.durable();
        self.status.set_durable(self.next_sequence - 1);
        for batch in &self.unsynced {
            if let Some(ticket) = self.tickets.get_mut(batch.origin) {
                *ticket = batch.last_ticket;
            }
        }
        for (position, ticket) in self.positions.iter().zip(&self.tickets) {
            if position.records() != *ticket {
                position.publish(*ticket);
            }
        }
        let statistics = &self.status.statistics;
        statistics.commits.fetch_add(1, Ordering::Relaxed);
        statistics.records.fetch_add(records, Ordering::Relaxed);
        statistics.sync_micros.observe(took, 1);
        statistics.commit_records.add(records, 1);
        for batch in self.unsynced.drain(..) {
            (self.hand_on)(batch);
        }
        self.forget(self.offset.saturating_sub(CACHED), FORGOTTEN_AT_ONCE);
        Ok(())
    }

    /// Lets the cache go of what stands before `end`, if that is as much as `least`. All of it is durable, and nobody
    /// reads it soon: who is live has it in memory. The pages come back for what is written next, warm, where a
    /// cache that is full of old segments has to find cold ones, at up to four times the cost of the write.
    fn forget(&mut self, end: u64, least: u64) {
        let end = end - end % on_disk(ALIGNMENT);
        if end >= self.forgotten + least {
            // Advice: a cache that keeps it costs time only.
            let _ = self.active.file.forget_cache(self.forgotten..end);
            self.forgotten = end;
        }
    }

    /// Goes on in the next segment. The one that is left is synced first, so whatever a later segment
    /// holds proves that this one was whole.
    fn roll(&mut self, inbox: &Receiver<Batch>) -> Result<(), JournalError> {
        let wanted = self
            .waiting
            .front()
            .map_or(0, |batch| on_disk(padded(batch.len())));
        if wanted > self.frame_max {
            return Err(JournalError::BatchTooLarge { bytes: wanted });
        }
        // Nobody looks at it again before the next start.
        self.look_for_active()?;
        self.sync()?;
        self.forget(self.active.size, 0);
        self.active = self.next_segment(inbox)?;
        // It was made some time ago.
        self.look_for_active()?;
        self.offset = HEADER_BLOCK;
        self.forgotten = HEADER_BLOCK;
        self.status.set_room(self.active.size - self.offset);
        self.status.segment_taken();
        let statistics = &self.status.statistics;
        statistics.rolls.fetch_add(1, Ordering::Relaxed);
        let rolled = Rolled {
            epoch: self.active.epoch,
            first_sequence: self.next_sequence,
            at: self.now(),
            monotonic: self.storage.monotonic(),
        };
        // Never full: it has more places than segments can be prepared ahead.
        self.rolled
            .try_send(rolled)
            .map_err(|_| JournalError::Failed)
    }

    /// Waits for a segment, while the disk is full as long as that takes. Meanwhile the inbox is
    /// emptied, which its senders bound, to see whether it is closed.
    fn next_segment(&mut self, inbox: &Receiver<Batch>) -> Result<Segment, JournalError> {
        if let Ok(Some(segment)) = self.prepared.try_recv() {
            return Ok(segment);
        }
        let stalls = &self.status.statistics.stalls;
        stalls.fetch_add(1, Ordering::Relaxed);
        loop {
            match self.prepared.recv(Some(CLOSED_CHECK)) {
                Ok(Some(segment)) => return Ok(segment),
                Ok(None) => {}
                Err(Closed) => return Err(JournalError::Failed),
            }
            let closed = loop {
                match inbox.try_recv() {
                    Ok(Some(batch)) => self.waiting.extend((!batch.is_empty()).then_some(batch)),
                    Ok(None) => break false,
                    Err(Closed) => break true,
                }
            };
            if closed && self.status.shortage() {
                let batches = self.waiting.len();
                return Err(JournalError::NoSpace { batches });
            }
        }
    }

    /// Finds out whether what is written now will be found again.
    fn look_for_active(&self) -> Result<(), JournalError> {
        let name = names::segment(self.active.epoch);
        path_check::check_segment(&*self.storage, &name, &self.active)
    }

    /// The time for a commit, microseconds since 1970.
    fn now(&mut self) -> u64 {
        self.latest = commit_time(self.latest, self.storage.now());
        self.latest
    }

    fn error(&self, action: &'static str) -> impl FnOnce(io::Error) -> JournalError {
        JournalError::segment(&*self.storage, action, self.active.epoch)
    }
}

/// What one commit gathers at most, in bytes of batches: bounds the time until the next one.
const COMMIT_BYTES: usize = 16 << 20;
/// What one call writes at most, in bytes; a larger frame goes alone.
const WRITE_BYTES: u64 = 8 << 20;
/// How many frames one call writes at most. The system's limit, `IOV_MAX`, is 1024.
const WRITE_PARTS: usize = 128;
/// The end of the journal that stays in the cache, in bytes: for who reads a little behind.
const CACHED: u64 = if cfg!(test) { 8 << 10 } else { 2 << 20 };
/// Bytes that the page cache is asked to drop in one call, at least.
const FORGOTTEN_AT_ONCE: u64 = if cfg!(test) { 4 << 10 } else { 1 << 20 };
/// How often a full journal looks whether it is being closed.
const CLOSED_CHECK: Duration = Duration::from_millis(200);
