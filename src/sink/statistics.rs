//! What a sink counts and shows, for the metrics and `hookline status`.

use super::error::SinkError;
use super::health::Health;
use crate::event::Lane;
use crate::feed::Cursor;
use crate::metrics::Counter;
use parking_lot::Mutex;
use std::sync::OnceLock;

/// What a confirmed event survives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Confirmation {
    /// Handed to another process; if that fails it is gone, unless it is replayed.
    Memory,
    /// Kept by more than one machine.
    Replicated,
    /// On disk.
    Fsynced,
}

impl Confirmation {
    /// What the configuration and `status` call it.
    pub fn name(self) -> &'static str {
        match self {
            Confirmation::Memory => "memory",
            Confirmation::Replicated => "replicated",
            Confirmation::Fsynced => "fsynced",
        }
    }
}

/// What one sink counts.
#[derive(Debug, Default)]
pub struct Statistics {
    /// Events delivered.
    pub events: Counter,
    /// Events that were not delivered because an earlier one says the same.
    pub duplicates: Counter,
    /// Events that the sink did not ask for.
    pub unwanted: Counter,
    /// Events that were tried too often and are dead letters, and bodies that nobody can take apart.
    pub dead: Counter,
    /// Dead letters that were delivered after all.
    pub dead_letters: Counter,
    /// Deliveries of replays.
    pub replayed: Counter,
    /// How far each lane is, in the order of [`Lane::ALL`].
    pub lanes: [LaneStatistics; Lane::COUNT],
    /// Deliveries that the target knew already and has not stored again.
    pub known: Counter,
    /// What a confirmed event survives, where the target has been asked.
    confirmation: Mutex<Option<Confirmation>>,
    /// Highest sequence delivered.
    pub delivered: Counter,
    /// Highest sequence confirmed and saved.
    pub confirmed: Counter,
    /// Deliveries, and saves of the cursor, that failed and were tried again.
    pub retries: Counter,
    /// Events that neither went out nor wait to: 0, or there is a bug.
    pub unaccounted: Counter,
    /// 1 while the receiver is thought to be away: it gets nothing but a probe now and then.
    pub away: Counter,
    /// How its deliveries go.
    pub health: Health,
    /// 1 once the sink has stopped for good: its events stay in the journal until somebody looks.
    pub stopped: Counter,
    /// Why it has.
    pub reason: OnceLock<String>,
}

impl Statistics {
    /// What a confirmed event survives; `None` if that follows from the type of the sink.
    pub fn confirmation(&self) -> Option<Confirmation> {
        *self.confirmation.lock()
    }

    /// The target has said what a confirmation is worth.
    pub(super) fn note_confirmation(&self, confirmation: Confirmation) {
        *self.confirmation.lock() = Some(confirmation);
    }

    /// Everything up to this sequence is confirmed and saved, in all lanes, and nothing else is under way.
    pub(super) fn note_confirmed(&self, sequence: u64) {
        self.confirmed.set(sequence);
        for lane in &self.lanes {
            lane.confirmed.set(sequence);
            lane.reached.set(sequence);
            lane.oldest.set(0);
        }
    }

    /// Shows what a cursor says that stands still between two calls, with nothing under way that is known.
    pub(super) fn note_progress(&self, cursor: &Cursor) {
        self.delivered.set(cursor.confirmed());
        self.confirmed.set(cursor.confirmed());
        for (lane, progress) in self.lanes.iter().zip(cursor.saved()) {
            lane.confirmed.set(progress.confirmed);
            lane.reached.set(progress.reached);
            lane.open.set(progress.open.len() as u64);
        }
    }

    /// Takes note of how the sink's thread has ended.
    pub(super) fn note_end(&self, ended: &Result<(), SinkError>) {
        if let Err(error) = ended {
            // A sink runs once.
            let _ = self.reason.set(error.to_string());
            self.stopped.set(1);
        }
    }
}

/// How far a sink is in one lane; brought up to date about once a second.
#[derive(Debug, Default)]
pub struct LaneStatistics {
    /// Everything up to this sequence is confirmed.
    pub confirmed: Counter,
    /// Everything up to this sequence is confirmed or under way.
    pub reached: Counter,
    /// Deliveries under way, or waiting for an attempt.
    pub open: Counter,
    /// When the oldest of these arrived, in microseconds since 1970; 0 if there is none.
    pub oldest: Counter,
}
