//! The sink: gathers rows, has them inserted, and knows where its row stands.

mod writing;

use super::super::statistics::{Confirmation, Statistics};
use super::super::stream::Sink;
use super::Options;
use super::connection::{Connection, Notices};
use super::failure::Failure;
use super::rows::Rows;
use super::take_over::{Known, Note, behind};
use crate::event::Position;
use crate::feed::{EventOutcome, Selection, Tally};
use crate::log::Repeats;
use crate::sink::delivery_id::{Identity, delivery_id};
use crate::worker::EventBatch;
use std::collections::HashSet;
use std::io;
use std::sync::Arc;
use tokio::runtime::{Builder, Runtime};

/// The sink.
pub struct Postgres {
    options: Options,
    statements: Statements,
    statistics: Arc<Statistics>,
    runtime: Runtime,
    connection: Option<Connection>,
    /// How the names begin by which the connections of this process take rows over.
    process: String,
    /// Connections that were tried.
    connections: u64,
    live: Progress,
    /// The replay that was delivered last.
    replay: Option<(String, Progress)>,
    /// The rows are of the replay.
    is_replay: bool,
    rows: Rows,
    /// Rows wait until there are enough of them.
    gathers: bool,
    /// The delivery that is being gathered: its last sequence and where it began, and what became of its events.
    gathering: Option<((u64, u64), Tally)>,
    /// Days that have a partition.
    days: HashSet<i64>,
    notices: Notices,
    as_text: Repeats,
    rejected: Repeats,
}

struct Statements {
    insert: String,
    reject: String,
    move_only: String,
}

/// How far something is.
#[derive(Debug)]
struct Progress {
    /// What it knows of that before it has seen its row.
    first: Option<Known>,
    /// Everything before it is in the table.
    at: Position,
    /// Everything before it is there, or gathered.
    next: Position,
}

impl Postgres {
    /// Connects to nothing yet.
    pub fn new(options: Options, statistics: Arc<Statistics>) -> io::Result<Postgres> {
        let mut random = [0; 8];
        rustix::rand::getrandom(&mut random, rustix::rand::GetRandomFlags::empty())?;
        let shape = &options.shape;
        Ok(Postgres {
            statements: Statements {
                insert: shape.insert(),
                reject: shape.reject(),
                move_only: shape.move_only(),
            },
            options,
            statistics,
            runtime: Builder::new_current_thread().enable_all().build()?,
            connection: None,
            process: format!("{:016x}.", u64::from_le_bytes(random)),
            connections: 0,
            live: Progress::new(0, None),
            replay: None,
            is_replay: false,
            rows: Rows::default(),
            gathers: false,
            gathering: None,
            days: HashSet::new(),
            notices: Notices::default(),
            as_text: Repeats::default(),
            rejected: Repeats::default(),
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

    /// Sees that there is a connection that has taken the row over. What the row says is there does not go out again.
    fn ready(&mut self) -> io::Result<()> {
        let replay = self.replay_name();
        let timeout = self.options.timeout;
        let open = self.connection.take();
        let open = self.runtime.block_on(async {
            let mut open = open?;
            let alive = tokio::time::timeout(timeout, open.is_alive()).await;
            alive.unwrap_or(false).then_some(open)
        });
        if let Some(connection) = open.as_ref()
            && connection.has(&replay)
        {
            self.connection = open;
            return Ok(());
        }
        self.connections += 1;
        let writer = format!("{}{}", self.process, self.connections);
        let is_replay = self.is_replay;
        let progress = self.progress();
        let known = progress.first.clone().unwrap_or(Known::Before {
            at: progress.at,
            until: progress.next,
            is_replay,
        });
        let (options, notices) = (&self.options, Arc::clone(&self.notices));
        let (process, runtime) = (&self.process, &self.runtime);
        let taken = runtime.block_on(async {
            let taking = async {
                let mut connection = match open {
                    Some(connection) => connection,
                    None => Connection::open(options, writer, notices).await?,
                };
                let taken = connection.take_over(options, &replay, &known, process);
                let decision = taken.await?;
                Ok::<_, Failure>((connection, decision))
            };
            let taken = tokio::time::timeout(timeout, taking).await;
            taken.unwrap_or_else(|_| Err(Failure::too_late("a connection and the sink's row")))
        });
        let (connection, decision) = match taken {
            Ok(taken) => taken,
            Err(failure) => {
                if let Failure::Behind(sequence) = failure {
                    self.go_back(sequence);
                }
                return Err(failure.into());
            }
        };
        self.statistics.note_confirmation(connection.confirmation);
        self.connection = Some(connection);
        if let Some(note) = decision.note {
            log(note, &self.options.sink, decision.at, &known);
        }
        let progress = self.progress();
        progress.at = decision.at;
        if progress.first.take().is_some() {
            progress.next = progress.next.max(decision.at);
        }
        self.rows.drop_before(decision.at);
        Ok(())
    }

    /// The table has less than was confirmed, and the runner goes back: nothing of what was gathered is to go out.
    fn go_back(&mut self, sequence: u64) {
        self.rows.clear();
        self.gathering = None;
        let (at, sink) = (behind(sequence), &self.options.sink);
        tracing::warn!(
            sink,
            %at,
            "the table of the sink lacks what it had confirmed, as after a restore or the change to a standby: what the journal has from there on is delivered again"
        );
        let until = self.live.next;
        self.live = Progress::new(sequence, None);
        // Until it has taken the row over, it may be anywhere up to there.
        self.live.first = Some(Known::Before {
            at,
            until,
            is_replay: false,
        });
    }

    /// Gathers what is wanted of a delivery, from the next event on, until there is enough. True when none is left.
    fn gather(&mut self, delivery: &EventBatch, wanted: &Selection, tally: &mut Tally) -> bool {
        let journal = self.options.journal.clone();
        let is_unique = self.options.shape.unique_ids;
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
                    let id = is_unique.then(|| delivery_id(&journal, event, Identity::Event, None));
                    self.rows.push(event, record.body, id.as_deref());
                }
            }
        }
        self.progress().next = next.max(begin);
        next == end
    }

    /// Has the rows inserted; `all`: and the position moved over what was not wanted.
    fn send(&mut self, all: bool) -> io::Result<()> {
        let mut count = usize::MAX;
        while !self.rows.is_empty() || all && self.progress().is_behind() {
            self.ready()?;
            let progress = self.progress();
            let next = progress.next;
            if progress.at >= next {
                break;
            }
            count = count.min(self.rows.len());
            let upto = self.rows.position(count).unwrap_or(next);
            let stored = match self.store(count, upto) {
                Err(Failure::Rows { .. }) if count > 1 => {
                    count = count.div_ceil(2);
                    continue;
                }
                Err(Failure::Rows { code, reason }) => self.store_odd(&code, &reason, upto),
                stored => stored,
            };
            if let Err(failure) = stored {
                // A statement may be under way there. And a partition may have gone.
                self.connection = None;
                self.days.clear();
                return Err(failure.into());
            }
            self.progress().at = upto;
            self.rows.drop_before(upto);
            count = count.saturating_mul(2).max(1);
        }
        Ok(())
    }
}

impl Sink for Postgres {
    fn resume(&mut self, confirmed: u64) -> io::Result<u64> {
        let state = self.options.cursor;
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
        Ok(())
    }

    fn confirmation(&self) -> Confirmation {
        Confirmation::Memory
    }
}

impl Progress {
    /// True if not everything is in the table that was gathered or passed over.
    fn is_behind(&self) -> bool {
        self.at < self.next
    }

    fn new(confirmed: u64, first: Option<Known>) -> Progress {
        Progress {
            first,
            at: behind(confirmed),
            next: behind(confirmed),
        }
    }
}

fn log(note: Note, sink: &str, at: Position, known: &Known) {
    let cursor = match known {
        Known::Cursor { confirmed, .. } => *confirmed,
        _ => 0,
    };
    match note {
        Note::Moved => tracing::info!(
            sink, %at,
            "the cursor of the sink was moved, and its position in the table goes there: events that stand there already may come a second time"
        ),
        Note::Beyond => tracing::warn!(
            sink, %at,
            "the position of the sink in the table is beyond the journal, which has lost its end or is an older copy, and goes back to it"
        ),
        Note::Behind => tracing::warn!(
            sink, %at, cursor,
            "the table of the sink has less than its cursor says, as after a restore: what the journal has from there on is delivered again"
        ),
    }
}
