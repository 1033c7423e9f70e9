//! A directory that is copied with `cp -r` while it is written to: a backup up to some point.

use super::attacks::small_options;
use super::harness::batch;
use crate::disk::simulated::SimulatedDisk;
use crate::disk::{Access, StorageFile, write_all_at};
use crate::journal::{Depth, Journal, Options, Reader, inspect, repair};
use crate::random::Random;
use crate::relay;
use std::io::IoSlice;
use std::sync::atomic::Ordering;
use std::time::Duration;

fn body(number: u64) -> Vec<u8> {
    format!("{number:05}")
        .repeat(1 + number as usize % 7 * 300)
        .into_bytes()
}

type File = Box<dyn StorageFile>;

/// What `cp` is at.
struct Copy {
    /// Names as the directory was listed, in any order.
    names: Vec<String>,
    at: Option<(File, File, u64)>,
    block: usize,
    to: SimulatedDisk,
}

impl Copy {
    /// Reads one block, or opens the next file. False at the end.
    fn step(&mut self, disk: &SimulatedDisk) -> bool {
        let Some((from, to, offset)) = &mut self.at else {
            let Some(name) = self.names.pop() else {
                return false;
            };
            // What is gone meanwhile `cp` complains about, and goes on.
            if let Ok(from) = disk.storage().open(&name, Access::Read) {
                let to = self.to.storage().create(&name).unwrap();
                self.at = Some((from, to, 0));
            }
            return true;
        };
        let mut bytes = vec![0; self.block];
        let read = from.read_at(&mut bytes, *offset).unwrap();
        write_all_at(&**to, &mut [IoSlice::new(&bytes[..read])], *offset).unwrap();
        *offset += read as u64;
        if read == 0 {
            self.at = None;
        }
        true
    }
}

/// Gives whether the copy could be opened as it was.
fn copied_while_written_to(seed: u64) -> bool {
    let mut random = Random(seed);
    let disk = SimulatedDisk::new(seed);
    let options = Options {
        retention: [Duration::ZERO, Duration::MAX][random.below(2) as usize],
        largest_frame: 12 << 10,
        ..small_options()
    };
    options.retention_hold.store(0, Ordering::Relaxed);
    let journal = Journal::open(disk.storage(), options.clone()).unwrap();
    journal.endpoints().number("/webhook").unwrap();
    let status = journal.status();
    let (mut committer, mut preparer) = journal.split(vec![], Box::new(drop));
    let (inbox, receiver) = relay::channel(1);
    let mut next = 1;
    let mut write = || {
        preparer.note_rolled(preparer.rolled.try_recv().unwrap());
        preparer.attempt().unwrap();
        inbox.try_send(batch(&[body(next)])).unwrap();
        next += 1;
        committer.turn(&receiver).unwrap();
        options
            .retention_hold
            .store(next.saturating_sub(8), Ordering::Relaxed);
    };
    for _ in 0..random.below(40) {
        write();
    }
    let before = status.durable();
    let mut names = disk.storage().list().unwrap();
    for at in (1..names.len()).rev() {
        names.swap(at, random.below(at as u64 + 1) as usize);
    }
    let mut copy = Copy {
        names,
        at: None,
        block: 4096 << random.below(6),
        to: SimulatedDisk::new(seed),
    };
    let pace = 1 + random.below(8);
    while copy.step(&disk) {
        if random.below(pace) == 0 {
            write();
        }
    }
    let context = format!("seed {seed}");
    let copy = copy.to;
    let storage = copy.storage();
    let whole = inspect(&*storage, Depth::Full).is_ok_and(|report| report.is_whole());
    let as_it_was = whole && Journal::open(copy.storage(), options.clone()).is_ok();
    let mut holes = Vec::new();
    if !as_it_was {
        let repaired = repair(&storage, &SimulatedDisk::new(0))
            .unwrap_or_else(|error| panic!("{context}: {error}"));
        holes = repaired.set_aside;
    }
    let journal = Journal::open(copy.storage(), options.clone())
        .unwrap_or_else(|error| panic!("{context}: after {holes:?}: {error}"));
    let recovery = journal.recovery().clone();
    drop(journal);
    let mut expected = recovery.first_sequence;
    let mut reader = Reader::open(storage, 0).unwrap();
    while let Some(batch) = reader.next(None).unwrap() {
        for (sequence, record) in batch.records_from(0) {
            assert_eq!(record.body, body(sequence), "{context}");
            let is_lost = |at: u64| {
                let mut holes = holes.iter().map(|damage| damage.hole);
                holes.any(|it| (it.first_sequence..it.first_sequence + it.count).contains(&at))
            };
            assert!(
                (expected..sequence).all(is_lost),
                "{context}: {expected} to {sequence}"
            );
            expected = sequence + 1;
        }
    }
    // Nothing is missing at the end that was there before the copy began, unless that was said.
    let end = recovery.next_sequence;
    assert!(
        end > before || !holes.is_empty(),
        "{context}: {end}, {before}"
    );
    as_it_was
}

#[test]
fn a_copy_of_a_journal_in_use_is_whole_or_says_what_it_lacks() {
    let as_it_was = (0..600)
        .filter(|seed| copied_while_written_to(*seed))
        .count();
    assert!((1..600).contains(&as_it_was), "{as_it_was}");
}
