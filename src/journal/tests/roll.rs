//! Rolls, restarts, recycling and readers on a real disk.

use super::harness::{disk, read_all};
use super::{Harness, batch, options};
use crate::journal::Journal;
use std::sync::Arc;

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
    let journal = Journal::open(storage, options()).unwrap();
    assert_eq!(journal.recovery().next_sequence, next);
    assert_eq!(journal.recovery().torn_tail, None);
}
