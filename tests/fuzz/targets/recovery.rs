//! The journal's directory, damaged in any way: opening, reading, inspecting and repairing it.
//!
//! A small valid journal, see `image.rs`, gets edits: octets overwritten, files cut, swapped, removed or copied,
//! lines of the manifest changed. In half of the inputs the checksums are made right again behind the edits, so that
//! the code is reached that trusts them.
//!
//! What must hold for any directory:
//!
//! - Nothing panics, and a reader comes to an end.
//! - Opening it twice gives the same: the same journal and no torn tail any more, and no file differs; or the same
//!   error.
//!
//! And where the edits leave checksums and manifest alone, as damage does:
//!
//! - No record is made up: what is read has the body that was stored under its sequence.
//! - What is appended after a start stands under the next sequence, and is there after another one.
//! - What a reader gives up to its end or its error has no gap.
//! - A reader meets damage if and only if the full inspection does.
//! - After a repair the journal is whole, opens, and has lost nothing that could be read.

#![no_main]

use arbitrary::{Arbitrary, Result, Unstructured};
use hookline::journal::batch::Batch;
use hookline::journal::frame::ALIGNMENT;
use hookline::journal::{Depth, Journal, Reader, Recovery, Storage, inspect, repair};
use hookline::relay;
use hookline_fuzz::image::{self, Image, MANIFEST, NEXT_SEQUENCE, SEGMENT_SIZE, segment_name};
use hookline_fuzz::memory::Memory;
use libfuzzer_sys::fuzz_target;
use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

static IMAGE: LazyLock<Image> = LazyLock::new(|| {
    let image = image::build();
    let report = open(&image.files).expect("the image is a valid journal");
    assert_eq!(
        (report.first_sequence, report.next_sequence),
        (1, NEXT_SEQUENCE)
    );
    assert_eq!(report.torn_tail, None);
    assert!(read(&image.files, 0).is_whole());
    assert_eq!(read(&image.files, 0).bodies, image.bodies);
    image
});

fuzz_target!(|input: Input| check(&input));

fn check(input: &Input) {
    let files = IMAGE.files.copy();
    for edit in &input.edits {
        edit.apply(&files);
    }
    let honest = !input.forged && input.manifest.is_none();
    if input.forged {
        for epoch in EPOCHS {
            files.edit(&segment_name(epoch), |octets| {
                image::fix_checksums(octets, epoch)
            });
        }
        let text = String::from_utf8_lossy(&files.get(MANIFEST)).into_owned();
        let body = text.rsplit_once("checksum ").map_or("", |(body, _)| body);
        files.put(MANIFEST, image::with_checksum(body.to_owned()));
    }
    if let Some(lines) = &input.manifest {
        let lines: Vec<String> = lines.iter().map(Line::text).collect();
        let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
        files.put(MANIFEST, image::manifest(&lines));
    }
    let _ = inspect(&files, Depth::Headers);
    let before = read(&files, 0);
    if honest {
        before.check_bodies();
    }
    if input.repair {
        repaired(&files, &before, honest);
    } else {
        opened(&files, honest);
    }
}

/// Opens the directory, twice, appends, and opens it again.
fn opened(files: &Memory, honest: bool) {
    let first = match open(files) {
        Ok(report) => report,
        Err(error) => {
            let left = files.contents();
            assert_eq!(open(files).expect_err("as before"), error);
            assert!(
                files.contents() == left,
                "an attempt that fails again changes nothing"
            );
            return;
        }
    };
    let left = files.contents();
    let again = open(files).expect("it was opened before");
    let expected = Recovery {
        torn_tail: None,
        ..first.clone()
    };
    assert_eq!(again, expected, "a second start finds the same");
    assert!(files.contents() == left, "a second start changes nothing");
    let found = read(files, 0);
    if honest {
        found.check_bodies();
        assert!(first.next_sequence <= NEXT_SEQUENCE);
        let report = inspect(files, Depth::Full).expect("it was opened");
        assert_eq!(report.is_whole(), found.is_whole(), "{report:?} {found:?}");
        if found.is_whole() {
            assert_eq!(
                found.next, first.next_sequence,
                "all is read that recovery counts"
            );
        }
    }
    if append(files, &first) {
        let after = match open(files) {
            Ok(after) => after,
            // A forged header may stand right behind what was appended.
            Err(error) => return assert!(!honest, "{error}"),
        };
        assert_eq!(after.next_sequence, first.next_sequence + 1);
        // Remains of a header behind the tail that was cut are cut when the journal comes up to them.
        let torn = after.torn_tail.map(|tail| tail.sequence);
        assert!(torn.is_none_or(|sequence| sequence == after.next_sequence));
        let last = read(files, first.next_sequence);
        let last = last.bodies.get(&first.next_sequence);
        assert_eq!(last.map(Vec::as_slice), Some(APPENDED));
    }
}

/// Sets all damage aside.
fn repaired(files: &Memory, before: &Read, honest: bool) {
    let storage: Arc<dyn Storage> = Arc::new(files.clone());
    let quarantine = Memory::default();
    let Ok(repair) = repair(&storage, &quarantine) else {
        return;
    };
    if !honest {
        let _ = open(files);
        return;
    }
    let report = inspect(files, Depth::Full).expect("it was repaired");
    assert!(report.is_whole(), "{repair:?} leaves {report:?}");
    let recovery = open(files).unwrap_or_else(|error| panic!("{repair:?} leaves {error}"));
    let after = read(files, 0);
    assert!(after.is_whole(), "{repair:?} leaves {after:?}");
    for (sequence, body) in &after.bodies {
        assert_eq!(IMAGE.bodies.get(sequence), Some(body));
    }
    let is_kept = |(sequence, _): &(&u64, &Vec<u8>)| **sequence < recovery.next_sequence;
    for (sequence, body) in before.bodies.iter().filter(is_kept) {
        assert_eq!(
            after.bodies.get(sequence),
            Some(body),
            "{sequence} is lost by {repair:?}"
        );
    }
}

/// Opens the journal and closes it; the error as text.
fn open(files: &Memory) -> std::result::Result<Recovery, String> {
    let journal = Journal::open(Arc::new(files.clone()), image::options());
    let journal = journal.map_err(|error| error.to_string())?;
    Ok(journal.recovery().clone())
}

/// Appends one record if there is room in the active segment.
fn append(files: &Memory, recovery: &Recovery) -> bool {
    let storage: Arc<dyn Storage> = Arc::new(files.clone());
    let journal = Journal::open(storage, image::options()).expect("it was opened before");
    assert_eq!(journal.recovery().next_sequence, recovery.next_sequence);
    let status = journal.status();
    // The thread that has segments ready does not run, so the committer cannot go on in the next one.
    let (committer, _preparer) = journal.split(Vec::new(), Box::new(|_| ()));
    // Nor can anything be stored behind the last of all sequences, which only a forged journal comes to.
    if status.room() < ALIGNMENT as u64 || recovery.next_sequence == u64::MAX {
        return false;
    }
    let mut batch = Batch::unpooled();
    batch.append(1, 0, 0, std::iter::empty(), APPENDED);
    let (inbox, receiver) = relay::channel(1);
    assert!(inbox.try_send(batch).is_ok());
    drop(inbox);
    committer
        .run(&receiver)
        .expect("a directory in memory does not fail");
    assert_eq!(status.durable(), recovery.next_sequence);
    true
}

/// What a reader gave.
#[derive(Debug)]
struct Read {
    bodies: BTreeMap<u64, Vec<u8>>,
    /// Sequence that the reader wants next.
    next: u64,
    error: Option<String>,
    contiguous: bool,
}

impl Read {
    fn is_whole(&self) -> bool {
        self.error.is_none()
    }

    fn check_bodies(&self) {
        for (sequence, body) in &self.bodies {
            assert_eq!(
                IMAGE.bodies.get(sequence),
                Some(body),
                "{sequence} was never stored so"
            );
        }
        assert!(self.contiguous, "a gap in {:?}", self.bodies.keys());
    }
}

/// Reads from a sequence on to the end, or to the first error.
fn read(files: &Memory, from: u64) -> Read {
    let mut read = Read {
        bodies: BTreeMap::new(),
        next: from,
        error: None,
        contiguous: true,
    };
    let mut reader = match Reader::open(Arc::new(files.clone()), from) {
        Ok(reader) => reader,
        Err(error) => {
            read.error = Some(error.to_string());
            return read;
        }
    };
    for frame in 0.. {
        assert!(frame < FRAMES_MAX, "the reader does not come to an end");
        match reader.next(None) {
            Ok(Some(batch)) => {
                for (sequence, record) in batch.records_from(from) {
                    let last = read.bodies.last_key_value();
                    read.contiguous &= last.is_none_or(|(last, _)| last + 1 == sequence);
                    let _ = record.headers().count();
                    read.bodies.insert(sequence, record.body.to_vec());
                }
            }
            Ok(None) => break,
            Err(error) => {
                read.error = Some(error.to_string());
                break;
            }
        }
    }
    read.next = reader.position();
    read
}

/// What is done to the image.
#[derive(Debug)]
struct Input {
    /// The checksums are made right behind the edits.
    forged: bool,
    /// The directory is repaired rather than opened as it is.
    repair: bool,
    manifest: Option<Vec<Line>>,
    edits: Vec<Edit>,
}

#[derive(Debug)]
enum Edit {
    /// Octets are overwritten, at any place of a segment or close to the begin of a block.
    Overwrite(u64, usize, Vec<u8>),
    /// An octet is XORed.
    Flip(u64, usize, u8),
    /// A block becomes zeros, or what another block of any segment holds.
    Block(u64, usize, Option<(u64, usize)>),
    Truncate(u64, usize),
    Extend(u64, usize),
    Swap(u64, u64),
    Copy(u64, u64),
    Remove(u64),
    /// One octet of the manifest is changed.
    Manifest(usize, u8),
    RemoveManifest,
    TruncateManifest(usize),
    /// A sealed frame that belongs nowhere.
    Frame(u64, usize, u64, u64),
    /// One field of a frame header: offset in it, and eight octets.
    Field(u64, usize, usize, u64),
    /// A file that a crash could have left.
    Leftover(u8),
}

impl<'a> Arbitrary<'a> for Input {
    fn arbitrary(input: &mut Unstructured<'a>) -> Result<Input> {
        let mode: u8 = input.arbitrary()?;
        let manifest = if mode & 6 == 6 {
            let count = input.int_in_range(0..=8)?;
            let lines: Result<Vec<_>> = (0..count).map(|_| Line::arbitrary(input)).collect();
            Some(lines?)
        } else {
            None
        };
        let mut edits = Vec::new();
        while !input.is_empty() && edits.len() < EDITS_MAX {
            edits.push(Edit::arbitrary(input)?);
        }
        Ok(Input {
            forged: mode & 1 == 1,
            repair: mode & 8 == 8,
            manifest,
            edits,
        })
    }
}

impl<'a> Arbitrary<'a> for Edit {
    fn arbitrary(input: &mut Unstructured<'a>) -> Result<Edit> {
        let epoch = |input: &mut Unstructured<'a>| input.choose(&EPOCHS).copied();
        let offset = |input: &mut Unstructured<'a>| input.int_in_range(0..=SEGMENT_SIZE);
        let block = |input: &mut Unstructured<'a>| input.int_in_range(0..=BLOCKS - 1);
        let number = |input: &mut Unstructured<'a>| -> Result<u64> {
            Ok(match input.arbitrary::<u8>()? {
                octet @ 0..=0xef => u64::from(octet),
                0xf0..=0xf3 => u64::MAX - u64::from(input.arbitrary::<u8>()?),
                _ => input.arbitrary()?,
            })
        };
        Ok(match input.arbitrary::<u8>()? % 16 {
            0 => Edit::Overwrite(epoch(input)?, offset(input)?, short(input)?),
            1 | 2 => {
                let at = block(input)? * ALIGNMENT + usize::from(input.arbitrary::<u8>()? % 128);
                Edit::Overwrite(epoch(input)?, at, short(input)?)
            }
            3 => Edit::Flip(epoch(input)?, offset(input)?, input.arbitrary()?),
            4 => Edit::Block(epoch(input)?, block(input)?, None),
            5 | 6 => Edit::Block(
                epoch(input)?,
                block(input)?,
                Some((epoch(input)?, block(input)?)),
            ),
            7 => Edit::Truncate(epoch(input)?, offset(input)?),
            8 => Edit::Extend(epoch(input)?, block(input)? * ALIGNMENT),
            9 => Edit::Swap(epoch(input)?, epoch(input)?),
            10 => Edit::Copy(epoch(input)?, epoch(input)?),
            11 => Edit::Remove(epoch(input)?),
            12 => match input.arbitrary::<u8>()? {
                0 => Edit::RemoveManifest,
                at @ 1..=32 => Edit::TruncateManifest(usize::from(at) * 8),
                at => Edit::Manifest(usize::from(at), input.arbitrary()?),
            },
            13 => Edit::Frame(epoch(input)?, block(input)?, number(input)?, number(input)?),
            14 => Edit::Field(
                epoch(input)?,
                block(input)?,
                input.int_in_range(0..=HEADER_FIELDS)?,
                number(input)?,
            ),
            _ => Edit::Leftover(input.arbitrary()?),
        })
    }
}

fn short(input: &mut Unstructured<'_>) -> Result<Vec<u8>> {
    let length = input.int_in_range(1..=40)?;
    let length = input.len().min(length);
    Ok(input.bytes(length)?.to_vec())
}

impl Edit {
    fn apply(&self, files: &Memory) {
        let write = |epoch: &u64, at: usize, new: &[u8]| {
            files.edit(&segment_name(*epoch), |octets| {
                for (octet, new) in octets.iter_mut().skip(at).zip(new) {
                    *octet = *new;
                }
            });
        };
        match self {
            Edit::Overwrite(epoch, at, new) => write(epoch, *at, new),
            Edit::Flip(epoch, at, with) => files.edit(&segment_name(*epoch), |octets| {
                if let Some(octet) = octets.get_mut(*at) {
                    *octet ^= with;
                }
            }),
            Edit::Block(epoch, block, source) => {
                let source = source.map(|(epoch, block)| {
                    let from = files.get(&segment_name(epoch));
                    let copy = from.chunks(ALIGNMENT).nth(block).map(<[u8]>::to_vec);
                    copy.unwrap_or_default()
                });
                let new = source.unwrap_or_else(|| vec![0; ALIGNMENT]);
                write(epoch, block * ALIGNMENT, &new);
            }
            Edit::Truncate(epoch, length) => {
                files.edit(&segment_name(*epoch), |octets| octets.truncate(*length));
            }
            Edit::Extend(epoch, by) => files.edit(&segment_name(*epoch), |octets| {
                let length = (octets.len() + by).min(4 * SEGMENT_SIZE);
                octets.resize(length, 0);
            }),
            Edit::Swap(a, b) => {
                let (old_a, old_b) = (files.get(&segment_name(*a)), files.get(&segment_name(*b)));
                files.put(&segment_name(*a), old_b.to_vec());
                files.put(&segment_name(*b), old_a.to_vec());
            }
            Edit::Copy(from, to) => {
                files.put(&segment_name(*to), files.get(&segment_name(*from)).to_vec())
            }
            Edit::Remove(epoch) => files.forget(&segment_name(*epoch)),
            Edit::Manifest(at, with) => files.edit(MANIFEST, |octets| {
                let at = at % octets.len().max(1);
                if let Some(octet) = octets.get_mut(at) {
                    *octet = *with;
                }
            }),
            Edit::RemoveManifest => files.forget(MANIFEST),
            Edit::TruncateManifest(length) => {
                files.edit(MANIFEST, |octets| octets.truncate(*length))
            }
            Edit::Frame(epoch, block, sequence, durable) => {
                let sequence = (*sequence).clamp(1, u64::MAX - 2);
                let new = image::frame(
                    *epoch,
                    sequence,
                    (*durable).min(sequence - 1),
                    &[b"forged".to_vec()],
                );
                // Its checksums are right only in a forged journal.
                write(epoch, block * ALIGNMENT, &new);
                files.edit(&segment_name(*epoch), |octets| {
                    if let Some(octet) = octets.get_mut(block * ALIGNMENT + 60) {
                        *octet = octet.wrapping_add(1);
                    }
                });
            }
            Edit::Field(epoch, block, at, value) => {
                write(epoch, block * ALIGNMENT + at, &value.to_le_bytes());
            }
            Edit::Leftover(kind) => {
                let (name, octets): (&str, Vec<u8>) = match kind % 4 {
                    0 => ("manifest.tmp", b"hookline journal 1\nid".to_vec()),
                    1 => ("00000000000000000007.tmp", vec![0; ALIGNMENT]),
                    2 => (
                        "00000000000000000007.segment",
                        files.get(&segment_name(6)).to_vec(),
                    ),
                    _ => (
                        "00000000000000000002.segment",
                        files.get(&segment_name(3)).to_vec(),
                    ),
                };
                files.put(name, octets);
            }
        }
    }
}

/// A line of a manifest.
#[derive(Debug)]
enum Line {
    NextEpoch(u64),
    Segment(u64, Option<u64>),
    Endpoint(u16, String),
    Hole([u64; 5]),
    Other(String),
}

impl<'a> Arbitrary<'a> for Line {
    fn arbitrary(input: &mut Unstructured<'a>) -> Result<Line> {
        let number = |input: &mut Unstructured<'a>| -> Result<u64> {
            Ok(match input.arbitrary::<u8>()? {
                octet @ 0..=0x7f => u64::from(octet),
                octet @ 0x80..=0xbf => u64::from(octet & 7) * ALIGNMENT as u64,
                0xc0..=0xc7 => u64::MAX - u64::from(input.arbitrary::<u8>()? % 4),
                _ => input.arbitrary()?,
            })
        };
        Ok(match input.arbitrary::<u8>()? % 8 {
            0 => Line::NextEpoch(number(input)?),
            1..=3 => {
                let first = number(input)?;
                Line::Segment(number(input)?, input.ratio(3, 4)?.then_some(first))
            }
            4 => Line::Endpoint(input.arbitrary()?, String::arbitrary(input)?),
            5 | 6 => Line::Hole([
                number(input)?,
                number(input)?,
                number(input)?,
                number(input)?,
                number(input)?,
            ]),
            _ => Line::Other(String::arbitrary(input)?),
        })
    }
}

impl Line {
    fn text(&self) -> String {
        match self {
            Line::NextEpoch(epoch) => format!("next-epoch {epoch}"),
            Line::Segment(epoch, Some(first)) => format!("segment {epoch} {first}"),
            Line::Segment(epoch, None) => format!("segment {epoch} -"),
            Line::Endpoint(number, path) => format!("endpoint {number} {path}"),
            Line::Hole([a, b, c, d, e]) => format!("hole {a} {b} {c} {d} {e}"),
            Line::Other(text) => text.clone(),
        }
    }
}

/// Segments that an edit can name; the last is not there.
const EPOCHS: [u64; 5] = [3, 4, 5, 6, 7];
const BLOCKS: usize = SEGMENT_SIZE / ALIGNMENT;
const HEADER_FIELDS: usize = 56;
const EDITS_MAX: usize = 12;
/// No directory of a target holds as many.
const FRAMES_MAX: usize = 1000;
const APPENDED: &[u8] = b"appended after recovery";
