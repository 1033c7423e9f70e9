//! SIGHUP: the endpoints of the configuration as it is now.
//!
//! The configuration is read, and what is new in it written down, on a thread of its own. It may lie where reading
//! hangs, on a share that is away or a pipe that nobody writes to, or the disk may stall: a stop does not wait for
//! that.

use super::super::error::CliError;
use super::signals::{Loaded, Message};
use crate::cli::configuration::ConfigArgs;
use crate::server::Reloader;
use crossbeam_channel::Sender;
use std::thread;

/// Reads one configuration at a time.
pub(super) struct Reload<'a> {
    args: &'a ConfigArgs,
    reloader: Reloader,
    sender: Sender<Message>,
    is_reading: bool,
    /// It was asked for once more meanwhile.
    again: bool,
}

impl Reload<'_> {
    pub(super) fn new(
        args: &ConfigArgs,
        reloader: Reloader,
        sender: Sender<Message>,
    ) -> Reload<'_> {
        Reload {
            args,
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
        let reloader = self.reloader.clone();
        let read = move || {
            // Nobody receives it after the end.
            let _ = sender.send(Message::Loaded(Box::new(take_over(&args, &reloader))));
        };
        let thread = thread::Builder::new().name("hl-reload".to_owned());
        match thread.spawn(read) {
            Ok(_) => self.is_reading = true,
            Err(error) => {
                tracing::error!(%error, "no thread can be started to read the configuration: the endpoints stay as they are; raise TasksMax or free memory, and send SIGHUP again");
            }
        }
    }

    /// Says what became of it; with mistakes, everything has stayed as it was.
    pub(super) fn finish(&mut self, loaded: Loaded) {
        self.is_reading = false;
        match loaded {
            Ok(()) => tracing::info!("endpoints are reloaded; every other change needs a restart"),
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

fn take_over(args: &ConfigArgs, reloader: &Reloader) -> Loaded {
    let (config, warnings) = args.load()?;
    for warning in &warnings {
        tracing::warn!("{warning}");
    }
    reloader
        .reload(&config)
        .map_err(|error| CliError::because("cannot take over the endpoints", error))
}
