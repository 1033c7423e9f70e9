//! The reading end of the log of duplicates.

use super::journals::{Journal, Shape};
use super::*;
use crate::disk::Disk;
use crate::random::Random;
use std::sync::atomic::{AtomicU64, Ordering};

fn journal(seed: u64) -> Journal {
    let shape = Shape {
        batches: 120,
        keys: 100,
        pace: 1_000_000,
    };
    Journal::random(seed, shape)
}

#[test]
fn it_reads_from_anywhere_and_in_any_order() {
    let journal = journal(1);
    let disk = SimulatedDisk::new(1);
    let right = decide_rest(&mut open(&disk, &PLENTY, &journal), &journal);
    let files = disk.storage().list().unwrap();
    let files = files.iter().filter(|it| it.starts_with("duplicates-"));
    assert!(files.count() > 5);
    let mut duplicates = Duplicates::open(disk.storage());
    let mut random = Random(1);
    for _ in 0..100 {
        let from = random.below(journal.last()) + 1;
        for mut delivery in journal.deliveries(from).take(3) {
            duplicates.mark(&mut delivery).unwrap();
            let (first, last) = (delivery.first_sequence(), delivery.last_sequence());
            let is_here = |it: &Position| (first..=last).contains(&it.sequence);
            let right: StoredCheckpoint = right.iter().copied().filter(is_here).collect();
            assert_eq!(marked(&delivery).collect::<StoredCheckpoint>(), right);
        }
    }
}

#[test]
fn files_that_nobody_needs_go_with_the_next_checkpoint() {
    let journal = journal(2);
    let disk = SimulatedDisk::new(2);
    let mut dedupe = open(&disk, &PLENTY, &journal);
    let right = decide_rest(&mut dedupe, &journal);
    dedupe.checkpoint().unwrap();
    let count = || {
        let names = disk.storage().list().unwrap();
        names
            .iter()
            .filter(|it| it.starts_with("duplicates-"))
            .count()
    };
    let before = count();
    let first = journal.before(60).last() + 1;
    dedupe.retire(first);
    assert_eq!(count(), before);
    dedupe.checkpoint().unwrap();
    assert!(count() < before && count() > 1);
    drop(dedupe);
    // What is from there on is all still known, and the state is whole.
    let disk = disk.after_power_cut();
    let dedupe = open(&disk, &PLENTY, &journal);
    assert_eq!(dedupe.decided(), journal.last());
    let back = read_back(&disk, &journal, u64::MAX);
    let from = |found: &StoredCheckpoint| -> StoredCheckpoint {
        let rest = found.iter().filter(|it| it.sequence >= first);
        rest.copied().collect()
    };
    assert_eq!(from(&back), from(&right));
    assert!(back.is_subset(&right));
}

/// A version that takes bodies apart in another way finds another event at the position.
#[test]
fn another_event_at_the_position_is_not_marked() {
    let disk = SimulatedDisk::new(3);
    let mut one = Journal::default();
    let mut other = Journal::default();
    for (ids, other_ids) in [([1, 2], [1, 2]), ([1, 2], [3, 2])] {
        one.push(vec![(1, journals::messages(&ids))]);
        other.push(vec![(1, journals::messages(&other_ids))]);
    }
    decide_rest(&mut open(&disk, &PLENTY, &one), &one);
    let found = read_back(&disk, &other, u64::MAX);
    let found: Vec<String> = found.iter().map(ToString::to_string).collect();
    assert_eq!(found, ["2.1"]);
}

/// On a real disk, several readers follow the one that writes.
#[test]
fn readers_follow_the_writer() {
    let journal = journal(4);
    let right = journal.repeated();
    let dir = tempfile::tempdir().unwrap();
    let storage: Arc<dyn Storage> = Arc::new(Disk::create(dir.path()).unwrap());
    let last = journal.last();
    let mut dedupe = open_at(Arc::clone(&storage), &PLENTY, Tags::new(), 1, last).unwrap();
    let decided = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                let mut duplicates = Duplicates::open(Arc::clone(&storage));
                let mut found = StoredCheckpoint::new();
                for mut delivery in journal.deliveries(1) {
                    while decided.load(Ordering::Acquire) < delivery.last_sequence() {
                        std::thread::yield_now();
                    }
                    duplicates.mark(&mut delivery).unwrap();
                    found.extend(marked(&delivery));
                }
                assert_eq!(found, right);
            });
        }
        for mut delivery in journal.deliveries(1) {
            dedupe.decide(&mut delivery).unwrap();
            decided.store(dedupe.decided(), Ordering::Release);
        }
    });
}
