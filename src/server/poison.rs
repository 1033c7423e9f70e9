//! What is known of bodies that end the process, and where they are kept for a person to look at.

use super::{ServerError, directory};
use crate::config::Config;
use crate::feed::{DeadLetters, Poison, WORKER};
use crate::journal::JournalId;
use std::sync::Arc;

/// Reads what the process before this one has left.
pub(super) fn open(config: &Config, journal: JournalId) -> Result<Arc<Poison>, ServerError> {
    let path = config.journal.dir.join("poison");
    let storage = directory(&path)?;
    let opened = Poison::open(&*storage, journal);
    let (poison, condemned) = opened.map_err(ServerError::io(format!("use {}", path.display())))?;
    for sequence in condemned {
        tracing::error!(
            sequence,
            "taking a body apart has ended the process twice; it is delivered as it came, and is in the dead letters"
        );
    }
    Ok(Arc::new(poison))
}

/// Where such bodies are kept.
pub(super) fn letters(config: &Config) -> Result<DeadLetters, ServerError> {
    let path = config.journal.dir.join("dead-letters").join(WORKER);
    Ok(DeadLetters::open(directory(&path)?)?)
}
