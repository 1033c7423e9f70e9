//! What signals do to a server.
//!
//! | signal | effect |
//! |---|---|
//! | SIGTERM, SIGINT | drain and stop |
//! | the same within a second | the same wish: service managers send two, to the process and to its group |
//! | the same later | leave as soon as everything answered is stored |
//! | SIGHUP | take over the endpoints and the sinks of the configuration |
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
use std::time::{Duration, Instant};

/// Whether endpoints and sinks were taken over, or the mistakes of the configuration.
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
    /// Another one that asks to stop, later.
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
    let mut stopping: Option<Instant> = None;
    let (ignored, repeated) = (Repeats::default(), Repeats::default());
    let name_of = |signal: i32| {
        let name = signal_hook::low_level::signal_name(signal);
        name.map_or_else(|| signal.to_string(), str::to_owned)
    };
    for signal in signals.forever() {
        if STOPPING.contains(&signal) {
            match stopping {
                None => {
                    stopping = Some(Instant::now());
                    let _ = sender.try_send(Message::Signal(signal));
                }
                Some(since) if since.elapsed() < SAME_WISH => {
                    if let Some(times) = repeated.count() {
                        tracing::info!(
                            signal = name_of(signal),
                            times,
                            "the signal came within a second of the first one that asks to stop, as service managers send two: the drain goes on; one that comes later stops at once"
                        );
                    }
                }
                Some(_) => {
                    let _ = again_sender.try_send(());
                    leave_in_the_end();
                }
            }
        } else if signal == SIGHUP {
            // One that waits will read what there is to read by then.
            if sender.len() < HANGUPS_MAX {
                let _ = sender.try_send(Message::Signal(signal));
            }
        } else if let Some(times) = ignored.count() {
            tracing::warn!(
                signal = name_of(signal),
                times,
                "the signal is ignored; SIGTERM drains and stops, SIGHUP takes over the endpoints and sinks of the configuration"
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

/// For how long after the first one another signal that asks to stop asks for the same.
const SAME_WISH: Duration = Duration::from_secs(1);

/// How long the end may take once it was asked for twice.
const LEAVE_PATIENCE: Duration = Duration::from_secs(10);
