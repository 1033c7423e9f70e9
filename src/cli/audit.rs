//! `hookline audit`: the books of the receiver, derived again from the journal by [`crate::audit`].

mod report;

use super::error::CliError;
use super::journal::{open, open_beside, poison, refused};
use super::{Output, configuration, cursor};
use crate::audit::{self, Job, Standing};
use crate::config::{Config, DATA_DIR, DATA_DIR_VARIABLE};
use crate::dead_letter::{self, WORKER};
use crate::disk::Storage;
use crate::event::Item;
use crate::feed::{CursorError, StoredCursor};
use crate::journal::{JournalError, Manifest};
use crate::server;
use crate::worker::{Forms, Poison};
use clap::Args;
use report::{Meter, Report};
use std::collections::BTreeSet;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

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
    let job = Job {
        storage: Arc::clone(&disk),
        first,
        window: args.window,
        scope: (config.as_ref()).map_or_else(Default::default, |config| config.dedupe.scope),
        poison: Arc::new(poison),
        forms: Arc::new(Forms::look(Arc::clone(&disk))),
        dedupe: open_beside(dir, "dedupe")?.map(|disk| Arc::new(disk) as Arc<dyn Storage>),
        sinks,
        manifest,
    };
    let mut meter = Meter::begin(&*disk);
    let balance = audit::audit(job, &mut |bytes, next| meter.advance(bytes, next));
    meter.end();
    let report = Report {
        dir: dir.to_owned(),
        notes,
        balance: balance.map_err(failed)?,
    };
    match args.output {
        Output::Json => writeln!(io::stdout(), "{}", report.as_json())?,
        Output::Text => report.write(&mut io::stdout().lock())?,
    }
    CliError::unless(report.balance.is_even())
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

pub(super) const EXAMPLES: &str = "\
Examples:
  hookline audit --data-dir /var/lib/hookline      also beside a running server
  hookline audit --config /etc/hookline.toml       says what filters left out; needs no secret
  hookline audit --after 4711 --output json";
