//! The command line: one file for each verb, exit codes 0, 1 (it failed), 2 (wrong usage) and 78 (bad
//! configuration).
//!
//! Results go to stdout, everything else to stderr. What fails says so in one line with its causes.

mod audit;
mod check;
mod configuration;
mod cursor;
mod dead_letters;
mod draw;
mod exchange;
mod figures;
mod journal;
pub mod logging;
mod moment;
mod progress;
mod replay;
mod samples;
mod send;
mod serve;
mod simulate;
mod size;
mod status;
mod tail;
mod torture;
mod trial;

use crate::config::{Config, ConfigErrors, DATA_DIR, Finding, Flags, parse_time};
use crate::event::Pattern;
use crate::feed::Item;
use clap::{Args, Parser, Subcommand, ValueEnum};
use configuration::configuration;
use std::error::Error;
use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

/// Takes webhooks, stores them, answers, and delivers them: 200 means that it is on the disk.
#[derive(Debug, Parser)]
#[command(name = "hookline", version, arg_required_else_help = true, after_help = EXAMPLES)]
pub struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Receive webhooks; without a config file on 127.0.0.1:8080, path /webhook
    #[command(after_help = serve::EXAMPLES)]
    Serve(ServeArgs),
    /// Check the configuration: every mistake with its line, or what would run
    #[command(after_help = check::EXAMPLES)]
    Check(CheckArgs),
    /// Print stored events as NDJSON, from a running server's journal or a stopped one's
    #[command(after_help = tail::EXAMPLES)]
    Tail(TailArgs),
    /// Post built-in samples, correctly signed, and show the answers; without a name, list them
    #[command(after_help = send::EXAMPLES)]
    Send(SendArgs),
    /// Load test a webhook server: the traffic of a campaign, due at fixed times
    #[command(after_help = simulate::EXAMPLES)]
    Simulate(simulate::SimulateArgs),
    /// What a running server does: rates, times of answers, journal, and how far each sink is
    #[command(after_help = status::EXAMPLES)]
    Status(status::StatusArgs),
    /// Balance the books: what was received against what each sink has had, from the journal alone
    #[command(after_help = audit::EXAMPLES)]
    Audit(AuditArgs),
    /// What sinks could not deliver: list it, show it, deliver it after all, drop it
    #[command(after_help = dead_letters::EXAMPLES)]
    DeadLetters(dead_letters::DeadLettersArgs),
    /// Deliver a part of the journal to a sink again
    #[command(after_help = replay::EXAMPLES)]
    Replay(replay::ReplayArgs),
    /// How far each sink has come; with no server running, have it begin elsewhere
    #[command(after_help = cursor::EXAMPLES)]
    Cursor(cursor::CursorArgs),
    /// Look into the journal, verify it, repair it
    #[command(after_help = journal::EXAMPLES)]
    Journal(JournalArgs),
    /// Measure this machine for some seconds: does it carry so many messages a second, and what would it take
    #[command(after_help = size::EXAMPLES)]
    Size(size::SizeArgs),
    /// Prove on this disk that nothing answered is lost: kill the server under load, again and again
    #[command(after_help = torture::EXAMPLES)]
    Torture(TortureArgs),
}

/// Where the configuration comes from.
#[derive(Clone, Debug, Default, Args)]
pub struct ConfigArgs {
    /// TOML file; without one the defaults hold
    #[arg(long, short, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Address and port for the endpoints, over file and environment
    #[arg(long, value_name = "ADDR:PORT")]
    pub listen: Option<SocketAddr>,
    /// Directory of the journal, over file and environment
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
}

impl ConfigArgs {
    /// Reads the configuration with the variables of this process.
    pub fn load(&self) -> Result<(Config, Vec<Finding>), CliError> {
        let flags = Flags {
            listen: self.listen,
            data_dir: self.data_dir.clone(),
        };
        let environment = std::env::vars_os().collect();
        Ok(Config::load(self.config.as_deref(), &environment, &flags)?)
    }
}

/// `hookline serve`
#[derive(Clone, Debug, Args)]
pub struct ServeArgs {
    /// The configuration.
    #[command(flatten)]
    pub config: ConfigArgs,
    /// Stop, as on SIGTERM, when the process that started this one ends; PID is its number
    #[arg(long, value_name = "PID", value_parser = clap::value_parser!(i32).range(1..))]
    pub with_parent: Option<i32>,
}

/// `hookline check`
#[derive(Clone, Debug, Args)]
pub struct CheckArgs {
    /// The configuration.
    #[command(flatten)]
    pub config: ConfigArgs,
    /// How to print the result
    #[arg(long, value_enum, default_value_t, value_name = "FORM")]
    pub output: Output,
}

/// `hookline tail`
#[derive(Clone, Debug, Args)]
pub struct TailArgs {
    /// Directory of the journal
    #[arg(long, value_name = "DIR", default_value = DATA_DIR)]
    pub data_dir: PathBuf,
    /// Start behind this `sequence`: 4711 stands for the whole notification, 4711.3 for its event 3
    #[arg(long, value_name = "SEQ[.INDEX]", default_value = "0")]
    pub after: Item,
    /// Wait for more when the end is reached
    #[arg(long, short)]
    pub follow: bool,
    /// Only events of this type, as in 'whatsapp.message.*'; may be repeated
    #[arg(long = "type", value_name = "GLOB")]
    pub types: Vec<Pattern>,
    /// Print each stored raw body as one base64 line, instead of its events
    #[arg(long, conflicts_with = "types")]
    pub bodies: bool,
}

/// `hookline send`
#[derive(Clone, Debug, Args)]
pub struct SendArgs {
    /// Names of samples, in the order in which to send them
    #[arg(value_name = "SAMPLE", conflicts_with = "all")]
    pub samples: Vec<String>,
    /// Send every sample
    #[arg(long)]
    pub all: bool,
    /// Where to send them; plain http
    #[arg(
        long,
        value_name = "URL",
        default_value = "http://127.0.0.1:8080/webhook"
    )]
    pub to: String,
    /// How to sign them
    #[arg(long, value_enum, default_value_t, value_name = "PROVIDER")]
    pub provider: SignAs,
    /// Secret to sign with; others on this machine can see it in the process list, so prefer the
    /// environment variable `HOOKLINE_APP_SECRET`, or --secret-file. Without any: unsigned
    #[arg(long, value_name = "SECRET")]
    pub secret: Option<String>,
    /// File that holds the secret to sign with
    #[arg(long, value_name = "FILE", conflicts_with = "secret")]
    pub secret_file: Option<PathBuf>,
    /// Token for the handshake [default: the environment variable `HOOKLINE_VERIFY_TOKEN`, else "hookline"]
    #[arg(long, value_name = "TOKEN")]
    pub verify_token: Option<String>,
    /// One more header field, as in 'Name: value', or @FILE with one on each line; may be repeated
    #[arg(long = "header", short = 'H', value_name = "FIELD")]
    pub headers: Vec<String>,
    /// How often to send them; each time with new ids
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    pub count: u32,
    /// How to print the results; json: one object a line
    #[arg(long, value_enum, default_value_t, value_name = "FORM")]
    pub output: Output,
}

/// How `hookline send` signs what it posts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum SignAs {
    /// `X-Hub-Signature-256`
    #[default]
    Meta,
    /// `x-360dialog-signature`
    #[value(name = "360dialog")]
    Dialog360,
    /// `webhook-id`, `webhook-timestamp` and `webhook-signature`
    StandardWebhooks,
}

/// `hookline audit`
#[derive(Clone, Debug, Args)]
pub struct AuditArgs {
    /// Directory of the journal [default: that of --config, else ./hookline-data]
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// The server's configuration, which says what the sinks' filters leave out; its secrets are not needed
    #[arg(long, short, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Only what follows this `sequence`; with 4711.3, notification 4711 counts as a whole
    #[arg(long, value_name = "SEQ[.INDEX]", default_value = "0")]
    pub after: Item,
    /// Find repeats that are at most this many different keys apart; each takes up to 30 octets of memory
    #[arg(long, value_name = "KEYS", default_value_t = 7_000_000, value_parser = window)]
    pub window: usize,
    /// How to print the result
    #[arg(long, value_enum, default_value_t, value_name = "FORM")]
    pub output: Output,
}

fn window(text: &str) -> Result<usize, &'static str> {
    let keys = text.parse().ok().filter(|keys| *keys > 0);
    keys.ok_or("write a number of keys, 1 or more")
}

/// `hookline journal`
#[derive(Clone, Debug, Args)]
pub struct JournalArgs {
    /// What to do.
    #[command(subcommand)]
    pub action: JournalAction,
}

/// What `hookline journal` does.
#[derive(Clone, Debug, Subcommand)]
pub enum JournalAction {
    /// List the segments and what they hold
    Inspect(JournalPlace),
    /// Read everything and check every checksum
    Verify(JournalPlace),
    /// Make a damaged journal usable again, with --quarantine; the server must be stopped. Without that flag
    /// nothing is touched: it says what the flag does, and the exit code is 2
    Repair {
        /// Which journal.
        #[command(flatten)]
        place: JournalPlace,
        /// Go on without what is damaged, after copying it to `quarantine` beside the journal. Only with this
        /// flag anything is changed; `hookline journal verify` tells beforehand what would be lost
        #[arg(long)]
        quarantine: bool,
    },
}

/// Which journal, and how to speak of it.
#[derive(Clone, Debug, Args)]
pub struct JournalPlace {
    /// Directory of the journal
    #[arg(long, value_name = "DIR", default_value = DATA_DIR)]
    pub data_dir: PathBuf,
    /// How to print the result
    #[arg(long, value_enum, default_value_t, value_name = "FORM")]
    pub output: Output,
}

/// `hookline torture`
#[derive(Clone, Debug, Args)]
pub struct TortureArgs {
    /// Directory on the disk to test, with 1400 MiB free. All that is made is one new sub-directory of it
    #[arg(long, value_name = "DIR", default_value = ".")]
    pub data_dir: PathBuf,
    /// How long; with --rounds, what comes first ends the run [default: 60s, or as long as --rounds takes]
    #[arg(long = "for", value_name = "TIME", value_parser = duration)]
    pub time: Option<Duration>,
    /// How often to kill the server under load
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..100_000_000))]
    pub rounds: Option<u32>,
    /// Connections to send on
    #[arg(long, value_name = "N", default_value_t = 32, value_parser = clap::value_parser!(u32).range(1..=4096))]
    pub connections: u32,
    /// Repeats the bodies and the moments of an earlier run
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,
    /// Another build of hookline to test [default: this one]
    #[arg(long, value_name = "PROGRAM")]
    pub server: Option<PathBuf>,
    /// Keep the journal and the log in any case, not only as evidence
    #[arg(long)]
    pub keep: bool,
    /// How to print the report; progress goes to stderr
    #[arg(long, value_enum, default_value_t, value_name = "FORM")]
    pub output: Output,
}

fn duration(text: &str) -> Result<Duration, String> {
    match parse_time(text)? {
        0 => Err("in no time nothing is tested; write a minute or so, as in \"60s\"".to_owned()),
        milliseconds => Ok(Duration::from_millis(milliseconds)),
    }
}

/// The form of a result.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// For people
    #[default]
    Text,
    /// For scripts
    Json,
}

/// Why a verb failed.
#[derive(Debug, thiserror::Error)]
pub enum CliError {
    /// The configuration has mistakes: exit code 78.
    #[error(transparent)]
    Config(#[from] ConfigErrors),
    /// The command line asks for what there is not: exit code 2.
    #[error("{0}")]
    Usage(String),
    /// The result could not be written; quiet when nobody reads it any more.
    #[error("cannot write the result")]
    Output(#[from] io::Error),
    /// Anything else: exit code 1.
    #[error("{message}")]
    Failed {
        /// What failed, in lower case, and what to do about it.
        message: String,
        /// Why.
        source: Option<Box<dyn Error + Send + Sync>>,
    },
    /// The result on stdout said it all.
    #[error("exit code {0}")]
    Told(u8),
}

impl CliError {
    /// Failed for a reason that the message gives.
    pub fn failed(message: impl Into<String>) -> CliError {
        CliError::Failed {
            message: message.into(),
            source: None,
        }
    }

    /// Failed because of another error.
    pub fn because(
        message: impl Into<String>,
        source: impl Into<Box<dyn Error + Send + Sync>>,
    ) -> CliError {
        CliError::Failed {
            message: message.into(),
            source: Some(source.into()),
        }
    }

    /// The exit code of the process.
    #[must_use]
    pub fn code(&self) -> u8 {
        match self {
            CliError::Config(_) => BAD_CONFIG,
            CliError::Usage(_) => 2,
            CliError::Output(error) if error.kind() == io::ErrorKind::BrokenPipe => 0,
            CliError::Output(_) | CliError::Failed { .. } => 1,
            CliError::Told(code) => *code,
        }
    }

    /// What is printed on stderr: one line with the causes, or the mistakes of the configuration; or nothing.
    #[must_use]
    pub fn report(&self) -> Option<String> {
        match self {
            CliError::Config(errors) => {
                let count = errors.mistakes.len();
                let mistakes = if count == 1 { "mistake" } else { "mistakes" };
                Some(format!(
                    "{errors}\nhookline: {count} {mistakes} in the configuration"
                ))
            }
            CliError::Told(_) => None,
            CliError::Output(error) if error.kind() == io::ErrorKind::BrokenPipe => None,
            CliError::Usage(_) | CliError::Output(_) | CliError::Failed { .. } => {
                let mut line = format!("hookline: {self}");
                let mut cause = self.source();
                while let Some(error) = cause {
                    line.push_str(": ");
                    line.push_str(&error.to_string());
                    cause = error.source();
                }
                Some(line.replace('\n', " "))
            }
        }
    }
}

/// Runs what the command line asks for.
#[must_use]
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let result = match &cli.verb {
        Verb::Serve(args) => serve::run(args),
        Verb::Check(args) => check::run(args),
        Verb::Tail(args) => tail::run(args),
        Verb::Send(args) => send::run(args),
        Verb::Simulate(args) => simulate::run(args),
        Verb::Status(args) => status::run(args),
        Verb::Audit(args) => audit::run(args),
        Verb::DeadLetters(args) => dead_letters::run(args),
        Verb::Replay(args) => replay::run(args),
        Verb::Cursor(args) => cursor::run(args),
        Verb::Journal(args) => journal::run(args),
        Verb::Size(args) => size::run(args),
        Verb::Torture(args) => torture::run(args),
    };
    let Err(error) = result else {
        return ExitCode::SUCCESS;
    };
    if let Some(report) = error.report() {
        // Without a stderr the exit code has to do.
        let _ = writeln!(io::stderr(), "{report}");
    }
    ExitCode::from(error.code())
}

/// A number of things, whose name takes an s when there are several.
fn counted(count: u64, thing: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {thing}{plural}")
}

/// Sequences from `first` to `last`.
fn sequences(first: u64, last: u64) -> String {
    if first == last {
        format!("sequence {first}")
    } else {
        format!("sequences {first} to {last}")
    }
}

/// `EX_CONFIG` of sysexits.h
const BAD_CONFIG: u8 = 78;

const EXAMPLES: &str = "\
Examples:
  hookline serve                     receive on 127.0.0.1:8080, print events
  hookline send text                 in another terminal: post a sample
  hookline check --config FILE       what is wrong with a config file, or what it runs
  hookline simulate --messages-per-second 1000 --for 60s      load test any webhook server
  hookline torture                   prove that nothing is lost when it is killed, on this disk

Exit codes: 0, 1 it failed, 2 wrong usage, 78 bad configuration.";

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn the_definitions_are_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_verb_has_an_example() {
        for verb in Cli::command().get_subcommands() {
            let help = verb
                .get_after_help()
                .map(ToString::to_string)
                .unwrap_or_default();
            let example = format!("hookline {}", verb.get_name());
            assert!(help.contains(&example), "{}", verb.get_name());
        }
    }

    #[test]
    fn a_failure_is_one_line_with_its_causes() {
        let cause = io::Error::other("the disk\nis gone");
        let error = CliError::because("cannot open the journal", cause);
        let report = error.report().expect("is told");
        assert_eq!(
            report,
            "hookline: cannot open the journal: the disk is gone"
        );
        assert_eq!(error.code(), 1);
        let closed = CliError::from(io::Error::from(io::ErrorKind::BrokenPipe));
        assert_eq!((closed.code(), closed.report()), (0, None));
    }
}
