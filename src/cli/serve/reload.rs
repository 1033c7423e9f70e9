//! SIGHUP: the endpoints and the sinks of the configuration as it is now. Whatever else has changed is named, for it
//! needs a restart.
//!
//! The configuration is read, and what is new in it written down, on a thread of its own. It may lie where reading
//! hangs, on a share that is away or a pipe that nobody writes to, or the disk may stall: a stop does not wait for
//! that.

use super::super::error::CliError;
use super::signals::{Loaded, Message};
use crate::cli::configuration::ConfigArgs;
use crate::config::{Config, needing_restart};
use crate::server::Reloader;
use crossbeam_channel::Sender;
use std::sync::Arc;
use std::thread;

/// Reads one configuration at a time.
pub(super) struct Reload<'a> {
    args: &'a ConfigArgs,
    /// What the server runs with.
    config: Arc<Config>,
    reloader: Reloader,
    sender: Sender<Message>,
    is_reading: bool,
    /// It was asked for once more meanwhile.
    again: bool,
}

impl Reload<'_> {
    pub(super) fn new(
        args: &ConfigArgs,
        config: Config,
        reloader: Reloader,
        sender: Sender<Message>,
    ) -> Reload<'_> {
        Reload {
            args,
            config: Arc::new(config),
            reloader,
            sender,
            is_reading: false,
            again: false,
        }
    }

    /// Begins to read; the result comes as a [`Message`].
    pub(super) fn begin(&mut self) {
        if self.is_reading {
            self.again = true;
            tracing::warn!(
                "another SIGHUP while the configuration is still being read: it is read once more afterwards"
            );
            return;
        }
        let (args, sender) = (self.args.clone(), self.sender.clone());
        let (config, reloader) = (Arc::clone(&self.config), self.reloader.clone());
        let read = move || {
            // Nobody receives it after the end.
            let _ = sender.send(Message::Loaded(Box::new(take_over(
                &args, &config, &reloader,
            ))));
        };
        let thread = thread::Builder::new().name("hl-reload".to_owned());
        match thread.spawn(read) {
            Ok(_) => self.is_reading = true,
            Err(error) => {
                tracing::error!(%error, "no thread can be started to read the configuration: everything stays as it is; raise TasksMax or free memory, and send SIGHUP again");
            }
        }
    }

    /// Says what became of it; with mistakes, everything has stayed as it was.
    pub(super) fn finish(&mut self, loaded: Loaded) {
        self.is_reading = false;
        match loaded {
            Ok(()) => tracing::info!(
                "endpoints are reloaded; what has changed of sinks, and what needs a restart, has lines of its own"
            ),
            Err(error) => {
                let report = error.report().unwrap_or_default();
                tracing::error!("nothing is reloaded: {report}");
            }
        }
        if std::mem::take(&mut self.again) {
            self.begin();
        }
    }
}

fn take_over(args: &ConfigArgs, runs: &Config, reloader: &Reloader) -> Loaded {
    let (config, warnings) = args.load()?;
    for warning in &warnings {
        tracing::warn!("{warning}");
    }
    reloader
        .reload(&config)
        .map_err(|error| CliError::because("cannot take over the endpoints", error))?;
    for (setting, why) in needing_restart(runs, &config) {
        tracing::warn!(
            setting,
            why,
            "a setting has changed in the configuration and needs a restart: the server goes on with what it has; restart it when that suits you"
        );
    }
    Ok(())
}
