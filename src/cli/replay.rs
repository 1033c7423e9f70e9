//! `hookline replay`: deliver a part of the journal to a sink again.
//!
//! The verb only asks, by a file, see [`Replays`]; the running server does it, and this shows how far it is.

mod dry_run;

use super::Output;
use super::cursor::check_sink_is_known;
use super::error::CliError;
use super::journal::{
    check_whole_from, is_journal, make_beside, open, open_beside, warn_of_unknown_types,
};
use super::position_argument::{PositionArgument, extent_of};
use super::report::progress::Progress;
use super::report::table::Table;
use super::report::units::{counted, sequences, time};
use crate::config::{DATA_DIR, DATA_DIR_VARIABLE};
use crate::disk::{Storage, command, quoted};
use crate::event::Pattern;
use crate::feed::{Replay, ReplayError, ReplayState, Replays};
use clap::{Args, Subcommand};
use serde_json::{Value, json};
use signal_hook::consts::SIGINT;
use signal_hook::flag;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

#[derive(Clone, Debug, Args)]
#[command(args_conflicts_with_subcommands = true, arg_required_else_help = true)]
pub(super) struct ReplayArgs {
    #[command(subcommand)]
    verb: Option<ReplayVerb>,
    #[command(flatten)]
    ask: ReplayAsk,
}

#[derive(Clone, Debug, Subcommand)]
enum ReplayVerb {
    /// List the replays that wait, run or have ended
    List {
        /// Directory of the journal
        #[arg(long, value_name = "DIR", env = DATA_DIR_VARIABLE, default_value = DATA_DIR)]
        data_dir: PathBuf,
        /// How to print the result; json: one object a line
        #[arg(long, value_enum, default_value_t, value_name = "FORM")]
        output: Output,
    },
    /// End a replay that waits or runs
    Cancel {
        /// Which one, as `hookline replay list` prints it
        #[arg(value_name = "ID")]
        id: String,
        /// Directory of the journal
        #[arg(long, value_name = "DIR", env = DATA_DIR_VARIABLE, default_value = DATA_DIR)]
        data_dir: PathBuf,
    },
}

#[derive(Clone, Debug, Args)]
struct ReplayAsk {
    /// To which sink
    #[arg(long, value_name = "NAME", required = true)]
    sink: Option<String>,
    /// From when on: a sequence, a time as in 2026-11-23T01:45:00Z, how long ago as in 2h, or start
    #[arg(long, value_name = "SEQ|TIME", required = true)]
    from: Option<PositionArgument>,
    /// Until when: a sequence, which still belongs to it, or a time [default: now]
    #[arg(long, value_name = "SEQ|TIME")]
    to: Option<PositionArgument>,
    /// Only events of this type, as in 'whatsapp.message.*'; may be repeated
    #[arg(long = "type", value_name = "GLOB")]
    types: Vec<Pattern>,
    /// Only events of this business number, as the platform identifies it; may be repeated
    #[arg(long = "phone-number-id", value_name = "ID")]
    phone_number_ids: Vec<String>,
    /// At most so many deliveries a second, as in 100/s [default: what the sink takes]
    #[arg(long, value_name = "N/s", value_parser = rate)]
    rate: Option<u32>,
    /// Only count what would be delivered, by type
    #[arg(long)]
    dry_run: bool,
    /// Do not wait until it is done
    #[arg(long, conflicts_with = "dry_run")]
    detach: bool,
    /// Wait as long as it takes until a server takes it up; otherwise for a minute
    #[arg(long, conflicts_with_all = ["dry_run", "detach"])]
    wait: bool,
    /// Directory of the journal
    #[arg(long, value_name = "DIR", env = DATA_DIR_VARIABLE, default_value = DATA_DIR)]
    data_dir: PathBuf,
    /// How to print the result; progress goes to stderr
    #[arg(long, value_enum, default_value_t, value_name = "FORM")]
    output: Output,
}

/// A consumer reads again by itself.
fn check_is_delivered_to(sink: &str, from: u64, dir: &Path) -> Result<(), CliError> {
    let replays = open_beside(dir, "replays")?.map(|disk| Replays::open(Arc::new(disk)));
    if !replays.is_some_and(|it| it.has_consumer(sink)) {
        return Ok(());
    }
    let seek = format!("cursor seek {} --to {from}", quoted(sink));
    Err(CliError::failed(format!(
        "the sink {sink} is of type pull, so nothing is delivered to it again: its consumer reads again with after={}; \
         or stop the server and move its cursor with `{}`",
        from.saturating_sub(1),
        command(&seek, dir)
    )))
}

fn rate(text: &str) -> Result<u32, &'static str> {
    let number = text.strip_suffix("/s").unwrap_or(text).parse().ok();
    let number = number.filter(|number| *number > 0);
    number.ok_or("write deliveries a second, 1 or more, as in 100/s")
}

pub(super) fn run(args: &ReplayArgs) -> Result<(), CliError> {
    match &args.verb {
        Some(ReplayVerb::List { data_dir, output }) => list(data_dir, *output),
        Some(ReplayVerb::Cancel { id, data_dir }) => cancel(data_dir, id),
        None => ask(&args.ask),
    }
}

fn ask(args: &ReplayAsk) -> Result<(), CliError> {
    let (Some(sink), Some(from)) = (&args.sink, args.from) else {
        return Err(CliError::Usage(
            "say which --sink, and --from when".to_owned(),
        ));
    };
    let disk: Arc<dyn Storage> = Arc::new(open(&args.data_dir)?);
    is_journal(&args.data_dir)?;
    check_sink_is_known(sink, &args.data_dir)?;
    let mut replay = range((&args.data_dir, &disk), sink, (from, args.to))?;
    check_is_delivered_to(sink, replay.from, &args.data_dir)?;
    warn_of_unknown_types(&args.types)?;
    replay.types = args.types.iter().map(|it| it.as_str().to_owned()).collect();
    replay.phone_number_ids.clone_from(&args.phone_number_ids);
    replay.rate = args.rate.unwrap_or(0);
    if args.dry_run {
        return dry_run::count(&args.data_dir, &disk, &replay, args.output);
    }
    let replays = make_beside(&args.data_dir, "replays")?;
    let replays = Replays::open(Arc::new(replays));
    replays.request(&mut replay).map_err(failed)?;
    let what = format!(
        "the replay {} of {} to {sink}",
        replay.id,
        sequences(replay.from, replay.to)
    );
    if args.detach {
        match args.output {
            Output::Json => writeln!(io::stdout(), "{}", as_json(&replays, &replay))?,
            Output::Text => writeln!(
                io::stdout(),
                "asked for {what}; `{}` shows it",
                command("replay list", &args.data_dir)
            )?,
        }
        return Ok(());
    }
    writeln!(io::stderr(), "asked for {what}")?;
    watch(&replays, replay, args)
}

/// What is to be replayed, with the sequences that there are.
fn range(
    (dir, disk): (&Path, &Arc<dyn Storage>),
    sink: &str,
    (from, to): (PositionArgument, Option<PositionArgument>),
) -> Result<Replay, CliError> {
    let extent = extent_of(&**disk)?;
    let first = from.resolve(&**disk, &extent)?;
    // A sequence belongs to it, a time does not.
    let last = match to {
        None => extent.end - 1,
        Some(PositionArgument::Sequence(last)) => last,
        Some(to) => to.resolve(&**disk, &extent)?.saturating_sub(1),
    };
    let (from, to) = (first.max(extent.start), last.min(extent.end - 1));
    if extent.is_empty() || from > to {
        // It may only seem to end there.
        check_whole_from(&**disk, dir, extent.end)?;
    }
    if extent.is_empty() {
        return Err(CliError::failed("the journal is empty"));
    }
    if from > to {
        return Err(CliError::failed(format!(
            "there is nothing to replay: the journal has {}, and asked for is {first} to {last}",
            sequences(extent.start, extent.end - 1)
        )));
    }
    if first < from {
        writeln!(
            io::stderr(),
            "what comes before sequence {from} is not in the journal any more"
        )?;
    }
    Ok(Replay::new(sink, from, to, disk.now()))
}

/// Shows how far a replay is until it has ended.
fn watch(replays: &Replays, mut replay: Replay, args: &ReplayAsk) -> Result<(), CliError> {
    let dir = &args.data_dir;
    let interrupted = Arc::new(AtomicBool::new(false));
    flag::register(SIGINT, Arc::clone(&interrupted))
        .map_err(|error| CliError::because("cannot watch signals", error))?;
    let mut progress = Progress::new();
    let began = Instant::now();
    let (mut hinted, mut moved) = (false, began);
    while !replay.state.is_final() {
        if interrupted.load(Ordering::Relaxed) {
            progress.clear();
            writeln!(
                io::stderr(),
                "the replay goes on without this; `{}` ends it",
                command(&format!("replay cancel {}", replay.id), dir)
            )?;
            return Ok(());
        }
        if replay.state == ReplayState::Requested && !hinted && began.elapsed() > TAKE_UP {
            hinted = true;
            progress.clear();
            let until = if args.wait {
                ""
            } else {
                "; this ends after a minute"
            };
            writeln!(
                io::stderr(),
                "nobody has taken it up yet: {NOBODY}; it stays asked for{until}"
            )?;
        }
        if !args.wait && moved.elapsed() > WAIT_MAX && is_stuck(&replay) {
            progress.clear();
            return Err(CliError::failed(format!(
                "no server has worked on the replay {id} for a minute: {NOBODY}; it stays asked for: `{}` ends it, \
                 and with --wait this waits on",
                command(&format!("replay cancel {}", replay.id), dir),
                id = replay.id,
            )));
        }
        progress.show(|| bar(&replay));
        std::thread::sleep(LOOK);
        let before = (replay.state, replay.updated);
        replay = replays.read(&replay.id).map_err(failed)?;
        if before != (replay.state, replay.updated) {
            moved = Instant::now();
        }
    }
    progress.clear();
    conclude(replays, replay, args.output)
}

/// What became of a replay that has ended.
fn conclude(replays: &Replays, replay: Replay, output: Output) -> Result<(), CliError> {
    if output == Output::Json {
        writeln!(io::stdout(), "{}", as_json(replays, &replay))?;
    } else {
        let Replay {
            delivered,
            skipped,
            failed,
            ..
        } = replay;
        writeln!(
            io::stdout(),
            "{}: {delivered} delivered, {skipped} left out, {}",
            replay.state.name(),
            counted(failed, "dead letter"),
        )?;
    }
    match replay.state {
        ReplayState::Done => Ok(()),
        state => Err(CliError::failed(format!(
            "the replay {} {}{}",
            replay.id,
            match state {
                ReplayState::Failed => "failed",
                _ => "was cancelled",
            },
            replay
                .reason
                .map_or(String::new(), |reason| format!(": {reason}"))
        ))),
    }
}

/// True if it would move by now if anybody looked after it. At a rate of its own it may rest for longer.
fn is_stuck(replay: &Replay) -> bool {
    replay.state == ReplayState::Requested || replay.rate == 0
}

fn list(data_dir: &Path, output: Output) -> Result<(), CliError> {
    let Some(replays) = opened(data_dir)? else {
        if output == Output::Text {
            writeln!(io::stdout(), "there are no replays")?;
        }
        return Ok(());
    };
    let mut out = io::stdout().lock();
    let ids = replays.ids().map_err(failed)?;
    let mut table = Table::new("|  | > |");
    if output == Output::Text && ids.is_empty() {
        writeln!(out, "there are no replays")?;
    }
    for id in ids {
        let replay = match replays.read(&id) {
            Err(ReplayError::Missing(_)) => continue,
            Err(error) => {
                if output == Output::Json {
                    let damaged = json!({ "id": id, "damaged": error.to_string() });
                    writeln!(out, "{damaged}")?;
                } else {
                    table.note(format!("{id}  damaged: {error}"));
                }
                continue;
            }
            Ok(replay) => replay,
        };
        if output == Output::Json {
            writeln!(out, "{}", as_json(&replays, &replay))?;
            continue;
        }
        let ending = !replay.state.is_final() && replays.is_being_cancelled(&id);
        let state = if ending {
            "to be cancelled"
        } else {
            replay.state.name()
        };
        let dead_letters = counted(replay.failed, "dead letter");
        let reason = replay.reason.as_ref();
        table.row(&[
            &id,
            &state,
            &format_args!("{} %", percent(&replay)),
            &format_args!(
                "{}; {} delivered, {} left out, {dead_letters}{}",
                sequences(replay.from, replay.to),
                replay.delivered,
                replay.skipped,
                reason.map_or_else(String::new, |reason| format!("; {reason}")),
            ),
        ]);
    }
    Ok(table.write(&mut out)?)
}

fn cancel(data_dir: &Path, id: &str) -> Result<(), CliError> {
    let refused = |error: ReplayError| match error {
        error @ ReplayError::Missing(_) => CliError::failed(format!(
            "{error}; `{}` shows those that there are",
            command("replay list", data_dir)
        )),
        error => failed(error),
    };
    let missing = || refused(ReplayError::Missing(id.to_owned()));
    let replays = opened(data_dir)?.ok_or_else(missing)?;
    replays.cancel(id).map_err(refused)?;
    writeln!(
        io::stdout(),
        "the replay {id} ends within a second, or before it begins again"
    )?;
    Ok(())
}

/// The replays there; none where none was ever asked for.
fn opened(data_dir: &Path) -> Result<Option<Replays>, CliError> {
    is_journal(data_dir)?;
    let disk = open_beside(data_dir, "replays")?;
    Ok(disk.map(|disk| Replays::open(Arc::new(disk))))
}

fn as_json(replays: &Replays, replay: &Replay) -> Value {
    json!({
        "id": replay.id,
        "sink": replay.sink,
        "from": replay.from,
        "to": replay.to,
        "types": replay.types,
        "phone_number_ids": replay.phone_number_ids,
        "rate": replay.rate,
        "state": replay.state.name(),
        "to_be_cancelled": !replay.state.is_final() && replays.is_being_cancelled(&replay.id),
        "reason": replay.reason,
        "next": replay.next,
        "delivered": replay.delivered,
        "skipped": replay.skipped,
        "failed": replay.failed,
        "created": time(Some(replay.created)),
        "updated": time(Some(replay.updated)),
    })
}

fn percent(replay: &Replay) -> u64 {
    let all = (replay.to + 1).saturating_sub(replay.from).max(1);
    let done = replay.next.saturating_sub(replay.from).min(all);
    (u128::from(done) * 100 / u128::from(all))
        .try_into()
        .unwrap_or(100)
}

/// How far it is, for the line of its progress.
fn bar(replay: &Replay) -> String {
    let percent = percent(replay);
    let full = usize::try_from(percent / 4).unwrap_or(0);
    format!(
        "{:<9} [{:<25}] {percent:>3} %  sequence {}, {} delivered",
        replay.state.name(),
        "=".repeat(full),
        replay.next,
        replay.delivered,
    )
}

fn failed(error: ReplayError) -> CliError {
    match error {
        error @ ReplayError::Io(_) => CliError::because("cannot replay", error),
        error => CliError::failed(error.to_string()),
    }
}

/// How often the file is read.
const LOOK: Duration = Duration::from_millis(200);

/// What it waits for, as far as can be seen from here.
const NOBODY: &str =
    "no server runs here, it has no such sink, or another replay to that sink comes before";

/// How long nothing moves before this gives up.
const WAIT_MAX: Duration = Duration::from_mins(1);

/// How soon a server that runs has taken up a replay.
const TAKE_UP: Duration = Duration::from_secs(5);

pub(super) const EXAMPLES: &str = "\
Examples:
  hookline replay --sink crm --from 2h --dry-run
  hookline replay --sink crm --from 2026-11-22T08:00:00Z --to 2026-11-22T09:30:00Z --rate 100/s
  hookline replay --sink crm --from 4711 --type 'whatsapp.message.*' --detach
  hookline replay list
  hookline replay cancel 20261123-014500-crm";
