//! What the connections of a loop share: it judges requests, stores bodies, counts.

use super::Options;
use super::clock::{Clock, ticks};
use super::control::Phase;
use super::memory_budget::MemoryBudget;
use super::outbox::Outbox;
use super::refusal_log::RefusalLog;
use super::statistics::Statistics;
use crate::endpoint::{Ack, Counters, Decision, Endpoint, Table};
use crate::http::head::{Head, Method};
use crate::http::response::Responses;
use crate::http::{Refusal, Status};
use crate::journal::State;
use crate::journal::record::{self, FLAG_FOREIGN, FLAG_RECEIVED};
use crossbeam_utils::CachePadded;
use mio::Registry;
use std::sync::Arc;

pub(super) struct Core {
    pub(super) index: usize,
    pub(super) options: Options,
    pub(super) registry: Registry,
    pub(super) outbox: Outbox,
    pub(super) responses: Responses,
    pub(super) clock: Clock,
    pub(super) statistics: Arc<Statistics>,
    pub(super) phase: Phase,
    /// State of the journal as of this round.
    pub(super) journal: State,
    /// What is served now has waited too long for room in the journal.
    pub(super) late: bool,
    /// Bytes that the connections hold.
    pub(super) memory_budget: MemoryBudget,
    table: Arc<Table>,
    refusals: RefusalLog,
    /// Counters by endpoint number: answers may leave after the table was replaced.
    counters: Vec<Option<Arc<[CachePadded<Counters>]>>>,
}

/// What becomes of a whole request.
pub(super) enum Outcome {
    /// In the batch. The answer waits for the disk where `ack` says so.
    Stored { endpoint: u16, ack: Ack },
    /// A handshake that matched.
    Challenge(Vec<u8>),
    /// Anything else.
    Refused(Refusal),
}

impl Core {
    pub(super) fn new(
        index: usize,
        options: Options,
        registry: Registry,
        outbox: Outbox,
        statistics: Arc<Statistics>,
    ) -> Core {
        let clock = Clock::new();
        Core {
            index,
            options,
            registry,
            outbox,
            responses: Responses::new(clock.unix_seconds()),
            clock,
            statistics,
            phase: Phase::Serving,
            journal: State::Open,
            late: false,
            memory_budget: MemoryBudget::new(options.partial_max),
            table: Arc::default(),
            refusals: RefusalLog::default(),
            counters: Vec::new(),
        }
    }

    pub(super) fn set_table(&mut self, table: Arc<Table>) {
        for endpoint in table.endpoints() {
            let number = usize::from(endpoint.number);
            if number >= self.counters.len() {
                self.counters.resize(number + 1, None);
            }
            self.counters[number] = Some(Arc::clone(&endpoint.counters));
        }
        self.table = table;
    }

    /// What the head alone decides.
    pub(super) fn admit(&mut self, head: &Head<'_, '_>) -> Result<(), Refusal> {
        let Some(endpoint) = self.table.route(head.path) else {
            return Err(self.refuse_path(head.path));
        };
        let admitted = endpoint
            .admit(head)
            .and_then(|_| self.journal_takes(head, endpoint.ack));
        admitted.map_err(|status| self.refuse(endpoint, status))
    }

    /// Judges a whole request and stores its body.
    pub(super) fn handle(&mut self, head: &Head<'_, '_>, body: &[u8]) -> Outcome {
        let Some(endpoint) = self.table.route(head.path) else {
            return Outcome::Refused(self.refuse_path(head.path));
        };
        let now = self.clock.unix_seconds();
        let counters = &*endpoint.counters[self.index];
        let decision = endpoint
            .admit(head)
            .and_then(|proved| {
                let decision = endpoint.decide(head, body, now, counters)?;
                if let Some(secret) = proved {
                    counters.note_verified(secret);
                }
                Ok(decision)
            })
            .and_then(|decision| self.journal_takes(head, endpoint.ack).map(|()| decision));
        match decision {
            Ok(Decision::Store) => {
                let received = u16::from(endpoint.ack == Ack::Received) * FLAG_RECEIVED;
                let foreign = u16::from(endpoint.foreign) * FLAG_FOREIGN;
                let flags = record::with_form(received | foreign, endpoint.form);
                let time = (self.clock.now, self.clock.unix_us);
                let kept = endpoint.kept(head.headers);
                self.outbox.store(endpoint.number, flags, time, kept, body);
                counters.body_bytes.add(body.len() as u64);
                self.statistics.stored.add(1);
                Outcome::Stored {
                    endpoint: endpoint.number,
                    ack: endpoint.ack,
                }
            }
            Ok(Decision::Challenge(challenge)) => {
                self.count_answer(endpoint.number, Status::Ok);
                Outcome::Challenge(challenge)
            }
            Err(status) => Outcome::Refused(self.refuse(endpoint, status)),
        }
    }

    /// The endpoint does not take it.
    fn refuse(&self, endpoint: &Endpoint, status: Status) -> Refusal {
        self.count_answer(endpoint.number, status);
        self.refusals.refused(endpoint, status, self.clock.now);
        Refusal {
            status,
            challenge: endpoint.proof.challenge(),
        }
    }

    /// No endpoint has the path.
    fn refuse_path(&self, path: &[u8]) -> Refusal {
        self.count_refusal(Status::NotFound);
        self.refusals.not_found(path, self.clock.now);
        Status::NotFound.into()
    }

    pub(super) fn count_answer(&self, endpoint: u16, status: Status) {
        if let Some(Some(counters)) = self.counters.get(usize::from(endpoint)) {
            counters[self.index].answers[status.index()].add(1);
        }
    }

    /// Counts a request that no endpoint has seen.
    pub(super) fn count_refusal(&self, status: Status) {
        self.statistics.refusals[status.index()].add(1);
    }

    /// 503 to a notification that could not be stored, or not in time: the platform sends it again.
    fn journal_takes(&self, head: &Head<'_, '_>, ack: Ack) -> Result<(), Status> {
        if head.method == Method::Get {
            return Ok(());
        }
        let waits =
            ack == Ack::Stored || !self.outbox.has_room() || self.outbox.is_behind(self.clock.now);
        let late = (self.late || self.outbox.is_stalled()) && waits;
        if late {
            self.statistics.expired.add(1);
        }
        if self.journal == State::Open && !late {
            Ok(())
        } else {
            Err(Status::ServiceUnavailable)
        }
    }

    /// Gives the commit thread what has gathered, which may be answered already; false while it has no room for it.
    pub(super) fn hands_all_over(&mut self) -> bool {
        self.outbox.submit();
        !self.outbox.is_refused() || self.journal == State::Failed
    }

    /// True while requests are to be judged, though it be to refuse them.
    pub(super) fn admits(&self) -> bool {
        self.late || self.outbox.admits()
    }

    /// The tick at which a connection that found no room in the journal at tick `since` has waited too long: half of
    /// the deadline is for this, and half for the journal. What was stored later would be answered too late.
    pub(super) fn late_at(&self, since: u64) -> u64 {
        since + ticks(self.options.ack_deadline / 2) + 1
    }
}
