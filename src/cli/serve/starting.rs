//! The start, on a thread of its own: it reads what is written where reading may hang, and what a recovery has to read
//! may be much. A signal is obeyed meanwhile.
//!
//! As long as nothing runs, a stop just ends the process: it leaves what a kill at that place would, and the next start
//! does all of it again. Once threads are being started, it waits for the last of them and then stops in order.

use super::super::error::CliError;
use super::signals::Message;
use crate::cli::configuration::ConfigArgs;
use crate::cli::{logging, take_apart};
use crate::config::Config;
use crate::server::{Server, descriptors};
use crossbeam_channel::{Receiver, bounded, select};
use signal_hook::consts::SIGHUP;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

/// A server that runs.
pub(super) struct Started {
    pub(super) config: Config,
    pub(super) server: Server,
    /// Signals that came meanwhile, the one that is to be obeyed first at the end.
    pub(super) asked: Vec<i32>,
}

/// Starts a server, or `None` if it is asked to stop before it runs. What is wrong with the parent is said in the form
/// that the configuration wants.
pub(super) fn wait(
    args: &ConfigArgs,
    parent: Result<(), CliError>,
    messages: &Receiver<Message>,
) -> Result<Option<Started>, CliError> {
    let decided = Arc::new(AtomicBool::new(false));
    let (sender, started) = bounded(1);
    let (args, going) = (args.clone(), Arc::clone(&decided));
    let run = move || {
        // Nobody receives it when the end has begun.
        let _ = sender.send(start(&args, parent, || !going.swap(true, Ordering::AcqRel)));
    };
    let thread = thread::Builder::new().name("hl-start".to_owned());
    let failed = |error| CliError::because("cannot start: no thread can be started", error);
    thread.spawn(run).map_err(failed)?;
    let mut asked = Vec::new();
    loop {
        select! {
            recv(started) -> result => {
                let gone = |_| CliError::failed("cannot start: that has panicked, see the log");
                let (config, server) = result.map_err(gone)??;
                return Ok(Some(Started { config, server, asked }));
            }
            recv(messages) -> message => match message {
                // Once more would be the same.
                Ok(Message::Signal(SIGHUP)) if asked.contains(&SIGHUP) => {}
                Ok(Message::Signal(SIGHUP)) => asked.insert(0, SIGHUP),
                Ok(Message::Signal(signal)) => {
                    if !decided.swap(true, Ordering::AcqRel) {
                        return Ok(None);
                    }
                    asked.push(signal);
                }
                // Nothing else is sent before there is a server.
                _ => {}
            },
        }
    }
}

fn start(
    args: &ConfigArgs,
    parent: Result<(), CliError>,
    go_on: impl FnOnce() -> bool,
) -> Result<(Config, Server), CliError> {
    let (mut config, warnings) = args.load()?;
    logging::start(&config.log)?;
    parent?;
    for warning in &warnings {
        tracing::warn!("{warning}");
    }
    descriptors::share_out(&mut config)?;
    crate::children::look_after_orphans()
        .map_err(|error| CliError::because("cannot look after what programs leave", error))?;
    let child = take_apart::child(&config.journal.dir);
    let server = Server::start_with(&config, Some(child), go_on)
        .map_err(|error| CliError::because("cannot start", error))?;
    Ok((config, server))
}
