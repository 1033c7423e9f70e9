//! Exact dedupe: which events say what an earlier one has said, decided once, in journal order.
//!
//! # The rule
//!
//! An event is a duplicate if an earlier one, by sequence and index, had the same key, came to the same endpoint and is
//! remembered; that one may have been a duplicate itself. Which endpoints count as the same says [`Scope`]. Keys are
//! compared as a whole: a hash only says where to look. A key counts for [`Options::window`] at least and an eighth of
//! it longer at most, by the times of arrival, or until [`Options::keys`] newer ones are nearly there, see `keys.rs`;
//! one that came while the clock was ahead counts as well. A weak key ([`Event::has_weak_key`]) counts for ten
//! minutes on either side. All of that depends on what stands in the journal alone, on no clock and on no thread. What
//! forgets keys is not the time of one arrival: a clock that jumps, there or back, makes the memory forget nothing.
//! (One that stays ahead by more than the window looks the same as silence: what came before is old then, and comes
//! again if it is sent again.)
//!
//! # The files
//!
//! In a directory of their own, through the journal's [`Storage`]:
//!
//! | file | |
//! |---|---|
//! | `keys-N` | the log of keys, see `keys.rs` and `entry.rs` |
//! | `duplicates-SEQ` | the positions of all duplicates, see `duplicate_log.rs`; [`Duplicates`] reads them |
//! | `checkpoint` | up to where both are what was decided, see `checkpoint.rs` |
//!
//! In memory there is a table from hashes of keys to places in the log of keys: 8 bytes a slot, 10.7 to 16 bytes a
//! key, 12 in the end, see `index.rs` and `table.rs`; and the pairs of names of [`Parties`]. On the disk a key takes
//! its length and 16 bytes. A key that is new costs no reading; a hit on one that is not among the last thousands
//! costs one read, and one key in 4,000 million / keys does without being one.
//!
//! # What a crash costs
//!
//! Time only. Both logs are written without a sync and synced before the checkpoint is saved; up to the lengths
//! that stand in it, they are never written again, and a file that it names is not removed before the next one is
//! durable. So after the end of the process and after a power cut alike the checkpoint that is found names a state
//! that is whole: that behind the delivery which it was made after. Whatever was written since is thrown away, and
//! the deliveries behind it are decided again. A decision follows from that state and the deliveries alone,
//! and what was decided was durable in the journal, so it is the same one as the first time.
//!
//! Without a usable state everything in the journal is decided again. The decisions are the same then too, except where
//! the earlier one is not in the journal any more: such an event comes again. That a state is usable is known from
//! checksums of all that the checkpoint names, so damage never makes a duplicate of what is none.

mod checkpoint;
mod clock;
mod duplicate_log;
mod duplicates;
mod entry;
mod error;
mod index;
mod keys;
mod location;
mod opening;
mod options;
mod parties;
mod scope;
mod table;
mod tags;
#[cfg(test)]
mod tests;

pub use duplicates::Duplicates;
pub use error::DedupeError;
pub use options::{Decisions, Options};
pub use parties::Parties;
pub use scope::Scope;

use crate::disk::slots::Slots;
use crate::disk::{IoContext, Storage};
use crate::event::{Event, Events};
use crate::journal::JournalId;
use crate::worker::EventBatch;
use checkpoint::Checkpoint;
use duplicate_log::{DuplicateLog, Mark};
use entry::{Entry, Text};
use index::{Index, KeyAt};
use keys::KeyLog;
use location::Location;
use opening::Opening;
use scope::ANY;
use std::sync::Arc;
use tags::Tags;

/// Decides deliveries. Owned by one thread; allocates nothing for an event in the steady state.
pub struct Dedupe {
    storage: Arc<dyn Storage>,
    slots: Slots,
    journal: JournalId,
    options: Options,
    tags: Tags,
    keys: KeyLog,
    index: Index,
    /// The newest generation with keys that an older version has written, without an endpoint; 0 if there is none.
    unnumbered: u64,
    marks: DuplicateLog,
    parties: Parties,
    /// The delivery that is being decided, across tries.
    stage: Option<Stage>,
    /// Places of its duplicates among its events.
    found: Vec<usize>,
    decided: u64,
    checkpointed: u64,
    /// The [newest files](Dedupe::sync) whose names are durable.
    named: (u64, u64),
    /// A sync has failed.
    failed: bool,
}

/// How far a delivery is decided.
struct Stage {
    first: u64,
    last: u64,
    /// The event that is next. What is before it is in the logs, or in memory on its way there.
    next: usize,
    /// What is appended to.
    generation: u64,
    decisions: Decisions,
}

/// What is remembered of a key.
#[derive(Clone, Copy, Debug)]
struct Older {
    place: Location,
    /// Its time of arrival.
    then: u64,
}

impl Dedupe {
    /// Takes up the state in `storage`, a directory for nothing else, of the journal with this name and these first
    /// and last sequences. Also gives the sequence from which deliveries must come. A state that is damaged, of
    /// another journal or ahead of this one is reported and begins anew. Reads all that is remembered, about half
    /// a second for a million keys.
    pub fn open(
        storage: Arc<dyn Storage>,
        options: Options,
        journal: JournalId,
        first: u64,
        last: u64,
    ) -> Result<(Dedupe, u64), DedupeError> {
        let opening = Opening {
            storage,
            options,
            journal,
            first,
            last,
            tags: Tags::new(),
        };
        let dedupe = opening.open()?;
        let from = dedupe.decided + 1;
        Ok((dedupe, from))
    }

    /// Marks the duplicates in the next delivery. When this returns they are written, without a sync, for
    /// [`Duplicates`] to read. After an error that [is a shortage](DedupeError::is_shortage) it is to be called again
    /// with the same delivery, and goes on where it was; any other one is final.
    pub fn decide(&mut self, delivery: &mut EventBatch) -> Result<Decisions, DedupeError> {
        if self.stage.is_none() {
            self.flush()?; // what a delivery has left that passed
        }
        let mut stage = self.begin(delivery)?;
        let decided = self.decide_rest(delivery.events(), &mut stage);
        if let Err(error) = decided.and_then(|()| self.flush()) {
            self.stage = Some(stage);
            return Err(error);
        }
        for position in self.found.drain(..) {
            delivery.mark_duplicate(position);
        }
        self.decided = stage.last;
        Ok(stage.decisions)
    }

    /// Lets the next batch pass after [a shortage](DedupeError::is_shortage): what of it is not decided by now is
    /// new, and later ones are not found to repeat it. For a disk that is full, perhaps of what only delivery takes
    /// away.
    pub fn pass(&mut self, delivery: &mut EventBatch) -> Decisions {
        for position in self.found.drain(..) {
            delivery.mark_duplicate(position);
        }
        self.decided = delivery.last_sequence();
        self.stage
            .take()
            .map_or_else(Decisions::default, |stage| stage.decisions)
    }

    /// Highest sequence that is decided.
    pub fn decided(&self) -> u64 {
        self.decided
    }

    /// Syncs the keys if many were written since. With all of them left to a checkpoint, what the disk has to do then
    /// would stand in the way of answers for some milliseconds. Errors are those of [`Dedupe::checkpoint`].
    pub fn sync_many(&mut self) -> Result<(), DedupeError> {
        if self.failed || self.keys.unsynced < UNSYNCED_MAX {
            return Ok(());
        }
        let synced = self.keys.sync();
        self.failed = synced.is_err();
        synced
    }

    /// Makes what was decided durable, so that it is not decided again after a crash. Syncs, so not on the way of an
    /// answer. Does nothing while a delivery waits to be tried again. After an error the one before still holds; a
    /// sync that has failed makes all later ones fail.
    pub fn checkpoint(&mut self) -> Result<(), DedupeError> {
        if self.failed {
            return Err(DedupeError::Failed);
        }
        // Keys of half a delivery would make duplicates of themselves.
        if self.stage.is_some() {
            return Ok(());
        }
        if self.decided == self.checkpointed && !self.marks.has_gone() {
            return Ok(());
        }
        self.flush()?;
        if let Err(error) = self.sync() {
            self.failed = true;
            return Err(error);
        }
        let checkpoint = Checkpoint {
            journal: self.journal,
            decided: self.decided,
            clock: self.keys.clock,
            generations: self.keys.facts().copied().collect(),
            duplicates: self.marks.extents().copied().collect(),
        };
        checkpoint.save(&mut self.slots)?;
        self.checkpointed = self.decided;
        self.keys.remove_gone()?;
        self.marks.remove_gone()
    }

    /// Makes durable what the next checkpoint says.
    fn sync(&mut self) -> Result<(), DedupeError> {
        self.keys.sync()?;
        self.marks.sync()?;
        // With the names of the newest files those of all are durable, which were made before.
        let newest = (self.keys.newest(), self.marks.newest());
        if self.named != newest {
            self.storage.sync().on(&*self.storage, "sync", "")?;
            self.named = newest;
        }
        Ok(())
    }

    /// Highest sequence that is not decided again after a crash. The journal must keep what is behind it.
    pub fn checkpointed(&self) -> u64 {
        self.checkpointed
    }

    /// Nobody asks any more for the duplicates before sequence `first`; with the next checkpoint their files go.
    pub fn retire(&mut self, first: u64) {
        self.marks.retire(first);
    }

    /// Shares what it learns of the names of parties with those who hold `parties` already.
    pub fn share(&mut self, parties: &Parties) {
        parties.take_over(&self.parties);
        self.parties = parties.clone();
    }

    /// Keys that are remembered now, each counted once.
    pub fn keys(&self) -> usize {
        self.index.len()
    }

    /// Bytes of memory that the table of keys takes now.
    pub fn bytes(&self) -> usize {
        self.index.bytes()
    }

    fn flush(&mut self) -> Result<(), DedupeError> {
        self.keys.flush()?;
        self.marks.flush()
    }

    /// Takes up a delivery that was tried before, or begins with the next one.
    fn begin(&mut self, delivery: &EventBatch) -> Result<Stage, DedupeError> {
        let (first, last) = (delivery.first_sequence(), delivery.last_sequence());
        let wanted = self.stage.as_ref().map_or(self.decided + 1, |it| it.first);
        if let Some(stage) = self
            .stage
            .take_if(|it| (it.first, it.last) == (first, last))
        {
            return Ok(stage);
        }
        // Behind what comes next there may be a gap that damage has left in the journal.
        if self.stage.is_some() || first < wanted {
            return Err(DedupeError::OutOfOrder { wanted, first });
        }
        if let Some(event) = delivery.events().get(0) {
            for gone in self.keys.turn(event.received_at(), &self.options)? {
                self.index.forget(gone);
                self.parties.forget(gone);
                if gone >= self.unnumbered {
                    self.unnumbered = 0;
                }
            }
        }
        let generation = self.keys.newest();
        let write = |entry: &Entry<'_>| self.keys.append(entry).is_some();
        self.parties
            .learn_from(delivery.events(), generation, write);
        Ok(Stage {
            first,
            last,
            next: 0,
            generation,
            decisions: Decisions::default(),
        })
    }

    /// Decides the events that are left and remembers them. After an error it is to be called again. A loop of its own,
    /// apart from what is done once.
    #[inline(never)]
    fn decide_rest(&mut self, events: &Events, stage: &mut Stage) -> Result<(), DedupeError> {
        while let Some(event) = events.get(stage.next) {
            self.decide_event(event, stage)?;
            stage.next += 1;
        }
        Ok(())
    }

    /// Decides one event and remembers it. After an error nothing has changed.
    #[inline]
    fn decide_event(&mut self, event: Event<'_>, stage: &mut Stage) -> Result<(), DedupeError> {
        let lane = event.lane().index();
        if !event.is_dead() {
            let key = event.id_bytes();
            let group = self.options.scope.group_of(event);
            let tag = self.tags.of(group, key);
            match self.find(tag, group, key)? {
                // As nearly always.
                (slot, None) if self.unnumbered == 0 => {
                    if let Some(place) = self.keys.append(&Entry::of(event, Text::Key(key))) {
                        self.index.insert_at(slot, [tag, place.bits()]);
                    }
                }
                (slot, own) => self.decide_known(event, stage, (slot, tag, own))?,
            }
        }
        stage.decisions.decided[lane] += 1;
        Ok(())
    }

    /// The same for one whose key is known, or may be from before there were endpoints: with the tag of its key, the
    /// slot and what is remembered of it.
    #[inline(never)]
    fn decide_known(
        &mut self,
        event: Event<'_>,
        stage: &mut Stage,
        (slot, tag, own): (usize, u32, Option<Older>),
    ) -> Result<(), DedupeError> {
        let key = event.id_bytes();
        let older = match own {
            None if self.unnumbered > 0 => self.find(self.tags.of(ANY, key), ANY, key)?.1,
            own => own,
        };
        if older.is_none_or(|older| !self.options.goes_with(event, older, stage.generation)) {
            let text = own.map_or(Text::Key(key), |_| Text::KeyAgain(key));
            if let Some(place) = self.keys.append(&Entry::of(event, text)) {
                let at = [tag, place.bits()];
                match own {
                    Some(_) => self.index.replace(slot, at),
                    None => self.index.insert_at(slot, at),
                }
            }
        }
        if older.is_some_and(|older| self.options.counts(event, older)) {
            stage.decisions.duplicates[event.lane().index()] += 1;
            self.found.push(stage.next);
            self.marks.push(Mark {
                position: event.position(),
                fingerprint: event.fingerprint(),
            });
        }
        Ok(())
    }

    /// The slot of a key of a group, and what is remembered of it. If it is new, the slot is where it belongs.
    #[inline]
    fn find(
        &mut self,
        tag: u32,
        group: u32,
        key: &[u8],
    ) -> Result<(usize, Option<Older>), DedupeError> {
        let (keys, scope) = (&mut self.keys, self.options.scope);
        let look = |[_, place]: KeyAt| older(keys, scope, place, (group, key));
        self.index.find(tag, look)
    }
}

/// What the entry at the place with these bits says, if it is one of this key of this group.
#[inline(never)]
fn older(
    keys: &mut KeyLog,
    scope: Scope,
    place: u32,
    (group, key): (u32, &[u8]),
) -> Result<Option<Older>, DedupeError> {
    let Some(place) = Location::of_bits(place) else {
        return Ok(None);
    };
    let is_such = |it: &Entry<'_>| scope.group(it.endpoint, it.foreign) == group;
    let entry = keys.read(place, key)?.filter(is_such);
    Ok(entry.map(|entry| Older {
        place,
        then: entry.received_at,
    }))
}

impl Options {
    /// Whether an event needs no entry beside the older one: that is in this generation already, and its time is near.
    /// Of a weak key the very time counts.
    fn goes_with(&self, event: Event<'_>, older: Older, generation: u64) -> bool {
        let is_near = event.received_at().abs_diff(older.then) < self.span();
        older.place.is_of(generation) && is_near && !event.has_weak_key()
    }

    /// Whether an event repeats an older one with its key, by what is remembered of that.
    fn counts(&self, event: Event<'_>, older: Older) -> bool {
        let received_at = event.received_at();
        if event.has_weak_key() {
            received_at.abs_diff(older.then) <= WEAK_WINDOW
        } else {
            // What came while the clock was ahead has not been forgotten since.
            received_at.saturating_sub(older.then) <= self.window.saturating_add(self.span())
        }
    }
}

/// Bytes of keys after which they are synced.
const UNSYNCED_MAX: u64 = if cfg!(test) { 1 << 10 } else { 256 << 10 };

/// Microseconds for which a weak key counts.
const WEAK_WINDOW: u64 = 600_000_000;
