//! The file of decisions, see the table in the module above.

use crate::disk::Storage;
use crate::disk::text::{self, CRC32C};
use crate::journal::JournalId;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io;

/// What the file says.
#[derive(Debug, Default)]
pub(crate) struct Decisions {
    /// First and last sequences that somebody was at when the process ended.
    pub(crate) suspect: Vec<(u64, u64)>,
    /// What is decided, by sequence.
    pub(crate) bodies: BTreeMap<u64, Decision>,
}

/// What is decided on a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Decision {
    /// A version before this one has passed it as `whatsapp.unparsed`, and so it stays.
    Unparsed,
    /// It gives no event. The CRC32C of the body that is meant.
    Poisoned(u32),
}

/// What was found in place of the file.
pub(crate) enum Stored {
    /// Decisions on this journal, and the version of the form.
    Whole(u32, Decisions),
    /// There is no file, or one about another journal.
    None {
        /// There is one about another journal.
        of_another: bool,
    },
    /// It does not pass its checksum.
    Damaged,
}

impl Decisions {
    pub(crate) fn read(storage: &dyn Storage, journal: JournalId) -> io::Result<Stored> {
        let decode = |bytes: &[u8]| parse(bytes, journal).ok_or(());
        Ok(match text::read_whole(storage, FILE, LENGTH_MAX, decode)? {
            None => Stored::None { of_another: false },
            Some(Ok(stored)) => stored,
            Some(Err(())) => Stored::Damaged,
        })
    }

    /// Durable when this returns.
    pub(crate) fn save(&self, storage: &dyn Storage, journal: JournalId) -> io::Result<()> {
        storage.replace(FILE, self.render(journal).as_bytes())
    }

    fn render(&self, journal: JournalId) -> String {
        let program = env!("CARGO_PKG_VERSION");
        let mut text = format!("hookline-poison {VERSION}\nprogram {program}\njournal {journal}\n");
        for (first, last) in &self.suspect {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "suspect {first} {last}");
        }
        for (sequence, decision) in &self.bodies {
            let _ = match decision {
                Decision::Unparsed => writeln!(text, "condemned {sequence}"),
                Decision::Poisoned(crc) => writeln!(text, "poisoned {sequence} {crc:08x}"),
            };
        }
        text::seal(text, CRC32C)
    }
}

/// Takes what [`Decisions::render`] has written, in any version.
fn parse(bytes: &[u8], journal: JournalId) -> Option<Stored> {
    let content = text::unseal(bytes, CRC32C).ok()?;
    let mut lines = content.lines();
    let version: u32 = lines
        .next()?
        .strip_prefix("hookline-poison ")?
        .parse()
        .ok()?;
    if version > VERSION {
        return None;
    }
    let (mut decisions, mut is_ours) = (Decisions::default(), false);
    for line in lines {
        let mut words = line.split(' ');
        let word = words.next()?;
        let mut next = || words.next();
        match word {
            "journal" => is_ours = next()? == journal.to_string(),
            "suspect" => {
                let range = (next()?.parse().ok()?, next()?.parse().ok()?);
                decisions.suspect.push(range);
            }
            "condemned" => {
                let sequence = next()?.parse().ok()?;
                decisions.bodies.insert(sequence, Decision::Unparsed);
            }
            "poisoned" => {
                let sequence = next()?.parse().ok()?;
                let crc = u32::from_str_radix(next()?, 16).ok()?;
                decisions.bodies.insert(sequence, Decision::Poisoned(crc));
            }
            _ => {}
        }
    }
    Some(if is_ours {
        Stored::Whole(version, decisions)
    } else {
        Stored::None { of_another: true }
    })
}

/// Its name is that of the first version.
pub(crate) const FILE: &str = "verdicts";

/// Version of the form. In version 1, `condemned` was decided by marks alone.
pub(crate) const VERSION: u32 = 2;

/// Most bytes that are read of the file.
const LENGTH_MAX: u64 = 8 << 20;
