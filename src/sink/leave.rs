//! Asks a sink to end although there is more for it, since another one goes on from its cursor.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// A stop of the server lets a sink deliver what is durable; this does not. What is under way is awaited, and nothing
/// else is begun.
#[derive(Debug, Default)]
pub struct Leave {
    asked: AtomicBool,
    patience: Duration,
}

impl Leave {
    /// What is under way then has so long to end.
    pub fn new(patience: Duration) -> Leave {
        Leave {
            asked: AtomicBool::new(false),
            patience,
        }
    }

    /// The sink is to end.
    pub fn ask(&self) {
        self.asked.store(true, Ordering::Release);
    }

    pub(super) fn is_asked(&self) -> bool {
        self.asked.load(Ordering::Acquire)
    }

    pub(super) fn patience(&self) -> Duration {
        self.patience
    }
}
