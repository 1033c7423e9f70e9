//! Between who decides what is delivered when, and who delivers it.
//!
//! An attempt goes in, an [`Outcome`] comes out, in any order. Pauses, attempts, order and dead letters are none of a
//! transport's business: it tries once, and says what came of it.

use crate::dead_letter::Answer;
use crate::event::{Event, Item};
use crate::relay;
use crate::worker::{EventBatch, Notification};
use std::sync::Arc;
use std::time::Duration;

/// What is to be delivered: a notification as a whole, or one event of it.
#[derive(Clone)]
pub struct BatchItem {
    /// The batch that holds it.
    pub batch: Arc<EventBatch>,
    /// Which part of it.
    pub item: Item,
}

/// One attempt.
#[derive(Clone)]
pub struct Attempt {
    /// Comes back with the outcome.
    pub ticket: u64,
    /// At least one; more than one only for a transport that delivers in batches.
    pub items: Vec<BatchItem>,
    /// Which attempt it is, from 1.
    pub number: u32,
    /// The name of the replay that this is part of: printable ASCII without quotes and backslashes.
    pub replay: Option<Arc<str>>,
}

/// What came of an attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// That of the attempt.
    pub ticket: u64,
    /// Delivered, or why not.
    pub result: Result<(), Failure>,
}

/// Why an attempt was not delivered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// What follows from it.
    pub kind: FailureKind,
    /// What happened, for people; it names no secret.
    pub reason: String,
    /// What the other side said, if it said anything.
    pub answer: Option<Answer>,
}

/// What follows from a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailureKind {
    /// It may work later. Whether it is about just this or about everything, the other failures tell.
    Retry {
        /// Not before this time has passed, says the other side.
        after: Option<Duration>,
    },
    /// The other side takes no more at the moment and says so (HTTP 429, or 503 with `Retry-After`), so it is not about
    /// this.
    Busy {
        /// Not before this time has passed, says the other side.
        after: Option<Duration>,
    },
    /// The other side was not reached, so it is not about this: no connection, no program to run.
    Unreached,
    /// It was not tried, or not to its end, for a reason of our own (a stop, no thread): it is no attempt.
    Untried,
    /// The other side has looked at just this and does not take it (HTTP 400, 422 ..). It is tried again, for a new
    /// release may take it, but the other side is there.
    Rejected,
    /// It cannot be delivered there, whatever happens, and that is known without sending it (too large for the target):
    /// a dead letter at once.
    Impossible,
    /// The other side is gone for good and says so (HTTP 410): the sink stops.
    Gone,
    /// The transport itself has ended and takes no more attempts: the sink stops.
    Broken,
}

/// Where outcomes go.
pub type Outcomes = relay::Sender<Outcome>;

/// Takes attempts. Each ends in one [`Outcome`], over the sender that the transport was given when it was made, whose
/// channel has room for one outcome of every attempt that is under way, and one more: a transport that ends by itself
/// says so, as [`FailureKind::Broken`] of [`NO_ATTEMPT`]. Never blocks.
pub trait Transport: Send {
    /// Begins an attempt.
    fn start(&mut self, attempt: Attempt);
}

/// Says what came of an attempt.
pub fn answer(outcomes: &Outcomes, ticket: u64, result: Result<(), Failure>) {
    // Nobody receives any more at the end of the process; while somebody does, there is room.
    let _ = outcomes.try_send(Outcome { ticket, result });
}

/// The ticket of no attempt.
pub const NO_ATTEMPT: u64 = 0;

/// The path of an endpoint by its number in the journal, also of one that came with a reload.
#[derive(Clone)]
pub struct Paths(Arc<dyn Fn(u16) -> Option<Arc<str>> + Send + Sync>);

impl Paths {
    /// Asks `path_of` each time.
    pub fn new(path_of: impl Fn(u16) -> Option<Arc<str>> + Send + Sync + 'static) -> Paths {
        Paths(Arc::new(path_of))
    }

    /// The path, if the number has one.
    #[must_use]
    pub fn of(&self, endpoint: u16) -> Option<Arc<str>> {
        (self.0)(endpoint)
    }
}

impl BatchItem {
    /// The notification that it is, or is a part of.
    #[must_use]
    pub fn notification(&self) -> Option<Notification<'_>> {
        self.batch.notification(self.item.sequence)
    }

    /// The event that it is, and the notification that it is a part of; the error says what is odd about it.
    pub fn event(&self) -> Result<(Event<'_>, Notification<'_>), String> {
        let sequence = self.item.sequence;
        let notification = self.notification();
        let notification =
            notification.ok_or_else(|| format!("sequence {sequence} is not in its delivery"))?;
        let index = self.item.index;
        let index = index.ok_or("a notification in the place of an event")?;
        let found = usize::try_from(index).ok();
        let found = found.and_then(|index| notification.events().nth(index));
        let event =
            found.ok_or_else(|| format!("event {sequence}.{index} is not in its delivery"))?;
        Ok((event, notification))
    }
}

impl Failure {
    /// One that may work later, without an answer.
    pub fn retry(reason: impl Into<String>) -> Failure {
        Failure {
            kind: FailureKind::Retry { after: None },
            reason: reason.into(),
            answer: None,
        }
    }

    /// One where the other side was not reached.
    pub fn unreached(reason: impl Into<String>) -> Failure {
        Failure {
            kind: FailureKind::Unreached,
            reason: reason.into(),
            answer: None,
        }
    }

    /// One that can never be delivered.
    pub fn impossible(reason: impl Into<String>) -> Failure {
        Failure {
            kind: FailureKind::Impossible,
            reason: reason.into(),
            answer: None,
        }
    }

    /// One of a target that takes nothing at the moment.
    pub fn busy(reason: impl Into<String>) -> Failure {
        Failure {
            kind: FailureKind::Busy { after: None },
            reason: reason.into(),
            answer: None,
        }
    }

    /// One that is no attempt.
    pub fn untried(reason: impl Into<String>) -> Failure {
        Failure {
            kind: FailureKind::Untried,
            reason: reason.into(),
            answer: None,
        }
    }

    /// The end of the transport.
    pub fn broken(reason: impl Into<String>) -> Failure {
        Failure {
            kind: FailureKind::Broken,
            reason: reason.into(),
            answer: None,
        }
    }
}
