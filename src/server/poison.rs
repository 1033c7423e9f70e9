//! What is known of bodies that end the process, and where they are kept for a person to look at.

use super::{ServerError, all_aside, beside};
use crate::config::Config;
use crate::feed::{DeadLetters, Poison, WORKER};
use crate::journal::{self, JournalId};
use std::sync::Arc;

/// Reads what the process before this one has left.
pub(super) fn open(config: &Config, journal: JournalId) -> Result<Arc<Poison>, ServerError> {
    let path = config.journal.dir.join("poison");
    let storage = beside(&path)?;
    let opened = match Poison::open(&*storage, journal) {
        Err(error) if !journal::is_shortage(&error) => {
            all_aside(&*storage, &error)?;
            Poison::open(&*storage, journal)
        }
        opened => opened,
    };
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
    super::letters(config, WORKER)
}
