//! What carries single deliveries to a receiver, and what comes back.

use crate::feed::{Delivery, Item, Notification};
use crate::relay;
use std::sync::Arc;
use std::time::Duration;

/// Takes jobs, any number at a time. Each ends in one [`Outcome`], sent over the channel that the transport was
/// given when it was made.
pub trait Transport: Send {
    /// Begins a delivery. Never waits for it.
    fn start(&mut self, job: Job);
}

/// What is to be delivered: a notification as a whole, or one event of it.
#[derive(Clone, Debug)]
pub struct Parcel {
    /// The batch that it stands in.
    pub delivery: Arc<Delivery>,
    /// Which part of it.
    pub item: Item,
}

/// One delivery.
#[derive(Clone, Debug)]
pub struct Job {
    /// Names it in its outcome.
    pub ticket: u64,
    /// At least one; more where events go in batches.
    pub parcels: Vec<Parcel>,
    /// Which attempt it is, from 1.
    pub attempt: u32,
    /// The replay that it belongs to.
    pub replay: Option<Arc<str>>,
}

/// How a delivery ended.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Of which job.
    pub ticket: u64,
    /// `Ok` when the receiver has confirmed it.
    pub result: Result<(), Failure>,
}

/// Where outcomes go.
pub type Outcomes = relay::Sender<Outcome>;

/// Why a delivery failed.
#[derive(Clone, Debug)]
pub struct Failure {
    /// What to do now.
    pub kind: FailureKind,
    /// What happened, in words without secrets.
    pub reason: String,
    /// What the receiver said, if it said anything.
    pub answer: Option<Answer>,
}

/// What to do after a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailureKind {
    /// Try again, not before this has passed.
    Retry {
        /// What the receiver asked for.
        after: Option<Duration>,
    },
    /// The receiver wants nothing any more.
    Gone,
}

/// What a receiver answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Its status code.
    pub status: u16,
    /// The begin of its body: at most 1 KiB, printable.
    pub excerpt: String,
}

impl Parcel {
    /// The notification that it is, or is a part of.
    #[must_use]
    pub fn notification(&self) -> Option<Notification<'_>> {
        let mut behind = self.delivery.notifications(self.item.sequence);
        behind.next().filter(|it| it.sequence == self.item.sequence)
    }
}
