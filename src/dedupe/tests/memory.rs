//! What the state takes, in memory and on the disk.

use super::journals::{Journal, messages};
use super::*;

/// A journal of keys that are all new.
fn fresh(batches: u64, each: u64) -> Journal {
    let mut journal = Journal::default();
    for batch in 0..batches {
        let ids: Vec<u64> = (batch * each..(batch + 1) * each).collect();
        journal.push(vec![(1_750_000_000_000_000 + batch, messages(&ids))]);
    }
    journal
}

#[test]
fn the_table_and_the_files_are_bounded_by_the_keys() {
    let journal = fresh(200, 50);
    let options = Options {
        window: DAY,
        keys: 2000,
        scope: Scope::Endpoint,
    };
    let disk = SimulatedDisk::new(1);
    let mut dedupe = open(&disk, &options, &journal);
    let mut most = (0, 0);
    for mut delivery in journal.deliveries(1) {
        dedupe.decide(&mut delivery).unwrap();
        dedupe.checkpoint().unwrap();
        most = (most.0.max(dedupe.keys()), most.1.max(disk.used()));
    }
    // Seven eighths at least, and all of them at most.
    assert!(most.0 <= 2000 && dedupe.keys() >= 1750, "{most:?}");
    assert_eq!(dedupe.bytes(), 2000 * 12);
    // Of a key there are itself, 16 bytes and what fills up; and the pair of names, which is 32 bytes.
    let each = 16 + "106:messages:wamid.1234".len() as u64 + 8 + 32;
    assert!(most.1 <= 2000 * each + 16384, "{most:?}");
}

#[test]
fn what_was_loaded_is_what_was_there() {
    let journal = fresh(40, 50);
    let disk = SimulatedDisk::new(2);
    let mut dedupe = open(&disk, &PLENTY, &journal);
    decide_rest(&mut dedupe, &journal);
    dedupe.checkpoint().unwrap();
    let again = open(&disk.after_power_cut(), &PLENTY, &journal);
    assert_eq!(again.keys(), 2000);
    assert_eq!(again.bytes(), dedupe.bytes());
    assert_eq!(again.parties.len(), dedupe.parties.len());
    assert_eq!(again.decided(), journal.last());
}
