//! Which sequences a journal has, and from a time to a sequence. Only reads, and needs no lock.

use super::error::JournalError;
use super::inspect::inspect_from;
use super::manifest::Manifest;
use super::reader::Reader;
use super::scan::Depth;
use super::segment::{HEADER_BLOCK, Segment};
use crate::disk::block::on_disk;
use crate::disk::{Access, Storage};
use std::ops::Range;
use std::sync::Arc;

/// The first sequence that is in the journal, and the one behind the last.
pub fn extent(storage: &dyn Storage) -> Result<Range<u64>, JournalError> {
    let report = inspect_from(storage, Depth::Headers, u64::MAX)?;
    let end = report.segments.iter().map(|it| it.next_sequence).max();
    let manifest = Manifest::load_existing(storage)?;
    let first = manifest.segments.first();
    let first = first.and_then(|entry| entry.first_sequence).unwrap_or(1);
    Ok(first..end.unwrap_or(first).max(first))
}

/// The first sequence that was committed at this time or later, in microseconds since 1970; behind the last one if
/// there is none. A record is committed some milliseconds after it has arrived.
///
/// Where the clock of the machine was put back, the earliest of the places that would do; by less than the records of
/// a segment span, it may be one behind that. What lies behind damage in a segment counts as committed when that
/// segment ends.
pub fn sequence_at(storage: &dyn Storage, time: u64) -> Result<u64, JournalError> {
    let manifest = Manifest::load_existing(storage)?;
    let mut before: Option<(Segment, u64)> = None;
    for entry in &manifest.segments {
        // One that was retired meanwhile, or cannot be read, is passed over.
        let Ok(segment) = Segment::open(storage, Access::Read, manifest.id, entry.epoch) else {
            continue;
        };
        let first = segment.header_at(HEADER_BLOCK);
        let first = first.map_err(JournalError::segment(storage, "read", entry.epoch))?;
        let Ok(first) = first else { continue };
        let is_later = first.committed_at >= time;
        if let Some((before, begun)) = &before {
            // Behind the last one that begins before the time, or before the clock was put back in it.
            if is_later || first.committed_at < *begun {
                let (found, sequence) = look_in(storage, &manifest, before, time)?;
                if found || is_later {
                    return Ok(sequence);
                }
            }
        } else if is_later {
            return Ok(first.first_sequence);
        }
        before = Some((segment, first.committed_at));
    }
    match before {
        Some((segment, _)) => Ok(look_in(storage, &manifest, &segment, time)?.1),
        None => Ok(extent(storage)?.end),
    }
}

/// The same by the time of receipt: what was committed then, but for what was received before and stands at the begin
/// of the same commit. Behind it may be some more that was received a few milliseconds before, on another event loop.
pub fn first_received(storage: &Arc<dyn Storage>, time: u64) -> Result<u64, JournalError> {
    let first = sequence_at(&**storage, time)?;
    let Some(batch) = Reader::open(Arc::clone(storage), first)?.next(None)? else {
        return Ok(first);
    };
    let early = batch.records_from(first);
    let early = early.take_while(|(_, record)| record.received_at < time);
    Ok(early.last().map_or(first, |(sequence, _)| sequence + 1))
}

/// When the record with this sequence was received, in microseconds since 1970, or the next one that there is; `None`
/// behind the last.
pub fn received_at(storage: &Arc<dyn Storage>, sequence: u64) -> Result<Option<u64>, JournalError> {
    let batch = Reader::open(Arc::clone(storage), sequence)?.next(None)?;
    let record = batch.iter().flat_map(|batch| batch.records_from(sequence));
    Ok(record.map(|(_, record)| record.received_at).next())
}

/// The first sequence of a segment that was committed at this time or later, and true; or the one behind its last.
fn look_in(
    storage: &dyn Storage,
    manifest: &Manifest,
    segment: &Segment,
    time: u64,
) -> Result<(bool, u64), JournalError> {
    let (mut offset, mut next) = (HEADER_BLOCK, 1);
    while offset <= segment.size {
        if let Some(hole) = manifest.hole_at(segment.epoch, offset) {
            offset = offset.saturating_add(hole.length);
            next = next.max(hole.end_sequence());
            continue;
        }
        let header = segment.header_at(offset);
        match header.map_err(JournalError::segment(storage, "read", segment.epoch))? {
            Ok(header) if header.committed_at < time => {
                offset += on_disk(header.padded_len());
                next = header.last_sequence() + 1;
            }
            Ok(_) => return Ok((true, next)),
            Err(_) => break,
        }
    }
    Ok((false, next))
}

#[cfg(test)]
mod tests {
    use super::super::batch::Batch;
    use super::super::{DurablePosition, Journal, Options};
    use super::{extent, first_received, received_at, sequence_at};
    use crate::disk::simulated::SimulatedDisk;
    use crate::relay;
    use std::sync::Arc;

    /// A hundred commits, a second apart, over several segments.
    #[test]
    fn times_lead_to_sequences() {
        const BEGIN: u64 = 1_750_000_000_000_000;
        const SECOND: u64 = 1_000_000;
        let disk = SimulatedDisk::new(1);
        let storage = disk.storage();
        assert!(sequence_at(&*storage, 0).is_err());
        let options = Options {
            segment_size: 256 << 10,
            largest_frame: 64 << 10,
            reserve: 64 << 10,
            ..Options::default()
        };
        let journal = Journal::open(Arc::clone(&storage), options).unwrap();
        assert_eq!(sequence_at(&*storage, 0).unwrap(), 1);
        assert_eq!(extent(&*storage).unwrap(), 1..1);
        let position = Arc::new(DurablePosition::new(Box::new(|| {})));
        let (sender, durable) = crossbeam_channel::unbounded();
        let hand_on = Box::new(move |_| sender.send(()).unwrap());
        let (committer, preparer) = journal.split(vec![position], hand_on);
        let (commit, inbox) = relay::channel(4);
        let threads = [
            std::thread::spawn(move || committer.run(&inbox).unwrap()),
            std::thread::spawn(move || preparer.run().unwrap()),
        ];
        for at in 0..100 {
            disk.set_clock(BEGIN + at * SECOND);
            let mut batch = Batch::unpooled();
            let received = BEGIN + at * SECOND;
            for received in [received - 1000, received] {
                batch.append(1, 0, received, std::iter::empty(), &[b'x'; 8000]);
            }
            commit.try_send(batch).unwrap();
            durable.recv().unwrap();
        }
        for (time, sequence) in [
            (0, 1),
            (BEGIN, 1),
            // Each operation of the disk takes a microsecond, whoever asks for it.
            (BEGIN + SECOND / 2, 3),
            (BEGIN + 50 * SECOND, 101),
            (BEGIN + 50 * SECOND + SECOND / 2, 103),
            (BEGIN + 99 * SECOND, 199),
            (BEGIN + 99 * SECOND + SECOND / 2, 201),
            (u64::MAX, 201),
        ] {
            assert_eq!(sequence_at(&*storage, time).unwrap(), sequence, "{time}");
        }
        for at in 0..100 {
            let found = sequence_at(&*storage, BEGIN + at * SECOND).unwrap();
            assert_eq!(found, 1 + 2 * at);
            let received = BEGIN + at * SECOND;
            for (time, sequence) in [(received - 1000, found), (received, found + 1)] {
                assert_eq!(first_received(&storage, time).unwrap(), sequence);
                assert_eq!(received_at(&storage, sequence).unwrap(), Some(time));
            }
        }
        let last = BEGIN + 100 * SECOND;
        assert_eq!(first_received(&storage, last).unwrap(), 201);
        assert_eq!(received_at(&storage, 201).unwrap(), None);
        assert_eq!(extent(&*storage).unwrap(), 1..201);
        drop(commit);
        for thread in threads {
            thread.join().unwrap();
        }
    }
}
