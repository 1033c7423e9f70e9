//! What can go wrong with a journal, and what to do about it.

use super::frame::FrameError;
use super::names;
use crate::disk::{self, Storage, repair};
use std::io;

/// Why the journal cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    #[error(transparent)]
    Io(#[from] disk::Error),
    /// Another process has the directory.
    #[error(
        "the journal is in use ({holder} holds {path}): stop that process, or give this one a directory of its own"
    )]
    Locked {
        path: String,
        /// What the holder left there.
        holder: String,
    },
    /// The options contradict each other or the format.
    #[error("journal options: {0}")]
    Options(String),
    /// Neither a segment nor a manifest is there.
    #[error("there is no journal in {path}; see --data-dir")]
    NoJournal { path: String },
    /// There are segments and no manifest.
    #[error(
        "{path} is missing but there was a journal: restore it from a backup, let `{}` make it again, or move the \
         directory away to begin a new journal",
        repair(.path)
    )]
    ManifestMissing { path: String },
    /// The manifest is not what was written.
    #[error(
        "{path} is damaged ({reason}): let `{}` make it again from the segments",
        repair(.path)
    )]
    Manifest { path: String, reason: String },
    /// A newer Hookline wrote this.
    #[error("{path} was written by a newer version: run that version, or upgrade this one")]
    Newer { path: String },
    /// All 65,535 endpoint numbers are used, or the path cannot stand in the manifest.
    #[error("endpoint {path:?} cannot be numbered: {reason}")]
    Endpoint { path: String, reason: &'static str },
    /// The manifest lists a segment that is not there.
    #[error(
        "{path} is missing: restore it from a backup, or go on without it with \
         `{}`{}",
        repair(.path),
        held(*.first_sequence)
    )]
    SegmentMissing {
        path: String,
        /// Sequence of its first record, 0 if that is not known, or it was not in use yet.
        first_sequence: u64,
    },
    /// A segment's header does not belong to this journal and place.
    #[error(
        "{path} is not the segment that belongs here ({reason}): restore it from a backup, or see `{}`",
        repair(.path)
    )]
    SegmentHeader { path: String, reason: &'static str },
    /// Records that were durable cannot be read any more, and there are whole ones behind them.
    #[error(
        "{path} is damaged at offset {offset} ({reason}): sequence {first_sequence} {}\
         cannot be read; restore the file from a backup, or set the damage aside with \
         `{}` and go on without these records",
        until(*.last_sequence),
        repair(.path)
    )]
    Damaged {
        path: String,
        offset: u64,
        reason: FrameError,
        /// First sequence that cannot be read.
        first_sequence: u64,
        /// Last one, if what follows tells.
        last_sequence: Option<u64>,
    },
    /// What a reader wants was removed by retention.
    #[error("sequence {wanted} is not in the journal any more: the first that is, is {first}")]
    Gone {
        /// The sequence that was asked for.
        wanted: u64,
        /// The first one that there is.
        first: u64,
    },
    /// A batch is larger than the options said that any would be.
    #[error("a batch of {bytes} bytes does not fit in a segment: raise the segment size")]
    BatchTooLarge { bytes: u64 },
    /// The journal was closed while batches waited for space on the disk.
    #[error(
        "no space for another segment, and {batches} batches could not be stored: free some space"
    )]
    NoSpace {
        /// Batches that were not stored. None of them was answered as stored.
        batches: usize,
    },
    /// The directory, or a file in use, is not any more what its name leads to.
    #[error(
        "{path} {how}: somebody has moved, removed or replaced it, or cut it short, under a running server, so what was \
         stored last may not be found there again; put back what was in use before the next start"
    )]
    Displaced {
        /// The directory or the file.
        path: String,
        /// What a look has found there.
        how: &'static str,
    },
    /// All sequences, or all epochs, were given; see [`super::frame::NUMBER_END`].
    #[error(
        "the journal has no number left: what claims to be that high was not written by Hookline; move the \
         directory away to begin a new journal"
    )]
    UsedUp,
    /// Another of the journal's threads has failed, and says why.
    #[error("the journal has failed: restart")]
    Failed,
}

impl JournalError {
    /// For `map_err`: what was tried on the segment of this epoch.
    pub(crate) fn segment(
        storage: &dyn Storage,
        action: &'static str,
        epoch: u64,
    ) -> impl FnOnce(io::Error) -> JournalError {
        move |cause| disk::Error::on(storage, action, &names::segment(epoch), cause).into()
    }

    /// True for what passes by itself when there is space again.
    pub fn is_shortage(&self) -> bool {
        matches!(self, JournalError::Io(error) if error.is_shortage())
    }
}

fn held(first_sequence: u64) -> String {
    if first_sequence == 0 {
        return String::new();
    }
    format!("; it held the records from {first_sequence} on")
}

fn until(last_sequence: Option<u64>) -> String {
    last_sequence.map_or_else(
        || "and what follows ".to_owned(),
        |last| format!("to {last} "),
    )
}
