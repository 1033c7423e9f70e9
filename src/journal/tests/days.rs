//! Retention over days, by a clock that the test sets, and a disk that is filled to the last byte.

use super::attacks::{commit, small_options};
use super::harness::{batch, read_all};
use crate::disk::Storage;
use crate::disk::simulated::SimulatedDisk;
use crate::journal::{Journal, Options, State, names};
use crate::random::Random;
use crate::relay;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::atomic::Ordering;
use std::time::Duration;

const HOUR: u64 = 3_600_000_000;

/// 30 days of traffic that changes, with restarts and consumers that lag behind. A clock that is
/// `unsteady` is ahead by so many days for some hours now and then, and right between.
fn days(seed: u64, max_size: Option<u64>, unsteady: i64) -> u64 {
    let mut random = Random(seed);
    let mut disk = SimulatedDisk::new(seed);
    let retention = Duration::from_hours(3 * 24);
    let options = Options {
        retention,
        max_size,
        ..small_options()
    };
    options.retention_hold.store(0, Ordering::Relaxed);
    let (mut now, mut next, mut first, mut wrong) = (1_700_000_000_000_000, 1, 1, 0_i64);
    let mut stored_at = BTreeMap::new();
    disk.set_clock(now);
    for day in 0..30 {
        let journal = Journal::open(disk.storage(), options.clone()).unwrap();
        assert_eq!(journal.recovery().next_sequence, next);
        let status = journal.status();
        let (mut committer, mut preparer) = journal.split(vec![], Box::new(drop));
        let (inbox, receiver) = relay::channel(1);
        let rate = random.below(12);
        for _ in 0..24 {
            if unsteady != 0 && next > 1 && random.below(20) == 0 {
                wrong = if wrong == 0 {
                    unsteady * 24 * HOUR.cast_signed()
                } else {
                    0
                };
                disk.jump_clock(now.saturating_add_signed(wrong));
            }
            now += HOUR;
            disk.pass_time(HOUR);
            for _ in 0..random.below(rate + 1) {
                preparer.note_rolled(preparer.rolled.try_recv().unwrap());
                preparer.attempt().unwrap();
                inbox.try_send(batch(&[format!("{next}")])).unwrap();
                committer.turn(&receiver).unwrap();
                stored_at.insert(next, now);
                next += 1;
            }
            if random.below(30) > 0 {
                let floor = next - random.below(40).min(next);
                options.retention_hold.fetch_max(floor, Ordering::Relaxed);
            }
            preparer.note_rolled(preparer.rolled.try_recv().unwrap());
            preparer.attempt().unwrap();

            let floor = options.retention_hold.load(Ordering::Relaxed);
            let oldest = status.statistics.first_sequence.load(Ordering::Relaxed);
            assert!(oldest >= first, "day {day}");
            assert!(oldest <= floor.max(1), "day {day}: {oldest} beyond {floor}");
            let segment = options.segment_size;
            let needed = (next - floor).div_ceil(4) * segment;
            let used = disk.used();
            if let Some(max_size) = max_size {
                assert!(used <= max_size + needed + 3 * segment, "day {day}: {used}");
            }
            // However wrong the clock was. One that is wrong for hours is believed in the end.
            let believed = wrong.cast_unsigned();
            for gone in first..oldest {
                let age = now + believed + HOUR - stored_at[&gone];
                let young = u128::from(age) < retention.as_micros();
                assert!(
                    !young || max_size.is_some(),
                    "{unsteady}, day {day}: {gone} is gone"
                );
            }
            first = oldest;
            let listed = preparer.manifest.lock().current().segments.clone();
            let listed: BTreeSet<String> =
                listed.iter().map(|it| names::segment(it.epoch)).collect();
            let names = disk.list().unwrap().into_iter();
            let files: BTreeSet<String> = names.filter(|it| it.ends_with(names::SEGMENT)).collect();
            assert_eq!(files, listed, "day {day}");
            let spares = disk
                .list()
                .unwrap()
                .iter()
                .filter(|it| it.ends_with(names::SPARE))
                .count();
            assert!(spares <= 1, "day {day}");
        }
        drop((committer, preparer));
        disk = match random.below(2) {
            0 => disk.after_exit(),
            _ => disk.after_power_cut(),
        };
    }
    let found = read_all(&disk.storage(), 0);
    assert!(found.iter().map(|(sequence, _)| *sequence).eq(first..next));
    first
}

#[test]
fn retention_keeps_its_promises_over_days() {
    for seed in 0..4 {
        for max_size in [None, Some(200 << 10)] {
            assert!(days(seed, max_size, 0) > 100, "nothing was retired");
        }
    }
}

#[test]
fn a_clock_that_jumps_takes_nothing_before_its_time() {
    for seed in 0..8 {
        for unsteady in [1, 9000] {
            days(seed, None, unsteady);
        }
    }
}

/// While the clock stood days back a segment began; once it was right again, the one before that seemed to
/// have ended days ago, and went hours after it was written. And once the clock had been ahead by years, nothing went
/// for years. So: what is written by a clock that is wrong, behind or ahead, by seconds or by years, before, between
/// and after others; with a new process for each, or one for all. Once the clock is right everything goes when it is
/// old, and nothing before.
#[test]
fn a_clock_that_was_wrong_once_keeps_nothing_and_takes_nothing() {
    const DAY: u64 = 24 * HOUR;
    const RIGHT: u64 = 1_800_000_000_000_000;
    for wrong in [
        -5_000_000,
        5_000_000,
        -9000 * DAY.cast_signed(),
        9000 * DAY.cast_signed(),
    ] {
        for when in 0..3 {
            for restarts in [false, true] {
                let context = format!("{wrong} at {when}, restarts: {restarts}");
                let mut disk = SimulatedDisk::new(1);
                let options = Options {
                    retention: Duration::from_hours(24),
                    ..small_options()
                };
                let mut stored = 0;
                let mut gone_after = |disk: &SimulatedDisk, parts: Range<u64>, rest: &[u64]| {
                    let journal = Journal::open(disk.storage(), options.clone()).unwrap();
                    let status = journal.status();
                    let (mut committer, mut preparer) = journal.split(vec![], Box::new(drop));
                    let (inbox, receiver) = relay::channel(1);
                    for part in parts {
                        let off = if part == when { wrong } else { 0 };
                        let right = RIGHT + part * HOUR;
                        disk.jump_clock(right.saturating_add_signed(off));
                        for _ in 0..10 {
                            preparer.note_rolled(preparer.rolled.try_recv().unwrap());
                            preparer.attempt().unwrap();
                            stored += 1;
                            inbox.try_send(batch(&[format!("{stored}")])).unwrap();
                            committer.turn(&receiver).unwrap();
                        }
                    }
                    let first = &status.statistics.first_sequence;
                    let mut firsts = Vec::new();
                    for hours in rest {
                        disk.pass_time(hours * HOUR);
                        preparer.note_rolled(preparer.rolled.try_recv().unwrap());
                        preparer.attempt().unwrap();
                        // What is found to be settled there goes then.
                        preparer.attempt().unwrap();
                        firsts.push(first.load(Ordering::Relaxed));
                    }
                    firsts
                };
                if restarts {
                    for part in 0..3 {
                        gone_after(&disk, part..part + 1, &[]);
                        disk = disk.after_exit();
                    }
                }
                let parts = if restarts { 3..3 } else { 0..3 };
                gone_after(&disk, parts.clone(), &[]);
                disk = disk.after_exit();
                disk.jump_clock(RIGHT + 3 * HOUR);
                // Half an hour old to begin with, and none of it a day.
                let firsts = gone_after(&disk, 3..4, &[1, 19, 3, 48]);
                // If the clock was behind from the very first on, nobody knows.
                if wrong > -10_000_000 || when > 0 {
                    assert_eq!(firsts[..2], [1, 1], "{context}");
                }
                assert!(firsts[3] > 30, "{context}: {firsts:?}");
            }
        }
    }
}

/// Retention could not write the manifest, for which there was no block left: no space was ever given
/// back, and the service did not return.
#[test]
fn retention_goes_on_when_others_have_filled_the_disk() {
    let disk = SimulatedDisk::new(1);
    let options = Options {
        retention: Duration::from_hours(24),
        reserve: 8192,
        ..small_options()
    };
    commit(&disk, &options, 21);
    let disk = disk.after_exit();
    let journal = Journal::open(disk.storage(), options.clone()).unwrap();
    let status = journal.status();
    let (mut committer, mut preparer) = journal.split(vec![], Box::new(drop));
    let (inbox, receiver) = relay::channel(1);
    let mut next = 22;
    let mut fill = |next: &mut u64, preparer: &mut crate::journal::Preparer| {
        while status.room() > 0 || status.prepared() > 0 {
            inbox.try_send(batch(&[format!("{next}")])).unwrap();
            *next += 1;
            committer.turn(&receiver).unwrap();
        }
        preparer.note_rolled(preparer.rolled.try_recv().unwrap());
        preparer.attempt().unwrap();
    };
    // Whatever gets free is taken at once.
    disk.crowd_to_the_last_byte();
    fill(&mut next, &mut preparer);
    assert_eq!(status.state(), State::Full);
    for _ in 0..3 {
        let day = 25 * HOUR;
        disk.pass_time(day);
        preparer.attempt().unwrap();
        assert_eq!(status.state(), State::Open, "space was given back");
        fill(&mut next, &mut preparer);
    }
    drop((committer, preparer));
    let disk = disk.after_power_cut();
    let journal = Journal::open(disk.storage(), options).unwrap();
    assert_eq!(journal.recovery().next_sequence, next);
}
