//! `hookline sink`: the sinks of a data directory, those of the configuration and those that are gone.
//!
//! What is known of them stands in the files, in the configuration where one is named, and on the page of the server
//! where one answers that has this directory.

mod forget;
mod list;

use super::error::CliError;
use super::journal::{is_journal, open, open_beside, refused};
use super::{Output, configuration, cursor, status};
use crate::config::{Config, DATA_DIR, DATA_DIR_VARIABLE};
use crate::dead_letter::{self, WORKER};
use crate::feed::{Replays, StoredCursor};
use crate::journal;
use crate::server::{Overview, SinkLevel};
use clap::{Args, Subcommand};
use std::collections::BTreeMap;
use std::fs;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::sync::Arc;

#[derive(Clone, Debug, Args)]
pub(super) struct SinkArgs {
    #[command(subcommand)]
    action: SinkAction,
    /// Directory of the journal [default: that of --config, else ./hookline-data]
    #[arg(long, value_name = "DIR", env = DATA_DIR_VARIABLE, global = true)]
    data_dir: Option<PathBuf>,
    /// The server's configuration, which says what sinks there are; its secrets are not needed
    #[arg(long, short, value_name = "FILE", global = true)]
    config: Option<PathBuf>,
}

#[derive(Clone, Debug, Subcommand)]
enum SinkAction {
    /// List the sinks: type, state, place, and how many notifications wait for each; also beside a running server
    List {
        /// How to print the result
        #[arg(long, value_enum, default_value_t, value_name = "FORM")]
        output: Output,
    },
    /// Remove what a sink has left that is not in the configuration any more: cursor, replays, dead letters
    Forget {
        /// Which sink
        #[arg(value_name = "SINK")]
        sink: String,
        /// Also where there are notifications that it has not had, or dead letters
        #[arg(long)]
        yes: bool,
    },
}

pub(super) fn run(args: &SinkArgs) -> Result<(), CliError> {
    let known = Known::look(args)?;
    match &args.action {
        SinkAction::List { output } => list::list(&known, *output),
        SinkAction::Forget { sink, yes } => forget::forget(&known, sink, *yes),
    }
}

/// What is known of the sinks of a data directory.
struct Known {
    dir: PathBuf,
    /// The configuration, where one was named.
    config: Option<Config>,
    /// What the server says that has this directory, where one answers.
    served: Option<Overview>,
    /// The sequences that the journal has.
    there: RangeInclusive<u64>,
    cursors: Vec<StoredCursor>,
    /// How many there are of each sink.
    dead_letters: BTreeMap<String, u64>,
    /// Those that wait or run.
    replays: BTreeMap<String, u64>,
}

impl Known {
    fn look(args: &SinkArgs) -> Result<Known, CliError> {
        let config = args.config.as_deref();
        let config = config.map(|file| configuration(Some(file))).transpose()?;
        let dir = args.data_dir.as_deref();
        let dir = dir.or_else(|| Some(&config.as_ref()?.journal.dir));
        let dir = dir.unwrap_or(Path::new(DATA_DIR)).to_owned();
        is_journal(&dir)?;
        let disk = open(&dir)?;
        let cursors = cursor::all(&dir)?;
        // What the cursors say is in the journal by then.
        let extent = journal::extent(&disk);
        let extent = extent.map_err(|error| refused("cannot look into the journal", error))?;
        Ok(Known {
            served: served(config.as_ref(), &dir),
            there: extent.start..=extent.end - 1,
            dead_letters: dead_letters(&dir)?,
            replays: replays(&dir)?,
            cursors,
            config,
            dir,
        })
    }

    /// Names of all sinks: those of the configuration in its order, and then those that are gone.
    fn names(&self) -> Vec<String> {
        let configured = self.config.iter().flat_map(|config| &config.sinks);
        let served = self.served.iter().flat_map(|served| &served.sinks);
        let cursors = self.cursors.iter().map(|found| &found.sink);
        let beside = self.dead_letters.keys().chain(self.replays.keys());
        let all = configured
            .map(|sink| &sink.name)
            .chain(served.map(|sink| &sink.name))
            .chain(cursors)
            .chain(beside);
        let mut names: Vec<String> = Vec::new();
        for name in all {
            if !names.contains(name) {
                names.push(name.clone());
            }
        }
        names
    }

    /// What the server says of this one.
    fn served(&self, sink: &str) -> Option<&SinkLevel> {
        let mut served = self.served.iter().flat_map(|served| &served.sinks);
        served.find(|it| it.name == sink)
    }

    fn configured(&self, sink: &str) -> Option<&crate::config::Sink> {
        let mut configured = self.config.iter().flat_map(|config| &config.sinks);
        configured.find(|it| it.name == sink)
    }

    fn cursor(&self, sink: &str) -> Option<&StoredCursor> {
        self.cursors.iter().find(|found| found.sink == sink)
    }
}

/// The page of the server that has this directory; none if nobody answers, or another one does.
fn served(config: Option<&Config>, dir: &Path) -> Option<Overview> {
    let admin = match config {
        Some(config) => config.admin.listen?,
        None => configuration(None).ok()?.admin.listen?,
    };
    let overview = status::overview(admin).ok()?;
    let path = |path: &Path| fs::canonicalize(path).ok();
    (path(Path::new(&overview.journal.dir))? == path(dir)?).then_some(overview)
}

fn dead_letters(dir: &Path) -> Result<BTreeMap<String, u64>, CliError> {
    let failed = |error| CliError::because("cannot read the dead letters", error);
    let sinks = dead_letter::list_sinks(&dir.join("dead-letters")).map_err(failed)?;
    let sinks = sinks.into_iter().filter(|(name, _)| name != WORKER);
    let counted = sinks.map(|(name, letters)| {
        let listed = letters.and_then(|letters| letters.list()).map_err(failed)?;
        Ok((name, listed.len() as u64))
    });
    counted.collect()
}

fn replays(dir: &Path) -> Result<BTreeMap<String, u64>, CliError> {
    let mut counts = BTreeMap::new();
    let Some(disk) = open_beside(dir, "replays")? else {
        return Ok(counts);
    };
    let under_way = Replays::open(Arc::new(disk)).under_way();
    let under_way =
        under_way.map_err(|error| CliError::because("cannot read the replays", error))?;
    for replay in under_way {
        *counts.entry(replay.sink).or_default() += 1;
    }
    Ok(counts)
}

pub(super) const EXAMPLES: &str = "\
Examples:
  hookline sink list --config /etc/hookline.toml
  hookline sink list --data-dir /var/lib/hookline --output json
  hookline sink forget crm --data-dir /var/lib/hookline";
