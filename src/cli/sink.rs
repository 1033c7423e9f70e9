//! `hookline sink`: stop a sink, and let it go on.
//!
//! Beside a running server the verb only asks, by a file, see [`SinkRequests`]; the server does it within a second or
//! so, and this waits for that. Where no server runs it is written down for the next start.

use super::OnJournal;
use super::cursor::check_sink_is_known;
use super::error::CliError;
use super::journal::{make_beside, open};
use crate::disk::{self, command, quoted};
use crate::feed::{SinkRequest, SinkRequests};
use crate::journal::{self, JournalError};
use clap::Subcommand;
use std::io::{self, Write as _};
use std::path::Path;
use std::sync::Arc;
use std::thread::sleep;
use std::time::{Duration, Instant};

#[derive(Clone, Debug, Subcommand)]
pub(super) enum SinkAction {
    /// Deliver nothing more to a sink until `resume`, also after a restart; the journal keeps what it has not had
    Stop {
        /// Which sink
        #[arg(value_name = "SINK")]
        sink: String,
    },
    /// Let a sink go on where it was, after `stop` or after it has stopped by itself, as when its receiver answered 410
    Resume {
        /// Which sink
        #[arg(value_name = "SINK")]
        sink: String,
    },
}

pub(super) fn run(args: &OnJournal<SinkAction>) -> Result<(), CliError> {
    let dir = &args.data_dir;
    match &args.action {
        SinkAction::Stop { sink } => ask(dir, sink, SinkRequest::Stop),
        SinkAction::Resume { sink } => ask(dir, sink, SinkRequest::Resume),
    }
}

fn ask(dir: &Path, sink: &str, request: SinkRequest) -> Result<(), CliError> {
    let disk = open(dir)?;
    check_sink_is_known(sink, dir)?;
    let requests = SinkRequests::open(Arc::new(make_beside(dir, "sinks")?));
    let is_stop = request == SinkRequest::Stop;
    match journal::lock(&disk) {
        // Held until it is written down: no server starts meanwhile.
        Ok(_lock) => {
            for request in [SinkRequest::Stop, SinkRequest::Resume] {
                requests.done(sink, request).map_err(failed)?;
            }
            requests.set_stopped(sink, is_stop).map_err(failed)?;
            let what = if is_stop {
                "stays stopped with the next start"
            } else {
                "goes on with the next start"
            };
            writeln!(io::stdout(), "no server runs here: {sink} {what}")?;
            return Ok(());
        }
        Err(JournalError::Locked { .. }) => {}
        Err(error) => return Err(CliError::because("cannot look at the journal", error)),
    }
    requests.ask(sink, request).map_err(failed)?;
    wait(&requests, sink, request)?;
    let is_stopped = requests.is_stopped(sink).map_err(failed)?;
    if is_stop && !is_stopped {
        return Err(CliError::failed(format!(
            "{sink} is not in the configuration of the server that runs here, so there is nothing to stop"
        )));
    }
    let mut out = io::stdout();
    if is_stop {
        let resume = command(&format!("sink resume {}", quoted(sink)), dir);
        writeln!(out, "{sink} is stopped; `{resume}` lets it go on")?;
    } else {
        writeln!(out, "{sink} goes on; `hookline status` shows how it does")?;
    }
    Ok(())
}

/// Until the server has done it.
fn wait(requests: &SinkRequests, sink: &str, request: SinkRequest) -> Result<(), CliError> {
    let (began, mut hinted) = (Instant::now(), false);
    while requests.is_asked(sink, request).map_err(failed)? {
        if began.elapsed() > WAIT_MAX {
            return Err(CliError::failed(
                "the server has not done it within a minute: it stays asked for; `hookline status` and the log say \
                 what the sink does",
            ));
        }
        if began.elapsed() > HINT_AFTER && !std::mem::replace(&mut hinted, true) {
            writeln!(
                io::stderr(),
                "waiting: what is under way has up to drain_timeout to end"
            )?;
        }
        sleep(LOOK);
    }
    Ok(())
}

fn failed(error: disk::Error) -> CliError {
    CliError::because("cannot ask for it", error)
}

/// How often it looks.
const LOOK: Duration = Duration::from_millis(50);

/// After that it says why it waits.
const HINT_AFTER: Duration = Duration::from_secs(3);

/// How long it waits.
const WAIT_MAX: Duration = Duration::from_mins(1);

pub(super) const EXAMPLES: &str = "\
Examples:
  hookline sink stop crm --data-dir /var/lib/hookline
  hookline sink resume crm";
