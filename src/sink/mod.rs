//! Delivers events, waits for a confirmation whose strength it knows, and moves its cursor.
//!
//! Each sink has a thread, a [`Feed`] and a [`Cursor`]. An error is retried with growing pauses: the events stay in the
//! journal meanwhile, and no other sink notices.

mod replays;
mod dispatch;
mod exec;
mod file;
mod health;
#[cfg(feature = "http")]
pub mod http;
mod lines;
mod pull;
mod request_form;
mod stdout;
mod transport;

pub use dispatch::{Backoff, Dispatcher, Limits, Unit};
pub use exec::{Each, Program, Stream};
pub use file::{File, LateFile, Rotation};
pub use health::{Failing, Health};
pub use pull::{Ask, PAGE_KIB_MAX, Page, Pull, PullError, Source};
pub use replays::StreamReplays;
pub use request_form::RequestForm;
pub use stdout::Stdout;
pub use transport::{Outcomes, Paths, Transport};

use crate::feed::{Cursor, CursorError, Decided, Feed, FeedError, Progress, Selection, Tally};
use crate::log::Repeats;
use crate::metrics::Counter;
use crate::worker::EventBatch;
use std::io::{self, ErrorKind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

/// Where events go.
pub trait Sink: Send {
    /// Everything up to sequence `confirmed` was confirmed before this process began, and deliveries begin behind it.
    /// A sink that can see what it was given beyond that looks now, and does not take that twice.
    fn resume(&mut self, confirmed: u64) -> io::Result<()> {
        let _ = confirmed;
        Ok(())
    }

    /// Says whether what is delivered next is a backlog. Nobody waits for that, but for the disk that it may share with
    /// the journal.
    fn note_backlog(&mut self, is_backlog: bool) {
        let _ = is_backlog;
    }

    /// Delivers the events that are wanted of all notifications from sequence `from` on, and says what became of how
    /// many. On an error everything from `from` on is delivered again.
    fn deliver(
        &mut self,
        delivery: &EventBatch,
        from: u64,
        wanted: &Selection,
    ) -> io::Result<Tally>;

    /// True when it would be confirmed now rather than in its time.
    fn is_due(&self) -> bool {
        false
    }

    /// Makes everything delivered as safe as [`Sink::confirmation`] says. On an error everything since the last
    /// time that it worked is delivered again, since nobody knows what of it is there.
    fn confirm(&mut self) -> io::Result<()>;

    /// Everything delivered is confirmed, and the cursor is saved: nothing of it comes again.
    fn saved(&mut self) {}

    /// What a delivered event survives.
    fn confirmation(&self) -> Confirmation;
}

/// What a confirmed event survives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Confirmation {
    /// Handed to another process; if that fails it is gone, unless it is replayed.
    Memory,
    /// On disk.
    Fsynced,
}

/// What one sink counts.
#[derive(Debug, Default)]
pub struct Statistics {
    /// Events delivered.
    pub events: Counter,
    /// Events that were not delivered because an earlier one says the same.
    pub duplicates: Counter,
    /// Events that the sink did not ask for.
    pub unwanted: Counter,
    /// Events that were tried too often and are dead letters, and bodies that nobody can take apart.
    pub dead: Counter,
    /// Dead letters that were delivered after all.
    pub dead_letters: Counter,
    /// Deliveries of replays.
    pub replayed: Counter,
    /// How far each lane is, in the order of [`Lane::ALL`](crate::event::Lane::ALL).
    pub lanes: [LaneStatistics; 3],
    /// Highest sequence delivered.
    pub delivered: Counter,
    /// Highest sequence confirmed and saved.
    pub confirmed: Counter,
    /// Deliveries, and saves of the cursor, that failed and were tried again.
    pub retries: Counter,
    /// Events that neither went out nor wait to: 0, or there is a bug. See [`Runner`].
    pub unaccounted: Counter,
    /// 1 while the receiver is thought to be away: it gets nothing but a probe now and then.
    pub away: Counter,
    /// How its deliveries go.
    pub health: Health,
    /// 1 once the sink has stopped for good: its events stay in the journal until somebody looks.
    pub stopped: Counter,
    /// Why it has.
    pub reason: OnceLock<String>,
}

impl Statistics {
    /// Shows what a cursor says that stands still between two calls, with nothing under way that is known.
    fn note_progress(&self, cursor: &Cursor) {
        self.delivered.set(cursor.confirmed());
        self.confirmed.set(cursor.confirmed());
        for (lane, progress) in self.lanes.iter().zip(cursor.saved()) {
            lane.confirmed.set(progress.confirmed);
            lane.reached.set(progress.reached);
            lane.open.set(progress.open.len() as u64);
        }
    }

    /// Takes note of how the sink's thread has ended.
    fn note_end(&self, ended: &Result<(), SinkError>) {
        if let Err(error) = ended {
            // A sink runs once.
            let _ = self.reason.set(error.to_string());
            self.stopped.set(1);
        }
    }
}

/// How far a sink is in one lane; brought up to date about once a second.
#[derive(Debug, Default)]
pub struct LaneStatistics {
    /// Everything up to this sequence is confirmed.
    pub confirmed: Counter,
    /// Everything up to this sequence is confirmed or under way.
    pub reached: Counter,
    /// Deliveries under way, or waiting for an attempt.
    pub open: Counter,
    /// When the oldest of these arrived, in microseconds since 1970; 0 if there is none.
    pub oldest: Counter,
}

/// Why a sink has stopped for good. Its events stay in the journal.
#[derive(Debug, thiserror::Error)]
pub enum SinkError {
    /// There is nothing to be had any more.
    #[error(transparent)]
    Feed(#[from] FeedError),
    /// The cursor cannot be saved.
    #[error(transparent)]
    Cursor(#[from] CursorError),
    /// The receiver wants nothing any more.
    #[error(
        "{0}: the receiver says for good that it takes nothing; correct what it refuses, or remove the sink from the configuration, and restart"
    )]
    Refused(String),
    /// What it writes to keeps nothing that is synced: it would be written again without end.
    #[error("{0}: what it writes to cannot be synced; name a regular file, and restart")]
    Unsyncable(io::Error),
    /// It was asked to stop while deliveries failed.
    #[error("{0}: what is not delivered waits in the journal for the next start")]
    Unfinished(String),
    /// What delivers for it has ended.
    #[error("{0}: that is a fault of Hookline, and goes on after a restart")]
    Broken(String),
    /// The reader of a pipe has gone.
    #[error("the reader of its output has gone")]
    Gone,
}

/// What a sink's thread runs.
///
/// It keeps the sink's books. What comes in is what the extraction counted when it made the events, in sequences that
/// follow each other; what goes out is what the sink says that it delivered. With each delivery both are compared, by
/// this thread, between two deliveries, when nothing is on its way; and only the difference is published. So who
/// reads it at any time never sees an event that is merely in flight, and two mistakes never cancel out.
#[derive(Debug)]
pub struct Runner {
    /// What to deliver.
    pub feed: Feed<Decided>,
    /// What somebody asks for once more.
    pub replays: StreamReplays,
    /// Which events of it.
    pub wanted: Selection,
    pub cursor: Cursor,
    pub statistics: Arc<Statistics>,
    /// Set when the sink is to end once it has delivered everything that is durable.
    pub stop: Arc<AtomicBool>,
    /// Deliveries after which the books did not balance, for the log.
    pub unbalanced: Repeats,
}

impl Runner {
    /// Delivers until it is asked to stop, and then what is durable already.
    pub fn run(self, sink: &mut dyn Sink) -> Result<(), SinkError> {
        let statistics = Arc::clone(&self.statistics);
        self.note_confirmed(self.feed.position() - 1);
        let ended = self.work(sink);
        statistics.note_end(&ended);
        ended
    }

    fn work(mut self, sink: &mut dyn Sink) -> Result<(), SinkError> {
        let mut delivered = self.feed.position() - 1;
        let mut confirmed = delivered;
        let mut pause = PAUSE_MIN;
        let mut logged = false;
        let mut saved_at = Instant::now();
        let before = self.cursor.confirmed();
        self.retry(|| sink.resume(before))?;
        loop {
            // Before the look at the feed: what became durable before the stop is delivered.
            let stopping = self.stop.load(Ordering::Acquire);
            let wait = if delivered > self.cursor.confirmed() {
                SAVE_INTERVAL.saturating_sub(saved_at.elapsed())
            } else {
                IDLE_WAIT
            };
            let wait = wait.min(self.replays.waits().unwrap_or(wait));
            let wait = if stopping { Duration::ZERO } else { wait };
            let next = match self.feed.next(wait) {
                Ok(next) => next,
                // Descriptors or memory come back; and nothing is lost by waiting.
                Err(error) if error.is_shortage() && !stopping => {
                    self.failed(&io::Error::other(error), &mut pause)?;
                    continue;
                }
                Err(error) => {
                    self.leave(sink, delivered);
                    return Err(error.into());
                }
            };
            if let Some(delivery) = &next {
                self.note_oldest(delivery, delivered + 1);
                sink.note_backlog(self.feed.is_reading());
                self.deliver(sink, delivery, delivered + 1)?;
                delivered = delivery.last_sequence();
                self.statistics.delivered.set(delivered);
            }
            let mut replayed = false;
            if next.is_none() && !stopping {
                self.replays.look(&self.wanted);
                replayed = self.replay(sink)?;
            }
            let finished = stopping && self.feed.is_at_end();
            let is_open = delivered > self.cursor.confirmed() || self.replays.is_open();
            let due = replayed
                || is_open && (saved_at.elapsed() >= SAVE_INTERVAL || !logged && sink.is_due());
            if !finished && !due {
                continue;
            }
            if let Err(error) = sink.confirm() {
                if matches!(
                    error.kind(),
                    ErrorKind::InvalidInput | ErrorKind::Unsupported
                ) {
                    return Err(SinkError::Unsyncable(error));
                }
                self.note_failing();
                self.failed(&error, &mut pause)?;
                self.feed.go_back_to(confirmed + 1);
                self.replays.unconfirmed();
                delivered = confirmed;
                continue;
            }
            self.note_works();
            self.replays.confirmed();
            (confirmed, pause) = (delivered, PAUSE_MIN);
            saved_at = Instant::now();
            match self.cursor.save(all_up_to(delivered)) {
                Ok(()) => {
                    self.note_confirmed(delivered);
                    sink.saved();
                    logged = false;
                }
                // Delivery goes on, for that is what makes room; until then a crash repeats more.
                Err(error) if error.is_shortage() => {
                    self.statistics.retries.add(1);
                    if !std::mem::replace(&mut logged, true) {
                        let sink = self.cursor.sink();
                        tracing::warn!(sink, %error, "there is no space for the cursor of the sink: it is saved when there is; a crash repeats what is delivered meanwhile; make room");
                    }
                }
                Err(error) => return Err(error.into()),
            }
            if finished {
                return Ok(());
            }
        }
    }

    /// The journal cannot be read any further: what was delivered is not to come again with each start.
    fn leave(&mut self, sink: &mut dyn Sink, delivered: u64) {
        if sink.confirm().is_ok() && self.cursor.save(all_up_to(delivered)).is_ok() {
            self.note_confirmed(delivered);
        }
    }

    fn note_confirmed(&self, sequence: u64) {
        self.statistics.confirmed.set(sequence);
        for lane in &self.statistics.lanes {
            lane.confirmed.set(sequence);
            lane.reached.set(sequence);
            lane.oldest.set(0);
        }
    }

    /// Nothing was taken since the last time that all was confirmed, so what comes now is the oldest that is not.
    fn note_oldest(&self, delivery: &EventBatch, from: u64) {
        let mut notifications = delivery.notifications(from);
        if let Some(first) = notifications.next() {
            for lane in &self.statistics.lanes {
                if lane.oldest.get() == 0 {
                    lane.oldest.set(first.record.received_at);
                }
            }
        }
    }

    /// Delivers everything from `from` on, and balances the books.
    fn deliver(
        &mut self,
        sink: &mut dyn Sink,
        delivery: &EventBatch,
        from: u64,
    ) -> Result<(), SinkError> {
        let tally = self.retry(|| sink.deliver(delivery, from, &self.wanted))?;
        self.statistics.events.add(tally.wanted);
        self.statistics.duplicates.add(tally.duplicates);
        self.statistics.unwanted.add(tally.unwanted);
        self.statistics.dead.add(tally.dead);
        let passed_over = delivery.first_sequence().saturating_sub(from);
        let unexplained = passed_over.abs_diff(self.feed.take_set_aside());
        let lost = delivery.made_from(from).abs_diff(tally.all());
        if unexplained + lost > 0 {
            self.statistics.unaccounted.add(unexplained + lost);
            if let Some(times) = self.unbalanced.count() {
                tracing::error!(
                    sink = self.cursor.sink(),
                    from,
                    to = delivery.last_sequence(),
                    events = lost,
                    sequences = unexplained,
                    times,
                    "the books of the sink do not balance: this is a bug in Hookline; what is missing is in the journal: `hookline audit` says how much, and `hookline replay` delivers it again"
                );
            }
        }
        Ok(())
    }

    /// Tries until it works, with growing pauses.
    fn retry<T>(&self, mut attempt: impl FnMut() -> io::Result<T>) -> Result<T, SinkError> {
        let mut pause = PAUSE_MIN;
        let mut has_failed = false;
        loop {
            match attempt() {
                Ok(value) => {
                    if has_failed {
                        self.note_works();
                    }
                    return Ok(value);
                }
                Err(error) => {
                    has_failed = true;
                    self.note_failing();
                    self.failed(&error, &mut pause)?;
                }
            }
        }
    }

    /// Nothing can be written.
    fn note_failing(&self) {
        self.statistics.away.set(1);
    }

    /// Something was written again.
    fn note_works(&self) {
        if self.statistics.away.get() > 0 {
            self.statistics.away.set(0);
        }
        self.statistics.health.taken(self.cursor.sink(), true);
    }

    /// Waits for `pause`, which grows. A pipe without a reader does not come back.
    fn failed(&self, error: &io::Error, pause: &mut Duration) -> Result<(), SinkError> {
        if error.kind() == ErrorKind::BrokenPipe {
            return Err(SinkError::Gone);
        }
        self.statistics.retries.add(1);
        let (sink, reason) = (self.cursor.sink(), error.to_string());
        self.statistics
            .health
            .failed(sink, &reason, Failing::Target);
        let until = Instant::now() + *pause;
        while Instant::now() < until {
            if self.stop.load(Ordering::Acquire) && *pause > STOP_PAUSE_MAX {
                return Err(SinkError::Unfinished(error.to_string()));
            }
            std::thread::sleep(PAUSE_MIN);
        }
        *pause = (2 * *pause).min(PAUSE_MAX);
        Ok(())
    }
}

/// A stream has all lanes in one: they move together.
fn all_up_to(sequence: u64) -> [Progress; 3] {
    std::array::from_fn(|_| Progress::up_to(sequence))
}

/// How often a cursor is saved: what a crash may deliver twice.
const SAVE_INTERVAL: Duration = Duration::from_secs(1);

/// How long a sink without anything to do waits before it looks whether it is to stop.
const IDLE_WAIT: Duration = Duration::from_millis(200);

const PAUSE_MIN: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(10);

/// The same on the way out, where what still fails then is left to the next start.
const STOP_PAUSE_MAX: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests;
