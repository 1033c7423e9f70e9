//! Why something could not be done with a dead letter.

use crate::disk;
use std::path::Path;

/// Why something could not be done with a letter.
#[derive(Debug, thiserror::Error)]
pub enum DeadLetterError {
    #[error(transparent)]
    Io(#[from] disk::Error),
    /// There is no such letter, or none any more.
    #[error("there is no dead letter {path}")]
    Missing {
        /// Where it would be.
        path: String,
    },
    /// What is in the file is no letter.
    #[error("{path} is not a dead letter ({reason}); its notification may still be in the journal")]
    Damaged { path: String, reason: String },
    /// There are too many, or their bodies take too much.
    #[error(
        "{path} has {DEAD_LETTERS_MAX} dead letters, or {} GiB of their bodies, and takes no more: look at them with `{}`, \
         then retry or drop them",
        BODIES_MAX >> 30, listing(.path)
    )]
    Full { path: String },
}

impl DeadLetterError {
    /// True for what passes by itself when there is space on the disk again.
    pub fn is_shortage(&self) -> bool {
        matches!(self, DeadLetterError::Io(error) if error.is_shortage())
    }

    /// True where there are so many that somebody has to look at them first.
    pub fn is_full(&self) -> bool {
        matches!(self, DeadLetterError::Full { .. })
    }
}

/// What lists the letters in this directory, `dead-letters/SINK` in that of the journal.
fn listing(path: &str) -> String {
    let path = Path::new(path.trim_end_matches('/'));
    let sink = path.file_name().unwrap_or_default().to_string_lossy();
    let data_dir = path.ancestors().nth(2).unwrap_or(Path::new(""));
    disk::command(&format!("dead-letters list --sink {sink}"), data_dir)
}

/// Most letters that one sink may have: what a directory still lists in some tens of milliseconds. That many are no
/// accident of single events: the sink is to stop then, and its events stay in the journal.
pub const DEAD_LETTERS_MAX: usize = 100_000;

/// Bytes of such files that one sink may have. Beyond that somebody has to look at the letters first.
pub(super) const BODIES_MAX: u64 = 4 << 30;
