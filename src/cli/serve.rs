//! `hookline serve`: the main job.

mod greeting;
mod reload;
mod signals;

use super::configuration::ConfigArgs;
use super::{CliError, descriptors, logging, take_apart};
use crate::server::Server;
use clap::Args;
use reload::Reload;
use signal_hook::consts::SIGHUP;
use signals::Message;

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
    let no_log = |error| CliError::because("cannot start the thread that logs", error);
    crate::log::start().map_err(no_log)?;
    let parent = args.with_parent.map_or(Ok(()), stay_with);
    let (mut config, warnings) = args.config.load()?;
    logging::start(&config.log)?;
    parent?;
    for warning in &warnings {
        tracing::warn!("{warning}");
    }
    descriptors::share_out(&mut config)?;
    let failed = |error| CliError::because("the receiver has stopped", error);
    let signals = signals::watch()?;
    crate::children::look_after_orphans()
        .map_err(|error| CliError::because("cannot look after what programs leave", error))?;
    let child = take_apart::child(&config.journal.dir);
    let mut server = Server::start_with(&config, Some(child))
        .map_err(|error| CliError::because("cannot start", error))?;
    greeting::greet(&config, &server);
    let mut reload = Reload::new(&args.config, signals.tell);
    loop {
        match server.wait(&signals.told) {
            Ok(Message::Signal(SIGHUP)) => reload.begin(),
            Ok(Message::Loaded(loaded)) => reload.finish(*loaded, &server),
            Ok(Message::Signal(signal)) => {
                tracing::info!(
                    signal,
                    "stopping: open requests are answered and events delivered for up to drain_timeout; the same signal again stops at once"
                );
                server.stop(&signals.again).map_err(failed)?;
                tracing::info!("stopped; everything that was answered is stored");
                return Ok(());
            }
            Err(error) => {
                // The last words are the error.
                tracing::warn!(%error, "stopping: new notifications get 503 and the platform sends them again");
                // The first error is the one to report.
                let _ = server.stop(&signals.again);
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

pub(super) const EXAMPLES: &str = "\
Examples:
  hookline serve
  hookline serve --config /etc/hookline.toml
  HOOKLINE_APP_SECRET=... hookline serve --listen 0.0.0.0:8080 --data-dir /var/lib/hookline";
