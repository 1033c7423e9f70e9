//! A sink that has another name takes over the dead letters that it had; and one that is gone for good leaves none.
//!
//! Their directory gets the new name, in one step. Where that name has letters too, as after a sink that was called so
//! before, they are taken one by one: each is durable here before it goes there, so a crash finds it in one of the two,
//! or in both, and the next start goes on. Of the same event one letter stays, the own one. In a letter stands the name
//! that its sink had when it was written.

use super::{DeadLetterError, DeadLetters, list};
use crate::disk::{self, Disk, IoContext, Storage};
use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;

/// Gives the dead letters of the sink `former` to `sink`, durably; says how many. `dir` holds the directories of both.
/// What cannot be read stays where it is. For the server alone, while neither sink runs.
pub fn take_over(dir: &Path, former: &str, sink: &str) -> Result<u64, DeadLetterError> {
    let at = |path: &Path| match Disk::open(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        disk => disk.map(Some).map_err(disk::Error::at("open", path)),
    };
    let (from, to) = (dir.join(former), dir.join(sink));
    let (Some(parent), Some(theirs)) = (at(dir)?, at(&from)?) else {
        return Ok(0);
    };
    let removed = |path| Disk::remove_empty(path).map_err(disk::Error::at("remove", path));
    removed(&to)?;
    let count = match at(&to)? {
        None => {
            let count = DeadLetters::read_only(Arc::new(theirs)).list()?.len();
            let renamed = parent.rename(former, sink);
            renamed.on(&parent, "rename", former)?;
            count as u64
        }
        Some(own) => {
            let mut theirs = DeadLetters::open(Arc::new(theirs))?;
            let count = DeadLetters::open(Arc::new(own))?.take_from(&mut theirs, sink)?;
            removed(&from)?;
            count
        }
    };
    parent.sync().on(&parent, "sync", "")?;
    Ok(count)
}

/// Removes the dead letters of a sink that is gone for good, and whatever else lies with them.
pub fn forget(dir: &Path, sink: &str) -> Result<(), DeadLetterError> {
    let path = dir.join(sink);
    let disk = match Disk::open(&path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        disk => disk.map_err(disk::Error::at("open", &path))?,
    };
    for name in list(&disk)? {
        let removed = disk.remove(&name);
        removed.on(&disk, "remove", &name)?;
    }
    disk.sync().on(&disk, "sync", "")?;
    Disk::remove_empty(&path).map_err(disk::Error::at("remove", &path))?;
    let parent = Disk::open(dir).map_err(disk::Error::at("open", dir))?;
    Ok(parent.sync().on(&parent, "sync", "")?)
}

impl DeadLetters {
    /// Takes all letters of `theirs`, one by one, as those of `sink`.
    pub(super) fn take_from(
        &mut self,
        theirs: &mut DeadLetters,
        sink: &str,
    ) -> Result<u64, DeadLetterError> {
        let mut count = 0;
        for listed in theirs.list()? {
            let mut letter = match theirs.read(listed.item) {
                Err(DeadLetterError::Missing { .. } | DeadLetterError::Damaged { .. }) => continue,
                letter => letter?,
            };
            if !self.is_there(listed.item) {
                sink.clone_into(&mut letter.sink);
                self.add(&letter)?;
            }
            if listed.retry {
                self.request_retry(listed.item)?;
                self.sync()?;
            }
            theirs.done(listed.item)?;
            count += 1;
        }
        // Bodies that no letter needs any more.
        theirs.retries()?;
        Ok(count)
    }
}
