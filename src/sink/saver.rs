//! The cursor of a sink that runs: saved about once a second, and a full disk is no reason to stop.

use super::statistics::Statistics;
use crate::feed::{Cursor, CursorError, Lanes};
use std::time::{Duration, Instant};

/// Saves the cursor of one sink.
pub struct CursorSaver {
    cursor: Cursor,
    /// When it was saved last, or that was tried.
    at: Instant,
    /// There was no space for it the last time, which was logged.
    lacks_space: bool,
}

impl CursorSaver {
    /// Saves `cursor`, as of now.
    pub fn new(cursor: Cursor) -> CursorSaver {
        CursorSaver {
            cursor,
            at: Instant::now(),
            lacks_space: false,
        }
    }

    /// The name of the sink.
    pub(super) fn sink(&self) -> &str {
        self.cursor.sink()
    }

    /// How far it had come in each lane when it was saved last.
    pub(super) fn saved(&self) -> &Lanes {
        self.cursor.saved()
    }

    /// Everything up to this sequence is confirmed in all lanes, and saved.
    pub(super) fn confirmed(&self) -> u64 {
        self.cursor.confirmed()
    }

    /// How long it has time before the next save, one each `interval`.
    pub(super) fn due_in(&self, interval: Duration) -> Duration {
        interval.saturating_sub(self.at.elapsed())
    }

    /// True if there was no space for it the last time.
    pub(super) fn lacks_space(&self) -> bool {
        self.lacks_space
    }

    /// Saves that the sink is at `lanes`; false if there is no space. Delivery goes on then, for that is what makes
    /// room; until it is saved, a crash repeats more.
    pub(super) fn save(
        &mut self,
        lanes: Lanes,
        statistics: &Statistics,
    ) -> Result<bool, CursorError> {
        self.at = Instant::now();
        match self.cursor.save(lanes) {
            Ok(()) => {
                self.lacks_space = false;
                statistics.confirmed.set(self.cursor.confirmed());
                Ok(true)
            }
            Err(error) if error.is_shortage() => {
                statistics.retries.add(1);
                if !std::mem::replace(&mut self.lacks_space, true) {
                    let sink = self.sink();
                    tracing::warn!(sink, %error, "there is no space for the cursor of the sink: it is saved when there is; a crash repeats what is delivered meanwhile; make room");
                }
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }
}

/// How often a cursor is saved: what a crash may deliver twice.
pub(super) const SAVE_INTERVAL: Duration = Duration::from_secs(1);
