//! What is published and not confirmed.

use super::{Failure, answer};
use crate::relay;
use crate::sink::transport::Outcome;
use foldhash::fast::RandomState;
use std::collections::{HashMap, VecDeque};
use tokio::time::Instant;

/// In the order of publishing. What is left when it is dropped is tried again: it may be stored or not.
pub(super) struct Pending {
    outcomes: relay::Sender<Outcome>,
    /// Bytes of each by ticket.
    waiting: HashMap<u64, usize, RandomState>,
    /// When each was published, the first one in front. Some are confirmed already.
    published: VecDeque<(Instant, u64)>,
    bytes: usize,
    /// Why there is no confirmation, for those that are left.
    reason: String,
}

impl Pending {
    pub(super) fn new(outcomes: relay::Sender<Outcome>) -> Pending {
        Pending {
            outcomes,
            waiting: HashMap::default(),
            published: VecDeque::new(),
            bytes: 0,
            reason: "the connection ended before the confirmation came: it may be stored or not"
                .to_owned(),
        }
    }

    /// Bytes of all of them.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    pub(super) fn add(&mut self, ticket: u64, bytes: usize, now: Instant) {
        self.waiting.insert(ticket, bytes);
        self.published.push_back((now, ticket));
        self.bytes += bytes;
    }

    /// What came of one. False if nobody waits for that any more.
    pub(super) fn ended(&mut self, ticket: u64, result: Result<(), Failure>) -> bool {
        let Some(bytes) = self.waiting.remove(&ticket) else {
            return false;
        };
        self.bytes -= bytes;
        while let Some((_, first)) = self.published.front()
            && !self.waiting.contains_key(first)
        {
            self.published.pop_front();
        }
        answer(&self.outcomes, ticket, result);
        true
    }

    /// True if the first of them was published before that.
    pub(super) fn has_waited(&self, before: Instant) -> bool {
        self.published.front().is_some_and(|(at, _)| *at <= before)
    }

    /// Gives up those that were published before that; true if there were any.
    pub(super) fn expire(&mut self, before: Instant, failure: &Failure) -> bool {
        let mut any = false;
        while let Some((at, ticket)) = self.published.front().copied()
            && at <= before
        {
            self.published.pop_front();
            any |= self.ended(ticket, Err(failure.clone()));
        }
        any
    }

    /// Says what those are given up with that are left.
    pub(super) fn leave(&mut self, reason: &str) {
        self.reason = format!("{reason}; it may be stored or not");
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        for ticket in self.waiting.keys() {
            // That the connection ended says nothing about any of them.
            let failure = Failure::unreached(self.reason.clone());
            answer(&self.outcomes, *ticket, Err(failure));
        }
    }
}
