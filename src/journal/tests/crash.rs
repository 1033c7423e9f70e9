//! The power goes, the process ends and the disk fails at every operation; see [`super::lives`] for the
//! oracle.
//!
//! Counted, and at least 10,000 points in each run of the tests. `HOOKLINE_CRASH_POINTS=1000000` goes
//! on with more seeds until there are that many, best in release: `cargo test --release --lib
//! journal::tests::crash -- --nocapture`.

use super::harness::{batch_with_flags, options, read_all};
use super::lives::{Life, Oracle, Stage, recover};
use crate::disk::block::ALIGNMENT;
use crate::disk::simulated::{Fault, Faults, Recorded, SimulatedDisk};
use crate::journal::record::FLAG_RECEIVED;
use crate::journal::segment::HEADER_BLOCK;
use crate::journal::{Journal, Options, names};
use crate::random::Random;
use crate::relay;
use std::io::{self, Write};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use std::{env, iter, thread};

/// What was tried, by kind.
#[derive(Clone, Copy, Debug, Default)]
struct Points {
    /// The power went in the middle of an operation.
    power_cut: u64,
    /// The process ended there, and what the system had of it stayed.
    exit: u64,
    /// The power went in the middle of an operation of recovery.
    cut_in_recovery: u64,
    /// `EIO`, and then an end of the process or a power cut.
    broken: u64,
    /// `EIO` in recovery.
    broken_in_recovery: u64,
    /// `ENOSPC`, once or for a while.
    no_space: u64,
    /// Runs in which every write was short.
    short_writes: u64,
}

impl Points {
    fn all(&self) -> [u64; 7] {
        let Points {
            power_cut,
            exit,
            cut_in_recovery,
            broken,
            broken_in_recovery,
            no_space,
            short_writes,
        } = *self;
        [
            power_cut,
            exit,
            cut_in_recovery,
            broken,
            broken_in_recovery,
            no_space,
            short_writes,
        ]
    }

    fn total(&self) -> u64 {
        self.all().iter().sum()
    }

    fn add(&mut self, other: &Points) {
        self.power_cut += other.power_cut;
        self.exit += other.exit;
        self.cut_in_recovery += other.cut_in_recovery;
        self.broken += other.broken;
        self.broken_in_recovery += other.broken_in_recovery;
        self.no_space += other.no_space;
        self.short_writes += other.short_writes;
    }
}

#[test]
fn no_crash_and_no_fault_loses_what_was_promised() {
    let wanted = env::var("HOOKLINE_CRASH_POINTS").map_or(POINTS_MIN, |it| it.parse().unwrap());
    let seeds = AtomicU64::new(0);
    let points = Mutex::new(Points::default());
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().unwrap().get() {
            scope.spawn(|| {
                while points.lock().unwrap().total() < wanted {
                    let seed = seeds.fetch_add(1, Ordering::Relaxed);
                    let mut tried = crashes(seed);
                    if seed.is_multiple_of(8) {
                        tried.add(&faults(seed));
                    }
                    let mut points = points.lock().unwrap();
                    points.add(&tried);
                    if seed % 100 == 99 {
                        let _ = writeln!(io::stderr(), "{} points: {points:?}", points.total());
                    }
                }
            });
        }
    });
    let points = *points.lock().unwrap();
    let _ = writeln!(io::stderr(), "{} points: {points:?}", points.total());
    assert!(points.total() >= wanted);
    assert!(points.all().iter().all(|count| *count > 0), "{points:?}");
}

/// Several lives, each with options of its own; in the middle of each operation the power goes or the
/// process ends, and what the next process finds is held against the oracle.
fn crashes(seed: u64) -> Points {
    let mut points = Points::default();
    let mut random = Random(seed);
    let mut disk = SimulatedDisk::new(seed);
    let mut oracle = Oracle::default();
    for number in 0..3 {
        let life = Life::of(&mut random);
        let context = format!("seed {seed}, life {number}");
        let mut operation = 0;
        let mut explore = |stage, recorded: Vec<Recorded>, oracle: &Oracle| {
            for Recorded { disk, promised } in recorded {
                operation += 1;
                let context = format!("{context}, operation {operation}");
                let oracle = oracle.at(promised);
                let (exit, options) = (disk.after_exit(), life.options_at(0));
                let mut believed = oracle.clone();
                recover(&exit, &options, &mut believed, &context);
                // What the next process believes must survive a power cut of its own.
                recover(&exit.after_power_cut(), &options, &mut believed, &context);
                points.exit += 1;
                for chance in 0..CHANCES {
                    let context = format!("{context}, chance {chance}");
                    let disk = disk.after_power_cut_of(seed << 32 | operation << 8 | chance);
                    let mut oracle = oracle.clone();
                    if (operation + chance).is_multiple_of(16) {
                        points.add(&again(&disk, &life, &mut oracle, &context));
                    } else {
                        recover(&disk, &life.options_at(0), &mut oracle, &context);
                    }
                    match stage {
                        Stage::Opening => points.cut_in_recovery += 1,
                        Stage::Running => points.power_cut += 1,
                    }
                }
            }
        };
        life.live(&disk, &mut oracle, &mut random, &mut explore)
            .unwrap_or_else(|error| panic!("{context}: {error}"));
        disk = if random.below(2) == 0 {
            disk.after_exit()
        } else {
            disk.after_power_cut()
        };
        recover(&disk, &life.options_at(0), &mut oracle, &context);
    }
    points
}

/// The next process is hit as well, in the middle of each operation of its recovery and once in a
/// failing one; the one after it works for a while.
fn again(disk: &SimulatedDisk, life: &Life, oracle: &mut Oracle, context: &str) -> Points {
    let mut points = Points::default();
    let probe = disk.after_exit();
    let promised = oracle.promised as u64;
    probe.set_recorder(Some(std::sync::Arc::new(move || promised)));
    drop(Journal::open(probe.storage(), life.options_at(0)).unwrap());
    for (Recorded { disk, .. }, at) in iter::zip(probe.take_records(), 1..) {
        let context = format!("{context}, and then at operation {at} of recovery");
        let cut = disk.after_power_cut_of(promised << 8 | at);
        recover(&cut, &life.options_at(0), &mut oracle.clone(), &context);
        points.cut_in_recovery += 1;
    }
    for at in 1..=probe.operations() {
        let context = format!("{context}, and then an error at operation {at} of recovery");
        let failing = disk.after_exit();
        failing.set_faults(Faults {
            error_at: Some((at, Fault::Broken)),
            ..Faults::default()
        });
        Journal::open(failing.storage(), life.options_at(0))
            .err()
            .unwrap();
        let mut oracle = oracle.clone();
        let exit = failing.after_exit();
        recover(&exit, &life.options_at(0), &mut oracle, &context);
        recover(
            &exit.after_power_cut(),
            &life.options_at(0),
            &mut oracle,
            &context,
        );
        points.broken_in_recovery += 1;
    }
    let disk = disk.after_exit();
    recover(&disk, &life.options_at(0), oracle, context);
    let life = Life {
        turns: 3,
        ..life.clone()
    };
    life.live(&disk, oracle, &mut Random(promised), &mut |_, _, _| {})
        .unwrap_or_else(|error| panic!("{context}: {error}"));
    recover(
        &disk.after_power_cut(),
        &life.options_at(0),
        oracle,
        context,
    );
    points
}

/// The same life again and again, in which the n-th operation fails, until n is beyond its end.
fn faults(seed: u64) -> Points {
    let mut points = Points::default();
    let life = Life::of(&mut Random(seed));
    for (fault, short_writes) in [
        (Fault::Broken, false),
        (Fault::Broken, true),
        (Fault::NoSpace, false),
    ] {
        for at in 1.. {
            let context = format!("seed {seed}, {fault:?} at operation {at}");
            let disk = SimulatedDisk::new(seed << 32 | at);
            let (mut oracle, mut random) = (Oracle::default(), Random(seed));
            disk.set_faults(Faults {
                error_at: Some((at, fault)),
                short_writes,
                ..Faults::default()
            });
            let life = Life {
                options: life.options_at(0),
                ..life.clone()
            };
            let mut operation = 0;
            let mut explore = |_, recorded: Vec<Recorded>, oracle: &Oracle| {
                for Recorded { disk, promised } in recorded {
                    operation += 1;
                    // What was not done for lack of space must not be relied on after.
                    if fault == Fault::NoSpace && (at..at + SOON).contains(&operation) {
                        let context = format!("{context}, power cut at operation {operation}");
                        let cut = disk.after_power_cut_of(seed << 32 | at << 8 | operation);
                        recover(
                            &cut,
                            &life.options_at(0),
                            &mut oracle.at(promised),
                            &context,
                        );
                        points.no_space += 1;
                    }
                }
            };
            let result = life.live(&disk, &mut oracle, &mut random, &mut explore);
            let hit = disk.operations() >= at;
            // What a full disk leaves half made need not be removed at once.
            let passes = fault == Fault::NoSpace || !life.full.is_empty();
            assert!(result.is_err() || !hit || passes, "{context}");
            let exit = disk.after_exit();
            let options = life.options_at(0);
            let mut believed = oracle.clone();
            recover(&exit, &options, &mut believed, &context);
            recover(&exit.after_power_cut(), &options, &mut believed, &context);
            recover(&disk.after_power_cut(), &options, &mut oracle, &context);
            points.short_writes += u64::from(short_writes);
            if !hit {
                break;
            }
            match fault {
                Fault::Broken => points.broken += 1,
                Fault::NoSpace => points.no_space += 1,
            }
        }
    }
    points
}

impl Life {
    /// The options, with consumers that need everything from `floor` on.
    fn options_at(&self, floor: u64) -> Options {
        Options {
            retention_hold: std::sync::Arc::new(AtomicU64::new(floor)),
            ..self.options.clone()
        }
    }
}

/// Segments retire at once when consumers have passed them.
fn crash_options() -> Options {
    Options {
        retention: Duration::ZERO,
        sync_interval: Duration::from_hours(1),
        ..options()
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
    disk.damage(&names::segment(1), |bytes| bytes[first].fill(0));

    // Syncs of the directory and the segment, the cut, its sync.
    disk.set_faults(Faults {
        error_at: Some((4, Fault::Broken)),
        ..Faults::default()
    });
    let error = Journal::open(disk.storage(), options.clone())
        .err()
        .unwrap();
    assert!(error.to_string().starts_with("cannot sync"), "{error}");
    let disk = disk.after_exit();
    commit(&disk, 0, &[b"first again"]);
    let disk = disk.after_power_cut();
    Journal::open(disk.storage(), options.clone()).unwrap();
    assert_eq!(read_all(&disk.storage(), 0), [(1, b"first again".to_vec())]);
}

/// Fewest points that a run of the tests tries.
const POINTS_MIN: u64 = 10_000;
/// How many operations after a lack of space the power goes.
const SOON: u64 = 16;
/// Power cuts in the middle of one operation, each with other writes kept, lost, torn and garbled.
const CHANCES: u64 = 3;
