//! What verbs have in common that try this machine: a directory of its own on a disk, a server as a child process, and
//! signed load on it over loopback. What is made is removed in the end, also on Ctrl-C; on `kill -9` the server ends
//! with its parent, and the next run names the directory.

pub(super) mod body;
pub(super) mod child;
pub(super) mod file_system;
pub(super) mod load;
pub(super) mod site;
pub(super) mod stream;
pub(super) mod times;

use super::CliError;
use crossbeam_channel::{Receiver, bounded};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use std::io;
use std::thread;

/// A thread that passes on that someone wants an end.
pub(super) fn watch_signals() -> Result<Receiver<()>, CliError> {
    let failed = |error: io::Error| CliError::because("cannot watch signals", error);
    let mut signals = Signals::new([SIGINT, SIGTERM]).map_err(failed)?;
    let (tell, told) = bounded(1);
    let watch = move || {
        for _ in signals.forever() {
            // One is enough.
            let _ = tell.try_send(());
        }
    };
    let watching = thread::Builder::new()
        .name("signals".to_owned())
        .spawn(watch);
    watching.map_err(failed)?;
    Ok(told)
}
