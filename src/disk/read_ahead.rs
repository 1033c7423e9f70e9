//! Reading ahead in pieces that no commit has to wait for.
//!
//! A kernel reads ahead as far as the device is set up for, which may be many mebibytes at a time, and a sync that
//! answers wait for stands behind them in the queue of the device: with 8 MiB the p99 of answers beside a consumer that
//! catches up is twice what it is without. [`WINDOW`] octets are enough for that consumer.

use super::storage::StorageFile;

/// How far a file was read ahead.
#[derive(Debug, Default)]
pub(crate) struct ReadAhead {
    end: u64,
}

impl ReadAhead {
    /// The file was read up to `offset`, and goes on being read there.
    pub(crate) fn follow(&mut self, file: &dyn StorageFile, offset: u64) {
        if self.end < offset + WINDOW / 2 {
            let end = offset + WINDOW;
            // Advice: what was not read ahead is read when it is wanted.
            let _ = file.read_ahead(self.end.max(offset)..end);
            self.end = end;
        }
    }
}

/// Octets that are read ahead at most; when half of them are used up come the next ones.
const WINDOW: u64 = 256 << 10;
