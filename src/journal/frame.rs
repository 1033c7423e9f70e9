//! The unit on disk: one batch behind one header.
//!
//! A frame starts at a multiple of [`ALIGNMENT`](crate::disk::block::ALIGNMENT) in its segment and is padded with zeros
//! to the next one, so no commit ever rewrites a block that holds something answered. All integers are little-endian.
//!
//! | offset | size | field |
//! |---|---|---|
//! | 0 | 4 | magic `HKLF` |
//! | 4 | 2 | format version, 1 |
//! | 6 | 2 | zero |
//! | 8 | 8 | epoch of the segment: a leftover of its former life has a lower one |
//! | 16 | 8 | sequence of the first record; the others follow without a gap |
//! | 24 | 4 | number of records, at least 1 |
//! | 28 | 4 | length of the records in bytes, padding not counted |
//! | 32 | 8 | time of the commit, microseconds since 1970 |
//! | 40 | 8 | highest sequence that was durable when this frame was written |
//! | 48 | 8 | zero |
//! | 56 | 4 | CRC32C of the records |
//! | 60 | 4 | CRC32C of the 60 bytes before, begun with the salt of the segment |
//! | 64 | | the records, see [`super::record`] |
//!
//! Several frames are written before one sync, and a power cut may keep any of them. A hole with whole
//! frames behind it is therefore no proof of damage; a frame behind it that says that the missing
//! sequence *was* durable is one.
//!
//! The salt comes from the journal's random id. Without it, a sender could put something into a body
//! that passes for a frame, and a later life of the segment could leave it lying where one is expected.

use crate::disk::block::{in_memory, padded};
/// Bytes of a frame header.
pub const HEADER_LEN: usize = 64;

/// Largest `length` a header may give: one record of the largest body that can be configured, and
/// what a batch gathers beside it. Bounds what a damaged header can make a reader allocate.
pub const LENGTH_MAX: usize = 96 << 20;

/// Every sequence and every epoch is below this, so none behind one can overflow. At a million records a second a
/// journal comes to it after 292 000 years: what claims more was never given.
pub const NUMBER_END: u64 = 1 << 63;

const MAGIC: [u8; 4] = *b"HKLF";
const VERSION: u16 = 1;

/// A frame header, decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameHeader {
    /// Epoch of the segment that the frame was written to.
    pub epoch: u64,
    /// Sequence of the first record.
    pub first_sequence: u64,
    pub count: u32,
    /// Bytes of the records, padding not counted.
    pub length: u32,
    /// Time of the commit in microseconds since 1970.
    pub committed_at: u64,
    /// Highest sequence that was durable when this frame was written.
    pub durable: u64,
    pub records_crc: u32,
}

/// Why some bytes are no frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// The magic is absent: nothing was ever written here, or something else was.
    #[error("no frame header")]
    Magic,
    /// Written by a newer Hookline.
    #[error("frame format version {0} is not known to this build")]
    Version(u16),
    /// The header's own checksum does not hold.
    #[error("frame header checksum does not match")]
    HeaderChecksum,
    /// The header is whole and says what cannot be.
    #[error("frame header is not consistent")]
    Header,
    /// A leftover of a former life of the segment, or the segment was recycled under its reader.
    #[error("frame of epoch {0}, not of this segment")]
    Epoch(u64),
    /// The frame is whole, but another sequence should stand here.
    #[error("frame out of sequence")]
    Sequence,
    /// The records' checksum does not hold.
    #[error("checksum of the records does not match")]
    RecordsChecksum,
    /// The records do not add up to what the header says.
    #[error("records are not consistent with the frame header")]
    Records,
}

impl FrameHeader {
    /// Bytes that the frame takes in the segment, padding included.
    pub fn padded_len(&self) -> usize {
        padded(self.len())
    }

    /// Bytes of the header and the records.
    #[expect(clippy::len_without_is_empty, reason = "no frame is empty")]
    pub fn len(&self) -> usize {
        HEADER_LEN + in_memory(u64::from(self.length))
    }

    /// Sequence of the last record.
    pub fn last_sequence(&self) -> u64 {
        self.first_sequence + u64::from(self.count) - 1
    }

    /// The header as it stands on disk in a segment with this salt.
    #[expect(
        clippy::indexing_slicing,
        reason = "the fields add up to the length of the array"
    )]
    pub fn encode(&self, salt: u32) -> [u8; HEADER_LEN] {
        let mut out = [0; HEADER_LEN];
        let mut at = 0;
        let mut put = |bytes: &[u8]| {
            out[at..at + bytes.len()].copy_from_slice(bytes);
            at += bytes.len();
        };
        put(&MAGIC);
        put(&VERSION.to_le_bytes());
        put(&[0; 2]);
        put(&self.epoch.to_le_bytes());
        put(&self.first_sequence.to_le_bytes());
        put(&self.count.to_le_bytes());
        put(&self.length.to_le_bytes());
        put(&self.committed_at.to_le_bytes());
        put(&self.durable.to_le_bytes());
        put(&[0; 8]);
        put(&self.records_crc.to_le_bytes());
        let crc = crc32c::crc32c_append(salt, &out[..HEADER_LEN - 4]);
        out[HEADER_LEN - 4..].copy_from_slice(&crc.to_le_bytes());
        out
    }

    /// The epoch that bytes would have as a header, nothing of which is checked.
    pub(crate) fn claimed_epoch(bytes: &[u8; HEADER_LEN]) -> u64 {
        let epoch = bytes.get(8..).and_then(<[u8]>::first_chunk::<8>);
        epoch.copied().map_or(0, u64::from_le_bytes)
    }

    /// Decodes a header and checks everything that it can say about itself.
    #[expect(
        clippy::indexing_slicing,
        reason = "constant places in an array of known length"
    )]
    pub fn decode(bytes: &[u8; HEADER_LEN], salt: u32) -> Result<FrameHeader, FrameError> {
        let field4 = |at: usize| u32::from_le_bytes([0, 1, 2, 3].map(|i| bytes[at + i]));
        let field8 =
            |at: usize| u64::from_le_bytes([0, 1, 2, 3, 4, 5, 6, 7].map(|i| bytes[at + i]));
        if bytes[..4] != MAGIC {
            return Err(FrameError::Magic);
        }
        if field4(60) != crc32c::crc32c_append(salt, &bytes[..HEADER_LEN - 4]) {
            return Err(FrameError::HeaderChecksum);
        }
        let version = u16::from_le_bytes([bytes[4], bytes[5]]);
        if version != VERSION {
            return Err(FrameError::Version(version));
        }
        let header = FrameHeader {
            epoch: field8(8),
            first_sequence: field8(16),
            count: field4(24),
            length: field4(28),
            committed_at: field8(32),
            durable: field8(40),
            records_crc: field4(56),
        };
        let consistent = header.count > 0
            && header.first_sequence > 0
            && header
                .first_sequence
                .checked_add(u64::from(header.count))
                .is_some_and(|end| end <= NUMBER_END)
            && header.durable < header.first_sequence
            && in_memory(u64::from(header.length)) <= LENGTH_MAX
            && bytes[6..8] == [0; 2]
            && bytes[48..56] == [0; 8];
        if consistent {
            Ok(header)
        } else {
            Err(FrameError::Header)
        }
    }
}
