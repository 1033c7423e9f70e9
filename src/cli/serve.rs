//! `hookline serve`: the main job.

mod greeting;
mod reload;
mod signals;
mod starting;

use super::configuration::ConfigArgs;
use super::error::CliError;
use clap::Args;
use reload::Reload;
use signal_hook::consts::SIGHUP;
use signals::Message;
use starting::Started;

#[derive(Clone, Debug, Args)]
pub(super) struct ServeArgs {
    #[command(flatten)]
    config: ConfigArgs,
    /// Stop, as on SIGTERM, when the process that started this one ends; PID is its number
    #[arg(long, value_name = "PID", value_parser = clap::value_parser!(i32).range(1..))]
    with_parent: Option<i32>,
}

pub(super) fn run(args: &ServeArgs) -> Result<(), CliError> {
    // First of all: until then a signal ends the process where it stands.
    let signals = signals::watch()?;
    let no_log = |error| CliError::because("cannot start the thread that logs", error);
    crate::log::start().map_err(no_log)?;
    let parent = args.with_parent.map_or(Ok(()), stay_with);
    let Some(Started {
        config,
        mut server,
        mut asked,
    }) = starting::wait(&args.config, parent, &signals.messages)?
    else {
        tracing::info!("stopped before it ran: nothing was taken, and the next start begins anew");
        return Ok(());
    };
    greeting::greet(&config, &server);
    let failed = |error| CliError::because("the receiver has stopped", error);
    let mut reload = Reload::new(&args.config, config, server.reloader(), signals.sender);
    loop {
        let message = match asked.pop() {
            Some(signal) => Ok(Message::Signal(signal)),
            None => server.wait(&signals.messages),
        };
        match message {
            Ok(Message::Signal(SIGHUP)) => reload.begin(),
            Ok(Message::Loaded(loaded)) => reload.finish(*loaded),
            Ok(Message::Signal(signal)) => {
                tracing::info!(
                    signal,
                    "stopping: open requests are answered and events delivered for up to drain_timeout; the same signal after a second or later stops at once"
                );
                server.stop(&signals.again).map_err(failed)?;
                tracing::info!("stopped; everything that was answered is stored");
                return Ok(());
            }
            Err(error) => {
                // The last words are the error.
                tracing::warn!(%error, "stopping because of an error: new notifications get 503, and the platform sends them again; correct what the error names and start it again");
                // The first error is the one to report.
                let _ = server.stop(&signals.again);
                return Err(failed(error));
            }
        }
    }
}

/// SIGTERM comes when the parent ends; it is watched by then.
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
