//! The segment thread: has the next segment ready before it is needed, and retires old ones.
//!
//! Here a full disk shows, ahead of any commit. The journal then says that it is full as soon as the
//! active segment has no more room than was promised already, and this thread tries again until there
//! is space.

use super::clock::{self, ClockWatch, Reading};
use super::commit::Rolled;
use super::error::JournalError;
use super::manifest::{Entry, ManifestFile};
use super::names;
use super::names::SPARE;
use super::options::Options;
use super::path_check;
use super::retention::{Policy, Retained, held, retired};
use super::segment::Segment;
use super::status::{FailOnDrop, Status};
use crate::disk::block::on_disk;
use crate::disk::{Guard, Identity, IoContext, Storage};
use crate::relay::{Closed, Receiver, Sender};
use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// Prepares and retires segments, to be run on a thread of its own. It ends after the committer.
pub struct Preparer {
    pub(crate) storage: Arc<dyn Storage>,
    pub(crate) options: Options,
    pub(crate) manifest: Arc<Mutex<ManifestFile>>,
    pub(crate) status: Arc<Status>,
    pub(crate) rolled: Receiver<Rolled>,
    pub(crate) ready: Sender<Segment>,
    /// Segments sent and not yet in use.
    pub(crate) ahead: usize,
    /// Whole, but not listed yet.
    pub(crate) unlisted: Option<Segment>,
    /// Sealed segments and the active one.
    pub(crate) kept: Vec<Retained>,
    /// Not listed any more; their files are still to go.
    pub(crate) unlinked: Vec<Retained>,
    pub(crate) spares: Vec<String>,
    pub(crate) clock: ClockWatch,
    /// The one that the journal was opened in.
    pub(crate) directory: Identity,
    pub(crate) _lock: Arc<Guard>,
}

impl Preparer {
    /// Works until the committer is gone. Lack of space is waited out; any other error is final, and
    /// the journal is [`super::State::Failed`] then.
    pub fn run(mut self) -> Result<(), JournalError> {
        let status = Arc::clone(&self.status);
        let fail = FailOnDrop(Some(&status));
        loop {
            let pause = self.attempt()?;
            match self.rolled.recv(Some(pause)) {
                Ok(rolled) => self.note_rolled(rolled),
                Err(Closed) => break,
            }
        }
        match self.list_active() {
            // The next start finds out by itself, only slower.
            Err(error) if error.is_shortage() => {
                tracing::debug!(%error, "no space for the journal's manifest, which stays as it is; the next start takes longer");
            }
            listed => listed?,
        }
        fail.disarm();
        Ok(())
    }

    /// Does what there is to do; gives the time to wait until the next attempt.
    pub(super) fn attempt(&mut self) -> Result<Duration, JournalError> {
        // Nothing is changed in a directory that is not ours.
        self.check_directory()?;
        let turn = self.turn();
        self.measure();
        match turn {
            Ok(()) => {
                if self.status.set_shortage(false) {
                    tracing::info!("there is space for the journal again");
                }
                Ok(TURN)
            }
            Err(error) if error.is_shortage() => {
                if !self.status.set_shortage(true) {
                    tracing::warn!(%error, "no space for the next segment of the journal: once the one in use is full, new notifications get 503; make room on its disk");
                }
                Ok(RETRY)
            }
            Err(error) => {
                // That would say more.
                self.check_directory()?;
                Err(error)
            }
        }
    }

    fn check_directory(&self) -> Result<(), JournalError> {
        path_check::check(&*self.storage, "", self.directory)
    }

    /// Takes note of this segment and of those that came into use since.
    pub(super) fn note_rolled(&mut self, mut next: Option<Rolled>) {
        while let Some(rolled) = next {
            self.ahead = self.ahead.saturating_sub(1);
            self.kept.push(Retained {
                epoch: rolled.epoch,
                size: self.options.segment_size,
                first_sequence: rolled.first_sequence,
                since: rolled.at,
                later: None,
                begun: Some(rolled.monotonic),
            });
            // Closed is seen by whoever waits.
            next = self.rolled.try_recv().unwrap_or(None);
        }
    }

    fn turn(&mut self) -> Result<(), JournalError> {
        self.list_active()?;
        self.retire()?;
        while self.ahead < PREPARED_AHEAD {
            self.prepare()?;
        }
        Ok(())
    }

    /// Writes down where the segments that came into use begin.
    fn list_active(&mut self) -> Result<(), JournalError> {
        let kept = &self.kept;
        self.manifest.lock().change(|manifest| {
            for entry in &mut manifest.segments {
                let in_use = kept.iter().find(|kept| kept.epoch == entry.epoch);
                entry.first_sequence = in_use.map(|kept| kept.first_sequence);
            }
        })
    }

    /// Removes what is due: first the manifest, durably, then the files.
    fn retire(&mut self) -> Result<(), JournalError> {
        let policy = Policy {
            retention: self.options.retention,
            max_size: self.options.max_size,
        };
        let floor = self.options.retention_hold.load(Ordering::Acquire);
        let other = self.other_segments() * self.options.segment_size;
        let by_age = self.look_at_clock();
        let count = retired(&self.kept, &policy, floor, by_age, other);
        if let Some(going) = self.kept.get(..count).filter(|going| !going.is_empty()) {
            self.manifest.lock().change(|manifest| {
                let gone = |epoch| going.iter().any(|going| going.epoch == epoch);
                manifest.segments.retain(|entry| !gone(entry.epoch));
                manifest.holes.retain(|hole| !gone(hole.epoch));
            })?;
            self.unlinked.extend(self.kept.drain(..count));
        }
        let (bytes, before) = held(&self.kept, &policy, floor, other).unwrap_or_default();
        let statistics = &self.status.statistics;
        statistics.held_before.store(before, Ordering::Relaxed);
        statistics.held_bytes.store(bytes, Ordering::Relaxed);
        while let Some(gone) = self.unlinked.last() {
            let name = names::segment(gone.epoch);
            if self.spares.len() < SPARES_MAX && gone.size == self.options.segment_size {
                let spare = format!("{:020}{SPARE}", gone.epoch);
                self.storage
                    .rename(&name, &spare)
                    .on(&*self.storage, "rename", &name)?;
                self.spares.push(spare);
            } else {
                self.storage
                    .remove(&name)
                    .on(&*self.storage, "remove", &name)?;
            }
            tracing::debug!(segment = name, "a segment of the journal is retired");
            self.unlinked.pop();
        }
        Ok(())
    }

    /// What the clocks say, if the wall clock is to be believed.
    fn look_at_clock(&mut self) -> Option<Reading> {
        let reading = Reading::take(&*self.storage);
        if let Some(jump) = self.clock.note(reading) {
            clock::log_jump(jump);
            if let Some(active) = self.kept.last_mut() {
                active.later = Some(reading.wall);
            }
        }
        self.clock.is_settled().then_some(reading)
    }

    /// Makes a segment, lists it, and gives it to the committer.
    fn prepare(&mut self) -> Result<(), JournalError> {
        let segment = match self.unlisted.take() {
            Some(segment) => segment,
            None => self.make()?,
        };
        let listed = self.manifest.lock().change(|manifest| {
            manifest.next_epoch = segment.epoch + 1;
            manifest.segments.push(Entry {
                epoch: segment.epoch,
                first_sequence: None,
            });
        });
        if let Err(error) = listed {
            // Kept, not removed: the change may have reached the disk all the same.
            self.unlisted = Some(segment);
            return Err(error);
        }
        self.ahead += 1;
        self.status.segment_prepared();
        // Refused only when the committer is gone, which the next look at `rolled` finds too.
        let _ = self.ready.try_send(segment);
        Ok(())
    }

    fn make(&mut self) -> Result<Segment, JournalError> {
        let (id, epoch) = {
            let manifest = self.manifest.lock();
            (manifest.current().id, manifest.current().next_epoch)
        };
        let (storage, size) = (Arc::clone(&self.storage), self.options.segment_size);
        while let Some(spare) = self.spares.pop() {
            if let Some(segment) = Segment::recycle(&*storage, &spare, id, epoch, size)? {
                return Ok(segment);
            }
        }
        let room = self.status.room();
        let pace = &mut |left| self.pace(left, room);
        Segment::create_paced(&*storage, id, epoch, size, pace)
    }

    /// Leaves the disk to the commits for a moment while there is time: zeros are written slowly, but so fast that
    /// none is left when half of the `room` that there was at first is used up. At full speed every commit stands
    /// behind zeros for half a second, and what comes meanwhile waits for tens of milliseconds.
    fn pace(&mut self, left: u64, room: u64) {
        let unused = (2 * self.status.room()).saturating_sub(room);
        let size = self.options.segment_size;
        if u128::from(left) * u128::from(room) < u128::from(unused) * u128::from(size) {
            // Closed is seen by whoever waits for long.
            let rolled = self.rolled.recv(Some(PACE)).unwrap_or(None);
            self.note_rolled(rolled);
        }
    }

    fn measure(&self) {
        let statistics = &self.status.statistics;
        let kept: u64 = self.kept.iter().map(|kept| kept.size).sum();
        let bytes = kept + self.other_segments() * self.options.segment_size;
        statistics.disk_bytes.store(bytes, Ordering::Relaxed);
        let segments = on_disk(self.kept.len());
        statistics.segments.store(segments, Ordering::Relaxed);
        let first = self.kept.first().map_or(1, |kept| kept.first_sequence);
        statistics.first_sequence.store(first, Ordering::Relaxed);
        let since = self.kept.first().map_or(0, |kept| kept.since);
        statistics.first_commit.store(since, Ordering::Relaxed);
    }

    /// Segments beside those that hold records.
    fn other_segments(&self) -> u64 {
        let unlisted = usize::from(self.unlisted.is_some());
        on_disk(self.ahead + unlisted + self.spares.len() + self.unlinked.len())
    }
}

/// Segments that are ready at any time.
const PREPARED_AHEAD: usize = 1;
/// Retired files that are kept for a new life, beside the segment that is ready.
const SPARES_MAX: usize = 1;
/// Pause between two pieces of a segment that is made.
const PACE: Duration = Duration::from_millis(10);
/// How often retention looks.
const TURN: Duration = Duration::from_secs(10);
/// How often a full disk is tried.
const RETRY: Duration = Duration::from_secs(1);
