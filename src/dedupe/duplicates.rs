//! The reading end of the log of duplicates, for a feed that reads the journal.

use super::duplicate_log;
use super::duplicate_log::{FILE_MAX, MARK_LEN, Mark};
use super::error::DedupeError;
use crate::disk::{Access, IoContext, Storage, StorageFile, read_full_at};
use crate::worker::EventBatch;
use std::io::ErrorKind;
use std::sync::Arc;

/// Says of what was decided which of it are duplicates. It finds its place by binary search and goes on from there;
/// its memory does not depend on how many there are. Any number may read while the log is written.
pub struct Duplicates {
    storage: Arc<dyn Storage>,
    file: Option<Open>,
    /// The place in `file` stands behind all entries up to and including this sequence.
    passed: u64,
    /// What was read of `file` from its offset on.
    ahead: Box<[u8; CHUNK]>,
    ahead_len: usize,
    /// So much of it lies behind already.
    used: usize,
    /// Behind the place there is no entry up to and including this sequence, nor will there be.
    clear_to: u64,
}

struct Open {
    first: u64,
    file: Box<dyn StorageFile>,
    /// Where what was read ahead begins.
    offset: u64,
}

impl Duplicates {
    /// The duplicates that are kept in `storage`, the directory that was given to
    /// [`Dedupe::open`](super::Dedupe::open); to be opened after that.
    pub fn open(storage: Arc<dyn Storage>) -> Duplicates {
        Duplicates {
            storage,
            file: None,
            passed: u64::MAX,
            ahead: Box::new([0; CHUNK]),
            ahead_len: 0,
            used: 0,
            clear_to: 0,
        }
    }

    /// Marks the duplicates in a delivery that was decided; gives their number. Cheapest in journal order, right in
    /// any. What retention has taken is not marked. Everything up to `decided`, or more, was decided before this call,
    /// so where nothing was found up to there, nothing is looked for again; 0 if that is not known.
    pub fn mark(&mut self, delivery: &mut EventBatch, decided: u64) -> Result<u64, DedupeError> {
        let (first, last) = (delivery.first_sequence(), delivery.last_sequence());
        let is_next = self.passed.checked_add(1) == Some(first);
        if is_next && last <= self.clear_to {
            self.passed = last;
            return Ok(0);
        }
        if self.file.is_none() || !is_next {
            self.clear_to = 0;
            self.seek(first)?;
        }
        // Until it is done, the place is not what `passed` says.
        self.passed = u64::MAX;
        let mut at = 0;
        let mut marked = 0;
        loop {
            let Some(mark) = self.peek()? else {
                self.clear_to = decided;
                break;
            };
            if mark.position.sequence > last {
                self.clear_to = mark.position.sequence - 1;
                break;
            }
            self.used += MARK_LEN;
            while let Some(event) = delivery.events().get(at)
                && event.position() < mark.position
            {
                at += 1;
            }
            let event = delivery.events().get(at);
            let is_it = event.is_some_and(|event| {
                event.position() == mark.position && event.fingerprint() == mark.fingerprint
            });
            if is_it {
                delivery.mark_duplicate(at);
                marked += 1;
            }
        }
        self.passed = last;
        Ok(marked)
    }

    /// The entry at the place; `None` where none is yet.
    fn peek(&mut self) -> Result<Option<Mark>, DedupeError> {
        loop {
            let Some(open) = &mut self.file else {
                return Ok(None);
            };
            let ahead = self.ahead.get(self.used..self.ahead_len);
            if let Some(bytes) = ahead.and_then(|ahead| ahead.first_chunk())
                && let Some(mark) = Mark::decode(bytes)
            {
                return Ok(Some(mark));
            }
            // What is no entry yet may be one by now.
            open.offset += self.used as u64;
            self.used = 0;
            let first = open.first;
            self.ahead_len = read_full_at(&*open.file, &mut *self.ahead, open.offset).on_named(
                &*self.storage,
                "read",
                || duplicate_log::file_name(first),
            )?;
            let (entries, _) = self.ahead[..self.ahead_len].as_chunks();
            if entries.first().and_then(Mark::decode).is_some() {
                continue;
            }
            self.ahead_len = 0;
            if open.offset < FILE_MAX {
                return Ok(None);
            }
            let next = self.firsts()?.into_iter().find(|it| *it > first);
            match next {
                Some(next) if self.enter(next)? => {}
                _ => return Ok(None),
            }
        }
    }

    /// Goes to the first entry of `sequence` or behind it.
    fn seek(&mut self, sequence: u64) -> Result<(), DedupeError> {
        for _ in 0..TRIES {
            let firsts = self.firsts()?;
            let at = firsts.partition_point(|first| *first <= sequence);
            let Some(first) = firsts.get(at.saturating_sub(1)) else {
                break;
            };
            if self.enter(*first)? {
                return self.search(sequence);
            }
            // It was retired meanwhile.
        }
        self.file = None;
        Ok(())
    }

    fn search(&mut self, sequence: u64) -> Result<(), DedupeError> {
        let Some(open) = &mut self.file else {
            return Ok(());
        };
        let name = duplicate_log::file_name(open.first);
        let length = open.file.length().on(&*self.storage, "read", &name)?;
        let (mut low, mut high) = (0, length / MARK_LEN as u64);
        while low < high {
            let middle = low.midpoint(high);
            let mut bytes = [0; MARK_LEN];
            read_full_at(&*open.file, &mut bytes, middle * MARK_LEN as u64).on(
                &*self.storage,
                "read",
                &name,
            )?;
            // Behind the last entry there is none.
            let is_before = |mark: Mark| mark.position.sequence < sequence;
            if Mark::decode(&bytes).is_some_and(is_before) {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        open.offset = low * MARK_LEN as u64;
        Ok(())
    }

    /// Opens the file that begins with this sequence; false if it is not there any more.
    fn enter(&mut self, first: u64) -> Result<bool, DedupeError> {
        let name = duplicate_log::file_name(first);
        (self.ahead_len, self.used) = (0, 0);
        match self.storage.open(&name, Access::Read) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
            file => {
                self.file = Some(Open {
                    first,
                    file: file.on(&*self.storage, "open", &name)?,
                    offset: 0,
                });
                Ok(true)
            }
        }
    }

    /// The first sequences of all files, rising.
    fn firsts(&self) -> Result<Vec<u64>, DedupeError> {
        let names = self.storage.list().on(&*self.storage, "list", "")?;
        let mut firsts: Vec<u64> = names
            .iter()
            .filter_map(|name| duplicate_log::first_of(name))
            .collect();
        firsts.sort_unstable();
        Ok(firsts)
    }
}

/// Bytes that are read at once.
const CHUNK: usize = MARK_LEN * if cfg!(test) { 7 } else { 256 };

/// How often a file may be retired between the list and the opening.
const TRIES: usize = 4;
