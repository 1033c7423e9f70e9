//! What is sent and not confirmed, of a sink whose confirmations come in any order.

use super::transport::{Failure, Outcomes, answer};
use foldhash::fast::RandomState;
use std::collections::{HashMap, VecDeque};
use std::time::Instant;

/// In the order of sending. What is left when it is dropped is tried again: it may be stored or not.
pub struct Pending {
    outcomes: Outcomes,
    /// Bytes of each by ticket.
    waiting: HashMap<u64, usize, RandomState>,
    /// When each was sent, the first one in front. Some are confirmed already.
    sent: VecDeque<(Instant, u64)>,
    bytes: usize,
    /// Why there is no confirmation, for those that are left.
    reason: String,
}

impl Pending {
    pub fn new(outcomes: Outcomes) -> Pending {
        Pending {
            outcomes,
            waiting: HashMap::default(),
            sent: VecDeque::new(),
            bytes: 0,
            reason: "the connection ended before the confirmation came: it may be stored or not"
                .to_owned(),
        }
    }

    /// Bytes of all of them.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Bytes of one, if it waits.
    #[cfg(feature = "kafka")]
    pub fn bytes_of(&self, ticket: u64) -> Option<usize> {
        self.waiting.get(&ticket).copied()
    }

    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    pub fn add(&mut self, ticket: u64, bytes: usize, now: Instant) {
        self.waiting.insert(ticket, bytes);
        self.sent.push_back((now, ticket));
        self.bytes += bytes;
    }

    /// What came of one. False if nobody waits for that any more.
    pub fn ended(&mut self, ticket: u64, result: Result<(), Failure>) -> bool {
        let Some(bytes) = self.waiting.remove(&ticket) else {
            return false;
        };
        self.bytes -= bytes;
        while let Some((_, first)) = self.sent.front()
            && !self.waiting.contains_key(first)
        {
            self.sent.pop_front();
        }
        answer(&self.outcomes, ticket, result);
        true
    }

    /// True if the first of them was sent before that.
    pub fn has_waited(&self, before: Instant) -> bool {
        self.sent.front().is_some_and(|(at, _)| *at <= before)
    }

    /// Gives up those that were sent before that; true if there were any.
    pub fn expire(&mut self, before: Instant, failure: &Failure) -> bool {
        let mut any = false;
        while let Some((at, ticket)) = self.sent.front().copied()
            && at <= before
        {
            self.sent.pop_front();
            any |= self.ended(ticket, Err(failure.clone()));
        }
        any
    }

    /// Says what those are given up with that are left.
    pub fn leave(&mut self, reason: &str) {
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
