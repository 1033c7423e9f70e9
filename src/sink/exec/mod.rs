//! Programs that take events from their standard input: a [`Transport`](super::Transport), one event a delivery.
//!
//! | `mode` | the program | an event is done when |
//! |---|---|---|
//! | `each`, [`Each`] | is started for each event, which is all it has to read | it ends with exit status 0 |
//! | `stream`, [`Stream`] | is started once and reads an event a line | it says so on its standard output |
//!
//! An event is its envelope, a line of JSON. A program of mode `stream` answers with a line for each, in any order:
//!
//! ```text
//! ok SEQ.INDEX
//! retry SEQ.INDEX [REASON]
//! ```
//!
//! where `SEQ.INDEX` is the envelope's `position`. In mode `each` what it prints is thrown away. In both, the last
//! words on its standard error stand beside the failure.
//!
//! **Environment**: no shell stands between, and nothing of the server's environment is passed on but `INHERITED`,
//! for secrets are kept there. Added are the [variables](Variables) of the sink, which go over those, then
//! `HOOKLINE_SINK`, the name of the sink, and in mode `each` `HOOKLINE_ATTEMPT`, from 1, and `HOOKLINE_REPLAY`, the
//! name of the replay that the event belongs to, or nothing. In both modes the envelope of a replayed event has an
//! attribute `replay`.
//!
//! **Ends**: a program leads a process group of its own. When it takes longer than the timeout, the group gets SIGTERM,
//! and SIGKILL a little later; the event is then tried again, whatever the exit status. None is left as a zombie.
//!
//! **A stop** of the server leaves programs under way the time that its own drain has, less a little for their end, and
//! never more than their timeout. What is ended because of that, or by a signal while the server stops (a supervisor
//! sends it to all processes of a service), was not tried: after the start it is the same attempt again.

mod each;
mod process;
mod stream;

pub use each::Each;
pub use stream::Stream;

use super::transport::{Attempt, Failure, FailureKind};
use crate::dead_letter::Answer;
use crate::event;
use std::ffi::OsStr;
use std::fmt;
use std::os::unix::ffi::OsStrExt as _;
use std::process::ExitStatus;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// What is run.
#[derive(Clone, Debug)]
pub struct Program {
    pub sink: String,
    /// The program and its arguments, at least the program.
    pub command: Vec<String>,
    /// What it gets of secrets.
    pub variables: Variables,
    /// How long an event may take.
    pub timeout: Duration,
    /// Set when the server is to stop.
    pub stop: Arc<AtomicBool>,
    /// How long the stop of the server may take.
    pub drain: Duration,
}

/// Variables of the environment with values that are kept to ourselves. `Debug` shows names only.
#[derive(Clone, Default)]
pub struct Variables(pub Vec<(String, Vec<u8>)>);

impl Variables {
    fn iter(&self) -> impl Iterator<Item = (&str, &OsStr)> {
        let all = self.0.iter();
        all.map(|(name, value)| (name.as_str(), OsStr::from_bytes(value)))
    }
}

impl fmt::Debug for Variables {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter().map(|it| it.0)).finish()
    }
}

impl Program {
    fn is_stopping(&self) -> bool {
        self.stop.load(Ordering::Acquire)
    }

    fn too_late(&self) -> Failure {
        let took = format!("the program took longer than {:?}", self.timeout);
        retry(format!("{took} and was ended"), None)
    }

    /// What has a time of its own is over by then when the server was seen to stop at `seen`.
    fn stops_at(&self, seen: Instant) -> Instant {
        seen + self.drain.saturating_sub(2 * self.end_patience(true))
    }

    /// How long a group has after SIGTERM.
    fn end_patience(&self, stopping: bool) -> Duration {
        if stopping {
            STOP_PATIENCE.min(self.drain / 8)
        } else {
            STOP_PATIENCE
        }
    }
}

/// It was ended because of the stop, or ended by itself because of what stops the server.
fn stopped() -> Failure {
    Failure::untried("the program was ended because the server or the sink stops")
}

/// The events of an attempt, one a line.
fn render(attempt: &Attempt) -> Vec<u8> {
    let mut bytes = Vec::new();
    for one in &attempt.items {
        let Some(notification) = one.notification() else {
            continue;
        };
        let wanted = |index| one.item.index.is_none_or(|only| only == index);
        for event in notification.events().filter(|it| wanted(it.index())) {
            let body = notification.record.body;
            event::render_replayed(event, body, attempt.replay.as_deref(), &mut bytes);
            bytes.push(b'\n');
        }
    }
    bytes
}

fn retry(reason: String, answer: Option<Answer>) -> Failure {
    Failure {
        kind: FailureKind::Retry { after: None },
        reason,
        answer,
    }
}

/// The exit status as a shell tells it.
fn code(status: ExitStatus) -> u16 {
    use std::os::unix::process::ExitStatusExt as _;
    let code = status
        .code()
        .or_else(|| status.signal().map(|signal| 128 + signal));
    code.and_then(|code| u16::try_from(code).ok())
        .unwrap_or(u16::MAX)
}

/// The last of what a program says on its standard error.
#[derive(Debug, Default)]
struct LastWords(Vec<u8>);

impl LastWords {
    fn add(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
        let surplus = self.0.len().saturating_sub(EXCERPT_MAX);
        self.0.drain(..surplus);
    }

    /// Printable, and not longer than an excerpt may be.
    fn excerpt(&self) -> String {
        let text = String::from_utf8_lossy(&self.0);
        let printable = |c: char| if c.is_control() { ' ' } else { c };
        let mut text: String = text.trim().chars().map(printable).collect();
        // What was no UTF-8 has grown.
        text.truncate(text.floor_char_boundary(EXCERPT_MAX));
        text
    }
}

/// Bytes of what a program said that are kept.
const EXCERPT_MAX: usize = 1024;

/// How long a group has after SIGTERM, at most.
const STOP_PATIENCE: Duration = Duration::from_secs(2);

/// How often it is looked whether the server is to stop.
const STOP_LOOK: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests;
