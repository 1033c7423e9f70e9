//! SIGHUP: the endpoints of the configuration as it is now.
//!
//! The configuration is read on a thread of its own. It may lie where reading hangs, on a share that is away or a pipe
//! that nobody writes to, and a stop does not wait for that.

use super::signals::Message;
use crate::cli::CliError;
use crate::cli::configuration::ConfigArgs;
use crate::config::{Config, Finding};
use crate::server::Server;
use crossbeam_channel::Sender;
use std::thread;

/// A configuration with what is doubtful about it, or its mistakes.
pub(super) type Loaded = Result<(Config, Vec<Finding>), CliError>;

/// Reads one configuration at a time.
pub(super) struct Reload<'a> {
    args: &'a ConfigArgs,
    tell: Sender<Message>,
    is_reading: bool,
    /// It was asked for once more meanwhile.
    again: bool,
}

impl Reload<'_> {
    pub(super) fn new(args: &ConfigArgs, tell: Sender<Message>) -> Reload<'_> {
        Reload {
            args,
            tell,
            is_reading: false,
            again: false,
        }
    }

    /// Begins to read; what comes of it is told.
    pub(super) fn begin(&mut self) {
        if self.is_reading {
            self.again = true;
            tracing::warn!(
                "the configuration is still being read; it is read once more afterwards"
            );
            return;
        }
        let (args, tell) = (self.args.clone(), self.tell.clone());
        let read = move || {
            // Nobody is told any more who has ended.
            let _ = tell.send(Message::Loaded(Box::new(args.load())));
        };
        let thread = thread::Builder::new().name("hl-reload".to_owned());
        match thread.spawn(read) {
            Ok(_) => self.is_reading = true,
            Err(error) => {
                tracing::error!(%error, "nothing is reloaded: no thread can be started");
            }
        }
    }

    /// Takes over the endpoints; with mistakes in it, everything stays.
    pub(super) fn finish(&mut self, loaded: Loaded, server: &Server) {
        self.is_reading = false;
        let reloaded = loaded.and_then(|(config, warnings)| {
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
        if std::mem::take(&mut self.again) {
            self.begin();
        }
    }
}
