//! The cursor of a sink that runs: saved about once a second, and a full disk is no reason to stop. Where each lane is
//! delivered by a thread of its own, each has a saver that moves its lane alone.

use super::statistics::Statistics;
use crate::event::Lane;
use crate::feed::{Cursor, CursorError, Lanes};
use parking_lot::Mutex;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Saves the cursor of one sink.
pub struct CursorSaver {
    cursor: Arc<Mutex<Cursor>>,
    /// The name of the sink.
    sink: String,
    /// The only one that it moves.
    lane: Option<Lane>,
    /// When it was saved last, or that was tried.
    at: Instant,
    /// There was no space for it the last time, which was logged.
    lacks_space: bool,
}

impl CursorSaver {
    /// Saves `cursor`, as of now.
    pub fn new(cursor: Cursor) -> CursorSaver {
        CursorSaver {
            sink: cursor.sink().to_owned(),
            cursor: Arc::new(Mutex::new(cursor)),
            lane: None,
            at: Instant::now(),
            lacks_space: false,
        }
    }

    /// One for each lane, in the order of [`Lane::ALL`].
    pub fn of_lanes(cursor: Cursor) -> [CursorSaver; Lane::COUNT] {
        let whole = CursorSaver::new(cursor);
        Lane::ALL.map(|lane| CursorSaver {
            cursor: Arc::clone(&whole.cursor),
            sink: whole.sink.clone(),
            lane: Some(lane),
            at: whole.at,
            lacks_space: false,
        })
    }

    /// The only lane that it moves, if it is not for all.
    pub(super) fn lane(&self) -> Option<Lane> {
        self.lane
    }

    /// The name of the sink.
    pub(super) fn sink(&self) -> &str {
        &self.sink
    }

    /// How far it had come in each lane when it was saved last.
    pub(super) fn saved(&self) -> Lanes {
        self.cursor.lock().saved().clone()
    }

    /// Everything up to this sequence is confirmed in all its lanes, and saved.
    pub(super) fn confirmed(&self) -> u64 {
        let cursor = self.cursor.lock();
        let own = self.lane.and_then(|lane| cursor.saved().get(lane.index()));
        own.map_or_else(|| cursor.confirmed(), |progress| progress.confirmed)
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
        let mut cursor = self.cursor.lock();
        let saved = match self.lane.map(Lane::index) {
            None => cursor.save(lanes),
            Some(own) => {
                let mut all = cursor.saved().clone();
                all[own] = lanes[own].clone();
                cursor.save(all)
            }
        };
        match saved {
            Ok(()) => {
                statistics.confirmed.set(cursor.confirmed());
                drop(cursor);
                if std::mem::take(&mut self.lacks_space) {
                    let sink = self.sink();
                    tracing::info!(sink, "the cursor of the sink is saved again");
                }
                Ok(true)
            }
            Err(error) if error.is_shortage() => {
                drop(cursor);
                statistics.retries.add_beside_others(1);
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
