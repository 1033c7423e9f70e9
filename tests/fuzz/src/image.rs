//! A small valid journal, put together from the format as `hookline::journal` documents it, byte by byte, and the
//! checksums of one that was changed.
//!
//! It is the same in every run, so what a fuzzer has found can be repeated. There are two sealed segments, the active
//! one, which was recycled and has leftovers of its former life behind its end, one that is ready, and a spare.

use crate::memory::Memory;
use hookline::testing::disk::block::ALIGNMENT;
use hookline::testing::journal::Options;
use hookline::testing::journal::batch::{Batch, Seal};
use hookline::testing::journal::frame::HEADER_LEN;
use std::collections::BTreeMap;
use std::iter;
use std::time::Duration;

/// Bytes of a segment: the header block, and room for four frames of a block.
pub const SEGMENT_SIZE: usize = 5 * ALIGNMENT;

/// File name of the manifest.
pub const MANIFEST: &str = "manifest";

/// Sequence behind the last record.
pub const NEXT_SEQUENCE: u64 = 18;

/// A journal, and what is in it.
#[derive(Clone, Debug)]
pub struct Image {
    /// The directory.
    pub files: Memory,
    /// The bodies by their sequence.
    pub bodies: BTreeMap<u64, Vec<u8>>,
}

/// Settings that suit the image.
#[must_use]
pub fn options() -> Options {
    Options {
        segment_size: SEGMENT_SIZE as u64,
        largest_frame: 2 * ALIGNMENT as u64,
        retention: Duration::from_hours(24),
        ..Options::default()
    }
}

/// The journal. Epoch 5 ends with a commit of two frames of which nothing says that the first was durable.
#[must_use]
pub fn build() -> Image {
    let mut image = Image {
        files: Memory::default(),
        bodies: BTreeMap::new(),
    };
    image.segment(3, &[(1, 2, 0), (3, 1, 2), (4, 3, 3), (7, 1, 6)]);
    image.segment(4, &[(8, 2, 7), (10, 1, 9), (11, 2, 10)]);
    let leftovers = image.former_life(1);
    image.segment(5, &[(13, 1, 12), (14, 2, 13), (16, 2, 13)]);
    image.files.edit(&segment_name(5), |bytes| {
        bytes[4 * ALIGNMENT..].copy_from_slice(&leftovers[4 * ALIGNMENT..]);
    });
    image.segment(6, &[]);
    let spare = image.former_life(2);
    image.files.put("00000000000000000002.spare", spare);
    image.files.put(
        MANIFEST,
        manifest(&[
            "next-epoch 7",
            "segment 3 1",
            "segment 4 8",
            "segment 5 13",
            "segment 6 -",
            "endpoint 1 /webhook",
        ]),
    );
    image
}

impl Image {
    /// A segment with frames of (first sequence, records, durable), one behind the other.
    fn segment(&mut self, epoch: u64, frames: &[(u64, u64, u64)]) {
        let mut bytes = header_block(epoch);
        for &(first, count, durable) in frames {
            let bodies: Vec<_> = (first..first + count).map(body).collect();
            self.bodies.extend((first..).zip(bodies.iter().cloned()));
            bytes.extend(frame(epoch, first, durable, &bodies));
        }
        bytes.resize(SEGMENT_SIZE, 0);
        self.files.put(&segment_name(epoch), bytes);
    }

    /// What an earlier segment looked like when it was retired. None of its records is in the journal.
    fn former_life(&self, epoch: u64) -> Vec<u8> {
        let mut bytes = header_block(epoch);
        for sequence in 1..=4 {
            bytes.extend(frame(
                epoch,
                sequence,
                sequence - 1,
                &[format!("retired {epoch}").into()],
            ));
        }
        bytes
    }
}

/// The body of the record with this sequence.
#[must_use]
pub fn body(sequence: u64) -> Vec<u8> {
    format!("body {sequence} ")
        .repeat(usize::try_from(sequence).unwrap_or(1))
        .into_bytes()
}

/// A sealed frame, padding included.
#[must_use]
pub fn frame(epoch: u64, first_sequence: u64, durable: u64, bodies: &[Vec<u8>]) -> Vec<u8> {
    let mut batch = Batch::unpooled();
    for body in bodies {
        let headers = [(&b"content-type"[..], &b"application/json"[..])];
        batch.append(1, 0, TIME, headers.into_iter(), body);
    }
    batch.seal(&Seal {
        epoch,
        salt: salt(epoch),
        first_sequence,
        committed_at: TIME,
        durable,
    });
    batch.frame().to_vec()
}

/// What begins the header checksum of the frames of a segment.
#[must_use]
pub fn salt(epoch: u64) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&ID), &epoch.to_le_bytes())
}

/// File name of a segment.
#[must_use]
pub fn segment_name(epoch: u64) -> String {
    format!("{epoch:020}.segment")
}

/// A manifest with these lines and the right checksum.
#[must_use]
pub fn manifest(lines: &[&str]) -> Vec<u8> {
    let id: String = ID.iter().map(|byte| format!("{byte:02x}")).collect();
    let title = format!("hookline journal 1\nid {id}");
    let body: String = iter::once(title.as_str())
        .chain(lines.iter().copied())
        .map(|line| format!("{line}\n"))
        .collect();
    with_checksum(body)
}

/// Gives the text of a manifest, up to its checksum line, the right one.
#[must_use]
pub fn with_checksum(body: String) -> Vec<u8> {
    let crc = crc32c::crc32c(body.as_bytes());
    (body + &format!("checksum {crc:08x}\n")).into_bytes()
}

/// Makes the checksums of the segment of this epoch right where one is wrong: that of its own header, and those of
/// every frame header whose records end within the file.
pub fn fix_checksums(bytes: &mut [u8], epoch: u64) {
    if let Some(header) = bytes.get_mut(..HEADER_LEN) {
        let crc = crc32c::crc32c(&header[..HEADER_LEN - 4]);
        header[HEADER_LEN - 4..].copy_from_slice(&crc.to_le_bytes());
    }
    let mut at = ALIGNMENT;
    while at + HEADER_LEN <= bytes.len() {
        if bytes[at..].starts_with(b"HKLF") {
            fix_frame(&mut bytes[at..], salt(epoch));
        }
        at += ALIGNMENT;
    }
}

/// Makes the checksums of the frame at the front right.
pub fn fix_frame(bytes: &mut [u8], salt: u32) {
    let Some((header, rest)) = bytes.split_first_chunk_mut::<HEADER_LEN>() else {
        return;
    };
    let length = u32::from_le_bytes([header[28], header[29], header[30], header[31]]);
    if let Some(records) = rest.get(..length as usize) {
        header[56..60].copy_from_slice(&crc32c::crc32c(records).to_le_bytes());
    }
    let crc = crc32c::crc32c_append(salt, &header[..60]);
    header[60..].copy_from_slice(&crc.to_le_bytes());
}

fn header_block(epoch: u64) -> Vec<u8> {
    let mut block = Vec::with_capacity(SEGMENT_SIZE);
    block.extend(b"HKLS\x01\0\0\0");
    block.extend(epoch.to_le_bytes());
    block.extend((SEGMENT_SIZE as u64).to_le_bytes());
    block.extend(ID);
    block.extend([0; 20]);
    let crc = crc32c::crc32c(&block);
    block.extend(crc.to_le_bytes());
    block.resize(ALIGNMENT, 0);
    block
}

const ID: [u8; 16] = *b"a journal's name";

/// Microseconds since 1970: every commit of the image.
const TIME: u64 = 1_790_500_000_250_000;
