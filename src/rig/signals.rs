//! Ctrl-C and SIGTERM, for verbs that clean up before they end.

use super::error::RigError;
use crossbeam_channel::{Receiver, bounded};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use std::io;
use std::thread;

/// A thread that passes on that someone wants an end.
pub(crate) fn watch_signals() -> Result<Receiver<()>, RigError> {
    let failed = |error: io::Error| RigError::because("cannot watch signals", error);
    let mut signals = Signals::new([SIGINT, SIGTERM]).map_err(failed)?;
    let (sender, receiver) = bounded(1);
    let watch = move || {
        for _ in signals.forever() {
            // One is enough.
            let _ = sender.try_send(());
        }
    };
    let watching = thread::Builder::new()
        .name("signals".to_owned())
        .spawn(watch);
    watching.map_err(failed)?;
    Ok(receiver)
}
