//! What signals do to a server.
//!
//! | signal | effect |
//! |---|---|
//! | SIGTERM, SIGINT | drain and stop; the second one: leave as soon as everything answered is stored |
//! | SIGHUP | take over the endpoints of the configuration |
//! | SIGXFSZ | a write beyond a limit on file sizes is an error like others |
//! | SIGUSR1, SIGUSR2 and what else would end the process without a drain | a line that says so |

use crate::cli::CliError;
use crate::log::Repeats;
use crossbeam_channel::{Receiver, Sender, bounded};
use signal_hook::consts::{
    SIGALRM, SIGHUP, SIGINT, SIGIO, SIGPROF, SIGTERM, SIGUSR1, SIGUSR2, SIGVTALRM, SIGXFSZ,
};
use signal_hook::flag;
use signal_hook::iterator::Signals;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

/// Where signals come out.
pub(super) struct Told {
    /// SIGHUP, and the first one that asks to stop.
    pub(super) told: Receiver<i32>,
    /// The second one that asks to stop.
    pub(super) again: Receiver<()>,
}

/// Starts the thread that watches them.
pub(super) fn watch() -> Result<Told, CliError> {
    let failed = |error| CliError::because("cannot watch signals", error);
    let watched = STOPPING.iter().chain([&SIGHUP]).chain(&IGNORED);
    let signals = Signals::new(watched).map_err(failed)?;
    flag::register(SIGXFSZ, Arc::default()).map_err(failed)?;
    let (tell, told) = bounded(SIGNALS_MAX);
    let (tell_again, again) = bounded(1);
    thread::Builder::new()
        .name("hl-signal".to_owned())
        .spawn(move || pass_on(signals, &tell, &tell_again))
        .map_err(failed)?;
    Ok(Told { told, again })
}

/// Never waits for who is told, who may be busy starting.
fn pass_on(mut signals: Signals, tell: &Sender<i32>, tell_again: &Sender<()>) {
    let mut stopping = false;
    let ignored = Repeats::default();
    for signal in signals.forever() {
        if STOPPING.contains(&signal) {
            if std::mem::replace(&mut stopping, true) {
                let _ = tell_again.try_send(());
                leave_in_the_end();
            } else {
                let _ = tell.try_send(signal);
            }
        } else if signal == SIGHUP {
            // One that waits will read what there is to read by then. The last place is for who asks to stop.
            if tell.is_empty() {
                let _ = tell.try_send(signal);
            }
        } else if let Some(times) = ignored.count() {
            let name = signal_hook::low_level::signal_name(signal);
            tracing::warn!(
                signal = name,
                times,
                "the signal is ignored; SIGTERM drains and stops, SIGHUP takes over the endpoints"
            );
        }
    }
}

/// A disk that hangs would keep the process for ever.
fn leave_in_the_end() {
    thread::sleep(LEAVE_PATIENCE);
    signal_hook::low_level::exit(1);
}

const STOPPING: [i32; 2] = [SIGTERM, SIGINT];

/// Each would end the process where it stands.
const IGNORED: [i32; 6] = [SIGUSR1, SIGUSR2, SIGALRM, SIGVTALRM, SIGPROF, SIGIO];

/// Signals that wait for their turn: one SIGHUP, and one that asks to stop.
const SIGNALS_MAX: usize = 2;

/// How long the end may take once it was asked for twice.
const LEAVE_PATIENCE: Duration = Duration::from_secs(10);
