//! Why a sink stops.

use crate::feed::{CursorError, FeedError};
use std::io;

/// Why a sink has stopped for good. Its events stay in the journal.
#[derive(Debug, thiserror::Error)]
pub enum SinkError {
    /// There is nothing to be had any more.
    #[error(transparent)]
    Feed(#[from] FeedError),
    /// The cursor cannot be saved.
    #[error(transparent)]
    Cursor(#[from] CursorError),
    /// The receiver wants nothing any more.
    #[error(
        "{0}: the receiver says for good that it takes nothing; correct what it refuses, or remove the sink from the configuration"
    )]
    Refused(String),
    /// What it writes to keeps nothing that is synced: it would be written again without end.
    #[error("{0}: what it writes to cannot be synced; name a regular file")]
    Unsyncable(io::Error),
    /// It was asked to stop while deliveries failed.
    #[error("{0}: what is not delivered waits in the journal for the next start")]
    Unfinished(String),
    /// What delivers for it has ended.
    #[error("{0}: that is a fault of Hookline")]
    Broken(String),
    /// Somebody else writes in its place, or to where it writes; the reason says what to do.
    #[error("{0}")]
    Displaced(String),
    /// What it writes to has less than was confirmed: everything up to this sequence. It goes on there.
    #[error("what it writes to has only what stands up to sequence {0}")]
    Behind(u64),
    /// The reader of a pipe has gone.
    #[error("the reader of its output has gone")]
    Gone,
}
