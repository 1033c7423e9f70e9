//! What signals do to a server.
//!
//! | signal | effect |
//! |---|---|
//! | SIGTERM, SIGINT | drain and stop; the second one: leave as soon as everything answered is stored |
//! | SIGHUP | take over the endpoints of the configuration |
//! | SIGXFSZ | a write beyond a limit on file sizes is an error like others |
//! | SIGUSR1, SIGUSR2 and what else would end the process without a drain | a line that says so |

use super::super::error::CliError;
use crate::log::Repeats;
use crossbeam_channel::{Receiver, Sender, bounded};
use signal_hook::consts::{
    SIGALRM, SIGHUP, SIGINT, SIGIO, SIGPROF, SIGTERM, SIGUSR1, SIGUSR2, SIGVTALRM, SIGXCPU, SIGXFSZ,
};
use signal_hook::flag;
use signal_hook::iterator::Signals;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

/// Whether the endpoints were taken over, or the mistakes of the configuration.
pub(super) type Loaded = Result<(), CliError>;

/// What is sent to the main thread.
pub(super) enum Message {
    /// SIGHUP, and the first one that asks to stop.
    Signal(i32),
    /// What became of the configuration that was to be read again.
    Loaded(Box<Loaded>),
}

/// Where signals come out.
pub(super) struct Watched {
    pub(super) messages: Receiver<Message>,
    /// For others who send messages, each one at a time.
    pub(super) sender: Sender<Message>,
    /// The second one that asks to stop.
    pub(super) again: Receiver<()>,
}

/// Starts the thread that watches them.
pub(super) fn watch() -> Result<Watched, CliError> {
    let failed = |error| CliError::because("cannot watch signals", error);
    let watched = STOPPING.iter().chain([&SIGHUP]).chain(&IGNORED).copied();
    let signals = Signals::new(watched.chain(REAL_TIME)).map_err(failed)?;
    flag::register(SIGXFSZ, Arc::default()).map_err(failed)?;
    let (sender, messages) = bounded(MESSAGES_MAX);
    let (again_sender, again) = bounded(1);
    let signal_sender = sender.clone();
    thread::Builder::new()
        .name("hl-signal".to_owned())
        .spawn(move || pass_on(signals, &signal_sender, &again_sender))
        .map_err(failed)?;
    Ok(Watched {
        messages,
        sender,
        again,
    })
}

/// Never waits for the receiver, who may be busy starting.
fn pass_on(mut signals: Signals, sender: &Sender<Message>, again_sender: &Sender<()>) {
    let mut stopping = false;
    let ignored = Repeats::default();
    for signal in signals.forever() {
        if STOPPING.contains(&signal) {
            if std::mem::replace(&mut stopping, true) {
                let _ = again_sender.try_send(());
                leave_in_the_end();
            } else {
                let _ = sender.try_send(Message::Signal(signal));
            }
        } else if signal == SIGHUP {
            // One that waits will read what there is to read by then.
            if sender.len() < HANGUPS_MAX {
                let _ = sender.try_send(Message::Signal(signal));
            }
        } else if let Some(times) = ignored.count() {
            let name = signal_hook::low_level::signal_name(signal);
            let name = name.map_or_else(|| signal.to_string(), str::to_owned);
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
const IGNORED: [i32; 9] = [
    SIGUSR1, SIGUSR2, SIGALRM, SIGVTALRM, SIGPROF, SIGIO, SIGPWR, SIGSTKFLT, SIGXCPU,
];

/// SIGRTMIN to SIGRTMAX, which would do the same. The two below are the C library's own.
const REAL_TIME: RangeInclusive<i32> = 34..=64;

const SIGSTKFLT: i32 = 16;
const SIGPWR: i32 = 30;

/// Times that SIGHUP waits for its turn: once, and once more where a configuration that was read waits as well.
const HANGUPS_MAX: usize = 2;

/// Messages that wait for their turn: those, a configuration, and one that asks to stop.
const MESSAGES_MAX: usize = HANGUPS_MAX + 2;

/// How long the end may take once it was asked for twice.
const LEAVE_PATIENCE: Duration = Duration::from_secs(10);
