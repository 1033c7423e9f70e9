//! The table of contents: a small text file, replaced as a whole.
//!
//! ```text
//! hookline journal 1
//! id 0b5ef1c60fd1b7d1a0b8a3f6a1c2d3e4
//! next-epoch 8
//! segment 5 1000
//! segment 6 2000
//! segment 7 -
//! endpoint 1 /webhook
//! hole 5 8192 4096 1010 3
//! checksum 1a2b3c4d
//! ```
//!
//! A `segment` line gives an epoch and the sequence of its first record, `-` for one that is ready but
//! was not in use when the file was written. A segment is listed before its first frame is written, and
//! no longer listed before its file goes, so a file that is missing or does not belong is noticed. An
//! `endpoint` line gives a number its path; numbers are never reused. A `hole` line (epoch, offset,
//! length, first sequence, number of sequences) is damage that was set aside by
//! `hookline journal repair --quarantine`; one that begins where the segment ends spans sequences that no
//! byte of it is left for. The checksum is the CRC32C of all bytes before its line;
//! line feeds behind it fill the last block.
//!
//! Two files exchange their names with each change, so none needs new space on the disk.

use super::error::JournalError;
use super::frame::NUMBER_END;
use super::names;
use super::segment::JournalId;
use crate::disk::{self, IoContext, Storage, text};
use serde::Serialize;
use std::fmt::{self, Write};
use std::sync::Arc;

/// What the manifest says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    pub id: JournalId,
    /// No epoch from here on was ever used.
    pub(crate) next_epoch: u64,
    /// In the order of their epochs, which is that of their use.
    pub(crate) segments: Vec<Entry>,
    /// Numbers and paths.
    pub endpoints: Vec<(u16, String)>,
    /// In no order.
    pub(crate) holes: Vec<Hole>,
}

/// One segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) epoch: u64,
    /// `None` until the segment is known to be in use.
    pub(crate) first_sequence: Option<u64>,
}

impl Entry {
    /// Sequences rise with epochs, and what is in use comes before what is ready.
    fn precedes(&self, next: &Entry) -> bool {
        match (self.first_sequence, next.first_sequence) {
            (Some(first), Some(next)) => first <= next,
            (first, next) => first.is_some() || next.is_none(),
        }
    }
}

/// Damage that was set aside: a reader that comes to its offset goes on behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Hole {
    pub epoch: u64,
    pub offset: u64,
    /// Bytes to the next whole frame or the end of the segment. Never 0: one that begins at that end has a block
    /// that is not there.
    pub length: u64,
    /// First sequence that is lost.
    pub first_sequence: u64,
    /// Number of sequences that are lost.
    pub count: u64,
}

impl fmt::Display for Hole {
    /// The records that it took.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let first = self.first_sequence;
        match self.count {
            0 => f.write_str("0 records"),
            1 => write!(f, "1 record, sequence {first}"),
            count => {
                let last = first.saturating_add(count - 1);
                write!(f, "{count} records, sequences {first} to {last}")
            }
        }
    }
}

impl Hole {
    /// The sequence behind those that are lost.
    pub(crate) fn end_sequence(&self) -> u64 {
        self.first_sequence.saturating_add(self.count)
    }
}

impl Manifest {
    pub(crate) fn new(id: JournalId) -> Manifest {
        Manifest {
            id,
            next_epoch: 1,
            segments: Vec::new(),
            endpoints: Vec::new(),
            holes: Vec::new(),
        }
    }

    /// Reads the manifest; `None` if there is none.
    pub(crate) fn load(storage: &dyn Storage) -> Result<Option<Manifest>, JournalError> {
        let read = text::read_whole(storage, NAME, SIZE_MAX, Manifest::decode)
            .on(storage, "read", NAME)?;
        let refused = |reason| {
            let path = storage.describe(NAME);
            if reason == NEWER {
                JournalError::Newer { path }
            } else {
                JournalError::Manifest { path, reason }
            }
        };
        read.transpose().map_err(refused)
    }

    /// Reads the manifest of a journal that must be there.
    pub(crate) fn load_existing(storage: &dyn Storage) -> Result<Manifest, JournalError> {
        if let Some(manifest) = Manifest::load(storage)? {
            return Ok(manifest);
        }
        let names = storage.list().on(storage, "list", "")?;
        let is_trace = |name: &String| name == OLD || names::epoch_of(name).is_some();
        if names.iter().any(is_trace) {
            let path = storage.describe(NAME);
            return Err(JournalError::ManifestMissing { path });
        }
        let path = storage.describe("").trim_end_matches('/').to_owned();
        Err(JournalError::NoJournal { path })
    }

    /// Reads the manifest before the last one, if it is there and whole. It lacks the last change.
    pub(crate) fn load_old(storage: &dyn Storage) -> Option<Manifest> {
        let bytes = disk::read_file(storage, OLD, SIZE_MAX).ok().flatten()?;
        Manifest::decode(&bytes).ok()
    }

    /// The hole that begins at this place.
    pub(crate) fn hole_at(&self, epoch: u64, offset: u64) -> Option<&Hole> {
        self.holes
            .iter()
            .find(|hole| (hole.epoch, hole.offset) == (epoch, offset))
    }

    /// Makes this manifest the durable one, and the one before it `manifest.old`.
    fn store(&self, storage: &dyn Storage) -> Result<(), disk::Error> {
        storage
            .replace(NAME, self.encode().as_bytes())
            .on(storage, "replace", NAME)
    }

    fn encode(&self) -> String {
        let mut text = String::with_capacity(4096);
        let mut line = |line: fmt::Arguments<'_>| {
            text.write_fmt(line).expect("a string takes everything");
            text.push('\n');
        };
        line(format_args!("{TITLE}{VERSION}"));
        line(format_args!("id {}", self.id));
        line(format_args!("next-epoch {}", self.next_epoch));
        for entry in &self.segments {
            match entry.first_sequence {
                Some(sequence) => line(format_args!("segment {} {sequence}", entry.epoch)),
                None => line(format_args!("segment {} -", entry.epoch)),
            }
        }
        for (number, path) in &self.endpoints {
            line(format_args!("endpoint {number} {path}"));
        }
        for hole in &self.holes {
            line(format_args!(
                "hole {} {} {} {} {}",
                hole.epoch, hole.offset, hole.length, hole.first_sequence, hole.count
            ));
        }
        text::seal(text, CHECKSUM)
    }

    fn decode(bytes: &[u8]) -> Result<Manifest, String> {
        let body = text::unseal(bytes, CHECKSUM)?;
        let mut lines = body.lines();
        let version = lines.next().and_then(|line| line.strip_prefix(TITLE));
        if version.ok_or("it is not a manifest")? != VERSION {
            return Err(NEWER.to_owned());
        }
        let mut manifest = Manifest::new(JournalId([0; 16]));
        for line in lines {
            manifest
                .decode_line(line)
                .ok_or_else(|| format!("the line {line:?} cannot be read"))?;
        }
        let rising = manifest
            .segments
            .is_sorted_by(|a, b| a.epoch < b.epoch && a.precedes(b));
        let last = manifest.segments.last().ok_or("it lists no segment")?;
        let bounded = manifest.next_epoch <= NUMBER_END;
        if rising && bounded && last.epoch < manifest.next_epoch {
            Ok(manifest)
        } else {
            Err("its segments are not in order".to_owned())
        }
    }

    fn decode_line(&mut self, line: &str) -> Option<()> {
        let (key, value) = line.split_once(' ')?;
        match key {
            "id" => self.id = JournalId::parse(value)?,
            "next-epoch" => self.next_epoch = value.parse().ok()?,
            "segment" => {
                let (epoch, first) = value.split_once(' ')?;
                let first_sequence = match first {
                    "-" => None,
                    first => {
                        let first = first.parse().ok();
                        // No sequence is 0.
                        Some(first.filter(|first| (1..=NUMBER_END).contains(first))?)
                    }
                };
                self.segments.push(Entry {
                    epoch: epoch.parse().ok()?,
                    first_sequence,
                });
            }
            "endpoint" => {
                let (number, path) = value.split_once(' ')?;
                self.endpoints.push((number.parse().ok()?, path.to_owned()));
            }
            "hole" => {
                let mut fields = value.split(' ').map(|field| field.parse().ok());
                let mut field = || fields.next().flatten();
                let hole = Hole {
                    epoch: field()?,
                    offset: field()?,
                    length: field()?,
                    first_sequence: field()?,
                    count: field()?,
                };
                // A hole of no length would keep a reader in its place for ever, and no sequence is 0.
                if hole.length == 0 || hole.first_sequence == 0 || hole.end_sequence() > NUMBER_END
                {
                    return None;
                }
                self.holes.push(hole);
            }
            _ => return None,
        }
        Some(())
    }
}

/// The manifest and where it is stored.
#[derive(Debug)]
pub(crate) struct ManifestFile {
    storage: Arc<dyn Storage>,
    current: Manifest,
}

impl ManifestFile {
    /// `current` is what is stored, or is about to be with the first change.
    pub(crate) fn new(storage: Arc<dyn Storage>, current: Manifest) -> ManifestFile {
        ManifestFile { storage, current }
    }

    pub(crate) fn current(&self) -> &Manifest {
        &self.current
    }

    /// Changes the manifest. The change is durable when this returns, and did not happen on error.
    pub(crate) fn change(
        &mut self,
        change: impl FnOnce(&mut Manifest),
    ) -> Result<(), JournalError> {
        let mut changed = self.current.clone();
        change(&mut changed);
        if changed != self.current {
            changed.store(&*self.storage)?;
            self.current = changed;
        }
        Ok(())
    }

    /// The number of an endpoint's path; a new path gets the next one, durably.
    pub(crate) fn endpoint_number(&mut self, path: &str) -> Result<u16, JournalError> {
        let known = self.current.endpoints.iter().find(|(_, it)| it == path);
        if let Some((number, _)) = known {
            return Ok(*number);
        }
        let refuse = |reason| JournalError::Endpoint {
            path: path.to_owned(),
            reason,
        };
        if path.is_empty() || path.chars().any(char::is_control) {
            return Err(refuse("it is empty or has control characters"));
        }
        let last = self
            .current
            .endpoints
            .iter()
            .map(|(number, _)| *number)
            .max();
        let number = last
            .unwrap_or(0)
            .checked_add(1)
            .ok_or_else(|| refuse("all numbers are used"))?;
        self.change(|manifest| manifest.endpoints.push((number, path.to_owned())))?;
        Ok(number)
    }
}

/// File name of the manifest.
pub(crate) const NAME: &str = "manifest";

/// File name of the manifest before it.
pub(crate) const OLD: &str = "manifest.old";

const TITLE: &str = "hookline journal ";
const CHECKSUM: &str = "checksum";
const VERSION: &str = "1";
const NEWER: &str = "newer";
/// A journal with more than this in its table of contents is none of ours.
const SIZE_MAX: u64 = 64 << 20;

#[cfg(test)]
#[allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test may fail in any way it likes"
)]
mod tests {
    use super::*;

    fn manifest() -> Manifest {
        let entry = |epoch, first_sequence| Entry {
            epoch,
            first_sequence,
        };
        Manifest {
            id: JournalId(*b"0123456789abcdef"),
            next_epoch: 8,
            segments: vec![entry(5, Some(1000)), entry(6, Some(2000)), entry(7, None)],
            endpoints: vec![(1, "/webhook".to_owned()), (3, "/with space".to_owned())],
            holes: vec![Hole {
                epoch: 5,
                offset: 8192,
                length: 4096,
                first_sequence: 1010,
                count: 3,
            }],
        }
    }

    #[test]
    fn what_is_written_is_read() {
        let text = manifest().encode();
        assert_eq!(Manifest::decode(text.as_bytes()).unwrap(), manifest());
    }

    #[test]
    fn no_changed_byte_and_no_cut_passes() {
        let text = manifest().encode().into_bytes();
        for at in 0..text.len() {
            let mut changed = text.clone();
            changed[at] ^= 1;
            assert!(Manifest::decode(&changed).is_err(), "byte {at}");
            assert!(Manifest::decode(&text[..at]).is_err(), "cut at {at}");
        }
    }

    /// One whose checksum held let a segment begin with sequence 0, and the start panicked before it. Close to the
    /// last of all numbers, the first commit did.
    #[test]
    fn numbers_that_are_never_given_are_refused() {
        let changes: [fn(&mut Manifest); 5] = [
            |it| it.segments[0].first_sequence = Some(0),
            |it| it.segments[1].first_sequence = Some(NUMBER_END + 1),
            |it| it.next_epoch = u64::MAX,
            |it| it.holes[0].count = NUMBER_END,
            |it| it.holes[0].first_sequence = 0,
        ];
        for change in changes {
            let mut manifest = manifest();
            change(&mut manifest);
            assert!(Manifest::decode(manifest.encode().as_bytes()).is_err());
        }
    }

    #[test]
    fn segments_out_of_order_are_refused() {
        let mut manifest = manifest();
        manifest.segments.swap(0, 1);
        assert!(Manifest::decode(manifest.encode().as_bytes()).is_err());
        manifest.segments.clear();
        assert!(Manifest::decode(manifest.encode().as_bytes()).is_err());
    }
}
