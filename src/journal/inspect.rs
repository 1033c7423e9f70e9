//! What is in a journal, and whether it is whole: for `hookline journal inspect` and `verify`.
//!
//! Only reads, and needs no lock. Of a journal that is in use, the last frames may be on their way: they
//! show as a torn tail.

use super::error::JournalError;
use super::frame::FrameError;
use super::manifest::{self, Hole, Manifest};
use super::scan::{Depth, Scan, scan_from};
use super::segment::{self, HEADER_BLOCK, JournalId, SPARE, Segment};
use super::storage::{Access, Storage};

/// A journal, looked at.
#[derive(Clone, Debug)]
pub struct Report {
    /// Its name.
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

/// One segment.
#[derive(Clone, Debug)]
pub struct SegmentReport {
    /// The file.
    pub path: String,
    /// Its epoch.
    pub epoch: u64,
    /// Octets of the file.
    pub size: u64,
    /// Octets in use, header block included.
    pub used: u64,
    /// Sequence of its first record, or of the one that would be.
    pub first_sequence: u64,
    /// Sequence behind its last record.
    pub next_sequence: u64,
    /// Number of frames.
    pub frames: u64,
    /// Number of records.
    pub records: u64,
    /// Time of its first commit, microseconds since 1970.
    pub first_commit: Option<u64>,
    /// Time of its last commit.
    pub last_commit: Option<u64>,
    /// Octets of frames of a commit that did not end. Only found by a full look.
    pub torn_tail: u64,
}

/// Records that were durable and cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// The file.
    pub path: String,
    /// What does not hold at the begin of the damage.
    pub reason: FrameError,
    /// Where it is, and which sequences it took.
    pub hole: Hole,
}

impl Report {
    /// True when every record that was ever stored and not retired is there.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.damage.is_empty() && self.unusable.is_empty()
    }
}

/// Looks at the journal in `storage`. [`Depth::Headers`] is quick and misses damaged records;
/// [`Depth::Full`] reads every octet.
pub fn inspect(storage: &dyn Storage, depth: Depth) -> Result<Report, JournalError> {
    inspect_from(storage, depth, 0)
}

/// Looks only at the segments that hold `sequence` and what follows, or will.
pub fn inspect_from(
    storage: &dyn Storage,
    depth: Depth,
    sequence: u64,
) -> Result<Report, JournalError> {
    let manifest = Manifest::load(storage)?.ok_or_else(|| JournalError::ManifestMissing {
        path: storage.describe(manifest::NAME),
    })?;
    let names = storage
        .list()
        .map_err(JournalError::io(storage, "list", ""))?;
    let mut report = Report {
        id: manifest.id,
        segments: Vec::with_capacity(manifest.segments.len()),
        endpoints: manifest.endpoints.clone(),
        holes: manifest.holes.clone(),
        damage: Vec::new(),
        unusable: Vec::new(),
        spares: names.iter().filter(|name| name.ends_with(SPARE)).count(),
    };
    let mut unusable = Vec::new();
    let mut expected = 1;
    for (index, entry) in manifest.segments.iter().enumerate() {
        let next_first = match manifest.segments.get(index + 1) {
            None => None,
            Some(next) => next
                .first_sequence
                .or_else(|| peek(storage, &manifest, next.epoch)),
        };
        let first_sequence = entry.first_sequence.unwrap_or(expected);
        if let Some(next_first) = next_first.filter(|next_first| *next_first <= sequence) {
            expected = next_first;
            continue;
        }
        match Segment::open(storage, Access::Read, manifest.id, entry.epoch) {
            Ok(segment) => {
                let look = Look {
                    storage,
                    manifest: &manifest,
                    segment: &segment,
                    next_first,
                    depth,
                };
                let segment = look.inspect(first_sequence, &mut report.damage)?;
                expected = next_first.unwrap_or(segment.next_sequence);
                report.segments.push(segment);
            }
            Err(error) => {
                expected = next_first.unwrap_or(first_sequence);
                unusable.push((entry.epoch, error.to_string()));
            }
        }
    }
    if !unusable.is_empty() || !report.damage.is_empty() {
        // What was retired meanwhile is not damaged.
        let listed = Manifest::load(storage)?.map_or(Vec::new(), |manifest| manifest.segments);
        let is_listed = |epoch| listed.iter().any(|entry| entry.epoch == epoch);
        report.damage.retain(|damage| is_listed(damage.hole.epoch));
        unusable.retain(|(epoch, _)| is_listed(*epoch));
    }
    report.unusable = unusable.into_iter().map(|(_, reason)| reason).collect();
    Ok(report)
}

/// One segment, and what is known about it.
struct Look<'a> {
    storage: &'a dyn Storage,
    manifest: &'a Manifest,
    segment: &'a Segment,
    /// The first sequence of the next segment, if that is in use: then this one is sealed.
    next_first: Option<u64>,
    depth: Depth,
}

impl Look<'_> {
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
            let (offset, sequence) = (report.used, report.next_sequence);
            let scan = scan_from(self.segment, offset, sequence, self.manifest, self.depth)
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
                    report.torn_tail = scan.behind_octets();
                }
                return Ok(report);
            };
            report.used = found.hole.offset + found.hole.length;
            report.next_sequence = found.hole.first_sequence + found.hole.count;
            damage.push(found);
        }
    }

    /// The damage at the end of what was in sequence, up to the next whole frame.
    fn damage_behind(&self, scan: &Scan) -> Result<Option<Damage>, JournalError> {
        let sealed_early = self
            .next_first
            .is_some_and(|next_first| scan.next_sequence < next_first);
        if !sealed_early && scan.proof_of(scan.next_sequence).is_none() {
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
            let is_behind = *offset > scan.end && header.first_sequence >= scan.next_sequence;
            if whole.is_ok() && is_behind {
                end = *offset;
                next_sequence = Some(header.first_sequence);
                break;
            }
        }
        // With nothing whole behind it, the headers still say which sequences were given: none is given again.
        let given = || {
            let headers = scan.behind.iter().map(|(_, header)| header.last_sequence());
            headers.max().map(|last| last.saturating_add(1))
        };
        let count = next_sequence
            .or_else(given)
            .map_or(0, |next| next.saturating_sub(scan.next_sequence));
        Ok(Some(Damage {
            path: self.path(),
            reason: scan.stop,
            hole: Hole {
                epoch: self.segment.epoch,
                offset: scan.end,
                length: end - scan.end,
                first_sequence: scan.next_sequence,
                count,
            },
        })
        .filter(|damage| damage.hole.length > 0))
    }

    /// In a journal that is in use, frames may be written between the look at the end and the look
    /// behind it.
    fn was_just_written(&self, scan: &Scan) -> Result<bool, JournalError> {
        let frame = self.segment.frame_at(scan.end, &mut Vec::new());
        let frame = frame.map_err(|error| self.read_error(error))?;
        Ok(frame.is_ok_and(|header| header.first_sequence == scan.next_sequence))
    }

    fn path(&self) -> String {
        self.storage.describe(&segment::name(self.segment.epoch))
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
