//! Delivers one by one to a receiver that may be slow, fail, or come and go.
//!
//! One thread, which never waits for a delivery: it reads the feeds of the three lanes, starts what may go, and takes
//! what comes back from the [`Transport`].
//!
//! - **Lanes**: messages go before statuses before the rest, and a part of the slots is theirs alone.
//! - **Order**: within a conversation, one after the other; conversations go beside each other ([`order`]).
//! - **Failures** are tried again with growing pauses ([`backoff`]). Meanwhile their conversation waits and the others
//!   do not; the cursor names what is open. After `max_attempts` that count ([`blame`]) it becomes a dead letter,
//!   durable before the cursor passes it.
//! - **A receiver that is away** is probed now and then ([`breaker`]), and no more is read for it meanwhile.
//! - **Replays and retried letters** come last.
//!
//! Memory is bounded: at most [`OPEN_MAX`](crate::feed::OPEN_MAX) items of each lane are under way, and the batches
//! that they keep in memory, each as a whole, take 32 MiB at most (beside the last one); where all of them fail, it is
//! somewhat more ([`reading`]). What has failed keeps a copy of its own notification instead of the whole batch that it
//! came in, and so does what is little of its batch once half of that is taken; all that is undone of one notification
//! shares that copy.

mod backoff;
mod blame;
mod breaker;
mod intake;
mod dead_letters;
mod order;
mod outcomes;
mod reading;
mod replaying;
mod in_flight;
mod source;

pub use backoff::Backoff;

use super::error::SinkError;
use super::leave::Leave;
use super::rate::Rate;
use super::replays::SinkReplays;
use super::saver::{CursorSaver, SAVE_INTERVAL};
use super::statistics::Statistics;
use super::transport::{Attempt, Failure, Outcome, Paths, Transport};
use crate::dead_letter::DeadLetters;
use crate::dedupe::Parties;
use crate::event::Lane;
use crate::feed::{Decided, Feed, Feeds, Selection, Tally};
use crate::log::Repeats;
use crate::relay::{Receiver, Sleeper};
use breaker::Breaker;
use dead_letters::Retried;
use in_flight::InFlightSet;
use intake::{Choice, Intake};
use reading::{goes_on, has_room, is_full, is_its_turn};
use replaying::Replaying;
use source::Source;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// What is delivered at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// The notification as it came.
    Notification,
    /// Each event by itself.
    Event,
}

/// How a sink delivers.
#[derive(Clone, Debug)]
pub struct Limits {
    /// What is delivered at once.
    pub unit: Unit,
    /// Events that go together in one delivery, at most.
    pub batch: usize,
    /// Deliveries under way at a time.
    pub concurrency: usize,
    /// Deliveries a second; 0 for no limit.
    pub rate: u64,
    /// Pauses between attempts.
    pub backoff: Backoff,
    /// After so many failures that count it becomes a dead letter.
    pub max_attempts: u32,
}

/// What the thread of such a sink runs.
pub struct Dispatcher {
    pub name: String,
    pub wanted: Selection,
    /// Which names belong to one party.
    pub parties: Parties,
    pub cursor: CursorSaver,
    /// What is given up.
    pub dead_letters: DeadLetters,
    /// What is asked for once more.
    pub replays: SinkReplays,
    /// How bodies were read, and which of them nobody can take apart.
    pub feeds: Feeds,
    /// The path of an endpoint's number in the journal.
    pub paths: Paths,
    /// The number of an endpoint's path in the journal; 0 if it has none any more.
    pub number: Box<dyn Fn(&str) -> u16 + Send>,
    pub limits: Limits,
    /// What takes the deliveries.
    pub transport: Box<dyn Transport>,
    /// What comes back; it wakes `sleeper`.
    pub outcomes: Receiver<Outcome>,
    /// What the thread sleeps on.
    pub sleeper: Arc<Sleeper>,
    pub statistics: Arc<Statistics>,
    /// Set when it is to end once it has delivered what is durable and can be delivered.
    pub stop: Arc<AtomicBool>,
    /// Asked when it is to end where it stands.
    pub leave: Arc<Leave>,
}

/// Its state while it runs.
struct Running {
    parts: Dispatcher,
    lanes: [Intake; 3],
    in_flight: InFlightSet,
    breaker: Breaker,
    rate: Rate,
    retried: Retried,
    replaying: Option<Replaying>,
    /// Deliveries that the receiver has taken.
    taken: u64,
    dead_letters_logged: bool,
    lines: Lines,
    /// What the counters said when it began.
    gone_before: u64,
    unaccounted_before: u64,
    /// Bodies that nobody can take apart, as far as they are counted.
    poisoned: u64,
    before: Tally,
}

/// Lines of the log that could come very often.
#[derive(Debug, Default)]
struct Lines {
    dead: Repeats,
    away: Repeats,
    retried: Repeats,
    unreadable: Repeats,
}

impl Dispatcher {
    /// Delivers until it is asked to stop, and then what is durable already and can be delivered at once. The feed of
    /// each lane, in the order of [`Lane::ALL`], begins behind what is confirmed in it; what is offered wakes the
    /// sleeper.
    pub fn run(self, feeds: [Feed<Decided>; 3]) -> Result<(), SinkError> {
        let statistics = Arc::clone(&self.statistics);
        let saved = self.cursor.saved();
        let mut lanes = feeds.into_iter().zip(&saved);
        let mut lanes = lanes.by_ref().zip(Lane::ALL);
        let lanes = std::array::from_fn(|_| {
            let ((feed, saved), lane) = lanes.next().expect("three of each");
            Intake::lane(feed, lane, saved.clone(), self.choice())
        });
        let mut running = Running {
            lanes,
            in_flight: InFlightSet::default(),
            breaker: Breaker::new(self.limits.backoff),
            rate: Rate::new(self.limits.rate),
            retried: Retried::new(self.feeds.quarantine.poison()),
            replaying: None,
            taken: 0,
            dead_letters_logged: false,
            lines: Lines::default(),
            gone_before: statistics.events.get() + statistics.dead.get(),
            unaccounted_before: statistics.unaccounted.get(),
            poisoned: 0,
            before: Tally {
                duplicates: statistics.duplicates.get(),
                unwanted: statistics.unwanted.get(),
                ..Tally::default()
            },
            parts: self,
        };
        running.publish();
        let ended = running.work();
        statistics.note_end(&ended);
        ended
    }

    /// What its lanes take.
    fn choice(&self) -> Choice {
        Choice {
            unit: self.limits.unit,
            wanted: self.wanted.clone(),
            parties: self.parties.clone(),
        }
    }
}

impl Running {
    fn work(mut self) -> Result<(), SinkError> {
        loop {
            let stopping = self.parts.stop.load(Ordering::Acquire);
            if self.parts.leave.is_asked() {
                return self.end_here();
            }
            while let Ok(Some(outcome)) = self.parts.outcomes.try_recv() {
                if let Err(gone) = self.ended(outcome) {
                    self.settle();
                    self.save()?;
                    return Err(gone);
                }
            }
            let now = Instant::now();
            self.wake(now);
            let mut has_more = match self.take_in(now) {
                Ok(has_more) => has_more,
                Err(error) => {
                    self.save()?;
                    return Err(error);
                }
            };
            if !stopping && !self.breaker.is_open() {
                has_more |= self.take_in_replay();
            }
            self.probe_with_what_waits(now);
            self.start(now, stopping);
            let idle = self.in_flight.under_way() == 0
                && Source::LANES
                    .iter()
                    .all(|it| self.in_flight.ready(*it) == 0);
            // What is behind as much as a cursor names is the next start's.
            let done = |(place, lane): (usize, &Intake)| {
                lane.is_at_end() || is_full(lane, &self.in_flight, Source::Lane(place))
            };
            let finished = stopping
                && (self.breaker.is_open() || idle && self.lanes.iter().enumerate().all(done));
            let interval = if stopping {
                STOP_SAVE_INTERVAL
            } else {
                SAVE_INTERVAL
            };
            if finished || self.parts.cursor.due_in(interval).is_zero() {
                self.save()?;
                self.look_after_replay();
                self.say_the_rest(finished);
                if !stopping {
                    self.take_up_dead_letters();
                }
            }
            if finished && self.in_flight.under_way() == 0 {
                return Ok(());
            }
            if !has_more {
                self.sleep(now, stopping);
            }
        }
    }

    /// What has happened since the last line about it, now and then and at the end.
    fn say_the_rest(&self, finished: bool) {
        let sink = &self.parts.name;
        let left = |lines: &Repeats| if finished { lines.end() } else { lines.left() };
        if let Some(times) = left(&self.lines.retried) {
            tracing::info!(
                sink,
                times,
                "dead letters were delivered after all since the last such line, and are removed"
            );
        }
        if let Some(times) = left(&self.lines.dead) {
            tracing::error!(
                sink,
                times,
                "events have become dead letters since the last such line; `{}` shows them",
                self.list_dead_letters()
            );
        }
    }

    /// Starts what may go, the most urgent first.
    fn start(&mut self, now: Instant, stopping: bool) {
        let limits = &self.parts.limits;
        // Some slots are for messages alone: a message is never to wait for a status to come back.
        let shared = limits.concurrency - limits.concurrency / 8;
        while self.in_flight.under_way() < limits.concurrency && self.rate.wait(now).is_none() {
            let sources = if self.in_flight.under_way() >= shared {
                &Source::ALL[..1]
            } else if stopping {
                // What is asked for once more goes on after the start.
                Source::LANES
            } else if self.replay_waits(now).is_some() {
                &Source::ALL[..4]
            } else {
                &Source::ALL[..]
            };
            let (mut source, mut batch) = (self.in_flight.first_ready(sources), limits.batch);
            if self.breaker.is_open() {
                // A probe goes alone, so that it fails for nobody else.
                (source, batch) = (self.in_flight.first_probe(sources).or(source), 1);
            }
            let Some(source) = source else {
                return;
            };
            if !self.breaker.permits(now) {
                return;
            }
            let Some((ticket, number, items)) = self.in_flight.take(source, batch) else {
                self.breaker.gave_up();
                continue;
            };
            self.rate.take(now, 1);
            let mut replay = None;
            if let (Source::Replay, Some(replaying)) = (source, &mut self.replaying) {
                replaying.rate.take(now, 1);
                replay = Some(Arc::clone(&replaying.id));
            }
            self.parts.transport.start(Attempt {
                ticket,
                items,
                number,
                replay,
            });
        }
    }

    fn save(&mut self) -> Result<(), SinkError> {
        self.publish();
        let lanes = self.lanes.each_ref().map(Intake::progress);
        self.parts.cursor.save(lanes, &self.parts.statistics)?;
        Ok(())
    }

    /// Draws the balance, and says how far each lane is.
    fn publish(&mut self) {
        let statistics = &self.parts.statistics;
        statistics.away.set(u64::from(self.breaker.is_open()));
        if self.in_flight.is_empty() {
            statistics.health.has_nothing_left();
        }
        let mut tally = Tally::default();
        let mut unaccounted = self.unaccounted_before;
        for (place, lane) in self.lanes.iter().enumerate() {
            tally += lane.tally;
            unaccounted += lane.unaccounted;
            let out = &statistics.lanes[place];
            let progress = lane.progress();
            out.confirmed.set(progress.confirmed);
            out.reached.set(progress.reached);
            out.open.set(lane.open() as u64);
            let oldest = [self.in_flight.oldest(Source::Lane(place)), lane.oldest()];
            out.oldest
                .set(oldest.into_iter().flatten().min().unwrap_or(0));
        }
        statistics.dead.add(tally.dead - self.poisoned);
        self.poisoned = tally.dead;
        // What was taken in is delivered, given up, or still here.
        let here: u64 = self.lanes.iter().map(Intake::waiting_events).sum();
        let gone = statistics.events.get() + statistics.dead.get() - self.gone_before;
        unaccounted += (tally.wanted + tally.dead).abs_diff(gone + here + self.in_flight.events());
        statistics
            .duplicates
            .set(self.before.duplicates + tally.duplicates);
        statistics
            .unwanted
            .set(self.before.unwanted + tally.unwanted);
        statistics.unaccounted.set(unaccounted);
        let reached = self.lanes.each_ref().map(Intake::reached);
        statistics
            .delivered
            .set(reached.into_iter().min().unwrap_or(0));
    }

    /// Until something comes, or comes due that was not at `now`.
    fn sleep(&self, now: Instant, stopping: bool) {
        let limits = &self.parts.limits;
        let room = |(place, lane): (usize, &Intake)| {
            let source = Source::Lane(place);
            !self.breaker.is_open()
                && is_its_turn(&self.lanes, &self.in_flight, place)
                && (has_room(lane, &self.in_flight, source, limits)
                    || !stopping && goes_on(lane, &self.in_flight, source))
        };
        let reads = |one: (usize, &Intake)| room(one) && !one.1.is_at_end();
        let idle = if self.lanes.iter().enumerate().any(reads) {
            GAP_WAIT
        } else if stopping {
            STOP_WAIT
        } else {
            IDLE_WAIT
        };
        let due = [
            self.in_flight.next_wake(),
            self.rate.wait(now),
            self.replay_waits(now),
            self.breaker.tries_by(),
        ];
        let due = due.into_iter().flatten().filter(|at| *at > now).min();
        let wait = due.map(|at| at.saturating_duration_since(Instant::now()));
        let wait = wait.map_or(idle, |wait| wait.min(idle));
        self.parts.sleeper.sleep(Some(wait), || {
            let has_more = |one: (usize, &Intake)| room(one) && one.1.has_more();
            !self.parts.outcomes.is_empty() || self.lanes.iter().enumerate().any(has_more)
        });
    }
}

/// How often the cursor is saved on the way out, whose time may be over at any moment.
const STOP_SAVE_INTERVAL: Duration = Duration::from_millis(50);

/// How long it sleeps when there is nothing to do, before it looks whether it is to stop, or asked to replay.
const IDLE_WAIT: Duration = Duration::from_millis(200);

/// The same on the way out.
const STOP_WAIT: Duration = Duration::from_millis(10);

/// How soon a gap in what came live is looked at again.
const GAP_WAIT: Duration = Duration::from_millis(2);

#[cfg(test)]
mod tests;
