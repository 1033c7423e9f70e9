//! The power goes at every operation, and the disk fails at every operation.
//!
//! The oracle: what was answered or handed on is there after recovery, byte for byte, once, in order
//! and under its sequence; what is there was sent; recovering twice gives the same.
//!
//! Committer and preparer take turns in one thread, so that a seed gives the same run each time.

use super::harness::{batch_with_flags, options, read_all};
use crate::journal::batch::Batch;
use crate::journal::frame::ALIGNMENT;
use crate::journal::record::FLAG_RECEIVED;
use crate::journal::segment::{self, HEADER_BLOCK};
use crate::journal::simulated::{Fault, Faults, Random, SimulatedDisk};
use crate::journal::storage::Storage;
use crate::journal::{DurablePosition, Journal, JournalError, Options};
use crate::relay;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc;
use std::time::Duration;

/// What has been promised and what has been sent, over any number of lives of the journal.
#[derive(Default)]
struct Oracle {
    /// Bodies by sequence, from 1: answered, handed on, or recovered.
    promised: Vec<Vec<u8>>,
    /// Sent after these, in order.
    sent: Vec<Vec<u8>>,
    bodies: u64,
}

impl Oracle {
    fn batch(&mut self, random: &mut Random) -> Batch {
        let bodies: Vec<Vec<u8>> = (0..=random.below(3))
            .map(|_| {
                self.bodies += 1;
                let times = [1, 20, 200, 1500][random.below(4) as usize];
                format!("{:07}", self.bodies).repeat(times).into_bytes()
            })
            .collect();
        self.sent.extend(bodies.iter().cloned());
        let flags = [0, FLAG_RECEIVED][usize::from(random.below(4) == 0)];
        batch_with_flags(&bodies, flags)
    }

    fn promise(&mut self, count: usize) {
        self.promised.extend(self.sent.drain(..count));
    }

    /// Checks what a recovered journal holds, and takes it for promised from now on.
    fn check(&mut self, storage: &Arc<dyn Storage>, first: u64, next: u64, context: &str) {
        let found = read_all(storage, 0);
        assert_eq!(found.len() as u64, next - first, "{context}");
        for (index, (sequence, body)) in found.iter().enumerate() {
            assert_eq!(*sequence, first + index as u64, "{context}");
            let at = *sequence as usize - 1;
            let expected = match at.checked_sub(self.promised.len()) {
                None => self.promised.get(at),
                Some(unanswered) => self.sent.get(unanswered),
            };
            assert_eq!(Some(body), expected, "{context}: sequence {sequence}");
        }
        let recovered = next as usize - 1;
        assert!(
            recovered >= self.promised.len(),
            "{context}: promised {}, recovered {recovered}",
            self.promised.len()
        );
        self.promise(recovered - self.promised.len());
        self.sent.clear();
    }
}

/// Runs a journal until `batches` are stored or something fails. Keeps the oracle up to date.
fn live(
    disk: &SimulatedDisk,
    options: Options,
    oracle: &mut Oracle,
    random: &mut Random,
    batches: u64,
) -> Result<(), JournalError> {
    let floor = Arc::clone(&options.floor);
    let journal = Journal::open(disk.storage(), options)?;
    let status = journal.status();
    let before = status.durable();
    assert_eq!(before as usize, oracle.promised.len());
    let position = Arc::new(DurablePosition::new(Box::new(|| {})));
    let (hand_on, handed_on) = mpsc::channel();
    let hand_on = Box::new(move |batch: Batch| hand_on.send(batch.last_sequence()).unwrap());
    let (mut committer, mut preparer) = journal.split(vec![Arc::clone(&position)], hand_on);
    let (inbox, receiver) = relay::channel(64);
    let mut ticket = 0;
    let mut result = Ok(());
    for _ in 0..batches {
        result = (|| {
            preparer.note_rolled(preparer.rolled.try_recv().unwrap());
            // A lack of space is waited out; in these tests it is over at the next attempt.
            for _ in 0..5 {
                preparer.attempt()?;
                if status.prepared() > 0 {
                    break;
                }
            }
            assert!(status.prepared() > 0);
            for _ in 0..=random.below(3) {
                let mut batch = oracle.batch(random);
                ticket += u64::from(batch.count());
                batch.last_ticket = ticket;
                inbox.try_send(batch).unwrap();
            }
            committer.turn(&receiver).map(|_| ())
        })();
        // Read also after an error: it must not have been moved by what failed.
        let durable = status.durable();
        let answered = position.records();
        let handed_on = handed_on.try_iter().last().unwrap_or(0);
        assert!(durable >= before + answered && durable >= handed_on);
        oracle.promise(durable as usize - oracle.promised.len());
        let lag = random.below(30);
        floor.fetch_max(durable.saturating_sub(lag), Ordering::Relaxed);
        if result.is_err() {
            break;
        }
    }
    if result.is_ok() {
        drop(inbox);
        while result.as_ref().is_ok_and(|()| !receiver.is_empty()) {
            result = committer.turn(&receiver).map(|_| ());
        }
        result = result.and_then(|()| committer.turn(&receiver).map(|_| ()));
        oracle.promise(status.durable() as usize - oracle.promised.len());
    }
    result
}

/// Opens twice, and checks both times.
fn recover(disk: &SimulatedDisk, options: &Options, oracle: &mut Oracle, context: &str) {
    let open = || {
        Journal::open(disk.storage(), options.clone())
            .unwrap_or_else(|error| panic!("{context}: {error}"))
            .recovery()
            .clone()
    };
    let first = open();
    oracle.check(
        &disk.storage(),
        first.first_sequence,
        first.next_sequence,
        context,
    );
    let again = open();
    assert_eq!(again.torn_tail, None, "{context}");
    assert_eq!(
        (again.first_sequence, again.next_sequence),
        (first.first_sequence, first.next_sequence),
        "{context}"
    );
}

/// Segments retire at once when consumers have passed them, so that recycling is part of the test.
fn crash_options() -> Options {
    Options {
        retention: Duration::ZERO,
        sync_interval: Duration::from_hours(1),
        ..options()
    }
}

fn crash_options_at(floor: u64) -> Options {
    let options = crash_options();
    options.floor.store(floor, Ordering::Relaxed);
    options
}

const BATCHES: u64 = 24;

/// Operations of a run of this seed in which nothing fails.
fn operations(seed: u64) -> u64 {
    let disk = SimulatedDisk::new(seed);
    let (mut oracle, mut random) = (Oracle::default(), Random::new(seed));
    live(
        &disk,
        crash_options_at(0),
        &mut oracle,
        &mut random,
        BATCHES,
    )
    .unwrap();
    assert!(oracle.sent.is_empty());
    disk.operations()
}

#[test]
fn a_power_cut_at_every_operation_loses_nothing_that_was_promised() {
    for seed in 0..2 {
        for at in 1..=operations(seed) {
            let context = format!("seed {seed}, power cut at operation {at}");
            let mut disk = SimulatedDisk::new(seed << 32 | at);
            let (mut oracle, mut random) = (Oracle::default(), Random::new(seed));
            let options = crash_options_at(0);
            disk.set_faults(Faults {
                power_off_at: Some(at),
                ..Faults::default()
            });
            live(&disk, options.clone(), &mut oracle, &mut random, BATCHES).unwrap_err();
            // Again in the middle of recovery, or a little later.
            for again in [3, 9] {
                disk = disk.after_power_cut();
                disk.set_faults(Faults {
                    power_off_at: Some(again),
                    ..Faults::default()
                });
                if let Ok(journal) = Journal::open(disk.storage(), options.clone()) {
                    let recovery = journal.recovery().clone();
                    drop(journal);
                    if !disk.is_off() {
                        let (first, next) = (recovery.first_sequence, recovery.next_sequence);
                        oracle.check(&disk.storage(), first, next, &context);
                        let _ = live(&disk, options.clone(), &mut oracle, &mut random, 2);
                    }
                }
            }
            disk = disk.after_power_cut();
            recover(&disk, &options, &mut oracle, &context);
            live(&disk, options.clone(), &mut oracle, &mut random, 6).unwrap();
            recover(&disk.after_power_cut(), &options, &mut oracle, &context);
        }
    }
}

#[test]
fn a_disk_error_at_every_operation_ends_the_journal_and_loses_nothing() {
    let seed = 11;
    for at in 1..=operations(seed) {
        for power_cut in [false, true] {
            let context = format!("error at operation {at}, power cut: {power_cut}");
            let disk = SimulatedDisk::new(at);
            let (mut oracle, mut random) = (Oracle::default(), Random::new(seed));
            let options = crash_options_at(0);
            disk.set_faults(Faults {
                error_at: Some((at, Fault::Broken)),
                short_writes: at % 2 == 0,
                ..Faults::default()
            });
            let result = live(&disk, options.clone(), &mut oracle, &mut random, BATCHES);
            assert!(result.is_err() || at % 2 == 0, "{context}");
            let disk = if power_cut {
                disk.after_power_cut()
            } else {
                disk.after_exit()
            };
            recover(&disk, &options, &mut oracle, &context);
            // What the next process believes must survive a power cut of its own.
            recover(&disk.after_power_cut(), &options, &mut oracle, &context);
        }
    }
}

#[test]
fn a_disk_error_in_recovery_leaves_it_to_the_next_start() {
    let seed = 1;
    for at in (2..=operations(seed)).step_by(2) {
        for error_at in 1..5 {
            let context = format!("power cut at operation {at}, error at {error_at} after it");
            let disk = SimulatedDisk::new(at);
            let (mut oracle, mut random) = (Oracle::default(), Random::new(seed));
            let options = crash_options_at(0);
            disk.set_faults(Faults {
                power_off_at: Some(at),
                ..Faults::default()
            });
            live(&disk, options.clone(), &mut oracle, &mut random, BATCHES).unwrap_err();
            let disk = disk.after_power_cut();
            disk.set_faults(Faults {
                error_at: Some((error_at, Fault::Broken)),
                ..Faults::default()
            });
            let _ = Journal::open(disk.storage(), options.clone());
            let disk = disk.after_exit();
            recover(&disk, &options, &mut oracle, &context);
            live(&disk, options.clone(), &mut oracle, &mut random, 3).unwrap();
            recover(&disk.after_power_cut(), &options, &mut oracle, &context);
        }
    }
}

/// Of two frames that were never synced, a power cut kept the second. Its header was overwritten by
/// recovery, but the sync of that failed: the cache had zeros, the device the frame. After the next
/// start the first frame's place was written again, and behind it the old second frame would have
/// passed for the one that follows.
#[test]
fn what_a_failed_recovery_could_not_cut_does_not_come_back() {
    let options = crash_options();
    let disk = SimulatedDisk::new(1);
    let commit = |disk: &SimulatedDisk, flags, bodies: &[&[u8]]| {
        let journal = Journal::open(disk.storage(), options.clone()).unwrap();
        let (mut committer, _preparer) = journal.split(vec![], Box::new(drop));
        let (inbox, receiver) = relay::channel(4);
        for body in bodies {
            inbox.try_send(batch_with_flags(&[body], flags)).unwrap();
        }
        committer.turn(&receiver).unwrap();
    };
    commit(&disk, FLAG_RECEIVED, &[b"first", b"second"]);
    let disk = disk.after_exit();
    let first = HEADER_BLOCK as usize..HEADER_BLOCK as usize + ALIGNMENT;
    disk.damage(&segment::name(1), |octets| octets[first].fill(0));

    // Syncs of the directory and the segment, the cut, its sync.
    disk.set_faults(Faults {
        error_at: Some((4, Fault::Broken)),
        ..Faults::default()
    });
    let error = Journal::open(disk.storage(), options.clone()).unwrap_err();
    assert!(error.to_string().starts_with("cannot sync"), "{error}");
    let disk = disk.after_exit();
    commit(&disk, 0, &[b"first again"]);
    let disk = disk.after_power_cut();
    Journal::open(disk.storage(), options.clone()).unwrap();
    assert_eq!(read_all(&disk.storage(), 0), [(1, b"first again".to_vec())]);
}

#[test]
fn a_lack_of_space_at_every_operation_of_the_preparer_passes() {
    let seed = 5;
    let mut passed = 0;
    for at in 1..=operations(seed) {
        let context = format!("no space at operation {at}");
        let disk = SimulatedDisk::new(at);
        let (mut oracle, mut random) = (Oracle::default(), Random::new(seed));
        let options = crash_options_at(0);
        disk.set_faults(Faults {
            error_at: Some((at, Fault::NoSpace)),
            ..Faults::default()
        });
        let result = live(&disk, options.clone(), &mut oracle, &mut random, BATCHES);
        passed += u64::from(result.is_ok());
        let disk = disk.after_power_cut();
        recover(&disk, &options, &mut oracle, &context);
    }
    assert!(passed > 10, "only {passed} passed");
}

#[test]
fn short_writes_are_continued() {
    let disk = SimulatedDisk::new(3);
    disk.set_faults(Faults {
        short_writes: true,
        ..Faults::default()
    });
    let (mut oracle, mut random) = (Oracle::default(), Random::new(3));
    let options = crash_options_at(0);
    live(&disk, options.clone(), &mut oracle, &mut random, BATCHES).unwrap();
    recover(
        &disk.after_power_cut(),
        &options,
        &mut oracle,
        "short writes",
    );
}
