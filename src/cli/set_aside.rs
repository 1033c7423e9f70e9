//! `hookline dead-letters set-aside`, and `retry` for what was set aside: decisions by hand on notifications that
//! nobody is to take apart.
//!
//! For a body that ends the server, or keeps it for ever, in a way that no child process can prove: one that the
//! system kills for want of memory, say. Only while no server runs: what it has taken apart already cannot be taken
//! from it. The decision is durable when the verb ends, and holds for everybody.

use super::cursor;
use super::error::CliError;
use super::journal::{make_beside, open, refused};
use super::report::units::sequences;
use crate::dead_letter::{Cause, DeadLetterError, DeadLetters, Quarantine, WORKER};
use crate::disk::{Guard, Storage, command};
use crate::event::Item;
use crate::feed::{self, StoredCursor};
use crate::journal::{self, JournalError, Manifest, Reader};
use std::io::{self, Write as _};
use std::path::Path;
use std::sync::Arc;

/// A journal that no server has, and what is decided on its bodies.
struct Decided {
    disk: Arc<dyn Storage>,
    quarantine: Quarantine,
    /// Held to the end.
    _lock: Guard,
}

/// Sets notifications aside.
pub(super) fn set_aside(dir: &Path, all: &[u64]) -> Result<(), CliError> {
    let decided = Decided::open(dir)?;
    let passed = cursor::all(dir)?;
    let mut out = io::stdout();
    for &sequence in all {
        let unreadable = |error| {
            refused(
                format!("cannot read {}", sequences(sequence, sequence)),
                error,
            )
        };
        let reader =
            Reader::open(Arc::clone(&decided.disk), sequence).and_then(|mut it| it.next(None));
        let batch = reader.map_err(unreadable)?;
        let batch = batch.map_or(Ok(false), |it| {
            decided.quarantine.set_aside(&it, sequence, Cause::ByHand)
        });
        if !batch.map_err(failed)? {
            let dir = dir.display();
            return Err(CliError::failed(format!(
                "there is no notification {sequence} in {dir}"
            )));
        }
        writeln!(
            out,
            "notification {sequence} is set aside: it gives no event, and is the dead letter {WORKER}/{sequence}"
        )?;
        for sink in has_passed(&passed, sequence) {
            writeln!(
                out,
                "  the sink {sink} has passed it already, and keeps what it has had of it"
            )?;
        }
    }
    Ok(())
}

/// Has notifications taken apart again that were set aside, or that nobody could take apart.
pub(super) fn take_back(dir: &Path, items: &[Item]) -> Result<(), CliError> {
    let decided = Decided::open(dir)?;
    let letters = dead_letters(dir)?;
    let passed = cursor::all(dir)?;
    let extent = journal::extent(&*decided.disk)
        .map_err(|error| refused("cannot look into the journal", error))?;
    let mut out = io::stdout();
    for item in items {
        let sequence = item.sequence;
        if !extent.contains(&sequence) {
            return Err(CliError::failed(format!(
                "notification {sequence} is not in the journal any more: `{}` has its body",
                command(&format!("dead-letters show {WORKER}/{sequence}"), dir)
            )));
        }
        let was_decided = decided.quarantine.take_back(sequence).map_err(failed)?;
        match letters.drop_dead_letter(*item) {
            Err(DeadLetterError::Missing { .. }) if was_decided => {}
            dropped => dropped.map_err(failed)?,
        }
        letters.sync().map_err(failed)?;
        writeln!(
            out,
            "notification {sequence} is taken apart again with the next start; where that is not possible, it comes back here"
        )?;
        for sink in has_passed(&passed, sequence) {
            writeln!(
                out,
                "  the sink {sink} has passed it: then `{}` delivers it",
                command(
                    &format!("replay --sink {sink} --from {sequence} --to {sequence}"),
                    dir
                )
            )?;
        }
    }
    Ok(())
}

/// The sinks that are beyond this sequence in every lane.
fn has_passed(all: &[StoredCursor], sequence: u64) -> impl Iterator<Item = &str> {
    let passed = all.iter().filter(move |found| {
        let saved = found.saved.as_ref();
        saved.is_ok_and(|saved| feed::confirmed(&saved.lanes) >= sequence)
    });
    passed.map(|found| found.sink.as_str())
}

impl Decided {
    fn open(dir: &Path) -> Result<Decided, CliError> {
        let disk: Arc<dyn Storage> = Arc::new(open(dir)?);
        let lock = journal::lock(&*disk).map_err(|error| match error {
            JournalError::Locked { holder, .. } => CliError::failed(format!(
                "a server runs here ({holder}), and what it has taken apart cannot be taken from it: stop it first"
            )),
            error => CliError::because("cannot take the journal", error),
        })?;
        let unreadable = |error| refused("cannot look into the journal", error);
        let manifest = Manifest::load_existing(&*disk).map_err(unreadable)?;
        let oldest = journal::extent(&*disk).map_err(unreadable)?.start;
        let storage = make_beside(dir, "poison")?;
        let paths = manifest.endpoints;
        let path_of = Box::new(move |wanted| {
            let mut all = paths.iter();
            let found = all.find(|(number, _)| *number == wanted);
            found.map_or_else(String::new, |(_, path)| path.clone())
        });
        let about = (manifest.id, oldest);
        let storage: Arc<dyn Storage> = Arc::new(storage);
        let quarantine = Quarantine::open(&storage, about, dead_letters(dir)?, path_of);
        Ok(Decided {
            quarantine: quarantine.map_err(failed)?,
            disk,
            _lock: lock,
        })
    }
}

/// The dead letters of the workers.
fn dead_letters(dir: &Path) -> Result<DeadLetters, CliError> {
    make_beside(dir, "dead-letters")?;
    let disk = make_beside(&dir.join("dead-letters"), WORKER)?;
    DeadLetters::open(Arc::new(disk)).map_err(failed)
}

fn failed(error: DeadLetterError) -> CliError {
    CliError::because("cannot go on", error)
}
