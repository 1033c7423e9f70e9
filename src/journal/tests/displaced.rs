//! The journal is moved, removed or replaced while it is in use. Writes and syncs into what is open go on without an
//! error, so it once went on reporting records that no start found again.

use super::harness::{Harness, batch, options};
use crate::disk::Access;
use crate::disk::simulated::SimulatedDisk;
use crate::journal::{Journal, JournalError, names};
use crate::relay;
use std::thread;

/// What the journal says in the end, though nobody sends anything any more.
fn fail_after(happens: impl FnOnce(&SimulatedDisk)) -> String {
    let disk = SimulatedDisk::new(1);
    let mut harness = Harness::start(disk.storage(), options());
    let first = harness.send(batch(&[b"before"]));
    assert!(harness.wait_durable(first));
    happens(&disk);
    assert!(!harness.wait_durable(u64::MAX));
    let error = harness.stop().result.unwrap_err();
    assert!(matches!(error, JournalError::Displaced { .. }), "{error}");
    error.to_string()
}

#[test]
fn a_directory_that_is_moved_is_missed() {
    let error = fail_after(SimulatedDisk::move_away);
    assert!(error.contains("is gone"), "{error}");
}

#[test]
fn a_segment_that_is_removed_is_missed() {
    let error = fail_after(|disk| disk.storage().remove(&names::segment(1)).unwrap());
    let name = names::segment(1);
    assert!(error.starts_with(&format!("{name} is gone")), "{error}");
}

#[test]
fn a_segment_that_is_replaced_is_missed() {
    let error = fail_after(|disk| {
        let (storage, name) = (disk.storage(), names::segment(1));
        storage.create("copy").unwrap();
        storage.rename("copy", &name).unwrap();
    });
    let name = names::segment(1);
    assert!(
        error.starts_with(&format!("{name} was replaced")),
        "{error}"
    );
}

/// One that was made ahead is looked at before anything is written to it.
#[test]
fn a_segment_that_is_removed_before_its_use_is_never_used() {
    let disk = SimulatedDisk::new(1);
    let mut harness = Harness::start(disk.storage(), options());
    assert!(harness.wait_durable(0));
    let name = names::segment(2);
    while disk.storage().identity(&name).unwrap().is_none() {
        thread::yield_now();
    }
    disk.storage().remove(&name).unwrap();
    // Three have room in the first segment.
    let body = [0; 16 << 10];
    for _ in 0..4 {
        harness.send(batch(&[body]));
    }
    assert!(!harness.wait_durable(4));
    assert_eq!(harness.status.durable(), 3);
    let error = harness.stop().result.unwrap_err();
    assert!(error.to_string().contains(&name), "{error}");
}

/// What is written behind the cut stands behind a gap.
#[test]
fn a_segment_that_is_truncated_is_missed() {
    for length in [0, 4096, (64 << 10) - 1] {
        let error = fail_after(|disk| disk.truncate(&names::segment(1), length));
        let name = names::segment(1);
        assert!(
            error.starts_with(&format!("{name} was truncated")),
            "{error}"
        );
    }
}

/// Whatever happens to the segment in use, it is not left for the next one as if it were whole: not when it is full
/// before a look is due, and not at the end.
#[test]
fn a_segment_is_looked_at_before_it_is_left() {
    let unlink = |disk: &SimulatedDisk| disk.storage().remove(&names::segment(1)).unwrap();
    let truncate = |disk: &SimulatedDisk| disk.truncate(&names::segment(1), 8192);
    for happens in [&unlink as &dyn Fn(&SimulatedDisk), &truncate] {
        for rolls in [true, false] {
            let disk = SimulatedDisk::new(1);
            let journal = Journal::open(disk.storage(), options()).unwrap();
            let (mut committer, mut preparer) = journal.split(Vec::new(), Box::new(drop));
            preparer.attempt().unwrap();
            let (inbox, receiver) = relay::channel(1);
            let mut turn = || {
                inbox.try_send(batch(&[[b'x'; 15_000]])).unwrap();
                committer.turn(&receiver)
            };
            // The first look is due at once, the next one a second later.
            turn().unwrap();
            happens(&disk);
            let error = if rolls {
                (0..4).find_map(|_| turn().err())
            } else {
                drop(inbox);
                committer.turn(&receiver).err()
            };
            let is_displaced = matches!(error, Some(JournalError::Displaced { .. }));
            assert!(is_displaced, "rolls: {rolls}, {error:?}");
        }
    }
}

/// What has become of the names is not what the segment thread is to find out by changing them.
#[test]
fn nothing_is_changed_where_the_directory_was() {
    let disk = SimulatedDisk::new(1);
    let journal = Journal::open(disk.storage(), options()).unwrap();
    let (_committer, mut preparer) = journal.split(Vec::new(), Box::new(|_| {}));
    disk.move_away();
    let operations = disk.operations();
    let error = preparer.attempt().unwrap_err();
    assert!(matches!(error, JournalError::Displaced { .. }), "{error}");
    assert_eq!(disk.operations(), operations);
    let next = disk.after_exit().storage();
    assert!(next.open(&names::segment(1), Access::Read).is_ok());
}
