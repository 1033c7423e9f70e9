//! Delivers one ordered stream: batch after batch in journal order, by a thread that waits for each.

#[cfg_attr(
    not(any(feature = "postgres", feature = "redis")),
    allow(dead_code, reason = "what only some sinks use")
)]
pub(in crate::sink) mod positioned;
mod beside;
mod replaying;

use super::error::SinkError;
use super::health::Failing;
use super::leave::Leave;
use super::replays::SinkReplays;
use super::saver::{CursorSaver, SAVE_INTERVAL};
use super::statistics::{Confirmation, Statistics};
use crate::feed::{Decided, Feed, Lanes, Progress, Selection, Tally};
use crate::log::Repeats;
use crate::worker::EventBatch;
pub use beside::run_beside;
use replaying::Replaying;
use std::io::{self, ErrorKind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// Where events go.
pub trait Sink: Send {
    /// Everything up to sequence `confirmed` was confirmed before this process began, and deliveries begin behind it.
    /// A sink that can see what it was given beyond that looks now, and does not take that twice. Gives the sequence up
    /// to which its target has everything, where that keeps it itself: deliveries begin behind that one then.
    fn resume(&mut self, confirmed: u64) -> io::Result<u64> {
        Ok(confirmed)
    }

    /// Says whether what is delivered next is a backlog. Nobody waits for that, but for the disk that it may share with
    /// the journal.
    fn note_backlog(&mut self, is_backlog: bool) {
        let _ = is_backlog;
    }

    /// Says whether more follows at once. Then a sink may keep what is delivered, to write it together with that.
    fn note_more(&mut self, follows: bool) {
        let _ = follows;
    }

    /// Delivers the events that are wanted of all notifications from sequence `from` on, and says what became of how
    /// many. On an error everything from `from` on is delivered again.
    fn deliver(
        &mut self,
        delivery: &EventBatch,
        from: u64,
        wanted: &Selection,
    ) -> io::Result<Tally>;

    /// True while it keeps some of what was delivered.
    fn holds_back(&self) -> bool {
        false
    }

    /// Writes what it keeps. Called when nothing follows after all, and before what was delivered is confirmed.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }

    /// True when it would be confirmed now rather than in its time.
    fn is_due(&self) -> bool {
        false
    }

    /// Makes everything delivered, and flushed, as safe as [`Sink::confirmation`] says. On an error everything since
    /// the last time that it worked is delivered again, since nobody knows what of it is there.
    fn confirm(&mut self) -> io::Result<()>;

    /// Everything delivered is confirmed, and the cursor is saved: nothing of it comes again.
    fn saved(&mut self) {}

    /// What a delivered event survives.
    fn confirmation(&self) -> Confirmation;
}

/// An error of a sink that is no reason to try the same again; inside an [`io::Error`].
#[derive(Debug, thiserror::Error)]
enum Interrupt {
    /// Nothing goes on until a person has looked.
    #[error("{0}")]
    Stop(String),
    /// The target has less than was confirmed: everything up to this sequence.
    #[error("the target has only what stands up to sequence {0}")]
    Behind(u64),
}

/// What the thread of such a sink runs.
pub struct Runner {
    /// What to deliver.
    pub feed: Feed<Decided>,
    /// What somebody asks for once more; of several that run for one sink, one has all of it.
    pub replays: Option<SinkReplays>,
    /// Which events of it.
    pub wanted: Selection,
    pub cursor: CursorSaver,
    pub statistics: Arc<Statistics>,
    /// Set when the sink is to end once it has delivered everything that is durable.
    pub stop: Arc<AtomicBool>,
    /// Asked when it is to end where it stands.
    pub leave: Arc<Leave>,
}

/// Its state while it runs.
///
/// It keeps the sink's books. What comes in is what the extraction counted when it made the events, in sequences that
/// follow each other; what goes out is what the sink says that it delivered. With each delivery both are compared, by
/// this thread, between two deliveries, when nothing is on its way; and only the difference is published. So who
/// reads it at any time never sees an event that is merely in flight, and two mistakes never cancel out.
struct Running<'s> {
    parts: Runner,
    sink: &'s mut dyn Sink,
    /// Everything up to this sequence was delivered.
    delivered: u64,
    /// What of it nobody sees yet, since the sink keeps some of it.
    unseen: Tally,
    /// Everything up to this sequence was confirmed since this process began, or before.
    confirmed: u64,
    /// The target has lost something, and what it lacks was not read yet.
    went_back: bool,
    replaying: Option<Replaying>,
    /// When it was last looked whether a replay waits.
    looked_at: Instant,
    /// How long it waits after the next failed confirmation.
    pause: Duration,
    /// Deliveries after which the books did not balance, for the log.
    unbalanced: Repeats,
}

impl Runner {
    /// Delivers until it is asked to stop, and then what is durable already.
    pub fn run(self, sink: &mut dyn Sink) -> Result<(), SinkError> {
        let statistics = Arc::clone(&self.statistics);
        statistics.note_confirmed(self.feed.position() - 1, self.cursor.lane());
        let ended = Running::new(self, sink).work();
        statistics.note_end(&ended);
        ended
    }
}

impl<'s> Running<'s> {
    fn new(parts: Runner, sink: &'s mut dyn Sink) -> Running<'s> {
        let before = parts.feed.position() - 1;
        Running {
            parts,
            sink,
            delivered: before,
            unseen: Tally::default(),
            confirmed: before,
            went_back: false,
            replaying: None,
            looked_at: Instant::now(),
            pause: PAUSE_MIN,
            unbalanced: Repeats::default(),
        }
    }

    fn work(mut self) -> Result<(), SinkError> {
        let before = self.parts.cursor.confirmed();
        let there = self.retry(|it| it.sink.resume(before))?;
        if there != before {
            self.go_to(there)?;
        }
        loop {
            match self.round() {
                Ok(false) => {}
                Ok(true) => return Ok(()),
                Err(SinkError::Behind(there)) => self.go_to(there)?,
                Err(error) => return Err(error),
            }
        }
    }

    /// Delivers what comes next, or waits for it. True when everything is delivered and it was asked to stop.
    fn round(&mut self) -> Result<bool, SinkError> {
        if self.parts.leave.is_asked() {
            return self.end_here();
        }
        // Before the look at the feed: what became durable before the stop is delivered.
        let stopping = self.parts.stop.load(Ordering::Acquire);
        let next = match self.parts.feed.next(self.wait(stopping)) {
            Ok(next) => next,
            // Descriptors or memory come back; and nothing is lost by waiting.
            Err(error) if error.is_shortage() && !stopping => {
                self.flush()?;
                self.pause = self.failed(&io::Error::other(error), self.pause)?;
                return Ok(false);
            }
            Err(error) => {
                if let Some(first) = error.gone().filter(|_| self.went_back) {
                    self.pass_over_to(first);
                    return Ok(false);
                }
                self.leave();
                return Err(error.into());
            }
        };
        self.went_back = false;
        if let Some(delivery) = &next {
            self.note_oldest(delivery);
            let feed = &self.parts.feed;
            self.sink.note_backlog(feed.is_reading());
            self.sink.note_more(feed.is_reading() || feed.has_live());
            self.deliver(delivery)?;
        } else {
            self.flush()?;
        }
        let replayed = next.is_none() && !stopping && self.replay()?;
        let finished = stopping && self.parts.feed.is_at_end();
        if !finished && !replayed && !self.is_due() {
            return Ok(false);
        }
        self.flush()?;
        if !self.confirm()? {
            return Ok(false);
        }
        self.save()?;
        Ok(finished)
    }

    /// The target has everything up to `there`, whatever was confirmed: goes on behind that.
    fn go_to(&mut self, there: u64) -> Result<(), SinkError> {
        self.went_back = there < self.delivered;
        (self.delivered, self.confirmed) = (there, there);
        self.note_delivered();
        self.unseen = Tally::default();
        self.parts.feed.go_back_to(there + 1);
        self.replay_unconfirmed();
        // What it needs again stays in the journal from here on.
        self.save()
    }

    /// What it had to go back to is not in the journal any more.
    fn pass_over_to(&mut self, first: u64) {
        let (sink, from) = (self.parts.cursor.sink(), self.delivered + 1);
        tracing::error!(
            sink,
            from,
            first,
            "the target of the sink lacks what the journal does not have any more: it was away or restored for longer than the retention; delivery goes on with the first sequence that there is"
        );
        (self.delivered, self.confirmed) = (first - 1, first - 1);
        self.parts.feed.go_back_to(first);
    }

    /// How long it waits for what comes next.
    fn wait(&self, stopping: bool) -> Duration {
        if stopping || self.sink.holds_back() {
            return Duration::ZERO;
        }
        let cursor = &self.parts.cursor;
        let wait = if self.delivered > cursor.confirmed() {
            cursor.due_in(SAVE_INTERVAL)
        } else {
            IDLE_WAIT
        };
        wait.min(self.replay_waits().unwrap_or(wait))
    }

    /// Whether something was delivered that is to be confirmed and saved now.
    fn is_due(&self) -> bool {
        let cursor = &self.parts.cursor;
        let is_open = self.delivered > cursor.confirmed() || self.replay_is_open();
        let is_time = cursor.due_in(SAVE_INTERVAL).is_zero();
        is_open && (is_time || !cursor.lacks_space() && self.sink.is_due())
    }

    /// Has the sink write what it keeps.
    fn flush(&mut self) -> Result<(), SinkError> {
        if self.sink.holds_back() {
            self.retry(|it| it.sink.flush())?;
            self.show();
        }
        Ok(())
    }

    /// Counts what was delivered, once it is there.
    fn show(&mut self) {
        if self.sink.holds_back() {
            return;
        }
        let (statistics, tally) = (&self.parts.statistics, std::mem::take(&mut self.unseen));
        statistics.events.add_beside_others(tally.wanted);
        statistics.duplicates.add_beside_others(tally.duplicates);
        statistics.unwanted.add_beside_others(tally.unwanted);
        statistics.dead.add_beside_others(tally.dead);
        self.note_delivered();
    }

    /// With several lanes it is the one that is ahead.
    fn note_delivered(&self) {
        let delivered = &self.parts.statistics.delivered;
        let others = self.parts.cursor.lane().map_or(0, |_| delivered.get());
        delivered.set(self.delivered.max(others));
    }

    /// Confirms everything that was delivered. False if that failed, and all of it comes again.
    fn confirm(&mut self) -> Result<bool, SinkError> {
        let Err(error) = self.sink.confirm() else {
            self.note_works();
            self.replay_confirmed();
            (self.confirmed, self.pause) = (self.delivered, PAUSE_MIN);
            return Ok(true);
        };
        let kind = error.kind();
        if matches!(kind, ErrorKind::InvalidInput | ErrorKind::Unsupported) {
            return Err(SinkError::Unsyncable(error));
        }
        interrupted(&error)?;
        self.note_failing();
        self.pause = self.failed(&error, self.pause)?;
        self.parts.feed.go_back_to(self.confirmed + 1);
        self.replay_unconfirmed();
        self.delivered = self.confirmed;
        Ok(false)
    }

    fn save(&mut self) -> Result<(), SinkError> {
        let parts = &mut self.parts;
        let lanes = all_up_to(self.delivered);
        if parts.cursor.save(lanes, &parts.statistics)? {
            let lane = parts.cursor.lane();
            parts.statistics.note_confirmed(self.delivered, lane);
            self.sink.saved();
        }
        Ok(())
    }

    /// What was delivered is confirmed; whoever goes on begins behind that.
    fn end_here(&mut self) -> Result<bool, SinkError> {
        self.flush()?;
        if self.confirm()? {
            self.save()?;
        }
        Ok(true)
    }

    /// The journal cannot be read any further: what was delivered is not to come again with each start.
    fn leave(&mut self) {
        if self.sink.confirm().is_ok() {
            // Why it ends is said by what cannot be read.
            let _ = self.save();
        }
    }

    /// Nothing was taken since the last time that all was confirmed, so what comes now is the oldest that is not.
    fn note_oldest(&self, delivery: &EventBatch) {
        let mut notifications = delivery.notifications(self.delivered + 1);
        if let Some(first) = notifications.next() {
            let only = self.parts.cursor.lane();
            for lane in self.parts.statistics.of_lanes(only) {
                if lane.oldest.get() == 0 {
                    lane.oldest.set(first.record.received_at);
                }
            }
        }
    }

    /// Delivers everything that was not, and balances the books.
    fn deliver(&mut self, delivery: &EventBatch) -> Result<(), SinkError> {
        let from = self.delivered + 1;
        let tally = self.retry(|it| it.sink.deliver(delivery, from, &it.parts.wanted))?;
        self.delivered = delivery.last_sequence();
        self.unseen += tally;
        self.show();
        let statistics = &self.parts.statistics;
        let passed_over = delivery.first_sequence().saturating_sub(from);
        let unexplained = passed_over.abs_diff(self.parts.feed.take_set_aside());
        let lost = delivery.made_from(from).abs_diff(tally.all());
        if unexplained + lost > 0 {
            statistics.unaccounted.add_beside_others(unexplained + lost);
            if let Some(times) = self.unbalanced.count() {
                tracing::error!(
                    sink = self.parts.cursor.sink(),
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
    fn retry<T>(
        &mut self,
        mut attempt: impl FnMut(&mut Self) -> io::Result<T>,
    ) -> Result<T, SinkError> {
        let mut pause = PAUSE_MIN;
        loop {
            match attempt(self) {
                Ok(value) => {
                    if pause > PAUSE_MIN {
                        self.note_works();
                    }
                    return Ok(value);
                }
                Err(error) => {
                    interrupted(&error)?;
                    self.note_failing();
                    pause = self.failed(&error, pause)?;
                }
            }
        }
    }

    /// Nothing can be written, for `status` and the metrics.
    fn note_failing(&self) {
        self.parts.statistics.away.set(1);
    }

    /// Something was written again.
    fn note_works(&self) {
        let (sink, statistics) = (self.parts.cursor.sink(), &self.parts.statistics);
        statistics.away.set(0);
        statistics.health.taken(sink, true);
    }

    /// Waits for `pause`, and gives the next one, which is longer. A pipe without a reader does not come back.
    fn failed(&self, error: &io::Error, pause: Duration) -> Result<Duration, SinkError> {
        if error.kind() == ErrorKind::BrokenPipe {
            return Err(SinkError::Gone);
        }
        self.parts.statistics.retries.add_beside_others(1);
        let (sink, reason) = (self.parts.cursor.sink(), error.to_string());
        let health = &self.parts.statistics.health;
        health.failed(sink, &reason, Failing::Target);
        let until = Instant::now() + pause;
        while Instant::now() < until {
            let stopping = self.parts.stop.load(Ordering::Acquire);
            if self.parts.leave.is_asked() || stopping && pause > STOP_PAUSE_MAX {
                return Err(SinkError::Unfinished(error.to_string()));
            }
            thread::sleep(PAUSE_MIN);
        }
        Ok((2 * pause).min(PAUSE_MAX))
    }
}

/// An error for what is no reason to try the same again.
fn interrupted(error: &io::Error) -> Result<(), SinkError> {
    match error.get_ref().and_then(|it| it.downcast_ref()) {
        Some(Interrupt::Stop(reason)) => Err(SinkError::Displaced(reason.clone())),
        Some(Interrupt::Behind(there)) => Err(SinkError::Behind(*there)),
        None => Ok(()),
    }
}

/// A stream has all lanes in one: they move together.
fn all_up_to(sequence: u64) -> Lanes {
    std::array::from_fn(|_| Progress::up_to(sequence))
}

/// How long a sink without anything to do waits before it looks whether it is to stop.
const IDLE_WAIT: Duration = Duration::from_millis(200);

const PAUSE_MIN: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(5);

/// The same on the way out, where what still fails then is left to the next start.
const STOP_PAUSE_MAX: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests;
