//! What a loop has handed to the journal and which answers wait for it.
//!
//! Every record that a loop stores gets the loop's next *ticket*. Batches are committed in the order in which the loop
//! submits them, so one number, the ticket up to which everything is durable, releases all answers in
//! order: across connections and, because an answer that need not wait queues behind those that must,
//! within each connection.

use crate::http::head::Persistence;
use crate::journal::DurablePosition;
use crate::journal::batch::{Batch, Pool};
use crate::metrics::Histogram;
use crate::relay;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The way from a loop to the journal and back.
pub(super) struct Outbox {
    /// The batch that is being filled.
    batch: Batch,
    pool: Pool,
    commit: relay::Sender<Batch>,
    position: Arc<DurablePosition>,
    options: Options,
    origin: usize,
    /// Ticket of the last record.
    issued: u64,
    /// Batches that are not durable yet, oldest first; the last one may still be open.
    flights: VecDeque<Flight>,
    /// Answers in the order in which they may leave.
    waiting: VecDeque<Waiting>,
    /// Bytes that wait for the journal.
    pub(super) unacknowledged: usize,
    /// The commit thread's inbox was full: nothing more fits until it has taken something.
    refused: bool,
    /// Rounds that the open batch has seen.
    rounds: u32,
}

/// Bounds on what may be on the way.
#[derive(Clone, Copy, Debug)]
pub(super) struct Options {
    /// Bytes after which a batch leaves.
    pub(super) batch_bytes: usize,
    /// Bytes that may wait for the journal before the loop stops reading.
    pub(super) unacknowledged_max: usize,
    /// How long an answer may wait for the journal before it is a 503.
    pub(super) ack_deadline: Duration,
    /// How old the oldest record that is not durable may be, for answers that need not wait for it to be.
    pub(super) behind_max: Duration,
}

struct Flight {
    last_ticket: u64,
    bytes: usize,
    records: u64,
    opened_at: Instant,
    /// Its answers were given up.
    expired: bool,
}

/// An answer that waits.
pub(super) struct Waiting {
    ticket: u64,
    /// The connection, generation included.
    pub(super) token: usize,
    pub(super) reply: Reply,
}

/// An answer that waits for the disk, or behind one that does.
pub(super) enum Reply {
    /// 200 to a body that was stored.
    Ok {
        endpoint: u16,
        persistence: Persistence,
    },
    /// Rendered before.
    Bytes(Box<[u8]>),
}

impl Outbox {
    pub(super) fn new(
        origin: usize,
        pool: Pool,
        commit: relay::Sender<Batch>,
        position: Arc<DurablePosition>,
        options: Options,
    ) -> Outbox {
        Outbox {
            batch: pool.batch(),
            pool,
            commit,
            position,
            options,
            origin,
            issued: 0,
            flights: VecDeque::new(),
            waiting: VecDeque::new(),
            unacknowledged: 0,
            refused: false,
            rounds: 0,
        }
    }

    /// True while more may be stored.
    pub(super) fn has_room(&self) -> bool {
        !self.refused && self.unacknowledged < self.options.unacknowledged_max
    }

    /// True while requests are to be judged: because there is room, or because the journal is so late that they are
    /// refused at once.
    pub(super) fn admits(&self) -> bool {
        self.is_stalled() || self.has_room()
    }

    /// True when what is stored now would in all likelihood not be durable in time.
    pub(super) fn is_stalled(&self) -> bool {
        self.flights.front().is_some_and(|flight| flight.expired)
    }

    /// True when the journal is so late that no answer leaves before it is durable: else a stalled disk, and then the
    /// power, could take what was answered for as long as the stall.
    pub(super) fn is_behind(&self, now: Instant) -> bool {
        self.flights.front().is_some_and(|flight| {
            now.saturating_duration_since(flight.opened_at) >= self.options.behind_max
        })
    }

    /// Appends one record to the open batch.
    pub(super) fn store<'h>(
        &mut self,
        endpoint: u16,
        flags: u16,
        (now, unix_us): (Instant, u64),
        headers: impl Iterator<Item = (&'h [u8], &'h [u8])>,
        body: &[u8],
    ) {
        if self.batch.is_empty() {
            self.flights.push_back(Flight {
                last_ticket: 0,
                bytes: 0,
                records: 0,
                opened_at: now,
                expired: false,
            });
        }
        let before = self.batch.len();
        self.batch.append(endpoint, flags, unix_us, headers, body);
        self.issued += 1;
        let bytes = self.batch.len() - before;
        self.unacknowledged += bytes;
        let flight = self
            .flights
            .back_mut()
            .expect("a batch that is open has its flight");
        flight.last_ticket = self.issued;
        flight.bytes += bytes;
        flight.records += 1;
        if self.batch.len() >= self.options.batch_bytes {
            self.submit();
        }
    }

    /// Queues an answer behind everything that was stored so far.
    pub(super) fn wait(&mut self, token: usize, reply: Reply) {
        self.waiting.push_back(Waiting {
            ticket: self.issued,
            token,
            reply,
        });
    }

    /// True when the loop holds a batch that has to leave before it may sleep.
    pub(super) fn is_urgent(&self) -> bool {
        !self.refused && self.batch.needs_sync()
    }

    /// When a batch that nobody waits for has to leave.
    pub(super) fn next_departure(&self) -> Option<Instant> {
        let opened_at = self.flights.back()?.opened_at;
        (!self.batch.is_empty() && !self.refused).then_some(opened_at + LINGER)
    }

    /// Ends a round: a batch that answers wait for leaves after two of them, or at once when nothing else is to
    /// be done; one that nobody waits for gathers a little longer.
    pub(super) fn end_round(&mut self, idle: bool, now: Instant) {
        if self.batch.is_empty() {
            return;
        }
        self.rounds += 1;
        let due = if self.batch.needs_sync() {
            idle || self.rounds >= ROUNDS_MAX
        } else {
            self.next_departure().is_some_and(|at| at <= now)
        };
        if due {
            self.submit();
        }
    }

    /// Hands the open batch to the commit thread.
    pub(super) fn submit(&mut self) {
        if self.batch.is_empty() {
            return;
        }
        let mut batch = std::mem::replace(&mut self.batch, self.pool.batch());
        batch.origin = self.origin;
        batch.last_ticket = self.issued;
        match self.commit.try_send(batch) {
            Ok(()) => {
                self.rounds = 0;
                self.refused = false;
            }
            Err(batch) => {
                self.batch = batch;
                self.refused = true;
            }
        }
    }

    /// Takes note of what has become durable. Each flight is observed once, for all its records.
    pub(super) fn advance(&mut self, now: Instant, ack_seconds: &Histogram) {
        let durable = self.position.records();
        while let Some(flight) = self.flights.front() {
            if flight.records == 0 || flight.last_ticket > durable {
                break;
            }
            if !flight.expired {
                ack_seconds.observe(
                    now.saturating_duration_since(flight.opened_at),
                    flight.records,
                );
            }
            self.unacknowledged -= flight.bytes;
            self.flights.pop_front();
        }
        if self.refused {
            self.submit();
        }
    }

    /// The next answer that may leave.
    pub(super) fn release(&mut self) -> Option<Waiting> {
        let durable = self.position.records();
        self.waiting
            .pop_front_if(|waiting| waiting.ticket <= durable)
    }

    /// The next answer that has waited too long, or that waits for a journal that `failed`.
    pub(super) fn expire(&mut self, now: Instant, failed: bool) -> Option<Waiting> {
        let deadline = self.options.ack_deadline;
        for flight in self.flights.iter_mut().filter(|flight| !flight.expired) {
            flight.expired = failed || now.saturating_duration_since(flight.opened_at) >= deadline;
            if !flight.expired {
                break;
            }
        }
        let expired = self
            .flights
            .iter()
            .take_while(|flight| flight.expired)
            .last();
        let last_ticket = if failed {
            u64::MAX
        } else {
            expired?.last_ticket
        };
        self.waiting
            .pop_front_if(|waiting| waiting.ticket <= last_ticket)
    }

    /// When the oldest answer will have waited too long.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        let flight = self.flights.iter().find(|flight| !flight.expired)?;
        Some(flight.opened_at + self.options.ack_deadline)
    }

    /// True when everything that was stored is durable and every answer has been given out.
    pub(super) fn is_settled(&self) -> bool {
        self.flights.is_empty() && self.waiting.is_empty()
    }

    /// True while a batch waits for room in the inbox of the commit thread.
    pub(super) fn is_refused(&self) -> bool {
        self.refused
    }

    pub(super) fn position(&self) -> &DurablePosition {
        &self.position
    }

    /// True when something has become durable that [`Outbox::advance`] has not seen.
    pub(super) fn has_news(&self) -> bool {
        self.flights.front().is_some_and(|flight| {
            flight.records > 0 && flight.last_ticket <= self.position.records()
        })
    }
}

/// Rounds after which a batch leaves although the loop has more to do.
const ROUNDS_MAX: u32 = 2;

/// How long a batch gathers that no answer waits for: the fewer batches, the fewer wakes of the commit thread.
const LINGER: Duration = Duration::from_millis(2);
