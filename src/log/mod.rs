//! The log: what may not hold up, and not end, whoever has something to say.
//!
//! Lines go into a queue of `QUEUE_MAX` bytes, and one thread, `hl-log`, writes them to stderr. Whatever stderr is, a
//! pipe that nobody reads, one whose reader has gone, a file on a full disk: nobody else waits for it, and no error of
//! it reaches anybody. A line that finds no room, or cannot be written, is dropped and counted ([`dropped`]); once
//! lines can be written again, one says how many there were.
//!
//! A line is at most `LINE_MAX` bytes long; of a longer one each value is cut. A panic is a line like others. Who
//! ends the process calls [`flush`] before, which waits for a moment and no longer.

#[cfg(test)]
mod captured;
mod panics;
mod queue;
mod repeats;

#[cfg(test)]
pub(crate) use captured::captured;
pub use panics::log_panics;
pub use queue::{Writer, dropped, flush, is_running, say, start};
pub use repeats::Repeats;

use std::error::Error;

/// `text`, and the causes from `cause` on, each of which is said once: some errors repeat what lies below them.
pub fn with_causes(mut text: String, mut cause: Option<&dyn Error>) -> String {
    while let Some(error) = cause {
        let said = error.to_string();
        if !text.contains(&said) {
            text.push_str(": ");
            text.push_str(&said);
        }
        cause = error.source();
    }
    text
}
