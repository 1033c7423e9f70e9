//! How a cursor comes to be: a new one where its sink is to begin, and one that has another name now. The power goes at
//! every operation.

use super::super::{Cursors, TakeOver};
use super::{journal, up_to};
use crate::disk::simulated::{Fault, Faults, SimulatedDisk};
use crate::feed::RetentionHolds;
use std::sync::Arc;

fn open(disk: &SimulatedDisk) -> Cursors {
    let holds = RetentionHolds::new(Arc::default());
    Cursors::open(disk.storage(), journal(1), 1000, holds)
        .unwrap()
        .0
}

fn power_off_in(disk: &SimulatedDisk, operations: u64) {
    disk.set_faults(Faults {
        power_off_at: Some(disk.operations() + operations),
        ..Faults::default()
    });
}

/// Where it is said that a sink begins, it begins, although the journal has grown since.
#[test]
fn where_a_sink_begins_outlives_the_power() {
    let mut was_said = false;
    for power_off_at in 1..30 {
        let disk = SimulatedDisk::new(power_off_at);
        let cursors = open(&disk);
        power_off_in(&disk, power_off_at);
        was_said = cursors.begin("crm", 7).is_ok();
        let cursors = open(&disk.after_power_cut());
        let is_there = cursors.has("crm").unwrap();
        assert!(is_there || !was_said, "{power_off_at}");
        if is_there {
            assert_eq!(cursors.of("crm").unwrap().saved(), &up_to(7));
        }
    }
    assert!(was_said, "the power goes too early");
}

/// As does one that nobody may forget about: on an empty journal.
#[test]
fn a_cursor_at_the_begin_is_one() {
    let disk = SimulatedDisk::new(1);
    open(&disk).begin("crm", 0).unwrap();
    let cursors = open(&disk.after_power_cut());
    assert!(cursors.has("crm").unwrap());
    assert!(!cursors.of("crm").unwrap().is_new());
}

/// There is one cursor at any time, it says what was saved last, and the next start has it under the new name.
#[test]
fn a_cursor_is_taken_over_once_wherever_the_power_goes() {
    for with_remains in [false, true] {
        let mut was_taken = false;
        for power_off_at in 1..12 {
            let disk = SimulatedDisk::new(power_off_at);
            let cursors = open(&disk);
            let mut cursor = cursors.of("crm").unwrap();
            for sequence in [10, 20, 30] {
                cursor.save(up_to(sequence)).unwrap();
            }
            drop(cursor);
            if with_remains {
                // Of a sink that had the new name before.
                cursors.begin("erp", 5).unwrap();
                disk.storage().remove("erp.cursor").unwrap();
                disk.storage().sync().unwrap();
            }
            power_off_in(&disk, power_off_at);
            was_taken = cursors.take_over("crm", "erp").is_ok();

            let disk = disk.after_power_cut();
            let cursors = open(&disk);
            let there = ["crm", "erp"].map(|sink| cursors.has(sink).unwrap());
            assert_ne!(there[0], there[1], "{power_off_at}: {there:?}");
            assert!(there[1] || !was_taken, "{power_off_at}: {there:?}");
            let again = cursors.take_over("crm", "erp").unwrap();
            let expected = if there[1] {
                TakeOver::Nothing
            } else {
                TakeOver::Taken
            };
            assert_eq!(again, expected);
            let mut cursor = cursors.of("erp").unwrap();
            assert_eq!(cursor.saved(), &up_to(30));
            cursor.save(up_to(40)).unwrap();
            let cursors = open(&disk.after_power_cut());
            assert_eq!(cursors.of("erp").unwrap().saved(), &up_to(40));
            assert!(!cursors.has("crm").unwrap());
        }
        assert!(was_taken, "the power goes too early");
    }
}

#[test]
fn an_own_cursor_counts() {
    let disk = SimulatedDisk::new(1);
    let cursors = open(&disk);
    cursors.begin("crm", 30).unwrap();
    cursors.begin("erp", 5).unwrap();
    assert_eq!(cursors.take_over("crm", "erp").unwrap(), TakeOver::Both);
    assert_eq!(cursors.take_over("gone", "erp").unwrap(), TakeOver::Nothing);
    for (sink, expected) in [("crm", 30), ("erp", 5)] {
        assert_eq!(cursors.of(sink).unwrap().saved(), &up_to(expected));
    }
}

/// One that nobody could put right was set aside, and its sink had none: with `start = "now"` it would have passed over
/// what it had not had.
#[test]
fn one_that_is_set_aside_has_a_successor_at_once() {
    let mut was_set_aside = false;
    for at in 1..12 {
        let disk = SimulatedDisk::new(at);
        open(&disk).begin("crm", 9).unwrap();
        disk.fail_once(at, Fault::Broken);
        let holds = RetentionHolds::new(Arc::default());
        // The journal has lost its end.
        let Ok((cursors, _)) = Cursors::open(disk.storage(), journal(1), 4, holds) else {
            continue;
        };
        let names = disk.storage().list().unwrap();
        was_set_aside |= names.iter().any(|name| name == "crm.cursor.aside");
        assert!(cursors.has("crm").unwrap(), "{at}: {names:?}");
        assert_eq!(cursors.of("crm").unwrap().saved(), &up_to(4), "{at}");
    }
    assert!(was_set_aside);
}
