//! Where a journal ends, and how that end is made good. Part of the recovery, see `recovery.rs`.
//!
//! The last segments that may be in use are read whole. What lies behind the last frame in sequence and could be taken
//! for a frame is overwritten: headers that hold, and those that were torn. So none of it is in the way of what is
//! written there next. Leftovers of a former life of the segment are whole, and stay.

use super::error::JournalError;
use super::frame::FrameError;
use super::manifest::{self, Hole, Manifest};
use super::names;
use super::options::Options;
use super::scan::{Depth, Scan, scan, scan_from};
use super::segment::{HEADER_BLOCK, Segment};
use crate::disk::block::{ALIGNMENT, on_disk};
use crate::disk::{Storage, write_all_at};
use std::io::{self, IoSlice};

/// What a crash left of commits that were never answered as stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TornTail {
    pub path: String,
    pub offset: u64,
    pub bytes: u64,
    /// The sequence that would have stood there, and is given again.
    pub sequence: u64,
}

/// Reads the last segment that is known to be in use, and those that may have come into use after.
pub(super) fn scan_tail(
    storage: &dyn Storage,
    manifest: &Manifest,
    tail: &[Segment],
) -> Result<Vec<Scan>, JournalError> {
    let mut next_sequence = manifest
        .segments
        .iter()
        .filter_map(|entry| entry.first_sequence)
        .next_back()
        .ok_or_else(|| JournalError::Manifest {
            path: storage.describe(manifest::NAME),
            reason: "no segment has a first sequence".to_owned(),
        })?;
    let mut scans = Vec::with_capacity(tail.len());
    for segment in tail {
        let scan = scan_device(segment, next_sequence, manifest).map_err(JournalError::segment(
            storage,
            "read",
            segment.epoch,
        ))?;
        if let FrameError::Version(_) = scan.stop {
            return Err(JournalError::Newer {
                path: storage.describe(&names::segment(segment.epoch)),
            });
        }
        next_sequence = scan.next_sequence;
        scans.push(scan);
    }
    Ok(scans)
}

/// Reads what is on the device, not in the cache alone: a process that was killed leaves its last
/// commit there, and so does a sync that failed. What a later frame calls durable needs no second look.
fn scan_device(segment: &Segment, first_sequence: u64, manifest: &Manifest) -> io::Result<Scan> {
    segment.file.sync_data()?;
    let cached = scan(segment, first_sequence, manifest)?;
    if cached.first.is_none() && cached.behind.is_empty() {
        return Ok(cached);
    }
    let end = cached.end + cached.behind_bytes() + on_disk(ALIGNMENT);
    segment.file.forget_cache(cached.unproven..end)?;
    let begin = (cached.unproven, cached.unproven_sequence);
    let mut read = scan_from(segment, begin, None, manifest, Depth::Full)?;
    if begin.0 > HEADER_BLOCK {
        read.first_sequence = first_sequence;
        read.first = cached.first;
    }
    Ok(read)
}

/// The index of the segment in which the journal ends; an error if something durable is missing.
pub(super) fn find_end(
    storage: &dyn Storage,
    tail: &[Segment],
    scans: &[Scan],
) -> Result<usize, JournalError> {
    let last = scans
        .iter()
        .rposition(|scan| scan.first.is_some())
        .unwrap_or(0);
    let (Some(segment), Some(end)) = (tail.get(last), scans.get(last)) else {
        return Err(JournalError::Manifest {
            path: storage.describe(manifest::NAME),
            reason: "it lists no segment".to_owned(),
        });
    };
    let proof = scans
        .iter()
        .skip(last)
        .find_map(|scan| scan.proof_of(end.next_sequence));
    match proof {
        None => Ok(last),
        Some(last_sequence) => Err(JournalError::Damaged {
            path: storage.describe(&names::segment(segment.epoch)),
            offset: end.end,
            reason: end.stop,
            first_sequence: end.next_sequence,
            last_sequence: Some(last_sequence),
        }),
    }
}

/// The hole for what a consumer has had and is not there, and the index of its segment; see `recovery.rs`. Where the
/// journal ends with the last byte of a segment it stands at the begin of the next one, which is made if there is
/// none.
pub(super) fn left_out(
    storage: &dyn Storage,
    options: &Options,
    manifest: &Manifest,
    tail: &mut Vec<Segment>,
    scans: &mut Vec<Scan>,
    active: usize,
) -> Result<Option<(usize, Hole)>, JournalError> {
    let next_sequence = scans.get(active).map_or(1, |scan| scan.next_sequence);
    // No sequence is 0: then nobody has had anything.
    if options.confirmed == 0 || options.confirmed < next_sequence {
        return Ok(None);
    }
    let is_full = |(segment, scan): (&Segment, &Scan)| scan.end >= segment.size;
    if tail.iter().zip(scans.iter()).skip(active).all(is_full) {
        let (id, epoch) = (manifest.id, manifest.next_epoch);
        let segment = Segment::create(storage, id, epoch, options.segment_size)?;
        let empty = scan(&segment, next_sequence, manifest);
        scans.push(empty.map_err(JournalError::segment(storage, "read", epoch))?);
        tail.push(segment);
    }
    let mut places = tail.iter().zip(scans.iter()).enumerate().skip(active);
    let place = places.find(|(_, place)| !is_full(*place));
    Ok(place.map(|(index, (segment, end))| {
        let hole = Hole {
            epoch: segment.epoch,
            offset: end.end,
            length: end
                .behind_bytes()
                .max(on_disk(ALIGNMENT))
                .min(segment.size - end.end),
            first_sequence: next_sequence,
            count: options.confirmed - next_sequence + 1,
        };
        (index, hole)
    }))
}

/// Overwrites everything behind the end that could be taken for a frame once the bytes before it have been written
/// again.
pub(super) fn cut(
    storage: &dyn Storage,
    tail: &[Segment],
    scans: &[Scan],
    active: usize,
    hole: Option<&Hole>,
) -> Result<Option<TornTail>, JournalError> {
    let mut torn_tail = None;
    for (segment, scan) in tail.iter().zip(scans).skip(active) {
        // What lies in the hole stays for whoever wants to look at it.
        let hole = hole.filter(|hole| hole.epoch == segment.epoch);
        let from = hole.map_or(scan.end, |hole| hole.offset + hole.length);
        let behind = scan.behind.iter().map(|(offset, _)| *offset);
        let remains = behind.chain(scan.broken.iter().copied());
        let remains: Vec<u64> = remains.filter(|offset| *offset >= from).collect();
        if remains.is_empty() {
            continue;
        }
        for offset in remains {
            write_all_at(&*segment.file, &mut [IoSlice::new(&[0; ALIGNMENT])], offset)
                .map_err(JournalError::segment(storage, "write", segment.epoch))?;
        }
        segment.file.sync_data().map_err(|error| {
            // Or the next start would find zeros in the cache, and the device still has what was there.
            let _ = segment.file.forget_cache(0..segment.size);
            JournalError::segment(storage, "sync", segment.epoch)(error)
        })?;
        torn_tail = torn_tail.or(Some(TornTail {
            path: storage.describe(&names::segment(segment.epoch)),
            offset: from,
            bytes: scan.end + scan.remains_bytes() - from,
            sequence: hole.map_or(scan.next_sequence, Hole::end_sequence),
        }));
    }
    Ok(torn_tail)
}
