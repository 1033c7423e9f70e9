//! What is reported when: nothing before it is durable, nothing after a failure, and what a full disk does.

use super::harness::{Harness, batch, batch_with_flags, options, read_all};
use crate::disk::simulated::{Fault, Faults, SimulatedDisk};
use crate::journal::batch::Batch;
use crate::journal::record::FLAG_RECEIVED;
use crate::journal::{
    Depth, DurablePosition, Journal, JournalError, Options, Reader, State, inspect,
};
use crate::relay;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

#[test]
fn what_was_answered_early_is_reported_no_earlier_than_it_is_durable() {
    let disk = SimulatedDisk::new(1);
    let options = Options {
        sync_interval: Duration::from_hours(1),
        ..options()
    };
    let journal = Journal::open(disk.storage(), options).unwrap();
    let status = journal.status();
    let position = Arc::new(DurablePosition::new(Box::new(|| {})));
    let (hand_on, handed_on) = mpsc::channel();
    let hand_on = Box::new(move |batch: Batch| hand_on.send(batch.last_sequence()).unwrap());
    let (mut committer, _preparer) = journal.split(vec![Arc::clone(&position)], hand_on);
    let (inbox, receiver) = relay::channel(4);
    let send = |flags, ticket| {
        let mut batch = batch_with_flags(&[b"body"], flags);
        batch.last_ticket = ticket;
        inbox.try_send(batch).unwrap();
    };

    send(FLAG_RECEIVED, 1);
    committer.turn(&receiver).unwrap();
    assert_eq!((position.records(), status.durable()), (0, 0));
    assert_eq!(status.next_sequence(), 2);
    assert_eq!(handed_on.try_iter().count(), 0);
    let mut reader = Reader::open(disk.storage(), 1).unwrap();
    assert!(reader.next(Some(status.durable())).unwrap().is_none());
    assert!(reader.next(None).unwrap().is_some());

    send(0, 2);
    committer.turn(&receiver).unwrap();
    assert_eq!((position.records(), status.durable()), (2, 2));
    assert_eq!(handed_on.try_iter().collect::<Vec<_>>(), [1, 2]);

    send(FLAG_RECEIVED, 3);
    drop(inbox);
    while committer.turn(&receiver).unwrap() {}
    assert_eq!((position.records(), status.durable()), (3, 3));
}

#[test]
fn the_interval_or_the_bytes_bring_the_sync_of_what_was_answered_early() {
    for (sync_interval, unsynced_max) in [(Duration::ZERO, u64::MAX), (Duration::MAX, 4096)] {
        let options = Options {
            sync_interval,
            unsynced_max,
            ..options()
        };
        let mut harness = Harness::start(SimulatedDisk::new(1).storage(), options);
        let ticket = harness.send(batch_with_flags(&[b"body"], FLAG_RECEIVED));
        assert!(harness.wait_durable(ticket));
        harness.stop().result.unwrap();
    }
}

#[test]
fn nothing_is_published_after_a_failed_write_or_sync() {
    for (operation, action) in [(1, "write"), (2, "sync")] {
        let disk = SimulatedDisk::new(1);
        let journal = Journal::open(disk.storage(), options()).unwrap();
        let status = journal.status();
        let woken = Arc::new(AtomicU64::new(0));
        let position = DurablePosition::new(Box::new({
            let woken = Arc::clone(&woken);
            move || {
                woken.fetch_add(1, Ordering::Relaxed);
            }
        }));
        let position = Arc::new(position);
        let (committer, _preparer) = journal.split(
            vec![Arc::clone(&position)],
            Box::new(|_| panic!("handed on what is not durable")),
        );
        let (inbox, receiver) = relay::channel(4);
        let mut batch = batch(&[b"body"]);
        batch.last_ticket = 1;
        inbox.try_send(batch).unwrap();
        disk.fail_once(operation, Fault::Broken);
        let error = committer.run(&receiver).unwrap_err();
        assert!(
            error
                .to_string()
                .starts_with(&format!("cannot {action} 0000")),
            "{error}"
        );
        assert_eq!(status.state(), State::Failed);
        assert_eq!((position.records(), status.durable()), (0, 0));
        assert_eq!(woken.load(Ordering::Relaxed), 1);
    }
}

/// The channel has room for four batches, and beside it the committer holds what it is writing.
#[test]
fn while_a_sync_hangs_nothing_is_reported_and_no_more_is_taken_than_was_sent() {
    let disk = SimulatedDisk::new(1);
    let journal = Journal::open(disk.storage(), options()).unwrap();
    let status = journal.status();
    let position = Arc::new(DurablePosition::new(Box::new(|| {})));
    let (hand_on, handed_on) = mpsc::channel();
    let hand_on = Box::new(move |batch: Batch| hand_on.send(batch.last_sequence()).unwrap());
    let (committer, _preparer) = journal.split(vec![Arc::clone(&position)], hand_on);
    let (inbox, receiver) = relay::channel(4);
    let mut sent = 0;
    let mut offer = || {
        let mut batch = batch(&[b"body"]);
        batch.last_ticket = sent + 1;
        let taken = inbox.try_send(batch).is_ok();
        sent += u64::from(taken);
        taken
    };
    let device = disk.hang();
    let hanging = device.lock();
    assert!(offer());
    let committer = thread::spawn(move || committer.run(&receiver));
    while status.next_sequence() < 2 {
        thread::yield_now();
    }
    // The first is written and waits for its sync; four more wait in the channel, and that is all.
    while offer() {}
    for _ in 0..1000 {
        thread::yield_now();
        assert!(!offer(), "taken while the sync hangs");
    }
    assert_eq!((position.records(), status.durable()), (0, 0));
    assert_eq!(status.next_sequence(), 2);
    assert_eq!(handed_on.try_iter().count(), 0);

    drop(hanging);
    let first = handed_on.recv_timeout(Duration::from_secs(20)).unwrap();
    assert_eq!(first, 1);
    while position.records() < 5 {
        thread::yield_now();
    }
    assert_eq!(sent, 5);
    drop(inbox);
    committer.join().unwrap().unwrap();
    assert_eq!(status.durable(), 5);
    assert_eq!(read_all(&disk.storage(), 0).len(), 5);
}

#[test]
fn a_panic_on_the_commit_thread_fails_the_journal() {
    let disk = SimulatedDisk::new(1);
    let journal = Journal::open(disk.storage(), options()).unwrap();
    let status = journal.status();
    let (committer, _preparer) = journal.split(vec![], Box::new(|_| panic!("on purpose")));
    let (inbox, receiver) = relay::channel(4);
    inbox.try_send(batch(&[b"body"])).unwrap();
    thread::spawn(move || committer.run(&receiver))
        .join()
        .unwrap_err();
    assert_eq!(status.state(), State::Failed);
}

#[test]
fn a_full_disk_is_a_state_that_passes_when_space_returns() {
    let disk = SimulatedDisk::new(1);
    let mut harness = full(&disk);
    let status = Arc::clone(&harness.status);

    // What was accepted meanwhile waits, and is stored in the end.
    let body = [b'x'; 20_000];
    let tickets: Vec<u64> = (0..6).map(|_| harness.send(batch(&[body]))).collect();
    disk.set_faults(Faults::default());
    assert!(harness.wait_durable(*tickets.last().unwrap()));
    assert_eq!(status.state(), State::Open);
    harness.stop().result.unwrap();
    assert_eq!(read_all(&disk.storage(), 0).len(), 7);
}

#[test]
fn a_full_journal_can_be_closed() {
    let disk = SimulatedDisk::new(1);
    let mut harness = full(&disk);
    let body = [b'x'; 20_000];
    let tickets: Vec<u64> = (0..6).map(|_| harness.send(batch(&[body]))).collect();
    let position = Arc::clone(&harness.position);
    let error = harness.stop().result.unwrap_err();
    let JournalError::NoSpace { batches } = error else {
        panic!("{error}");
    };
    let stored = position.records() as usize;
    assert_eq!(stored + batches, tickets.len() + 1);
    let disk = disk.after_power_cut();
    Journal::open(disk.storage(), options()).unwrap();
    assert_eq!(read_all(&disk.storage(), 0).len(), stored);
}

/// A journal with one record, on a disk that has no room for another segment.
fn full(disk: &SimulatedDisk) -> Harness {
    let options = Options {
        reserve: 60 << 10,
        ..options()
    };
    let journal = Journal::open(disk.storage(), options).unwrap();
    disk.set_faults(Faults {
        capacity: Some(80 << 10),
        ..Faults::default()
    });
    let mut harness = Harness::run(journal);
    let ticket = harness.send(batch(&[b"body"]));
    assert!(harness.wait_durable(ticket));
    while harness.status.state() != State::Full {
        thread::yield_now();
    }
    harness
}

/// Frames that were written between the look at the end and the look behind it were taken for proof that
/// something durable was missing at the end. That one is read in pieces of a mebibyte, so the first of
/// two large frames can be written behind it.
#[test]
fn a_look_at_any_moment_of_a_commit_finds_no_damage() {
    let options = Options {
        segment_size: 4 << 20,
        largest_frame: 2 << 20,
        ..options()
    };
    for reads in 0.. {
        let disk = SimulatedDisk::new(1);
        let journal = Journal::open(disk.storage(), options.clone()).unwrap();
        let (mut committer, _preparer) = journal.split(vec![], Box::new(drop));
        let (inbox, receiver) = relay::channel(1);
        let mut commit = move |body: &[u8]| {
            inbox.try_send(batch(&[body])).unwrap();
            committer.turn(&receiver).unwrap();
        };
        commit(b"body");
        disk.before_read(reads, move || {
            commit(&[b'x'; 1200 << 10]);
            commit(b"body");
        });
        let report = inspect(&*disk.storage(), Depth::Full).unwrap();
        assert!(report.is_whole(), "before read {reads}: {report:?}");
        if disk.is_to_happen() {
            assert!(reads > 5);
            break;
        }
    }
}
