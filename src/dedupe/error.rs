//! What can go wrong with the memory of keys.

use crate::disk::{self, IoContext, Storage};
use std::io::ErrorKind;

/// Why duplicates cannot be found now.
#[derive(Debug, thiserror::Error)]
pub enum DedupeError {
    #[error(transparent)]
    Io(#[from] disk::Error),
    /// Deliveries are decided once and in journal order; a retry brings the one that failed.
    #[error(
        "the delivery from sequence {first} on cannot be decided now: it is the turn of {wanted}"
    )]
    OutOfOrder {
        /// Sequence that comes next.
        wanted: u64,
        /// First sequence of the delivery.
        first: u64,
    },
    /// A sync failed before, and what it was to write may be lost though the next one would succeed.
    #[error(
        "the memory of keys could not be synced before: restart to go on from what is known to be stored"
    )]
    Failed,
}

impl DedupeError {
    /// True for what passes by itself when there is space again: the same call is to be made again then.
    pub fn is_shortage(&self) -> bool {
        matches!(self, DedupeError::Io(error) if error.is_shortage())
    }
}

/// Removes a file that may have gone already.
pub(super) fn remove_file(storage: &dyn Storage, name: &str) -> Result<(), disk::Error> {
    match storage.remove(name) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        removed => removed.on(storage, "remove", name),
    }
}
