//! `hookline audit`: the books of the receiver, derived again from the journal.
//!
//! What is received stands in the journal; how far each sink has come stands in its cursor. Everything else is derived
//! here, by the same extraction as in the workers, and without a word from any process: beside a running server as
//! well as on a stopped one.
//!
//! - **received**: the events that the bodies give;
//! - **in flight**: events that the sink's cursor does not call confirmed, see `standing.rs`. Between the cursor and
//!   what a sink has really got there is up to a second of events, which a crash delivers again; here they are in
//!   flight still. All others are one of these:
//! - **duplicate**: an earlier one says the same, as the server has decided and written down, so the sink was spared
//!   it. After a power cut some may have to be decided again; until the next start they count as delivered;
//! - **unwanted**: the sink's filters leave it out. They stand in the configuration; without it these events count as
//!   delivered, and the audit says so;
//! - **dead**: it is among the sink's dead letters now. What was delivered after all, or dropped by somebody, counts
//!   as delivered: nothing is owed any more. So a letter that a replay has left counts here, though the sink has had
//!   that event before;
//!   A notification that nobody can take apart gives no event: it is one dead letter of the workers, and here one that
//!   is dead for each sink that has passed it, whatever the sink's filters are;
//! - **delivered**: everything else;
//! - **unaccounted**: received less all of these, such as a notification that gave no event, or passed as
//!   `whatsapp.unparsed` with a version before this one and was left out by a filter for that, and is no dead letter;
//!   and sequences that are neither there nor set aside by a repair, and
//!   those beyond the journal that a cursor claims. It is 0, or something is wrong.
//!
//! What retention took from a sink that was not in the configuration at the time is not in the journal any more, so it
//! is in no sum; as long as the sink's cursor stands before it, its number is reported beside the balance.
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
mod standing;
mod tally;

use super::error::CliError;
use super::journal::{open, open_beside, poison, refused};
use super::{Output, configuration, cursor};
use crate::config::{Config, DATA_DIR, DATA_DIR_VARIABLE};
use crate::dead_letter::{self, WORKER};
use crate::disk::Storage;
use crate::event::Item;
use crate::feed::{self, CursorError, StoredCursor};
use crate::journal::{JournalError, Manifest};
use crate::server;
use crate::worker::{Forms, Poison};
use clap::Args;
use reading::{Meter, Outcome};
use report::{Report, SinkReport};
use standing::Standing;
use std::collections::BTreeSet;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// `hookline audit`
#[derive(Clone, Debug, Args)]
pub(super) struct AuditArgs {
    /// Directory of the journal [default: that of --config, else ./hookline-data]
    #[arg(long, value_name = "DIR", env = DATA_DIR_VARIABLE)]
    data_dir: Option<PathBuf>,
    /// The server's configuration, which says what the sinks' filters leave out; its secrets are not needed
    #[arg(long, short, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Only what follows this `position`; with 4711.3, notification 4711 counts as a whole
    #[arg(long, value_name = "SEQ[.INDEX]", default_value = "0")]
    after: Item,
    /// Find repeats that are at most this many different keys apart; each takes up to 30 bytes of memory
    #[arg(long, value_name = "KEYS", default_value_t = 7_000_000, value_parser = window)]
    window: usize,
    /// How to print the result
    #[arg(long, value_enum, default_value_t, value_name = "FORM")]
    output: Output,
}

fn window(text: &str) -> Result<usize, &'static str> {
    let keys = text.parse().ok().filter(|keys| *keys > 0);
    keys.ok_or("write a number of keys, 1 or more")
}

/// Runs the verb.
pub(super) fn run(args: &AuditArgs) -> Result<(), CliError> {
    let failed = |error: JournalError| refused("cannot audit the journal", error);
    let config = args.config.as_deref();
    let config = config.map(|file| configuration(Some(file))).transpose()?;
    let dir = args.data_dir.as_deref();
    let dir = dir.or_else(|| Some(&config.as_ref()?.journal.dir));
    let dir = dir.unwrap_or(Path::new(DATA_DIR));
    let disk: Arc<dyn Storage> = Arc::new(open(dir)?);
    // Before the letters: what a cursor has passed was a letter by then, or is no longer one.
    let cursors = cursor::all(dir)?;
    let manifest = Manifest::load_existing(&*disk).map_err(failed)?;
    let oldest = manifest.segments.first();
    let oldest = oldest.and_then(|segment| segment.first_sequence);
    // With an index, events of the notification itself follow.
    let after = args.after.sequence;
    let after = after.saturating_add(u64::from(args.after.index.is_none()));
    let oldest = oldest.unwrap_or(1);
    let first = after.max(oldest);
    let configured = config.as_ref().map(|config| &config.sinks);
    let (notes, cursors) = notes(cursors, |name| {
        Some(configured?.iter().any(|sink| sink.name == name))
    });
    let standings = cursors.into_iter();
    let standings = standings.map(|found| Standing::of(found, manifest.id, after..oldest));
    let mut sinks: Vec<_> = standings.collect();
    let poison = poison(dir, &*disk)?;
    add_dead_letters(&mut sinks, &poison, dir)?;
    if let Some(config) = &config {
        add_filters(&mut sinks, config, &manifest);
    }
    let job = reading::Job {
        storage: Arc::clone(&disk),
        first,
        window: args.window,
        scope: (config.as_ref()).map_or_else(Default::default, |config| config.dedupe.scope),
        poison: Arc::new(poison),
        forms: Arc::new(Forms::look(Arc::clone(&disk))),
        dedupe: open_beside(dir, "dedupe")?.map(|disk| Arc::new(disk) as Arc<dyn Storage>),
        sinks,
    };
    let mut meter = Meter::begin(&*disk);
    let outcome = job.run(&mut meter);
    meter.end();
    let report = Report {
        notes,
        ..balance(dir, &manifest, first, job.sinks, outcome.map_err(failed)?)
    };
    match args.output {
        Output::Json => writeln!(io::stdout(), "{}", report.as_json())?,
        Output::Text => report.write(&mut io::stdout().lock())?,
    }
    CliError::unless(report.balances())
}

/// What is among the dead letters of each sink, and of the workers.
fn add_dead_letters(sinks: &mut [Standing], poison: &Poison, dir: &Path) -> Result<(), CliError> {
    let mut poisoned: BTreeSet<u64> = poison.poisoned().into_iter().collect();
    for (name, letters) in dead_letters(dir)? {
        if name == WORKER {
            poisoned.extend(letters.iter().map(|item| item.sequence));
        } else if let Some(sink) = sinks.iter_mut().find(|sink| sink.name == name) {
            sink.dead_letters = letters;
        }
    }
    let poisoned = Arc::new(poisoned);
    for sink in sinks {
        sink.poisoned = Arc::clone(&poisoned);
    }
    Ok(())
}

/// What the configured sinks want.
fn add_filters(sinks: &mut [Standing], config: &Config, manifest: &Manifest) {
    for sink in &config.sinks {
        if let Some(standing) = sinks.iter_mut().find(|it| it.name == sink.name) {
            // A path that this journal does not know has had nothing.
            let known = manifest.endpoints.iter();
            let asked = known.filter(|(_, path)| sink.filter.endpoints.contains(path));
            let numbers = asked.map(|(number, _)| *number).collect();
            standing.wanted = Some(server::selection(&sink.filter, numbers));
        }
    }
}

/// Takes out what no sink owes anything for: files that none has written, and damaged cursors of sinks that are not
/// configured. `is_configured` does not know without a configuration.
fn notes(
    cursors: Vec<StoredCursor>,
    is_configured: impl Fn(&str) -> Option<bool>,
) -> (Vec<String>, Vec<StoredCursor>) {
    let mut notes = Vec::new();
    let mut kept = Vec::new();
    for found in cursors {
        let is_known = is_configured(&found.sink);
        match &found.saved {
            Err(error @ CursorError::Foreign { .. }) if is_known != Some(true) => {
                notes.push(error.to_string());
            }
            Err(error) if is_known == Some(false) => {
                notes.push(format!(
                    "{error}; there is no such sink in the configuration"
                ));
            }
            _ => kept.push(found),
        }
    }
    (notes, kept)
}

/// What is among the dead letters of each sink.
fn dead_letters(dir: &Path) -> Result<Vec<(String, BTreeSet<Item>)>, CliError> {
    let failed = |error| CliError::because("cannot read the dead letters", error);
    let sinks = dead_letter::list_sinks(&dir.join("dead-letters")).map_err(failed)?;
    let listed = sinks.into_iter().map(|(name, letters)| {
        let letters = letters.and_then(|letters| letters.list()).map_err(failed)?;
        Ok((name, letters.into_iter().map(|it| it.item).collect()))
    });
    listed.collect()
}

/// Draws the balance of everything from the sequence `first` on.
fn balance(
    dir: &Path,
    manifest: &Manifest,
    first: u64,
    sinks: Vec<Standing>,
    outcome: Outcome,
) -> Report {
    let Outcome {
        mut end,
        gaps,
        mut tally,
        repeats,
    } = outcome;
    end.damage.extend(tally.unmarked.take());
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
        let reached = feed::reached(&standing.lanes);
        let beyond = (reached + 1).saturating_sub(end.next);
        let mut report = SinkReport {
            name: standing.name,
            problem: standing.problem,
            cursor: feed::confirmed(&standing.lanes),
            reached,
            retired: standing.retired,
            filtered: standing.wanted.is_some(),
            dead_letters: standing.dead_letters.len() as u64,
            received: tally.received,
            delivered: sink.delivered,
            duplicate: sink.duplicate,
            unwanted: sink.unwanted,
            dead: sink.dead,
            in_flight: sink.in_flight,
            unaccounted: 0,
            hidden: sink.hidden,
            hidden_first: sink.hidden_first,
            waiting: sink.waiting,
            waiting_since: sink.waiting_since,
        };
        report.unaccounted = report.received.abs_diff(report.sum()) + missing + beyond;
        report
    });
    Report {
        dir: dir.to_owned(),
        id: manifest.id,
        first,
        endpoints: manifest.endpoints.clone(),
        holes: holes.filter(|(begin, behind)| begin < behind).collect(),
        missing,
        sinks: sinks.collect(),
        notes: Vec::new(),
        end,
        tally,
        repeats,
    }
}

pub(super) const EXAMPLES: &str = "\
Examples:
  hookline audit --data-dir /var/lib/hookline      also beside a running server
  hookline audit --config /etc/hookline.toml       says what filters left out; needs no secret
  hookline audit --after 4711 --output json";
