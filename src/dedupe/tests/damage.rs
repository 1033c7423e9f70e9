//! Damaged, missing and foreign files: the state is as it was or begins anew, and no decision changes.

use super::journals::{Journal, Shape};
use super::*;
use crate::disk::Access;
use std::collections::BTreeMap;

const OPTIONS: Options = Options {
    window: DAY,
    keys: 32,
    scope: Scope::Endpoint,
};

/// A journal, and a disk with the state of its first half.
fn half() -> (Journal, SimulatedDisk, StoredCheckpoint) {
    let shape = Shape {
        batches: 8,
        keys: 30,
        pace: 120_000_000,
    };
    let journal = Journal::random(5, shape);
    let disk = SimulatedDisk::new(5);
    let half = journal.before(5);
    let mut dedupe = open(&disk, &OPTIONS, &half);
    decide_rest(&mut dedupe, &half);
    dedupe.checkpoint().unwrap();
    let right = journal.repeated_within(&OPTIONS);
    (journal, disk, right)
}

/// Opens a damaged state; true if it began anew.
fn open_damaged(
    disk: &SimulatedDisk,
    journal: &Journal,
    right: &StoredCheckpoint,
    context: &str,
) -> bool {
    let mut dedupe = open(disk, &OPTIONS, journal);
    let from = dedupe.decided();
    let found = decide_rest(&mut dedupe, journal);
    assert_eq!(found, right - &up_to(right, from), "{context}");
    assert_eq!(&read_back(disk, journal, u64::MAX), right, "{context}");
    from == 0
}

#[test]
fn damage_costs_time_only() {
    let (journal, disk, right) = half();
    let names: Vec<String> = disk.storage().list().unwrap();
    assert!(names.iter().filter(|it| it.starts_with("keys-")).count() > 2);
    let lengths: BTreeMap<String, usize> = names
        .iter()
        .map(|name| {
            let file = disk.storage().open(name, Access::Read).unwrap();
            (
                name.clone(),
                usize::try_from(file.length().unwrap()).unwrap(),
            )
        })
        .collect();
    let undamaged = disk.after_exit();
    assert!(!open_damaged(&undamaged, &journal, &right, "no damage"));
    let is_state = |name: &&String| *name != "checkpoint.old";
    for name in names.iter().filter(is_state) {
        let len = lengths[name];
        let is_text = name == "checkpoint";
        for at in (0..len).step_by(if is_text { 7 } else { 23 }) {
            let context = format!("{name}, byte {at}");
            let damaged = disk.after_exit();
            damaged.damage(name, |bytes| {
                bytes[at] ^= 1 << (at % 8);
                // Both slots of it say the same.
                if is_text {
                    bytes[len / 2 + at] ^= 1 << (at % 8);
                }
            });
            assert!(open_damaged(&damaged, &journal, &right, &context));
            let damaged = disk.after_exit();
            damaged.truncate(name, at);
            let is_new = open_damaged(&damaged, &journal, &right, &context);
            // The last bytes of a slot only fill its block.
            assert!(is_new || is_text, "{context}");
            if is_text && at > 400 {
                break;
            }
        }
        let damaged = disk.after_exit();
        damaged.storage().remove(name).unwrap();
        assert!(open_damaged(&damaged, &journal, &right, name));
    }
}

/// What was saved last cannot be read, and the save before is found. It is good as long as all is there that it names,
/// and of no use when some of that has gone, as it may.
#[test]
fn the_checkpoint_before_counts_as_long_as_its_files_are_there() {
    let shape = Shape {
        batches: 16,
        keys: 60,
        pace: 120_000_000,
    };
    let journal = Journal::random(5, shape);
    let right = journal.repeated_within(&OPTIONS);
    let keys = |disk: &SimulatedDisk| {
        let names = disk.storage().list().unwrap().into_iter();
        let keys: BTreeSet<_> = names.filter(|it| it.starts_with("keys-")).collect();
        keys
    };
    let (mut used, mut gone) = (0, 0);
    for batches in 2..=16 {
        let disk = SimulatedDisk::new(5);
        let mut dedupe = open(&disk, &OPTIONS, &journal);
        let (mut files, mut checkpoints) = (Vec::new(), Vec::new());
        for mut delivery in journal.before(batches).deliveries(1) {
            dedupe.decide(&mut delivery).unwrap();
            dedupe.checkpoint().unwrap();
            files.push(keys(&disk));
            checkpoints.push(dedupe.decided());
        }
        drop(dedupe);
        let [.., before, last] = checkpoints[..] else {
            continue;
        };
        // The first one makes the file with 0 and 1; from then on number and place in the list are the same.
        let newest = (checkpoints.len() % 2, checkpoints.len() - 1);
        let is_gone = !files[newest.1 - 1].is_subset(&files[newest.1]);
        for (slot, expected) in [
            (newest.0, if is_gone { 0 } else { before }),
            (1 - newest.0, last),
        ] {
            let damaged = disk.after_exit();
            damaged.damage("checkpoint", |bytes| bytes[bytes.len() / 2 * slot] ^= 1);
            let mut next = open(&damaged, &OPTIONS, &journal);
            assert_eq!(next.decided(), expected, "{batches} batches");
            let found = decide_rest(&mut next, &journal);
            assert_eq!(found, &right - &up_to(&right, expected), "{batches}");
            assert_eq!(read_back(&damaged, &journal, u64::MAX), right, "{batches}");
            next.checkpoint().unwrap();
            drop(next);
            let again = open(&damaged.after_power_cut(), &OPTIONS, &journal);
            assert_eq!(again.decided(), journal.last());
        }
        if is_gone {
            gone += 1;
        } else {
            used += 1;
        }
    }
    assert!(used > 2 && gone > 2, "{used} used, {gone} gone");
}

#[test]
fn a_state_of_another_journal_or_ahead_of_this_one_begins_anew() {
    let (journal, disk, _) = half();
    for (journal_id, last, from) in [
        (id(), journal.last(), journal.before(5).last() + 1),
        (id(), journal.before(5).last(), journal.before(5).last() + 1),
        (id(), journal.before(5).last() - 1, 1),
        (JournalId::random().unwrap(), journal.last(), 1),
    ] {
        let storage = disk.after_exit().storage();
        let opened = Dedupe::open(storage, OPTIONS, journal_id, 1, last).unwrap();
        assert_eq!(opened.1, from);
        assert_eq!(opened.0.keys() > 0, from > 1);
    }
}

/// Retention has taken what was not decided, because no sink needed it.
#[test]
fn what_is_gone_from_the_journal_is_not_asked_for() {
    let (journal, disk, _) = half();
    let first = journal.before(6).last() + 1;
    let opened = Dedupe::open(disk.storage(), OPTIONS, id(), first, journal.last()).unwrap();
    assert_eq!(opened.1, first);
    assert!(opened.0.keys() > 0);
    let empty = SimulatedDisk::new(1).storage();
    let opened = Dedupe::open(empty, OPTIONS, id(), first, journal.last()).unwrap();
    assert_eq!((opened.1, opened.0.checkpointed()), (first, first - 1));
}
