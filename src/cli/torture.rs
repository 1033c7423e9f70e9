//! `hookline torture`: users prove the promise on their own disk.
//!
//! It starts a server as a process of its own, sends it signed notifications as fast as they are answered, and kills it
//! with SIGKILL at a random moment; then it starts it again on the same journal, reads that, and judges it by what was
//! answered, over and over. Some of the kills come while the server recovers.
//!
//! A kill takes the process and leaves the page cache, so this proves what the program does: the order of writes, syncs
//! and answers, recovery, segments and their recycling. What a power cut does to the cache of the drive it cannot show.
//!
//! The journal is bounded, so retention takes old rounds on the way. A round is judged at the look behind it and at the
//! next one; after that it has to be there until so much stands behind it that retention can have come to it, and from
//! then on it is judged while it is there.
//!
//! The order of a round is: load, kill, recovery, look. Recovery comes before the look since it is what a user
//! gets; nothing is sent meanwhile, so the journal beside the server that has just recovered stands still.

mod report;

use super::error::CliError;
use super::report::progress::Progress;
use super::report::{notes, print};
use super::{Output, duration};
use crate::disk::block::ALIGNMENT;
use crate::disk::{self, Disk};
use crate::journal::{JournalError, Manifest, Reader};
use crate::random::Random;
use crate::rig::child::{Launcher, Ready, Server};
use crate::rig::closed_loop::body::Bodies;
use crate::rig::closed_loop::load::{Ended, Load, Plan};
use crate::rig::closed_loop::stream::Stream;
use crate::rig::oracle::{JournalCheck, Oracle};
use crate::rig::signals::watch_signals;
use crate::rig::site::{Site, cannot_use};
use crate::rig::{child, samples};
use clap::Args;
use crossbeam_channel::{Receiver, select};
use report::{Conclusion, Report};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

#[derive(Clone, Debug, Args)]
pub(super) struct TortureArgs {
    /// Directory on the disk to test, with 1400 MiB free. All that is made is one new sub-directory of it
    #[arg(long, value_name = "DIR", default_value = ".")]
    data_dir: PathBuf,
    /// How long; with --rounds, what comes first ends the run [default: 60s, or as long as --rounds takes]
    #[arg(long = "for", value_name = "TIME", value_parser = duration)]
    time: Option<Duration>,
    /// How often to kill the server under load
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..100_000_000))]
    rounds: Option<u32>,
    /// Connections to send on
    #[arg(long, value_name = "N", default_value_t = 32, value_parser = clap::value_parser!(u32).range(1..=4096))]
    connections: u32,
    /// Repeats the bodies and the moments of an earlier run
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// Another build of hookline to test [default: this one]
    #[arg(long, value_name = "PROGRAM")]
    server: Option<PathBuf>,
    /// Keep the journal and the log in any case, not only as evidence
    #[arg(long)]
    keep: bool,
    /// How to print the report; progress goes to stderr
    #[arg(long, value_enum, default_value_t, value_name = "FORM")]
    output: Output,
}

pub(super) fn run(args: &TortureArgs) -> Result<(), CliError> {
    let volume = Site::volume(&args.data_dir, VERB, SPACE)?;
    notes(&volume.notes);
    let program = match &args.server {
        Some(program) => program.canonicalize(),
        None => std::env::current_exe(),
    };
    let program =
        program.map_err(|error| CliError::because("cannot find the server to test", error))?;
    let interrupts = watch_signals()?;
    let cannot = |error| cannot_use(&args.data_dir, error);
    let site = Site::make(&args.data_dir, VERB).map_err(cannot)?;
    let seed = args.seed.unwrap_or_else(samples::random);
    let launcher = Launcher::new(program, &site, SETTINGS).map_err(cannot)?;
    let mut trial = Trial {
        args,
        bodies: Bodies { seed },
        random: Random(seed),
        oracle: Oracle::new(Bodies { seed }, RETAINED),
        begin: Instant::now(),
        interrupts,
        is_interrupted: false,
        progress: Progress::new(),
        report: Report {
            seed,
            connections: args.connections,
            file_system: volume.file_system,
            ..Report::default()
        },
        launcher,
        site,
    };
    if let Err(Wrong::Failed(failure)) = trial.run() {
        trial.report.failures.push(failure);
    }
    trial.finish()
}

/// Why a trial ends before its time.
enum Wrong {
    /// The oracle has found something.
    Finding,
    /// Something else is not as it has to be.
    Failed(String),
}

impl Wrong {
    fn because<E: std::fmt::Display>(what: &str) -> impl FnOnce(E) -> Wrong {
        move |error| Wrong::Failed(format!("{what}: {error}"))
    }
}

struct Trial<'a> {
    args: &'a TortureArgs,
    site: Site,
    launcher: Launcher,
    bodies: Bodies,
    random: Random,
    oracle: Oracle,
    begin: Instant,
    interrupts: Receiver<()>,
    is_interrupted: bool,
    progress: Progress,
    report: Report,
}

impl Trial<'_> {
    /// Rounds until the time is up, and a last look at everything.
    fn run(&mut self) -> Result<(), Wrong> {
        self.probe(PROBES_FIRST)?;
        let mut server = self.start()?;
        while !self.is_over() {
            let round = self.report.rounds;
            self.round(round, server)?;
            self.report.rounds += 1;
            self.probe(PROBES_EACH)?;
            server = self.start()?;
            self.check(Oracle::check_new)?;
            let is_due = self.report.rounds.is_multiple_of(LOOK_AT_ALL_EACH);
            if is_due || self.first_sequence()? > self.oracle.retained_from() {
                self.check(Oracle::check_all)?;
            }
            self.report.elapsed = self.begin.elapsed();
            if self.report.answered > 0 {
                self.progress.show(|| self.report.progress());
            }
        }
        self.check(Oracle::check_all)
    }

    fn is_over(&mut self) -> bool {
        self.is_interrupted |= self.interrupts.try_recv().is_ok();
        let rounds_done = self
            .args
            .rounds
            .is_some_and(|rounds| self.report.rounds >= rounds);
        let time_is_up = self.left().is_some_and(|left| left.is_zero());
        if self.is_interrupted {
            self.report.cut_short = Some("by a signal");
        } else if time_is_up && !rounds_done && self.args.rounds.is_some() {
            self.report.cut_short = Some("by the time of --for, before all of --rounds");
        }
        self.is_interrupted || rounds_done || time_is_up
    }

    /// The time that is left, where it is bounded.
    fn left(&self) -> Option<Duration> {
        let default = self.args.rounds.is_none().then_some(DEFAULT_TIME);
        let time = self.args.time.or(default)?;
        Some(time.saturating_sub(self.begin.elapsed()))
    }

    /// A server that has recovered; now and then after some that were not given the time to.
    fn start(&mut self) -> Result<(Server, Ready), Wrong> {
        let failed = Wrong::because("cannot start the server");
        let usual = self.report.recoveries.measured(500);
        let usual = usual.unwrap_or(USUAL_RECOVERY);
        while self.random.below(KILL_IN_RECOVERY_ONE_IN) == 0 {
            let server = match self.launcher.start() {
                Ok(server) => server,
                Err(error) => return Err(failed(error)),
            };
            thread::sleep(self.random_part(usual));
            server
                .kill()
                .map_err(Wrong::because("cannot kill the server"))?;
            self.report.kills_in_recovery += 1;
        }
        let mut server = self.launcher.start().map_err(failed)?;
        let ready = server
            .ready()
            .map_err(Wrong::because("the server does not start"))?;
        self.report.recoveries.record(ready.after);
        Ok((server, ready))
    }

    /// Load, and a kill in the middle of it.
    fn round(&mut self, round: u32, (mut server, ready): (Server, Ready)) -> Result<(), Wrong> {
        let plan = Plan {
            address: ready.address,
            path: child::PATH,
            key: self.launcher.key(),
            bodies: self.bodies,
            round,
            connections: self.args.connections,
            depth: DEPTH,
            bytes: ROUND_BYTES,
        };
        let until_kill = self
            .random_part(LONGEST_ROUND)
            .min(self.left().unwrap_or(LONGEST_ROUND));
        let start = Instant::now();
        let load = Load::start(&plan).map_err(Wrong::because("cannot start to send"))?;
        let mut by_itself = None;
        select! {
            recv(self.interrupts) -> _ => self.is_interrupted = true,
            recv(load.ended) -> ended => {
                by_itself = (ended == Ok(Ended::Broken)).then(|| server.ended());
            }
            default(until_kill) => {}
        }
        let killed_at = Instant::now();
        server
            .kill()
            .map_err(Wrong::because("cannot kill the server"))?;
        self.report.loaded += start.elapsed();
        let outcome = load.join();
        let stored = outcome.streams.iter().map(Stream::stored).sum::<u64>();
        let answered: u64 = outcome.streams.iter().map(|stream| stream.answered).sum();
        self.report.answered += stored;
        self.report.refused += answered - stored;
        self.oracle.note(round, outcome.streams);
        let mut breaks = outcome.breaks.iter();
        let Some(wrong) = breaks.find(|end| end.is_wrong || end.at < killed_at) else {
            return Ok(());
        };
        let server = by_itself.unwrap_or_else(|| "it ran until it was killed".to_owned());
        let reason = &wrong.reason;
        Err(Wrong::Failed(format!(
            "round {round}, {reason} (the server: {server})"
        )))
    }

    /// Reads the journal beside the idle server and judges it.
    fn check(&mut self, begin: fn(&mut Oracle) -> JournalCheck<'_>) -> Result<(), Wrong> {
        let mut check = begin(&mut self.oracle);
        let read = read(&self.site.journal(), &mut check);
        check.finish();
        self.report.compared = self.oracle.compared;
        if !self.oracle.findings.is_clean() {
            return Err(Wrong::Finding);
        }
        read.map_err(Wrong::because("the journal cannot be read"))
    }

    /// The first sequence that retention has left.
    fn first_sequence(&self) -> Result<u64, Wrong> {
        let first = open(&self.site.journal()).and_then(|disk| {
            let manifest = Manifest::load_existing(&disk)?;
            let oldest = manifest.segments.first();
            Ok(oldest.and_then(|segment| segment.first_sequence))
        });
        let first = first.map_err(Wrong::because("the journal cannot be read"))?;
        Ok(first.unwrap_or(1))
    }

    /// Measures syncs while no server runs.
    fn probe(&mut self, times: u32) -> Result<(), Wrong> {
        let measured = self.site.probe(times, PROBE_TIME);
        measured.map_err(Wrong::because("cannot measure the disk"))
    }

    /// A moment in this time, which does not include its end.
    fn random_part(&mut self, time: Duration) -> Duration {
        let micros = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        Duration::from_micros(self.random.below(micros))
    }

    /// Removes what was made, or says where it is kept, and prints the report.
    fn finish(mut self) -> Result<(), CliError> {
        self.progress.clear();
        self.report.elapsed = self.begin.elapsed();
        self.report.findings = self.oracle.findings.clone();
        self.report.syncs = self.site.syncs.clone();
        let conclusion = self.report.conclusion();
        if self.args.keep || conclusion == Conclusion::Broken {
            self.report.kept = Some(self.site.path().to_owned());
        }
        let report = &self.report;
        print(self.args.output, || report.text(), || report.json())?;
        if self.report.kept.is_none() {
            let path = self.site.path().display().to_string();
            let cannot = |error| CliError::because(format!("cannot remove {path}"), error);
            self.site.remove().map_err(cannot)?;
        }
        CliError::unless(conclusion == Conclusion::Proven)
    }
}

fn open(journal: &Path) -> Result<Disk, JournalError> {
    Ok(Disk::open(journal).map_err(disk::Error::at("open", journal))?)
}

fn read(journal: &Path, check: &mut JournalCheck<'_>) -> Result<(), JournalError> {
    let start = check.start;
    let mut reader = Reader::open(Arc::new(open(journal)?), start)?;
    while let Some(batch) = reader.next(None)? {
        check.begin_frame((batch.len() as u64).next_multiple_of(ALIGNMENT as u64));
        for (sequence, record) in batch.records_from(start) {
            check.meet(sequence, record.body);
        }
    }
    Ok(())
}

/// In the names of what it makes.
const VERB: &str = "torture";

/// Bytes of frames that retention leaves with [`SETTINGS`]: of the 16 segments of `max_size`, what is in those that
/// are neither in use, nor ready (two behind some kills), nor spare (two as well), less what no frame has filled at
/// their ends, up to 8 MiB in each. A round has less.
const RETAINED: u64 = (16 - 5) * (56 << 20);

/// Any free port; threads that do not insist on a core, since the senders need some as well. Two rounds of
/// [`ROUND_BYTES`] have to fit, with the segment in use, the one that is ready and a spare. Nothing goes
/// because of its age, also where the clock is set or a run lasts for weeks.
const SETTINGS: &str = r#"
[server]
listen = "127.0.0.1:0"
pin = false

[journal]
segment_size = "64MiB"
max_size = "1GiB"
retention = "3650d"

[admin]
listen = "off"
"#;

/// Bytes that the journal may grow by in a round. Two rounds fit in the `max_size` of the server, so that retention
/// takes nothing that is still to be volume at.
const ROUND_BYTES: u64 = 384 << 20;

/// Free space to begin with: `max_size`, a segment that is being made, and the rest.
const SPACE: u64 = 1400 << 20;

/// Requests of a connection that may be under way.
const DEPTH: u64 = 32;

/// Kills come within this time.
const LONGEST_ROUND: Duration = Duration::from_secs(1);

const DEFAULT_TIME: Duration = Duration::from_mins(1);

/// One start in so many is killed before it is ready.
const KILL_IN_RECOVERY_ONE_IN: u64 = 4;

/// Until it was measured.
const USUAL_RECOVERY: Duration = Duration::from_millis(50);

/// Everything that is left is read again after so many rounds, and at the end.
const LOOK_AT_ALL_EACH: u32 = 50;

/// Syncs that are measured at first and after each kill, and the longest time for them.
const PROBES_FIRST: u32 = 500;
const PROBES_EACH: u32 = 8;
const PROBE_TIME: Duration = Duration::from_secs(2);

pub(super) const EXAMPLES: &str = "\
Examples:
  hookline torture                                       60 seconds on the disk of this directory
  hookline torture --data-dir /mnt/spare --for 10m
  hookline torture --rounds 500 --output json > report.json

It writes some 100,000 notifications a second: keep it away from a production disk at peak time.
The server listens on a free port of 127.0.0.1 and ends with this process, even on kill -9.
--for and --rounds: what comes first ends the run, and so does Ctrl-C, with the report so far.
The exit code is 0 only when something was tested (a whole round with something answered), nothing was lost,
altered, invented, duplicated, out of order or moved, and nothing else went wrong; the journal and the log of
the servers are kept when something did, and removed otherwise.
A kill leaves the page cache: only pulling the plug shows what the drive makes of fdatasync.

Keys of --output json, one object:
  ok                   true when the exit code is 0
  decision             kept, broken (or not to be checked), nothing tested
  cut_short            what ended the run before its time, or null
  file_system, is_memory, seed, connections, seconds
  rounds, kills_in_recovery    kills under load, and between start and readiness
  answered, refused    notifications: with 200; with 503 or cut off behind one, which may be stored or not
  answered_per_second_of_load
  compared             notifications, each time one was read: every look reads the round before again, every 50th
                       and the last one all that retention has left, so there are more of them than answered
  lost, altered, invented, duplicated, out_of_order    notifications; 0 is the promise. What retention takes though
                       max_size is not reached is lost
  moved                places where a later look at the journal found something else than an earlier one, or a
                       sequence was left out; 0 is the promise
  recovery_milliseconds, fdatasync_milliseconds        of the starts; of 16 KiB in the same directory
  found                what went wrong, a line each: all failures and the first 20 findings
  kept                 the directory that was kept, or null";
