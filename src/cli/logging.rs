//! Logs go to stderr: text on a terminal, one JSON object a line otherwise.
//!
//! In JSON every line is an object, the greeting, a panic and the last words included; only the findings of a wrong
//! configuration, which may say that `log` itself is wrong, are text. The format is decided once.

use super::error::CliError;
use crate::config::{Log, LogFormat};
use crate::log;
use std::io::{self, IsTerminal as _, Write as _};
use std::sync::OnceLock;
use std::time::Duration;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

/// Starts logging for the whole process; once, and after [`log::start`].
pub fn start(log: &Log) -> Result<(), CliError> {
    let mut filter = log
        .level
        .parse::<Targets>()
        .map_err(|error| CliError::because("cannot understand the log level", error))?;
    for library in LIBRARIES {
        if !log.level.contains(library) {
            filter = filter.with_target(*library, LevelFilter::OFF);
        }
    }
    let terminal = io::stderr().is_terminal();
    // An error of a writer would be reported with `eprintln!`, which panics.
    let base = tracing_subscriber::fmt()
        .with_max_level(LevelFilter::TRACE)
        .with_writer(log::Writer)
        .log_internal_errors(false);
    let is_json = match log.format {
        LogFormat::Json => true,
        LogFormat::Auto => !terminal,
        LogFormat::Text => false,
    };
    let started = if is_json {
        let subscriber = base.json().flatten_event(true).finish();
        subscriber.with(filter).try_init()
    } else {
        base.with_ansi(terminal).finish().with(filter).try_init()
    };
    started.map_err(|error| CliError::because("cannot start logging", error))?;
    // It is started once.
    let _ = IS_JSON.set(is_json);
    log::log_panics();
    Ok(())
}

/// True when every line is an object.
pub(super) fn is_json() -> bool {
    IS_JSON.get() == Some(&true)
}

/// Says why the process ends, and gives what was said before a moment to get out. Without a stderr the exit code has to
/// do.
pub(super) fn report_end(error: Option<&CliError>) {
    let report = error.and_then(CliError::report);
    if !log::is_running() {
        if let Some(report) = report {
            let _ = writeln!(io::stderr(), "{report}");
        }
        return;
    }
    match report {
        Some(report) if is_json() => {
            tracing::error!("{}", report.strip_prefix("hookline: ").unwrap_or(&report));
        }
        Some(report) => log::say(&format!("{report}\n")),
        None => {}
    }
    log::flush(LAST_WORDS);
}

/// What sinks are built with. What happens to them is logged by the sink, by its name and not too often; their own
/// lines come where the level names them, as in `info,async_nats=debug`.
const LIBRARIES: &[&str] = &["async_nats", "librdkafka"];

static IS_JSON: OnceLock<bool> = OnceLock::new();

/// How long the end of the process waits for what is to be said.
const LAST_WORDS: Duration = Duration::from_secs(1);
