//! The command line: one file for each verb and its arguments, exit codes 0, 1 (it failed), 2 (wrong usage) and 78
//! (bad configuration).
//!
//! Results go to stdout, everything else to stderr. What fails says so in one line with its causes.

mod audit;
mod check;
mod configuration;
mod cursor;
mod dead_letters;
mod error;
mod help;
mod journal;
pub mod logging;
mod position_argument;
mod replay;
mod report;
mod schema;
mod send;
mod serve;
mod set_aside;
mod simulate;
mod sink;
mod size;
mod status;
mod tail;
mod take_apart;
mod torture;

use crate::config::{DATA_DIR, DATA_DIR_VARIABLE, parse_time};
use clap::{Args, Parser, Subcommand, ValueEnum};
use configuration::configuration;
pub use error::CliError;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

/// Takes webhooks, stores them, answers, and delivers them: 200 means that it is on the disk.
#[derive(Debug, Parser)]
#[command(
    name = "hookline",
    version,
    arg_required_else_help = true,
    disable_help_subcommand = true,
    after_help = EXAMPLES
)]
pub struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Receive webhooks; without a config file on 127.0.0.1:8080, path /webhook
    #[command(after_help = serve::EXAMPLES)]
    Serve(serve::ServeArgs),
    /// Check the configuration: every mistake with its line, or what would run
    #[command(after_help = check::EXAMPLES)]
    Check(check::CheckArgs),
    /// Print stored events as NDJSON, from a running server's journal or a stopped one's
    #[command(after_help = tail::EXAMPLES)]
    Tail(tail::TailArgs),
    /// Post built-in samples, correctly signed, and show the answers; without a name, list them
    #[command(after_help = send::EXAMPLES)]
    Send(send::SendArgs),
    /// Load test a webhook server: the traffic of a campaign, due at fixed times
    #[command(after_help = simulate::EXAMPLES)]
    Simulate(simulate::SimulateArgs),
    /// What a running server does: rates, times of answers, journal, and how far each sink is
    #[command(after_help = status::EXAMPLES)]
    Status(status::StatusArgs),
    /// Balance the books: what was received against what each sink has had, from the journal alone
    #[command(after_help = audit::EXAMPLES)]
    Audit(audit::AuditArgs),
    /// What sinks could not deliver: list it, show it, deliver it after all, drop it
    #[command(after_help = dead_letters::EXAMPLES)]
    DeadLetters(OnJournal<dead_letters::DeadLettersAction>),
    /// Deliver a part of the journal to a sink again
    #[command(after_help = replay::EXAMPLES)]
    Replay(replay::ReplayArgs),
    /// How far each sink has come; with no server running, have it begin elsewhere
    #[command(after_help = cursor::EXAMPLES)]
    Cursor(OnJournal<cursor::CursorAction>),
    /// Print the SQL that makes the tables of a sink of type postgres
    #[command(after_help = schema::EXAMPLES)]
    Schema(schema::SchemaArgs),
    /// The sinks that there are, with what waits for each; and an end of those that are gone
    #[command(after_help = sink::EXAMPLES)]
    Sink(sink::SinkArgs),
    /// Look into the journal, verify it, repair it
    #[command(after_help = journal::EXAMPLES)]
    Journal(journal::JournalArgs),
    /// Measure this machine for some seconds: does it carry so many messages a second, and what would it take
    #[command(after_help = size::EXAMPLES)]
    Size(size::SizeArgs),
    /// Prove on this disk that nothing answered is lost: kill the server under load, again and again
    #[command(after_help = torture::EXAMPLES)]
    Torture(torture::TortureArgs),
    /// Explain a verb, or print a chapter of the manual; without a name, list them
    #[command(after_help = help::EXAMPLES)]
    Help(help::HelpArgs),
    /// Take stored bodies apart in a process of their own, as a server does with those that may end it
    #[command(hide = true, after_help = take_apart::EXAMPLES)]
    TakeApart(take_apart::TakeApartArgs),
}

/// A verb that does one of several things with a journal.
#[derive(Clone, Debug, Args)]
struct OnJournal<A: Subcommand> {
    #[command(subcommand)]
    action: A,
    /// Directory of the journal
    #[arg(long, value_name = "DIR", env = DATA_DIR_VARIABLE, default_value = DATA_DIR, global = true)]
    data_dir: PathBuf,
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

/// Runs what the command line asks for.
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
        Verb::Schema(args) => schema::run(args),
        Verb::Sink(args) => sink::run(args),
        Verb::Journal(args) => journal::run(args),
        Verb::Size(args) => size::run(args),
        Verb::Torture(args) => torture::run(args),
        Verb::Help(args) => help::run(args),
        Verb::TakeApart(args) => take_apart::run(args),
    };
    logging::report_end(result.as_ref().err());
    result.map_or_else(|error| ExitCode::from(error.code()), |()| ExitCode::SUCCESS)
}

/// How long to test.
fn duration(text: &str) -> Result<Duration, String> {
    match parse_time(text)? {
        0 => Err("in no time nothing is tested; write a minute or so, as in \"60s\"".to_owned()),
        milliseconds => Ok(Duration::from_millis(milliseconds)),
    }
}

const EXAMPLES: &str = "\
Examples:
  hookline serve                     receive on 127.0.0.1:8080, print events
  hookline send text                 in another terminal: post a sample
  hookline check --config FILE       what is wrong with a config file, or what it runs
  hookline simulate --messages-per-second 1000 --for 60s      load test any webhook server
  hookline torture                   prove that nothing is lost when it is killed, on this disk
  hookline help                      all verbs, and the chapters of the manual

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
}
