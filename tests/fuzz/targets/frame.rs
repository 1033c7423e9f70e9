//! Frame headers, records and batches from any bytes, and sealed frames that were changed.
//!
//! The first byte of an input chooses one of three ways:
//!
//! - **raw**: the bytes as they are, for the checks that come before any checksum;
//! - **fixed**: the bytes with magic, version and both checksums put right, for the code behind those;
//! - **sealed**: a frame sealed from records that the bytes make up, then changed in some places.
//!
//! What must hold: no bytes panic; nothing that is accepted is longer than [`LENGTH_MAX`] or than the bytes; what is
//! accepted adds up, and sealing its records again gives the same bytes; of a sealed frame only its own bytes are
//! accepted, and only under its own salt.

#![no_main]

use arbitrary::Unstructured;
use hookline::testing::disk::block::padded;
use hookline::testing::journal::batch::{Batch, Seal};
use hookline::testing::journal::frame::{
    FrameError, FrameHeader, HEADER_LEN, LENGTH_MAX, NUMBER_END,
};
use hookline::testing::journal::record::{FIXED_LEN, Record, encode};
use hookline_fuzz::image::fix_frame;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let Some((way, bytes)) = input.split_first() else {
        return;
    };
    match way % 3 {
        0 => raw(bytes),
        1 => fixed(bytes.to_vec()),
        _ => {
            // Too few bytes only end the list of records and changes.
            let _ = sealed(&mut Unstructured::new(bytes));
        }
    }
});

const SALT: u32 = 0x5a17_5a17;

fn raw(bytes: &[u8]) {
    records(bytes);
    if let Some(header) = bytes.first_chunk() {
        let header = FrameHeader::decode(header, SALT);
        assert!(header.is_err() || bytes.starts_with(b"HKLF"));
    }
    assert!(Batch::from_frame(bytes.to_vec(), SALT).is_err() || bytes.starts_with(b"HKLF"));
}

/// Takes records off the front as long as there are any.
fn records(bytes: &[u8]) {
    let mut rest = bytes;
    while let Some((record, after)) = Record::decode(rest) {
        let taken = rest.len() - after.len();
        assert_eq!(
            taken,
            FIXED_LEN + record.raw_headers.len() + record.body.len()
        );
        rewritten(&record, &rest[..taken]);
        rest = after;
    }
}

/// A record whose kept headers can be read whole is written again as it was.
fn rewritten(record: &Record<'_>, bytes: &[u8]) {
    let headers = || record.headers();
    let readable: usize = headers()
        .map(|(name, value)| 4 + name.len() + value.len())
        .sum();
    assert!(readable <= record.raw_headers.len());
    if readable == record.raw_headers.len() {
        let mut out = Vec::new();
        encode(
            &mut out,
            record.endpoint,
            record.flags,
            record.received_at,
            headers(),
            record.body,
        );
        assert_eq!(out, bytes);
    }
}

fn fixed(mut bytes: Vec<u8>) {
    if bytes.len() < HEADER_LEN {
        return;
    }
    bytes[..8].copy_from_slice(b"HKLF\x01\0\0\0");
    bytes[48..56].fill(0);
    fix_frame(&mut bytes, SALT);
    let header = bytes.first_chunk().expect("long enough");
    let header = FrameHeader::decode(header, SALT);
    match (&header, Batch::from_frame(bytes.clone(), SALT)) {
        (Ok(header), Ok(batch)) => {
            accepted(header, &batch, &bytes);
        }
        (Ok(header), Err(error)) => {
            let missing = header.len() > bytes.len();
            assert!(missing || error == FrameError::Records, "{error}");
            assert!(header.length as usize <= LENGTH_MAX);
        }
        (Err(error), Err(again)) => assert_eq!(*error, again),
        (Err(error), Ok(_)) => panic!("accepted behind a header that is not: {error}"),
    }
}

/// A frame that was accepted adds up, and is sealed again as it stands.
fn accepted(header: &FrameHeader, batch: &Batch, bytes: &[u8]) {
    assert!(header.len() <= bytes.len() && header.length as usize <= LENGTH_MAX);
    assert_eq!(
        (batch.count(), batch.first_sequence()),
        (header.count, header.first_sequence)
    );
    assert_eq!(batch.last_sequence(), header.last_sequence());
    assert_eq!(batch.len(), header.len());
    assert_eq!(batch.records().count(), batch.count() as usize);
    assert!(header.durable < header.first_sequence);
    assert_eq!(header.encode(SALT)[..], bytes[..HEADER_LEN]);
    records(&bytes[HEADER_LEN..header.len()]);
    let from = header.first_sequence + u64::from(header.count / 2);
    let mut later = batch.records_from(from);
    assert_eq!(later.next().map(|(sequence, _)| sequence), Some(from));
    assert_eq!(later.count() as u64, header.last_sequence() - from);
}

fn sealed(input: &mut Unstructured<'_>) -> arbitrary::Result<()> {
    let first_sequence = input.int_in_range(1..=NUMBER_END - 64)?;
    let seal = Seal {
        epoch: input.arbitrary()?,
        salt: input.arbitrary()?,
        first_sequence,
        committed_at: input.arbitrary()?,
        durable: input.int_in_range(0..=first_sequence - 1)?,
    };
    let mut batch = Batch::unpooled();
    let count = input.int_in_range(1..=6)?;
    let mut bodies = Vec::new();
    for _ in 0..count {
        let name: &[u8] = input.arbitrary()?;
        let value: &[u8] = input.arbitrary()?;
        let body: &[u8] = input.arbitrary()?;
        let headers = [(name, value)]
            .into_iter()
            .take(usize::from(input.arbitrary::<bool>()?));
        batch.append(
            input.arbitrary()?,
            input.arbitrary()?,
            input.arbitrary()?,
            headers,
            body,
        );
        bodies.push(body);
    }
    batch.seal(&seal);
    let frame = batch.frame().to_vec();
    assert_eq!(frame.len(), padded(batch.len()));
    let read = Batch::from_frame(frame.clone(), seal.salt).expect("as it was sealed");
    assert!(
        read.records().map(|record| record.body).eq(bodies),
        "the bodies differ"
    );
    assert!(read.records().eq(batch.records()), "the records differ");

    let mut changed = frame.clone();
    for _ in 0..input.int_in_range(1..=4)? {
        let at = input.int_in_range(0..=batch.len() - 1)?;
        changed[at] = input.arbitrary()?;
    }
    let length = input.int_in_range(0..=frame.len())?;
    changed.truncate(frame.len() - length);
    let is_same = changed.get(..batch.len()) == frame.get(..batch.len());
    assert_eq!(Batch::from_frame(changed, seal.salt).is_ok(), is_same);
    let other: u32 = input.arbitrary()?;
    assert_eq!(Batch::from_frame(frame, other).is_ok(), other == seal.salt);
    Ok(())
}
