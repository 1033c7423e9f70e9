//! The checkpoint: up to where which files are what was decided. A small text file, replaced as a whole.
//!
//! ```text
//! hookline-dedupe 1
//! journal 0b5ef1c60fd1b7d1a0b8a3f6a1c2d3e4
//! decided 4711
//! clock 1750000500000000 1750000500250000
//! keys 3 1024 1b2c3d4e 8 1750000000000000 1750000500000000
//! duplicates 17 240
//! crc32c 1b2c3d4e
//! ```
//!
//! `clock` is the time that the memory counts by, and the reading of the real one that it was last moved by, see
//! `clock.rs`; older versions have none. A `keys` line is a generation: number, bytes, their CRC32C, keys, first and
//! latest time by that clock. A `duplicates` line is a
//! file of the log of duplicates: first sequence, bytes. Both stand in order, oldest first.

use super::clock::Clock;
use super::duplicate_log::Extent;
use super::error::{DedupeError, remove_file};
use super::keys::Facts;
use crate::disk::text::{self, CRC32C};
use crate::disk::{self, IoContext, Storage};
use crate::journal::JournalId;
use std::fmt::Write;

/// What the file says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Checkpoint {
    pub(super) journal: JournalId,
    /// Highest sequence that is decided.
    pub(super) decided: u64,
    pub(super) clock: Option<Clock>,
    pub(super) generations: Vec<Facts>,
    pub(super) duplicates: Vec<Extent>,
}

/// What was found in its place.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum StoredCheckpoint {
    Nothing,
    Damaged,
    Saved(Checkpoint),
}

impl Checkpoint {
    /// Makes this the checkpoint, durably; after an error it is this one or the one before.
    pub(super) fn save(&self, storage: &dyn Storage) -> Result<(), disk::Error> {
        storage
            .replace(NAME, self.encode().as_bytes())
            .on(storage, "replace", NAME)
    }

    fn encode(&self) -> String {
        text::seal(self.lines(), CRC32C)
    }

    fn lines(&self) -> String {
        let mut text = format!(
            "{TITLE}\njournal {}\njudged {}\n",
            self.journal, self.decided
        );
        // A String takes everything.
        if let Some(Clock { time, reading }) = self.clock {
            let _ = writeln!(text, "clock {time} {reading}");
        }
        for facts in &self.generations {
            let Facts {
                number,
                bytes,
                crc,
                keys,
                first,
                latest,
            } = facts;
            let _ = writeln!(
                text,
                "keys {number} {bytes} {crc:08x} {keys} {first} {latest}"
            );
        }
        for Extent { first, bytes } in &self.duplicates {
            let _ = writeln!(text, "duplicates {first} {bytes}");
        }
        text
    }

    /// Takes what [`Checkpoint::encode`] would write again.
    fn decode(bytes: &[u8]) -> Option<Checkpoint> {
        let text = text::unseal(bytes, CRC32C).ok()?;
        let mut lines = text.lines();
        lines.next().filter(|line| *line == TITLE)?;
        let journal = JournalId::parse(lines.next()?.strip_prefix("journal ")?)?;
        let decided = lines.next()?.strip_prefix("judged ")?.parse().ok()?;
        let mut checkpoint = Checkpoint {
            journal,
            decided,
            clock: None,
            generations: Vec::new(),
            duplicates: Vec::new(),
        };
        for line in lines {
            let mut fields = line.split(' ');
            let kind = fields.next()?;
            let mut field = || fields.next();
            match kind {
                "clock" => {
                    checkpoint.clock = Some(Clock {
                        time: field()?.parse().ok()?,
                        reading: field()?.parse().ok()?,
                    });
                }
                "keys" => checkpoint.generations.push(Facts {
                    number: field()?.parse().ok()?,
                    bytes: field()?.parse().ok()?,
                    crc: u32::from_str_radix(field()?, 16).ok()?,
                    keys: field()?.parse().ok()?,
                    first: field()?.parse().ok()?,
                    latest: field()?.parse().ok()?,
                }),
                "duplicates" => checkpoint.duplicates.push(Extent {
                    first: field()?.parse().ok()?,
                    bytes: field()?.parse().ok()?,
                }),
                _ => return None,
            }
        }
        (checkpoint.lines() == text).then_some(checkpoint)
    }
}

pub(super) fn read(storage: &dyn Storage) -> Result<StoredCheckpoint, DedupeError> {
    let bytes = disk::read_file(storage, NAME, LENGTH_MAX).on(storage, "read", NAME)?;
    let Some(bytes) = bytes else {
        return Ok(StoredCheckpoint::Nothing);
    };
    Ok(Checkpoint::decode(&bytes).map_or(StoredCheckpoint::Damaged, StoredCheckpoint::Saved))
}

/// Takes the checkpoint away, durably, and with it all that it says.
pub(super) fn remove(storage: &dyn Storage) -> Result<(), disk::Error> {
    for name in [NAME, OLD] {
        remove_file(storage, name)?;
    }
    storage.sync().on(storage, "sync", "")
}

const NAME: &str = "checkpoint";
const OLD: &str = "checkpoint.old";
const TITLE: &str = "hookline-dedupe 1";

/// Longer than any checkpoint: with a line for each of 20,000 files of half a million duplicates.
const LENGTH_MAX: u64 = 1 << 20;

#[cfg(test)]
mod tests {
    use super::{Checkpoint, Clock, Extent, Facts};
    use crate::journal::JournalId;

    #[test]
    fn what_is_written_is_read_and_no_changed_byte_passes() {
        let facts = |number| Facts {
            number,
            bytes: 1 << 20,
            crc: 7,
            keys: 1000,
            first: 1,
            latest: u64::MAX,
        };
        let mut checkpoint = Checkpoint {
            journal: JournalId::parse("0b5ef1c60fd1b7d1a0b8a3f6a1c2d3e4").unwrap(),
            decided: 4711,
            clock: None,
            generations: vec![facts(3), facts(4)],
            duplicates: vec![Extent {
                first: 17,
                bytes: 240,
            }],
        };
        // As an older version has written it.
        let text = checkpoint.encode();
        assert_eq!(
            Checkpoint::decode(text.as_bytes()).as_ref(),
            Some(&checkpoint)
        );
        checkpoint.clock = Some(Clock::new(u64::MAX));
        let text = checkpoint.encode();
        assert_eq!(Checkpoint::decode(text.as_bytes()), Some(checkpoint));
        for at in 0..text.len() {
            assert_eq!(Checkpoint::decode(&text.as_bytes()[..at]), None);
            let mut changed = text.clone().into_bytes();
            changed[at] ^= 1;
            let changed = String::from_utf8(changed).unwrap();
            assert_eq!(Checkpoint::decode(changed.as_bytes()), None);
        }
    }
}
