//! One heap buffer that moves by ownership: event loop → commit thread → worker → feed → back.
//!
//! Bodies are appended once, in the exact form that goes to disk (see [`super::frame`]); nothing copies
//! them again to store them. Dropping a batch returns its buffer to the pool of the loop that filled it,
//! on whatever thread and path the drop happens.

use super::frame::{FrameError, FrameHeader, HEADER_LEN};
use super::record::{self, Record};
use crate::disk::block::padded;
use crossbeam_channel::{Receiver, Sender, bounded};

/// The free buffers of one event loop. Bounded: a buffer that finds the pool full is freed.
#[derive(Clone, Debug)]
pub struct Pool {
    give: Sender<Vec<u8>>,
    take: Receiver<Vec<u8>>,
    buffer_size: usize,
}

impl Pool {
    /// A pool that keeps up to `buffers` free buffers of `buffer_size` bytes.
    pub fn new(buffers: usize, buffer_size: usize) -> Pool {
        let (give, take) = bounded(buffers);
        Pool {
            give,
            take,
            buffer_size,
        }
    }

    /// An empty batch, in a recycled buffer where there is one.
    pub fn batch(&self) -> Batch {
        let buffer = self
            .take
            .try_recv()
            .unwrap_or_else(|_| Vec::with_capacity(self.buffer_size));
        Batch::in_buffer(buffer, Some(self.clone()))
    }
}

/// What the commit thread knows of a frame and its batch does not.
#[derive(Clone, Copy, Debug)]
pub struct Seal {
    pub epoch: u64,
    /// Salt of the segment, see [`super::frame`].
    pub salt: u32,
    /// Sequence of the first record.
    pub first_sequence: u64,
    /// Time of the commit in microseconds since 1970.
    pub committed_at: u64,
    /// Highest sequence that is durable already.
    pub durable: u64,
}

/// Where a frame stands, for a reader that is to go on behind it without looking for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameAt {
    pub(super) epoch: u64,
    pub(super) offset: u64,
    pub(super) first_sequence: u64,
}

/// A frame being filled, or a sealed one.
#[derive(Debug)]
pub struct Batch {
    /// Room for the header, then the records; padded once sealed.
    frame: Vec<u8>,
    records_end: usize,
    count: u32,
    first_sequence: u64,
    needs_sync: bool,
    /// Index of the event loop that filled it.
    pub origin: usize,
    /// The loop's running number of the last record: what becomes durable with this batch.
    pub last_ticket: u64,
    /// Where its frame stands in the journal, if it does. Set by the one who wrote or read it.
    pub at: Option<FrameAt>,
    pool: Option<Pool>,
}

impl Batch {
    fn in_buffer(mut frame: Vec<u8>, pool: Option<Pool>) -> Batch {
        frame.clear();
        frame.resize(HEADER_LEN, 0);
        Batch {
            frame,
            records_end: HEADER_LEN,
            count: 0,
            first_sequence: 0,
            needs_sync: false,
            origin: 0,
            last_ticket: 0,
            at: None,
            pool,
        }
    }

    /// A batch outside of any pool, for readers, tools and tests.
    pub fn unpooled() -> Batch {
        Batch::in_buffer(Vec::new(), None)
    }

    /// Appends one record; see [`record::encode`]. `flags` without
    /// [`record::FLAG_RECEIVED`] makes the batch one that must be synced at once.
    pub fn append<'h>(
        &mut self,
        endpoint: u16,
        flags: u16,
        received_at: u64,
        headers: impl Iterator<Item = (&'h [u8], &'h [u8])>,
        body: &[u8],
    ) {
        debug_assert_eq!(self.first_sequence, 0, "a sealed batch is not appended to");
        record::encode(&mut self.frame, endpoint, flags, received_at, headers, body);
        self.records_end = self.frame.len();
        self.count += 1;
        self.needs_sync |= flags & record::FLAG_RECEIVED == 0;
    }

    /// Number of records.
    pub fn count(&self) -> u32 {
        self.count
    }

    /// True while nothing was appended.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Bytes of the header and the records, padding not counted.
    pub fn len(&self) -> usize {
        self.records_end
    }

    /// True when an answer waits for this batch to be synced.
    pub fn needs_sync(&self) -> bool {
        self.needs_sync
    }

    /// Sequence of the first record; 0 until sealed.
    pub fn first_sequence(&self) -> u64 {
        self.first_sequence
    }

    /// Sequence of the last record; meaningless until sealed.
    pub fn last_sequence(&self) -> u64 {
        (self.first_sequence + u64::from(self.count)).saturating_sub(1)
    }

    /// Gives the batch its place in the journal: writes the header, checksums included, and pads it.
    ///
    /// # Panics
    /// On an empty batch, or one larger than 4 GiB.
    #[expect(
        clippy::indexing_slicing,
        reason = "a batch always has room for its header"
    )]
    pub fn seal(&mut self, seal: &Seal) {
        assert!(
            self.count > 0 && seal.first_sequence > 0,
            "only a batch with records has a place"
        );
        let records = &self.frame[HEADER_LEN..self.records_end];
        let header = FrameHeader {
            epoch: seal.epoch,
            first_sequence: seal.first_sequence,
            count: self.count,
            length: u32::try_from(records.len()).expect("limits keep batches below 4 GiB"),
            committed_at: seal.committed_at,
            durable: seal.durable,
            records_crc: crc32c::crc32c(records),
        };
        self.frame[..HEADER_LEN].copy_from_slice(&header.encode(seal.salt));
        // Behind a large body there is no room as yet, and twice as much is not needed.
        self.frame
            .reserve_exact(padded(self.records_end) - self.records_end);
        self.frame.resize(padded(self.records_end), 0);
        self.first_sequence = seal.first_sequence;
    }

    /// The frame as it goes to disk, padding included. Only of a sealed batch.
    pub fn frame(&self) -> &[u8] {
        debug_assert!(self.first_sequence > 0, "not sealed yet");
        &self.frame
    }

    /// Takes a frame that was read back from a segment with this salt. Checks both checksums and every
    /// record.
    pub fn from_frame(mut frame: Vec<u8>, salt: u32) -> Result<Batch, FrameError> {
        let header = check_frame(&frame, salt)?;
        frame.truncate(header.len());
        Ok(Batch {
            records_end: frame.len(),
            frame,
            count: header.count,
            first_sequence: header.first_sequence,
            needs_sync: false,
            origin: 0,
            last_ticket: 0,
            at: None,
            pool: None,
        })
    }

    /// The records in order.
    #[expect(
        clippy::indexing_slicing,
        reason = "a batch always has room for its header"
    )]
    pub fn records(&self) -> impl Iterator<Item = Record<'_>> {
        let mut rest = &self.frame[HEADER_LEN..self.records_end];
        std::iter::from_fn(move || {
            let (record, after) = Record::decode(rest)?;
            rest = after;
            Some(record)
        })
    }

    /// The records of a sealed batch from `sequence` on, each with its own sequence. A frame that is
    /// read back may begin before the sequence that was asked for.
    pub fn records_from(&self, sequence: u64) -> impl Iterator<Item = (u64, Record<'_>)> {
        self.records()
            .zip(self.first_sequence..)
            .map(|(record, at)| (at, record))
            .skip_while(move |(at, _)| *at < sequence)
    }
}

/// Checks both checksums and every record of a frame; bytes behind it are ignored.
pub(crate) fn check_frame(frame: &[u8], salt: u32) -> Result<FrameHeader, FrameError> {
    let (header, rest) = frame
        .split_first_chunk::<HEADER_LEN>()
        .ok_or(FrameError::Magic)?;
    let header = FrameHeader::decode(header, salt)?;
    let mut records = rest
        .get(..header.len() - HEADER_LEN)
        .ok_or(FrameError::Records)?;
    if crc32c::crc32c(records) != header.records_crc {
        return Err(FrameError::RecordsChecksum);
    }
    for _ in 0..header.count {
        records = Record::decode(records).ok_or(FrameError::Records)?.1;
    }
    if records.is_empty() {
        Ok(header)
    } else {
        Err(FrameError::Records)
    }
}

impl Drop for Batch {
    fn drop(&mut self) {
        let Some(pool) = &self.pool else { return };
        // One large body must not pin its buffer for ever.
        if self.frame.capacity() <= 2 * pool.buffer_size {
            let _ = pool.give.try_send(std::mem::take(&mut self.frame));
        }
    }
}
