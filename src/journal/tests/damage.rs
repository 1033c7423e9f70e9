//! Damage in the middle: found, named, set aside, never skipped in silence.

use super::harness::{Harness, batch, disk, options, read_all};
use crate::disk::block::ALIGNMENT;
use crate::disk::{Disk, Storage};
use crate::journal::segment::HEADER_BLOCK;
use crate::journal::{
    Depth, Journal, JournalError, Options, Reader, inspect, inspect_from, names, repair,
};
use std::fs;
use std::path::Path;
use std::sync::Arc;

fn body(number: u64) -> Vec<u8> {
    format!("{number:04}").repeat(1500).into_bytes()
}

/// `count` records, each in a frame of two blocks, seven frames to a segment.
fn filled(path: &Path, count: u64) -> Arc<dyn Storage> {
    let storage = disk(path);
    let mut harness = Harness::start(Arc::clone(&storage), options());
    for number in 1..=count {
        let ticket = harness.send(batch(&[body(number)]));
        assert!(harness.wait_durable(ticket));
    }
    harness.stop().result.unwrap();
    storage
}

/// Overwrites one block.
fn damage(path: &Path, epoch: u64, offset: usize) {
    let path = path.join(names::segment(epoch));
    let mut bytes = fs::read(&path).unwrap();
    bytes[offset..offset + ALIGNMENT].fill(b'x');
    fs::write(&path, bytes).unwrap();
}

fn expected(sequences: impl Iterator<Item = u64>) -> Vec<(u64, Vec<u8>)> {
    sequences.map(|number| (number, body(number))).collect()
}

const FRAME: usize = 2 * ALIGNMENT;
const FIRST: usize = HEADER_BLOCK as usize;

#[test]
fn damage_in_the_active_segment_stops_the_start_and_can_be_set_aside() {
    let directory = tempfile::tempdir().unwrap();
    let storage = filled(directory.path(), 5);
    damage(directory.path(), 1, FIRST + FRAME + ALIGNMENT);
    damage(directory.path(), 1, FIRST + 2 * FRAME);

    let error = Journal::open(Arc::clone(&storage), options())
        .err()
        .unwrap();
    let text = error.to_string();
    assert!(
        text.contains("00000000000000000001.segment is damaged at offset 12288")
            && text.contains("sequence 2 to 3 cannot be read")
            && text.contains("hookline journal repair --quarantine"),
        "{text}"
    );

    let aside = tempfile::tempdir().unwrap();
    let quarantine = Disk::create(aside.path()).unwrap();
    let repaired = repair(&storage, &quarantine).unwrap();
    let hole = repaired.set_aside[0].hole;
    assert_eq!((hole.first_sequence, hole.count), (2, 2));
    let copy = fs::read(&repaired.copies[0]).unwrap();
    assert_eq!(copy.len(), 2 * FRAME);
    assert_eq!(copy[..4], *b"HKLF");

    let mut harness = Harness::start(Arc::clone(&storage), options());
    let ticket = harness.send(batch(&[body(6)]));
    assert!(harness.wait_durable(ticket));
    harness.stop().result.unwrap();
    assert_eq!(read_all(&storage, 0), expected([1, 4, 5, 6].into_iter()));
    assert_eq!(read_all(&storage, 3), expected(4..7));
    let report = inspect(&*storage, Depth::Full).unwrap();
    assert!(report.is_whole());
    assert_eq!(report.holes, [hole]);
    assert!(repair(&storage, &quarantine).unwrap().set_aside.is_empty());
}

/// Their records were answered as stored, and a sink may have had them: to another record under one of these sequences
/// it would say that it has had that one too.
#[test]
fn sequences_that_were_set_aside_at_the_end_are_not_given_again() {
    let directory = tempfile::tempdir().unwrap();
    let storage = filled(directory.path(), 5);
    damage(directory.path(), 1, FIRST + 3 * FRAME + ALIGNMENT);
    damage(directory.path(), 1, FIRST + 4 * FRAME + ALIGNMENT);
    let aside = tempfile::tempdir().unwrap();
    let repaired = repair(&storage, &Disk::create(aside.path()).unwrap()).unwrap();
    let hole = repaired.set_aside[0].hole;
    assert_eq!((hole.first_sequence, hole.count), (4, 2));

    let mut harness = Harness::start(Arc::clone(&storage), options());
    let ticket = harness.send(batch(&[body(6)]));
    assert!(harness.wait_durable(ticket));
    harness.stop().result.unwrap();
    assert_eq!(read_all(&storage, 0), expected([1, 2, 3, 6].into_iter()));
}

#[test]
fn damage_in_a_sealed_segment_is_found_by_verify_and_by_a_reader() {
    let directory = tempfile::tempdir().unwrap();
    let storage = filled(directory.path(), 20);
    // The last frame of the first segment, and one in the middle of the second.
    damage(directory.path(), 1, FIRST + 6 * FRAME);
    damage(directory.path(), 2, FIRST + 2 * FRAME);

    let mut reader = Reader::open(Arc::clone(&storage), 5).unwrap();
    assert_eq!(reader.next(None).unwrap().unwrap().first_sequence(), 5);
    assert_eq!(reader.next(None).unwrap().unwrap().first_sequence(), 6);
    let error = reader.next(None).unwrap_err();
    assert!(matches!(
        error,
        JournalError::Damaged {
            first_sequence: 7,
            last_sequence: Some(7),
            ..
        }
    ));

    let report = inspect(&*storage, Depth::Full).unwrap();
    let lost: Vec<_> = report
        .damage
        .iter()
        .map(|damage| {
            (
                damage.hole.epoch,
                damage.hole.first_sequence,
                damage.hole.count,
            )
        })
        .collect();
    assert_eq!(lost, [(1, 7, 1), (2, 10, 1)]);
    let records: u64 = report.segments.iter().map(|segment| segment.records).sum();
    assert_eq!(records, 18);
    let rest = inspect_from(&*storage, Depth::Full, 8).unwrap();
    assert_eq!(rest.damage, report.damage[1..]);

    let aside = tempfile::tempdir().unwrap();
    repair(&storage, &Disk::create(aside.path()).unwrap()).unwrap();
    let kept = (1..=20).filter(|number| ![7, 10].contains(number));
    assert_eq!(read_all(&storage, 0), expected(kept));
    for (begin, set_aside) in [(0, 2), (7, 2), (8, 1), (10, 1), (11, 0)] {
        let mut reader = Reader::open(Arc::clone(&storage), begin).unwrap();
        while reader.next(None).unwrap().is_some() {}
        assert_eq!(reader.set_aside(), set_aside, "from {begin} on");
    }
    let journal = Journal::open(storage, options()).unwrap();
    assert_eq!(journal.recovery().next_sequence, 21);
}

#[test]
fn a_missing_or_foreign_segment_is_noticed() {
    let directory = tempfile::tempdir().unwrap();
    let storage = filled(directory.path(), 20);
    let (first, second) = (names::segment(1), names::segment(2));
    let aside = directory.path().join("aside");

    fs::rename(directory.path().join(&first), &aside).unwrap();
    let error = Journal::open(Arc::clone(&storage), options())
        .err()
        .unwrap();
    assert!(matches!(
        error,
        JournalError::SegmentMissing {
            first_sequence: 1,
            ..
        }
    ));
    assert!(!inspect(&*storage, Depth::Headers).unwrap().is_whole());

    fs::copy(
        directory.path().join(&second),
        directory.path().join(&first),
    )
    .unwrap();
    let error = Journal::open(Arc::clone(&storage), options())
        .err()
        .unwrap();
    assert!(
        error
            .to_string()
            .contains("its epoch is not that of its name"),
        "{error}"
    );

    fs::rename(&aside, directory.path().join(&first)).unwrap();
    fs::remove_file(directory.path().join("manifest")).unwrap();
    let error = Journal::open(Arc::clone(&storage), options())
        .err()
        .unwrap();
    assert!(matches!(error, JournalError::ManifestMissing { .. }));
}

/// A drive wrote a frame to the place of the one before it, too. The inspection met a whole frame right where the
/// sequence broke, took the damage to have no bytes, and so for none: `verify` called the journal whole, `repair` set
/// nothing aside, and every reader stopped there.
#[test]
fn a_frame_in_the_place_of_another_is_damage() {
    let directory = tempfile::tempdir().unwrap();
    let storage = filled(directory.path(), 20);
    let path = directory.path().join(names::segment(2));
    let mut bytes = fs::read(&path).unwrap();
    let third = FIRST + 2 * FRAME;
    bytes.copy_within(third + FRAME..third + 2 * FRAME, third);
    fs::write(&path, bytes).unwrap();

    let report = inspect(&*storage, Depth::Full).unwrap();
    let [damage] = &report.damage[..] else {
        panic!("{report:?}");
    };
    assert_eq!(damage.hole.offset, third as u64);
    assert_eq!(damage.hole.length, FRAME as u64);
    assert_eq!((damage.hole.first_sequence, damage.hole.count), (10, 1));

    let aside = tempfile::tempdir().unwrap();
    repair(&storage, &Disk::create(aside.path()).unwrap()).unwrap();
    assert!(inspect(&*storage, Depth::Full).unwrap().is_whole());
    let all_but_one = (1..=20).filter(|sequence| *sequence != 10);
    assert_eq!(read_all(&storage, 0), expected(all_but_one));
}

#[test]
fn the_last_commit_when_torn_is_cut_and_reported_once() {
    let directory = tempfile::tempdir().unwrap();
    let storage = filled(directory.path(), 3);
    damage(directory.path(), 1, FIRST + 2 * FRAME + ALIGNMENT);
    let journal = Journal::open(Arc::clone(&storage), options()).unwrap();
    let torn = journal.recovery().torn_tail.clone().unwrap();
    assert_eq!((torn.offset, torn.bytes, torn.sequence), (20480, 8192, 3));
    drop(journal);
    let journal = Journal::open(Arc::clone(&storage), options()).unwrap();
    assert_eq!(journal.recovery().torn_tail, None);
    assert_eq!(journal.recovery().next_sequence, 3);
    assert_eq!(read_all(&storage, 0), expected(1..3));
}

/// The last record of a journal was damaged, after a sink had had it. In the segments that looked the same as a commit
/// that a power cut has torn: it was cut, and its sequence given to the next notification, which that sink then
/// skipped. An older copy of a journal, beside newer cursors, was the same.
#[test]
fn what_a_consumer_has_had_is_left_out_and_not_given_again() {
    for (damaged, confirmed, kept) in [(true, 5, 4), (false, 7, 5)] {
        let directory = tempfile::tempdir().unwrap();
        let storage = filled(directory.path(), 5);
        let block = FIRST + 4 * FRAME + ALIGNMENT;
        if damaged {
            damage(directory.path(), 1, block);
        }
        let before = fs::read(directory.path().join(names::segment(1))).unwrap();
        let options = Options {
            confirmed,
            ..options()
        };
        let open = || Journal::open(Arc::clone(&storage), options.clone());
        let recovery = open().unwrap().recovery().clone();
        let left_out = recovery.left_out.unwrap();
        assert_eq!(
            (left_out.first_sequence, left_out.last_sequence),
            (kept + 1, confirmed)
        );
        assert_eq!(recovery.torn_tail, None);
        let after = fs::read(directory.path().join(names::segment(1))).unwrap();
        assert!(before == after, "it is there for whoever looks at it");

        let again = open().unwrap().recovery().clone();
        assert_eq!(again.left_out, None);
        assert_eq!(again.next_sequence, confirmed + 1);
        let mut harness = Harness::start(Arc::clone(&storage), options.clone());
        let ticket = harness.send(batch(&[body(confirmed + 1)]));
        assert!(harness.wait_durable(ticket));
        harness.stop().result.unwrap();
        let sequences = (1..=kept).chain([confirmed + 1]);
        assert_eq!(read_all(&storage, 0), expected(sequences));
        assert!(inspect(&*storage, Depth::Full).unwrap().is_whole());
    }
}
