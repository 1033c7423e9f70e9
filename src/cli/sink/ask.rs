//! `hookline sink stop` and `resume`.
//!
//! Beside a running server the verb only asks, by a file, see [`SinkRequests`]; the server does it within a second or
//! so, and this waits for that. Where no server runs it is written down for the next start.

use crate::cli::cursor::check_sink_is_known;
use crate::cli::error::CliError;
use crate::cli::journal::{is_journal, make_beside, open};
use crate::disk::{self, command, quoted};
use crate::feed::{SinkRequest, SinkRequests};
use crate::journal::{self, JournalError};
use std::io::{self, Write as _};
use std::path::Path;
use std::sync::Arc;
use std::thread::sleep;
use std::time::{Duration, Instant};

pub(super) fn ask(dir: &Path, sink: &str, request: SinkRequest) -> Result<(), CliError> {
    is_journal(dir)?;
    let disk = open(dir)?;
    check_sink_is_known(sink, dir)?;
    let requests = SinkRequests::open(Arc::new(make_beside(dir, "sinks")?));
    let is_stop = request == SinkRequest::Stop;
    match journal::lock(&disk) {
        // Held until it is written down: no server starts meanwhile.
        Ok(_lock) => {
            requests.forget(sink).map_err(failed)?;
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
