//! The dead letters of the workers: who decides that nobody can take a body apart, and writes that down.
//!
//! What such a body is, what proves it and what is in the files, [`Poison`] says. The dead letter is durable before the
//! decision, and the decision before anybody passes the body, so whoever meets it first writes it, and there is exactly
//! one.
//!
//! By **hand**, with `hookline dead-letters set-aside`, a body is poisoned without a proof, and a decision is
//! taken back; both only while no server runs.
//!
//! If the file of decisions is damaged or gone, the dead letters say what was decided.

mod cause;
mod suspects;

pub use cause::Cause;
pub use suspects::{Child, END};

use super::error::{DEAD_LETTERS_MAX, DeadLetterError};
use super::file::DeadLetter;
use super::store::DeadLetters;
use crate::disk::{self, IoContext, Storage};
use crate::journal::JournalId;
use crate::journal::batch::Batch;
use crate::worker::poison::{self, DECISIONS_MAX, Decision, Decisions, FILE, Marks, Stored};
use crate::worker::{EventBatch, Extraction, Notification, Poison};
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::sync::Arc;

/// The sink in whose name the dead letters of such bodies are kept.
pub const WORKER: &str = "worker";

/// Each decision has its dead letter.
const _: () = assert!(DECISIONS_MAX == DEAD_LETTERS_MAX);

/// Makes bodies that nobody can take apart dead letters.
#[derive(Default)]
pub struct Quarantine {
    poison: Arc<Poison>,
    /// Only for who may decide.
    keeper: Option<Mutex<Keeper>>,
}

/// Writes down what is decided.
struct Keeper {
    storage: Arc<dyn Storage>,
    journal: JournalId,
    dead_letters: DeadLetters,
    paths: Paths,
    /// Decided by the version before, and perhaps without a dead letter.
    unwritten: Vec<u64>,
    /// What is decided in memory is not in the file yet.
    is_behind: bool,
}

/// The path of an endpoint's number in the journal.
pub type Paths = Box<dyn Fn(u16) -> String + Send + Sync>;

impl Quarantine {
    /// Reads what the process before this one has left in `storage`, and begins to leave word there; for the one
    /// process that holds the journal. `journal` is what all of it is about, and `oldest` the first sequence that it
    /// still has; the dead letters are those of [`WORKER`].
    pub fn open(
        storage: &Arc<dyn Storage>,
        (journal, oldest): (JournalId, u64),
        letters: DeadLetters,
        paths: Paths,
    ) -> Result<Quarantine, DeadLetterError> {
        let failed = |error| disk::Error::on(&**storage, "use", FILE, error);
        let found = Decisions::read(&**storage, journal).map_err(failed)?;
        let is_current = matches!(found, Stored::Whole(poison::VERSION, _));
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
            dead_letters: letters,
            paths,
            unwritten,
            is_behind: false,
        };
        Ok(Quarantine {
            poison: Arc::new(Poison::new(decisions, Some(marks))),
            keeper: Some(Mutex::new(keeper)),
        })
    }

    /// What is decided, to take bodies apart by.
    pub fn poison(&self) -> &Arc<Poison> {
        &self.poison
    }

    /// Writes a dead letter for each body of a delivery that nobody could take apart, and decides that it is
    /// poisoned; both are durable when this returns. To be called before anybody passes the delivery. Costs nothing
    /// where there is no such body.
    pub fn keep(&self, delivery: &EventBatch) -> Result<(), DeadLetterError> {
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
    ) -> Result<bool, DeadLetterError> {
        let records = batch.records_from(sequence);
        let mut one = records.take_while(|(it, _)| *it == sequence);
        let Some((_, record)) = one.next() else {
            return Ok(false);
        };
        let known = Poison::default();
        known.enter(sequence, record.body);
        let delivery = Extraction::sparing(&Arc::new(known)).take_apart(sequence, &record);
        self.decide(&delivery, cause)?;
        Ok(true)
    }

    /// Takes a decision back, durably; false if there is none. What a sink has passed does not come by itself.
    pub fn take_back(&self, sequence: u64) -> Result<bool, DeadLetterError> {
        let Some(keeper) = &self.keeper else {
            return Ok(false);
        };
        let mut keeper = keeper.lock();
        let taken = self.poison.remove(sequence);
        if taken {
            self.save(&mut keeper)?;
        }
        Ok(taken)
    }

    fn decide(&self, delivery: &EventBatch, cause: Cause) -> Result<(), DeadLetterError> {
        let Some(keeper) = &self.keeper else {
            return Ok(());
        };
        let mut keeper = keeper.lock();
        let is_new = |sequence: u64, body: &[u8]| match self.poison.decision(sequence, body) {
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
        let now = keeper.dead_letters.now();
        let letter = |one: &Notification<'_>| {
            let path = (keeper.paths)(one.record.endpoint);
            let mut letter = DeadLetter::new(WORKER, one, None, &path, cause.failures(now));
            if cause != Cause::Before {
                NO_EVENT.clone_into(&mut letter.kind);
            }
            letter
        };
        let letters: Vec<_> = new.iter().map(letter).collect();
        keeper.dead_letters.add_all(&letters)?;
        keeper.dead_letters.forget();
        if cause == Cause::Before {
            return Ok(());
        }
        for one in &new {
            self.poison.enter(one.sequence, one.record.body);
            tracing::error!(
                sequence = one.sequence,
                dead_letter = %format_args!("{WORKER}/{}", one.sequence),
                %cause,
                "a notification cannot be taken apart: it gives no event, and is a dead letter; `{}` shows it",
                keeper.dead_letters.command(&format!("dead-letters show {WORKER}/{}", one.sequence))
            );
        }
        self.save(&mut keeper)
    }

    fn save(&self, keeper: &mut Keeper) -> Result<(), DeadLetterError> {
        keeper.is_behind = true;
        let saved = self
            .poison
            .decisions()
            .save(&*keeper.storage, keeper.journal);
        saved.on(&*keeper.storage, "write", FILE)?;
        keeper.is_behind = false;
        Ok(())
    }
}

/// Brings what was found to the present form; gives also what may have no dead letter.
fn current(
    found: Stored,
    letters: &DeadLetters,
    oldest: u64,
) -> Result<(Decisions, Vec<u64>), DeadLetterError> {
    let mut decisions = Decisions::default();
    let mut unwritten = Vec::new();
    match found {
        Stored::Whole(poison::VERSION, found) => decisions = found,
        Stored::None { of_another: true } => {}
        Stored::Whole(..) | Stored::None { of_another: false } | Stored::Damaged => {
            let written = written(letters)?;
            if let Stored::Whole(_, found) = found {
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
fn written(letters: &DeadLetters) -> Result<BTreeMap<u64, Decision>, DeadLetterError> {
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

/// In the place of its type, in the dead letter of a body that gives no event.
const NO_EVENT: &str = "(no event)";

#[cfg(test)]
mod tests;
