//! Walks a segment from its start: what stands there in sequence, and what lies behind.

use super::frame::{FrameError, FrameHeader, HEADER_LEN};
use super::manifest::Manifest;
use super::segment::{HEADER_BLOCK, Segment};
use crate::disk::block::{ALIGNMENT, in_memory, on_disk};
use crate::disk::read_full_at;
use std::io;

/// What a segment holds from some place on.
pub(crate) struct Scan {
    /// Sequence that was expected at the begin.
    pub(crate) first_sequence: u64,
    /// Behind the last frame in sequence.
    pub(crate) end: u64,
    /// Where the last frames begin of which none says that an earlier one of them was durable.
    pub(crate) unproven: u64,
    /// Sequence at `unproven`.
    pub(crate) unproven_sequence: u64,
    /// Sequence that would stand at `end`.
    pub(crate) next_sequence: u64,
    /// Why no frame in sequence stands at `end`.
    pub(crate) stop: FrameError,
    pub(crate) first: Option<FrameHeader>,
    pub(crate) last: Option<FrameHeader>,
    pub(crate) frames: u64,
    pub(crate) records: u64,
    /// Headers of this epoch from `end` on, and where they stand. Their records are not checked. Empty
    /// after [`Depth::Headers`].
    pub(crate) behind: Vec<(u64, FrameHeader)>,
    /// Where, from `end` on, a frame begins whose header does not hold. Leftovers of a former life do.
    pub(crate) broken: Vec<u64>,
    /// The last sequence that a hole behind `end` has set aside, so it was given; 0 without a hole.
    pub(crate) set_aside: u64,
}

/// How much of a segment is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Depth {
    /// The headers of the frames in sequence.
    Headers,
    /// Every byte: the records, and what lies behind the last frame in sequence.
    Full,
}

impl Scan {
    /// If a frame or a hole behind proves that `sequence`, which is not where it should be, was durable once: the last
    /// sequence that is missing by that.
    pub(crate) fn proof_of(&self, sequence: u64) -> Option<u64> {
        let mut headers = self.behind.iter().map(|(_, header)| header);
        let frame = headers.find(|header| header.durable >= sequence);
        let hole = (self.set_aside >= sequence).then_some(self.set_aside);
        frame.map(|header| header.first_sequence - 1).or(hole)
    }

    /// Bytes from `end` to the end of the last frame behind it.
    pub(crate) fn behind_bytes(&self) -> u64 {
        self.behind
            .iter()
            .map(|(offset, header)| offset + on_disk(header.padded_len()) - self.end)
            .max()
            .unwrap_or(0)
    }

    /// Bytes from `end` to the end of all that could be taken for a frame behind it.
    pub(crate) fn remains_bytes(&self) -> u64 {
        let broken = self.broken.last();
        let broken = broken.map_or(0, |offset| offset + on_disk(ALIGNMENT) - self.end);
        self.behind_bytes().max(broken)
    }
}

/// Reads a whole segment whose first record should have this sequence.
pub(crate) fn scan(
    segment: &Segment,
    first_sequence: u64,
    manifest: &Manifest,
) -> io::Result<Scan> {
    let begin = (HEADER_BLOCK, first_sequence);
    scan_from(segment, begin, None, manifest, Depth::Full)
}

/// Reads a segment from a place where a frame with this sequence should begin, up to a frame that comes up to
/// `next_first`, with which the next segment begins.
pub(crate) fn scan_from(
    segment: &Segment,
    (offset, first_sequence): (u64, u64),
    next_first: Option<u64>,
    manifest: &Manifest,
    depth: Depth,
) -> io::Result<Scan> {
    let mut scan = Scan {
        first_sequence,
        end: offset,
        unproven: offset,
        unproven_sequence: first_sequence,
        next_sequence: first_sequence,
        stop: FrameError::Magic,
        first: None,
        last: None,
        frames: 0,
        records: 0,
        behind: Vec::new(),
        broken: Vec::new(),
        set_aside: 0,
    };
    let mut buffer = Vec::new();
    scan.stop = loop {
        if let Some(hole) = manifest.hole_at(segment.epoch, scan.end) {
            scan.next_sequence = scan.next_sequence.max(hole.end_sequence());
            if scan.end >= segment.size {
                break FrameError::Magic; // nothing stands behind the end
            }
            scan.end = scan.end.saturating_add(hole.length).min(segment.size);
            continue;
        }
        let found = match depth {
            Depth::Headers => segment.header_at(scan.end)?,
            Depth::Full => segment.frame_at(scan.end, &mut buffer)?,
        };
        match found {
            Ok(header)
                if header.first_sequence == scan.next_sequence
                    && next_first.is_none_or(|next| header.last_sequence() < next) =>
            {
                if header.durable + 1 == header.first_sequence {
                    (scan.unproven, scan.unproven_sequence) = (scan.end, header.first_sequence);
                }
                scan.end += on_disk(header.padded_len());
                scan.next_sequence += u64::from(header.count);
                scan.frames += 1;
                scan.records += u64::from(header.count);
                scan.first = scan.first.or(Some(header));
                scan.last = Some(header);
            }
            Ok(_) => break FrameError::Sequence,
            Err(error) => break error,
        }
    };
    let behind = scan.end..=segment.size;
    let holes = manifest.holes.iter();
    let holes = holes.filter(|hole| hole.epoch == segment.epoch && behind.contains(&hole.offset));
    let last = holes.map(|hole| hole.end_sequence() - 1).max();
    scan.set_aside = last.unwrap_or(0);
    if depth == Depth::Full {
        let (behind, broken) = (&mut scan.behind, &mut scan.broken);
        blocks(segment, scan.end, |at, found| match found {
            Ok(header) => behind.push((at, header)),
            Err(FrameError::HeaderChecksum | FrameError::Header) => broken.push(at),
            Err(_) => {}
        })?;
    }
    Ok(scan)
}

/// All frame headers of the segment's epoch from `offset` on, wherever a frame may begin.
pub(crate) fn headers(segment: &Segment, offset: u64) -> io::Result<Vec<(u64, FrameHeader)>> {
    let mut headers = Vec::new();
    blocks(segment, offset, |at, found| {
        headers.extend(found.ok().map(|header| (at, header)));
    })?;
    Ok(headers)
}

/// Looks for a frame header at each place from `offset` on where one may begin.
fn blocks(
    segment: &Segment,
    offset: u64,
    mut look: impl FnMut(u64, Result<FrameHeader, FrameError>),
) -> io::Result<()> {
    let left = segment.size.saturating_sub(offset);
    let mut buffer = vec![0; in_memory(left.min(on_disk(CHUNK)))];
    let mut at = offset;
    while at < segment.size {
        let wanted = in_memory((segment.size - at).min(on_disk(CHUNK)));
        let chunk = buffer.get_mut(..wanted).unwrap_or_default();
        let read = read_full_at(&*segment.file, chunk, at)?;
        for block in chunk.get(..read).unwrap_or_default().chunks(ALIGNMENT) {
            if let Some(header) = block.first_chunk::<HEADER_LEN>() {
                look(at, segment.check_header(header, at));
            }
            at += on_disk(ALIGNMENT);
        }
        if read < wanted {
            break;
        }
    }
    Ok(())
}

const CHUNK: usize = 1 << 20;
