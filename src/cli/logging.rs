//! Logs go to stderr: text on a terminal, one JSON object a line otherwise.

use super::CliError;
use crate::config::{Log, LogFormat};
use std::io::{self, IsTerminal as _};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::util::SubscriberInitExt as _;

/// Starts logging for the whole process; once.
pub fn start(log: &Log) -> Result<(), CliError> {
    let filter = EnvFilter::try_new(&log.level)
        .map_err(|error| CliError::because("cannot understand the log level", error))?;
    let terminal = io::stderr().is_terminal();
    let base = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr);
    let started = match log.format {
        LogFormat::Json => base.json().flatten_event(true).finish().try_init(),
        LogFormat::Auto if !terminal => base.json().flatten_event(true).finish().try_init(),
        LogFormat::Auto | LogFormat::Text => base.with_ansi(terminal).finish().try_init(),
    };
    started.map_err(|error| CliError::because("cannot start logging", error))
}
