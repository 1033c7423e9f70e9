//! `hookline size`: does this machine carry so many messages a second, and what would it take?
//!
//! It starts a server as a process of its own on the disk in question, with a sink that renders every event, loads it
//! for some seconds, and asks the system how much processor time each of its threads has used for how many
//! notifications. So it does not matter that the senders share the cores: what they use is not counted, and nothing is
//! concluded from how fast they were. The disk is measured apart, while no server runs.
//!
//! What comes in is what the platform says: three statuses for each message that goes out, and the replies.

mod screen;

use super::error::CliError;
use super::report::{notes, print};
use super::{Output, configuration};
use crate::config::{Config, parse_time};
use crate::rig::child::{Launcher, PATH};
use crate::rig::closed_loop::body::Bodies;
use crate::rig::closed_loop::load::{Load, Plan};
use crate::rig::estimate::{Asked, Disk, Estimate, Limits};
use crate::rig::measure::{Cost, Sample};
use crate::rig::signals::watch_signals;
use crate::rig::site::{Site, cannot_use};
use clap::Args;
use crossbeam_channel::{Receiver, select};
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

#[derive(Clone, Debug, Args)]
pub(super) struct SizeArgs {
    /// Messages that go out in a second, of all numbers together
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100_000_000))]
    messages_per_second: u32,
    /// Messages that come in for each that goes out
    #[arg(long, value_name = "R", default_value_t = 0.3, value_parser = ratio)]
    reply_ratio: f64,
    /// Directory on the disk of the journal, with 1400 MiB free. All that is made is one new sub-directory of it
    #[arg(long, value_name = "DIR", default_value = ".")]
    data_dir: PathBuf,
    /// The server's configuration: its loops, workers, retention and limits; its secrets are not needed [default: the
    /// defaults, and what the environment says]
    #[arg(long, short, value_name = "FILE")]
    config: Option<PathBuf>,
    /// How long to send; it ends earlier when 896 MiB are written
    #[arg(long = "for", value_name = "TIME", value_parser = time, default_value = "10s")]
    time: Duration,
    /// How to print the result
    #[arg(long, value_enum, default_value_t, value_name = "FORM")]
    output: Output,
}

pub(super) fn run(args: &SizeArgs) -> Result<(), CliError> {
    let config = configuration(args.config.as_deref())?;
    let volume = Site::volume(&args.data_dir, VERB, SPACE)?;
    notes(&volume.notes);
    let (file_system, free) = (volume.file_system, volume.free);
    let interrupts = watch_signals()?;
    let mut site =
        Site::make(&args.data_dir, VERB).map_err(|error| cannot_use(&args.data_dir, error))?;
    let measured = measure(args, &config, &mut site, &interrupts);
    let syncs = site.syncs.clone();
    let path = site.path().display().to_string();
    let removed = site.remove();
    let (cost, bandwidth) = measured?;
    removed.map_err(|error| CliError::because(format!("cannot remove {path}"), error))?;
    let limits = Limits {
        loops: config.server.loops as u64,
        workers: config.server.workers as u64,
        cores: thread::available_parallelism().map_or(1, |cores| cores.get() as u64),
        retention: config.journal.retention,
        max_size: config.journal.max_size,
        keys: config.dedupe.keys as u64,
        window: config.dedupe.window,
    };
    let asked = Asked {
        messages: u64::from(args.messages_per_second),
        reply_ratio: args.reply_ratio,
    };
    let disk = Disk {
        file_system,
        free,
        bandwidth,
        syncs,
    };
    let estimate = Estimate::new(asked, cost, disk, limits);
    let text = || screen::text(&estimate);
    print(args.output, text, || screen::json(&estimate))?;
    CliError::unless(estimate.carries())
}

/// What a notification costs, and bytes a second of the disk.
fn measure(
    args: &SizeArgs,
    config: &Config,
    site: &mut Site,
    interrupts: &Receiver<()>,
) -> Result<(Cost, u64), CliError> {
    let disk = |error| CliError::because("cannot measure the disk", error);
    site.probe(PROBES, PROBE_TIME).map_err(disk)?;
    let bandwidth = site.bandwidth(PROBE_TIME).map_err(disk)?;
    if interrupts.try_recv().is_ok() {
        return Err(interrupted());
    }
    let failed = |error| CliError::because("cannot start the server", error);
    let program = std::env::current_exe().map_err(failed)?;
    let settings = settings(config);
    let launcher = Launcher::new(program, site, &settings).map_err(failed)?;
    let mut server = launcher.start().map_err(failed)?;
    let ready = server.ready().map_err(CliError::failed)?;
    let metrics = server
        .metrics()
        .ok_or_else(|| CliError::failed("the server does not say where its metrics are"))?;
    let plan = Plan {
        address: ready.address,
        path: PATH,
        key: launcher.key(),
        // The same ones each time, in a journal that is new.
        bodies: Bodies { seed: 1 },
        round: 0,
        connections: CONNECTIONS,
        depth: DEPTH,
        bytes: u64::MAX,
    };
    let load = Load::start(&plan).map_err(|error| CliError::because("cannot send", error))?;
    let begin = Instant::now();
    let wait = |time| {
        wait(&load, interrupts, begin + time, || {
            Ok(Sample::take(server.pid(), metrics)?)
        })
    };
    let measured = wait(args.time / WARM_UP).and_then(|first| Ok(first.until(&wait(args.time)?)));
    let killed = server.kill();
    let refused = load.join().breaks.into_iter().find(|end| end.is_wrong);
    let cost = measured?;
    killed.map_err(|error| CliError::because("cannot end the server", error))?;
    if let Some(wrong) = refused {
        return Err(CliError::failed(wrong.reason));
    }
    if cost.stored() == 0 {
        return Err(CliError::failed(
            "nothing was stored in this time; give it more with --for",
        ));
    }
    Ok((cost, bandwidth))
}

/// What is then, or as soon as so much is written that the disk may take no more.
fn wait(
    load: &Load,
    interrupts: &Receiver<()>,
    until: Instant,
    sample: impl Fn() -> Result<Sample, CliError>,
) -> Result<Sample, CliError> {
    loop {
        let left = until.saturating_duration_since(Instant::now());
        select! {
            recv(interrupts) -> _ => return Err(interrupted()),
            recv(load.ended) -> _ => {
                return Err(CliError::failed("the server has closed a connection"));
            }
            default(left.min(LOOK_EACH)) => {}
        }
        let sample = sample()?;
        if left <= LOOK_EACH || sample.bytes >= BYTES {
            return Ok(sample);
        }
    }
}

fn interrupted() -> CliError {
    CliError::failed("ended by a signal before there was a result")
}

/// The threads that the configuration has, on any core, since the senders need some as well. Everything that is sent
/// has its place, so nothing is retired on the way.
fn settings(config: &Config) -> String {
    format!(
        r#"
[server]
listen = "127.0.0.1:0"
loops = {}
workers = {}
pin = false

[journal]
segment_size = "64MiB"
max_size = "1GiB"

[admin]
listen = "127.0.0.1:0"

[[sink]]
name = "out"
type = "stdout"
"#,
        config.server.loops, config.server.workers
    )
}

fn time(text: &str) -> Result<Duration, String> {
    match parse_time(text)? {
        milliseconds @ 1000..=3_600_000 => Ok(Duration::from_millis(milliseconds)),
        _ => Err("write a time from \"1s\" to \"1h\"".to_owned()),
    }
}

fn ratio(text: &str) -> Result<f64, &'static str> {
    let ratio = text
        .parse()
        .ok()
        .filter(|ratio| (0.0..=100.0).contains(ratio));
    ratio.ok_or("write a number from 0 to 100, as in 0.3")
}

/// In the name of what it makes.
const VERB: &str = "size";

/// Bytes of frames after which it ends, which is volume at so often; and the free space to begin with: those, what is
/// written until it is seen, two segments ahead of use, the memory of keys, and the rest.
const BYTES: u64 = 896 << 20;
const LOOK_EACH: Duration = Duration::from_millis(200);
const SPACE: u64 = 1400 << 20;

const CONNECTIONS: u32 = 32;

/// As the platform sends: the next request of a connection comes after the answer, so each has its own system calls.
const DEPTH: u64 = 1;

/// This part of the time is not measured: tables grow and buffers are made.
const WARM_UP: u32 = 10;

/// Syncs that are measured, and the longest time for them, and for the bandwidth.
const PROBES: u32 = 1000;
const PROBE_TIME: Duration = Duration::from_secs(1);

pub(super) const EXAMPLES: &str = "\
Examples:
  hookline size --messages-per-second 1000               on the disk of this directory, with three replies to ten
  hookline size --messages-per-second 80 --reply-ratio 1 --data-dir /var/lib --config hookline.toml
  hookline size --messages-per-second 1000 --output json

It loads the machine for these seconds: not beside a server at work. Exit code 1 if it does not carry that.";
