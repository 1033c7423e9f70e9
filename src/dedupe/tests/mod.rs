#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test may fail in any way it likes"
)]

mod crash;
mod damage;
mod files;
mod journals;
mod memory;
mod parties;
mod reading;
mod rule;
mod scope;

use super::opening::Opening;
use super::tags::Tags;
use super::{Dedupe, DedupeError, Duplicates, Options, Scope};
use crate::disk::Storage;
use crate::disk::simulated::SimulatedDisk;
use crate::event::{Event, Position};
use crate::journal::JournalId;
use crate::worker::EventBatch;
use journals::Journal;
use std::collections::BTreeSet;
use std::sync::Arc;

/// What a run found: the positions of all duplicates.
type StoredCheckpoint = BTreeSet<Position>;

/// More than any test has.
const PLENTY: Options = Options {
    window: 8 * DAY,
    keys: 1_000_000,
    scope: Scope::Endpoint,
};

const DAY: u64 = 86_400_000_000;

fn id() -> JournalId {
    JournalId::parse("0b5ef1c60fd1b7d1a0b8a3f6a1c2d3e4").unwrap()
}

fn open_at(
    storage: Arc<dyn Storage>,
    options: &Options,
    tags: Tags,
    first: u64,
    last: u64,
) -> Result<Dedupe, DedupeError> {
    Opening {
        storage,
        options: options.clone(),
        journal: id(),
        first,
        last,
        tags,
    }
    .open()
}

fn open(disk: &SimulatedDisk, options: &Options, journal: &Journal) -> Dedupe {
    open_at(disk.storage(), options, Tags::new(), 1, journal.last()).unwrap()
}

fn marked(delivery: &EventBatch) -> impl Iterator<Item = Position> {
    let events = delivery.events().iter();
    events.filter(Event::is_duplicate).map(|it| it.position())
}

/// Decides the deliveries of a journal from where the memory stands up to its end.
fn decide_rest(dedupe: &mut Dedupe, journal: &Journal) -> StoredCheckpoint {
    let mut found = StoredCheckpoint::new();
    for mut delivery in journal.deliveries(dedupe.decided() + 1) {
        let decisions = dedupe.decide(&mut delivery).unwrap();
        let all: u64 = decisions.decided.iter().sum();
        assert_eq!(all, delivery.events().len() as u64);
        let duplicates: u64 = decisions.duplicates.iter().sum();
        assert_eq!(duplicates, marked(&delivery).count() as u64);
        found.extend(marked(&delivery));
    }
    found
}

/// What the log of duplicates says of a journal up to and including a sequence.
fn read_back(disk: &SimulatedDisk, journal: &Journal, last: u64) -> StoredCheckpoint {
    let mut duplicates = Duplicates::open(disk.storage());
    let mut found = StoredCheckpoint::new();
    for mut delivery in journal.deliveries(1) {
        if delivery.last_sequence() <= last {
            let count = duplicates
                .mark(&mut delivery, last.min(journal.last()))
                .unwrap();
            assert_eq!(count, marked(&delivery).count() as u64);
            found.extend(marked(&delivery));
        }
    }
    found
}

fn up_to(found: &StoredCheckpoint, last: u64) -> StoredCheckpoint {
    let is_there = |position: &&Position| position.sequence <= last;
    found.iter().filter(is_there).copied().collect()
}
