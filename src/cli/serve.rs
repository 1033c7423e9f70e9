//! `hookline serve`: the main job.

use super::configuration::ConfigArgs;
use super::{CliError, descriptors, logging, sequences, take_apart};
use crate::config::{Config, Credential, Endpoint, Provider, SinkKind};
use crate::server::Server;
use clap::Args;
use crossbeam_channel::{Receiver, bounded};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGXFSZ};
use signal_hook::flag;
use signal_hook::iterator::Signals;
use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::sync::Arc;

/// `hookline serve`
#[derive(Clone, Debug, Args)]
pub(super) struct ServeArgs {
    #[command(flatten)]
    config: ConfigArgs,
    /// Stop, as on SIGTERM, when the process that started this one ends; PID is its number
    #[arg(long, value_name = "PID", value_parser = clap::value_parser!(i32).range(1..))]
    with_parent: Option<i32>,
}

/// Runs the verb.
pub(super) fn run(args: &ServeArgs) -> Result<(), CliError> {
    if let Some(parent) = args.with_parent {
        stay_with(parent)?;
    }
    let (mut config, warnings) = args.config.load()?;
    logging::start(&config.log)?;
    for warning in &warnings {
        tracing::warn!("{warning}");
    }
    descriptors::share_out(&mut config)?;
    let failed = |error| CliError::because("the receiver has stopped", error);
    let signals = watch_signals()?;
    let child = take_apart::child(&config.journal.dir);
    let mut server = Server::start_with(&config, Some(child))
        .map_err(|error| CliError::because("cannot start", error))?;
    // Without a stderr there is nobody to greet.
    let _ = io::stderr().write_all(greeting(&config, &server).as_bytes());
    loop {
        match server.wait(&signals) {
            Ok(SIGHUP) => reload(args, &server),
            Ok(signal) => {
                tracing::info!(signal, "draining; the same signal again leaves at once");
                server.stop().map_err(failed)?;
                tracing::info!("everything that was answered is stored");
                return Ok(());
            }
            Err(error) => {
                tracing::error!(%error, "stopping: new notifications get 503 and the platform sends them again");
                // The first error is the one to report.
                let _ = server.stop();
                return Err(failed(error));
            }
        }
    }
}

/// SIGTERM comes when the parent ends; before signals are watched it ends this process at once.
///
/// The system ties this to the two threads concerned: here the main thread, which lives as long as the process, and the
/// one that started it.
fn stay_with(parent: i32) -> Result<(), CliError> {
    use rustix::process::{Signal, getppid, set_parent_process_death_signal};
    set_parent_process_death_signal(Some(Signal::TERM))
        .map_err(|error| CliError::because("cannot watch the parent", error))?;
    // One that ended before the call sends nothing.
    let actual = getppid().map_or(0, |pid| pid.as_raw_nonzero().get());
    if actual == parent {
        return Ok(());
    }
    Err(CliError::failed(format!(
        "process {parent} is not the parent, or has ended; --with-parent takes the one that starts this"
    )))
}

/// A thread that passes signals on. The second one that asks to stop ends the process where it stands: what was
/// answered as stored is on disk already.
fn watch_signals() -> Result<Receiver<i32>, CliError> {
    let failed = |error| CliError::because("cannot watch signals", error);
    let mut signals = Signals::new([SIGTERM, SIGINT, SIGHUP]).map_err(failed)?;
    // A write beyond a limit on file sizes is an error like others, not the end of the process.
    flag::register(SIGXFSZ, Arc::default()).map_err(failed)?;
    let (tell, told) = bounded(SIGNALS_MAX);
    let watch = move || {
        let mut stopping = false;
        for signal in signals.forever() {
            if stopping && signal != SIGHUP {
                signal_hook::low_level::exit(1);
            }
            stopping |= signal != SIGHUP;
            // Full only of reloads that are still to come; one more of them is none.
            if signal == SIGHUP {
                let _ = tell.try_send(signal);
            } else if tell.send(signal).is_err() {
                return;
            }
        }
    };
    std::thread::Builder::new()
        .name("hl-signal".to_owned())
        .spawn(watch)
        .map_err(failed)?;
    Ok(told)
}

/// Signals that wait for their turn.
const SIGNALS_MAX: usize = 2;

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
    let held = if recovery.next_sequence > recovery.first_sequence {
        sequences(recovery.first_sequence, recovery.next_sequence - 1)
    } else {
        "empty".to_owned()
    };
    line(
        "journal",
        format!("{}, {held}", config.journal.dir.display()),
    );
    if let Some(torn) = &recovery.torn_tail {
        line(
            "recovery",
            format!(
                "{}: {} octets cut at {}, the last write, which a crash has torn; it was not answered as stored",
                torn.path, torn.octets, torn.offset
            ),
        );
    }
    for sink in &config.sinks {
        line(
            "events",
            match &sink.kind {
                SinkKind::Stdout => "stdout, one JSON object a line".to_owned(),
                SinkKind::File(file) => file.path.display().to_string(),
                SinkKind::Http(http) => http.address().to_owned(),
                SinkKind::Exec(exec) => exec.command.first().cloned().unwrap_or_default(),
                SinkKind::Pull(_) => {
                    let address = server.pull_address().unwrap_or(config.pull.listen);
                    format!("http://{address}/v1/events?sink={}", sink.name)
                }
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
    let mut endpoints = config.endpoints.iter();
    let options = |it: &Endpoint| Some((it.path.clone(), proof(it)?));
    if let Some((path, proof)) = endpoints.find_map(options) {
        line(
            "try",
            format!(
                "hookline send text --to http://{}{path}{proof}",
                server.address()
            ),
        );
    }
    text
}

/// What `hookline send` takes so that this endpoint takes what it sends; none if it cannot sign like that.
fn proof(endpoint: &Endpoint) -> Option<String> {
    if endpoint.accept_unsigned {
        return Some(String::new());
    }
    let secret = " --secret-file FILE";
    match &endpoint.provider {
        Provider::Meta { .. } => Some(format!("{secret}, which holds the app secret")),
        Provider::StandardWebhooks { .. } => Some(format!(
            " --provider standard-webhooks{secret}, which holds the secret"
        )),
        Provider::Dialog360 {
            credential,
            signature_secrets,
        } => {
            let field = match credential {
                None => "",
                Some(Credential::Basic { .. }) => " -H 'Authorization: Basic …'",
                Some(Credential::Bearer(_)) => " -H 'Authorization: Bearer …'",
                Some(Credential::Header { name, .. }) => &format!(" -H '{name}: …'"),
            };
            let signed = if signature_secrets.is_empty() {
                ""
            } else {
                " --provider 360dialog --secret-file FILE"
            };
            Some(format!("{field}{signed}"))
        }
        Provider::GenericHmac { .. } => None,
    }
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

pub(super) const EXAMPLES: &str = "\
Examples:
  hookline serve
  hookline serve --config /etc/hookline.toml
  HOOKLINE_APP_SECRET=... hookline serve --listen 0.0.0.0:8080 --data-dir /var/lib/hookline";
