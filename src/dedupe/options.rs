//! How much is remembered, and what is counted.

use super::scope::Scope;

/// How long and how many keys are remembered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Microseconds for which a key is remembered, where `keys` allows it, and at most an eighth longer. By the times
    /// of arrival.
    pub window: u64,
    /// Most keys that are remembered; the newest seven eighths of so many are, at least.
    pub keys: u64,
    /// Whose events are compared with whose.
    pub scope: Scope,
}

impl Options {
    /// Microseconds that a generation spans.
    pub(super) fn span(&self) -> u64 {
        self.window / GENERATIONS
    }
}

/// What was decided, in the order of [`Lane::ALL`](crate::event::Lane::ALL).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Decisions {
    pub decided: [u64; 3],
    /// Those of them that are duplicates.
    pub duplicates: [u64; 3],
}

/// So many generations make the window, and all keys.
pub(super) const GENERATIONS: u64 = 8;
