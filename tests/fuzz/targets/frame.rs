//! Frame headers, records and batches from any octets, and sealed frames that were changed.
//!
//! The first octet of an input chooses one of three ways:
//!
//! - **raw**: the octets as they are, for the checks that come before any checksum;
//! - **fixed**: the octets with magic, version and both checksums put right, for the code behind those;
//! - **sealed**: a frame sealed from records that the octets make up, then changed in some places.
//!
//! What must hold: no octets panic; nothing that is accepted is longer than [`LENGTH_MAX`] or than the octets; what is
//! accepted adds up, and sealing its records again gives the same octets; of a sealed frame only its own octets are
//! accepted, and only under its own salt.

#![no_main]

use arbitrary::Unstructured;
use hookline::journal::batch::{Batch, Place};
use hookline::journal::frame::{FrameError, FrameHeader, HEADER_LEN, LENGTH_MAX, NUMBER_END};
use hookline::disk::block::padded;
use hookline::journal::record::{FIXED_LEN, Record, encode};
use hookline_fuzz::image::fix_frame;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let Some((way, octets)) = input.split_first() else {
        return;
    };
    match way % 3 {
        0 => raw(octets),
        1 => fixed(octets.to_vec()),
        _ => {
            // Too few octets only end the list of records and changes.
            let _ = sealed(&mut Unstructured::new(octets));
        }
    }
});

const SALT: u32 = 0x5a17_5a17;

fn raw(octets: &[u8]) {
    records(octets);
    if let Some(header) = octets.first_chunk() {
        let header = FrameHeader::decode(header, SALT);
        assert!(header.is_err() || octets.starts_with(b"HKLF"));
    }
    assert!(Batch::from_frame(octets.to_vec(), SALT).is_err() || octets.starts_with(b"HKLF"));
}

/// Takes records off the front as long as there are any.
fn records(octets: &[u8]) {
    let mut rest = octets;
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
fn rewritten(record: &Record<'_>, octets: &[u8]) {
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
        assert_eq!(out, octets);
    }
}

fn fixed(mut octets: Vec<u8>) {
    if octets.len() < HEADER_LEN {
        return;
    }
    octets[..8].copy_from_slice(b"HKLF\x01\0\0\0");
    octets[48..56].fill(0);
    fix_frame(&mut octets, SALT);
    let header = octets.first_chunk().expect("long enough");
    let header = FrameHeader::decode(header, SALT);
    match (&header, Batch::from_frame(octets.clone(), SALT)) {
        (Ok(header), Ok(batch)) => {
            accepted(header, &batch, &octets);
        }
        (Ok(header), Err(error)) => {
            let missing = header.len() > octets.len();
            assert!(missing || error == FrameError::Records, "{error}");
            assert!(header.length as usize <= LENGTH_MAX);
        }
        (Err(error), Err(again)) => assert_eq!(*error, again),
        (Err(error), Ok(_)) => panic!("accepted behind a header that is not: {error}"),
    }
}

/// A frame that was accepted adds up, and is sealed again as it stands.
fn accepted(header: &FrameHeader, batch: &Batch, octets: &[u8]) {
    assert!(header.len() <= octets.len() && header.length as usize <= LENGTH_MAX);
    assert_eq!(
        (batch.count(), batch.first_sequence()),
        (header.count, header.first_sequence)
    );
    assert_eq!(batch.last_sequence(), header.last_sequence());
    assert_eq!(batch.len(), header.len());
    assert_eq!(batch.records().count(), batch.count() as usize);
    assert!(header.durable < header.first_sequence);
    assert_eq!(header.encode(SALT)[..], octets[..HEADER_LEN]);
    records(&octets[HEADER_LEN..header.len()]);
    let from = header.first_sequence + u64::from(header.count / 2);
    let mut later = batch.records_from(from);
    assert_eq!(later.next().map(|(sequence, _)| sequence), Some(from));
    assert_eq!(later.count() as u64, header.last_sequence() - from);
}

fn sealed(input: &mut Unstructured<'_>) -> arbitrary::Result<()> {
    let first_sequence = input.int_in_range(1..=NUMBER_END - 64)?;
    let place = Place {
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
    batch.seal(&place);
    let frame = batch.frame().to_vec();
    assert_eq!(frame.len(), padded(batch.len()));
    let read = Batch::from_frame(frame.clone(), place.salt).expect("as it was sealed");
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
    assert_eq!(Batch::from_frame(changed, place.salt).is_ok(), is_same);
    let other: u32 = input.arbitrary()?;
    assert_eq!(Batch::from_frame(frame, other).is_ok(), other == place.salt);
    Ok(())
}
