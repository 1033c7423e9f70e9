//! From a directory, in whatever state a crash has left it, to a journal that can be written to.
//!
//! Only the segment that was written last needs to be read whole. It ends in one of three ways:
//!
//! - nothing of this epoch behind the last whole frame: the normal end;
//! - a **torn tail**: frames of the last commit, of which a power cut kept some. Nothing of them was
//!   answered as stored. It is cut, durably, and reported;
//! - **damage**: a frame further on, or a hole, says that what is missing was durable. Recovery stops and
//!   says so, since only a person can decide to go on without it.
//!
//! And it may end **too early**: a consumer has had records that are not there, because this is an older
//! copy, or the last frame was damaged. Whatever is there in their place is left as it is, and a hole in the
//! manifest says so: their sequences are not given again, or that consumer would take what gets them for
//! what it has had.
//!
//! Recovery changes nothing but the torn tail and files that hold no record, so doing it twice, or
//! again after a crash in the middle, gives the same.

use super::ending::{TornTail, cut, find_end, left_out, scan_tail};
use super::error::JournalError;
use super::frame::FrameError;
use super::manifest::{self, Entry, Hole, Manifest, ManifestFile};
use super::names;
use super::names::{SPARE, TEMPORARY};
use super::options::Options;
use super::retention::Retained;
use super::scan::Scan;
use super::segment::{HEADER_BLOCK, JournalId, Segment};
use crate::disk::block::ALIGNMENT;
use crate::disk::{self, Access, IoContext, Storage};
use std::sync::Arc;

/// What recovery found, for the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recovery {
    /// Lowest sequence in the journal; the next one if it is empty.
    pub first_sequence: u64,
    /// Sequence of the next record.
    pub next_sequence: u64,
    /// Segments that hold records.
    pub segments: usize,
    /// What was cut.
    pub torn_tail: Option<TornTail>,
    /// What a consumer has had and is not there.
    pub left_out: Option<LeftOut>,
}

/// Records that a consumer has confirmed and that the journal does not have any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeftOut {
    /// The segment in which they should be.
    pub path: String,
    /// Where in it.
    pub offset: u64,
    /// The first of their sequences.
    pub first_sequence: u64,
    pub last_sequence: u64,
}

impl LeftOut {
    fn of(hole: &Hole, storage: &dyn Storage, confirmed: u64) -> LeftOut {
        LeftOut {
            path: storage.describe(&names::segment(hole.epoch)),
            offset: hole.offset,
            first_sequence: hole.first_sequence,
            last_sequence: confirmed,
        }
    }
}

/// A journal that is ready to be written to.
pub(crate) struct Recovered {
    /// Sealed segments, then the active one.
    pub(crate) kept: Vec<Retained>,
    pub(crate) active: Segment,
    /// Where the next frame goes.
    pub(crate) offset: u64,
    /// Time of the last commit, microseconds since 1970; 0 if there is none.
    pub(crate) latest: u64,
    pub(crate) prepared: Vec<Segment>,
    pub(crate) spares: Vec<String>,
    pub(crate) report: Recovery,
}

/// Opens the journal in `storage`, which the caller has locked, or begins one.
pub(crate) fn recover(
    storage: &Arc<dyn Storage>,
    options: &Options,
) -> Result<(ManifestFile, Recovered), JournalError> {
    let names = storage.list().on(&**storage, "list", "")?;
    let Some(manifest) = Manifest::load(&**storage)? else {
        return begin(storage, options, &names);
    };
    // A process that ended between the rename and the sync leaves a manifest that a power cut can still
    // take back; nothing may be removed on the word of that one.
    storage.sync().on(&**storage, "sync", manifest::NAME)?;
    let mut opened = open_listed(&**storage, &names, &manifest)?;
    let mut kept = check_sealed(&**storage, &manifest, &opened)?;
    let mut tail = opened.split_off(kept.len());
    drop(opened);
    let mut scans = scan_tail(&**storage, &manifest, &tail)?;
    let end_index = find_end(&**storage, &tail, &scans)?;
    let hole = left_out(
        &**storage, options, &manifest, &mut tail, &mut scans, end_index,
    )?;
    let (active_index, hole) = match hole {
        Some((index, hole)) => (index, Some(hole)),
        None => (end_index, None),
    };
    let torn_tail = cut(&**storage, &tail, &scans, active_index, hole.as_ref())?;
    let scanned = scans.get(..=active_index).unwrap_or_default();
    kept.extend(in_use(&tail, scanned, storage.now()));
    let latest = scanned.iter().rev().find_map(|scan| scan.last);
    let latest = latest.map_or(0, |header| header.committed_at);
    let end = scans.get(active_index).expect("found among the scans");
    add_times(&mut kept);
    let (offset, next_sequence) = match &hole {
        Some(hole) => (hole.offset + hole.length, options.confirmed + 1),
        None => (end.end, end.next_sequence),
    };
    let mut tail = tail.into_iter().skip(active_index);
    let active = tail.next().expect("one segment for each scan");
    let (prepared, unfit): (Vec<_>, Vec<_>) =
        tail.partition(|segment| segment.size == options.segment_size);

    let mut manifest = ManifestFile::new(Arc::clone(storage), manifest);
    manifest.change(|manifest| {
        bring_up_to_date(manifest, &kept, &active, &unfit);
        manifest.holes.extend(hole);
    })?;
    drop(unfit);
    let spares = tidy(&**storage, &names, &manifest)?;
    let recovered = Recovered {
        report: Recovery {
            first_sequence: kept
                .first()
                .map_or(next_sequence, |kept| kept.first_sequence),
            next_sequence,
            segments: kept.len(),
            torn_tail,
            left_out: hole.map(|hole| LeftOut::of(&hole, &**storage, options.confirmed)),
        },
        kept,
        active,
        offset,
        latest,
        prepared,
        spares,
    };
    Ok((manifest, recovered))
}

/// Lists in the manifest what is there: `active` and those that are `kept`, and not what is `unfit` to be written to.
fn bring_up_to_date(
    manifest: &mut Manifest,
    kept: &[Retained],
    active: &Segment,
    unfit: &[Segment],
) {
    if active.epoch >= manifest.next_epoch {
        manifest.next_epoch = active.epoch + 1;
        manifest.segments.push(Entry {
            epoch: active.epoch,
            first_sequence: None,
        });
    }
    for entry in &mut manifest.segments {
        let known = kept.iter().find(|kept| kept.epoch == entry.epoch);
        entry.first_sequence = known.map(|kept| kept.first_sequence);
    }
    manifest
        .segments
        .retain(|entry| unfit.iter().all(|segment| segment.epoch != entry.epoch));
}

/// Gives a time to those whose begin was set aside, and with it their own: no later than the next one.
fn add_times(kept: &mut [Retained]) {
    let mut next = u64::MAX;
    for kept in kept.iter_mut().rev() {
        if kept.since == u64::MAX {
            kept.since = next;
        }
        next = kept.since;
    }
}

/// The last segments that hold records, or will; the active one is the last of all.
fn in_use(tail: &[Segment], scans: &[Scan], now: u64) -> Vec<Retained> {
    let segment = |(segment, scan): (&Segment, &Scan)| Retained {
        epoch: segment.epoch,
        size: segment.size,
        first_sequence: scan.first_sequence,
        since: scan.first.map_or(now, |header| header.committed_at),
        later: None,
        begun: None,
    };
    let mut kept: Vec<Retained> = tail.iter().zip(scans).map(segment).collect();
    if let Some(active) = kept.last_mut() {
        active.later = Some(now);
    }
    kept
}

/// A new journal with its first segment.
fn begin(
    storage: &Arc<dyn Storage>,
    options: &Options,
    names: &[String],
) -> Result<(ManifestFile, Recovered), JournalError> {
    let id = JournalId::random().on(&**storage, "draw the id of", "")?;
    let missing = || JournalError::ManifestMissing {
        path: storage.describe(manifest::NAME),
    };
    if Manifest::load_old(&**storage).is_some_and(|old| old.next_epoch > 2) {
        return Err(missing());
    }
    for name in names {
        if let Some(epoch) = names::epoch_of(name) {
            // A crash can come between the first segment and the first manifest; that segment is zeros.
            if epoch > 1 || !is_unused(&**storage, name)? {
                return Err(missing());
            }
            remove(&**storage, name)?;
        } else if name.ends_with(TEMPORARY) {
            remove(&**storage, name)?;
        }
    }
    let active = Segment::create(&**storage, id, 1, options.segment_size)?;
    let mut manifest = ManifestFile::new(Arc::clone(storage), Manifest::new(id));
    manifest.change(|manifest| {
        manifest.next_epoch = 2;
        manifest.segments.push(Entry {
            epoch: 1,
            first_sequence: Some(1),
        });
    })?;
    let recovered = Recovered {
        kept: vec![Retained {
            epoch: 1,
            size: active.size,
            first_sequence: 1,
            since: storage.now(),
            later: None,
            begun: None,
        }],
        active,
        offset: HEADER_BLOCK,
        latest: 0,
        prepared: Vec::new(),
        spares: Vec::new(),
        report: Recovery {
            first_sequence: 1,
            next_sequence: 1,
            segments: 1,
            torn_tail: None,
            left_out: None,
        },
    };
    Ok((manifest, recovered))
}

/// All segments that the manifest lists.
fn open_listed(
    storage: &dyn Storage,
    names: &[String],
    manifest: &Manifest,
) -> Result<Vec<Segment>, JournalError> {
    let open = |entry: &Entry| {
        let name = names::segment(entry.epoch);
        if !names.contains(&name) {
            return Err(JournalError::SegmentMissing {
                path: storage.describe(&name),
                first_sequence: entry.first_sequence.unwrap_or(0),
            });
        }
        Segment::open(storage, Access::Write, manifest.id, entry.epoch)
    };
    manifest.segments.iter().map(open).collect()
}

/// The segments before the last one that is known to be in use: each must begin as the manifest says.
fn check_sealed(
    storage: &dyn Storage,
    manifest: &Manifest,
    opened: &[Segment],
) -> Result<Vec<Retained>, JournalError> {
    let firsts = manifest.segments.iter().map_while(|it| it.first_sequence);
    let firsts: Vec<u64> = firsts.collect();
    let mut kept = Vec::with_capacity(opened.len());
    for (segment, pair) in opened.iter().zip(firsts.windows(2)) {
        let &[first_sequence, next_first] = pair else {
            continue;
        };
        let empty = first_sequence == next_first;
        let set_aside = manifest.hole_at(segment.epoch, HEADER_BLOCK).is_some();
        let header = segment
            .header_at(HEADER_BLOCK)
            .map_err(JournalError::segment(storage, "read", segment.epoch))?;
        let reason = match header {
            Ok(header) if header.first_sequence == first_sequence => None,
            Ok(_) => Some(FrameError::Sequence),
            Err(error) => Some(error),
        };
        if let Some(reason) = reason.filter(|_| !empty && !set_aside) {
            return Err(JournalError::Damaged {
                path: storage.describe(&names::segment(segment.epoch)),
                offset: HEADER_BLOCK,
                reason,
                first_sequence,
                last_sequence: None,
            });
        }
        kept.push(Retained {
            epoch: segment.epoch,
            size: segment.size,
            first_sequence,
            since: header.map_or(u64::MAX, |header| header.committed_at),
            later: None,
            begun: None,
        });
    }
    Ok(kept)
}

/// Removes what crashes have left: half-made files, and segments that the manifest does not list.
/// Gives the names of the spares.
fn tidy(
    storage: &dyn Storage,
    names: &[String],
    manifest: &ManifestFile,
) -> Result<Vec<String>, JournalError> {
    let manifest = manifest.current();
    let mut spares = Vec::new();
    for name in names {
        if let Some(epoch) = names::epoch_of(name) {
            let listed = manifest.segments.iter().any(|entry| entry.epoch == epoch);
            // Retired, or made and not listed yet. The latter has no frame of its own epoch.
            if epoch >= manifest.next_epoch && holds_own_frame(storage, manifest, epoch)? {
                return Err(JournalError::Manifest {
                    path: storage.describe(manifest::NAME),
                    reason: format!("it is older than {name}, which it does not list"),
                });
            }
            if !listed {
                remove(storage, name)?;
            }
        } else if name.ends_with(SPARE) {
            spares.push(name.clone());
        } else if name.ends_with(TEMPORARY) {
            remove(storage, name)?;
        }
    }
    Ok(spares)
}

fn holds_own_frame(
    storage: &dyn Storage,
    manifest: &Manifest,
    epoch: u64,
) -> Result<bool, JournalError> {
    match Segment::open(storage, Access::Read, manifest.id, epoch) {
        Ok(segment) => segment
            .header_at(HEADER_BLOCK)
            .map(|header| header.is_ok())
            .map_err(JournalError::segment(storage, "read", epoch)),
        // Not even a header: never settled.
        Err(JournalError::SegmentHeader { .. }) => Ok(false),
        Err(error) => Err(error),
    }
}

/// True if the segment was never written to since it was filled with zeros.
fn is_unused(storage: &dyn Storage, name: &str) -> Result<bool, JournalError> {
    let mut first = [0; ALIGNMENT];
    storage
        .open(name, Access::Read)
        .and_then(|file| disk::read_full_at(&*file, &mut first, HEADER_BLOCK))
        .on(storage, "read", name)?;
    Ok(first == [0; ALIGNMENT])
}

fn remove(storage: &dyn Storage, name: &str) -> Result<(), disk::Error> {
    storage.remove(name).on(storage, "remove", name)
}
