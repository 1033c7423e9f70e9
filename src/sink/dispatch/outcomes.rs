//! What follows from an outcome.

use super::blame::Fault;
use super::in_flight::Ahead;
use super::source::Source;
use super::{Running, SinkError};
use crate::event::Item;
use crate::relay::Closed;
use crate::sink::health::Failing;
use crate::sink::transport::{Failure, FailureKind, Outcome};
use std::time::{Duration, Instant};

impl Running {
    /// A delivery has ended. An error when the receiver wants no more.
    pub(super) fn ended(&mut self, outcome: Outcome) -> Result<(), SinkError> {
        let tickets = self.in_flight.ended(outcome.ticket);
        let ahead = self.in_flight.take_ahead(&tickets);
        let Err(failure) = outcome.result else {
            self.taken(tickets, ahead);
            return Ok(());
        };
        let now = Instant::now();
        let fault = match failure.kind {
            FailureKind::Retry { .. } => Fault::Failed,
            FailureKind::Busy { .. } => Fault::Busy,
            FailureKind::Unreached => Fault::Unreached,
            FailureKind::Rejected => Fault::Rejected,
            FailureKind::Untried => {
                self.untried(&tickets, ahead, now);
                return Ok(());
            }
            FailureKind::Impossible => {
                self.impossible(tickets, ahead.as_ref(), &failure, now);
                return Ok(());
            }
            FailureKind::Gone => return Err(SinkError::Refused(failure.reason)),
            FailureKind::Broken => return Err(SinkError::Broken(failure.reason)),
        };
        self.parts.statistics.retries.add(1);
        let lasted = self.note_failure(fault, &failure.reason);
        if fault == Fault::Rejected {
            self.breaker.succeeded();
        } else {
            // However many went together, it was one answer.
            let first = tickets.iter().find_map(|it| self.in_flight.get(*it));
            self.not_taken(first.map(|it| it.item), fault, &failure, now);
        }
        let alone = tickets.len() == 1;
        for ticket in tickets {
            let fault = if alone || fault.is_about_the_receiver() {
                fault
            } else {
                Fault::Together
            };
            self.failed(ticket, fault, &failure, ahead.as_ref(), now);
        }
        if let Some(Ahead { first, .. }) = ahead {
            if fault != Fault::Rejected {
                self.is_away(first, &failure, now);
            }
            self.try_later(first, asked(&failure), now);
        }
        self.hurry(lasted);
        Ok(())
    }

    /// The receiver has taken all of an attempt.
    fn taken(&mut self, tickets: Vec<u64>, ahead: Option<Ahead>) {
        self.taken += 1;
        self.breaker.succeeded();
        let has_failed = |ticket| self.in_flight.get(ticket).is_some_and(|it| !it.is_new());
        let retried = tickets.iter().copied().any(has_failed);
        let health = &self.parts.statistics.health;
        let lasted = health.taken(&self.parts.name, retried);
        for ticket in tickets {
            self.delivered(ticket);
        }
        match ahead {
            Some(Ahead { first, failure, .. }) => self.give_up(first, failure),
            None => self.in_flight.call_back(),
        }
        self.hurry(lasted);
    }

    /// An attempt was not taken. For how long none was before, if this shows that the receiver works.
    fn note_failure(&self, fault: Fault, reason: &str) -> Option<Duration> {
        let failing = match fault {
            Fault::Rejected => Failing::Item,
            _ if self.breaker.is_open() => Failing::KnownAway,
            _ => Failing::Target,
        };
        let health = &self.parts.statistics.health;
        health.failed(&self.parts.name, reason, failing)
    }

    /// Nothing was taken for so long, and now the receiver works: what waits because it did not goes at once. Not after
    /// a failure here and there, or each success would shorten the pauses of all that fails for itself.
    fn hurry(&mut self, lasted: Option<Duration>) {
        let outage = self.parts.limits.backoff.min.min(OUTAGE_MIN);
        if lasted.is_some_and(|it| it >= outage) {
            self.in_flight.hurry();
        }
    }

    /// While nothing is taken and all that there is waits for another attempt, one item is tried before its time now
    /// and then: however long its own pause is, the return of the receiver is noticed.
    pub(super) fn probe_with_what_waits(&mut self, now: Instant) {
        if self.breaker.tries_by().is_some_and(|at| at <= now)
            && self.in_flight.under_way() == 0
            && self.in_flight.first_ready(&Source::ALL).is_none()
        {
            self.in_flight.hurry_one();
        }
    }

    /// What is to be tried again may go; what is only to be given up is that now.
    pub(super) fn wake(&mut self, now: Instant) {
        for (ticket, failure) in self.in_flight.wake(now) {
            self.give_up(ticket, failure);
        }
    }

    /// What was under way when the receiver said that it is gone may have been taken.
    pub(super) fn settle(&mut self) {
        while self.in_flight.under_way() > 0 {
            match self.parts.outcomes.recv(None) {
                Ok(Some(outcome)) => {
                    if let Err(SinkError::Broken(_)) = self.ended(outcome) {
                        return;
                    }
                }
                Ok(None) => {}
                Err(Closed) => return,
            }
        }
    }

    /// An item was not taken. `ahead` if that was a probe, which waits behind its first again.
    fn failed(
        &mut self,
        ticket: u64,
        fault: Fault,
        failure: &Failure,
        ahead: Option<&Ahead>,
        now: Instant,
    ) {
        let max_attempts = self.parts.limits.max_attempts;
        let Some(entry) = self.in_flight.get_mut(ticket) else {
            return;
        };
        let first_failed = || self.parts.dead_letters.now();
        entry.first_failed.get_or_insert_with(first_failed);
        let is_away = self.breaker.is_open();
        entry.blame.failed(fault, self.taken, is_away);
        let blame = entry.blame;
        if let Source::Lane(place) = entry.source {
            self.lanes[place].tried(entry.item, blame.attempts, blame.counted);
        }
        let is_given_up = blame.is_its_own(max_attempts) && self.make_dead_letter(ticket, failure);
        if is_given_up || ahead.is_some_and(|it| it.probe == ticket) {
            return;
        }
        if !blame.is_unknown(max_attempts) || !self.ask_the_next(ticket, failure, now) {
            self.try_later(ticket, asked(failure), now);
        }
    }

    /// Nobody knows whether it is the item or the receiver. True if the next of its conversation is to tell: until
    /// then the item waits. With nothing behind it, the receiver is thought away until something new tells.
    fn ask_the_next(&mut self, ticket: u64, failure: &Failure, now: Instant) -> bool {
        if self.in_flight.has_new() || self.in_flight.is_asking() {
            return false;
        }
        if self.in_flight.send_ahead(ticket, failure) {
            self.breaker.ask_on(now);
            return true;
        }
        self.is_away(ticket, failure, now);
        false
    }

    /// It was not tried: as if it had not been started, but for a pause.
    fn untried(&mut self, tickets: &[u64], ahead: Option<Ahead>, now: Instant) {
        self.breaker.gave_up();
        let probe = ahead.as_ref().map(|it| it.probe);
        let again = tickets.iter().copied().filter(|it| Some(*it) != probe);
        for ticket in again.chain(ahead.map(|it| it.first)) {
            self.try_later(ticket, None, now);
        }
    }

    /// It can never be delivered and was not sent: that says nothing about the receiver, nor about anything else.
    fn impossible(
        &mut self,
        tickets: Vec<u64>,
        ahead: Option<&Ahead>,
        failure: &Failure,
        now: Instant,
    ) {
        self.breaker.gave_up();
        for ticket in tickets {
            self.give_up(ticket, failure.clone());
        }
        if let Some(ahead) = ahead {
            self.try_later(ahead.first, None, now);
        }
    }

    fn try_later(&mut self, ticket: u64, asked: Option<Duration>, now: Instant) {
        if let Some(entry) = self.in_flight.get_mut(ticket) {
            let backoff = self.parts.limits.backoff;
            let pause = backoff.pause(entry.item, entry.blame.pauses(), asked);
            entry.may_hurry = asked.is_none() && entry.blame.waits_for_the_receiver();
            self.in_flight.postpone(ticket, now + pause);
        }
    }

    /// Another one of its conversation was taken instead. It is not delivered behind that one, whatever happens: when
    /// it cannot become a dead letter now, it waits for that alone.
    fn give_up(&mut self, ticket: u64, failure: Failure) {
        if !self.make_dead_letter(ticket, &failure) {
            self.in_flight.give_up_later(ticket, failure);
            self.try_later(ticket, None, Instant::now());
        }
    }

    /// The receiver has not taken what began with `item`; `None` if that is nobody's any more.
    fn not_taken(&mut self, item: Option<Item>, fault: Fault, failure: &Failure, now: Instant) {
        let Some(item) = item else {
            // A replay has ended meanwhile.
            self.breaker.gave_up();
            return;
        };
        let reached = !fault.is_about_the_receiver();
        if self.breaker.failed(item, reached, asked(failure), now) {
            self.say_away(&failure.reason);
        }
    }

    /// As this has failed, the receiver is away.
    fn is_away(&mut self, ticket: u64, failure: &Failure, now: Instant) {
        if let Some(entry) = self.in_flight.get(ticket)
            && self.breaker.open(entry.item, asked(failure), now)
        {
            self.say_away(&failure.reason);
        }
    }

    fn say_away(&self, reason: &str) {
        if let Some(times) = self.lines.away.count() {
            self.parts.statistics.health.is_away();
            let sink = &self.parts.name;
            tracing::warn!(
                sink,
                times,
                reason,
                "the receiver takes nothing; it is tried at growing intervals, and the events wait in the journal"
            );
        }
    }

    fn delivered(&mut self, ticket: u64) {
        let Some(entry) = self.in_flight.done(ticket) else {
            return;
        };
        let statistics = &self.parts.statistics;
        match entry.source {
            Source::Lane(place) => {
                statistics.events.add(u64::from(entry.events));
                self.lanes[place].done(entry.item);
            }
            Source::DeadLetter => {
                statistics.dead_letters.add(1);
                self.dead_letter_delivered(entry.item);
            }
            Source::Replay => {
                statistics.replayed.add(1);
                self.replay_item_done(entry.item, true);
            }
        }
    }
}

/// For how long nothing is taken before that is an outage, unless the first pause is shorter.
const OUTAGE_MIN: Duration = Duration::from_secs(1);

/// How long the receiver asks to be left alone.
fn asked(failure: &Failure) -> Option<Duration> {
    match failure.kind {
        FailureKind::Retry { after } | FailureKind::Busy { after } => after,
        _ => None,
    }
}
