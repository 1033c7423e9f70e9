//! The process ends, the power goes and the disk is full at every operation; the decisions stay what they are.
//!
//! `HOOKLINE_DEDUPE_JOURNALS=100` tries so many journals instead of a few, best in release.

use super::super::{checkpoint, duplicate_log, keys};
use super::journals::{Journal, Shape, messages};
use super::*;
use crate::disk::Access;
use crate::disk::simulated::{Fault, Faults, Recorded};
use crate::random::Random;
use std::env;
use std::sync::atomic::{AtomicU64, Ordering};

/// Small enough that generations go and files are full.
const OPTIONS: Options = Options {
    window: DAY,
    keys: 64,
    scope: Scope::Endpoint,
};

fn journal(seed: u64) -> Journal {
    let shape = Shape {
        batches: 16,
        keys: 60,
        pace: 120_000_000,
    };
    Journal::random(seed, shape)
}

fn journals(few: u64) -> std::ops::Range<u64> {
    let wanted = env::var("HOOKLINE_DEDUPE_JOURNALS");
    0..wanted.map_or(few, |it| it.parse().unwrap())
}

/// One life: from the checkpoint up to `until`, with checkpoints now and then.
fn live(disk: &SimulatedDisk, journal: &Journal, random: &mut Random, until: u64) -> Dedupe {
    let mut dedupe = open(disk, &OPTIONS, journal);
    for mut delivery in journal.deliveries(dedupe.decided() + 1) {
        if delivery.last_sequence() > until {
            break;
        }
        dedupe.decide(&mut delivery).unwrap();
        dedupe.sync_many().unwrap();
        if random.below(4) == 0 {
            dedupe.checkpoint().unwrap();
        }
    }
    dedupe
}

/// The next process decides what is not in the checkpoint, and finds the same; so does who reads it back.
fn next_process(
    disk: &SimulatedDisk,
    journal: &Journal,
    right: &StoredCheckpoint,
    context: &str,
) -> u64 {
    let mut dedupe = open(disk, &OPTIONS, journal);
    let from = dedupe.decided();
    assert_eq!(
        read_back(disk, journal, from),
        up_to(right, from),
        "{context}"
    );
    let found = decide_rest(&mut dedupe, journal);
    assert_eq!(found, right - &up_to(right, from), "{context}");
    assert_eq!(&read_back(disk, journal, u64::MAX), right, "{context}");
    from
}

#[test]
fn a_restart_anywhere_changes_no_decision() {
    for seed in journals(2) {
        let journal = journal(seed);
        let right = journal.repeated_within(&OPTIONS);
        let mut random = Random(seed);
        let mut resumed = BTreeSet::new();
        for batches in 0..=16 {
            let until = journal.before(batches).last();
            let disk = SimulatedDisk::new(seed);
            let half = random.below(until + 1);
            drop(live(&disk, &journal, &mut random, half));
            drop(live(&disk, &journal, &mut random, until));
            let context = format!("seed {seed}, until {until}");
            resumed.insert(next_process(&disk, &journal, &right, &context));
        }
        assert!(resumed.len() > 3, "checkpoints were used");
    }
}

#[test]
fn no_crash_changes_a_decision() {
    let mut points = 0;
    for seed in journals(1) {
        let journal = journal(seed);
        let right = journal.repeated_within(&OPTIONS);
        let mut random = Random(seed);
        let disk = SimulatedDisk::new(seed);
        disk.set_recorder(Some(Arc::new(|| 0)));
        drop(live(&disk, &journal, &mut random, journal.last() / 2));
        drop(live(&disk, &journal, &mut random, journal.last()));
        for (Recorded { disk, .. }, operation) in disk.take_records().into_iter().zip(0..) {
            let context = format!("seed {seed}, operation {operation}");
            next_process(&disk.after_exit(), &journal, &right, &context);
            for chance in 0..2 {
                let cut = disk.after_power_cut_of(seed << 32 | operation << 8 | chance);
                next_process(&cut.after_exit(), &journal, &right, &context);
                points += 1;
                if operation % 4 != chance {
                    continue;
                }
                // And once more, in the middle of what the next process does.
                let again = cut.after_exit();
                again.set_recorder(Some(Arc::new(|| 0)));
                drop(live(&again, &journal, &mut random, journal.last()));
                let mut records = again.take_records();
                let at = random.below(records.len().max(1) as u64);
                if !records.is_empty() {
                    let Recorded { disk, .. } = records.swap_remove(usize::try_from(at).unwrap());
                    next_process(&disk.after_power_cut(), &journal, &right, &context);
                }
            }
        }
    }
    assert!(points > 100, "{points}");
}

/// Of two processes, the first ends anywhere and the second anywhere while it takes up what it finds, by a power cut:
/// there is the checkpoint that was promised by then, or a later one, and every file that it names. The second one has
/// read from the cache what was not durable, and has removed files that do not stand in it.
#[test]
fn what_a_checkpoint_has_promised_is_never_lost() {
    let mut points = 0;
    for seed in journals(1) {
        let journal = journal(seed);
        let disk = SimulatedDisk::new(seed);
        let promised = Arc::new(AtomicU64::new(0));
        let reader = Arc::clone(&promised);
        disk.set_recorder(Some(Arc::new(move || reader.load(Ordering::Relaxed))));
        let mut dedupe = open(&disk, &OPTIONS, &journal);
        for mut delivery in journal.deliveries(1) {
            dedupe.decide(&mut delivery).unwrap();
            dedupe.checkpoint().unwrap();
            promised.store(dedupe.checkpointed(), Ordering::Relaxed);
        }
        for (Recorded { disk, promised }, at) in disk.take_records().into_iter().zip(0_u64..) {
            let second = disk.after_exit();
            second.set_recorder(Some(Arc::new(|| 0)));
            drop(open(&second, &OPTIONS, &journal));
            second.set_recorder(None);
            for Recorded { disk, .. } in second.take_records() {
                let storage = disk.after_power_cut_of(at).storage();
                let found = checkpoint::read(&*storage).unwrap();
                let checkpoint::StoredCheckpoint::Saved(found) = found else {
                    assert_eq!(promised, 0, "operation {at}: {found:?}");
                    continue;
                };
                assert!(found.decided >= promised, "operation {at}: {found:?}");
                let keys = found.generations.iter();
                let duplicates = found.duplicates.iter();
                let names = keys
                    .map(|it| (keys::file_name(it.number), it.bytes))
                    .chain(duplicates.map(|it| (duplicate_log::file_name(it.first), it.bytes)));
                for (name, bytes) in names {
                    let file = storage.open(&name, Access::Read);
                    let length = file.and_then(|file| file.length()).unwrap_or(0);
                    assert!(length >= bytes, "operation {at}: {name} of {found:?}");
                }
                points += 1;
            }
        }
    }
    assert!(points > 200, "{points}");
}

/// The disk was full of what had not been delivered, the keys had no room, and nothing was delivered any more.
#[test]
fn what_passes_on_a_full_disk_is_no_duplicate_of_itself() {
    let journal = journal(7);
    // With fewer keys in it, the memory reaches further back.
    let ever = Options {
        window: u64::MAX,
        keys: u64::MAX,
        scope: Scope::Endpoint,
    };
    let right = journal.repeated_within(&ever);
    let mut passed = 0;
    for at in 1..60 {
        let disk = SimulatedDisk::new(at);
        let mut dedupe = open(&disk, &OPTIONS, &journal);
        disk.fail_once(at, Fault::NoSpace);
        let mut found = StoredCheckpoint::new();
        for mut delivery in journal.deliveries(1) {
            if let Err(error) = dedupe.decide(&mut delivery) {
                assert!(error.is_shortage());
                dedupe.pass(&mut delivery);
                passed += 1;
            }
            assert_eq!(dedupe.decided(), delivery.last_sequence());
            found.extend(marked(&delivery));
        }
        assert!(
            found.iter().all(|mark| right.contains(mark)),
            "operation {at}"
        );
        if dedupe.checkpoint().is_ok() {
            assert_eq!(dedupe.checkpointed(), dedupe.decided());
        }
    }
    assert!(passed > 20, "{passed}");
}

/// Each operation fails once for want of space, and writes are short: the call is made again, and all is well. So it
/// is where the process ends instead.
#[test]
fn a_full_disk_loses_nothing() {
    let journal = journal(7);
    let right = journal.repeated_within(&OPTIONS);
    let mut refused = 0;
    for at in 1.. {
        let disk = SimulatedDisk::new(at);
        let mut dedupe = open(&disk, &OPTIONS, &journal);
        let before = disk.operations();
        disk.set_faults(Faults {
            error_at: Some((before + at, Fault::NoSpace)),
            short_writes: at % 2 == 0,
            ..Faults::default()
        });
        let mut found = StoredCheckpoint::new();
        for (mut delivery, number) in journal.deliveries(1).zip(0..) {
            if let Err(error) = dedupe.decide(&mut delivery) {
                assert!(error.is_shortage());
                refused += 1;
                assert_eq!(marked(&delivery).count(), 0);
                // What is half decided is in no checkpoint.
                dedupe.checkpoint().unwrap();
                assert!(dedupe.decided() < delivery.first_sequence());
                assert!(dedupe.checkpointed() < delivery.first_sequence());
                if at % 3 == 0 {
                    let context = format!("operation {at}");
                    next_process(&disk.after_exit(), &journal, &right, &context);
                    found.clone_from(&right);
                    break;
                }
                dedupe.decide(&mut delivery).unwrap();
            }
            found.extend(marked(&delivery));
            if number % 5 == 4 && dedupe.checkpoint().is_err() {
                assert_eq!(dedupe.decided(), delivery.last_sequence());
            }
        }
        assert_eq!(found, right, "operation {at}");
        if disk.operations() < before + at {
            break;
        }
    }
    assert!(refused > 20, "{refused}");
}

/// A checkpoint that finds new files of both logs makes their names durable once; one that finds none does not.
#[test]
fn the_names_of_new_files_are_made_durable_once() {
    let twice = |first, count| messages(&(first..first + count).collect::<Vec<_>>().repeat(2));
    let mut journal = Journal::default();
    // What fills a file of each log, that once more, and less.
    for (number, count) in [(1, 20), (2, 20), (3, 1), (4, 1)] {
        journal.push(vec![(number, twice(number * 100, count))]);
    }
    let disk = SimulatedDisk::new(1);
    let options = Options {
        keys: 160,
        ..PLENTY
    };
    let mut dedupe = open(&disk, &options, &journal);
    let mut operations = Vec::new();
    for mut delivery in journal.deliveries(1) {
        dedupe.decide(&mut delivery).unwrap();
        let before = disk.operations();
        dedupe.checkpoint().unwrap();
        operations.push(disk.operations() - before);
    }
    // A sync of each file, one of the directory, and the save, which is a write and a sync.
    assert_eq!(operations[1..], [5, 5, 4]);
}

/// After a sync that failed, the next one would succeed without having written anything.
#[test]
fn a_sync_that_failed_is_not_tried_again() {
    let journal = journal(3).before(4);
    let disk = SimulatedDisk::new(3);
    let mut dedupe = open(&disk, &OPTIONS, &journal);
    decide_rest(&mut dedupe, &journal);
    disk.fail_once(1, Fault::Broken);
    assert!(matches!(dedupe.checkpoint(), Err(DedupeError::Io(_))));
    assert!(matches!(dedupe.checkpoint(), Err(DedupeError::Failed)));
    assert_eq!(dedupe.checkpointed(), 0);
}

/// A checkpoint is left only what was written since.
#[test]
fn many_keys_are_synced_before_the_checkpoint() {
    let journal = journal(3);
    let disk = SimulatedDisk::new(3);
    let mut dedupe = open(&disk, &PLENTY, &journal);
    let mut syncs = 0;
    for mut delivery in journal.deliveries(1) {
        dedupe.decide(&mut delivery).unwrap();
        let before = disk.operations();
        dedupe.sync_many().unwrap();
        syncs += disk.operations() - before;
    }
    assert!(syncs > 1, "{syncs}");
}

#[test]
fn a_sync_of_many_keys_that_failed_is_not_tried_again() {
    let journal = journal(3);
    let disk = SimulatedDisk::new(3);
    let mut dedupe = open(&disk, &PLENTY, &journal);
    decide_rest(&mut dedupe, &journal);
    disk.fail_once(1, Fault::Broken);
    assert!(matches!(dedupe.sync_many(), Err(DedupeError::Io(_))));
    dedupe.sync_many().unwrap();
    assert!(matches!(dedupe.checkpoint(), Err(DedupeError::Failed)));
}

/// An older copy of the journal comes back, and another end grows on it. What stood behind the checkpoint is of the
/// end that is gone; if a reader took it for what was decided, it would mark what is no duplicate.
#[test]
fn what_was_judged_of_an_end_that_is_gone_is_gone() {
    let of = |bodies: [&[u64]; 3]| {
        let mut journal = Journal::default();
        for ids in bodies {
            journal.push(vec![(1, messages(ids))]);
        }
        journal
    };
    let one = of([&[1, 1], &[2], &[2]]);
    let other = of([&[1, 1], &[3], &[2]]);
    let disk = SimulatedDisk::new(1);
    let mut dedupe = open(&disk, &PLENTY, &one);
    for mut delivery in one.deliveries(1) {
        dedupe.decide(&mut delivery).unwrap();
        if delivery.first_sequence() == 1 {
            dedupe.checkpoint().unwrap();
        }
    }
    drop(dedupe);
    assert_eq!(read_back(&disk, &one, u64::MAX).len(), 2);
    let mut dedupe = open(&disk, &PLENTY, &one.before(1));
    assert_eq!(dedupe.decided(), 1);
    decide_rest(&mut dedupe, &other);
    let found = read_back(&disk, &other, u64::MAX);
    assert_eq!(found, other.repeated());
    assert_eq!(found.len(), 1);
}
