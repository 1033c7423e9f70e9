//! Lanes: a campaign's status storm never delays a customer's question.

use std::str::FromStr;

/// Which of a sink's cursors an event moves. Order within a conversation holds within a lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Lane {
    /// What people say and do now: messages, echoes of the business app, calls. Standby copies too.
    Messages,
    /// Message and payment statuses.
    Statuses,
    /// Everything else, and the chats of a history sync: they come in bulk and are old.
    Rest,
}

impl Lane {
    /// All lanes, in the order in which they are served.
    pub const ALL: [Lane; 3] = [Lane::Messages, Lane::Statuses, Lane::Rest];

    /// How many there are.
    pub const COUNT: usize = Lane::ALL.len();

    /// Its place in [`Lane::ALL`].
    pub fn index(self) -> usize {
        self as usize
    }

    /// The name in envelopes, metrics and on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Lane::Messages => "messages",
            Lane::Statuses => "statuses",
            Lane::Rest => "rest",
        }
    }
}

/// A text that names no lane.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no lane {0:?}; there are messages, statuses, rest")]
pub struct NoLane(String);

impl FromStr for Lane {
    type Err = NoLane;

    fn from_str(text: &str) -> Result<Lane, NoLane> {
        let mut all = Lane::ALL.into_iter();
        all.find(|lane| lane.name() == text)
            .ok_or_else(|| NoLane(text.to_owned()))
    }
}
