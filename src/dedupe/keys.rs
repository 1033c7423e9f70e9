//! The log of keys, in generations: files `keys-N` with rising numbers, in the order in which the keys came.
//!
//! Only the last one is appended to. A generation ends when it has an eighth of the keys that are to be remembered, or
//! spans an eighth of the window; it goes as a whole, the oldest first, when the next one would make too many keys,
//! or when even its latest entry came more than the window and an eighth of it ago. Both are decided when a delivery
//! begins, by what stands in the journal alone, and by a clock that does not jump, see `clock.rs`: time ends at most a
//! dozen of those that are there, and the number of keys no more than nine, so there is a place for all of them.

use super::clock::Clock;
use super::entry::{ALIGNMENT, Entry, HEAD_LEN, Text};
use super::error::{DedupeError, remove_file};
use super::location::{LIVE_MAX, Location};
use super::options::{GENERATIONS, Options};
use crate::disk::{IoContext, Storage, StorageFile, read_full_at, write_all_at};
use std::collections::VecDeque;
use std::io::IoSlice;
use std::sync::Arc;

/// The writing end, which reads as well.
pub(super) struct KeyLog {
    storage: Arc<dyn Storage>,
    /// Oldest first.
    generations: VecDeque<Generation>,
    /// Number of the last one; 0 if there is none.
    number: u64,
    /// The time of the last delivery; `None` before the first one.
    pub(super) clock: Option<Clock>,
    /// The end of the last one, the part that is still to be written included: what comes again mostly comes soon, and
    /// is then compared without a read.
    tail: Vec<u8>,
    /// Offset in that generation where it begins.
    tail_at: u64,
    /// Keys in the part that is still to be written.
    pending_keys: u64,
    /// What is written and stands just before the tail: that becomes this one, as it is, when it is long.
    before: Vec<u8>,
    /// Bytes that were written since the last sync.
    pub(super) unsynced: u64,
    /// For reading.
    scratch: Vec<u8>,
    /// Numbers of those that the last checkpoint may still need.
    gone: Vec<u64>,
}

/// One file.
pub(super) struct Generation {
    pub(super) file: Box<dyn StorageFile>,
    pub(super) facts: Facts,
    pub(super) is_synced: bool,
}

/// What the checkpoint says of a generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Facts {
    pub(super) number: u64,
    /// Bytes that are written.
    pub(super) bytes: u64,
    pub(super) crc: u32,
    /// Keys among the entries.
    pub(super) keys: u64,
    /// [Time](Clock::time) of the first delivery, or of a later one if that is earlier.
    pub(super) first: u64,
    /// Latest time of a delivery.
    pub(super) latest: u64,
}

impl KeyLog {
    /// A log with these generations.
    pub(super) fn new(
        storage: Arc<dyn Storage>,
        generations: VecDeque<Generation>,
        clock: Option<Clock>,
    ) -> KeyLog {
        KeyLog {
            storage,
            // An older version has counted by the real one.
            clock: clock.or_else(|| Some(Clock::new(generations.back()?.facts.latest))),
            number: generations.back().map_or(0, |last| last.facts.number),
            tail_at: generations.back().map_or(0, |last| last.facts.bytes),
            // Not there before they are filled, and not moved while they are.
            tail: Vec::with_capacity(TAIL_ROOM),
            pending_keys: 0,
            before: Vec::with_capacity(TAIL_ROOM),
            unsynced: 0,
            generations,
            scratch: Vec::new(),
            gone: Vec::new(),
        }
    }

    /// Begins a generation with a delivery that came at `reading`, if it is time for one; gives the numbers of those
    /// that go. After an error it is to be called again.
    pub(super) fn turn(
        &mut self,
        reading: u64,
        options: &Options,
    ) -> Result<Vec<u64>, DedupeError> {
        debug_assert!(
            self.pending().is_empty(),
            "a delivery is written as a whole"
        );
        let share = options.keys.div_ceil(GENERATIONS).max(1);
        let begun = Clock::new(reading);
        let clock = self
            .clock
            .map_or(begun, |it| it.at(reading, options.window));
        let now = clock.time;
        if let Some(Generation { facts, .. }) = self.generations.back_mut() {
            facts.first = facts.first.min(now);
            let is_full = facts.keys >= share || facts.bytes >= BYTES_MAX;
            if !is_full && now - facts.first < options.span() {
                facts.latest = facts.latest.max(now);
                self.clock = Some(clock);
                return Ok(Vec::new());
            }
        }
        let number = self.active().map_or(0, |facts| facts.number) + 1;
        let name = file_name(number);
        let file = self
            .storage
            .create(&name)
            .on(&*self.storage, "create", &name)?;
        let mut gone = Vec::new();
        let remembered = options.window.saturating_add(options.span());
        let is_old = |facts: &Facts| facts.latest.saturating_add(remembered) < now;
        if self.facts().next().is_some_and(is_old) {
            gone.extend(self.drop_oldest());
        }
        while self.keys().saturating_add(share) > options.keys
            || self.generations.len() + 1 >= LIVE_MAX as usize
        {
            let Some(number) = self.drop_oldest() else {
                break;
            };
            gone.push(number);
        }
        let facts = Facts {
            number,
            bytes: 0,
            crc: 0,
            keys: 0,
            first: now,
            latest: now,
        };
        self.clock = Some(clock);
        self.generations.push_back(Generation {
            file,
            facts,
            is_synced: false,
        });
        self.number = number;
        self.tail.clear();
        self.before.clear();
        self.tail_at = 0;
        Ok(gone)
    }

    /// Appends an entry to the last generation, which there must be; `None`, and nothing is appended, where there is no
    /// room for it.
    #[inline(always)]
    #[expect(
        clippy::inline_always,
        reason = "for each event, of a kind that is known"
    )]
    pub(super) fn append(&mut self, entry: &Entry<'_>) -> Option<Location> {
        let place = Location::new(self.number, self.tail_at + self.tail.len() as u64)?;
        entry.encode(&mut self.tail);
        self.pending_keys += u64::from(!matches!(entry.text, Text::Names(..)));
        Some(place)
    }

    /// The entry at `place`, if it is one of this key.
    pub(super) fn read(
        &mut self,
        place: Location,
        key: &[u8],
    ) -> Result<Option<Entry<'_>>, DedupeError> {
        let Some(active) = self.active() else {
            return Ok(None);
        };
        let steps = place.steps_back(active.number);
        let Some(number) = (self.generations.len() - 1).checked_sub(steps) else {
            return Ok(None);
        };
        let offset = place.offset();
        let Generation { file, facts, .. } = &self.generations[number];
        let before_at = self.tail_at - self.before.len() as u64;
        let (buffer, at) = if offset < self.tail_at {
            (&self.before, before_at)
        } else {
            (&self.tail, self.tail_at)
        };
        let bytes = if let Some(start) = offset.checked_sub(at).filter(|_| steps == 0) {
            let start = usize::try_from(start).unwrap_or(usize::MAX);
            buffer.get(start..).unwrap_or_default()
        } else {
            self.scratch
                .resize((HEAD_LEN + key.len()).next_multiple_of(ALIGNMENT), 0);
            let len = read_full_at(&**file, &mut self.scratch, offset).on_named(
                &*self.storage,
                "read",
                || file_name(facts.number),
            )?;
            &self.scratch[..len]
        };
        // One whose text is longer than what was read is none of this key.
        let entry = Entry::decode(bytes).map(|(entry, _)| entry);
        Ok(entry.filter(|entry| match entry.text {
            Text::Key(text) | Text::KeyAgain(text) => text == key,
            Text::Names(..) => false,
        }))
    }

    /// Writes what was appended, without a sync. After an error it is to be called again.
    pub(super) fn flush(&mut self) -> Result<(), DedupeError> {
        let pending = self.pending();
        if pending.is_empty() {
            return Ok(());
        }
        let (start, len) = (self.tail.len() - pending.len(), pending.len() as u64);
        if let Some(Generation {
            file,
            facts,
            is_synced,
        }) = self.generations.back_mut()
        {
            let pending = &self.tail[start..];
            write_all_at(&**file, &mut [IoSlice::new(pending)], facts.bytes).on_named(
                &*self.storage,
                "write",
                || file_name(facts.number),
            )?;
            facts.bytes += len;
            facts.keys += std::mem::take(&mut self.pending_keys);
            facts.crc = crc32c::crc32c_append(facts.crc, pending);
            *is_synced = false;
            self.unsynced += len;
        }
        if self.tail.len() > TAIL_KEPT {
            self.tail_at += self.tail.len() as u64;
            std::mem::swap(&mut self.tail, &mut self.before);
            self.tail.clear();
            let cut = self.before.len().saturating_sub(TAIL_MEMORY);
            if cut > 0 {
                self.before.drain(..cut);
                self.before.shrink_to(TAIL_MEMORY);
            }
        }
        Ok(())
    }

    /// What is behind the written part of the last generation.
    fn pending(&self) -> &[u8] {
        let written = self.active().map_or(0, |facts| facts.bytes - self.tail_at);
        let written = usize::try_from(written).unwrap_or(usize::MAX);
        self.tail.get(written..).unwrap_or_default()
    }

    /// Makes what was written durable, but for the names of the files.
    pub(super) fn sync(&mut self) -> Result<(), DedupeError> {
        for generation in self.generations.iter_mut().filter(|it| !it.is_synced) {
            let name = || file_name(generation.facts.number);
            let synced = generation.file.sync_data();
            synced.on_named(&*self.storage, "sync", name)?;
            generation.is_synced = true;
        }
        self.unsynced = 0;
        Ok(())
    }

    /// Removes the files that no checkpoint needs any more.
    pub(super) fn remove_gone(&mut self) -> Result<(), DedupeError> {
        while let Some(number) = self.gone.last() {
            remove_file(&*self.storage, &file_name(*number))?;
            self.gone.pop();
        }
        Ok(())
    }

    /// Number of the last generation; 0 if there is none.
    pub(super) fn newest(&self) -> u64 {
        self.number
    }

    /// The last generation.
    pub(super) fn active(&self) -> Option<&Facts> {
        self.generations.back().map(|generation| &generation.facts)
    }

    /// All generations, oldest first.
    pub(super) fn facts(&self) -> impl Iterator<Item = &Facts> {
        self.generations.iter().map(|generation| &generation.facts)
    }

    fn keys(&self) -> u64 {
        self.facts().map(|facts| facts.keys).sum()
    }

    fn drop_oldest(&mut self) -> Option<u64> {
        let number = self.generations.pop_front()?.facts.number;
        self.gone.push(number);
        Some(number)
    }
}

/// Name of the file of a generation.
pub(super) fn file_name(number: u64) -> String {
    format!("{PREFIX}{number:020}")
}

/// What all those names begin with.
pub(super) const PREFIX: &str = "keys-";

/// Bytes that end a generation. Half of what a [`Location`] can say: a delivery has room behind it.
const BYTES_MAX: u64 = 1 << 29;

/// Bytes that are kept at least before what comes next: some thousand keys.
const TAIL_KEPT: usize = if cfg!(test) { 1 << 10 } else { 256 << 10 };

/// Bytes that there is room for at first, with the batch that makes it so many.
const TAIL_ROOM: usize = TAIL_KEPT + TAIL_KEPT / 4;

/// Bytes of memory that are kept for what stands before the tail, and for that, which become each other.
const TAIL_MEMORY: usize = if cfg!(test) { 4 << 10 } else { 1 << 20 };
