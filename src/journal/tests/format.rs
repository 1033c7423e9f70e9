//! Whatever the bytes of a journal turn into: no panic, no record that was not sent, none altered.

use super::harness::{batch, options, read_all};
use crate::disk::Storage;
use crate::disk::block::ALIGNMENT;
use crate::disk::simulated::SimulatedDisk;
use crate::journal::batch::{Batch, Seal};
use crate::journal::frame::{FrameError, FrameHeader, HEADER_LEN};
use crate::journal::record::{self, Record};
use crate::journal::segment::HEADER_BLOCK;
use crate::journal::{Journal, JournalError, Reader, names};
use crate::random::Random;
use crate::relay;
use proptest::collection::vec;
use proptest::prelude::*;
use std::iter;
use std::sync::Arc;

const SEAL: Seal = Seal {
    epoch: 3,
    salt: 0x1234_5678,
    first_sequence: 1000,
    committed_at: 1_700_000_000_000_000,
    durable: 999,
};

type Sent = (u16, u16, u64, Vec<(Vec<u8>, Vec<u8>)>, Vec<u8>);

fn sent() -> impl Strategy<Value = Sent> {
    let header = (vec(any::<u8>(), 0..20), vec(any::<u8>(), 0..40));
    (
        any::<u16>(),
        any::<u16>(),
        any::<u64>(),
        vec(header, 0..4),
        vec(any::<u8>(), 0..300),
    )
}

fn sealed(records: &[Sent]) -> Batch {
    let mut batch = Batch::unpooled();
    for (endpoint, flags, received_at, headers, body) in records {
        let headers = headers.iter().map(|(name, value)| (&name[..], &value[..]));
        batch.append(*endpoint, *flags, *received_at, headers, body);
    }
    batch.seal(&SEAL);
    batch
}

proptest! {
    #[test]
    fn a_batch_reads_back_as_it_was_sent(records in vec(sent(), 1..6)) {
        let batch = sealed(&records);
        prop_assert_eq!(batch.frame().len() % ALIGNMENT, 0);
        let read = Batch::from_frame(batch.frame().to_vec(), SEAL.salt).unwrap();
        let found: Vec<Sent> = read.records().map(|record| {
            let headers = record.headers().map(|(name, value)| (name.to_vec(), value.to_vec()));
            (record.endpoint, record.flags, record.received_at, headers.collect(), record.body.to_vec())
        }).collect();
        prop_assert_eq!(found, records);
        prop_assert_eq!(read.first_sequence(), 1000);
        let last = read.records_from(read.last_sequence()).next().unwrap();
        prop_assert_eq!(last.0, read.last_sequence());
        prop_assert_eq!(Some(last.1), read.records().last());
    }

    #[test]
    fn a_frame_that_was_changed_anywhere_is_refused(
        records in vec(sent(), 1..4), at in any::<prop::sample::Index>(), bit in 0..8,
    ) {
        let batch = sealed(&records);
        let mut frame = batch.frame().to_vec();
        frame.truncate(batch.len());
        let at = at.index(frame.len());
        frame[at] ^= 1_u8 << bit;
        prop_assert!(Batch::from_frame(frame, SEAL.salt).is_err());
    }

    #[test]
    fn any_bytes_decode_without_a_panic(bytes in vec(any::<u8>(), 0..200)) {
        if let Some((record, rest)) = Record::decode(&bytes) {
            prop_assert!(record.headers().count() <= record.raw_headers.len() / 4);
            prop_assert!(rest.len() + record::FIXED_LEN <= bytes.len());
        }
        prop_assert!(Batch::from_frame(bytes, SEAL.salt).is_err());
    }
}

#[test]
fn a_frame_that_was_cut_anywhere_is_refused() {
    let batch = sealed(&[(
        1,
        0,
        2,
        vec![(b"name".to_vec(), b"value".to_vec())],
        b"body".to_vec(),
    )]);
    for length in 0..batch.len() {
        let frame = batch.frame()[..length].to_vec();
        assert!(Batch::from_frame(frame, SEAL.salt).is_err(), "{length}");
    }
}

/// Counting went one further than the records, and panicked behind the last of all sequences.
#[test]
fn the_last_of_all_sequences_is_read() {
    let mut batch = Batch::unpooled();
    for _ in 0..2 {
        batch.append(1, 0, 2, iter::empty(), b"body");
    }
    batch.seal(&Seal {
        first_sequence: u64::MAX - 2,
        ..SEAL
    });
    let sequences: Vec<u64> = batch
        .records_from(0)
        .map(|(sequence, _)| sequence)
        .collect();
    assert_eq!(sequences, [u64::MAX - 2, u64::MAX - 1]);
}

#[test]
fn a_frame_of_another_segment_is_refused() {
    let batch = sealed(&[(1, 0, 2, vec![], b"body".to_vec())]);
    let header: &[u8; HEADER_LEN] = batch.frame().first_chunk().unwrap();
    assert!(FrameHeader::decode(header, SEAL.salt).is_ok());
    assert_eq!(
        FrameHeader::decode(header, SEAL.salt + 1),
        Err(FrameError::HeaderChecksum)
    );
}

/// A journal of three commits of two records each. Gives the length of its used part.
fn small_journal() -> (SimulatedDisk, Vec<(u64, Vec<u8>)>, usize) {
    let disk = SimulatedDisk::new(1);
    let journal = Journal::open(disk.storage(), options()).unwrap();
    let (mut committer, _preparer) = journal.split(vec![], Box::new(drop));
    let (inbox, receiver) = relay::channel(1);
    let mut records: Vec<(u64, Vec<u8>)> = Vec::new();
    for _ in 0..3 {
        let sequence = records.len() as u64 + 1;
        let bodies = [sequence, sequence + 1].map(|it| format!("body {it}").into_bytes());
        inbox.try_send(batch(&bodies)).unwrap();
        committer.turn(&receiver).unwrap();
        records.extend((sequence..).zip(bodies));
    }
    let used = HEADER_BLOCK as usize + 3 * ALIGNMENT;
    (disk, records, used)
}

fn read_what_can_be(storage: &Arc<dyn Storage>) -> Vec<(u64, Vec<u8>)> {
    let Ok(mut reader) = Reader::open(Arc::clone(storage), 0) else {
        return Vec::new();
    };
    let mut found = Vec::new();
    while let Ok(Some(batch)) = reader.next(Some(6)) {
        let records = batch.records_from(0);
        found.extend(records.map(|(sequence, record)| (sequence, record.body.to_vec())));
    }
    found
}

#[test]
fn a_flipped_bit_never_makes_or_alters_a_record() {
    let (disk, records, used) = small_journal();
    let name = names::segment(1);
    let mut random = Random(2);
    for at in (0..used).filter(|at| at % ALIGNMENT < 160) {
        let bit = 1_u8 << random.below(8);
        let disk = disk.after_exit();
        disk.damage(&name, |bytes| bytes[at] ^= bit);
        let found = read_what_can_be(&disk.storage());
        assert!(records.starts_with(&found), "byte {at}");
        match Journal::open(disk.storage(), options()) {
            Ok(journal) => {
                let next = journal.recovery().next_sequence;
                let found = read_all(&disk.storage(), 0);
                assert_eq!(found, records[..next as usize - 1], "byte {at}");
                // Only the last commit looks the same as one that a power cut has torn.
                assert!(next == 5 || next == 7, "byte {at}");
            }
            Err(JournalError::Damaged { first_sequence, .. }) => {
                assert!((1..5).contains(&first_sequence), "byte {at}");
            }
            Err(JournalError::SegmentHeader { .. }) => assert!(at < HEADER_LEN),
            Err(error) => panic!("byte {at}: {error}"),
        }
    }
}

#[test]
fn a_segment_that_was_cut_anywhere_is_reported() {
    let (disk, records, used) = small_journal();
    let name = names::segment(1);
    for length in (0..used).step_by(61) {
        let disk = disk.after_exit();
        disk.truncate(&name, length);
        let error = Journal::open(disk.storage(), options()).err().unwrap();
        assert!(
            matches!(error, JournalError::SegmentHeader { .. }),
            "{error}"
        );
        assert!(records.starts_with(&read_what_can_be(&disk.storage())));
    }
}
