//! Taking up the memory of keys where the checkpoint left it, or beginning anew.

use super::checkpoint;
use super::checkpoint::{Checkpoint, StoredCheckpoint};
use super::duplicate_log;
use super::duplicate_log::{DuplicateLog, Extent, MARK_LEN, Mark, MarkFile};
use super::entry::{Entry, Text};
use super::error::{DedupeError, remove_file};
use super::index::{Index, KeyAt};
use super::keys;
use super::keys::{Facts, Generation, KeyLog};
use super::location::{LIVE_MAX, Location};
use super::options::Options;
use super::parties::Parties;
use super::scope::{ANY, Scope};
use super::tags::Tags;
use super::{Dedupe, older};
use crate::disk::slots::Slots;
use crate::disk::{Access, IoContext, ReadAhead, Storage, StorageFile, read_full_at, write_all_at};
use crate::event::Position;
use crate::journal::JournalId;
use std::collections::VecDeque;
use std::io::{ErrorKind, IoSlice};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

/// What there is to open.
pub(super) struct Opening {
    pub(super) storage: Arc<dyn Storage>,
    pub(super) options: Options,
    pub(super) journal: JournalId,
    /// First sequence of the journal.
    pub(super) first: u64,
    /// Last one.
    pub(super) last: u64,
    pub(super) tags: Tags,
}

/// Why a state is of no use.
enum Unusable {
    Damaged(String),
    Io(DedupeError),
}

impl<E: Into<DedupeError>> From<E> for Unusable {
    fn from(error: E) -> Unusable {
        Unusable::Io(error.into())
    }
}

/// What was saved; with the index, the newest generation that has keys without an endpoint.
type Loaded = (KeyLog, DuplicateLog, (Index, u64), Parties, Slots);

impl Opening {
    /// The state of the checkpoint, or an empty one.
    pub(super) fn open(self) -> Result<Dedupe, DedupeError> {
        let path = self.storage.describe("");
        let reason = match checkpoint::read(&*self.storage)? {
            StoredCheckpoint::Nothing => {
                if self.last >= self.first {
                    tracing::info!(
                        path,
                        "dedupe knows no events yet: it reads the journal from its first sequence"
                    );
                }
                return self.anew();
            }
            StoredCheckpoint::Damaged => "its checkpoint is damaged".to_owned(),
            StoredCheckpoint::Saved(saved) if saved.journal != self.journal => {
                format!("it is of another journal, {}", saved.journal)
            }
            StoredCheckpoint::Saved(saved) if saved.decided > self.last => format!(
                "it goes to sequence {}, beyond the end of the journal, as after a restore of an older copy",
                saved.decided
            ),
            StoredCheckpoint::Saved(saved) => match self.load(&saved) {
                Ok(loaded) => return Ok(self.dedupe(loaded, saved.decided)),
                Err(Unusable::Io(error)) => return Err(error),
                Err(Unusable::Damaged(reason)) => reason,
            },
        };
        tracing::warn!(
            path,
            reason,
            first = self.first,
            last = self.last,
            "what dedupe has saved cannot be used: it begins anew and reads the journal again"
        );
        self.anew()
    }

    /// Nothing is remembered, and everything in the journal is to be decided.
    fn anew(self) -> Result<Dedupe, DedupeError> {
        // First that which says what the files are, so that none is ever taken for what it is not.
        checkpoint::remove(&*self.storage)?;
        self.remove_others(|_| false)?;
        let keys = KeyLog::new(Arc::clone(&self.storage), VecDeque::new(), None);
        let marks = DuplicateLog::new(Arc::clone(&self.storage), VecDeque::new());
        let index = Index::for_keys(self.options.keys);
        let decided = self.first.saturating_sub(1);
        let parties = Parties::new(self.options.scope);
        let slots = checkpoint::slots(&self.storage);
        Ok(self.dedupe((keys, marks, (index, 0), parties, slots), decided))
    }

    fn load(&self, saved: &Checkpoint) -> Result<Loaded, Unusable> {
        let marks = self.marks(saved)?;
        let generations = &saved.generations;
        let is_rising = |two: &[Facts]| two[0].number.checked_add(1) == Some(two[1].number);
        if generations.len() >= LIVE_MAX as usize || !generations.windows(2).all(is_rising) {
            return Err(Unusable::Damaged("its generations are no row".to_owned()));
        }
        let mut opened = VecDeque::new();
        for facts in generations {
            opened.push_back(Generation {
                file: self.open_file(&keys::file_name(facts.number), facts.bytes)?,
                facts: *facts,
                is_synced: true,
            });
        }
        let mut keys = KeyLog::new(Arc::clone(&self.storage), opened, saved.clock);
        let mut index = Index::for_keys(self.options.keys);
        let scope = self.options.scope;
        let parties = Parties::new(scope);
        let mut unnumbered = 0;
        let mut progress = Progress::new(generations);
        for facts in generations {
            self.scan(facts, &mut progress, |place, entry| {
                let group = scope.group(entry.endpoint, entry.foreign);
                let (key, is_new) = match entry.text {
                    // Under another scope, two endpoints may have written one.
                    Text::Key(key) => (key, scope == Scope::Endpoint),
                    Text::KeyAgain(key) => (key, false),
                    Text::Names(user_id, phone) => {
                        parties.learn((group, user_id), phone, facts.number);
                        return Ok(());
                    }
                };
                if group == ANY {
                    unnumbered = facts.number;
                }
                let tag = self.tags.of(group, key);
                if is_new {
                    index.insert([tag, place.bits()]);
                    return Ok(());
                }
                let look = |[_, place]: KeyAt| older(&mut keys, scope, place, (group, key));
                match index.find(tag, look)? {
                    (slot, Some(_)) => index.replace(slot, [tag, place.bits()]),
                    // It is new, or its generation has gone since.
                    (slot, None) => index.insert_at(slot, [tag, place.bits()]),
                }
                Ok(())
            })?;
        }
        let known = |name: &str| {
            let mut keys = generations
                .iter()
                .map(|facts| keys::file_name(facts.number));
            let mut duplicates = saved
                .duplicates
                .iter()
                .map(|it| duplicate_log::file_name(it.first));
            keys.any(|it| it == name) || duplicates.any(|it| it == name)
        };
        let mut slots = checkpoint::slots(&self.storage);
        // What was read may be in the cache alone, and what does not stand in it may be all that a power cut leaves. If
        // that cannot be now, the next checkpoint says why.
        let _ = saved.save(&mut slots);
        self.remove_others(known)?;
        Ok((keys, marks, (index, unnumbered), parties, slots))
    }

    fn dedupe(
        self,
        (keys, marks, (index, unnumbered), parties, slots): Loaded,
        checkpointed: u64,
    ) -> Dedupe {
        Dedupe {
            // Retention may have taken what was not decided, if it was informed that nobody needs it.
            decided: checkpointed.max(self.first.saturating_sub(1)),
            checkpointed,
            storage: self.storage,
            slots,
            journal: self.journal,
            options: self.options,
            tags: self.tags,
            keys,
            marks,
            index,
            unnumbered,
            parties,
            stage: None,
            found: Vec::new(),
            // Those that were found may be in the cache alone.
            named: (0, 0),
            failed: false,
        }
    }

    /// Reads a generation from its begin to its end.
    fn scan(
        &self,
        facts: &Facts,
        progress: &mut Progress,
        mut each: impl FnMut(Location, Entry<'_>) -> Result<(), DedupeError>,
    ) -> Result<(), Unusable> {
        let name = keys::file_name(facts.number);
        let damaged = || Unusable::Damaged(format!("{name} is damaged"));
        let file = self.open_file(&name, facts.bytes)?;
        let (mut bytes, mut read, mut crc) = (Vec::new(), 0, 0);
        let mut ahead = ReadAhead::default();
        while read < facts.bytes {
            let kept = bytes.len();
            if kept > TEXT_MAX {
                return Err(damaged());
            }
            let more = CHUNK.min(facts.bytes - read);
            bytes.resize(kept + usize::try_from(more).unwrap_or(0), 0);
            self.read(&name, &*file, &mut bytes[kept..], read)?;
            crc = crc32c::crc32c_append(crc, &bytes[kept..]);
            read += more;
            let mut rest = bytes.as_slice();
            while let Some((entry, behind)) = Entry::decode(rest) {
                let place = Location::new(facts.number, read - rest.len() as u64);
                // Older versions have written generations whose end lies beyond what a place can say.
                if let Some(place) = place {
                    each(place, entry)?;
                }
                rest = behind;
            }
            let len = rest.len();
            bytes.drain(..bytes.len() - len);
            progress.step(more);
            ahead.follow(&*file, read);
            // Requests are answered meanwhile, perhaps on this core, and would wait for the end of the time slice.
            thread::yield_now();
        }
        if !bytes.is_empty() || crc != facts.crc {
            return Err(damaged());
        }
        Ok(())
    }

    /// The log of duplicates, every entry of which is looked at.
    fn marks(&self, saved: &Checkpoint) -> Result<DuplicateLog, Unusable> {
        let mut files = VecDeque::new();
        let mut before = Position::default();
        for (extent, index) in saved.duplicates.iter().zip(1..) {
            let Extent { first, bytes } = *extent;
            let name = duplicate_log::file_name(first);
            let damaged = || Unusable::Damaged(format!("{name} is damaged"));
            let file = self.open_file(&name, bytes)?;
            let mut chunk = Vec::new();
            let mut read = 0;
            while read < bytes {
                let more = (MARK_LEN as u64 * 4096).min(bytes - read);
                chunk.resize(usize::try_from(more).unwrap_or(0), 0);
                self.read(&name, &*file, &mut chunk, read)?;
                let (entries, rest) = chunk.as_chunks();
                for (entry, index) in entries.iter().zip(0..) {
                    let Mark { position, .. } = Mark::decode(entry).ok_or_else(damaged)?;
                    let is_first = read == 0 && index == 0;
                    let is_here = position > before && (!is_first || position.sequence == first);
                    if !is_here || position.sequence > saved.decided || !rest.is_empty() {
                        return Err(damaged());
                    }
                    before = position;
                }
                read += more;
            }
            if index == saved.duplicates.len() {
                self.erase(&name, &*file, bytes)?;
            }
            files.push_back(MarkFile {
                file,
                extent: *extent,
                is_synced: false,
            });
        }
        Ok(DuplicateLog::new(Arc::clone(&self.storage), files))
    }

    /// Writes zeros over what was written after the checkpoint: what comes there now may be less, and a reader must
    /// not go on into what was decided of another end of the journal.
    fn erase(&self, name: &str, file: &dyn StorageFile, from: u64) -> Result<(), DedupeError> {
        let length = file.length().on(&*self.storage, "read", name)?;
        let mut at = from;
        while at < length {
            let more = CHUNK.min(length - at);
            let zeros = vec![0; usize::try_from(more).unwrap_or(0)];
            let written = write_all_at(file, &mut [IoSlice::new(&zeros)], at);
            written.on(&*self.storage, "write", name)?;
            at += more;
        }
        Ok(())
    }

    /// Removes the files of both logs that are not known.
    fn remove_others(&self, known: impl Fn(&str) -> bool) -> Result<(), DedupeError> {
        for name in self.storage.list().on(&*self.storage, "list", "")? {
            let is_ours = name.starts_with(keys::PREFIX) || name.starts_with(duplicate_log::PREFIX);
            if is_ours && !known(&name) {
                remove_file(&*self.storage, &name)?;
            }
        }
        Ok(())
    }

    /// Opens a file that must be there and have so many bytes.
    fn open_file(&self, name: &str, bytes: u64) -> Result<Box<dyn StorageFile>, Unusable> {
        let file = match self.storage.open(name, Access::Write) {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                return Err(Unusable::Damaged(format!("{name} is missing")));
            }
            file => file.on(&*self.storage, "open", name)?,
        };
        if file.length().on(&*self.storage, "read", name)? < bytes {
            return Err(Unusable::Damaged(format!("{name} is cut short")));
        }
        Ok(file)
    }

    fn read(
        &self,
        name: &str,
        file: &dyn StorageFile,
        out: &mut [u8],
        offset: u64,
    ) -> Result<(), Unusable> {
        let len = read_full_at(file, out, offset).on(&*self.storage, "read", name)?;
        if len < out.len() {
            return Err(Unusable::Damaged(format!("{name} is cut short")));
        }
        Ok(())
    }
}

/// Logs now and then how far a long reading has come.
struct Progress {
    bytes: u64,
    done: u64,
    logged: Instant,
}

impl Progress {
    fn new(generations: &[Facts]) -> Progress {
        Progress {
            bytes: generations.iter().map(|facts| facts.bytes).sum(),
            done: 0,
            logged: Instant::now(),
        }
    }

    fn step(&mut self, bytes: u64) {
        self.done += bytes;
        if self.logged.elapsed() >= LOGGED_EVERY {
            self.logged = Instant::now();
            tracing::info!(
                bytes = self.done,
                of = self.bytes,
                "dedupe reads the keys that it has saved"
            );
        }
    }
}

/// Bytes that are read at once.
const CHUNK: u64 = 64 << 10;

/// Bytes of the longest text, roughly: a body's, with each byte escaped.
const TEXT_MAX: usize = 3 * (96 << 20);

const LOGGED_EVERY: Duration = Duration::from_secs(5);
