//! Lives of a journal on a simulated disk, and the oracle that is asked after each.
//!
//! The oracle: what was answered or handed on is there after recovery, byte for byte, once, in order
//! and under its sequence; what is there was sent; recovering twice gives the same.
//!
//! Committer and preparer take turns in one thread, so that a seed gives the same run each time.

use super::harness::{batch_with_flags, options, read_all};
use crate::disk::block::padded;
use crate::disk::simulated::{Recorded, SimulatedDisk};
use crate::journal::batch::Batch;
use crate::journal::record::FLAG_RECEIVED;
use crate::journal::segment::HEADER_BLOCK;
use crate::journal::{DurablePosition, Journal, JournalError, Options, Recovery};
use crate::random::Random;
use crate::relay;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;
use std::time::Duration;

/// What has been promised and what has been sent, over any number of lives of the journal.
#[derive(Clone, Default)]
pub(super) struct Oracle {
    /// Sent, by sequence from 1 on.
    bodies: Vec<Arc<[u8]>>,
    /// How many of them were answered, handed on or recovered.
    pub(super) promised: usize,
    numbered: u64,
}

impl Oracle {
    pub(super) fn batch(&mut self, random: &mut Random, times: &[u64]) -> Batch {
        let bodies: Vec<Arc<[u8]>> = (0..=random.below(3))
            .map(|_| {
                self.numbered += 1;
                let times = times[random.below(times.len() as u64) as usize];
                let body = format!("{:07}", self.numbered).repeat(times as usize);
                body.into_bytes().into()
            })
            .collect();
        let flags = [0, FLAG_RECEIVED][usize::from(random.below(4) == 0)];
        let batch = batch_with_flags(&bodies, flags);
        self.bodies.extend(bodies);
        batch
    }

    /// The last life has ended: what it sent and did not promise may be there or not, up to here.
    pub(super) fn at(&self, promised: u64) -> Oracle {
        let mut oracle = self.clone();
        oracle.promised = promised as usize;
        oracle
    }

    /// Checks what a recovered journal holds, and takes it for promised from now on.
    pub(super) fn check(&mut self, disk: &SimulatedDisk, recovery: &Recovery, context: &str) {
        let found = read_all(&disk.storage(), 0);
        let (first, next) = (recovery.first_sequence, recovery.next_sequence);
        assert_eq!(found.len() as u64, next - first, "{context}");
        for (index, (sequence, body)) in found.iter().enumerate() {
            assert_eq!(*sequence, first + index as u64, "{context}");
            let expected = self
                .bodies
                .get(*sequence as usize - 1)
                .map(|body| &body[..]);
            assert!(
                expected == Some(&body[..]),
                "{context}: another record has sequence {sequence}"
            );
        }
        let recovered = next as usize - 1;
        assert!(
            recovered >= self.promised,
            "{context}: promised {}, recovered {recovered}",
            self.promised
        );
        self.promised = recovered;
        self.bodies.truncate(recovered);
    }

    /// True if this is what was sent under this sequence.
    pub(super) fn is_body(&self, sequence: u64, body: &[u8]) -> bool {
        let sent = self.bodies.get(sequence as usize - 1);
        sent.is_some_and(|sent| sent[..] == *body)
    }
}

/// What a journal is at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    Opening,
    Running,
}

/// How one life goes.
#[derive(Clone)]
pub(super) struct Life {
    pub(super) options: Options,
    /// Event loops that send.
    pub(super) loops: usize,
    /// How often the committer gets something to do.
    pub(super) turns: u64,
    /// Batches that wait for it at most.
    pub(super) batches: u64,
    /// How often a body repeats its number of seven digits.
    pub(super) times: &'static [u64],
    /// How far behind the consumers are at most.
    pub(super) lag: u64,
    /// The turns in which the disk has no space for anything new.
    pub(super) full: std::ops::Range<u64>,
}

impl Life {
    /// The life that a seed wants.
    pub(super) fn of(random: &mut Random) -> Life {
        let choose =
            |random: &mut Random, from: &[u64]| from[random.below(from.len() as u64) as usize];
        let full = random.below(12);
        Life {
            options: Options {
                segment_size: choose(random, &[20 << 10, 24 << 10, 40 << 10]),
                largest_frame: 12 << 10,
                retention: [Duration::ZERO, Duration::MAX][random.below(4) as usize / 3],
                max_size: [None, Some(60 << 10)][random.below(2) as usize],
                sync_interval: [Duration::ZERO, Duration::from_hours(1)][random.below(2) as usize],
                unsynced_max: choose(random, &[8 << 10, u64::MAX]),
                retention_hold: Arc::new(AtomicU64::new(0)),
                ..options()
            },
            loops: 1 + random.below(3) as usize,
            turns: 8,
            batches: choose(random, &[1, 3, 6]),
            times: [&[1, 20, 200, 380][..], &[1, 2, 3][..], &[300, 380][..]]
                [random.below(3) as usize],
            lag: choose(random, &[0, 5, 40]),
            full: full..full + random.below(5),
        }
    }

    /// Runs until all turns are done or something fails. Keeps the oracle up to date; gives what the
    /// disk has recorded to `look` after each step.
    pub(super) fn live(
        &self,
        disk: &SimulatedDisk,
        oracle: &mut Oracle,
        random: &mut Random,
        look: &mut dyn FnMut(Stage, Vec<Recorded>, &Oracle),
    ) -> Result<(), JournalError> {
        let promised = oracle.promised as u64;
        disk.set_recorder(Some(Arc::new(move || promised)));
        let opened = Journal::open(disk.storage(), self.options.clone());
        look(Stage::Opening, disk.take_records(), oracle);
        let journal = opened?;
        let status = journal.status();
        let before = status.durable();
        assert_eq!(before, promised);
        let positions: Vec<_> = (0..self.loops)
            .map(|_| Arc::new(DurablePosition::new(Box::new(|| {}))))
            .collect();
        let (hand_on, handed_on) = mpsc::channel();
        let hand_on = Box::new(move |batch: Batch| hand_on.send(batch).unwrap());
        let (mut committer, mut preparer) = journal.split(positions.clone(), hand_on);
        disk.set_recorder(Some(Arc::new({
            let status = Arc::clone(&status);
            move || status.durable()
        })));
        let (inbox, receiver) = relay::channel(64);
        let mut inbox = Some(inbox);
        let mut tickets = vec![0; self.loops];
        let (mut handed, mut answered) = (before, vec![0; self.loops]);
        let mut result = Ok(());
        for turn in 0..=self.turns {
            if turn == self.full.start || turn == self.full.end {
                let full = turn < self.full.end;
                disk.set_capacity(full.then(|| disk.used()));
            }
            result = (|| {
                preparer.note_rolled(preparer.rolled.try_recv().unwrap());
                preparer.attempt()?;
                if turn == self.turns {
                    inbox = None;
                    while committer.turn(&receiver)? {}
                    return Ok(());
                }
                // A journal that is full takes nothing, and there is no other thread to make room.
                let (mut room, mut ready) = (status.room(), status.prepared());
                for _ in 0..=random.below(self.batches) {
                    let mut sent = oracle.clone();
                    let mut batch = sent.batch(random, self.times);
                    let bytes = padded(batch.len()) as u64;
                    if bytes > room {
                        if ready == 0 {
                            break;
                        }
                        ready -= 1;
                        room = self.options.segment_size - HEADER_BLOCK;
                    }
                    room -= bytes;
                    *oracle = sent;
                    batch.origin = random.below(self.loops as u64) as usize;
                    tickets[batch.origin] += u64::from(batch.count());
                    batch.last_ticket = tickets[batch.origin];
                    inbox.as_ref().unwrap().try_send(batch).unwrap();
                }
                if receiver.is_empty() {
                    return Ok(());
                }
                committer.turn(&receiver).map(|_| ())
            })();
            // Read also after an error: it must not have been moved by what failed.
            let durable = status.durable();
            for batch in handed_on.try_iter() {
                assert_eq!(batch.first_sequence(), handed + 1);
                handed = batch.last_sequence();
                answered[batch.origin] += u64::from(batch.count());
                for (sequence, record) in batch.records_from(0) {
                    assert!(oracle.is_body(sequence, record.body));
                }
            }
            let reported: Vec<u64> = positions.iter().map(|it| it.records()).collect();
            assert_eq!((handed, &reported), (durable, &answered));
            oracle.promised = durable as usize;
            let floor = durable.saturating_sub(random.below(self.lag + 1));
            self.options
                .retention_hold
                .fetch_max(floor, Ordering::Relaxed);
            look(Stage::Running, disk.take_records(), oracle);
            if result.is_err() {
                break;
            }
        }
        disk.set_recorder(None);
        disk.set_capacity(None);
        result
    }
}

/// Opens twice, and checks both times.
pub(super) fn recover(disk: &SimulatedDisk, options: &Options, oracle: &mut Oracle, context: &str) {
    let open = || {
        Journal::open(disk.storage(), options.clone())
            .unwrap_or_else(|error| panic!("{context}: {error}"))
            .recovery()
            .clone()
    };
    let first = open();
    oracle.check(disk, &first, context);
    let again = open();
    assert_eq!(again.torn_tail, None, "{context}");
    let ends = |it: &Recovery| (it.first_sequence, it.next_sequence);
    assert_eq!(ends(&again), ends(&first), "{context}");
}
