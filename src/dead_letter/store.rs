//! The dead letters of one sink: a directory with one file for each.
//!
//! | file | |
//! |---|---|
//! | `4711.3.json` | a letter: event 3 of notification 4711, see `file.rs` |
//! | `4711.json` | one that is a notification as a whole |
//! | `4711.3.retry` | a letter that somebody wants to be delivered after all |
//! | `4711.1b2c3d4e.body` | headers and body of notification 4711, for all letters of it, unless they are small |
//! | `4711.3.tmp` | being written; of no use after a crash |
//!
//! A letter is durable when [`DeadLetters::add`] returns, so a cursor may pass what is in it, and it holds all that a
//! delivery needs, so it outlives the journal's retention. Nobody but people takes one away: each change of a name is
//! durable before anybody hears of it.
//!
//! The directory is all that the running server and `hookline dead-letters` say to each other. The verb gives a file
//! another name, the server sees that within a second. Both may do so at any time: a letter has one of its names
//! always, and what goes twice through the same door is delivered twice at worst.

mod bodies;
mod former;

pub use former::{forget, take_over};

use super::error::{DEAD_LETTERS_MAX, DeadLetterError};
use super::file::{Content, DeadLetter};
use crate::disk::{self, Access, Disk, IoContext, Storage, StorageFile, is_aside};
use crate::event::Item;
use crate::worker::Notification;
use bodies::{Bodies, write_new};
use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::panic::resume_unwind;
use std::path::Path;
use std::sync::Arc;
use std::thread;

/// The letters of one sink.
pub struct DeadLetters {
    storage: Arc<dyn Storage>,
    /// At most so many are there: others may have been taken away meanwhile.
    count: usize,
    count_max: usize,
    bodies: Bodies,
}

/// A letter that is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listed {
    pub item: Item,
    /// True if it is to be delivered after all.
    pub retry: bool,
}

impl DeadLetters {
    /// The letters in `storage`. What a crash has left of unfinished ones is taken away, so for the server alone.
    pub fn open(storage: Arc<dyn Storage>) -> Result<DeadLetters, DeadLetterError> {
        let names = list(&*storage)?;
        for name in names.iter().filter(|name| name.ends_with(TEMPORARY)) {
            match storage.remove(name) {
                Err(error) if error.kind() != ErrorKind::NotFound => {
                    let error = disk::Error::on(&*storage, "remove", name, error);
                    tracing::warn!(%error, "an unfinished file in the directory of dead letters cannot be removed; it does no harm, and the next start tries again; give the directory to the user that serves");
                }
                _ => {}
            }
        }
        let mut letters = DeadLetters::read_only(storage);
        letters.count = letters.list()?.len();
        letters.bodies.count(&names);
        if let Err(error) = letters.bodies.sweep(&names) {
            tracing::warn!(%error, "the file of a body that no dead letter needs any more cannot be removed; it does no harm, and the next start tries again; give the directory to the user that serves");
        }
        Ok(letters)
    }

    /// A command about the data directory that these lie in, as `DIR/dead-letters/SINK`.
    pub fn command(&self, words: &str) -> String {
        let path = self.storage.describe("letter");
        let dir = Path::new(&path).ancestors().nth(3);
        disk::command(words, dir.unwrap_or(Path::new("")))
    }

    /// The letters in `storage`, beside the server that may be writing there.
    pub fn read_only(storage: Arc<dyn Storage>) -> DeadLetters {
        DeadLetters {
            bodies: Bodies::new(Arc::clone(&storage)),
            storage,
            count: 0,
            count_max: DEAD_LETTERS_MAX,
        }
    }

    /// The time of the disk that they are on, in microseconds since 1970.
    pub fn now(&self) -> u64 {
        self.storage.now()
    }

    /// What a notification shares with all its letters: the same one as last time, if that was for this notification,
    /// so that it is neither copied nor looked for anew for each of them.
    pub fn content_of(&self, notification: &Notification<'_>) -> Arc<Content> {
        self.bodies.content_of(notification)
    }

    /// Frees the memory that [`DeadLetters::content_of`] and the last letter have left in use.
    pub(super) fn forget(&self) {
        self.bodies.forget();
    }

    /// Takes a letter, durably. One that is there already is replaced.
    pub fn add(&mut self, letter: &DeadLetter) -> Result<(), DeadLetterError> {
        self.add_all(std::slice::from_ref(letter))
    }

    /// Takes letters, durably; when this fails, some of them may be there. Costs less than one by one.
    pub fn add_all(&mut self, letters: &[DeadLetter]) -> Result<(), DeadLetterError> {
        if self.count + letters.len() > self.count_max {
            let there = self.list()?;
            self.count = there.len();
            let is_there = |item: Item| there.binary_search_by_key(&item, |it| it.item).is_ok();
            let new = letters.iter().filter(|letter| !is_there(letter.item));
            if there.len() + new.count() > self.count_max {
                let path = self.storage.describe("");
                return Err(DeadLetterError::Full { path });
            }
        }
        for some in letters.chunks(OPEN_MAX) {
            self.write(some, dead_letter_name)?;
            self.count += some.len();
        }
        self.sync()
    }

    /// All letters, in order, each once. Reads names only.
    pub fn list(&self) -> Result<Vec<Listed>, DeadLetterError> {
        let mut found = BTreeMap::new();
        for name in list(&*self.storage)? {
            let letter = name.strip_suffix(DEAD_LETTER).map(|id| (id, false));
            let letter = letter.or_else(|| Some((name.strip_suffix(RETRY)?, true)));
            if let Some((id, retry)) = letter
                && let Some(item) = parse(id)
            {
                *found.entry(item).or_default() |= retry;
            }
        }
        let found = found.into_iter();
        Ok(found.map(|(item, retry)| Listed { item, retry }).collect())
    }

    /// The letters that are to be delivered after all, in order. Bodies that no letter needs any more are taken away.
    /// For the server, about once a second.
    pub fn retries(&mut self) -> Result<Vec<Item>, DeadLetterError> {
        let names = list(&*self.storage)?;
        self.bodies.forget();
        // What cannot be taken away now is looked for again soon, and is no reason not to go on.
        let _ = self.bodies.sweep(&names);
        let asked = names.iter().filter_map(|name| name.strip_suffix(RETRY));
        let mut asked: Vec<_> = asked.filter_map(parse).collect();
        asked.sort_unstable();
        Ok(asked)
    }

    pub fn read(&self, item: Item) -> Result<DeadLetter, DeadLetterError> {
        // It may get its other name between two looks, from either to the other.
        for name in [
            dead_letter_name(item),
            retry_name(item),
            dead_letter_name(item),
        ] {
            let bytes = match self.bytes(&name) {
                Err(DeadLetterError::Missing { .. }) => continue,
                bytes => bytes?,
            };
            let decoded = DeadLetter::decode(&bytes).and_then(|(letter, body_file)| {
                if letter.item != item {
                    return Err(format!("it is the letter {}", letter.item));
                }
                Ok((letter, body_file))
            });
            let decoded = decoded.map_err(|reason| DeadLetterError::Damaged {
                path: self.storage.describe(&name),
                reason,
            });
            let (mut letter, body_file) = decoded?;
            if let Some(body_file) = body_file {
                match self.bodies.read((&letter, &name), &body_file) {
                    Ok(content) => letter.content = content,
                    // The letter may have gone meanwhile, and its body behind it.
                    Err(_) if !self.is_there(item) => break,
                    Err(error) => return Err(error),
                }
            }
            return Ok(letter);
        }
        Err(self.missing(item))
    }

    /// Asks the server to deliver a letter after all. [`DeadLetters::sync`] makes it durable.
    pub fn request_retry(&self, item: Item) -> Result<(), DeadLetterError> {
        let (letter, retry) = (dead_letter_name(item), retry_name(item));
        // The server may take a request back between two looks.
        for _ in 0..2 {
            match self.storage.rename(&letter, &retry) {
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                renamed => return Ok(renamed.on(&*self.storage, "rename", &letter)?),
            }
            // Asked for before, perhaps.
            if self.storage.open(&retry, Access::Read).is_ok() {
                return Ok(());
            }
        }
        Err(self.missing(item))
    }

    /// Nobody asks for it any more: it could not be read.
    pub fn withdraw_retry(&self, item: Item) -> Result<(), DeadLetterError> {
        let (letter, retry) = (dead_letter_name(item), retry_name(item));
        let renamed = self.storage.rename(&retry, &letter);
        renamed.on(&*self.storage, "rename", &retry)?;
        self.sync()
    }

    /// Takes a letter away that nobody wants to be delivered. [`DeadLetters::sync`] makes it durable.
    pub fn drop_dead_letter(&self, item: Item) -> Result<(), DeadLetterError> {
        // One after the other, as in `read`.
        let letter = self.remove(&dead_letter_name(item))?;
        let retry = self.remove(&retry_name(item))?;
        let again = self.remove(&dead_letter_name(item))?;
        if letter || retry || again {
            Ok(())
        } else {
            Err(self.missing(item))
        }
    }

    /// A letter was delivered after all. When this fails, or the power does, it is delivered again.
    pub fn done(&mut self, item: Item) -> Result<(), DeadLetterError> {
        self.remove(&dead_letter_name(item))?;
        self.remove(&retry_name(item))?;
        self.count = self.count.saturating_sub(1);
        self.sync()
    }

    /// A letter could not be delivered again: it waits for the next request, with what it says now. One that was
    /// dropped meanwhile stays away.
    pub fn failed_again(&mut self, letter: &DeadLetter) -> Result<(), DeadLetterError> {
        if let Err(DeadLetterError::Missing { .. }) = self.read(letter.item) {
            return Ok(());
        }
        // In the place of what was asked for, and then by the name of one that was not. A verb that asks again may come
        // at any moment between; nothing is ever removed here, so it finds the one or the other.
        self.write(std::slice::from_ref(letter), retry_name)?;
        self.sync()?;
        let (retry, name) = (retry_name(letter.item), dead_letter_name(letter.item));
        match self.storage.rename(&retry, &name) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                return Err(disk::Error::on(&*self.storage, "rename", &retry, error).into());
            }
            _ => {}
        }
        self.sync()
    }

    /// Makes durable which letters there are, and which are to be delivered after all.
    pub fn sync(&self) -> Result<(), DeadLetterError> {
        Ok(self.storage.sync().on(&*self.storage, "sync", "")?)
    }

    /// How many there are at most.
    pub fn count(&self) -> usize {
        self.count
    }

    /// Writes the files and gives them their names, which are durable with the next sync. Their bodies are before.
    fn write(
        &mut self,
        letters: &[DeadLetter],
        name_of: fn(Item) -> String,
    ) -> Result<(), DeadLetterError> {
        let mut files = Vec::with_capacity(letters.len());
        for letter in letters {
            let body_file = self.bodies.keep(letter)?;
            self.bodies.sync()?;
            let name = format!("{}{TEMPORARY}", letter.item);
            let written = write_new(&*self.storage, &name, &letter.encode(body_file.as_deref()));
            files.push((letter.item, written.on(&*self.storage, "write", &name)?));
        }
        self.sync_files(&files)?;
        for (item, _) in files {
            let name = format!("{item}{TEMPORARY}");
            let renamed = self.storage.rename(&name, &name_of(item));
            renamed.on(&*self.storage, "rename", &name)?;
        }
        Ok(())
    }

    /// Makes the files durable. Syncs that wait at the same time share one flush of the disk.
    fn sync_files(&self, files: &[Written]) -> Result<(), disk::Error> {
        let sync = |some: &[Written]| {
            some.iter().try_for_each(|(item, file)| {
                let name = format!("{item}{TEMPORARY}");
                file.sync_all().on(&*self.storage, "sync", &name)
            })
        };
        let mut shares = files.chunks(files.len().div_ceil(SYNCS_MAX).max(1));
        let own = shares.next().unwrap_or_default();
        thread::scope(|scope| {
            let spawn = |some| {
                let thread = thread::Builder::new().spawn_scoped(scope, move || sync(some));
                thread.map_err(|_| some)
            };
            let others: Vec<_> = shares.map(spawn).collect();
            others
                .into_iter()
                .fold(sync(own), |all, other| match other {
                    Ok(thread) => all.and(thread.join().unwrap_or_else(|it| resume_unwind(it))),
                    // There are too many threads.
                    Err(some) => all.and(sync(some)),
                })
        })
    }

    fn bytes(&self, name: &str) -> Result<Vec<u8>, DeadLetterError> {
        let read = disk::read_file(&*self.storage, name, LENGTH_MAX);
        let read = read.on(&*self.storage, "read", name)?;
        read.ok_or_else(|| DeadLetterError::Missing {
            path: self.storage.describe(name),
        })
    }

    fn is_there(&self, item: Item) -> bool {
        let mut names = [dead_letter_name(item), retry_name(item)].into_iter();
        names.any(|name| self.storage.open(&name, Access::Read).is_ok())
    }

    /// False if there is no such file.
    fn remove(&self, name: &str) -> Result<bool, disk::Error> {
        match self.storage.remove(name) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
            Err(error) => Err(disk::Error::on(&*self.storage, "remove", name, error)),
        }
    }

    fn missing(&self, item: Item) -> DeadLetterError {
        DeadLetterError::Missing {
            path: self.storage.describe(&dead_letter_name(item)),
        }
    }
}

/// The dead letters of one sink, by its name, if they can be read.
pub type SinkDeadLetters = (String, Result<DeadLetters, DeadLetterError>);

/// The dead letters of all sinks that ever had any, by name, in the directory `dir` that holds those of each. Beside
/// the server that may be writing there. What was set aside is left out.
pub fn list_sinks(dir: &Path) -> Result<Vec<SinkDeadLetters>, DeadLetterError> {
    let disk = match Disk::open(dir) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        disk => disk.map_err(disk::Error::at("open", dir))?,
    };
    let mut names = list(&disk)?;
    names.sort_unstable();
    let mut sinks = Vec::new();
    for name in names {
        let path = dir.join(&name);
        if path.is_dir() && !is_aside(&name) {
            let letters = Disk::open(&path).on(&disk, "open", &name);
            let letters = letters.map(|disk| DeadLetters::read_only(Arc::new(disk)));
            sinks.push((name, letters.map_err(DeadLetterError::from)));
        }
    }
    Ok(sinks)
}

fn list(storage: &dyn Storage) -> Result<Vec<String>, disk::Error> {
    storage.list().on(storage, "list", "")
}

/// The sequence of the letter with this name, if it is one.
fn of_dead_letter(name: &str) -> Option<u64> {
    let id = name
        .strip_suffix(DEAD_LETTER)
        .or_else(|| name.strip_suffix(RETRY));
    Some(parse(id?)?.sequence)
}

/// An item as it is written, and in no other way: it is the name of a file.
fn parse(name: &str) -> Option<Item> {
    let item: Item = name.parse().ok()?;
    (item.sequence > 0 && item.to_string() == name).then_some(item)
}

fn dead_letter_name(item: Item) -> String {
    format!("{item}{DEAD_LETTER}")
}

fn retry_name(item: Item) -> String {
    format!("{item}{RETRY}")
}

const DEAD_LETTER: &str = ".json";
const RETRY: &str = ".retry";
const TEMPORARY: &str = ".tmp";

/// A file that waits for its name.
type Written = (Item, Box<dyn StorageFile>);

/// Threads that sync at the same time.
const SYNCS_MAX: usize = 16;

/// Files that are open at the same time.
const OPEN_MAX: usize = 64;

/// More bytes than any letter has: a body has at most a few hundred MiB.
const LENGTH_MAX: u64 = 1 << 31;

#[cfg(test)]
mod tests;
