//! `hookline simulate`: the load test that platforms ask of every webhook server, in one command.
//!
//! It posts what a campaign brings, in the platform's bytes and proportions, when it is due and not when the receiver
//! has time for it (an open loop); times count from the due time, so a stall is seen by everything that it delays.
//! Which notification is due when, and every byte of it, is a function of the options and the seed: nothing is kept,
//! and a journal of Hookline can be asked afterwards whether it has all of them.

mod report;

use super::error::CliError;
use super::journal::{open, refused};
use super::position_argument::extent_of;
use super::report::print;
use super::report::progress::Progress;
use super::{Output, configuration, duration, send};
use crate::disk;
use crate::disk::Storage;
use crate::rig::exchange::Target;
use crate::rig::open_loop::body::Bodies;
use crate::rig::open_loop::check::{Held, check};
use crate::rig::open_loop::ledger::{Ledger, Names};
use crate::rig::open_loop::load::{Job, Load, PATIENCE};
use crate::rig::open_loop::plan::{MILLION, Plan};
use crate::rig::samples;
use crate::server::descriptors;
use aws_lc_rs::hmac;
use clap::Args;
use report::Report;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;
use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

#[derive(Clone, Debug, Args)]
pub(super) struct SimulateArgs {
    /// Where to post; plain http, any receiver
    #[arg(value_name = "URL", default_value = "http://127.0.0.1:8080/webhook")]
    to: String,
    /// Outgoing messages a second, each of which brings three statuses
    #[arg(long, short = 'r', value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    messages_per_second: u32,
    /// How long
    #[arg(long = "for", value_name = "TIME", default_value = "60s", value_parser = duration)]
    time: Duration,
    /// Incoming messages for each outgoing one, up to 100
    #[arg(long, value_name = "RATIO", default_value = "0.3", value_parser = ratio)]
    reply_ratio: u64,
    /// Connections, each with one request under way at most
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=16384))]
    connections: u32,
    /// Phone numbers of the business [default: one for every 80 messages a second]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    numbers: Option<u32>,
    /// Statuses in one body; the platform puts up to 1000 there
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1000))]
    batch: u32,
    /// Bodies that come twice, half of these at once and half a second later
    #[arg(long, value_name = "PERCENT", default_value = "0", value_parser = percent)]
    duplicates: u64,
    /// Messages whose statuses come in another order, and pairs of incoming messages that change places
    #[arg(long, value_name = "PERCENT", default_value = "0", value_parser = percent)]
    disorder: u64,
    /// Post again what is not answered with 200, after 0.1 s and then up to four times more after twice the pause
    #[arg(long)]
    retry_storm: bool,
    /// File that holds the secret to sign with, else the environment variable `HOOKLINE_APP_SECRET`; without any:
    /// unsigned
    #[arg(long, value_name = "FILE")]
    secret_file: Option<PathBuf>,
    /// One more header field, as in 'Name: value', or @FILE with one on each line; may be repeated
    #[arg(long = "header", short = 'H', value_name = "FIELD")]
    headers: Vec<String>,
    /// Afterwards, whether this journal of Hookline holds everything that was answered with 200: its directory, or
    /// the server's configuration
    #[arg(long, value_name = "DIR|FILE")]
    verify: Option<PathBuf>,
    /// Repeats the ids and the texts of an earlier run: to a receiver that knows repeats they are repeats
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// How to print the report; progress goes to stderr
    #[arg(long, value_enum, default_value_t, value_name = "FORM")]
    output: Output,
}

pub(super) fn run(args: &SimulateArgs) -> Result<(), CliError> {
    if args.to.starts_with("https://") {
        return Err(CliError::Usage(
            "this speaks plain http only: post to what stands behind the proxy that ends TLS"
                .to_owned(),
        ));
    }
    let target = Target::parse(&args.to).map_err(CliError::Usage)?;
    let secret = send::given_secret(args.secret_file.as_deref())?;
    let head = head(&target, args)?;
    let journal = args.verify.as_deref().map(Journal::find).transpose()?;
    let plan = plan(args);
    if journal.is_some() && plan.count() > REMEMBERED_MAX {
        return Err(CliError::Usage(format!(
            "--verify can remember {REMEMBERED_MAX} notifications, and these are {}; make it shorter",
            plan.count()
        )));
    }
    allow_connections(args.connections)?;
    let address = target.reach(PATIENCE).map_err(|error| {
        let to = &args.to;
        CliError::because(
            format!("cannot reach {to}; is a receiver running there?"),
            error,
        )
    })?;
    if secret.is_none() {
        writeln!(
            io::stderr(),
            "no secret is given: posts are unsigned (see --help)"
        )?;
    }
    let start = disk::now() / 1_000_000;
    let job = Job {
        address,
        head,
        key: secret.map(|secret| hmac::Key::new(hmac::HMAC_SHA256, secret.expose())),
        bodies: Bodies::new(plan, start),
        connections: args.connections as usize,
        retries: args.retry_storm,
        interrupted: watch_signals()?,
    };
    let ledger = send_all(&job, journal.is_some())?;
    let compared = journal.zip(ledger.stored.as_ref());
    let compared = compared.map(|(journal, stored)| journal.check(&job.bodies, stored));
    let (compared, unreadable) = match compared.transpose() {
        Ok(compared) => (compared, None),
        Err(error) => (None, Some(error)),
    };
    let report = Report {
        job: &job,
        ledger: &ledger,
        held: compared,
    };
    print(args.output, || report.text(), || report.json())?;
    match unreadable {
        Some(error) => Err(error),
        None => CliError::unless(report.is_good()),
    }
}

/// The load, with a line of progress.
fn send_all(job: &Job, remembers: bool) -> Result<Ledger, CliError> {
    let names = remembers.then(|| Names::none_of(&job.bodies.plan));
    let mut progress = Progress::new();
    let load = Load::new(job, Ledger::new(names));
    let ledger = load.and_then(|load| {
        load.run(&mut |ledger, now, waiting| {
            progress.show(|| report::progress(ledger, now, waiting));
        })
    });
    progress.clear();
    ledger.map_err(|error| CliError::because("cannot go on", error))
}

fn allow_connections(count: u32) -> Result<(), CliError> {
    let needed = descriptors::FILES + u64::from(count);
    let allowed = descriptors::raise_limit(needed);
    if allowed >= needed {
        return Ok(());
    }
    let possible = allowed.saturating_sub(descriptors::FILES);
    Err(CliError::failed(format!(
        "`ulimit -Hn` allows for {possible} connections; ask for no more with --connections"
    )))
}

/// That of the receiver, and where it ended before the run.
struct Journal {
    storage: Arc<dyn Storage>,
    from: u64,
}

impl Journal {
    /// The one in a directory, or the one that a configuration names.
    fn find(path: &Path) -> Result<Journal, CliError> {
        let configured;
        let dir = if path.is_file() {
            configured = configuration(Some(path))?.journal.dir;
            configured.as_path()
        } else {
            path
        };
        let storage: Arc<dyn Storage> = Arc::new(open(dir)?);
        let from = extent_of(&*storage)?.end;
        Ok(Journal { storage, from })
    }

    fn check(&self, bodies: &Bodies, answered: &Names) -> Result<Held, CliError> {
        check(&self.storage, self.from, bodies, answered)
            .map_err(|error| refused("cannot read the journal", error))
    }
}

fn plan(args: &SimulateArgs) -> Plan {
    let messages_per_second = u64::from(args.messages_per_second);
    let numbers = args.numbers.map_or_else(
        || messages_per_second.div_ceil(OF_A_NUMBER).min(NUMBERS_MAX),
        u64::from,
    );
    Plan {
        messages_per_second,
        replies: args.reply_ratio,
        batch: u64::from(args.batch),
        numbers,
        duplicates: args.duplicates,
        disorder: args.disorder,
        seed: args.seed.unwrap_or_else(samples::random),
        time: args.time,
    }
}

/// What all requests begin with.
fn head(target: &Target, args: &SimulateArgs) -> Result<String, CliError> {
    let mut head = target.head();
    head.push_str(concat!(
        "User-Agent: hookline/",
        env!("CARGO_PKG_VERSION"),
        "\r\nAccept: */*\r\nContent-Type: application/json\r\n"
    ));
    for (name, value) in send::headers(&args.headers)? {
        // Writing to a string cannot fail.
        let _ = write!(head, "{name}: {value}\r\n");
    }
    Ok(head)
}

/// Becomes true when somebody wants an end.
fn watch_signals() -> Result<Arc<AtomicBool>, CliError> {
    let interrupted = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        // The second one finds it true, and ends the process.
        flag::register_conditional_shutdown(signal, 1, Arc::clone(&interrupted))
            .and_then(|_| flag::register(signal, Arc::clone(&interrupted)))
            .map_err(|error| CliError::because("cannot watch signals", error))?;
    }
    Ok(interrupted)
}

fn ratio(text: &str) -> Result<u64, String> {
    let parts = millionths(text).filter(|parts| *parts <= 100 * MILLION);
    parts.ok_or_else(|| "write a ratio from 0 to 100, as in 0.3".to_owned())
}

fn percent(text: &str) -> Result<u64, String> {
    let parts = millionths(text.strip_suffix('%').unwrap_or(text));
    let parts = parts.filter(|parts| *parts <= 100 * MILLION);
    let parts = parts.map(|parts| parts / 100);
    parts.ok_or_else(|| "write a percentage from 0 to 100, as in 2.5".to_owned())
}

/// A decimal number in millionths; what is smaller is left out.
fn millionths(text: &str) -> Option<u64> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|it| it.is_ascii_digit());
    if !is_number(whole) || !is_number(fraction) {
        return None;
    }
    let fraction: String = fraction.chars().chain("000000".chars()).take(6).collect();
    let whole = whole.parse::<u64>().ok()?.checked_mul(MILLION)?;
    whole.checked_add(fraction.parse().ok()?)
}

/// Messages a second that the platform lets one phone number send, unless it has been upgraded.
const OF_A_NUMBER: u64 = 80;
const NUMBERS_MAX: u64 = 10_000;

/// Notifications, at two bits each: a gigabyte.
const REMEMBERED_MAX: u64 = 1 << 32;

pub(super) const EXAMPLES: &str = "\
Examples:
  hookline simulate --messages-per-second 100 --for 10s       to the server that `hookline serve` starts
  hookline simulate http://10.0.0.7:3000/whatsapp --messages-per-second 1000 --secret-file secret.txt
  hookline simulate --messages-per-second 1000 --duplicates 5 --disorder 5 --retry-storm --verify ./hookline-data

It is a load: post only to receivers of your own. N messages a second bring 3 x N statuses and N x --reply-ratio
messages, in the platform's form; ids and texts are invented.
Requests are due at fixed times and go out then, or as soon as a connection is free; times count from when they were
due. Ctrl-C ends the run with the report so far. The secret is never given on the command line.
The exit code is 0 only when everything was answered with 200, and with --verify when the journal holds it byte for
byte; it has to be the journal of the receiver, and retention must not come to it meanwhile.

Keys of --output json, one object:
  ok                   true when the exit code is 0
  interrupted, seed, connections, seconds
  sent                 requests: first, redelivered (--duplicates) and retried (--retry-storm)
  answered, failed     requests by status code, and by cause
  not_sent, given_up, cut_off    due and never sent, for all before took too long; not tried again any more; under way
                       when the run was interrupted
  asked_per_second, reached_per_second, pace_kept    first and redelivered; false when this generator was too slow
  late, waited, waiting_max      sent over 2 ms after they were due: by fault of this generator; since every
                       connection was busy, and so many at a time at most
  ran_per_mille, queued_per_mille    of the time, in which this generator ran, and was ready to but had no core
  milliseconds         p50, p90, p99, p99_9 and max, of what was answered with 200
  due, within          what was to be sent, and how many were answered with 200 within 250 ms, 1 s and 5 s
  journal              with --verify: records of this run; whole, lost: of what was answered with 200; altered,
                       invented, repeated; found: the first 20 in words";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_written_as_decimals() {
        for (text, parts) in [
            ("0.3", Some(300_000)),
            ("1", Some(1_000_000)),
            ("2.0000019", Some(2_000_001)),
            ("100", Some(100_000_000)),
            ("100.1", None),
            (".5", None),
            ("5.", None),
            ("-1", None),
            ("1e3", None),
            ("99999999999999999999", None),
        ] {
            assert_eq!(ratio(text).ok(), parts, "{text}");
        }
        assert_eq!(percent("2.5%"), Ok(25_000));
        assert_eq!(percent("100"), Ok(MILLION));
        assert!(percent("101").is_err());
    }
}
