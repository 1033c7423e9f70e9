//! How far a sink has come: the highest sequence below and including which everything is confirmed.
//!
//! One small text file for each sink in the directory `cursors` beside the segments, replaced as a whole. It is saved
//! lazily; after a crash some events come twice, none is lost.
//!
//! ```text
//! hookline-cursor 3
//! journal 0b5ef1c60fd1b7d1a0b8a3f6a1c2d3e4
//! messages 4711 4711
//! statuses 3989 4702
//! open 3990.2 3 2
//! open 4001.0 1
//! rest 4711 4711
//! crc32c 1b2c3d4e
//! ```
//!
//! Each lane has its own [`Progress`]: confirmed up to the first number, and up to the second but for what is open,
//! each with the number of attempts, and of those that count towards its being given up, if there are any. (Before that
//! number was written, what was tried while the receiver was away counted too: such attempts are taken for none.)
//!
//! A cursor says something about one journal only, and only as long as that journal keeps its end. So each start
//! looks at all of them, before the first new record gets a sequence:
//!
//! - one **beyond the end**, as of a new journal to which an old cursor without a name was left, goes back to the end.
//!   A journal that lost its end leaves out what its cursors claim. Otherwise the records that get those sequences now
//!   would never be delivered. It concerns sinks too that are not configured at the moment;
//! - one of **another journal** begins anew, and so does a sink without a cursor;
//! - a **damaged** one is refused, never guessed at: it is for a person to decide that everything comes again.
//!
//! Whatever is wrong, events may come twice, and none is skipped.

use super::progress;
use super::progress::{Lanes, Open, Progress};
use super::retention_hold::{RetentionHold, RetentionHolds};
use crate::disk::text::{self, CRC32C};
use crate::disk::{self, IoContext, Storage};
use crate::event::{Item, Lane};
use crate::journal::JournalId;
use std::fmt::Write as _;
use std::sync::Arc;

/// The cursors of one journal.
pub struct Cursors {
    storage: Arc<dyn Storage>,
    journal: JournalId,
    holds: RetentionHolds,
}

/// The cursor of one sink.
pub struct Cursor {
    storage: Arc<dyn Storage>,
    name: String,
    saved: Saved,
    is_new: bool,
    place: RetentionHold,
}

/// What the file of a cursor says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Saved {
    /// Which journal it is about.
    pub journal: JournalId,
    /// How far it has come in each lane.
    pub lanes: Lanes,
}

/// What was found where the cursor of a sink is.
pub struct StoredCursor {
    pub sink: String,
    pub saved: Result<Saved, CursorError>,
}

/// A cursor that said what cannot be, and was put right.
pub struct Corrected {
    pub sink: String,
    pub was: Saved,
    pub now: Saved,
}

/// Why a cursor could not be read or saved.
#[derive(Debug, thiserror::Error)]
pub enum CursorError {
    #[error(transparent)]
    Io(#[from] disk::Error),
    /// The file is damaged.
    #[error(
        "{path} is not a cursor: copy {path}.old over it, which is the one before it, and some events come again; or \
         remove it, and everything in the journal does"
    )]
    Damaged { path: String },
    /// Something that no sink has written has the name of a cursor.
    #[error("{path} is not a cursor, and no sink has written it: remove it")]
    Foreign { path: String },
}

impl Cursors {
    /// The cursors in `storage`, of the journal with this name whose highest sequence is `last`. Those that cannot be
    /// right are corrected, durably, and given back for the log.
    pub fn open(
        storage: Arc<dyn Storage>,
        journal: JournalId,
        last: u64,
        holds: RetentionHolds,
    ) -> Result<(Cursors, Vec<Corrected>), CursorError> {
        let mut corrected = Vec::new();
        for StoredCursor { sink, saved } in read_all(&*storage)? {
            // What cannot be read is the matter of its own sink, when that is configured.
            let Ok(was) = saved else { continue };
            let lanes = if was.journal == journal {
                was.lanes.each_ref().map(|lane| lane.within(last))
            } else {
                Lanes::default()
            };
            let now = Saved { journal, lanes };
            if now != was {
                match store(&*storage, &file_name(&sink), &now) {
                    // One that nobody can put right would have its sink pass over what comes now.
                    Err(error) if !error.is_shortage() => set_aside(&*storage, &sink, error)?,
                    stored => stored?,
                }
                corrected.push(Corrected { sink, was, now });
            }
        }
        let cursors = Cursors {
            storage,
            journal,
            holds,
        };
        Ok((cursors, corrected))
    }

    /// The cursor of the sink `sink`. One that does not exist stands at 0, before everything, and is made, so that
    /// whoever looks into the journal sees that there is such a sink.
    pub fn of(&self, sink: &str) -> Result<Cursor, CursorError> {
        let name = file_name(sink);
        let found = read(&*self.storage, &name)?;
        let is_new = found.is_none();
        let saved = found.unwrap_or_else(|| Saved {
            journal: self.journal,
            lanes: Lanes::default(),
        });
        if is_new {
            match store(&*self.storage, &name, &saved) {
                // Nothing is lost without it: it comes with the first save.
                Err(error) if error.is_shortage() => {}
                result => result?,
            }
        }
        Ok(Cursor {
            storage: Arc::clone(&self.storage),
            name,
            place: self.holds.hold(progress::confirmed(&saved.lanes)),
            saved,
            is_new,
        })
    }
}

impl Cursor {
    /// The name of its sink.
    pub fn sink(&self) -> &str {
        self.name.strip_suffix(SUFFIX).unwrap_or(&self.name)
    }

    /// How far it had come in each lane when it was saved last.
    pub fn saved(&self) -> &Lanes {
        &self.saved.lanes
    }

    /// True if there was no file of it.
    pub fn is_new(&self) -> bool {
        self.is_new
    }

    /// Everything up to this sequence is confirmed in all lanes, and saved.
    pub fn confirmed(&self) -> u64 {
        progress::confirmed(&self.saved.lanes)
    }

    /// Saves `lanes` durably, then lets the journal know what is not needed for this sink any more.
    pub fn save(&mut self, lanes: Lanes) -> Result<(), CursorError> {
        if lanes == self.saved.lanes {
            return Ok(());
        }
        let saved = Saved {
            lanes,
            journal: self.saved.journal,
        };
        store(&*self.storage, &self.name, &saved)?;
        self.saved = saved;
        self.place.set(self.confirmed());
        Ok(())
    }
}

impl CursorError {
    /// True for what passes by itself when there is space on the disk again.
    pub fn is_shortage(&self) -> bool {
        matches!(self, CursorError::Io(error) if error.is_shortage())
    }
}

/// The highest sequence that any sink has confirmed of the journal with this name. Only reads.
pub fn highest(storage: &dyn Storage, journal: JournalId) -> Result<u64, CursorError> {
    let all = read_all(storage)?;
    let saved = all.iter().filter_map(|found| found.saved.as_ref().ok());
    let ours = saved.filter(|saved| saved.journal == journal);
    Ok(ours
        .map(|saved| progress::reached(&saved.lanes))
        .max()
        .unwrap_or(0))
}

/// The cursors of all sinks, by the sinks' names in order. Only reads.
pub fn read_all(storage: &dyn Storage) -> Result<Vec<StoredCursor>, CursorError> {
    let mut names = storage.list().on(storage, "list", "")?;
    names.sort_unstable();
    let mut all = Vec::new();
    for name in names {
        let Some(sink) = name.strip_suffix(SUFFIX) else {
            continue;
        };
        // One that went away meanwhile was none.
        if let Some(saved) = read(storage, &name).transpose() {
            let sink = sink.to_owned();
            all.push(StoredCursor { sink, saved });
        }
    }
    Ok(all)
}

fn read(storage: &dyn Storage, name: &str) -> Result<Option<Saved>, CursorError> {
    let read = text::read_whole(storage, name, LENGTH_MAX, |bytes| parse(bytes).ok_or(()))
        .on(storage, "read", name)?;
    match read {
        None => return Ok(None),
        Some(Ok(saved)) => return Ok(Some(saved)),
        Some(Err(())) => {}
    }
    let path = storage.describe(name);
    if is_foreign(storage, name) {
        return Err(CursorError::Foreign { path });
    }
    Err(CursorError::Damaged { path })
}

/// True if there is something in it that does not begin as a cursor does, and none beside it that was before it.
fn is_foreign(storage: &dyn Storage, name: &str) -> bool {
    let text = |name: &str| {
        let read = disk::read_file(storage, name, LENGTH_MAX);
        read.ok().flatten().unwrap_or_default()
    };
    let is_ours = |text: &[u8]| text.starts_with(HEAD.as_bytes());
    let found = text(name);
    let is_empty = found.iter().all(|byte| *byte == 0);
    !is_empty && !is_ours(&found) && !is_ours(&text(&format!("{name}.old")))
}

/// Everything in the journal is delivered to the sink again, when there is such a sink.
fn set_aside(storage: &dyn Storage, sink: &str, error: CursorError) -> Result<(), CursorError> {
    let Ok(name) = storage.set_aside(&file_name(sink)) else {
        return Err(error);
    };
    let aside = storage.describe(&name);
    tracing::warn!(sink, %error, aside, "the file with the sink's cursor cannot be used nor written over: it is set aside, and a new one is made");
    Ok(())
}

fn store(storage: &dyn Storage, name: &str, saved: &Saved) -> Result<(), CursorError> {
    let stored = storage.replace(name, render(saved).as_bytes());
    Ok(stored.on(storage, "replace", name)?)
}

/// Takes from a text what [`render`] would write again.
fn parse(bytes: &[u8]) -> Option<Saved> {
    let text = text::unseal(bytes, CRC32C).ok()?;
    let mut rest = text.lines().skip(1);
    let journal = JournalId::parse(rest.next()?.strip_prefix("journal ")?)?;
    let mut lanes = Lanes::default();
    let mut rest = rest.peekable();
    for (lane, progress) in Lane::ALL.into_iter().zip(&mut lanes) {
        let numbers = rest.next()?.strip_prefix(lane.name())?.trim_start();
        let (confirmed, reached) = numbers.split_once(' ')?;
        progress.confirmed = confirmed.parse().ok()?;
        progress.reached = reached.parse().ok()?;
        while let Some(line) = rest.peek().and_then(|line| line.strip_prefix("open ")) {
            let (item, tried) = line.split_once(' ')?;
            let (attempts, counted) = tried.split_once(' ').unwrap_or((tried, "0"));
            progress.open.push(Open {
                item: item.parse::<Item>().ok()?,
                attempts: attempts.parse().ok()?,
                counted: counted.parse().ok()?,
            });
            rest.next();
        }
    }
    let sound = lanes.iter().all(Progress::is_sound);
    let saved = Saved { journal, lanes };
    (sound && render_lines(&saved) == text).then_some(saved)
}

fn render(saved: &Saved) -> String {
    text::seal(render_lines(saved), CRC32C)
}

fn render_lines(saved: &Saved) -> String {
    let mut text = format!("hookline-cursor 3\njournal {}\n", saved.journal);
    let mut line = |arguments: std::fmt::Arguments<'_>| {
        let _ = writeln!(text, "{arguments}"); // a String takes everything
    };
    for (lane, progress) in Lane::ALL.into_iter().zip(&saved.lanes) {
        let Progress {
            confirmed, reached, ..
        } = progress;
        line(format_args!("{} {confirmed} {reached}", lane.name()));
        for open in &progress.open {
            let (item, attempts) = (open.item, open.attempts);
            match open.counted {
                0 => line(format_args!("open {item} {attempts}")),
                counted => line(format_args!("open {item} {attempts} {counted}")),
            }
        }
    }
    text
}

fn file_name(sink: &str) -> String {
    format!("{sink}{SUFFIX}")
}

const SUFFIX: &str = ".cursor";

/// How the file of a cursor begins, of whatever version.
const HEAD: &str = "hookline-cursor ";

/// Longer than any cursor with [`OPEN_MAX`] in each lane, and what fills its block.
const LENGTH_MAX: u64 = 256 << 10;

/// Most that may be open in a lane of a cursor, so that it stays a file that is quickly written.
pub const OPEN_MAX: usize = 1000;

#[cfg(test)]
mod tests;
