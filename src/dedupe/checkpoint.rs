//! The checkpoint: up to where which files are what was decided. A text in two slots, see [`Slots`].
//!
//! ```text
//! hookline-dedupe 2
//! save 815
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
//!
//! Version 1 was a file with these lines once, replaced as a whole; it is read. (A `hookline-dedupe 1` that finds
//! version 2 begins anew.)
//!
//! When the last save is damaged the one before is found, and the files that it names may have gone since: then it is
//! of no use, like any whose files do not say what it says of them. So none goes before the last save is durable, and
//! who opens a checkpoint makes it anew before it removes what is not in it.

use super::clock::Clock;
use super::duplicate_log::Extent;
use super::error::{DedupeError, remove_file};
use super::keys::Facts;
use crate::disk::slots::{self, Slots};
use crate::disk::text::{self, CRC32C};
use crate::disk::{self, IoContext, Storage};
use crate::journal::JournalId;
use std::fmt::Write;
use std::sync::Arc;

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
    pub(super) fn save(&self, slots: &mut Slots) -> Result<(), disk::Error> {
        slots.save(&self.lines())
    }

    fn lines(&self) -> String {
        let mut text = format!("journal {}\njudged {}\n", self.journal, self.decided);
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

    fn decode(bytes: &[u8]) -> Option<Checkpoint> {
        if let Some(lines) = slots::newest(bytes, TITLE) {
            return Checkpoint::parse(lines);
        }
        let text = text::unseal(bytes, CRC32C).ok()?;
        Checkpoint::parse(text.strip_prefix(TITLE_1)?)
    }

    /// Takes what [`Checkpoint::lines`] would give again.
    fn parse(text: &str) -> Option<Checkpoint> {
        let mut lines = text.lines();
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
    let bytes = disk::read_file(storage, NAME, slots::LENGTH_MAX).on(storage, "read", NAME)?;
    let Some(bytes) = bytes else {
        return Ok(StoredCheckpoint::Nothing);
    };
    Ok(Checkpoint::decode(&bytes).map_or(StoredCheckpoint::Damaged, StoredCheckpoint::Saved))
}

/// Where it is saved.
pub(super) fn slots(storage: &Arc<dyn Storage>) -> Slots {
    Slots::new(Arc::clone(storage), NAME, TITLE)
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
const TITLE: &str = "hookline-dedupe 2";
const TITLE_1: &str = "hookline-dedupe 1\n";

#[cfg(test)]
mod tests {
    use super::{CRC32C, Checkpoint, Clock, Extent, Facts, NAME, StoredCheckpoint, TITLE_1, text};
    use crate::disk::read_file;
    use crate::disk::simulated::SimulatedDisk;
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
        let version_1 = |it: &Checkpoint| text::seal(format!("{TITLE_1}{}", it.lines()), CRC32C);
        // As an older version has written it, without and with the clock.
        let text = version_1(&checkpoint);
        assert_eq!(
            Checkpoint::decode(text.as_bytes()).as_ref(),
            Some(&checkpoint)
        );
        checkpoint.clock = Some(Clock::new(u64::MAX));
        let text = version_1(&checkpoint);
        assert_eq!(
            Checkpoint::decode(text.as_bytes()).as_ref(),
            Some(&checkpoint)
        );
        for at in 0..text.len() {
            assert_eq!(Checkpoint::decode(&text.as_bytes()[..at]), None);
            let mut changed = text.clone().into_bytes();
            changed[at] ^= 1;
            assert_eq!(Checkpoint::decode(&changed), None);
        }
        // And as it is written now.
        let disk = SimulatedDisk::new(1);
        let storage = disk.storage();
        let mut slots = super::slots(&storage);
        checkpoint.save(&mut slots).unwrap();
        let first = checkpoint.clone();
        checkpoint.decided = 4712;
        checkpoint.save(&mut slots).unwrap();
        let bytes = read_file(&*storage, NAME, 1 << 20).unwrap().unwrap();
        assert_eq!(Checkpoint::decode(&bytes).as_ref(), Some(&checkpoint));
        for at in 0..text.len() {
            // The save after the two of the new file is in the first slot.
            let mut changed = bytes.clone();
            changed[at] ^= 1;
            assert_eq!(Checkpoint::decode(&changed).as_ref(), Some(&first));
            changed[bytes.len() / 2 + at] ^= 1;
            assert_eq!(Checkpoint::decode(&changed), None);
        }
    }

    /// A line for each of 20,000 files of half a million duplicates.
    #[test]
    fn the_longest_that_there_can_be_fits() {
        let extent = |file| Extent {
            first: u64::MAX / 2 - 20_000 + file,
            bytes: u64::from(u32::MAX),
        };
        let checkpoint = Checkpoint {
            journal: JournalId::parse("0b5ef1c60fd1b7d1a0b8a3f6a1c2d3e4").unwrap(),
            decided: u64::MAX,
            clock: Some(Clock::new(u64::MAX)),
            generations: Vec::new(),
            duplicates: (0..20_000).map(extent).collect(),
        };
        let storage = SimulatedDisk::new(1).storage();
        checkpoint.save(&mut super::slots(&storage)).unwrap();
        let found = super::read(&*storage).unwrap();
        assert_eq!(found, StoredCheckpoint::Saved(checkpoint));
    }
}
