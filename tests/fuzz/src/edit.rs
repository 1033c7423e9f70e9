//! What is done to an image of a journal: bytes overwritten, files cut, swapped, removed or copied, lines of the
//! manifest changed, and a repair in between.

use crate::image::{self, MANIFEST, SEGMENT_SIZE, segment_name};
use crate::memory::Memory;
use arbitrary::{Arbitrary, Result, Unstructured};
use hookline::testing::disk::Storage;
use hookline::testing::disk::block::ALIGNMENT;
use hookline::testing::journal::frame::NUMBER_END;
use hookline::testing::journal::repair;
use std::sync::Arc;

/// One change of the directory.
#[derive(Debug)]
pub enum Edit {
    /// Bytes are overwritten, at any place of a segment or close to the begin of a block.
    Overwrite(u64, usize, Vec<u8>),
    /// A byte is XORed.
    Flip(u64, usize, u8),
    /// A block becomes zeros, or what another block of any segment holds.
    Block(u64, usize, Option<(u64, usize)>),
    /// A file is cut.
    Truncate(u64, usize),
    /// Zeros are added to its end.
    Extend(u64, usize),
    /// Two files exchange their names.
    Swap(u64, u64),
    /// The first is copied over the second.
    Copy(u64, u64),
    /// A file is removed.
    Remove(u64),
    /// One byte of the manifest is changed.
    Manifest(usize, u8),
    /// The manifest is removed.
    RemoveManifest,
    /// The manifest is cut.
    TruncateManifest(usize),
    /// A sealed frame that belongs nowhere.
    Frame(u64, usize, u64, u64),
    /// One field of a frame header: offset in it, and eight bytes.
    Field(u64, usize, usize, u64),
    /// A file that a crash could have left.
    Leftover(u8),
    /// All damage so far is set aside: what follows comes to a journal that was repaired before.
    Repair,
}

impl<'a> Arbitrary<'a> for Edit {
    fn arbitrary(input: &mut Unstructured<'a>) -> Result<Edit> {
        let epoch = |input: &mut Unstructured<'a>| input.choose(&EPOCHS).copied();
        let offset = |input: &mut Unstructured<'a>| input.int_in_range(0..=SEGMENT_SIZE);
        let block = |input: &mut Unstructured<'a>| input.int_in_range(0..=BLOCKS - 1);
        let number = |input: &mut Unstructured<'a>| -> Result<u64> {
            Ok(match input.arbitrary::<u8>()? {
                byte @ 0..=0xef => u64::from(byte),
                0xf0 | 0xf1 => u64::MAX - u64::from(input.arbitrary::<u8>()?),
                0xf2 | 0xf3 => NUMBER_END - u64::from(input.arbitrary::<u8>()? % 8),
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
            _ => match input.arbitrary::<u8>()? {
                kind @ 0..=0xbf => Edit::Leftover(kind),
                _ => Edit::Repair,
            },
        })
    }
}

fn short(input: &mut Unstructured<'_>) -> Result<Vec<u8>> {
    let length = input.int_in_range(1..=40)?;
    let length = input.len().min(length);
    Ok(input.bytes(length)?.to_vec())
}

impl Edit {
    /// Makes the change.
    pub fn apply(&self, files: &Memory) {
        let write = |epoch: &u64, at: usize, new: &[u8]| {
            files.edit(&segment_name(*epoch), |bytes| {
                for (byte, new) in bytes.iter_mut().skip(at).zip(new) {
                    *byte = *new;
                }
            });
        };
        match self {
            Edit::Overwrite(epoch, at, new) => write(epoch, *at, new),
            Edit::Flip(epoch, at, with) => files.edit(&segment_name(*epoch), |bytes| {
                if let Some(byte) = bytes.get_mut(*at) {
                    *byte ^= with;
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
                files.edit(&segment_name(*epoch), |bytes| bytes.truncate(*length));
            }
            Edit::Extend(epoch, by) => files.edit(&segment_name(*epoch), |bytes| {
                let length = (bytes.len() + by).min(4 * SEGMENT_SIZE);
                bytes.resize(length, 0);
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
            Edit::Manifest(at, with) => files.edit(MANIFEST, |bytes| {
                let at = at % bytes.len().max(1);
                if let Some(byte) = bytes.get_mut(at) {
                    *byte = *with;
                }
            }),
            Edit::RemoveManifest => files.forget(MANIFEST),
            Edit::TruncateManifest(length) => files.edit(MANIFEST, |bytes| bytes.truncate(*length)),
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
                files.edit(&segment_name(*epoch), |bytes| {
                    if let Some(byte) = bytes.get_mut(block * ALIGNMENT + 60) {
                        *byte = byte.wrapping_add(1);
                    }
                });
            }
            Edit::Field(epoch, block, at, value) => {
                write(epoch, block * ALIGNMENT + at, &value.to_le_bytes());
            }
            Edit::Leftover(kind) => {
                let (name, bytes): (&str, Vec<u8>) = match kind % 4 {
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
                files.put(name, bytes);
            }
            Edit::Repair => {
                let storage: Arc<dyn Storage> = Arc::new(files.clone());
                let _ = repair(&storage, &Memory::default());
            }
        }
    }
}

/// A line of a manifest.
#[derive(Debug)]
pub enum Line {
    /// `next-epoch`.
    NextEpoch(u64),
    /// `segment`: epoch and first sequence.
    Segment(u64, Option<u64>),
    /// `endpoint`.
    Endpoint(u16, String),
    /// `hole`.
    Hole([u64; 5]),
    /// Anything.
    Other(String),
}

impl<'a> Arbitrary<'a> for Line {
    fn arbitrary(input: &mut Unstructured<'a>) -> Result<Line> {
        let number = |input: &mut Unstructured<'a>| -> Result<u64> {
            Ok(match input.arbitrary::<u8>()? {
                byte @ 0..=0x7f => u64::from(byte),
                byte @ 0x80..=0xbf => u64::from(byte & 7) * ALIGNMENT as u64,
                0xc0..=0xc3 => u64::MAX - u64::from(input.arbitrary::<u8>()? % 4),
                0xc4..=0xc7 => NUMBER_END - u64::from(input.arbitrary::<u8>()? % 8),
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
    /// As it stands in the file.
    #[must_use]
    pub fn text(&self) -> String {
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
pub const EPOCHS: [u64; 5] = [3, 4, 5, 6, 7];
const BLOCKS: usize = SEGMENT_SIZE / ALIGNMENT;
const HEADER_FIELDS: usize = 56;
