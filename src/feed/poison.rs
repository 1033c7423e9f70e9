//! Bodies that nobody can take apart: each is a dead letter of the workers, and everything else goes on.
//!
//! Such a body is **poisoned**: it gives no event to anybody, it is one dead letter in the name of [`WORKER`], and in
//! the books of every sink it is one event that is dead. The dead letter is durable before the decision, and the
//! decision before anybody passes the body, so whoever meets it first writes it, and there is exactly one.
//!
//! # What is a proof
//!
//! A **panic** is caught where it happens. The extractor is made anew and the body tried once more; a second panic
//! decides. Everybody who takes that body apart comes to the same result.
//!
//! What ends the **process** leaves no time for anything. So each maker in a server leaves word beforehand of the batch
//! that it is at, and the next start finds that batch **suspect**. A suspect is nothing but a reason to look: kills,
//! want of memory and loss of power leave suspects too. Before anybody in the server takes a suspect batch apart, a
//! child process does, see `suspects.rs`: only if one of these bodies ends two children in a row, by a signal that
//! means a fault, it is poisoned. Receiving and answering wait for none of this; who wants to deliver the batch does.
//!
//! By **hand**, with `hookline dead-letters set-aside`, a body is poisoned without a proof, and a decision is
//! taken back; both only while no server runs.
//!
//! # What was delivered never changes its form
//!
//! A decision holds for every version to come and for everybody: live, read back from the journal, replayed, in
//! `tail` and in `audit`. It is taken before this process has taken that body apart, or after nobody could. A sink that
//! had events of it from a version before keeps them; nothing takes their place.
//!
//! The version before this one has decided by its marks alone, and passed such a body as one `whatsapp.unparsed`. That
//! is in the file as `condemned`, and stays what it is until somebody takes it back, as for those of its dead letters
//! that are there and not in its file. What filters have hid by this, `hookline audit` finds.
//!
//! | file in `poison` | |
//! |---|---|
//! | `marks` | 24 bytes for each maker: first and last sequence that it is at, or zeros, and their CRC32C |
//! | `verdicts` | a small text, replaced as a whole: what is suspect, and what is decided |
//!
//! ```text
//! hookline-poison 2
//! program 0.1.0
//! journal 0b5ef1c60fd1b7d1a0b8a3f6a1c2d3e4
//! suspect 4650 4713
//! condemned 17
//! poisoned 4711 9af3c1d2
//! crc32c 1b2c3d4e
//! ```
//!
//! `poisoned` names the body by its CRC32C too: if another one gets its sequence, as in a journal that was restored
//! from an older copy, that one is not meant. If the file is damaged or gone, the dead letters say what was decided.

mod cause;
mod decisions;
#[cfg(any(test, debug_assertions))]
mod faults;
mod marks;
mod suspects;

pub use cause::Cause;
pub use suspects::{Child, END};

use super::letter::Letter;
use super::{DeadLetters, Delivery, LETTERS_MAX, LetterError, Maker};
use crate::disk::Storage;
use crate::event::{Events, Extractor, Origin, Sender, Unparsed};
use crate::journal::JournalId;
use crate::journal::batch::Batch;
use cause::ATTEMPTS;
use decisions::{Decision, Decisions, FILE, Found, VERSION};
use marks::Marks;
use parking_lot::{Condvar, Mutex, RwLock};
use std::collections::BTreeMap;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// The sink in whose name the dead letters of such bodies are kept.
pub const WORKER: &str = "worker";

/// What is known of bodies that nobody can take apart.
#[derive(Debug, Default)]
pub struct Poison {
    bodies: RwLock<BTreeMap<u64, Decision>>,
    /// There is one at least.
    has_some: AtomicBool,
    /// What waits for a child. It is in the file, too.
    suspect: Mutex<Vec<(u64, u64)>>,
    has_suspects: AtomicBool,
    fewer_suspects: Condvar,
    /// Only in a server.
    marks: Option<Marks>,
    /// Only for who may decide.
    keeper: Option<Mutex<Keeper>>,
}

/// Writes down what is decided.
struct Keeper {
    storage: Arc<dyn Storage>,
    journal: JournalId,
    letters: DeadLetters,
    paths: Paths,
    /// Decided by the version before, and perhaps without a dead letter.
    unwritten: Vec<u64>,
    /// What is decided in memory is not in the file yet.
    is_behind: bool,
}

/// The path of an endpoint's number in the journal.
pub type Paths = Box<dyn Fn(u16) -> String + Send + Sync>;

impl Poison {
    /// Reads what the process before this one has left in `storage`, and begins to leave word there; for the one
    /// process that holds the journal. `journal` is what all of it is about, and `oldest` the first sequence that it
    /// still has; the dead letters are those of [`WORKER`].
    pub fn open(
        storage: &Arc<dyn Storage>,
        (journal, oldest): (JournalId, u64),
        letters: DeadLetters,
        paths: Paths,
    ) -> Result<Poison, LetterError> {
        let failed = |error| LetterError::io(&**storage, "use", FILE)(error);
        let found = Decisions::read(&**storage, journal).map_err(failed)?;
        let is_current = matches!(found, Found::Whole(VERSION, _));
        let (mut decisions, unwritten) = current(found, &letters, oldest)?;
        let (marks, were_at) = Marks::open(&**storage).map_err(failed)?;
        // There until they were looked at, however often the process ends until then.
        decisions.suspect = joined([decisions.suspect, were_at.clone()].concat(), oldest);
        if !is_current || !were_at.is_empty() {
            decisions.save(&**storage, journal).map_err(failed)?;
        }
        marks.clear().map_err(failed)?;
        let keeper = Keeper {
            storage: Arc::clone(storage),
            journal,
            letters,
            paths,
            unwritten,
            is_behind: false,
        };
        Ok(Poison {
            has_some: AtomicBool::new(!decisions.bodies.is_empty()),
            bodies: RwLock::new(decisions.bodies),
            has_suspects: AtomicBool::new(!decisions.suspect.is_empty()),
            suspect: Mutex::new(decisions.suspect),
            fewer_suspects: Condvar::new(),
            marks: Some(marks),
            keeper: Some(Mutex::new(keeper)),
        })
    }

    /// What is decided, for somebody else who takes the same bodies apart. Only reads.
    pub fn look(storage: &dyn Storage, journal: JournalId) -> std::io::Result<Poison> {
        let bodies = match Decisions::read(storage, journal)? {
            Found::Whole(_, decisions) => decisions.bodies,
            Found::None { .. } | Found::Damaged => BTreeMap::new(),
        };
        Ok(Poison {
            has_some: AtomicBool::new(!bodies.is_empty()),
            bodies: RwLock::new(bodies),
            ..Poison::default()
        })
    }

    /// The sequences of the bodies that are poisoned.
    #[must_use]
    pub fn poisoned(&self) -> Vec<u64> {
        let bodies = self.bodies.read();
        let poisoned = bodies
            .iter()
            .filter(|(_, decision)| matches!(decision, Decision::Poisoned(_)));
        poisoned.map(|(sequence, _)| *sequence).collect()
    }

    /// Writes a dead letter for each body of a delivery that nobody could take apart, and decides that it is
    /// poisoned; both are durable when this returns. To be called before anybody passes the delivery. Costs nothing
    /// where there is no such body.
    pub fn keep(&self, delivery: &Delivery) -> Result<(), LetterError> {
        if delivery.poisoned().next().is_none() {
            return Ok(());
        }
        self.decide(delivery, Cause::Panics)
    }

    /// Decides that nobody takes the body with this sequence apart any more, which `batch` holds; false if it does not.
    pub fn set_aside(
        &self,
        batch: &Batch,
        sequence: u64,
        cause: Cause,
    ) -> Result<bool, LetterError> {
        let records = batch.records_from(sequence);
        let mut one = records.take_while(|(it, _)| *it == sequence);
        let Some((_, record)) = one.next() else {
            return Ok(false);
        };
        let known = Poison::default();
        known.enter(sequence, Decision::Poisoned(crc32c::crc32c(record.body)));
        let delivery = Maker::sparing(&Arc::new(known)).take_apart(sequence, &record);
        self.decide(&delivery, cause)?;
        Ok(true)
    }

    /// Takes a decision back, durably; false if there is none. What a sink has passed does not come by itself.
    pub fn take_back(&self, sequence: u64) -> Result<bool, LetterError> {
        let Some(keeper) = &self.keeper else {
            return Ok(false);
        };
        let mut keeper = keeper.lock();
        let taken = self.bodies.write().remove(&sequence).is_some();
        if taken {
            self.save(&mut keeper)?;
        }
        Ok(taken)
    }

    fn decide(&self, delivery: &Delivery, cause: Cause) -> Result<(), LetterError> {
        let Some(keeper) = &self.keeper else {
            return Ok(());
        };
        let mut keeper = keeper.lock();
        let is_new = |sequence: u64, body: &[u8]| match self.decision(sequence, body) {
            Some(Decision::Poisoned(_)) => false,
            // Its dead letter may be missing, and that is all.
            Some(Decision::Unparsed) => cause == Cause::Before,
            None => true,
        };
        let new = delivery.poisoned();
        let new: Vec<_> = new
            .filter(|it| is_new(it.sequence, it.record.body))
            .collect();
        if new.is_empty() {
            // Whoever has entered them could not write that down.
            return if keeper.is_behind {
                self.save(&mut keeper)
            } else {
                Ok(())
            };
        }
        let now = keeper.letters.now();
        let letter = |one: &super::Notification<'_>| {
            let path = (keeper.paths)(one.record.endpoint);
            let mut letter = Letter::new(WORKER, one, None, &path, cause.failures(now));
            if cause != Cause::Before {
                NO_EVENT.clone_into(&mut letter.kind);
            }
            letter
        };
        let letters: Vec<_> = new.iter().map(letter).collect();
        keeper.letters.add_all(&letters)?;
        keeper.letters.forget();
        if cause == Cause::Before {
            return Ok(());
        }
        for one in &new {
            let crc = crc32c::crc32c(one.record.body);
            self.enter(one.sequence, Decision::Poisoned(crc));
            tracing::error!(
                sequence = one.sequence,
                dead_letter = %format_args!("{WORKER}/{}", one.sequence),
                "{cause}: it gives no event, and is a dead letter; `{}` shows it",
                keeper.letters.command(&format!("dead-letters show {WORKER}/{}", one.sequence))
            );
        }
        self.save(&mut keeper)
    }

    fn enter(&self, sequence: u64, decision: Decision) {
        let mut bodies = self.bodies.write();
        bodies.insert(sequence, decision);
        // What was first was passed long ago.
        while bodies.len() > LETTERS_MAX {
            bodies.pop_first();
        }
        self.has_some.store(true, Ordering::Release);
    }

    fn save(&self, keeper: &mut Keeper) -> Result<(), LetterError> {
        keeper.is_behind = true;
        let decisions = Decisions {
            suspect: self.suspect.lock().clone(),
            bodies: self.bodies.read().clone(),
        };
        let saved = decisions.save(&*keeper.storage, keeper.journal);
        saved.map_err(LetterError::io(&*keeper.storage, "write", FILE))?;
        keeper.is_behind = false;
        Ok(())
    }

    /// What is decided on this body.
    fn decision(&self, sequence: u64, body: &[u8]) -> Option<Decision> {
        if !self.has_some.load(Ordering::Acquire) {
            return None;
        }
        let decision = self.bodies.read().get(&sequence).copied();
        decision.filter(|decision| match decision {
            Decision::Unparsed => true,
            Decision::Poisoned(crc) => *crc == crc32c::crc32c(body),
        })
    }
}

/// Brings what was found to the present form; gives also what may have no dead letter.
fn current(
    found: Found,
    letters: &DeadLetters,
    oldest: u64,
) -> Result<(Decisions, Vec<u64>), LetterError> {
    let mut decisions = Decisions::default();
    let mut unwritten = Vec::new();
    match found {
        Found::Whole(VERSION, found) => decisions = found,
        Found::None { of_another: true } => {}
        Found::Whole(..) | Found::None { of_another: false } | Found::Damaged => {
            let written = written(letters)?;
            if let Found::Whole(_, found) = found {
                decisions = found;
                let bodies = decisions.bodies.keys().copied();
                unwritten.extend(bodies.filter(|it| !written.contains_key(it)));
            }
            decisions.bodies.extend(written);
        }
    }
    decisions.bodies = decisions.bodies.split_off(&oldest);
    Ok((decisions, unwritten))
}

/// What the dead letters say of what was decided.
fn written(letters: &DeadLetters) -> Result<BTreeMap<u64, Decision>, LetterError> {
    let listed = letters.list()?.into_iter();
    let decided = listed.map(|listed| {
        let letter = letters.read(listed.item).ok();
        let poisoned = letter.filter(|letter| letter.kind == NO_EVENT);
        let poisoned = poisoned.map(|it| Decision::Poisoned(crc32c::crc32c(&it.content.body)));
        (listed.item.sequence, poisoned.unwrap_or(Decision::Unparsed))
    });
    let decided = decided.collect();
    letters.forget();
    Ok(decided)
}

/// The same sequences in ranges that do not touch, from `oldest` on.
fn joined(mut ranges: Vec<(u64, u64)>, oldest: u64) -> Vec<(u64, u64)> {
    ranges.sort_unstable();
    let mut joined: Vec<(u64, u64)> = Vec::new();
    for (first, last) in ranges {
        let first = first.max(oldest);
        match joined.last_mut() {
            _ if last < first => {}
            Some(before) if first <= before.1.saturating_add(1) => before.1 = before.1.max(last),
            _ => joined.push((first, last)),
        }
    }
    joined
}

/// An extractor that outlives what it is given.
#[derive(Debug, Default)]
pub(super) struct Guarded {
    extractor: Extractor,
    poison: Arc<Poison>,
    /// Where it leaves word.
    place: Option<u64>,
}

impl Guarded {
    pub(super) fn new(poison: &Arc<Poison>) -> Guarded {
        Guarded {
            extractor: Extractor::new(),
            poison: Arc::clone(poison),
            place: poison.marks.as_ref().map(Marks::take),
        }
    }

    /// What it goes by.
    pub(super) fn poison(&self) -> &Poison {
        &self.poison
    }

    /// The bodies from sequence `first` to `last` follow. Waits while they are suspect.
    pub(super) fn begin(&mut self, first: u64, last: u64) {
        self.poison.wait_for(first, last);
        self.leave_word(first, last);
    }

    /// Appends the events of one body, at least one; if nobody can take it apart, what stands for it in the books, and
    /// gives false.
    pub(super) fn extract(
        &mut self,
        sender: Option<Sender<'_>>,
        body: &[u8],
        origin: Origin,
        events: &mut Events,
    ) -> bool {
        let sequence = origin.sequence;
        match self.poison.decision(sequence, body) {
            Some(Decision::Unparsed) => {
                events.pass_whole(body, origin, Unparsed::Crashed);
                return true;
            }
            Some(Decision::Poisoned(_)) => {
                events.pass_whole(body, origin, Unparsed::Poisoned);
                return false;
            }
            None => {}
        }
        let before = events.mark();
        for _ in 0..ATTEMPTS {
            let attempt = || {
                #[cfg(any(test, debug_assertions))]
                faults::on(body);
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
        events.pass_whole(body, origin, Unparsed::Poisoned);
        false
    }

    /// All of them are taken apart.
    pub(super) fn end(&mut self) {
        self.leave_word(0, 0);
    }

    fn leave_word(&self, first: u64, last: u64) {
        if let (Some(place), Some(marks)) = (self.place, &self.poison.marks) {
            marks.write(place, first, last);
        }
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        if let (Some(place), Some(marks)) = (self.place, &self.poison.marks) {
            marks.give_back(place);
        }
    }
}

impl fmt::Debug for Keeper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keeper")
            .field("storage", &self.storage)
            .field("letters", &self.letters)
            .finish_non_exhaustive()
    }
}

/// In the place of its type, in the dead letter of a body that gives no event.
const NO_EVENT: &str = "(no event)";

#[cfg(test)]
mod tests;
