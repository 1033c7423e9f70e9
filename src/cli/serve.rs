//! `hookline serve`: the main job.

use super::{CliError, ServeArgs, logging};
use crate::config::{Config, SinkKind};
use crate::server::Server;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::time::Duration;

/// Runs the verb.
pub(super) fn run(args: &ServeArgs) -> Result<(), CliError> {
    let (config, warnings) = args.config.load()?;
    logging::start(&config.log)?;
    for warning in &warnings {
        tracing::warn!("{warning}");
    }
    raise_file_limit(config.server.max_connections);
    let failed = |error| CliError::because("the receiver has stopped", error);
    let mut signals = Signals::new([SIGTERM, SIGINT, SIGHUP])
        .map_err(|error| CliError::because("cannot watch signals", error))?;
    let mut server =
        Server::start(&config).map_err(|error| CliError::because("cannot start", error))?;
    // Without a stderr there is nobody to greet.
    let _ = io::stderr().write_all(greeting(&config, &server).as_bytes());
    loop {
        if let Err(error) = server.watch(WATCH_INTERVAL) {
            tracing::error!(%error, "stopping: new notifications get 503 and the platform sends them again");
            // The first error is the one to report.
            let _ = server.stop();
            return Err(failed(error));
        }
        match signals.pending().next() {
            None => {}
            Some(SIGHUP) => reload(args, &server),
            Some(signal) => {
                tracing::info!(signal, "draining; the same signal again leaves at once");
                leave_at_second_signal(signals);
                server.stop().map_err(failed)?;
                tracing::info!("everything that was answered is stored");
                return Ok(());
            }
        }
    }
}

/// What runs and where, in a few lines for the person at the terminal.
fn greeting(config: &Config, server: &Server) -> String {
    let mut text = String::new();
    let mut line = |label: &str, value: String| {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "hookline: {label:<8} {value}");
    };
    for endpoint in &config.endpoints {
        let unsigned = if endpoint.accept_unsigned {
            "; unsigned posts are accepted"
        } else {
            ""
        };
        line(
            "POST to",
            format!("http://{}{}{unsigned}", server.address(), endpoint.path),
        );
    }
    let recovery = server.recovery();
    let held = recovery.next_sequence - recovery.first_sequence;
    line(
        "journal",
        format!("{}, {held} notifications", config.journal.dir.display()),
    );
    if let Some(torn) = &recovery.torn_tail {
        line(
            "recovery",
            format!(
                "{}: {} octets cut at {}, a write that was never answered as stored",
                torn.path, torn.octets, torn.offset
            ),
        );
    }
    for sink in &config.sinks {
        line(
            "events",
            match &sink.kind {
                SinkKind::Stdout => "stdout, one JSON object a line".to_owned(),
                SinkKind::File { path } => path.display().to_string(),
            },
        );
    }
    if config.sinks.is_empty() {
        line(
            "events",
            "no sink; read them with `hookline tail`".to_owned(),
        );
    }
    if let Some(admin) = server.admin_address() {
        line(
            "metrics",
            format!("http://{admin}/metrics, /livez, /readyz"),
        );
    }
    line(
        "try",
        format!(
            "hookline send text --to http://{}{}",
            server.address(),
            config.endpoints[0].path
        ),
    );
    text
}

/// Takes over the endpoints of the configuration as it is now; with mistakes in it, everything stays.
fn reload(args: &ServeArgs, server: &Server) {
    let reloaded = args.config.load().and_then(|(config, warnings)| {
        for warning in &warnings {
            tracing::warn!("{warning}");
        }
        server
            .reload(&config)
            .map_err(|error| CliError::because("cannot take over the endpoints", error))
    });
    match reloaded {
        Ok(()) => tracing::info!("endpoints are reloaded; every other change needs a restart"),
        Err(error) => {
            let report = error.report().unwrap_or_default();
            tracing::error!("nothing is reloaded: {report}");
        }
    }
}

/// The second signal ends the process where it stands. What was answered is on disk already.
fn leave_at_second_signal(mut signals: Signals) {
    // If no thread can be started, the drain is bounded by its own time.
    let _ = std::thread::Builder::new()
        .name("hl-signal".to_owned())
        .spawn(move || {
            if signals.forever().any(|signal| signal != SIGHUP) {
                signal_hook::low_level::exit(1);
            }
        });
}

/// Each connection is a descriptor, and the usual soft limit is 1024.
fn raise_file_limit(connections: usize) {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let needed = connections as u64 + FILES_BESIDE;
    let limit = getrlimit(Resource::Nofile);
    let Some(current) = limit.current.filter(|&current| current < needed) else {
        return;
    };
    let allowed = limit.maximum.unwrap_or(needed).min(needed);
    let raised = setrlimit(
        Resource::Nofile,
        Rlimit {
            current: Some(allowed),
            maximum: limit.maximum,
        },
    );
    if raised.is_err() || allowed < needed {
        let files = if raised.is_ok() { allowed } else { current };
        tracing::warn!(
            files,
            needed,
            "the limit of open files is below max_connections"
        );
    }
}

/// Descriptors for other things than connections.
const FILES_BESIDE: u64 = 256;

/// How soon a signal is seen.
const WATCH_INTERVAL: Duration = Duration::from_millis(50);

pub(super) const EXAMPLES: &str = "\
Examples:
  hookline serve
  hookline serve --config /etc/hookline.toml
  HOOKLINE_APP_SECRET=... hookline serve --listen 0.0.0.0:8080 --data-dir /var/lib/hookline";
