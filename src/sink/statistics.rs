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
    /// Those of a sink that goes on where this one has ended: it counts on, and how it does is not known yet.
    #[must_use]
    pub fn carried_on(&self) -> Statistics {
        let counter = |of: fn(&Statistics) -> &Counter| {
            let next = Counter::default();
            next.set(of(self).get());
            next
        };
        let next = Statistics {
            events: counter(|it| &it.events),
            duplicates: counter(|it| &it.duplicates),
            unwanted: counter(|it| &it.unwanted),
            dead: counter(|it| &it.dead),
            dead_letters: counter(|it| &it.dead_letters),
            replayed: counter(|it| &it.replayed),
            delivered: counter(|it| &it.delivered),
            confirmed: counter(|it| &it.confirmed),
            known: counter(|it| &it.known),
            retries: counter(|it| &it.retries),
            unaccounted: counter(|it| &it.unaccounted),
            ..Statistics::default()
        };
        for (next, lane) in next.lanes.iter().zip(&self.lanes) {
            next.confirmed.set(lane.confirmed.get());
            next.reached.set(lane.reached.get());
            next.open.set(lane.open.get());
            next.oldest.set(lane.oldest.get());
        }
        next
    }

    /// It does not run, for a reason that people are to see.
    pub fn note_stopped(&self, reason: &str) {
        // The first one stays.
        let _ = self.reason.set(reason.to_owned());
        self.stopped.set(1);
    }

    /// What a confirmed event survives; `None` if that follows from the type of the sink.
    pub fn confirmation(&self) -> Option<Confirmation> {
        *self.confirmation.lock()
    }

    /// The target has said what a confirmation is worth.
    pub(super) fn note_confirmation(&self, confirmation: Confirmation) {
        *self.confirmation.lock() = Some(confirmation);
    }

    /// Everything up to this sequence is confirmed and saved, in this lane or in all, and nothing else is under way
    /// there.
    pub(super) fn note_confirmed(&self, sequence: u64, only: Option<Lane>) {
        if only.is_none() {
            self.confirmed.set(sequence);
        }
        for lane in self.of_lanes(only) {
            lane.confirmed.set(sequence);
            lane.reached.set(sequence);
            lane.oldest.set(0);
        }
    }

    /// Those of this lane, or of all.
    pub(super) fn of_lanes(&self, only: Option<Lane>) -> &[LaneStatistics] {
        let own = only.and_then(|lane| self.lanes.get(lane.index()));
        own.map_or(&self.lanes, std::slice::from_ref)
    }

    /// Shows what a cursor says that stands still between two calls, with nothing under way that is known.
    pub fn note_progress(&self, cursor: &Cursor) {
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
        match ended {
            // That is no more than it was asked to.
            Ok(()) | Err(SinkError::Unfinished(_)) => {}
            Err(error) => self.note_stopped(&error.to_string()),
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
