//! The log of duplicates, and its writing end: files `duplicates-SEQ`, named by their first sequence.
//!
//! Entries in journal order, 24 bytes each:
//!
//! | offset | size | field |
//! |---|---|---|
//! | 0 | 8 | sequence |
//! | 8 | 8 | fingerprint of the key: another version may take a body apart in another way |
//! | 16 | 4 | index |
//! | 20 | 4 | CRC32C of the 20 bytes before |
//!
//! All integers are little-endian. A file that has [`FILE_MAX`] bytes is not appended to any more, and a sequence
//! stands in one file only. Behind the last entry there is nothing, or zeros: what a crash has left there.

use super::error::{DedupeError, remove_file};
use crate::disk::{IoContext, Storage, StorageFile, write_all_at};
use crate::event::Position;
use std::collections::VecDeque;
use std::io::IoSlice;
use std::sync::Arc;

/// One entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Mark {
    pub(super) position: Position,
    pub(super) fingerprint: u64,
}

/// The writing end.
pub(super) struct DuplicateLog {
    storage: Arc<dyn Storage>,
    /// Oldest first.
    files: VecDeque<MarkFile>,
    /// What is behind the written part of the last one, or for the next one.
    pending: Vec<Mark>,
    scratch: Vec<u8>,
    /// First sequences of those that the last checkpoint may still need.
    gone: Vec<u64>,
}

pub(super) struct MarkFile {
    pub(super) file: Box<dyn StorageFile>,
    pub(super) extent: Extent,
    pub(super) is_synced: bool,
}

/// What the checkpoint says of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Extent {
    /// Sequence of the first entry.
    pub(super) first: u64,
    /// Bytes that are written.
    pub(super) bytes: u64,
}

impl Mark {
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        let start = out.len();
        out.extend_from_slice(&self.position.sequence.to_le_bytes());
        out.extend_from_slice(&self.fingerprint.to_le_bytes());
        out.extend_from_slice(&self.position.index.to_le_bytes());
        let crc = crc32c::crc32c(&out[start..]);
        out.extend_from_slice(&crc.to_le_bytes());
    }

    /// `None` for what is no entry, or not yet.
    pub(super) fn decode(bytes: &[u8; MARK_LEN]) -> Option<Mark> {
        let (sequence, rest) = bytes.split_first_chunk::<8>()?;
        let (fingerprint, rest) = rest.split_first_chunk::<8>()?;
        let (index, crc) = rest.split_first_chunk::<4>()?;
        let sequence = u64::from_le_bytes(*sequence);
        let is_whole = crc == crc32c::crc32c(&bytes[..MARK_LEN - 4]).to_le_bytes();
        // There is no sequence 0.
        (is_whole && sequence > 0).then_some(Mark {
            position: Position {
                sequence,
                index: u32::from_le_bytes(*index),
            },
            fingerprint: u64::from_le_bytes(*fingerprint),
        })
    }
}

impl DuplicateLog {
    /// A log with these files.
    pub(super) fn new(storage: Arc<dyn Storage>, files: VecDeque<MarkFile>) -> DuplicateLog {
        DuplicateLog {
            storage,
            files,
            pending: Vec::new(),
            scratch: Vec::new(),
            gone: Vec::new(),
        }
    }

    /// Notes a duplicate, behind all that were.
    pub(super) fn push(&mut self, mark: Mark) {
        self.pending.push(mark);
    }

    /// Writes what was noted, without a sync. After an error it is to be called again.
    pub(super) fn flush(&mut self) -> Result<(), DedupeError> {
        let Some(mark) = self.pending.first() else {
            return Ok(());
        };
        let first = mark.position.sequence;
        let is_full = |last: &MarkFile| last.extent.bytes >= FILE_MAX;
        if self.files.back().is_none_or(is_full) {
            let name = file_name(first);
            let file = self
                .storage
                .create(&name)
                .on(&*self.storage, "create", &name)?;
            self.files.push_back(MarkFile {
                file,
                extent: Extent { first, bytes: 0 },
                is_synced: false,
            });
        }
        self.scratch.clear();
        for mark in &self.pending {
            mark.encode(&mut self.scratch);
        }
        if let Some(MarkFile {
            file,
            extent,
            is_synced,
        }) = self.files.back_mut()
        {
            *is_synced = false;
            write_all_at(&**file, &mut [IoSlice::new(&self.scratch)], extent.bytes).on_named(
                &*self.storage,
                "write",
                || file_name(extent.first),
            )?;
            extent.bytes += self.scratch.len() as u64;
        }
        self.pending.clear();
        Ok(())
    }

    /// Makes what was written durable, but for the names of the files.
    pub(super) fn sync(&mut self) -> Result<(), DedupeError> {
        for file in self.files.iter_mut().filter(|it| !it.is_synced) {
            let name = || file_name(file.extent.first);
            let synced = file.file.sync_data();
            synced.on_named(&*self.storage, "sync", name)?;
            file.is_synced = true;
        }
        Ok(())
    }

    /// Removes the files that say nothing of `first` and what is behind it.
    pub(super) fn retire(&mut self, first: u64) {
        while let Some(next) = self.files.get(1)
            && next.extent.first <= first
        {
            let retired = self.files.pop_front();
            self.gone.extend(retired.map(|file| file.extent.first));
        }
    }

    /// Removes the files that no checkpoint needs any more.
    pub(super) fn remove_gone(&mut self) -> Result<(), DedupeError> {
        while let Some(first) = self.gone.last() {
            remove_file(&*self.storage, &file_name(*first))?;
            self.gone.pop();
        }
        Ok(())
    }

    /// True if there are files to be removed after the next checkpoint.
    pub(super) fn has_gone(&self) -> bool {
        !self.gone.is_empty()
    }

    /// First sequence of the last file; 0 if there is none.
    pub(super) fn newest(&self) -> u64 {
        self.files.back().map_or(0, |last| last.extent.first)
    }

    /// All files, oldest first.
    pub(super) fn extents(&self) -> impl Iterator<Item = &Extent> {
        self.files.iter().map(|file| &file.extent)
    }
}

/// Name of the file whose first entry has this sequence.
pub(super) fn file_name(first: u64) -> String {
    format!("{PREFIX}{first:020}")
}

/// The first sequence that a name says.
pub(super) fn first_of(name: &str) -> Option<u64> {
    let first = name.strip_prefix(PREFIX)?.parse().ok()?;
    (file_name(first) == name).then_some(first)
}

/// What all those names begin with.
pub(super) const PREFIX: &str = "duplicates-";

/// Bytes of an entry.
pub(super) const MARK_LEN: usize = 24;

/// Bytes that make a file full: half a million duplicates. In tests a file is full soon.
pub(super) const FILE_MAX: u64 = MARK_LEN as u64 * if cfg!(test) { 20 } else { 1 << 19 };
