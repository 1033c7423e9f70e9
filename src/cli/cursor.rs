//! `hookline cursor`: how far each sink has come, and where it is to go on.

use super::configuration::configuration;
use super::error::CliError;
use super::journal::{make_beside, open, open_beside, refused};
use super::position_argument::{PositionArgument, extent_of};
use super::report::table::Table;
use super::report::units::{counted, sequences};
use super::{OnJournal, Output};
use crate::config::{Config, DATA_DIR};
use crate::disk::{Guard, Storage, command, quoted};
use crate::event::Lane;
use crate::feed::{
    self, CursorError, Cursors, Lanes, Progress, RetentionHolds, Saved, StoredCursor,
};
use crate::journal::{self, JournalError, JournalId};
use clap::Subcommand;
use serde_json::json;
use std::io::{self, Write as _};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

#[derive(Clone, Debug, Subcommand)]
pub(super) enum CursorAction {
    /// List how far each sink has come in each lane; also beside a running server
    List {
        /// How to print the result
        #[arg(long, value_enum, default_value_t, value_name = "FORM")]
        output: Output,
    },
    /// Have a sink go on elsewhere: what lies between is delivered again, or never. The server must be stopped;
    /// beside one that runs, `hookline replay` delivers a part again
    Seek {
        /// Which sink
        #[arg(value_name = "SINK")]
        sink: String,
        /// What comes next: a sequence, a time as in 2026-11-23T01:45:00Z, how long ago as in 2h, start or end
        #[arg(long, value_name = "SEQ|TIME")]
        to: PositionArgument,
        /// Only in this lane: messages, statuses or rest
        #[arg(long, value_name = "LANE")]
        lane: Option<Lane>,
        /// The server's configuration, for a sink that has not run yet; its secrets are not needed
        #[arg(long, short, value_name = "FILE")]
        config: Option<PathBuf>,
    },
}

pub(super) fn run(args: &OnJournal<CursorAction>) -> Result<(), CliError> {
    match &args.action {
        CursorAction::List { output } => list(&args.data_dir, *output),
        CursorAction::Seek {
            sink,
            to,
            lane,
            config,
        } => {
            let config = config.as_deref();
            let config = config.map(|file| configuration(Some(file))).transpose()?;
            // What nobody has named otherwise is where the configuration says.
            let dir = config
                .as_ref()
                .filter(|_| args.data_dir == Path::new(DATA_DIR));
            let dir = dir.map_or(&args.data_dir, |config| &config.journal.dir);
            let what = Seek {
                sink,
                to: *to,
                only: *lane,
                config: config.as_ref(),
            };
            what.run(dir)
        }
    }
}

fn list(dir: &Path, output: Output) -> Result<(), CliError> {
    let disk = open(dir)?;
    // What the cursors say is in the journal by then.
    let all = all(dir)?;
    let extent = extent_of(&disk)?;
    let id = stored_id(&disk)?;
    let last = extent.end - 1;
    let mut out = io::stdout().lock();
    if output == Output::Text {
        if extent.is_empty() {
            writeln!(out, "the journal is empty\n")?;
        } else {
            let there = sequences(extent.start, last);
            writeln!(out, "the journal has {there}\n")?;
        }
    }
    let mut damaged = false;
    let mut sinks = Vec::new();
    let mut table = Table::new("sink | lane | >confirmed | >reached | >open | >behind");
    for StoredCursor { sink, saved } in all {
        let is_foreign = matches!(&saved, Err(CursorError::Foreign { .. }));
        damaged |= saved.is_err() && !is_foreign;
        let (lanes, problem) = usable(saved, id);
        let lanes = Lane::ALL.iter().zip(lanes.iter().flatten());
        let lanes = lanes.map(|(lane, progress)| (lane.name(), figures(progress, &extent)));
        if output == Output::Json {
            let lanes = lanes.map(|(lane, [confirmed, reached, open, behind])| {
                json!({
                    "lane": lane, "confirmed": confirmed, "reached": reached, "open": open, "behind": behind,
                })
            });
            let lanes: Vec<_> = lanes.collect();
            sinks.push(json!({ "sink": sink, "problem": problem, "lanes": lanes }));
            continue;
        }
        for (lane, [confirmed, reached, open, behind]) in lanes {
            table.row(&[&sink, &lane, &confirmed, &reached, &open, &behind]);
        }
        if let Some(problem) = problem {
            table.note(format!("{sink}  {problem}"));
        }
    }
    if output == Output::Text {
        table.write(&mut out)?;
    } else {
        let result = json!({ "first": extent.start, "next": extent.end, "sinks": sinks });
        writeln!(out, "{result}")?;
    }
    CliError::unless(!damaged)
}

/// The lanes of a cursor of this journal, or what is wrong with it.
fn usable(
    saved: Result<Saved, CursorError>,
    id: Option<JournalId>,
) -> (Option<Lanes>, Option<String>) {
    match saved {
        Ok(saved) if Some(saved.journal) == id => (Some(saved.lanes), None),
        Ok(_) => {
            let problem = "of another journal: with the next start, everything is delivered to it";
            (None, Some(problem.to_owned()))
        }
        Err(error) => (None, Some(error.to_string())),
    }
}

/// Up to where a lane has confirmed everything and has come, how many it has open, and how many notifications are
/// behind, in a journal of this extent.
fn figures(progress: &Progress, extent: &Range<u64>) -> [u64; 4] {
    let Progress {
        confirmed, reached, ..
    } = *progress;
    let open = progress.open.len() as u64;
    let retired = extent.start.saturating_sub(1);
    let behind = (extent.end - 1).saturating_sub(reached.max(retired)) + open;
    [confirmed, reached, open, behind]
}

/// What is to move, and where to.
struct Seek<'a> {
    sink: &'a str,
    to: PositionArgument,
    only: Option<Lane>,
    config: Option<&'a Config>,
}

impl Seek<'_> {
    fn run(&self, dir: &Path) -> Result<(), CliError> {
        let disk: Arc<dyn Storage> = Arc::new(open(dir)?);
        let id = stored_id(&*disk)?;
        let id = id
            .ok_or_else(|| CliError::failed(format!("there is no journal in {}", dir.display())))?;
        // Held to the end: a server would save its own place over this one.
        let _lock = self.lock(&*disk, dir)?;
        let extent = extent_of(&*disk)?;
        let next = self.to.resolve(&*disk, &extent)?;
        let next = within(next, &extent)?;
        let known = all(dir)?;
        let is_new = !known.iter().any(|found| found.sink == self.sink);
        if is_new {
            self.check_is_to_run(&known)?;
        }
        let cursors = make_beside(dir, "cursors")?;
        let floor = RetentionHolds::new(Arc::default());
        let (cursors, _) =
            Cursors::open(Arc::new(cursors), id, extent.end - 1, floor).map_err(failed)?;
        if !is_new {
            return self.move_cursor(&cursors, next);
        }
        cursors.begin(self.sink, next - 1).map_err(failed)?;
        writeln!(
            io::stdout(),
            "{}: begins with {next} when it runs for the first time",
            self.sink
        )?;
        Ok(())
    }

    fn lock(&self, disk: &dyn Storage, dir: &Path) -> Result<Guard, CliError> {
        let replay = format!("replay --sink {} --from start", quoted(self.sink));
        journal::lock(disk).map_err(|error| match error {
            JournalError::Locked { holder, .. } => CliError::failed(format!(
                "a server runs here ({holder}) and keeps this cursor itself: stop it; or deliver everything again that \
                 there is with `{}`, or a part of it with another --from; a consumer of a sink of type pull reads \
                 again by itself, with after=0",
                command(&replay, dir)
            )),
            error => CliError::because("cannot take the journal", error),
        })
    }

    /// An error for a sink without a cursor, unless the configuration has it.
    fn check_is_to_run(&self, known: &[StoredCursor]) -> Result<(), CliError> {
        let (sink, there) = (self.sink, names(known));
        let Some(config) = self.config else {
            return Err(CliError::failed(format!(
                "there is no cursor of a sink {sink}; there {there}; if it has not run yet, name the configuration that \
                 has it with --config"
            )));
        };
        let configured = config.sinks.iter().find(|it| it.name == sink);
        let configured = configured.ok_or_else(|| {
            CliError::failed(format!(
                "the configuration has no sink {sink}, and there is no cursor of one; there {there}"
            ))
        })?;
        let former = configured.life.former_name.as_ref();
        if let Some(former) = former.filter(|it| known.iter().any(|found| found.sink == **it)) {
            return Err(CliError::failed(format!(
                "the sink {sink} takes over the place of {former} when it runs for the first time: move that, or remove \
                 former_name"
            )));
        }
        if self.only.is_some() {
            return Err(CliError::Usage(format!(
                "the sink {sink} has not run yet, so it has no place in any lane: leave --lane out"
            )));
        }
        Ok(())
    }

    fn move_cursor(&self, cursors: &Cursors, next: u64) -> Result<(), CliError> {
        let mut cursor = cursors.of(self.sink).map_err(failed)?;
        let mut lanes = cursor.saved().clone();
        let mut out = io::stdout().lock();
        for lane in Lane::ALL {
            if self.only.is_some_and(|only| only != lane) {
                continue;
            }
            let progress = &mut lanes[lane.index()];
            let was = std::mem::replace(progress, Progress::up_to(next - 1));
            let open = match was.open.len() as u64 {
                0 => String::new(),
                open => format!(
                    "; {} before {} no longer",
                    counted(open, "open delivery"),
                    was.reached
                ),
            };
            writeln!(
                out,
                "{}, {}: goes on with {next}, would have with {}{open}",
                self.sink,
                lane.name(),
                was.reached + 1,
            )?;
        }
        cursor.move_to(lanes).map_err(failed)
    }
}

fn failed(error: CursorError) -> CliError {
    CliError::because("cannot move the cursor", error)
}

/// The sequence, or the first one that there still is.
fn within(next: u64, extent: &Range<u64>) -> Result<u64, CliError> {
    if next > extent.end {
        return Err(CliError::failed(format!(
            "{next} is beyond the journal, whose next sequence is {}",
            extent.end
        )));
    }
    Ok(next.max(extent.start))
}

fn stored_id(disk: &dyn Storage) -> Result<Option<JournalId>, CliError> {
    journal::stored_id(disk).map_err(|error| refused("cannot look into the journal", error))
}

/// An error if no server has ever delivered to a sink of this name.
pub(super) fn check_sink_is_known(sink: &str, dir: &Path) -> Result<(), CliError> {
    if dir.join("cursors").join(format!("{sink}.cursor")).exists() {
        return Ok(());
    }
    Err(CliError::failed(format!(
        "there never was a sink {sink} at {}; there {}",
        dir.display(),
        names(&all(dir)?)
    )))
}

/// `are crm, events`
fn names(known: &[StoredCursor]) -> String {
    let names: Vec<_> = known.iter().map(|found| found.sink.as_str()).collect();
    match names[..] {
        [] => "are none".to_owned(),
        [name] => format!("is {name}"),
        _ => format!("are {}", names.join(", ")),
    }
}

/// What each cursor says; a journal that never had a sink has none.
pub(super) fn all(dir: &Path) -> Result<Vec<StoredCursor>, CliError> {
    let Some(disk) = open_beside(dir, "cursors")? else {
        return Ok(Vec::new());
    };
    feed::read_all(&disk).map_err(|error| CliError::because("cannot read the cursors", error))
}

pub(super) const EXAMPLES: &str = "\
Examples:
  hookline cursor list --data-dir /var/lib/hookline
  hookline cursor seek crm --to 2h
  hookline cursor seek crm --to end --lane statuses
  hookline cursor seek new --to 2026-11-22T08:00:00Z --config /etc/hookline.toml     before its first start";
