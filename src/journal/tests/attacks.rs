//! What can happen to the files of a journal that is not running, one thing at a time; and then the
//! start, `repair`, and a start that goes on.
//!
//! Never a panic, never a record that was not sent or is another; what is missing was named, and its
//! sequence is not given again. `HOOKLINE_EVERY_BIT=1` flips the bits of the padding one by one as well.

use super::harness::{batch, options};
use crate::disk::block::ALIGNMENT;
use crate::disk::simulated::SimulatedDisk;
use crate::disk::{Access, Storage, write_all_at};
use crate::journal::frame::HEADER_LEN;
use crate::journal::segment::HEADER_BLOCK;
use crate::journal::{
    Depth, Journal, Manifest, Options, Reader, Repair, inspect, manifest, names, repair,
};
use crate::random::Random;
use crate::relay;
use std::collections::BTreeMap;
use std::io::IoSlice;
use std::sync::Arc;
use std::{env, thread};

type Records = BTreeMap<u64, Vec<u8>>;

/// Four frames to a segment.
pub(super) fn small_options() -> Options {
    Options {
        segment_size: HEADER_BLOCK + 4 * ALIGNMENT as u64,
        largest_frame: 4096,
        ..options()
    }
}

fn body(number: u64) -> Vec<u8> {
    format!("body {number:04}").into_bytes()
}

/// Commits one record after the other.
pub(super) fn commit(disk: &SimulatedDisk, options: &Options, count: u64) {
    let journal = Journal::open(disk.storage(), options.clone()).unwrap();
    journal.endpoints().number("/webhook").unwrap();
    let next = journal.recovery().next_sequence;
    let (mut committer, mut preparer) = journal.split(vec![], Box::new(drop));
    let (inbox, receiver) = relay::channel(1);
    for sequence in next..next + count {
        preparer.note_rolled(preparer.rolled.try_recv().unwrap());
        preparer.attempt().unwrap();
        inbox.try_send(batch(&[body(sequence)])).unwrap();
        committer.turn(&receiver).unwrap();
    }
    preparer.note_rolled(preparer.rolled.try_recv().unwrap());
    preparer.attempt().unwrap();
}

/// Segments 1 and 2 are full, 3 has two frames, 4 is ready.
pub(super) const STORED: u64 = 10;

pub(super) fn stored() -> SimulatedDisk {
    let disk = SimulatedDisk::new(1);
    commit(&disk, &small_options(), STORED);
    disk.after_exit()
}

/// Everything that can be read; each of it was sent.
fn read(storage: &Arc<dyn Storage>, context: &str) -> Records {
    let mut found = Records::new();
    let Ok(mut reader) = Reader::open(Arc::clone(storage), 0) else {
        return found;
    };
    while let Ok(Some(batch)) = reader.next(None) {
        for (sequence, record) in batch.records_from(0) {
            assert_eq!(record.body, body(sequence), "{context}");
            assert!(
                found
                    .last_key_value()
                    .is_none_or(|(last, _)| *last < sequence)
            );
            found.insert(sequence, record.body.to_vec());
        }
    }
    found
}

/// How it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    Whole,
    /// The last commit looks as if it had been torn by a power cut.
    Torn,
    Repaired,
}

/// Starts the journal, repairs it if it does not, and goes on.
fn go_on(disk: &SimulatedDisk, stored: u64, context: &str) -> (End, Option<Repair>) {
    let storage = disk.storage();
    read(&storage, context);
    // The start reads only what was written last; the rest is for `verify` and for whoever reads it.
    let whole = inspect(&*storage, Depth::Full).is_ok_and(|report| report.is_whole());
    let opened = Journal::open(disk.storage(), small_options()).ok();
    let (journal, repaired) = if let Some(journal) = opened.filter(|_| whole) {
        (journal, None)
    } else {
        let quarantine = SimulatedDisk::new(2);
        let repaired =
            repair(&storage, &quarantine).unwrap_or_else(|error| panic!("{context}: {error}"));
        let journal = Journal::open(disk.storage(), small_options())
            .unwrap_or_else(|error| panic!("{context}: after {repaired:?}: {error}"));
        (journal, Some(repaired))
    };
    let next = journal.recovery().next_sequence;
    let first = journal.recovery().first_sequence;
    drop(journal);
    assert!(next >= stored, "{context}: {next} is given again");
    let found = read(&storage, context);
    let holes = repaired.iter().flat_map(|it| &it.set_aside);
    let holes: Vec<_> = holes.map(|damage| damage.hole).collect();
    for sequence in first..next {
        let named = holes.iter().any(|hole| {
            (hole.first_sequence..hole.first_sequence + hole.count).contains(&sequence)
        });
        if sequence > stored {
            break; // left out, since nothing tells whether it was given
        }
        assert!(
            found.contains_key(&sequence) || named,
            "{context}: {sequence} is missing, {repaired:?}"
        );
    }
    assert!(first == 1 || repaired.is_some(), "{context}");
    commit(disk, &small_options(), 6);
    let all = read(&storage, context);
    let new = all.keys().filter(|sequence| **sequence >= next);
    assert!(new.copied().eq(next..next + 6), "{context}: {all:?}");
    assert!(
        inspect(&*storage, Depth::Full).unwrap().is_whole(),
        "{context}"
    );
    let end = match &repaired {
        Some(_) => End::Repaired,
        None if next > stored => End::Whole,
        None => End::Torn,
    };
    (end, repaired)
}

pub(super) fn attack(context: &str, change: impl FnOnce(&SimulatedDisk)) -> (End, Option<Repair>) {
    let disk = stored();
    change(&disk);
    go_on(&disk, STORED, context)
}

/// Tries all places on several threads; gives how often each end was seen.
fn everywhere(places: &[(String, usize, u8)]) -> [usize; 3] {
    let threads = thread::available_parallelism().unwrap().get();
    let original = stored();
    thread::scope(|scope| {
        let threads: Vec<_> = (0..threads)
            .map(|number| {
                let disk = original.after_exit();
                scope.spawn(move || {
                    let mut ends = [0; 3];
                    for (name, at, bit) in places.iter().skip(number).step_by(threads) {
                        let disk = disk.after_exit();
                        disk.damage(name, |bytes| bytes[*at] ^= 1 << bit);
                        let context = format!("{name}, byte {at}, bit {bit}");
                        ends[go_on(&disk, STORED, &context).0 as usize] += 1;
                    }
                    ends
                })
            })
            .collect();
        let ends = threads.into_iter().map(|it| it.join().unwrap());
        ends.fold([0; 3], |sum, ends| [0, 1, 2].map(|at| sum[at] + ends[at]))
    })
}

#[test]
fn every_flipped_bit_is_named_or_does_no_harm() {
    let disk = stored();
    let every_bit = env::var_os("HOOKLINE_EVERY_BIT").is_some();
    let mut places = Vec::new();
    let length = |name: &str| {
        disk.storage()
            .open(name, Access::Read)
            .unwrap()
            .length()
            .unwrap()
    };
    let mut random = Random(3);
    for (name, used) in [
        (manifest::NAME.to_owned(), length(manifest::NAME)),
        (names::segment(2), HEADER_BLOCK + ALIGNMENT as u64),
        (names::segment(3), HEADER_BLOCK + 2 * ALIGNMENT as u64),
        (names::segment(4), HEADER_BLOCK),
    ] {
        for at in 0..used as usize {
            let padding = at % ALIGNMENT >= 150 || (HEADER_LEN..ALIGNMENT).contains(&at);
            for bit in 0..8 {
                if every_bit || !padding || random.below(1000) == 0 {
                    places.push((name.clone(), at, bit));
                }
            }
        }
    }
    let tried = places.len();
    let ends = everywhere(&places);
    assert!(tried > 5000, "{tried}");
    assert!(ends.iter().all(|count| *count > 0), "{ends:?}");
}

#[test]
fn every_truncation_is_named() {
    let original = stored();
    for (epoch, step) in [(1, 509), (2, 97), (3, 61), (4, 1021)] {
        let length = small_options().segment_size as usize;
        for length in (0..length).step_by(step) {
            let disk = original.after_exit();
            disk.truncate(&names::segment(epoch), length);
            let end = go_on(&disk, STORED, &format!("segment {epoch} cut at {length}"));
            assert_eq!(end.0, End::Repaired);
        }
    }
    for length in (0..4096).step_by(7) {
        let disk = original.after_exit();
        disk.truncate(manifest::NAME, length);
        go_on(&disk, STORED, &format!("manifest cut at {length}"));
    }
}

fn append(disk: &SimulatedDisk, name: &str, garbage: &[u8]) {
    let file = disk.storage().open(name, Access::Write).unwrap();
    let end = file.length().unwrap();
    write_all_at(&*file, &mut [IoSlice::new(garbage)], end).unwrap();
}

#[test]
fn garbage_behind_the_end_costs_no_record() {
    for epoch in 1..=4 {
        for length in [1, 100, ALIGNMENT, 3 * ALIGNMENT + 5] {
            let (_, repaired) = attack(&format!("{length} behind {epoch}"), |disk| {
                append(disk, &names::segment(epoch), &vec![b'x'; length]);
            });
            let lost = repaired.unwrap().set_aside;
            assert!(
                lost.iter().all(|it| it.hole.first_sequence > STORED),
                "{lost:?}"
            );
        }
    }
    let (_, repaired) = attack("behind the manifest", |disk| {
        append(disk, manifest::NAME, b"endpoint 2 /other\n");
    });
    assert!(repaired.unwrap().set_aside.is_empty());
}

/// Every set of missing segments: first, middle, last in use, the one that is ready.
#[test]
fn missing_segments_are_named() {
    for missing in 1..16_u32 {
        for manifests in 0..=2 {
            // With the manifest before it, nothing is left.
            if (missing, manifests) == (15, 0) {
                continue;
            }
            let context = format!("missing {missing:04b}, manifests: {manifests}");
            let disk = stored();
            for epoch in (1..=4).filter(|epoch| missing & (1 << (epoch - 1)) != 0) {
                disk.storage().remove(&names::segment(epoch)).unwrap();
            }
            for gone in [manifest::OLD, manifest::NAME].iter().skip(manifests) {
                disk.storage().remove(gone).unwrap();
            }
            let (end, repaired) = go_on(&disk, STORED, &context);
            assert_eq!(end, End::Repaired);
            let first = Manifest::load(&*disk.storage()).unwrap().unwrap().segments[0];
            let said = repaired.unwrap().put_right.join("\n");
            let before = first.first_sequence.unwrap() - 1;
            let named = said.contains(&format!("sequence 1 to {before} stand in none of them"));
            assert_eq!(named, before > 0, "{context}: {said}");
        }
    }
}

#[test]
fn segments_that_were_exchanged_get_their_own_names_back() {
    for one in 1..=4 {
        for other in 1..one {
            for with_manifest in [true, false] {
                let (end, repaired) = attack(&format!("{one} and {other}"), |disk| {
                    let names = [one, other].map(names::segment);
                    disk.storage().exchange(&names[0], &names[1]).unwrap();
                    if !with_manifest {
                        disk.storage().remove(manifest::NAME).unwrap();
                    }
                });
                let repaired = repaired.unwrap();
                assert_eq!(end, End::Repaired);
                assert!(repaired.set_aside.is_empty(), "{repaired:?}");
                assert!(repaired.put_right[0].contains("got its own name back"));
            }
        }
    }
}

#[test]
fn a_segment_of_another_journal_or_of_zeros_is_set_aside() {
    let foreign = SimulatedDisk::new(7);
    commit(&foreign, &small_options(), STORED);
    for epoch in 1..=4 {
        let name = names::segment(epoch);
        let mut bytes = vec![0; small_options().segment_size as usize];
        let (_, zeros) = attack(&format!("zeros in {epoch}"), |disk| {
            disk.damage(&name, |old| old.fill(0));
        });
        foreign.damage(&name, |foreign| bytes.copy_from_slice(foreign));
        let (_, foreign) = attack(&format!("foreign {epoch}"), |disk| {
            disk.damage(&name, |old| old.copy_from_slice(&bytes));
        });
        for repaired in [zeros.unwrap(), foreign.unwrap()] {
            let lost = &repaired.set_aside[0].hole;
            assert_eq!(lost.first_sequence, [1, 5, 9, 11][epoch as usize - 1]);
            assert_eq!(repaired.set_aside[0].counted, epoch < 3);
            assert_eq!(repaired.copies.len(), 1);
        }
    }
}

#[test]
fn zeroed_blocks_are_named_unless_they_are_the_end() {
    for epoch in 1..=4 {
        for from in 0..5 {
            for to in from + 1..=5 {
                let context = format!("zeros in {epoch}, blocks {from} to {to}");
                let disk = stored();
                disk.damage(&names::segment(epoch), |bytes| {
                    bytes[from * ALIGNMENT..to * ALIGNMENT].fill(0);
                });
                // With both frames of the last segment nothing is left that would tell of them.
                let stored = if epoch == 3 && from == 1 && to > 2 {
                    9
                } else {
                    STORED
                };
                go_on(&disk, stored, &context);
            }
        }
    }
}

/// Two files with the same epoch: one of them has it by its name and by its header.
#[test]
fn a_copy_of_a_segment_in_the_place_of_another_is_set_aside() {
    let original = stored();
    for (copied, over) in [(1, 2), (2, 1), (3, 2), (3, 4), (4, 3), (2, 3)] {
        let disk = original.after_exit();
        let mut bytes = Vec::new();
        disk.damage(&names::segment(copied), |it| bytes = it.to_vec());
        disk.damage(&names::segment(over), |it| it.copy_from_slice(&bytes));
        go_on(&disk, STORED, &format!("{copied} over {over}"));
    }
}

/// Segments that have been in use before, cut or zeroed at each block: nothing of their former life
/// comes back.
#[test]
fn the_former_life_of_a_segment_stays_over() {
    let options = Options {
        retention: std::time::Duration::ZERO,
        ..small_options()
    };
    let disk = SimulatedDisk::new(1);
    commit(&disk, &options, 30);
    let storage = disk.storage();
    let report = inspect(&*storage, Depth::Full).unwrap();
    let active = report
        .segments
        .iter()
        .rposition(|it| it.records > 0)
        .unwrap();
    let (first, name) = (
        report.segments[0].first_sequence,
        &report.segments[active].path,
    );
    assert!(first > 8 && report.segments[active].epoch > 6, "{report:?}");
    for block in 0..5 {
        for cut in [false, true] {
            let disk = disk.after_exit();
            if cut {
                disk.truncate(name, block * ALIGNMENT);
            } else {
                disk.damage(name, |bytes| bytes[block * ALIGNMENT..].fill(0));
            }
            let storage = disk.storage();
            let context = format!("block {block}, cut: {cut}");
            if Journal::open(disk.storage(), options.clone()).is_err() {
                repair(&storage, &SimulatedDisk::new(2)).unwrap();
                Journal::open(disk.storage(), options.clone()).unwrap();
            }
            let found = read(&storage, &context);
            assert!(found.keys().all(|sequence| *sequence >= first), "{context}");
        }
    }
}

/// The table of endpoints is in no segment.
#[test]
fn a_lost_manifest_gives_no_number_to_another_path() {
    let disk = stored();
    disk.storage().remove(manifest::NAME).unwrap();
    disk.storage().remove(manifest::OLD).unwrap();
    let (_, repaired) = go_on(&disk, STORED, "no manifest");
    let said = repaired.unwrap().put_right.join("\n");
    assert!(said.contains("the path of endpoint 1 is lost"), "{said}");
    let journal = Journal::open(disk.storage(), small_options()).unwrap();
    let endpoints = journal.endpoints();
    assert_eq!(endpoints.number("/other").unwrap(), 3);
    assert_eq!(endpoints.number("/webhook").unwrap(), 2);

    // The one before it has all but the last change.
    let disk = stored();
    disk.damage(manifest::NAME, |bytes| bytes[30] ^= 1);
    let (_, repaired) = go_on(&disk, STORED, "damaged manifest");
    assert!(repaired.unwrap().set_aside.is_empty());
    let journal = Journal::open(disk.storage(), small_options()).unwrap();
    assert_eq!(journal.endpoints().all(), [(1, "/webhook".to_owned())]);
}

#[test]
fn nobody_repairs_a_journal_that_is_in_use() {
    let disk = stored();
    let journal = Journal::open(disk.storage(), small_options()).unwrap();
    let error = repair(&disk.storage(), &SimulatedDisk::new(2)).unwrap_err();
    assert!(error.to_string().contains("in use"), "{error}");
    drop(journal);
    repair(&disk.storage(), &SimulatedDisk::new(2)).unwrap();
}
