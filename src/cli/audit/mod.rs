//! `hookline audit`: the books of the receiver, derived again from the journal.
//!
//! What is received stands in the journal; how far each sink has come stands in its cursor. Everything else is derived
//! here, by the same extraction as in the workers, and without a word from any process: beside a running server as
//! well as on a stopped one.
//!
//! - **received**: the events that the bodies give;
//! - **delivered**: events up to the sink's cursor, that is: confirmed. Between the cursor and what a sink has really
//!   got there is up to a second of events, which a crash delivers again; here they are in flight still;
//! - **in flight**: events behind the cursor;
//! - **duplicate**, **dead**: what a sink was spared and what it could not take. No sink does either yet, so a repeat
//!   counts where it goes: among the delivered. How many repeats the journal holds is told beside the balance;
//! - **unaccounted**: received less all of these, and sequences that are neither there nor set aside by a repair, and
//!   those beyond the journal that a cursor claims. It is 0, or something is wrong.
//!
//! What retention took from a sink that was not in the configuration at the time is not in the journal any more, so it
//! is in no sum; as long as the sink's cursor stands before it, its number is told beside the balance.
//!
//! Damage that nobody has set aside is passed over as a repair would: what it took is missing, what lies behind is
//! read. Where that is not possible, nobody knows what a sink has had.
//!
//! The cursors are read first: what they say is confirmed is in the journal by then. A running server may be about to
//! sync the last frames that are read; they are behind every cursor. The journal is read by one thread, taken apart by
//! as many as there are cores, and put in order again for what depends on order: gaps and repeats. The batches
//! under way are bounded, and so is the memory for the keys, see `repeats.rs`.

mod reading;
mod repeats;
mod report;
mod tally;

use super::journal::{open, poison, refused};
use super::{AuditArgs, CliError, Output};
use crate::feed::{self, Found, Saved};
use crate::journal::{Disk, JournalError, JournalId, Manifest, Storage};
use reading::{Outcome, Progress};
use report::{Report, SinkReport};
use std::io::{self, Write as _};
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

/// Runs the verb.
pub(super) fn run(args: &AuditArgs) -> Result<(), CliError> {
    let failed = |error: JournalError| refused("cannot audit the journal", error);
    let disk: Arc<dyn Storage> = Arc::new(open(&args.data_dir)?);
    let cursors = cursors(&args.data_dir)?;
    let manifest = Manifest::load_existing(&*disk).map_err(failed)?;
    let oldest = manifest.segments.first();
    let oldest = oldest.and_then(|segment| segment.first_sequence);
    // With an index, events of the notification itself follow.
    let after = args.after.sequence;
    let after = after.saturating_add(u64::from(args.after.index.is_none()));
    let oldest = oldest.unwrap_or(1);
    let first = after.max(oldest);
    let sinks: Vec<_> = cursors
        .into_iter()
        .map(|found| Standing::of(found, manifest.id, after..oldest))
        .collect();
    let job = reading::Job {
        storage: Arc::clone(&disk),
        first,
        window: args.window,
        poison: Arc::new(poison(&args.data_dir, &*disk)?),
        cursors: sinks.iter().map(|sink| sink.cursor).collect(),
    };
    let mut progress = Progress::begin(&*disk);
    let outcome = job.run(&mut progress);
    progress.end();
    let report = balance(&manifest, first, sinks, outcome.map_err(failed)?);
    match args.output {
        Output::Json => writeln!(io::stdout(), "{}", report.as_json())?,
        Output::Text => report.write(&mut io::stdout().lock())?,
    }
    if report.balances() {
        Ok(())
    } else {
        Err(CliError::Told(1))
    }
}

/// What each cursor says; a journal that never had a sink has none.
fn cursors(dir: &Path) -> Result<Vec<Found>, CliError> {
    let dir = dir.join("cursors");
    match Disk::open(&dir) {
        Ok(disk) => feed::read_all(&disk)
            .map_err(|error| CliError::because("cannot read the cursors", error)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(CliError::because(
            format!("cannot read {}", dir.display()),
            error,
        )),
    }
}

/// Where a sink stands.
struct Standing {
    name: String,
    cursor: u64,
    /// Sequences that were retired before it had them.
    retired: u64,
    /// Why its cursor counts as 0.
    problem: Option<String>,
}

impl Standing {
    /// `retired` are the sequences that are asked for and not in the journal any more.
    fn of(found: Found, id: JournalId, retired: Range<u64>) -> Standing {
        let (cursor, problem) = match found.saved {
            Ok(saved) if saved.journal == id => (feed::confirmed(&saved.lanes), None),
            Ok(Saved { journal, .. }) => (
                0,
                Some(format!(
                    "its cursor belongs to the journal {journal}: with the next start, everything is delivered to it"
                )),
            ),
            Err(error) => (0, Some(error.to_string())),
        };
        // A sink that never had anything begins with the oldest record that there is.
        let begin = if cursor > 0 {
            retired.start.max(cursor.saturating_add(1))
        } else {
            retired.end
        };
        Standing {
            name: found.sink,
            cursor,
            retired: retired.end.saturating_sub(begin),
            problem,
        }
    }
}

/// Draws the balance of everything from the sequence `first` on.
fn balance(manifest: &Manifest, first: u64, sinks: Vec<Standing>, outcome: Outcome) -> Report {
    let Outcome {
        end,
        gaps,
        tally,
        repeats,
    } = outcome;
    let holes = manifest.holes.iter().map(|hole| {
        let behind = hole.first_sequence.saturating_add(hole.count);
        (hole.first_sequence.max(first), behind.min(end.next))
    });
    // Each sequence is there, set aside, or retired: by their number, and by where they are.
    let explained = end.set_aside + end.retired;
    let missing = (end.next - first)
        .abs_diff(tally.notifications + explained)
        .max(gaps.abs_diff(explained));
    let sinks = sinks.into_iter().zip(&tally.sinks);
    let sinks = sinks.map(|(standing, sink)| {
        let beyond = (sink.cursor + 1).saturating_sub(end.next);
        let mut report = SinkReport {
            name: standing.name,
            problem: standing.problem,
            cursor: sink.cursor,
            retired: standing.retired,
            received: tally.received,
            delivered: sink.delivered,
            duplicate: 0,
            dead: 0,
            in_flight: sink.in_flight,
            unaccounted: 0,
            waiting: sink.waiting,
            waiting_since: sink.waiting_since,
        };
        report.unaccounted = report.received.abs_diff(report.sum()) + missing + beyond;
        report
    });
    Report {
        id: manifest.id,
        first,
        endpoints: manifest.endpoints.clone(),
        holes: holes.filter(|(begin, behind)| begin < behind).collect(),
        missing,
        sinks: sinks.collect(),
        end,
        tally,
        repeats,
    }
}

pub(super) const EXAMPLES: &str = "\
Examples:
  hookline audit --data-dir /var/lib/hookline      also beside a running server
  hookline audit --after 4711 --output json";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::feed::Saved;

    /// What retention took from a sink that was out of the configuration was told by one line of a log, at its return.
    #[test]
    fn what_was_retired_before_a_sink_had_it_is_named() {
        let id = JournalId::random();
        let retired = |sequence, retired| {
            let found = Found {
                sink: "events".to_owned(),
                saved: Ok(Saved {
                    journal: id,
                    lanes: std::array::from_fn(|_| feed::Progress::up_to(sequence)),
                }),
            };
            Standing::of(found, id, retired).retired
        };
        // The journal begins with 21.
        assert_eq!(retired(10, 1..21), 10);
        assert_eq!(retired(19, 1..21), 1);
        assert_eq!(retired(20, 1..21), 0);
        assert_eq!(retired(35, 1..21), 0);
        assert_eq!(retired(10, 15..21), 6, "with --after");
        assert_eq!(
            retired(10, Range { start: 30, end: 21 }),
            0,
            "of what is asked for"
        );
        assert_eq!(retired(0, 1..21), 0, "it begins with what there is");
    }
}
