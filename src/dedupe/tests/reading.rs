//! The reading end of the log of duplicates.

use super::super::duplicate_log::{self, Mark};
use super::journals::{Journal, Shape};
use super::*;
use crate::disk::{Access, Disk, write_all_at};
use crate::random::Random;
use std::io::IoSlice;
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
            duplicates.mark(&mut delivery, journal.last()).unwrap();
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
                    let mut known = 0;
                    while known < delivery.last_sequence() {
                        std::thread::yield_now();
                        known = decided.load(Ordering::Acquire);
                    }
                    duplicates.mark(&mut delivery, known).unwrap();
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

/// A sink that caught up where no event came twice listed the directory for each batch, and where few did, read the
/// end of the last file. What stands there later, against what was said, shows whether it was looked for.
#[test]
fn what_is_not_there_is_looked_for_once() {
    for repeats in [0, 2] {
        let mut journal = Journal::default();
        for id in (0..repeats).chain(0..20) {
            journal.push(vec![(1, journals::messages(&[id]))]);
        }
        let disk = SimulatedDisk::new(5);
        let storage = disk.storage();
        let right = decide_rest(&mut open(&disk, &PLENTY, &journal), &journal);
        assert_eq!(right.len() as u64, repeats);
        let mut duplicates = Duplicates::open(Arc::clone(&storage));
        let mut found = StoredCheckpoint::new();
        let mut looks_again = |decided: u64| {
            for mut delivery in journal.deliveries(1) {
                duplicates.mark(&mut delivery, decided).unwrap();
                found.extend(marked(&delivery));
                let first = delivery.first_sequence();
                if first == 2 * repeats + 1 {
                    let later = journal.deliveries(first + 5).next().unwrap();
                    let event = later.events().get(0).unwrap();
                    let mut entry = Vec::new();
                    let mark = Mark {
                        position: event.position(),
                        fingerprint: event.fingerprint(),
                    };
                    mark.encode(&mut entry);
                    let name = duplicate_log::file_name(if repeats > 0 { 3 } else { first + 5 });
                    let file = match storage.open(&name, Access::Write) {
                        Ok(file) => file,
                        Err(_) => storage.create(&name).unwrap(),
                    };
                    let end = repeats * duplicate_log::MARK_LEN as u64;
                    write_all_at(&*file, &mut [IoSlice::new(&entry)], end).unwrap();
                }
            }
            std::mem::take(&mut found) != right
        };
        assert!(!looks_again(journal.last()));
        assert!(looks_again(0));
    }
}
