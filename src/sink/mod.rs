//! Delivers events, waits for a confirmation whose strength it knows, and moves its cursor.
//!
//! Each sink has a thread, a [`Feed`] and a [`Cursor`]. An error is retried with growing pauses: the events stay in the
//! journal meanwhile, and no other sink notices.

mod file;
mod stdout;

pub use file::File;
pub use stdout::Stdout;

use crate::feed::{Cursor, CursorError, Delivery, Feed};
use crate::journal::{JournalError, Status};
use crate::metrics::Counter;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Where events go.
pub trait Sink: Send {
    /// Delivers the events of all notifications from sequence `from` on, and says how many these were. On an error
    /// everything from `from` on is delivered again.
    fn deliver(&mut self, delivery: &Delivery, from: u64) -> io::Result<u64>;

    /// Makes everything delivered as safe as [`Sink::confirmation`] says.
    fn confirm(&mut self) -> io::Result<()>;

    /// What a delivered event survives.
    fn confirmation(&self) -> Confirmation;
}

/// What a confirmed event survives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Confirmation {
    /// Handed to another process; if that fails it is gone, unless it is replayed.
    Memory,
    /// Held by several machines.
    Replicated,
    /// On disk.
    Fsynced,
}

/// What one sink counts.
#[derive(Debug, Default)]
pub struct Statistics {
    /// Events delivered.
    pub events: Counter,
    /// Highest sequence delivered.
    pub delivered: Counter,
    /// Highest sequence confirmed and saved.
    pub confirmed: Counter,
    /// Deliveries that failed and were tried again.
    pub retries: Counter,
}

/// Why a sink has stopped for good. Its events stay in the journal.
#[derive(Debug, thiserror::Error)]
pub enum SinkError {
    /// The journal cannot be read.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The cursor cannot be saved.
    #[error(transparent)]
    Cursor(#[from] CursorError),
    /// The reader of a pipe has gone.
    #[error("the reader of its output has gone")]
    Gone,
}

/// What a sink's thread runs.
#[derive(Debug)]
pub struct Runner {
    /// What to deliver.
    pub feed: Feed,
    /// How far it has come.
    pub cursor: Cursor,
    /// The journal's, to know when everything has been delivered.
    pub status: Arc<Status>,
    /// What it counts.
    pub statistics: Arc<Statistics>,
    /// Set when the sink is to end once it has delivered everything that is durable.
    pub stop: Arc<AtomicBool>,
    /// A line has said that there is no room for the cursor.
    pub told: bool,
}

impl Runner {
    /// Delivers until told to stop, and then what is durable already.
    pub fn run(mut self, sink: &mut dyn Sink) -> Result<(), SinkError> {
        let mut delivered = self.cursor.saved();
        let mut saved_at = Instant::now();
        loop {
            // Before the look at the feed: what became durable before the stop is delivered.
            let stopping = self.stop.load(Ordering::Acquire);
            let wait = if delivered > self.cursor.saved() {
                SAVE_INTERVAL.saturating_sub(saved_at.elapsed())
            } else {
                IDLE_WAIT
            };
            let wait = if stopping { Duration::ZERO } else { wait };
            let next = self.feed.next(wait)?;
            if let Some(delivery) = &next {
                self.deliver(sink, delivery, delivered + 1)?;
                delivered = delivery.last_sequence();
                self.statistics.delivered.set(delivered);
            }
            let finished = stopping && self.feed.position() > self.status.durable();
            if finished || (delivered > self.cursor.saved() && saved_at.elapsed() >= SAVE_INTERVAL)
            {
                self.confirm(sink, delivered)?;
                saved_at = Instant::now();
            }
            if finished {
                return Ok(());
            }
        }
    }

    fn deliver(
        &self,
        sink: &mut dyn Sink,
        delivery: &Delivery,
        from: u64,
    ) -> Result<(), SinkError> {
        let events = self.retry(|| sink.deliver(delivery, from))?;
        self.statistics.events.add(events);
        Ok(())
    }

    /// Only what is confirmed is behind the cursor. While there is no room for the cursor on a full disk it stays
    /// behind, and delivery goes on: that is what makes room.
    fn confirm(&mut self, sink: &mut dyn Sink, delivered: u64) -> Result<(), SinkError> {
        self.retry(|| sink.confirm())?;
        match self.cursor.save(delivered) {
            Ok(()) => {
                self.statistics.confirmed.set(delivered);
                self.told = false;
            }
            Err(error) if error.is_shortage() => {
                if !std::mem::replace(&mut self.told, true) {
                    tracing::warn!(%error, "delivery goes on; after a crash what comes now would come twice");
                }
            }
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }

    /// Tries until it works, with growing pauses. A pipe without a reader does not come back.
    fn retry<T>(&self, mut attempt: impl FnMut() -> io::Result<T>) -> Result<T, SinkError> {
        let mut pause = PAUSE_MIN;
        loop {
            match attempt() {
                Ok(value) => return Ok(value),
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                    return Err(SinkError::Gone);
                }
                Err(error) => {
                    self.statistics.retries.add(1);
                    if pause == PAUSE_MIN || pause == PAUSE_MAX {
                        tracing::warn!(%error, "delivery fails and is tried again; the events wait in the journal");
                    }
                    std::thread::sleep(pause);
                    pause = (2 * pause).min(PAUSE_MAX);
                }
            }
        }
    }
}

/// How often a cursor is saved: what a crash may deliver twice.
const SAVE_INTERVAL: Duration = Duration::from_secs(1);

/// How long a sink without anything to do waits before it looks whether it is to stop.
const IDLE_WAIT: Duration = Duration::from_millis(200);

const PAUSE_MIN: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(10);
