//! Bodies that end whoever takes them apart: after the second time they pass whole, and everything else goes on.
//!
//! A **panic** is caught where it happens. The extractor is made anew and the body tried once more; a second panic is
//! the end of it. That needs no memory: everybody who takes that body apart comes to the same result.
//!
//! What ends the **process**, such as a fault in foreign code or memory that runs out, leaves no time for anything. So
//! each maker in a server leaves word beforehand of what it is at. The word is written to a file and not synced: what
//! was written outlives the process, and a machine that loses power was not ended by a body. The next start reads it:
//!
//! - a batch that a maker was at is **suspect**: its bodies are taken apart with a word for each of them;
//! - a body that a maker was at, and that was suspect before, is **condemned**: nobody takes it apart again.
//!
//! A body that somebody kills the server over is suspect for nothing, which costs a microsecond for each time that it
//! is taken apart; to be condemned for nothing it has to be met by two kills in a row, in that microsecond.
//!
//! | file in `poison` | |
//! |---|---|
//! | `marks` | 24 octets for each maker: first and last sequence that it is at, or zeros, and their CRC32C |
//! | `verdicts` | a small text, replaced as a whole: what is suspect, and what is condemned |
//!
//! ```text
//! hookline-poison 1
//! program 0.1.0
//! journal 0b5ef1c60fd1b7d1a0b8a3f6a1c2d3e4
//! suspect 4650 4713
//! condemned 4711
//! crc32c 1b2c3d4e
//! ```
//!
//! The verdicts are those of one program on one journal: a newer version tries everything again. A damaged file is
//! taken for none, for the same reason.

use super::letter::{Failures, Letter};
use super::{Delivery, LETTERS_MAX, Notification};
use crate::event::{Events, Extractor, Origin, Sender, Unparsed};
use crate::journal::{self, Access, JournalId, Storage, StorageFile, write_all_at};
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::io::{self, ErrorKind, IoSlice};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// The sink in whose name the letters of such bodies are kept.
pub const WORKER: &str = "worker";

/// What is known of bodies that end the process.
#[derive(Debug, Default)]
pub struct Poison {
    verdicts: Verdicts,
    /// Only in a server.
    marks: Option<Marks>,
}

#[derive(Debug)]
struct Marks {
    file: Box<dyn StorageFile>,
    /// How many makers have a place in it.
    taken: AtomicU64,
}

#[derive(Debug, Default)]
struct Verdicts {
    /// First and last sequences, the latest at the end.
    suspect: Vec<(u64, u64)>,
    condemned: BTreeSet<u64>,
}

impl Poison {
    /// Reads what the process before this one has left in `storage`, and begins to leave word there. Gives what was
    /// condemned just now. `journal` is the one that all of it is about.
    pub fn open(storage: &dyn Storage, journal: JournalId) -> io::Result<(Poison, Vec<u64>)> {
        let mut verdicts = Verdicts::read(storage, journal)?;
        let file = match storage.open(MARKS, Access::Write) {
            Err(error) if error.kind() == ErrorKind::NotFound => storage.create(MARKS)?,
            file => file?,
        };
        let mut octets = vec![0; usize::try_from(file.length()?.min(LENGTH_MAX)).unwrap_or(0)];
        let length = journal::read_full_at(&*file, &mut octets, 0)?;
        octets.truncate(length);
        let marks: Vec<_> = octets.chunks_exact(MARK_LEN).filter_map(decode).collect();
        let condemned = verdicts.judge(&marks);
        if !marks.is_empty() {
            let text = verdicts.render(journal);
            storage.replace(VERDICTS, text.as_bytes())?;
        }
        // The places of the makers to come are there before they are needed.
        octets.clear();
        octets.resize(length.max(MAKERS * MARK_LEN), 0);
        write_all_at(&*file, &mut [IoSlice::new(&octets)], 0)?;
        let marks = Some(Marks {
            file,
            taken: AtomicU64::new(0),
        });
        Ok((Poison { verdicts, marks }, condemned))
    }

    /// What a server has found, for somebody else who takes the same bodies apart. Only reads.
    pub fn look(storage: &dyn Storage, journal: JournalId) -> io::Result<Poison> {
        Ok(Poison {
            verdicts: Verdicts::read(storage, journal)?,
            marks: None,
        })
    }

    /// True if nobody is to take this body apart again.
    #[must_use]
    pub fn is_condemned(&self, sequence: u64) -> bool {
        self.verdicts.condemned.contains(&sequence)
    }
}

/// The letters for the bodies of a delivery that nobody looks at any more. `path` knows the path of an endpoint's
/// number, `now` is in microseconds since 1970.
pub fn letters(delivery: &Delivery, path: impl Fn(u16) -> String, now: u64) -> Vec<Letter> {
    let letter = |notification: Notification<'_>| {
        let failures = Failures {
            reason: "taking the body apart has ended the worker twice; this is a bug in Hookline"
                .to_owned(),
            attempts: ATTEMPTS,
            first_failed: now,
            last_failed: now,
            last_answer: None,
        };
        let endpoint = path(notification.record.endpoint);
        Letter::new(WORKER, &notification, None, &endpoint, failures)
    };
    delivery.crashed().map(letter).collect()
}

/// An extractor that outlives what it is given.
#[derive(Debug, Default)]
pub(super) struct Guarded {
    extractor: Extractor,
    poison: Arc<Poison>,
    /// Where it leaves word.
    place: Option<u64>,
    /// It does so for each body.
    one_by_one: bool,
}

impl Guarded {
    pub(super) fn new(poison: &Arc<Poison>) -> Guarded {
        let place = poison.marks.as_ref();
        let place = place.map(|marks| marks.taken.fetch_add(1, Ordering::Relaxed));
        Guarded {
            extractor: Extractor::new(),
            poison: Arc::clone(poison),
            place,
            one_by_one: false,
        }
    }

    /// The bodies from sequence `first` to `last` follow.
    pub(super) fn begin(&mut self, first: u64, last: u64) {
        self.one_by_one = self.place.is_some() && self.poison.verdicts.suspects(first, last);
        if !self.one_by_one {
            self.leave_word(first, last);
        }
    }

    /// Appends the events of one body, at least one. False if nobody looks into that body any more.
    pub(super) fn extract(
        &mut self,
        sender: Option<Sender<'_>>,
        body: &[u8],
        origin: Origin,
        events: &mut Events,
    ) -> bool {
        let sequence = origin.sequence;
        if self.poison.is_condemned(sequence) {
            events.pass_whole(body, origin, Unparsed::Crashed);
            return false;
        }
        if self.one_by_one {
            self.leave_word(sequence, sequence);
        }
        let before = events.mark();
        for _ in 0..ATTEMPTS {
            let attempt = || {
                #[cfg(test)]
                tests::fail(body);
                self.extractor.extract_from(sender, body, origin, events);
            };
            // Both are put right before anybody sees them.
            if catch_unwind(AssertUnwindSafe(attempt)).is_ok() {
                return true;
            }
            self.extractor = Extractor::new();
            events.truncate(before);
        }
        tracing::error!(
            sequence,
            "taking a body apart has panicked twice; it passes whole. This is a bug in Hookline"
        );
        events.pass_whole(body, origin, Unparsed::Crashed);
        false
    }

    /// All of them are taken apart.
    pub(super) fn end(&mut self) {
        self.leave_word(0, 0);
    }

    fn leave_word(&self, first: u64, last: u64) {
        if let (Some(place), Some(marks)) = (self.place, &self.poison.marks) {
            let offset = place * MARK_LEN as u64;
            // Nothing depends on it unless something else is wrong.
            let _ = write_all_at(
                &*marks.file,
                &mut [IoSlice::new(&encode(first, last))],
                offset,
            );
        }
    }
}

impl Verdicts {
    /// Draws what follows from what the makers were at; gives what is condemned by it.
    fn judge(&mut self, marks: &[(u64, u64)]) -> Vec<u64> {
        let mut condemned = Vec::new();
        for &(first, last) in marks {
            if first == last && self.suspects(first, last) {
                if self.condemned.insert(first) {
                    condemned.push(first);
                }
            } else if !self.suspect.contains(&(first, last)) {
                self.suspect.push((first, last));
            }
        }
        let beyond = self.suspect.len().saturating_sub(SUSPECT_MAX);
        self.suspect.drain(..beyond);
        while self.condemned.len() > LETTERS_MAX {
            self.condemned.pop_first();
        }
        condemned
    }

    /// True if any sequence from `first` to `last` is suspect.
    fn suspects(&self, first: u64, last: u64) -> bool {
        let mut suspect = self.suspect.iter();
        suspect.any(|range| range.0 <= last && first <= range.1)
    }

    fn read(storage: &dyn Storage, journal: JournalId) -> io::Result<Verdicts> {
        for _ in 0..READ_TRIES {
            let file = match storage.open(VERDICTS, Access::Read) {
                Err(error) if error.kind() == ErrorKind::NotFound => break,
                file => file?,
            };
            let mut text = vec![0; usize::try_from(file.length()?.min(LENGTH_MAX)).unwrap_or(0)];
            let length = journal::read_full_at(&*file, &mut text, 0)?;
            text.truncate(length);
            if let Some(verdicts) = Verdicts::parse(&String::from_utf8_lossy(&text), journal) {
                return Ok(verdicts);
            }
            // It may have been written over as the one before, see `Storage::replace`.
        }
        Ok(Verdicts::default())
    }

    /// Takes what [`Verdicts::render`] would write again, in this program.
    fn parse(text: &str, journal: JournalId) -> Option<Verdicts> {
        let mut verdicts = Verdicts::default();
        for line in text.lines() {
            let mut words = line.split(' ');
            let word = words.next();
            let mut number = || words.next()?.parse().ok();
            match word {
                Some("suspect") => verdicts.suspect.push((number()?, number()?)),
                Some("condemned") => verdicts.condemned.extend(number()),
                _ => {}
            }
        }
        (verdicts.render(journal) == format!("{}\n", text.trim_end())).then_some(verdicts)
    }

    fn render(&self, journal: JournalId) -> String {
        let program = env!("CARGO_PKG_VERSION");
        let mut text = format!("hookline-poison 1\nprogram {program}\njournal {journal}\n");
        for (first, last) in &self.suspect {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "suspect {first} {last}");
        }
        for sequence in &self.condemned {
            let _ = writeln!(text, "condemned {sequence}");
        }
        format!("{text}crc32c {:08x}\n", crc32c::crc32c(text.as_bytes()))
    }
}

fn encode(first: u64, last: u64) -> [u8; MARK_LEN] {
    let mut mark = [0; MARK_LEN];
    mark[..8].copy_from_slice(&first.to_le_bytes());
    mark[8..16].copy_from_slice(&last.to_le_bytes());
    let checksum = crc32c::crc32c(&mark[..16]);
    mark[16..20].copy_from_slice(&checksum.to_le_bytes());
    mark
}

/// What a maker was at; `None` if it was at nothing.
fn decode(mark: &[u8]) -> Option<(u64, u64)> {
    let field = |at: usize| Some(u64::from_le_bytes(*mark.get(at..)?.first_chunk()?));
    let (first, last) = (field(0)?, field(8)?);
    let is_one = first > 0 && first <= last && encode(first, last) == *mark;
    is_one.then_some((first, last))
}

const MARKS: &str = "marks";
const VERDICTS: &str = "verdicts";

/// How often a body may end whoever takes it apart.
const ATTEMPTS: u32 = 2;

/// Octets of a mark: 16 for its sequences, 4 for their checksum, 4 zeros.
const MARK_LEN: usize = 24;

/// Places that the file has from the begin; with more makers it grows.
const MAKERS: usize = 256;

/// Ranges that are kept; all but the last ones were passed long ago.
const SUSPECT_MAX: usize = 64;

/// Most octets that are read of a file.
const LENGTH_MAX: u64 = 8 << 20;

/// How often a file that is not whole is read.
const READ_TRIES: usize = 4;

#[cfg(test)]
mod tests;
