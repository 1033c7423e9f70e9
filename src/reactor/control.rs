//! What the server hands to its loops: the phase of life, and a new table of endpoints.

use crate::endpoint::Table;
use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, AtomicUsize, Ordering};

/// Where in its life the receiver is. Only ever moves on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Phase {
    /// Takes connections and requests.
    Serving = 0,
    /// Takes the connections that wait and closes the listeners.
    Closing = 1,
    /// Answers what has arrived, closes what is idle.
    Draining = 2,
    /// Out of time: leaves.
    Leaving = 3,
}

/// Shared by the server and all loops. A loop looks at it once a round.
pub struct Control {
    phase: AtomicU8,
    listeners: AtomicUsize,
    table: Mutex<Arc<Table>>,
    table_version: AtomicU64,
}

impl Control {
    /// For loops with `listeners` listeners in all.
    pub fn new(table: Arc<Table>, listeners: usize) -> Control {
        Control {
            phase: AtomicU8::new(Phase::Serving as u8),
            listeners: AtomicUsize::new(listeners),
            table: Mutex::new(table),
            table_version: AtomicU64::new(1),
        }
    }

    /// The phase now.
    pub fn phase(&self) -> Phase {
        match self.phase.load(Ordering::Acquire) {
            0 => Phase::Serving,
            1 => Phase::Closing,
            2 => Phase::Draining,
            _ => Phase::Leaving,
        }
    }

    /// Moves on to `phase`, never back. The loops have to be woken to see it at once.
    pub fn advance(&self, phase: Phase) {
        self.phase.fetch_max(phase as u8, Ordering::AcqRel);
    }

    /// Listeners that are still open.
    pub fn listeners(&self) -> usize {
        self.listeners.load(Ordering::Acquire)
    }

    pub(super) fn listener_closed(&self) {
        self.listeners.fetch_sub(1, Ordering::AcqRel);
    }

    /// Replaces the endpoints; requests that are complete after this are judged by the new ones.
    pub fn set_table(&self, table: Arc<Table>) {
        *self.table.lock() = table;
        self.table_version.fetch_add(1, Ordering::Release);
    }

    /// The table, if it is another one than that of version `known`.
    pub(super) fn newer_table(&self, known: &mut u64) -> Option<Arc<Table>> {
        let version = self.table_version.load(Ordering::Acquire);
        if version == *known {
            return None;
        }
        *known = version;
        Some(Arc::clone(&self.table.lock()))
    }
}
