//! What a manifest can be made from when it is lost: the headers of the segments and their frames, and
//! the manifest before it. Part of `hookline journal repair --quarantine`.
//!
//! The paths of the endpoints stand in the manifest alone. A number that a record has and no manifest
//! gives a path to is kept from being given to another: it stands for [`UNKNOWN`] and itself.

use super::error::JournalError;
use super::frame::{FrameHeader, NUMBER_END};
use super::manifest::{self, Entry, Manifest};
use super::names;
use super::names::SPARE;
use super::scan::headers;
use super::segment::{HEADER_BLOCK, JournalId, Segment};
use crate::disk::block::on_disk;
use crate::disk::{Access, IoContext, Storage};
use std::collections::{BTreeMap, BTreeSet};

/// The manifest, if it is there, whole and not older than the segments.
pub(crate) fn current(storage: &dyn Storage) -> Result<Option<Manifest>, JournalError> {
    let manifest = match Manifest::load(storage) {
        Ok(Some(manifest)) => manifest,
        Ok(None) | Err(JournalError::Manifest { .. }) => return Ok(None),
        Err(error) => return Err(error),
    };
    for epoch in epochs(storage)? {
        if epoch >= manifest.next_epoch && !frames(storage, manifest.id, epoch)?.is_empty() {
            return Ok(None);
        }
    }
    Ok(Some(manifest))
}

/// Gives segments that are under another's name their own back: those that the manifest lists, or all
/// without one.
pub(crate) fn put_back(
    storage: &dyn Storage,
    manifest: Option<&Manifest>,
    put_right: &mut Vec<String>,
) -> Result<(), JournalError> {
    let listed =
        |epoch| manifest.is_none_or(|it| it.segments.iter().any(|entry| entry.epoch == epoch));
    let id = match manifest {
        Some(manifest) => manifest.id,
        None => identity(storage)?,
    };
    let is_sound = |epoch| {
        Segment::claim(storage, &names::segment(epoch))
            .is_some_and(|it| (it.0, it.1) == (id, epoch))
    };
    // Each turn puts one right that stays so.
    for at in epochs(storage)? {
        while let Some((its, epoch, _)) = Segment::claim(storage, &names::segment(at))
            && its == id
            && epoch != at
            && epoch < NUMBER_END - 1
            && listed(epoch)
            && !is_sound(epoch)
            // A header that does not hold does not make its frames another's: those are adopted.
            && frames(storage, id, epoch)?.is_empty()
        {
            let (from, to) = (names::segment(at), names::segment(epoch));
            let there = storage.open(&to, Access::Read).is_ok();
            let moved = if there {
                storage.exchange(&from, &to)
            } else {
                storage.rename(&from, &to)
            };
            moved
                .and_then(|()| storage.sync())
                .on(storage, "rename", &from)?;
            put_right.push(format!("{} got its own name back", storage.describe(&to)));
        }
    }
    Ok(())
}

/// Keeps the numbers that records have, and to which this manifest gives no path, from being given to another: it is
/// older than they are.
pub(crate) fn keep_endpoints(
    storage: &dyn Storage,
    manifest: &mut Manifest,
    put_right: &mut Vec<String>,
) -> Result<(), JournalError> {
    let mut endpoints = BTreeSet::new();
    for entry in &manifest.segments {
        examine(storage, manifest, entry.epoch, 1, &mut endpoints)?;
    }
    add_unknown(manifest, endpoints, put_right);
    Ok(())
}

/// A manifest for the segments that there are, none of which can have more than `bound` records.
pub(crate) fn rebuild(
    storage: &dyn Storage,
    bound: u64,
    put_right: &mut Vec<String>,
) -> Result<Manifest, JournalError> {
    let id = identity(storage)?;
    let base = base(storage).filter(|base| base.id == id);
    let mut manifest = base.unwrap_or_else(|| Manifest::new(id));
    let known: BTreeMap<u64, Option<u64>> = manifest
        .segments
        .iter()
        .map(|entry| (entry.epoch, entry.first_sequence))
        .collect();
    let (there, first_used) = usable(storage, id)?;
    // Those that are listed before the first that has frames were retired since, or are lost.
    let listed: BTreeSet<u64> = known.range(first_used..).map(|(epoch, _)| *epoch).collect();
    let (mut entries, mut end) = (Vec::<Entry>::new(), None::<u64>);
    // For each entry the sequence behind its last, if the segment is full.
    let mut full_ends: Vec<Option<u64>> = Vec::new();
    let mut endpoints = BTreeSet::new();
    for epoch in there.union(&listed).copied() {
        let mut entry = Entry {
            epoch,
            first_sequence: known.get(&epoch).copied().flatten(),
        };
        let mut full_end = None;
        if there.contains(&epoch) {
            let follows = entries.last().is_some_and(|it| it.epoch + 1 == epoch)
                && full_ends.last().is_some_and(Option::is_some);
            let first = first_sequence(&frames(storage, id, epoch)?, end, follows);
            entry.first_sequence = entry.first_sequence.or(first);
            if let Some(first_sequence) = entry.first_sequence {
                // Full to its end, and the next one does not follow: one between them is missing.
                if let (Some(before), Some(Some(expected))) = (entries.last(), full_ends.last())
                    && *expected < first_sequence
                    && before.epoch + 1 < epoch
                {
                    entries.push(Entry {
                        epoch: before.epoch + 1,
                        first_sequence: None,
                    });
                    full_ends.push(None);
                }
                let (next, full) =
                    examine(storage, &manifest, epoch, first_sequence, &mut endpoints)?;
                end = Some(next);
                full_end = full.then_some(next);
            }
        }
        entries.push(entry);
        full_ends.push(full_end);
    }
    if entries.is_empty() {
        return Err(missing(storage));
    }
    add_missing(&mut entries, bound);
    add_firsts(&mut entries, &full_ends, end.unwrap_or(1));
    manifest.next_epoch = manifest.next_epoch.max(next_epoch(storage, &entries)?);
    manifest.segments = entries;
    let is_listed = |epoch| manifest.segments.iter().any(|entry| entry.epoch == epoch);
    manifest.holes.retain(|hole| is_listed(hole.epoch));
    add_unknown(&mut manifest, endpoints, put_right);
    say_made_again(storage, &manifest, put_right);
    Ok(manifest)
}

/// The epochs of the segments whose header or frames hold, and the first that has frames; 0 if none has any.
fn usable(storage: &dyn Storage, id: JournalId) -> Result<(BTreeSet<u64>, u64), JournalError> {
    let (mut there, mut first_used) = (BTreeSet::new(), 0);
    for epoch in epochs(storage)? {
        // Whatever its length is.
        let claim = Segment::claim(storage, &names::segment(epoch));
        let sound = claim.is_some_and(|it| (it.0, it.1) == (id, epoch));
        let used = !frames(storage, id, epoch)?.is_empty();
        if sound || used {
            there.insert(epoch);
        }
        if used && first_used == 0 {
            first_used = epoch;
        }
    }
    Ok((there, first_used))
}

/// The first sequence of a segment by its frames. Where its first frame is missing, and where it `follows` one that is
/// full, it begins no later than at the `end` of what is before it.
fn first_sequence(frames: &[(u64, FrameHeader)], end: Option<u64>, follows: bool) -> Option<u64> {
    // Not always the first: a drive may have written one to the place of another.
    let (offset, header) = frames.iter().min_by_key(|(_, it)| it.first_sequence)?;
    let before = end.filter(|_| *offset > HEADER_BLOCK || follows);
    Some(header.first_sequence.min(before.unwrap_or(u64::MAX)))
}

fn say_made_again(storage: &dyn Storage, manifest: &Manifest, put_right: &mut Vec<String>) {
    put_right.push(format!(
        "{} was made again from {} segments",
        storage.describe(manifest::NAME),
        manifest.segments.len()
    ));
    let first = manifest.segments.first().and_then(|it| it.first_sequence);
    if let Some(before) = first.and_then(|it| it.checked_sub(2)) {
        put_right.push(format!(
            "sequence 1 to {} stand in none of them: they were retired, or are lost",
            before + 1
        ));
    }
}

/// Adds the segments that must have been there behind the last in use: one is always ready, and epochs have no gap.
/// Where none in use is left, the first one begins behind all that those before it can have had.
fn add_missing(entries: &mut Vec<Entry>, bound: u64) {
    let Some(used) = entries.iter().rfind(|it| it.first_sequence.is_some()) else {
        if let Some(first) = entries.first_mut() {
            let before = bound.saturating_mul(first.epoch.saturating_sub(1));
            first.first_sequence = Some(before.min(NUMBER_END - 1) + 1);
        }
        return;
    };
    let begin = used.epoch + 1;
    let last = entries.last().map_or(begin, |it| it.epoch).max(begin);
    for epoch in (begin..=last).take(MISSING_MAX) {
        if entries.iter().all(|it| it.epoch != epoch) {
            entries.push(Entry {
                epoch,
                first_sequence: None,
            });
        }
    }
    entries.sort_unstable_by_key(|it| it.epoch);
}

/// Gives those in use a first sequence that have none. `full_ends` has for each, from the first on, the sequence behind
/// its last if it is full; `end` is the one behind the last of all.
fn add_firsts(entries: &mut [Entry], full_ends: &[Option<u64>], end: u64) {
    // What is in use comes before what is ready. One of which nothing tells where it begins follows one that is full:
    // there is no other place for the sequences that are missing.
    let used = entries
        .iter()
        .rposition(|entry| entry.first_sequence.is_some())
        .unwrap_or(0);
    let mut next = end;
    for at in (0..=used).rev() {
        let before = at.checked_sub(1).and_then(|before| full_ends.get(before));
        if let Some(entry) = entries.get_mut(at) {
            let begin = before.copied().flatten().map_or(next, |end| end.min(next));
            next = *entry.first_sequence.get_or_insert(begin);
        }
    }
    // What does not rise was forged.
    let mut least = 1;
    for first in entries
        .iter_mut()
        .filter_map(|it| it.first_sequence.as_mut())
    {
        *first = least.max(*first);
        least = *first;
    }
}

/// Gives a place in the table to each number that has none.
fn add_unknown(manifest: &mut Manifest, endpoints: BTreeSet<u16>, put_right: &mut Vec<String>) {
    for number in endpoints {
        if manifest.endpoints.iter().all(|(known, _)| *known != number) {
            let path = format!("{UNKNOWN}{number}");
            put_right.push(format!(
                "the path of endpoint {number} is lost with the manifest: its records stand under {path}, \
                 and a path that is configured now gets a number of its own"
            ));
            manifest.endpoints.push((number, path));
        }
    }
}

/// An epoch that no file and no entry has.
fn next_epoch(storage: &dyn Storage, entries: &[Entry]) -> Result<u64, JournalError> {
    let names = storage.list().on(storage, "list", "")?;
    let spares = names
        .iter()
        .filter_map(|it| it.strip_suffix(SPARE)?.parse().ok())
        .filter(|epoch| *epoch < NUMBER_END - 1);
    let given = entries.iter().map(|entry| entry.epoch);
    let given = given.chain(spares).chain(epochs(storage)?).max();
    Ok(given.unwrap_or(0).saturating_add(1))
}

/// Gives the sequence behind the last record of a segment and whether the segment is full: something whole, or
/// set aside, reaches to its end. Adds the endpoints of its records.
fn examine(
    storage: &dyn Storage,
    manifest: &Manifest,
    epoch: u64,
    first_sequence: u64,
    endpoints: &mut BTreeSet<u16>,
) -> Result<(u64, bool), JournalError> {
    let failed = |error| JournalError::segment(storage, "read", epoch)(error);
    let segment = match Segment::open(storage, Access::Read, manifest.id, epoch) {
        Ok(segment) => segment,
        Err(_) => match Segment::adopt(storage, Access::Read, manifest.id, epoch)? {
            Some(segment) => segment,
            None => return Ok((first_sequence, false)),
        },
    };
    let (mut next, mut end, mut buffer) = (first_sequence, HEADER_BLOCK, Vec::new());
    for (offset, header) in headers(&segment, HEADER_BLOCK).map_err(failed)? {
        if segment
            .frame_at(offset, &mut buffer)
            .map_err(failed)?
            .is_ok()
            && let Ok(batch) = super::batch::Batch::from_frame(buffer.clone(), segment.salt)
        {
            endpoints.extend(batch.records().map(|record| record.endpoint));
            next = next.max(header.last_sequence() + 1);
            end = end.max(offset + on_disk(header.padded_len()));
        }
    }
    for hole in manifest.holes.iter().filter(|hole| hole.epoch == epoch) {
        next = next.max(hole.end_sequence());
        end = end.max(hole.offset.saturating_add(hole.length));
    }
    Ok((next, end >= segment.size))
}

/// The frame headers of a segment, whatever its own header says.
fn frames(
    storage: &dyn Storage,
    id: JournalId,
    epoch: u64,
) -> Result<Vec<(u64, FrameHeader)>, JournalError> {
    match Segment::adopt(storage, Access::Read, id, epoch)? {
        Some(segment) => {
            headers(&segment, HEADER_BLOCK).map_err(JournalError::segment(storage, "read", epoch))
        }
        None => Ok(Vec::new()),
    }
}

/// A manifest that lacks something: one that is older than the segments, or the one before the last.
fn base(storage: &dyn Storage) -> Option<Manifest> {
    let old = Manifest::load(storage).ok().flatten();
    old.or_else(|| Manifest::load_old(storage))
}

/// The name of the journal: of a manifest, or of most of the segments.
fn identity(storage: &dyn Storage) -> Result<JournalId, JournalError> {
    if let Some(base) = base(storage) {
        return Ok(base.id);
    }
    let mut counts: Vec<(JournalId, usize)> = Vec::new();
    for epoch in epochs(storage)? {
        if let Some((id, _, _)) = Segment::claim(storage, &names::segment(epoch)) {
            match counts.iter_mut().find(|(its, _)| *its == id) {
                Some((_, count)) => *count += 1,
                None => counts.push((id, 1)),
            }
        }
    }
    let most = counts.into_iter().max_by_key(|(_, count)| *count);
    most.map(|(id, _)| id).ok_or_else(|| missing(storage))
}

fn missing(storage: &dyn Storage) -> JournalError {
    JournalError::ManifestMissing {
        path: storage.describe(manifest::NAME),
    }
}

/// Epochs of the names of all segments, rising. The last of all numbers is none: another is to follow.
fn epochs(storage: &dyn Storage) -> Result<BTreeSet<u64>, JournalError> {
    let names = storage.list().on(storage, "list", "")?;
    Ok(names
        .iter()
        .filter_map(|it| names::epoch_of(it))
        .filter(|epoch| *epoch < NUMBER_END - 1)
        .collect())
}

/// What begins the place of a path that is not known any more. No configured path begins like this.
const UNKNOWN: &str = "unknown-";

/// How many segments behind the last in use are taken to be missing at most.
const MISSING_MAX: usize = 64;
