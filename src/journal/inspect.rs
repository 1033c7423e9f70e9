//! What is in a journal, and whether it is whole: for `hookline journal inspect` and `verify`.
//!
//! Only reads, and needs no lock. Of a journal that is in use, the last frames may be on their way: they
//! show as a torn tail.

use super::error::JournalError;
use super::frame::NUMBER_END;
use super::manifest::{Hole, Manifest};
use super::names;
use super::names::SPARE;
use super::scan::{Depth, Scan, headers, scan_from};
use super::segment::{HEADER_BLOCK, JournalId, Segment};
use crate::disk::block::{ALIGNMENT, on_disk};
use crate::disk::{Access, IoContext, Storage};
use serde::Serialize;
use std::fmt;

/// A journal, looked at.
#[derive(Clone, Debug)]
pub struct Report {
    pub id: JournalId,
    /// In the order of their use.
    pub segments: Vec<SegmentReport>,
    /// Numbers and paths of the endpoints.
    pub endpoints: Vec<(u16, String)>,
    /// Damage that was set aside before.
    pub holes: Vec<Hole>,
    /// Damage that was not.
    pub damage: Vec<Damage>,
    /// Segments that are missing or are not what they should be: which file, what is wrong, what to do.
    pub unusable: Vec<String>,
    /// Retired files that wait for a new life.
    pub spares: usize,
}

#[derive(Clone, Debug, Serialize)]
pub struct SegmentReport {
    pub path: String,
    pub epoch: u64,
    pub size: u64,
    /// Bytes in use, header block included.
    pub used: u64,
    /// Sequence of its first record, or of the one that would be.
    pub first_sequence: u64,
    /// Sequence behind its last record.
    pub next_sequence: u64,
    pub frames: u64,
    pub records: u64,
    /// Time of its first commit, microseconds since 1970.
    pub first_commit: Option<u64>,
    /// Time of its last commit.
    pub last_commit: Option<u64>,
    /// Bytes of frames of a commit that did not end. Only found by a full inspection.
    pub torn_tail: u64,
}

/// Records that were durable and cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    pub path: String,
    /// What does not hold at the begin of the damage.
    pub reason: String,
    /// Where it is, and which sequences it took.
    pub hole: Hole,
    /// False if nothing tells how many sequences: then there are as many as there can have been.
    pub counted: bool,
}

impl fmt::Display for Damage {
    /// Where the damage is, and what it took.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Damage {
            path, reason, hole, ..
        } = self;
        write!(f, "{path}: ")?;
        if reason == FILE_MISSING {
            write!(f, "{reason}: ")?;
        } else {
            write!(f, "{} bytes at {} ({reason}): ", hole.length, hole.offset)?;
        }
        if !self.counted {
            f.write_str("nothing tells how many, at most ")?;
        }
        write!(f, "{hole}")
    }
}

impl Report {
    /// True when every record that was ever stored and not retired is there.
    pub fn is_whole(&self) -> bool {
        self.damage.is_empty() && self.unusable.is_empty()
    }
}

/// Looks at the journal in `storage`. [`Depth::Headers`] is quick and misses damaged records;
/// [`Depth::Full`] reads every byte.
pub fn inspect(storage: &dyn Storage, depth: Depth) -> Result<Report, JournalError> {
    inspect_from(storage, depth, 0)
}

/// Looks only at the segments that hold `sequence` and what follows, or will.
pub fn inspect_from(
    storage: &dyn Storage,
    depth: Depth,
    sequence: u64,
) -> Result<Report, JournalError> {
    let manifest = Manifest::load_existing(storage)?;
    let Survey {
        mut report,
        mut lost,
        ..
    } = survey(storage, &manifest, (depth, sequence), None)?;
    if !lost.is_empty() || !report.damage.is_empty() {
        // In a journal that is in use, a segment may have been retired meanwhile, or have grown behind the place where
        // it seemed to end. What is damaged is so at the second look too.
        let manifest = Manifest::load(storage)?.unwrap_or(manifest);
        let is_listed = |epoch| manifest.segments.iter().any(|entry| entry.epoch == epoch);
        lost.retain(|lost| is_listed(lost.epoch));
        let holes = report.damage.iter().map(|it| it.hole);
        // One that takes no sequence stands behind the one before.
        let first = holes.map(|it| it.first_sequence.saturating_sub(u64::from(it.count == 0)));
        let first = first.min();
        let from = first.unwrap_or(u64::MAX).max(sequence);
        let again = survey(storage, &manifest, (depth, from), None)?.report;
        let place = |damage: &Damage| (damage.hole.epoch, damage.hole.offset);
        report
            .damage
            .retain(|damage| again.damage.iter().any(|it| place(it) == place(damage)));
    }
    report.unusable = lost.into_iter().map(|lost| lost.reason).collect();
    Ok(report)
}

/// A report, and what else [`super::repair()`] wants to know.
pub(crate) struct Survey {
    pub(crate) report: Report,
    /// Nothing can be read of these.
    pub(crate) lost: Vec<Lost>,
    /// Their frames can be read, their header or their length is wrong: epochs, and what is wrong.
    pub(crate) adopted: Vec<(u64, String)>,
}

/// A segment of which nothing can be read.
pub(crate) struct Lost {
    pub(crate) epoch: u64,
    /// Sequence of the first record that it should have.
    pub(crate) first_sequence: u64,
    /// And the one behind its last.
    pub(crate) next_sequence: u64,
    /// False if nothing tells `next_sequence`.
    pub(crate) counted: bool,
    pub(crate) reason: String,
}

/// Looks at the segments that the manifest lists and that hold sequence `from` or what follows. With `adopt`,
/// also at those whose header or length is wrong; it is the number of records that a segment can have at
/// most.
pub(crate) fn survey(
    storage: &dyn Storage,
    manifest: &Manifest,
    (depth, from): (Depth, u64),
    adopt: Option<u64>,
) -> Result<Survey, JournalError> {
    let names = storage.list().on(storage, "list", "")?;
    let mut report = Report {
        id: manifest.id,
        segments: Vec::with_capacity(manifest.segments.len()),
        endpoints: manifest.endpoints.clone(),
        holes: manifest.holes.clone(),
        damage: Vec::new(),
        unusable: Vec::new(),
        spares: names.iter().filter(|name| name.ends_with(SPARE)).count(),
    };
    let (mut lost, mut adopted) = (Vec::new(), Vec::new());
    let mut expected = 1;
    for (index, entry) in manifest.segments.iter().enumerate() {
        let later = manifest.segments.iter().skip(index + 1);
        let next_first = later.clone().find_map(|next| {
            let first_sequence = next.first_sequence;
            first_sequence.or_else(|| peek(storage, manifest, next.epoch))
        });
        if let Some(next_first) = next_first.filter(|next_first| *next_first <= from) {
            expected = next_first;
            continue;
        }
        let first_sequence = entry.first_sequence.unwrap_or(expected);
        let (opened, wrong) = open(storage, manifest, entry.epoch, adopt.is_some())?;
        let Some(segment) = opened else {
            let bound = first_sequence
                .saturating_add(adopt.unwrap_or(0))
                .min(NUMBER_END);
            // A frame of a segment that is ready may say anything.
            expected = next_first.unwrap_or(bound).max(first_sequence);
            lost.push(Lost {
                epoch: entry.epoch,
                first_sequence,
                next_sequence: expected,
                counted: next_first.is_some(),
                reason: wrong.unwrap_or_default(),
            });
            continue;
        };
        let inspection = Inspection {
            storage,
            manifest,
            segment: &segment,
            next_first,
            depth,
        };
        let mut found = inspection.inspect(first_sequence, &mut report.damage)?;
        if let (Some(wrong), Some(bound)) = (wrong, adopt) {
            if next_first.is_none() && is_cut_short(storage, &names, &segment) {
                inspection.add_cut(&mut found, &wrong, bound, &mut report.damage);
            }
            adopted.push((segment.epoch, wrong));
        }
        expected = next_first.unwrap_or(found.next_sequence);
        report.segments.push(found);
    }
    Ok(Survey {
        report,
        lost,
        adopted,
    })
}

/// The segment, if it can be read, and what is wrong with it. With `adopt`, one with a wrong header can.
fn open(
    storage: &dyn Storage,
    manifest: &Manifest,
    epoch: u64,
    adopt: bool,
) -> Result<(Option<Segment>, Option<String>), JournalError> {
    match Segment::open(storage, Access::Read, manifest.id, epoch) {
        Ok(segment) => Ok((Some(segment), None)),
        Err(error @ JournalError::Newer { .. }) if adopt => Err(error),
        Err(error) => {
            let adopted = adopt.then(|| with_frames(storage, manifest, epoch));
            Ok((adopted.transpose()?.flatten(), Some(error.to_string())))
        }
    }
}

/// The segment, whatever its header says, if any frame of it is in the file.
fn with_frames(
    storage: &dyn Storage,
    manifest: &Manifest,
    epoch: u64,
) -> Result<Option<Segment>, JournalError> {
    let Some(segment) = Segment::adopt(storage, Access::Read, manifest.id, epoch)? else {
        return Ok(None);
    };
    let found = headers(&segment, HEADER_BLOCK).map_err(JournalError::segment(
        storage,
        "read",
        segment.epoch,
    ))?;
    Ok((!found.is_empty()).then_some(segment))
}

/// True if the file is shorter than its header says: frames may be missing. Where that cannot be read, true unless
/// another segment of its length is whole.
fn is_cut_short(storage: &dyn Storage, names: &[String], segment: &Segment) -> bool {
    let length = segment.file.length().unwrap_or(0);
    let claimed = |name: &str| Segment::claim(storage, name).map(|(_, _, size)| size);
    if let Some(size) = claimed(&names::segment(segment.epoch)) {
        return length < size;
    }
    let mut others = names.iter().filter(|it| names::epoch_of(it).is_some());
    !others.any(|name| claimed(name) == Some(length))
}

fn is_at_end(hole: &Hole, segment: &Segment) -> bool {
    hole.epoch == segment.epoch && hole.offset.saturating_add(hole.length) >= segment.size
}

/// One segment, and what is known about it.
struct Inspection<'a> {
    storage: &'a dyn Storage,
    manifest: &'a Manifest,
    segment: &'a Segment,
    /// The first sequence of the next segment, if that is in use: then this one is sealed.
    next_first: Option<u64>,
    depth: Depth,
}

impl Inspection<'_> {
    fn inspect(
        &self,
        first_sequence: u64,
        damage: &mut Vec<Damage>,
    ) -> Result<SegmentReport, JournalError> {
        let mut report = SegmentReport {
            path: self.path(),
            epoch: self.segment.epoch,
            size: self.segment.size,
            used: HEADER_BLOCK,
            first_sequence,
            next_sequence: first_sequence,
            frames: 0,
            records: 0,
            first_commit: None,
            last_commit: None,
            torn_tail: 0,
        };
        loop {
            let begin = (report.used, report.next_sequence);
            let scan = scan_from(
                self.segment,
                begin,
                self.next_first,
                self.manifest,
                self.depth,
            )
            .map_err(|error| self.read_error(error))?;
            report.used = scan.end;
            report.next_sequence = scan.next_sequence;
            report.frames += scan.frames;
            report.records += scan.records;
            let first_commit = scan.first.map(|header| header.committed_at);
            report.first_commit = report.first_commit.or(first_commit);
            let last_commit = scan.last.map(|header| header.committed_at);
            report.last_commit = last_commit.or(report.last_commit);
            let found = self.damage_behind(&scan)?;
            if found.is_some() && self.was_just_written(&scan)? {
                continue;
            }
            let Some(found) = found else {
                // What lies behind a segment that is in sequence with the next one was cut once.
                if self.next_first.is_none() {
                    report.torn_tail = scan.remains_bytes();
                }
                return Ok(report);
            };
            report.used = (found.hole.offset + found.hole.length).min(self.segment.size);
            report.next_sequence = found.hole.end_sequence();
            damage.push(found);
        }
    }

    /// Adds what is missing at the end of a file that was cut short: as many records as there can have been, behind the
    /// damage at its end, or, without any, behind its frames.
    fn add_cut(
        &self,
        found: &mut SegmentReport,
        wrong: &str,
        bound: u64,
        damage: &mut Vec<Damage>,
    ) {
        let first_sequence = found.next_sequence;
        found.next_sequence = first_sequence.saturating_add(bound).min(NUMBER_END);
        let before = damage.last_mut();
        if let Some(before) = before.filter(|it| is_at_end(&it.hole, self.segment)) {
            before.hole.count = found.next_sequence - before.hole.first_sequence;
            before.counted = false;
        } else {
            damage.push(Damage {
                path: self.path(),
                reason: wrong.to_owned(),
                hole: Hole {
                    epoch: self.segment.epoch,
                    offset: found.used,
                    length: (self.segment.size - found.used).max(on_disk(ALIGNMENT)),
                    first_sequence,
                    count: found.next_sequence - first_sequence,
                },
                counted: false,
            });
        }
        found.used = self.segment.size;
    }

    /// The damage at the end of what was in sequence, up to the next whole frame. Behind the last byte it takes the
    /// sequences that no byte is left for.
    fn damage_behind(&self, scan: &Scan) -> Result<Option<Damage>, JournalError> {
        let sealed_early = self
            .next_first
            .is_some_and(|next_first| scan.next_sequence < next_first);
        let goes_beyond = !sealed_early && self.goes_beyond(scan)?;
        if !sealed_early && !goes_beyond && scan.proof_of(scan.next_sequence).is_none() {
            return Ok(None);
        }
        let mut end = self.segment.size;
        let mut next_sequence = self.next_first;
        let mut buffer = Vec::new();
        for (offset, header) in &scan.behind {
            let whole = self
                .segment
                .frame_at(*offset, &mut buffer)
                .map_err(|error| self.read_error(error))?;
            // One that stands right there, and not in sequence, belongs elsewhere: it is part of the damage.
            let is_before = |next_first| header.last_sequence() < next_first;
            let is_behind = *offset > scan.end
                && header.first_sequence >= scan.next_sequence
                && self.next_first.is_none_or(is_before);
            if whole.is_ok() && is_behind {
                end = *offset;
                next_sequence = Some(header.first_sequence);
                break;
            }
        }
        // With nothing whole behind it, headers and holes still say which sequences were given: none is given again.
        let given = || {
            let headers = scan.behind.iter().map(|(_, header)| header.last_sequence());
            let last = headers.chain([scan.set_aside]).max();
            last.map(|last| last.saturating_add(1))
        };
        let count = next_sequence
            .or_else(given)
            .map_or(0, |next| next.saturating_sub(scan.next_sequence));
        let reason = if goes_beyond {
            "its frames come up to those of the next segment".to_owned()
        } else if scan.end < self.segment.size {
            scan.stop.to_string()
        } else {
            "frames are missing at its end".to_owned()
        };
        Ok(Some(Damage {
            path: self.path(),
            reason,
            hole: Hole {
                epoch: self.segment.epoch,
                offset: scan.end,
                length: (end - scan.end).max(on_disk(ALIGNMENT)),
                first_sequence: scan.next_sequence,
                count,
            },
            counted: true,
        }))
    }

    /// In a journal that is in use, frames may be written between the look at the end and the look
    /// behind it.
    fn was_just_written(&self, scan: &Scan) -> Result<bool, JournalError> {
        Ok(self.next_first.is_none() && self.goes_on(scan)?)
    }

    /// True if a frame stands in sequence behind the last one before the next segment: as in an older copy of a segment
    /// that was damaged since, and made an end of where a repair could read no further. A reader would take it.
    fn goes_beyond(&self, scan: &Scan) -> Result<bool, JournalError> {
        Ok(self.next_first == Some(scan.next_sequence) && self.goes_on(scan)?)
    }

    /// True if a whole frame stands in sequence where the scan ended.
    fn goes_on(&self, scan: &Scan) -> Result<bool, JournalError> {
        let frame = self.segment.frame_at(scan.end, &mut Vec::new());
        let frame = frame.map_err(|error| self.read_error(error))?;
        Ok(frame.is_ok_and(|header| header.first_sequence == scan.next_sequence))
    }

    fn path(&self) -> String {
        self.storage.describe(&names::segment(self.segment.epoch))
    }

    fn read_error(&self, error: std::io::Error) -> JournalError {
        JournalError::segment(self.storage, "read", self.segment.epoch)(error)
    }
}

/// The first sequence of a segment that the manifest does not know to be in use.
fn peek(storage: &dyn Storage, manifest: &Manifest, epoch: u64) -> Option<u64> {
    let segment = Segment::open(storage, Access::Read, manifest.id, epoch).ok()?;
    let header = segment.header_at(HEADER_BLOCK).ok()?.ok()?;
    Some(header.first_sequence)
}

/// Why nothing of a segment is left when its file is not there.
pub(super) const FILE_MISSING: &str = "the file is missing";
