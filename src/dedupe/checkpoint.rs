//! The checkpoint: up to where which files are what was judged. A small text file, replaced as a whole.
//!
//! ```text
//! hookline-dedupe 1
//! journal 0b5ef1c60fd1b7d1a0b8a3f6a1c2d3e4
//! judged 4711
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
use super::error::{DedupeError, remove_file};
use super::keys::Facts;
use super::marks::Extent;
use crate::disk::{Access, Storage, read_full_at};
use crate::journal::JournalId;
use std::fmt::Write;
use std::io::ErrorKind;

/// What the file says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Checkpoint {
    pub(super) journal: JournalId,
    /// Highest sequence that is judged.
    pub(super) judged: u64,
    pub(super) clock: Option<Clock>,
    pub(super) generations: Vec<Facts>,
    pub(super) duplicates: Vec<Extent>,
}

/// What was found in its place.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found {
    Nothing,
    Damaged,
    Saved(Checkpoint),
}

impl Checkpoint {
    /// Makes this the checkpoint, durably; after an error it is this one or the one before.
    pub(super) fn save(&self, storage: &dyn Storage) -> Result<(), DedupeError> {
        storage
            .replace(NAME, self.encode().as_bytes())
            .map_err(DedupeError::io(storage, "replace", NAME))
    }

    fn encode(&self) -> String {
        let mut text = format!(
            "{TITLE}\njournal {}\njudged {}\n",
            self.journal, self.judged
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
        let crc = crc32c::crc32c(text.as_bytes());
        let _ = writeln!(text, "crc32c {crc:08x}");
        text
    }

    /// Takes what [`Checkpoint::encode`] would write again.
    fn decode(text: &str) -> Option<Checkpoint> {
        let mut lines = text.lines();
        lines.next().filter(|line| *line == TITLE)?;
        let journal = JournalId::parse(lines.next()?.strip_prefix("journal ")?)?;
        let judged = lines.next()?.strip_prefix("judged ")?.parse().ok()?;
        let mut checkpoint = Checkpoint {
            journal,
            judged,
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
                _ => {}
            }
        }
        (checkpoint.encode() == text).then_some(checkpoint)
    }
}

/// Reads the checkpoint.
pub(super) fn read(storage: &dyn Storage) -> Result<Found, DedupeError> {
    let file = match storage.open(NAME, Access::Read) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Found::Nothing),
        file => file.map_err(DedupeError::io(storage, "open", NAME))?,
    };
    let mut text = vec![0; LENGTH_MAX];
    let len = read_full_at(&*file, &mut text, 0).map_err(DedupeError::io(storage, "read", NAME))?;
    let text = str::from_utf8(&text[..len]).unwrap_or_default();
    // Line feeds behind it fill the block.
    let text = format!("{}\n", text.trim_end_matches('\n'));
    Ok(Checkpoint::decode(&text).map_or(Found::Damaged, Found::Saved))
}

/// Takes the checkpoint away, durably, and with it all that it says.
pub(super) fn remove(storage: &dyn Storage) -> Result<(), DedupeError> {
    for name in [NAME, OLD] {
        remove_file(storage, name)?;
    }
    storage.sync().map_err(DedupeError::io(storage, "sync", ""))
}

const NAME: &str = "checkpoint";
const OLD: &str = "checkpoint.old";
const TITLE: &str = "hookline-dedupe 1";

/// Longer than any checkpoint: with a line for each of 20,000 files of half a million duplicates.
const LENGTH_MAX: usize = 1 << 20;

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
            judged: 4711,
            clock: None,
            generations: vec![facts(3), facts(4)],
            duplicates: vec![Extent {
                first: 17,
                bytes: 240,
            }],
        };
        // As an older version has written it.
        let text = checkpoint.encode();
        assert_eq!(Checkpoint::decode(&text).as_ref(), Some(&checkpoint));
        checkpoint.clock = Some(Clock::new(u64::MAX));
        let text = checkpoint.encode();
        assert_eq!(Checkpoint::decode(&text), Some(checkpoint));
        for at in 0..text.len() {
            assert_eq!(Checkpoint::decode(&text[..at]), None);
            let mut changed = text.clone().into_bytes();
            changed[at] ^= 1;
            let changed = String::from_utf8(changed).unwrap();
            assert_eq!(Checkpoint::decode(&changed), None);
        }
    }
}
