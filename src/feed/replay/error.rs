//! What can go wrong with replays.

use crate::disk;

/// Why something could not be done with a replay.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    #[error(transparent)]
    Io(#[from] disk::Error),
    /// What is in the file is no replay.
    #[error("{path} is not a replay ({reason}); remove it, and ask for the replay again")]
    Damaged { path: String, reason: String },
    /// There is no such replay.
    #[error("there is no replay {0}")]
    Missing(String),
    #[error(
        "the server could not use the replay {id}, and has set it aside as {path}; its log says why: ask for the replay \
         again"
    )]
    SetAside { id: String, path: String },
    /// It has ended already.
    #[error("the replay {id} is {state} already")]
    Ended { id: String, state: &'static str },
}

impl ReplayError {
    /// True for what passes by itself when there is space on the disk again.
    pub fn is_shortage(&self) -> bool {
        matches!(self, ReplayError::Io(error) if error.is_shortage())
    }
}
