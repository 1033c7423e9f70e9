//! A stream whose target keeps the sink's position itself, beside the events, and moves it in the transaction that
//! stores them: each event is there exactly once.
//!
//! There is one writer, in the order of the journal. Events gather in memory, a few MiB at most, and one transaction
//! stores them and moves the position. What the target says is true, whatever the cursor says:
//!
//! | what happened | what follows |
//! |---|---|
//! | Hookline or the server was killed, or a connection was lost | nobody knows whether the last transaction was done; the position says it, and it goes on behind that |
//! | `hookline cursor seek`, or another cursor that is new | the position moves to where the cursor is, with the first connection |
//! | the target was restored from a backup, or its standby took over and lacks the end | the position is behind: what the target lacks is delivered again, as far as the journal has it |
//! | the journal was restored from a backup | the position is beyond its end, and goes back to that |
//! | another process writes as the same sink from a copy of the journal | whoever connects last goes on; the other one stops, and says so |
//!
//! What is peculiar to a target is its [`PositionKeeper`]. A transaction of a connection that is given up may still be
//! under way at the server, and be done later: each connection takes the position over under a name of its own before
//! anything else, and what comes behind that under another name does nothing.

mod failure;
mod rows;
mod take_over;

pub(in crate::sink) use failure::Failure;
pub(in crate::sink) use rows::Rows;
pub use take_over::CursorState;
pub(in crate::sink) use take_over::{Decision, Known, Note, Stored, behind};

use super::Sink;
use crate::event::{Event, Position};
use crate::feed::{EventOutcome, Selection, Tally};
use crate::sink::statistics::{Confirmation, Statistics};
use crate::worker::EventBatch;
use std::io;
use std::sync::Arc;

/// Stores events, and the position with them.
pub(in crate::sink) trait PositionKeeper: Send {
    /// What it keeps of an event beside its texts.
    type Row: Send;

    /// True if there is a connection that works, as far as anybody knows, and has taken the position over, for what is
    /// live (an empty name) or for a replay. Gives up one that does not work.
    fn is_ready(&mut self, replay: &str) -> bool;

    /// Takes the position over, over a new connection if there is none, and decides where the sink goes on.
    fn take_over(
        &mut self,
        replay: &str,
        known: &Known,
        writer: &Writer<'_>,
    ) -> Result<Taken, Failure>;

    /// Adds an event to those that gather.
    fn push(&self, rows: &mut Rows<Self::Row>, event: Event<'_>, raw_body: &[u8]);

    /// Stores the first rows and moves the position, both or neither.
    fn store(&mut self, rows: &Rows<Self::Row>, step: &Step<'_>) -> Result<(), Failure>;

    /// The target does not take the first row as it is: stores what it takes, and moves the position.
    fn store_odd(
        &mut self,
        rows: &Rows<Self::Row>,
        step: &Step<'_>,
        why: (&str, &str),
    ) -> Result<(), Failure> {
        let _ = (rows, step);
        Err(Failure::Retry(why.1.to_owned()))
    }

    /// True if something was stored that is not as safe yet as a confirmation says.
    fn is_unconfirmed(&self) -> bool {
        false
    }

    /// Makes what was stored as safe as that, over a connection that has taken the position over.
    fn confirm(&mut self) -> Result<(), Failure> {
        Ok(())
    }

    /// Gives the connection up, on which a transaction may be under way.
    fn disconnect(&mut self);

    /// A line that says why it goes on elsewhere.
    fn log(&self, note: Note, at: Position, known: &Known);

    /// A line that says that the target lacks what it had confirmed, and goes on from there.
    fn log_loss(&self, at: Position);
}

/// By what name a connection takes the position over.
pub(in crate::sink) struct Writer<'w> {
    /// How all names of this process begin.
    pub(in crate::sink) process: &'w str,
    /// That of this connection, if it is new.
    pub(in crate::sink) name: &'w str,
}

/// What came of taking the position over.
pub(in crate::sink) struct Taken {
    pub(in crate::sink) decision: Decision,
    pub(in crate::sink) confirmation: Confirmation,
}

/// One transaction.
pub(in crate::sink) struct Step<'s> {
    /// The replay whose rows these are; empty for what is live.
    pub(in crate::sink) replay: &'s str,
    /// So many rows; with none the position alone moves.
    pub(in crate::sink) count: usize,
    /// Where the position is.
    pub(in crate::sink) from: Position,
    /// Where it goes.
    pub(in crate::sink) upto: Position,
}

/// The sink: gathers rows, has them stored, and knows where its position stands.
pub(in crate::sink) struct Positioned<K: PositionKeeper> {
    keeper: K,
    statistics: Arc<Statistics>,
    cursor: CursorState,
    /// How the names begin by which the connections of this process take the position over.
    process: String,
    /// Connections that were tried.
    connections: u64,
    live: Progress,
    /// The replay that was delivered last.
    replay: Option<(String, Progress)>,
    /// The rows are of the replay.
    is_replay: bool,
    rows: Rows<K::Row>,
    /// Rows wait until there are enough of them.
    gathers: bool,
    /// The delivery that is being gathered: its last sequence and where it began, and what became of its events.
    gathering: Option<((u64, u64), Tally)>,
}

/// How far something is.
#[derive(Debug)]
struct Progress {
    /// What it knows of that before it has seen its position.
    first: Option<Known>,
    /// Everything before it is in the target.
    at: Position,
    /// Everything before it is there, or gathered.
    next: Position,
    /// Nothing from here on was ever sent. It stays when what was not confirmed comes again.
    sent: Position,
}

impl<K: PositionKeeper> Positioned<K> {
    /// Connects to nothing yet.
    pub(in crate::sink) fn new(
        keeper: K,
        cursor: CursorState,
        statistics: Arc<Statistics>,
    ) -> io::Result<Positioned<K>> {
        let mut random = [0; 8];
        rustix::rand::getrandom(&mut random, rustix::rand::GetRandomFlags::empty())?;
        Ok(Positioned {
            keeper,
            statistics,
            cursor,
            process: format!("{:016x}.", u64::from_le_bytes(random)),
            connections: 0,
            live: Progress::new(0, None),
            replay: None,
            is_replay: false,
            rows: Rows::default(),
            gathers: false,
            gathering: None,
        })
    }

    fn progress(&mut self) -> &mut Progress {
        match &mut self.replay {
            Some((_, progress)) if self.is_replay => progress,
            _ => &mut self.live,
        }
    }

    /// The name of the replay whose rows these are; empty for what is live.
    fn replay_name(&self) -> String {
        let replay = self.replay.as_ref().filter(|_| self.is_replay);
        replay.map(|(name, _)| name.clone()).unwrap_or_default()
    }

    /// What is gathered from now on is of this replay, from sequence `from` on, or live.
    fn turn_to(&mut self, replay: Option<&str>, from: u64) -> io::Result<()> {
        let known = self.replay.as_ref().map(|(name, _)| name.as_str());
        let is_known = replay.is_none() || known == replay;
        if is_known && self.is_replay == replay.is_some() {
            return Ok(());
        }
        self.send(false)?;
        self.gathering = None;
        if let Some(name) = replay.filter(|_| !is_known) {
            let progress = Progress::new(from - 1, Some(Known::Replay { from }));
            self.replay = Some((name.to_owned(), progress));
        }
        self.is_replay = replay.is_some();
        self.ready()
    }

    /// Sees that there is a connection that has taken the position over. What that says is there does not go out again.
    fn ready(&mut self) -> io::Result<()> {
        let replay = self.replay_name();
        if self.keeper.is_ready(&replay) {
            return Ok(());
        }
        self.connections += 1;
        let name = format!("{}{}", self.process, self.connections);
        let is_replay = self.is_replay;
        let progress = self.progress();
        let known = progress.first.clone().unwrap_or(Known::Before {
            at: progress.at,
            until: progress.sent.max(progress.at),
            is_replay,
        });
        let writer = Writer {
            process: &self.process,
            name: &name,
        };
        let taken = match self.keeper.take_over(&replay, &known, &writer) {
            Ok(taken) => taken,
            Err(failure) => {
                self.keeper.disconnect();
                if let Failure::Behind(sequence) = failure {
                    self.go_back(sequence);
                }
                return Err(failure.into());
            }
        };
        let decision = taken.decision;
        self.statistics.note_confirmation(taken.confirmation);
        if let Some(note) = decision.note {
            self.keeper.log(note, decision.at, &known);
        }
        let progress = self.progress();
        progress.at = decision.at;
        if progress.first.take().is_some() {
            progress.next = progress.next.max(decision.at);
        }
        self.rows.drop_before(decision.at);
        Ok(())
    }

    /// The target has less than was confirmed, and the runner goes back: nothing of what was gathered is to go out.
    fn go_back(&mut self, sequence: u64) {
        self.rows.clear();
        self.gathering = None;
        let at = behind(sequence);
        self.keeper.log_loss(at);
        let until = self.live.sent.max(self.live.at);
        self.live = Progress::new(sequence, None);
        // Until it has taken the position over, it may be anywhere up to there.
        self.live.first = Some(Known::Before {
            at,
            until,
            is_replay: false,
        });
        self.live.sent = until;
    }

    /// Gathers what is wanted of a delivery, from the next event on, until there is enough. True when none is left.
    fn gather(&mut self, delivery: &EventBatch, wanted: &Selection, tally: &mut Tally) -> bool {
        let progress = self.progress();
        let (begin, at) = (progress.next, progress.at);
        let end = behind(delivery.last_sequence());
        let mut next = end;
        'all: for notification in delivery.notifications(begin.sequence) {
            if !wanted.reaches(notification.sequence) {
                break;
            }
            let record = notification.record;
            for event in notification.events() {
                let position = event.position();
                if position < begin {
                    continue;
                }
                if self.rows.are_enough() {
                    next = position;
                    break 'all;
                }
                let outcome = wanted.outcome(event, record.endpoint);
                if outcome != EventOutcome::Wanted {
                    tally.count(outcome);
                } else if position < at {
                    tally.before += 1;
                } else {
                    tally.count(outcome);
                    self.keeper.push(&mut self.rows, event, record.body);
                }
            }
        }
        self.progress().next = next.max(begin);
        next == end
    }

    /// Has the rows stored; `all`: and the position moved over what was not wanted.
    fn send(&mut self, all: bool) -> io::Result<()> {
        let mut count = usize::MAX;
        while !self.rows.is_empty() || all && self.progress().is_behind() {
            self.ready()?;
            let progress = self.progress();
            let (from, next) = (progress.at, progress.next);
            if from >= next {
                break;
            }
            count = count.min(self.rows.len());
            let upto = self.rows.position(count).unwrap_or(next);
            let progress = self.progress();
            progress.sent = progress.sent.max(upto);
            let replay = self.replay_name();
            let step = Step {
                replay: &replay,
                count,
                from,
                upto,
            };
            let stored = match self.keeper.store(&self.rows, &step) {
                Err(Failure::Rows { .. }) if count > 1 => {
                    count = count.div_ceil(2);
                    continue;
                }
                Err(Failure::Rows { code, reason }) => {
                    let why = (code.as_str(), reason.as_str());
                    self.keeper.store_odd(&self.rows, &step, why)
                }
                stored => stored,
            };
            if let Err(failure) = stored {
                self.keeper.disconnect();
                return Err(failure.into());
            }
            self.progress().at = upto;
            self.rows.drop_before(upto);
            count = count.saturating_mul(2).max(1);
        }
        Ok(())
    }
}

impl<K: PositionKeeper> Sink for Positioned<K> {
    fn resume(&mut self, confirmed: u64) -> io::Result<u64> {
        let state = self.cursor;
        self.live = Progress::new(confirmed, Some(Known::Cursor { confirmed, state }));
        self.ready()?;
        Ok(self.live.at.sequence - 1)
    }

    fn note_more(&mut self, follows: bool) {
        self.gathers = follows;
    }

    fn deliver(
        &mut self,
        delivery: &EventBatch,
        from: u64,
        wanted: &Selection,
    ) -> io::Result<Tally> {
        let replay = wanted.replay.as_ref().map(|replay| &*replay.id);
        self.turn_to(replay, from)?;
        let of = (delivery.last_sequence(), from);
        let mut tally = match self.gathering.take() {
            // An error came between.
            Some((before, tally)) if before == of => tally,
            _ => {
                self.rows.truncate(from);
                self.progress().next = behind(from - 1);
                Tally::default()
            }
        };
        loop {
            let is_whole = self.gather(delivery, wanted, &mut tally);
            // Where it goes on after an error, unless that takes it back.
            self.gathering = Some((of, tally));
            if !self.gathers || self.rows.are_enough() {
                self.send(false)?;
            }
            if is_whole {
                self.gathering = None;
                return Ok(tally);
            }
        }
    }

    fn holds_back(&self) -> bool {
        !self.rows.is_empty()
    }

    fn flush(&mut self) -> io::Result<()> {
        self.send(false)
    }

    fn confirm(&mut self) -> io::Result<()> {
        self.gathering = None;
        self.send(true)?;
        // What is live moves on too while a replay goes on.
        if self.is_replay && self.live.is_behind() {
            self.is_replay = false;
            let moved = self.send(true);
            self.is_replay = true;
            moved?;
        }
        if !self.keeper.is_unconfirmed() {
            return Ok(());
        }
        self.ready()?;
        let confirmed = self.keeper.confirm();
        confirmed.map_err(|failure| {
            self.keeper.disconnect();
            failure.into()
        })
    }

    fn confirmation(&self) -> Confirmation {
        Confirmation::Memory
    }
}

impl Progress {
    /// True if not everything is in the target that was gathered or passed over.
    fn is_behind(&self) -> bool {
        self.at < self.next
    }

    fn new(confirmed: u64, first: Option<Known>) -> Progress {
        Progress {
            first,
            at: behind(confirmed),
            next: behind(confirmed),
            sent: behind(confirmed),
        }
    }
}

#[cfg(test)]
mod tests;
