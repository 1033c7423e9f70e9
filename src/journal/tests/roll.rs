//! Rolls, restarts, recycling and readers on a real disk.

use super::harness::{disk, options, read_all};
use super::{Harness, batch};
use crate::journal::frame::HEADER_LEN;
use crate::journal::segment::{HEADER_BLOCK, JournalId, Segment};
use crate::journal::{Depth, Journal, JournalError, Options, Reader, inspect, names};
use std::fs;
use std::iter;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;

fn body(number: u64) -> Vec<u8> {
    format!("{number:05}").repeat(600).into_bytes()
}

#[test]
fn what_was_stored_is_read_back_across_rolls_and_restarts() {
    let directory = tempfile::tempdir().unwrap();
    let storage = disk(directory.path());
    let mut next = 1;
    for _ in 0..3 {
        let mut harness = Harness::start(Arc::clone(&storage), options());
        for _ in 0..30 {
            let ticket = harness.send(batch(&[body(next), body(next + 1)]));
            next += 2;
            assert!(harness.wait_durable(ticket));
        }
        assert_eq!(harness.status.durable(), next - 1);
        let ended = harness.stop();
        ended.result.unwrap();
        assert_eq!(ended.handed_on.last().unwrap().last_sequence(), next - 1);
    }
    let expected: Vec<_> = (1..next).map(|number| (number, body(number))).collect();
    assert_eq!(read_all(&storage, 0), expected);
    assert_eq!(read_all(&storage, 78), expected[77..]);
    assert_eq!(read_all(&storage, next), []);
    let report = inspect(&*storage, Depth::Full).unwrap();
    assert!(report.is_whole());
    let records: u64 = report.segments.iter().map(|segment| segment.records).sum();
    assert_eq!(records, next - 1);
    let journal = Journal::open(storage, options()).unwrap();
    assert_eq!(journal.recovery().next_sequence, next);
    assert_eq!(journal.recovery().torn_tail, None);
}

#[test]
fn a_reader_follows_while_segments_are_recycled_behind_it() {
    let directory = tempfile::tempdir().unwrap();
    let storage = disk(directory.path());
    let options = Options {
        retention: Duration::ZERO,
        ..options()
    };
    let floor = Arc::clone(&options.retention_hold);
    floor.store(1, Ordering::Release);
    let mut harness = Harness::start(Arc::clone(&storage), options);
    let status = Arc::clone(&harness.status);
    let consumer = thread::spawn({
        let (storage, floor) = (Arc::clone(&storage), Arc::clone(&floor));
        move || {
            let mut reader = Reader::open(storage, 1).unwrap();
            let mut next = 1;
            while next <= 400 {
                let Some(batch) = reader.next(Some(status.durable())).unwrap() else {
                    thread::yield_now();
                    continue;
                };
                for (sequence, record) in batch.records_from(next) {
                    assert_eq!(sequence, next);
                    assert_eq!(record.body, body(next));
                    next += 1;
                }
                floor.store(next, Ordering::Release);
            }
        }
    });
    for number in 1..=400 {
        let ticket = harness.send(batch(&[body(number)]));
        if number % 3 == 0 {
            assert!(harness.wait_durable(ticket));
            // So that there is something to retire with every roll, however busy the machine is.
            while floor.load(Ordering::Acquire) <= number && !consumer.is_finished() {
                thread::yield_now();
            }
        }
    }
    consumer.join().unwrap();
    harness.stop().result.unwrap();

    let report = inspect(&*storage, Depth::Full).unwrap();
    assert!(report.is_whole());
    let (first, last) = (
        report.segments.first().unwrap(),
        report.segments.last().unwrap(),
    );
    assert!(first.first_sequence > 200, "nothing was retired");
    assert!(last.epoch >= 400 / 15, "an epoch is given once");
    let files = fs::read_dir(directory.path()).unwrap().count();
    assert!(files < 15, "{files} files");
    let error = Reader::open(storage, 1).unwrap().next(None).unwrap_err();
    assert!(
        matches!(error, JournalError::Gone { wanted: 1, .. }),
        "{error}"
    );
}

/// Zeros are written in pieces so small that a commit can go between two, and none is left out.
#[test]
fn a_segment_is_filled_in_small_pieces() {
    let directory = tempfile::tempdir().unwrap();
    let storage = disk(directory.path());
    let size = 3 << 20;
    let mut left = Vec::new();
    let pace = &mut |bytes| left.push(bytes);
    let segment =
        Segment::create_paced(&*storage, JournalId::random().unwrap(), 1, size, pace).unwrap();
    let begins = iter::once(size - HEADER_BLOCK).chain(left.iter().copied());
    let ends = left.iter().copied().chain([0]);
    assert!(
        begins
            .zip(ends)
            .all(|(begin, end)| begin - end <= 256 << 10)
    );
    let file = fs::read(directory.path().join(names::segment(1))).unwrap();
    assert_eq!((file.len() as u64, segment.size), (size, size));
    assert!(file[HEADER_LEN..].iter().all(|byte| *byte == 0));
}

/// The frames of a recycled segment's former life lay where the next frame would stand, and a start after a
/// clean stop reported a write that was torn.
#[test]
fn leftovers_of_a_former_life_are_no_torn_tail() {
    let directory = tempfile::tempdir().unwrap();
    let storage = disk(directory.path());
    let options = Options {
        retention: Duration::ZERO,
        ..options()
    };
    let mut harness = Harness::start(Arc::clone(&storage), options.clone());
    for number in 0..120 {
        let ticket = harness.send(batch(&[body(2 * number), body(2 * number + 1)]));
        assert!(harness.wait_durable(ticket));
    }
    harness.stop().result.unwrap();
    let report = inspect(&*storage, Depth::Headers).unwrap();
    let oldest = report.segments.first().unwrap().epoch;
    assert!(oldest > 1, "segments were recycled");
    let journal = Journal::open(storage, options).unwrap();
    assert_eq!(journal.recovery().torn_tail, None);
}

#[test]
fn a_look_at_a_journal_in_use_finds_no_damage() {
    let directory = tempfile::tempdir().unwrap();
    let storage = disk(directory.path());
    let options = Options {
        retention: Duration::ZERO,
        ..options()
    };
    let mut harness = Harness::start(Arc::clone(&storage), options);
    let writer = thread::spawn(move || {
        for number in 1..=500 {
            let ticket = harness.send(batch(&[body(number)]));
            assert!(harness.wait_durable(ticket));
        }
        harness.stop().result.unwrap();
    });
    while !writer.is_finished() {
        let report = inspect(&*storage, Depth::Full).unwrap();
        assert!(report.is_whole(), "{report:?}");
    }
    writer.join().unwrap();
}

#[test]
fn one_process_has_the_directory_and_others_learn_which() {
    let directory = tempfile::tempdir().unwrap();
    let journal = Journal::open(disk(directory.path()), options()).unwrap();
    let error = Journal::open(disk(directory.path()), options())
        .err()
        .unwrap();
    let holder = format!("pid {} holds", std::process::id());
    assert!(error.to_string().contains(&holder), "{error}");
    drop(journal);
    Journal::open(disk(directory.path()), options()).unwrap();
}

#[test]
fn endpoint_numbers_survive_and_are_never_reused() {
    let directory = tempfile::tempdir().unwrap();
    let journal = Journal::open(disk(directory.path()), options()).unwrap();
    let endpoints = journal.endpoints();
    assert_eq!(endpoints.number("/a").unwrap(), 1);
    assert_eq!(endpoints.number("/b c").unwrap(), 2);
    assert_eq!(endpoints.number("/a").unwrap(), 1);
    assert!(endpoints.number("/a\nsegment 9 9").is_err());
    drop((journal, endpoints));
    let journal = Journal::open(disk(directory.path()), options()).unwrap();
    assert_eq!(journal.endpoints().number("/d").unwrap(), 3);
    assert_eq!(journal.endpoints().number("/b c").unwrap(), 2);
}

#[test]
fn segments_of_another_size_stay_in_use_and_are_followed_by_new_ones() {
    let directory = tempfile::tempdir().unwrap();
    let storage = disk(directory.path());
    let mut expected = Vec::new();
    for segment_size in [64 << 10, 128 << 10, 64 << 10] {
        let options = Options {
            segment_size,
            ..options()
        };
        let mut harness = Harness::start(Arc::clone(&storage), options);
        for _ in 0..40 {
            let number = expected.len() as u64 + 1;
            let ticket = harness.send(batch(&[body(number)]));
            assert!(harness.wait_durable(ticket));
            expected.push((number, body(number)));
        }
        harness.stop().result.unwrap();
    }
    assert_eq!(read_all(&storage, 0), expected);
}

#[test]
fn options_that_cannot_work_are_refused() {
    let directory = tempfile::tempdir().unwrap();
    for (segment_size, largest_frame) in [(64 << 10, 64 << 10), (65_000, 100), (1 << 20, 1 << 40)] {
        let options = Options {
            segment_size,
            largest_frame,
            ..Options::default()
        };
        let error = Journal::open(disk(directory.path()), options)
            .err()
            .unwrap();
        assert!(matches!(error, JournalError::Options(_)), "{error}");
    }
}

/// A sink that is new, or was away for longer than the retention, begins there; before the segment thread has
/// looked, it would begin with a sequence that has gone, and stop for good.
#[test]
fn the_oldest_sequence_is_known_as_soon_as_the_journal_is_open() {
    let directory = tempfile::tempdir().unwrap();
    let storage = disk(directory.path());
    let options = Options {
        retention: Duration::ZERO,
        ..options()
    };
    options.retention_hold.store(u64::MAX, Ordering::Release);
    let mut harness = Harness::start(Arc::clone(&storage), options.clone());
    for number in 1..=100 {
        let ticket = harness.send(batch(&[body(number)]));
        assert!(harness.wait_durable(ticket));
    }
    harness.stop().result.unwrap();
    let journal = Journal::open(Arc::clone(&storage), options).unwrap();
    let first = journal.recovery().first_sequence;
    assert!(first > 1, "nothing was retired");
    let status = journal.status();
    assert_eq!(
        status.statistics.first_sequence.load(Ordering::Relaxed),
        first
    );
    let mut reader = Reader::open(storage, first).unwrap();
    assert_eq!(
        reader
            .next(Some(status.durable()))
            .unwrap()
            .unwrap()
            .first_sequence(),
        first
    );
}
