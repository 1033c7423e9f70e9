//! Logs go to stderr: text on a terminal, one JSON object a line otherwise.

use super::CliError;
use crate::config::{Log, LogFormat};
use std::io::{self, IsTerminal as _};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

/// Starts logging for the whole process; once.
pub fn start(log: &Log) -> Result<(), CliError> {
    let filter = log
        .level
        .parse::<Targets>()
        .map_err(|error| CliError::because("cannot understand the log level", error))?;
    let terminal = io::stderr().is_terminal();
    let base = tracing_subscriber::fmt()
        .with_max_level(LevelFilter::TRACE)
        .with_writer(io::stderr);
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
    started.map_err(|error| CliError::because("cannot start logging", error))
}
