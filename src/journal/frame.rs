//! The unit on disk: one batch behind one header.
//!
//! A frame starts at a multiple of [`ALIGNMENT`] in its segment and is padded with zeros to the next
//! one, so no commit ever rewrites a block that holds something answered. All integers are
//! little-endian.
//!
//! | offset | size | field |
//! |---|---|---|
//! | 0 | 4 | magic `HKLF` |
//! | 4 | 2 | format version, 1 |
//! | 6 | 2 | zero |
//! | 8 | 8 | epoch of the segment: a leftover of its former life has a lower one |
//! | 16 | 8 | sequence of the first record; the others follow without a gap |
//! | 24 | 4 | number of records, at least 1 |
//! | 28 | 4 | length of the records in octets, padding not counted |
//! | 32 | 8 | time of the commit, microseconds since 1970 |
//! | 40 | 16 | zero |
//! | 56 | 4 | CRC32C of the records |
//! | 60 | 4 | CRC32C of the 60 octets before |
//! | 64 | | the records, see [`super::record`] |

/// Octets of a frame header.
pub const HEADER_LEN: usize = 64;

/// Frames start at multiples of this many octets: the block size of the file systems and drives that
/// matter, so a torn write can never reach a frame that was synced before.
pub const ALIGNMENT: usize = 4096;

/// Largest `length` a header may give: one record of the largest body that can be configured, and
/// what a batch gathers beside it. Bounds what a damaged header can make a reader allocate.
pub const LENGTH_MAX: usize = 96 << 20;

const MAGIC: [u8; 4] = *b"HKLF";
const VERSION: u16 = 1;

/// A frame header, decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameHeader {
    /// Epoch of the segment that the frame was written to.
    pub epoch: u64,
    /// Sequence of the first record.
    pub first_sequence: u64,
    /// Number of records.
    pub count: u32,
    /// Octets of the records, padding not counted.
    pub length: u32,
    /// Time of the commit in microseconds since 1970.
    pub committed_at: u64,
    /// CRC32C of the records.
    pub records_crc: u32,
}

/// Why some octets are no frame.
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
    /// The records' checksum does not hold.
    #[error("checksum of the records does not match")]
    RecordsChecksum,
    /// The records do not add up to what the header says.
    #[error("records are not consistent with the frame header")]
    Records,
}

impl FrameHeader {
    /// Octets that the frame takes in the segment, padding included.
    #[must_use]
    pub fn padded_len(&self) -> usize {
        padded(HEADER_LEN + self.length as usize)
    }

    /// Sequence of the last record.
    #[must_use]
    pub fn last_sequence(&self) -> u64 {
        self.first_sequence + u64::from(self.count) - 1
    }

    /// The header as it stands on disk.
    #[must_use]
    pub fn encode(&self) -> [u8; HEADER_LEN] {
        let mut out = [0; HEADER_LEN];
        let mut at = 0;
        let mut put = |octets: &[u8]| {
            out[at..at + octets.len()].copy_from_slice(octets);
            at += octets.len();
        };
        put(&MAGIC);
        put(&VERSION.to_le_bytes());
        put(&[0; 2]);
        put(&self.epoch.to_le_bytes());
        put(&self.first_sequence.to_le_bytes());
        put(&self.count.to_le_bytes());
        put(&self.length.to_le_bytes());
        put(&self.committed_at.to_le_bytes());
        put(&[0; 16]);
        put(&self.records_crc.to_le_bytes());
        let crc = crc32c::crc32c(&out[..HEADER_LEN - 4]);
        out[HEADER_LEN - 4..].copy_from_slice(&crc.to_le_bytes());
        out
    }

    /// Decodes a header and checks everything that it can say about itself.
    pub fn decode(octets: &[u8; HEADER_LEN]) -> Result<FrameHeader, FrameError> {
        let field4 = |at: usize| u32::from_le_bytes([0, 1, 2, 3].map(|i| octets[at + i]));
        let field8 =
            |at: usize| u64::from_le_bytes([0, 1, 2, 3, 4, 5, 6, 7].map(|i| octets[at + i]));
        if octets[..4] != MAGIC {
            return Err(FrameError::Magic);
        }
        if field4(60) != crc32c::crc32c(&octets[..HEADER_LEN - 4]) {
            return Err(FrameError::HeaderChecksum);
        }
        let version = u16::from_le_bytes([octets[4], octets[5]]);
        if version != VERSION {
            return Err(FrameError::Version(version));
        }
        let header = FrameHeader {
            epoch: field8(8),
            first_sequence: field8(16),
            count: field4(24),
            length: field4(28),
            committed_at: field8(32),
            records_crc: field4(56),
        };
        let consistent = header.count > 0
            && header.first_sequence > 0
            && header
                .first_sequence
                .checked_add(u64::from(header.count))
                .is_some()
            && header.length as usize <= LENGTH_MAX
            && octets[6..8] == [0; 2]
            && octets[40..56] == [0; 16];
        if consistent {
            Ok(header)
        } else {
            Err(FrameError::Header)
        }
    }
}

/// `len` rounded up to [`ALIGNMENT`].
#[must_use]
pub fn padded(len: usize) -> usize {
    len.next_multiple_of(ALIGNMENT)
}
