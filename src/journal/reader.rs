//! Reads the journal from any sequence on, while it is written to, and without the lock.
//!
//! A reader sees only whole frames whose checksums hold. It follows the journal from segment to
//! segment; one that is retired under it is noticed, since its frames no longer pass.

use super::batch::{Batch, FrameAt};
use super::error::JournalError;
use super::frame::FrameError;
use super::manifest::{Entry, Hole, Manifest};
use super::names;
use super::segment::{HEADER_BLOCK, Segment};
use crate::disk::block::on_disk;
use crate::disk::{Access, ReadAhead, Storage};
use std::sync::Arc;

/// A position in the journal that moves on with each frame.
pub struct Reader {
    storage: Arc<dyn Storage>,
    manifest: Manifest,
    wanted: u64,
    /// A frame before the wanted sequence, or the one that has it.
    behind: Option<FrameAt>,
    place: Option<OpenSegment>,
    /// The place was read again after the manifest, and still nothing stands there.
    looked_again: bool,
    set_aside: u64,
    /// Damage that nobody has set aside, and that is not to stop this reader.
    passed_over: Vec<Hole>,
}

/// The segment that is read, and where in it.
struct OpenSegment {
    segment: Segment,
    offset: u64,
    /// Sequence of the frame that stands, or will stand, at `offset`.
    sequence: u64,
    ahead: ReadAhead,
}

enum Step {
    Frame(Batch),
    Skipped,
    Nothing(FrameError),
}

impl Reader {
    /// A reader that begins with `sequence`; 0 stands for the first one that there is.
    pub fn open(storage: Arc<dyn Storage>, sequence: u64) -> Result<Reader, JournalError> {
        Ok(Reader {
            manifest: Manifest::load_existing(&*storage)?,
            storage,
            wanted: sequence,
            behind: None,
            place: None,
            looked_again: false,
            set_aside: 0,
            passed_over: Vec::new(),
        })
    }

    /// The same for one who knows a frame before that sequence: without that, it reads the head of every frame of a
    /// segment up to it, some tens of thousands.
    pub fn open_behind(
        storage: Arc<dyn Storage>,
        frame: Option<FrameAt>,
        sequence: u64,
    ) -> Result<Reader, JournalError> {
        let mut reader = Reader::open(storage, sequence)?;
        reader.behind = frame;
        Ok(reader)
    }

    /// Sequence of the first record that is still to be read.
    pub fn position(&self) -> u64 {
        self.wanted
    }

    /// Sequences that were passed over so far because the damage that took them was set aside.
    pub fn set_aside(&self) -> u64 {
        self.set_aside
    }

    /// Goes on behind this damage as if it was set aside, without counting its sequences as such: for a look
    /// at what is left, see [`super::inspect()`].
    pub fn pass_over(&mut self, hole: Hole) {
        self.passed_over.push(hole);
    }

    /// The next frame. `None` when there is none yet: call again later.
    ///
    /// `durable` is the highest sequence to read, [`super::Status::durable`]. Without it, a frame may
    /// be read before it is synced, and a power cut may then give its sequences to other records: good
    /// for a look, not for a consumer that keeps its position.
    ///
    /// The first frame may begin before the sequence that was asked for, see [`Batch::records_from`].
    /// Sequences have a gap only where `hookline journal repair --quarantine` has set damage aside.
    pub fn next(&mut self, durable: Option<u64>) -> Result<Option<Batch>, JournalError> {
        loop {
            if durable.is_some_and(|durable| self.wanted > durable) {
                return Ok(None);
            }
            if self.place.is_none() {
                self.locate()?;
            }
            match self.step()? {
                Step::Frame(batch) => {
                    self.looked_again = false;
                    return Ok(Some(batch));
                }
                Step::Skipped => self.looked_again = false,
                Step::Nothing(reason) => {
                    if !self.move_on(durable, reason)? {
                        self.looked_again = false;
                        return Ok(None);
                    }
                }
            }
        }
    }

    /// Finds the segment that has the wanted sequence, or will have it.
    fn locate(&mut self) -> Result<(), JournalError> {
        for _ in 0..LOCATE_TRIES {
            let (mut first, mut found) = (None, None);
            for entry in self.manifest.segments.clone() {
                let Some(begin) = self.first_sequence(entry)? else {
                    break;
                };
                first = first.or(Some(begin));
                if found.is_some() && begin > self.wanted {
                    break;
                }
                found = Some((entry.epoch, begin));
            }
            let first = first.unwrap_or(1);
            if self.wanted == 0 {
                self.wanted = first;
            }
            if self.wanted < first {
                return Err(JournalError::Gone {
                    wanted: self.wanted,
                    first,
                });
            }
            if let Some((epoch, sequence)) = found
                && let Some(segment) = self.open_segment(epoch)?
            {
                let known = self.known(&segment, sequence)?;
                let (offset, sequence) = known.unwrap_or((HEADER_BLOCK, sequence));
                self.place = Some(OpenSegment {
                    segment,
                    offset,
                    sequence,
                    ahead: ReadAhead::default(),
                });
                return Ok(());
            }
            self.manifest = Manifest::load_existing(&*self.storage)?;
        }
        Err(JournalError::Gone {
            wanted: self.wanted,
            first: self.wanted,
        })
    }

    /// The known frame, if it is still there, of use, and in this segment, which begins with `first`.
    fn known(&self, segment: &Segment, first: u64) -> Result<Option<(u64, u64)>, JournalError> {
        let Some(frame) = self.behind.filter(|it| {
            it.epoch == segment.epoch && (first..=self.wanted).contains(&it.first_sequence)
        }) else {
            return Ok(None);
        };
        let header = segment.header_at(frame.offset);
        let storage = &*self.storage;
        let header = header.map_err(JournalError::segment(storage, "read", frame.epoch))?;
        let is_it = header.is_ok_and(|header| header.first_sequence == frame.first_sequence);
        Ok(is_it.then_some((frame.offset, frame.first_sequence)))
    }

    /// Reads what stands at the place.
    fn step(&mut self) -> Result<Step, JournalError> {
        let Some(place) = &mut self.place else {
            return Ok(Step::Nothing(FrameError::Magic));
        };
        let at = (place.segment.epoch, place.offset);
        let set_aside = self.manifest.hole_at(at.0, at.1);
        let mut passed_over = self.passed_over.iter();
        let passed_over = || passed_over.find(|hole| (hole.epoch, hole.offset) == at);
        let (hole, size) = (set_aside.or_else(passed_over), place.segment.size);
        if let Some(hole) = hole.filter(|_| place.offset <= size) {
            // Beyond the end, behind one that begins there.
            let end = size + u64::from(place.offset == size);
            place.offset = place.offset.saturating_add(hole.length).min(end);
            place.sequence = place.sequence.max(hole.end_sequence());
            if set_aside.is_some() {
                self.set_aside += place.sequence.saturating_sub(self.wanted);
            }
            self.wanted = self.wanted.max(place.sequence);
            return Ok(Step::Skipped);
        }
        let (storage, epoch) = (&*self.storage, place.segment.epoch);
        let header = place.segment.header_at(place.offset);
        let header = match header.map_err(JournalError::segment(storage, "read", epoch))? {
            Ok(header) if header.first_sequence == place.sequence => header,
            Ok(_) => return Ok(Step::Nothing(FrameError::Sequence)),
            Err(error) => return Ok(Step::Nothing(error)),
        };
        let step = if header.last_sequence() < self.wanted {
            Step::Skipped
        } else {
            let mut frame = Vec::new();
            place
                .segment
                .read(place.offset, &header, &mut frame)
                .map_err(JournalError::segment(storage, "read", epoch))?;
            match Batch::from_frame(frame, place.segment.salt) {
                Ok(mut batch) => {
                    batch.at = Some(FrameAt {
                        epoch,
                        offset: place.offset,
                        first_sequence: place.sequence,
                    });
                    Step::Frame(batch)
                }
                Err(error) => return Ok(Step::Nothing(error)),
            }
        };
        place.offset += on_disk(header.padded_len());
        place.ahead.follow(&*place.segment.file, place.offset);
        place.sequence = header.last_sequence() + 1;
        self.wanted = self.wanted.max(place.sequence);
        Ok(step)
    }

    /// Nothing stands at the place: goes on in the next segment if the journal did. False when there is
    /// nothing more yet.
    fn move_on(&mut self, durable: Option<u64>, reason: FrameError) -> Result<bool, JournalError> {
        self.manifest = Manifest::load_existing(&*self.storage)?;
        let Some(place) = &self.place else {
            return Ok(false);
        };
        let (epoch, offset, sequence) = (place.segment.epoch, place.offset, place.sequence);
        let mut entries = self.manifest.segments.iter();
        if !entries.any(|entry| entry.epoch == epoch) {
            self.place = None; // retired
            return Ok(true);
        }
        let next = match entries.next().copied() {
            None => None,
            Some(entry) => self
                .first_sequence(entry)?
                .map(|first_sequence| (entry.epoch, first_sequence)),
        };
        let missing = match next {
            Some((next, first)) if first == sequence => {
                let segment = self.open_segment(next)?;
                self.place = segment.map(|segment| OpenSegment {
                    segment,
                    offset: HEADER_BLOCK,
                    sequence,
                    ahead: ReadAhead::default(),
                });
                return Ok(true);
            }
            Some((_, first)) => Some(first.checked_sub(1)),
            None => durable
                .is_some_and(|durable| sequence <= durable)
                .then_some(None),
        };
        let Some(last_sequence) = missing else {
            return Ok(false);
        };
        if !self.looked_again {
            // It may have been written, and the journal rolled, after the place was read.
            self.looked_again = true;
            return Ok(true);
        }
        Err(JournalError::Damaged {
            path: self.storage.describe(&names::segment(epoch)),
            offset,
            reason,
            first_sequence: sequence,
            last_sequence,
        })
    }

    /// The first sequence of a segment; `None` if it is not in use yet, or gone.
    fn first_sequence(&mut self, entry: Entry) -> Result<Option<u64>, JournalError> {
        if entry.first_sequence.is_some() {
            return Ok(entry.first_sequence);
        }
        let Some(segment) = self.open_segment(entry.epoch)? else {
            return Ok(None);
        };
        let header = segment
            .header_at(HEADER_BLOCK)
            .map_err(JournalError::segment(&*self.storage, "read", entry.epoch))?;
        Ok(header.ok().map(|header| header.first_sequence))
    }

    /// `None` if the segment was retired meanwhile.
    fn open_segment(&mut self, epoch: u64) -> Result<Option<Segment>, JournalError> {
        let opened = Segment::open(&*self.storage, Access::Read, self.manifest.id, epoch);
        opened.map(Some).or_else(|error| {
            self.manifest = Manifest::load_existing(&*self.storage)?;
            let mut entries = self.manifest.segments.iter();
            match (entries.find(|entry| entry.epoch == epoch), error) {
                (None, _) => Ok(None),
                (Some(entry), JournalError::SegmentMissing { path, .. }) => {
                    let first_sequence = entry.first_sequence.unwrap_or(0);
                    Err(JournalError::SegmentMissing {
                        path,
                        first_sequence,
                    })
                }
                (Some(_), error) => Err(error),
            }
        })
    }
}

/// How often a segment may be retired between the look at the manifest and the opening.
const LOCATE_TRIES: usize = 100;
