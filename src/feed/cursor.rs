//! How far a sink has come: the highest sequence below and including which everything is confirmed.
//!
//! One file for each sink in the directory `cursors` beside the segments: a small text in two slots, see [`Slots`]. It
//! is saved lazily; after a crash, or damage to the last save, some events come twice, none is lost.
//!
//! ```text
//! hookline-cursor 4
//! save 815
//! journal 0b5ef1c60fd1b7d1a0b8a3f6a1c2d3e4
//! messages 4711 4711
//! statuses 3989 4702
//! open 3990.2 3 2
//! open 4001.0 1
//! rest 4711 4711
//! moved 1796079600000000
//! crc32c 1b2c3d4e
//! ```
//!
//! Each lane has its own [`Progress`]: confirmed up to the first number, and up to the second but for what is open,
//! each with the number of attempts, and of those that count towards its being given up, if there are any. (Before that
//! number was written, what was tried while the receiver was away counted too: such attempts are taken for none.)
//!
//! `moved` is when it was made or a person last moved it, in microseconds since 1970, and higher each time: a target
//! that keeps the sink's position itself tells by it a cursor that was moved from one that a crash has left behind. A
//! cursor from before that line was written has none, which is 0; a build from before it takes the line for damage.
//!
//! Version 3 was a file with these lines once, without the number of the save, replaced as a whole. It is read, and the
//! first save makes it a file of version 4. A build that knows version 3 alone takes that for damaged: it does not
//! start, and changes nothing.
//!
//! A cursor says something about one journal only, and only as long as that journal keeps its end. So each start
//! looks at all of them, before the first new record gets a sequence:
//!
//! - one **beyond the end**, as of a new journal to which an old cursor without a name was left, goes back to the end.
//!   A journal that lost its end leaves out what its cursors claim. Otherwise the records that get those sequences now
//!   would never be delivered. It concerns sinks too that are not configured at the moment;
//! - one of **another journal** begins anew, and so does a sink without a cursor;
//! - a **damaged** one is refused, never guessed at, and so is one of a newer version: it is for a person to decide
//!   that everything comes again.
//!
//! What goes back, as by such a correction or by `cursor seek`, is what both slots say at once: the place before must
//! not come back with damage, for events would be skipped.
//!
//! Whatever is wrong, events may come twice, and none is skipped.
//!
//! Where a sink without a cursor is not to have everything, its cursor is durable before anybody hears of it
//! ([`Cursors::begin`]): a crash must not have it begin later than was said.

mod former;

pub use former::TakeOver;

use super::progress;
use super::progress::{Lanes, Open, Progress};
use super::retention_hold::{RetentionHold, RetentionHolds};
use crate::disk::slots::{self, Slots};
use crate::disk::text::{self, CRC32C};
use crate::disk::{self, IoContext, Storage};
use crate::event::{Item, Lane};
use crate::journal::JournalId;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

/// The cursors of one journal.
pub struct Cursors {
    storage: Arc<dyn Storage>,
    journal: JournalId,
    holds: RetentionHolds,
}

/// The cursor of one sink.
pub struct Cursor {
    slots: Slots,
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
    /// When a person last moved it, see [`Cursor::moved`].
    pub moved: u64,
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
    /// The file is damaged, and nothing that was saved last can be read in it.
    #[error(
        "{path} is not a cursor: copy {path}.old over it, which is what it was at the last start or before, and what \
         was delivered since comes again; or remove it, and give the sink start = \"oldest\": then everything in the \
         journal comes again"
    )]
    Damaged { path: String },
    /// It is of a version that this build does not know.
    #[error("{path} was written by a newer version: run that version, or upgrade this one")]
    Newer { path: String },
    /// Something that no sink has written has the name of a cursor.
    #[error("{path} is not a cursor, and no sink has written it: remove it")]
    Foreign { path: String },
}

impl Cursors {
    /// The journal that they belong to.
    pub fn journal(&self) -> JournalId {
        self.journal
    }

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
            let now = Saved {
                journal,
                lanes,
                moved: was.moved,
            };
            if now != was {
                match slots(&storage, &sink).make(&render(&now)) {
                    // One that nobody can put right would have its sink pass over what comes now.
                    Err(error) if !error.is_shortage() => {
                        set_aside(&*storage, &sink, error)?;
                        slots(&storage, &sink).make(&render(&now))?;
                    }
                    made => made?,
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

    /// The cursors of all sinks, as they are now.
    pub fn all(&self) -> Result<Vec<StoredCursor>, CursorError> {
        read_all(&*self.storage)
    }

    /// True if the sink has a cursor, in whatever state.
    pub fn has(&self, sink: &str) -> Result<bool, CursorError> {
        let name = file_name(sink);
        let found = self.storage.identity(&name);
        Ok(found.on(&*self.storage, "find", &name)?.is_some())
    }

    /// Has a sink that has no cursor begin behind this sequence, durably: whatever comes later is for it.
    pub fn begin(&self, sink: &str, behind: u64) -> Result<(), CursorError> {
        let saved = Saved {
            journal: self.journal,
            lanes: std::array::from_fn(|_| Progress::up_to(behind)),
            moved: later_than(0),
        };
        Ok(slots(&self.storage, sink).make(&render(&saved))?)
    }

    /// The cursor of the sink `sink`. One that does not exist stands at 0, before everything, and is made, so that
    /// whoever looks into the journal sees that there is such a sink.
    pub fn of(&self, sink: &str) -> Result<Cursor, CursorError> {
        let mut slots = slots(&self.storage, sink);
        let found = read(&*self.storage, slots.name())?;
        let is_new = found.is_none();
        let mut saved = found.unwrap_or_else(|| Saved {
            journal: self.journal,
            lanes: Lanes::default(),
            moved: later_than(0),
        });
        if is_new {
            match slots.make(&render(&saved)) {
                // Nothing is lost without it: it comes with the first save. A process that is killed before that
                // leaves a target that knows of no move.
                Err(error) if error.is_shortage() => saved.moved = 0,
                made => made?,
            }
        }
        Ok(Cursor {
            slots,
            place: self.holds.hold(progress::confirmed(&saved.lanes)),
            saved,
            is_new,
        })
    }
}

impl Cursor {
    /// The name of its sink.
    pub fn sink(&self) -> &str {
        let name = self.slots.name();
        name.strip_suffix(SUFFIX).unwrap_or(name)
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

    /// When it was made or a person last [moved](Cursor::move_to) it: another number each time. 0 if that is not known.
    pub fn moved(&self) -> u64 {
        self.saved.moved
    }

    /// Has the sink go on elsewhere because a person says so, durably.
    pub fn move_to(&mut self, lanes: Lanes) -> Result<(), CursorError> {
        let saved = Saved {
            lanes,
            moved: later_than(self.saved.moved),
            journal: self.saved.journal,
        };
        self.slots.make(&render(&saved))?;
        self.saved = saved;
        self.place.set(self.confirmed());
        Ok(())
    }

    /// Saves `lanes` durably, then lets the journal know what is not needed for this sink any more.
    pub fn save(&mut self, lanes: Lanes) -> Result<(), CursorError> {
        if lanes == self.saved.lanes {
            return Ok(());
        }
        let saved = Saved {
            lanes,
            ..self.saved
        };
        let text = render(&saved);
        if goes_back(&self.saved.lanes, &saved.lanes) {
            self.slots.make(&text)?;
        } else {
            self.slots.save(&text)?;
        }
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
    let read = text::read_whole(storage, name, LENGTH_MAX, |bytes| decode(bytes).ok_or(()))
        .on(storage, "read", name)?;
    match read {
        None => return Ok(None),
        Some(Ok(saved)) => return Ok(Some(saved)),
        Some(Err(())) => {}
    }
    let path = storage.describe(name);
    let bytes = |name: &str| {
        let read = disk::read_file(storage, name, LENGTH_MAX);
        read.ok().flatten().unwrap_or_default()
    };
    let found = bytes(name);
    if versions(&found).any(|version| version > VERSION) {
        return Err(CursorError::Newer { path });
    }
    // Something is in it that does not begin as a cursor does, and beside it is none that was before it.
    let is_ours = |bytes: &[u8]| versions(bytes).next().is_some();
    let is_empty = found.iter().all(|byte| *byte == 0);
    if !is_empty && !is_ours(&found) && !is_ours(&bytes(&format!("{name}.old"))) {
        return Err(CursorError::Foreign { path });
    }
    Err(CursorError::Damaged { path })
}

/// The version in the title of the file, and of its second slot, where there is one; 0 for what is no number.
fn versions(bytes: &[u8]) -> impl Iterator<Item = u32> {
    let [_, second] = slots::halves(bytes);
    [bytes, second].into_iter().filter_map(|slot| {
        let rest = slot.strip_prefix(HEAD.as_bytes())?;
        let digits = rest.split(|byte| *byte == b'\n').next();
        let digits = digits.and_then(|it| str::from_utf8(it).ok());
        Some(digits.and_then(|it| it.parse().ok()).unwrap_or(0))
    })
}

/// Gives the file another name, so that a cursor can be made in its place.
fn set_aside(storage: &dyn Storage, sink: &str, error: disk::Error) -> Result<(), CursorError> {
    let Ok(name) = storage.set_aside(&file_name(sink)) else {
        return Err(error.into());
    };
    let aside = storage.describe(&name);
    tracing::warn!(sink, %error, aside, "the file with the sink's cursor cannot be used nor written over: it is set aside, and a new one is made");
    Ok(())
}

/// Where the cursor of a sink is saved.
fn slots(storage: &Arc<dyn Storage>, sink: &str) -> Slots {
    Slots::new(Arc::clone(storage), &file_name(sink), TITLE)
}

/// True if a crash may not bring back what was before: it claims something that is not claimed any more.
fn goes_back(before: &Lanes, now: &Lanes) -> bool {
    let mut lanes = before.iter().zip(now);
    lanes.any(|(before, now)| now.confirmed < before.confirmed || now.reached < before.reached)
}

fn decode(bytes: &[u8]) -> Option<Saved> {
    if let Some(lines) = slots::newest(bytes, TITLE) {
        return parse(lines);
    }
    let text = text::unseal(bytes, CRC32C).ok()?;
    parse(text.strip_prefix(TITLE_3)?)
}

/// Takes from a text what [`render`] would write again.
fn parse(text: &str) -> Option<Saved> {
    let mut rest = text.lines();
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
    let moved = rest.next().and_then(|line| line.strip_prefix("moved "));
    let sound = lanes.iter().all(Progress::is_sound);
    let saved = Saved {
        journal,
        lanes,
        moved: moved.map_or(Some(0), |moved| moved.parse().ok())?,
    };
    (sound && render(&saved) == text).then_some(saved)
}

/// The lines behind the title.
fn render(saved: &Saved) -> String {
    let mut text = format!("journal {}\n", saved.journal);
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
    if saved.moved > 0 {
        line(format_args!("moved {}", saved.moved));
    }
    text
}

/// Now, in microseconds since 1970; behind `before` even if the clock went back.
fn later_than(before: u64) -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let now = now.map_or(0, |now| u64::try_from(now.as_micros()).unwrap_or(u64::MAX));
    now.max(before.saturating_add(1))
}

fn file_name(sink: &str) -> String {
    format!("{sink}{SUFFIX}")
}

const SUFFIX: &str = ".cursor";

/// How the file of a cursor begins, of whatever version.
const HEAD: &str = "hookline-cursor ";

const TITLE: &str = "hookline-cursor 4";
const TITLE_3: &str = "hookline-cursor 3\n";

/// The newest that is read.
const VERSION: u32 = 4;

const LENGTH_MAX: u64 = slots::LENGTH_MAX;

/// Most that may be open in a lane of a cursor, so that it stays a file that is quickly written.
pub const OPEN_MAX: usize = 1000;

#[cfg(test)]
mod tests;
