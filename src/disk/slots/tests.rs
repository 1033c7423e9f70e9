#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test may fail in any way it likes"
)]

use super::super::block::{ALIGNMENT, in_memory, on_disk};
use super::super::simulated::{Fault, Faults, Recorded, SimulatedDisk};
use super::super::text::read_whole;
use super::super::{Disk, Storage};
use super::{LENGTH_MAX, Slots, fill, halves, newest, seal, slot_for};
use proptest::prelude::*;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

const NAME: &str = "state";
const TITLE: &str = "hookline-test 1";

fn slots(storage: &Arc<dyn Storage>) -> Slots {
    Slots::new(Arc::clone(storage), NAME, TITLE)
}

/// What is saved as the `number`th: now and then more than the slot before it has room for, and then less again.
fn lines(number: u64) -> String {
    let filling = [10, 10, 600, 20, 9000, 30, 10, 4000][in_memory(number % 8)];
    format!("number {number}\nfilling {}\n", "x".repeat(filling))
}

fn number(lines: &str) -> u64 {
    let number = lines
        .lines()
        .next()
        .unwrap()
        .strip_prefix("number ")
        .unwrap();
    let number = number.parse().unwrap();
    assert_eq!(lines, super::tests::lines(number), "all of it");
    number
}

/// The number of what the file says, 0 if there is none; it is never damaged.
fn said(storage: &dyn Storage) -> u64 {
    let decode = |bytes: &[u8]| newest(bytes, TITLE).map(number).ok_or(());
    let read = read_whole(storage, NAME, LENGTH_MAX, decode).unwrap();
    read.map_or(0, |found| found.expect("it is sound"))
}

/// Saves what comes behind `from` and up to `to`, as one process; `saved` says how far it has come.
fn live(disk: &SimulatedDisk, from: u64, to: u64, saved: &AtomicU64) {
    let mut slots = slots(&disk.storage());
    for number in from + 1..=to {
        if slots.save(&lines(number)).is_ok() {
            saved.store(number, Ordering::Relaxed);
        }
    }
}

/// The same, and the disk in the middle of each operation with what was saved by then.
fn recorded(disk: &SimulatedDisk, from: u64, to: u64) -> Vec<Recorded> {
    let saved = Arc::new(AtomicU64::new(from));
    let reader = Arc::clone(&saved);
    disk.set_recorder(Some(Arc::new(move || reader.load(Ordering::Relaxed))));
    live(disk, from, to, &saved);
    assert_eq!(saved.load(Ordering::Relaxed), to);
    disk.set_recorder(None);
    disk.take_records()
}

/// Ends the process and cuts the power at every operation of a life, and again at each of the one that follows: the
/// file says what was saved last or what was being saved, and can be saved again.
#[test]
fn no_cut_tears_a_save() {
    let mut points = 0;
    for (Recorded { disk, promised }, at) in recorded(&SimulatedDisk::new(1), 0, 12)
        .into_iter()
        .zip(0_u64..)
    {
        let next = [
            disk.after_exit(),
            disk.after_power_cut_of(at),
            disk.after_power_cut_of(at + 1000),
        ];
        for (disk, chance) in next.into_iter().zip(0_u64..) {
            let context = format!("operation {at}, {chance}");
            let found = said(&*disk.storage());
            assert!(
                (promised..=promised + 1).contains(&found),
                "{context}: {found}"
            );
            for Recorded {
                disk,
                promised: again,
            } in recorded(&disk.after_exit(), found, found + 3)
            {
                // What was found may have been in the cache alone.
                let least = if again > found { again } else { promised };
                for seed in [3, 4] {
                    points += 1;
                    let found = said(&*disk.after_power_cut_of(at << 8 | seed).storage());
                    assert!((least..=again + 1).contains(&found), "{context}: {found}");
                }
            }
        }
    }
    assert!(points > 1000, "{points}");
}

/// One life up to the `to`th save, whose operation `at` fails once; gives which save failed, if one did.
fn faulty(at: u64, fault: Fault, to: u64) -> (SimulatedDisk, Option<u64>) {
    let disk = SimulatedDisk::new(at);
    disk.set_faults(Faults {
        error_at: Some((at, fault)),
        short_writes: at.is_multiple_of(2),
        ..Faults::default()
    });
    let mut slots = slots(&disk.storage());
    let mut failed = None;
    for number in 1..=to {
        if let Err(error) = slots.save(&lines(number)) {
            assert_eq!(error.is_shortage(), fault == Fault::NoSpace);
            assert_eq!(failed.replace(number), None, "{error}");
        }
    }
    (disk, failed)
}

/// Each operation fails once. What was saved before holds, also when the power goes; the next save holds. The next
/// process reads from the cache what no sync has written, and must not rely on it.
#[test]
fn no_fault_tears_a_save_nor_is_a_failed_sync_believed() {
    for fault in [Fault::Broken, Fault::NoSpace] {
        let mut points = 0;
        for at in 1.. {
            let (disk, failed) = faulty(at, fault, 12);
            let Some(failed) = failed else { break };
            let found = said(&*disk.after_power_cut().storage());
            assert!(failed == 12 || found == 12, "{at}: {found}");
            let (disk, _) = faulty(at, fault, failed);
            for seed in 0..4 {
                let found = said(&*disk.after_power_cut_of(seed).storage());
                assert!((failed - 1..=failed).contains(&found), "{at}: {found}");
            }
            let next = disk.after_exit();
            let found = said(&*next.storage());
            for Recorded { disk, promised } in recorded(&next, found, found + 2) {
                let least = if promised > found {
                    promised
                } else {
                    failed - 1
                };
                for seed in 0..4 {
                    points += 1;
                    let after = said(&*disk.after_power_cut_of(seed).storage());
                    assert!((least..=promised + 1).contains(&after), "{at}: {after}");
                }
            }
        }
        assert!(points > 500, "{points}");
    }
}

/// A save failed whose text was longer than what came before and after it. The rest of it must not stay behind the
/// next.
#[test]
fn nothing_stays_of_a_save_that_failed() {
    for operation in [1, 2] {
        let disk = SimulatedDisk::new(1);
        let mut slots = slots(&disk.storage());
        for number in [4, 8, 16] {
            slots.save(&lines(number)).unwrap();
        }
        disk.fail_once(operation, Fault::Broken);
        slots.save(&lines(20)).unwrap_err();
        slots.save(&lines(24)).unwrap();
        assert_eq!(said(&*disk.storage()), 24);
        assert_eq!(said(&*disk.after_power_cut().storage()), 24);
    }
}

/// One write and one sync; the file stays the same, and so does its length, and the other slot.
#[test]
fn a_save_changes_one_slot_and_nothing_else() {
    let disk = SimulatedDisk::new(1);
    let storage = disk.storage();
    let mut slots = slots(&storage);
    slots.save("a 1\n").unwrap();
    let identity = storage.identity(NAME).unwrap();
    let bytes = || {
        let read = crate::disk::read_file(&*storage, NAME, LENGTH_MAX);
        read.unwrap().unwrap()
    };
    for round in 0..5 {
        let before = bytes();
        let operations = disk.operations();
        slots.save(&format!("a {round}\n")).unwrap();
        assert_eq!(disk.operations() - operations, 2);
        assert_eq!(storage.identity(NAME).unwrap(), identity);
        let after = bytes();
        assert_eq!((before.len(), after.len()), (2 * ALIGNMENT, 2 * ALIGNMENT));
        let same = |slot: usize| halves(&before)[slot] == halves(&after)[slot];
        assert!(!same(round % 2) && same(1 - round % 2));
    }
    // What a person sees.
    let text = String::from_utf8(bytes()).unwrap();
    assert!(text.starts_with("hookline-test 1\nsave 6\na 4\ncrc32c "));
}

/// What was said before cannot come back by damage.
#[test]
fn both_slots_of_a_new_file_say_the_same() {
    let disk = SimulatedDisk::new(1);
    let storage = disk.storage();
    let mut slots = slots(&storage);
    for next in 1..5 {
        slots.save(&lines(next)).unwrap();
    }
    slots.make(&lines(5)).unwrap();
    let length = storage
        .open(NAME, super::Access::Read)
        .unwrap()
        .length()
        .unwrap();
    for slot in [0, length / 2] {
        let disk = disk.after_exit();
        disk.damage(NAME, |bytes| bytes[in_memory(slot) + 40] ^= 1);
        assert_eq!(said(&*disk.storage()), 5);
    }
}

/// Bytes that are written into a file without a name are found by nobody.
#[test]
fn a_file_that_somebody_has_taken_away_is_made_anew() {
    let disk = SimulatedDisk::new(1);
    let storage = disk.storage();
    let mut slots = slots(&storage);
    let changes: [&dyn Fn(); 3] = [
        &|| storage.remove(NAME).unwrap(),
        &|| storage.replace(NAME, b"what is this?").unwrap(),
        &|| {
            storage.remove(NAME).unwrap();
            storage.remove(&format!("{NAME}.old")).unwrap();
        },
    ];
    for (change, next) in changes.into_iter().zip(1..) {
        slots.save(&lines(2 * next)).unwrap();
        change();
        slots.save(&lines(2 * next + 1)).unwrap();
        assert_eq!(said(&*storage), 2 * next + 1);
    }
    assert_eq!(said(&*disk.after_power_cut().storage()), 7);
}

/// What makes room may wait for the save, so it needs none itself: nor does that of the next process.
#[test]
fn a_full_disk_is_no_hindrance() {
    let disk = SimulatedDisk::new(1);
    slots(&disk.storage()).save("number 1\n").unwrap();
    disk.crowd_to_the_last_byte();
    let mut slots = slots(&disk.storage());
    for round in 0..5 {
        slots.save(&format!("round {round}\n")).unwrap();
    }
}

/// What it is written over keeps its length, and the second slot begins in the middle of that.
#[test]
fn the_file_is_written_over_longer_ones() {
    for before in [0, 1, 4095, 4096, 20_000, in_memory(LENGTH_MAX)] {
        let disk = SimulatedDisk::new(1);
        let storage = disk.storage();
        storage.replace(NAME, &vec![b'x'; before]).unwrap();
        storage.replace(NAME, &vec![b'x'; before]).unwrap();
        live(&disk, 0, 5, &AtomicU64::new(0));
        assert_eq!(said(&*disk.after_power_cut().storage()), 5);
        assert!(disk.used() <= 2 * LENGTH_MAX);
    }
    // And one that is longer than any is left aside.
    let disk = SimulatedDisk::new(1);
    let long = vec![b'x'; in_memory(LENGTH_MAX) + 1];
    let storage = disk.storage();
    storage.replace(NAME, &long).unwrap();
    storage.replace(NAME, &long).unwrap();
    live(&disk, 0, 5, &AtomicU64::new(0));
    let names = storage.list().unwrap();
    assert!(names.contains(&format!("{NAME}.old.aside")), "{names:?}");
    assert_eq!(said(&*disk.after_power_cut().storage()), 5);
}

#[test]
fn what_nobody_could_read_again_is_refused() {
    let disk = SimulatedDisk::new(1);
    let mut slots = slots(&disk.storage());
    slots.save(&lines(1)).unwrap();
    let error = slots.save(&"x".repeat(super::SLOT_MAX)).unwrap_err();
    assert!(error.to_string().contains("1048576 is the most"), "{error}");
    assert_eq!(said(&*disk.storage()), 1);
    slots.save(&lines(2)).unwrap();
    assert_eq!(said(&*disk.storage()), 2);
}

/// As a verb does beside a running server.
#[test]
fn who_reads_meanwhile_never_gets_half_of_a_save() {
    let dir = tempfile::tempdir().unwrap();
    let storage: Arc<dyn Storage> = Arc::new(Disk::open(dir.path()).unwrap());
    let mut slots = slots(&storage);
    slots.save(&lines(1)).unwrap();
    let ended = Arc::new(AtomicBool::new(false));
    let reader = {
        let (storage, ended) = (Arc::clone(&storage), Arc::clone(&ended));
        thread::spawn(move || {
            let mut last = 0;
            while !ended.load(Ordering::Relaxed) {
                let found = said(&*storage);
                // A torn last one gives the one before it.
                assert!(found + 1 >= last, "{found} after {last}");
                last = found;
            }
        })
    };
    for next in 2..500 {
        slots.save(&lines(next)).unwrap();
    }
    ended.store(true, Ordering::Relaxed);
    reader.join().unwrap();
    assert_eq!(said(&*storage), 499);
}

fn file(slots: [&str; 2]) -> Vec<u8> {
    let longest = slots.iter().map(|it| it.len()).max().unwrap();
    slots.map(|it| fill(it, slot_for(longest))).concat()
}

proptest! {
    #[test]
    fn the_newest_sound_slot_is_what_the_file_says(
        one in proptest::collection::vec("[a-z0-9 ]{1,40}", 1..300),
        other in proptest::collection::vec("[a-z0-9 ]{1,40}", 1..300),
        last in 1_u64..u64::MAX,
        at in any::<prop::sample::Index>(),
        odd in 1_u8..=255,
    ) {
        let lines = [one, other].map(|lines| lines.join("\n") + "\n");
        let texts = [
            seal(TITLE, last - 1, &lines[0]),
            seal(TITLE, last, &lines[1]),
        ];
        for order in [[0, 1], [1, 0]] {
            let whole = file(order.map(|it| texts[it].as_str()));
            prop_assert_eq!(newest(&whole, TITLE), Some(&*lines[1]));
            prop_assert_eq!(newest(&whole, "hookline-test 2"), None);
            let half = whole.len() / 2;
            let mut damaged = whole.clone();
            let hit = at.index(whole.len());
            damaged[hit] ^= odd;
            let other_one = 1 - order[hit / half];
            // The newer one, if it is not the one that was hit.
            let expected = if other_one == 1 { &lines[1] } else { &lines[0] };
            prop_assert_eq!(newest(&damaged, TITLE), Some(&**expected));
            damaged[(hit + half) % whole.len()] ^= odd;
            prop_assert_eq!(newest(&damaged, TITLE), None);
            // Two slots or none: a file that was cut short is not read, unless only its second half is away.
            let cut = &whole[..at.index(whole.len())];
            let found = newest(cut, TITLE);
            prop_assert!(found.is_none() || found == Some(&*lines[order[0]]));
        }
    }

    /// A write that was torn at any sectors leaves what was there, what was to be there, or neither; never a third.
    #[test]
    fn a_mixture_of_two_saves_is_neither(
        before in "[a-z]{1,9000}",
        now in "[a-z]{1,9000}",
        written in any::<u64>(),
    ) {
        let texts = [before, now].map(|text| text + "\n");
        let slot = slot_for(texts.iter().map(String::len).max().unwrap() + 100);
        let sealed = [(4, 0), (6, 1)].map(|(number, it): (u64, usize)| {
            fill(&seal(TITLE, number, &texts[it]), slot)
        });
        let mut torn = sealed[0].clone();
        for sector in 0..slot / 512 {
            if written >> (sector % 64) & 1 == 1 {
                let range = sector * 512..(sector + 1) * 512;
                torn[range.clone()].copy_from_slice(&sealed[1][range]);
            }
        }
        let other = fill(&seal(TITLE, 5, "the other\n"), slot);
        let bytes = [torn, other].concat();
        let found = newest(&bytes, TITLE);
        prop_assert!(found == Some("the other\n") || found == Some(&*texts[1]));
        prop_assert_eq!(on_disk(bytes.len()), on_disk(slot) * 2);
    }
}
