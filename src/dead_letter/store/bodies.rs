//! The bodies that stand in files of their own, once for all letters of a notification.
//!
//! A body is durable, name and all, before the first letter that names it gets its name. It goes when its notification
//! has no letter any more, and only the process that writes the letters takes it away: a verb that drops the last one
//! may not know of the next. So what is left over is looked for about once a second, and at each start.

use super::{LENGTH_MAX, TEMPORARY, list, of_dead_letter};
use crate::dead_letter::error::{BODIES_MAX, DeadLetterError};
use crate::dead_letter::file::{Content, DeadLetter, body_of};
use crate::disk::{self, Access, IoContext, Storage, StorageFile, write_all_at};
use crate::worker::Notification;
use parking_lot::Mutex;
use std::collections::BTreeSet;
use std::io::{self, ErrorKind, IoSlice};
use std::sync::Arc;

pub(super) struct Bodies {
    storage: Arc<dyn Storage>,
    /// What the files take.
    pub(super) bytes: u64,
    pub(super) bytes_max: u64,
    /// The one that was used last: letters of one body come one behind the other.
    last: Mutex<Option<Last>>,
    #[cfg(test)]
    pub(super) written: u64,
}

struct Last {
    sequence: u64,
    received_at: u64,
    /// The name of its file, once that is known to be there.
    name: Option<String>,
    /// That name is durable.
    is_durable: bool,
    content: Arc<Content>,
}

impl Bodies {
    pub(super) fn new(storage: Arc<dyn Storage>) -> Bodies {
        Bodies {
            storage,
            bytes: 0,
            bytes_max: BODIES_MAX,
            last: Mutex::new(None),
            #[cfg(test)]
            written: 0,
        }
    }

    /// Finds out what is there. `names` are those of all files. What cannot be looked at counts nothing.
    pub(super) fn count(&mut self, names: &[String]) {
        let bodies = names.iter().filter(|name| body_of(name).is_some());
        self.bytes = bodies.map(|name| self.length(name)).sum();
    }

    /// What a notification shares with all its letters; the same one as last time, if it is still that.
    pub(super) fn content_of(&self, notification: &Notification<'_>) -> Arc<Content> {
        let (sequence, record) = (notification.sequence, &notification.record);
        let mut last = self.last.lock();
        if let Some(last) = &*last
            && (last.sequence, last.received_at) == (sequence, record.received_at)
            && last.content.body.len() == record.body.len()
        {
            return Arc::clone(&last.content);
        }
        let content = Arc::new(Content::of(record));
        *last = Some(Last {
            sequence,
            received_at: record.received_at,
            name: None,
            is_durable: false,
            content: Arc::clone(&content),
        });
        content
    }

    /// Reads the content of a letter, which stands in `file`, from the file with this name.
    pub(super) fn read(
        &self,
        (letter, file): (&DeadLetter, &str),
        name: &str,
    ) -> Result<Arc<Content>, DeadLetterError> {
        let mut last = self.last.lock();
        if let Some(last) = &*last
            && last.name.as_deref() == Some(name)
        {
            return Ok(Arc::clone(&last.content));
        }
        let damaged = |reason| DeadLetterError::Damaged {
            path: self.storage.describe(file),
            reason: format!("its body in {name}: {reason}"),
        };
        let bytes = disk::read_file(&*self.storage, name, LENGTH_MAX)
            .on(&*self.storage, "read", name)?
            .ok_or_else(|| damaged("there is no such file".to_owned()))?;
        let content = Arc::new(Content::decode(&bytes, name).map_err(damaged)?);
        *last = Some(Last {
            sequence: letter.item.sequence,
            received_at: letter.received_at,
            name: Some(name.to_owned()),
            is_durable: false,
            content: Arc::clone(&content),
        });
        Ok(content)
    }

    /// Writes the content of a letter, unless it is there or small. Gives the name of its file. The name is durable
    /// when [`Bodies::sync`] returns.
    pub(super) fn keep(&mut self, letter: &DeadLetter) -> Result<Option<String>, DeadLetterError> {
        if letter.content.is_small() {
            return Ok(None);
        }
        let sequence = letter.item.sequence;
        let known = self.last.get_mut().as_ref().filter(|last| {
            last.sequence == sequence && Arc::ptr_eq(&last.content, &letter.content)
        });
        if let Some(name) = known.and_then(|last| last.name.clone()) {
            return Ok(Some(name));
        }
        let name = letter.content.file_name(sequence);
        if self.read((letter, &name), &name).ok().as_ref() != Some(&letter.content) {
            self.write(&name, &letter.content)?;
        }
        *self.last.get_mut() = Some(Last {
            sequence,
            received_at: letter.received_at,
            name: Some(name.clone()),
            is_durable: false,
            content: Arc::clone(&letter.content),
        });
        Ok(Some(name))
    }

    /// Makes durable which bodies there are, unless that is known.
    pub(super) fn sync(&mut self) -> Result<(), DeadLetterError> {
        let Some(last) = self.last.get_mut() else {
            return Ok(());
        };
        if last.name.is_some() && !last.is_durable {
            self.storage.sync().on(&*self.storage, "sync", "")?;
            last.is_durable = true;
        }
        Ok(())
    }

    fn write(&mut self, name: &str, content: &Content) -> Result<(), DeadLetterError> {
        let bytes = content.encode();
        let length = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        if self.bytes.saturating_add(length) > self.bytes_max {
            // What cannot be taken away is in the way, and that is said.
            let _ = self.sweep(&list(&*self.storage)?);
            if self.bytes.saturating_add(length) > self.bytes_max {
                let path = self.storage.describe("");
                return Err(DeadLetterError::Full { path });
            }
        }
        let before = self.length(name);
        let written = || {
            let temporary = format!("{name}{TEMPORARY}");
            write_new(&*self.storage, &temporary, &bytes)?.sync_all()?;
            self.storage.rename(&temporary, name)
        };
        written().on(&*self.storage, "write", name)?;
        self.bytes = self.bytes.saturating_sub(before).saturating_add(length);
        #[cfg(test)]
        {
            self.written += 1;
        }
        Ok(())
    }

    /// What was used last is not needed any more, or not soon.
    pub(super) fn forget(&self) {
        *self.last.lock() = None;
    }

    /// Takes the bodies away whose notification has no letter. `names` are those of all files.
    pub(super) fn sweep(&mut self, names: &[String]) -> Result<(), disk::Error> {
        let is_left = |names: &[String]| -> BTreeSet<String> {
            let needed: BTreeSet<u64> = names
                .iter()
                .filter_map(|name| of_dead_letter(name))
                .collect();
            let bodies = names
                .iter()
                .filter(|name| body_of(name).is_some_and(|sequence| !needed.contains(&sequence)));
            bodies.cloned().collect()
        };
        let left = is_left(names);
        if left.is_empty() {
            return Ok(());
        }
        // A letter that gets its other name just now may be missing in one list, but not in the next.
        let left = &left & &is_left(&list(&*self.storage)?);
        if left.is_empty() {
            return Ok(());
        }
        self.forget();
        // The letters are gone for good before what they need.
        self.storage.sync().on(&*self.storage, "sync", "")?;
        let mut swept = Ok(());
        for name in left {
            let length = self.length(&name);
            match self.storage.remove(&name) {
                // One that somebody else has put there keeps no other.
                Err(error) if error.kind() != ErrorKind::NotFound => {
                    swept = Err(disk::Error::on(&*self.storage, "remove", &name, error));
                }
                _ => self.bytes = self.bytes.saturating_sub(length),
            }
        }
        swept
    }

    /// 0 if there is no such file.
    fn length(&self, name: &str) -> u64 {
        let file = self.storage.open(name, Access::Read);
        file.and_then(|file| file.length()).unwrap_or(0)
    }
}

/// Writes a file that is to get another name.
pub(super) fn write_new(
    storage: &dyn Storage,
    temporary: &str,
    bytes: &[u8],
) -> io::Result<Box<dyn StorageFile>> {
    let file = match storage.create(temporary) {
        // Of an attempt before this one, which failed.
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            if storage.remove(temporary).is_err() {
                storage.set_aside(temporary)?;
            }
            storage.create(temporary)?
        }
        file => file?,
    };
    write_all_at(&*file, &mut [IoSlice::new(bytes)], 0)?;
    Ok(file)
}
