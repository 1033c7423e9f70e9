//! The settings of a journal.

use super::error::JournalError;
use super::frame::{HEADER_LEN, LENGTH_MAX, NUMBER_END};
use super::segment::HEADER_BLOCK;
use crate::disk::block::{ALIGNMENT, in_memory, on_disk, padded};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

/// The settings of a journal. All sizes are in bytes.
#[derive(Clone, Debug)]
pub struct Options {
    /// Size of a segment, a multiple of 4096. Default 256 MiB: large enough that a roll is rare, small
    /// enough that retention is not coarse. Files of another size stay in use until they retire.
    pub segment_size: u64,
    /// The largest frame that the loops may send, header included: a batch is closed before it would
    /// grow beyond. Default 8 MiB: the largest body, 4 MiB, and what is gathered beside it.
    pub largest_frame: u64,
    /// How long records stay after every consumer has passed them. Default 7 days, as long as the
    /// platform retries.
    pub retention: Duration,
    /// Above this size, segments that every consumer has passed go before their time. Default none.
    pub max_size: Option<u64>,
    /// Longest time that a batch without `needs_sync` stays unsynced. Default 50 ms.
    pub sync_interval: Duration,
    /// Bytes written but not synced that bring the next sync forward. Default 8 MiB.
    pub unsynced_max: u64,
    /// While there is no space for another segment, the journal says that it is full once the active
    /// one has less room than this: what the loops may have accepted and not yet seen durable.
    /// Default 32 MiB.
    pub reserve: u64,
    /// Lowest sequence that a consumer still needs; no segment from there on goes. Default
    /// `u64::MAX`: nobody needs any.
    pub retention_hold: Arc<AtomicU64>,
    /// Highest sequence that a consumer says it has had: so it was durable once. Default 0.
    pub confirmed: u64,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            segment_size: 256 << 20,
            largest_frame: 8 << 20,
            retention: Duration::from_hours(7 * 24),
            max_size: None,
            sync_interval: Duration::from_millis(50),
            unsynced_max: 8 << 20,
            reserve: 32 << 20,
            retention_hold: Arc::new(AtomicU64::new(u64::MAX)),
            confirmed: 0,
        }
    }
}

impl Options {
    /// Checks what the format and the other settings demand.
    pub(crate) fn check(&self) -> Result<(), JournalError> {
        let refuse = |reason: String| Err(JournalError::Options(reason));
        if !self.segment_size.is_multiple_of(on_disk(ALIGNMENT)) {
            return refuse(format!(
                "the segment size must be a multiple of {ALIGNMENT}"
            ));
        }
        if self.largest_frame > on_disk(HEADER_LEN + LENGTH_MAX) {
            return refuse(format!(
                "the largest frame can be no more than {} bytes",
                HEADER_LEN + LENGTH_MAX
            ));
        }
        if self.confirmed >= NUMBER_END {
            return refuse(format!(
                "no consumer has had sequence {}, since none is as high",
                self.confirmed
            ));
        }
        let largest = on_disk(padded(in_memory(self.largest_frame)));
        if self.segment_size < HEADER_BLOCK + largest.max(on_disk(ALIGNMENT)) {
            return refuse(format!(
                "a segment of {} bytes cannot hold the largest frame of {}: raise the segment size",
                self.segment_size, self.largest_frame
            ));
        }
        if self.segment_size > SEGMENT_SIZE_MAX {
            return refuse(format!(
                "a segment can have {SEGMENT_SIZE_MAX} bytes at most"
            ));
        }
        Ok(())
    }
}

/// 64 GiB: recovery reads a whole segment, and retention removes a whole one.
const SEGMENT_SIZE_MAX: u64 = 64 << 30;
