//! A sink that has another name takes over the cursor that it had.
//!
//! The file of the cursor gets the new name, which is one step: a crash finds it under the one name or the other. Where
//! both names have a cursor nothing is touched.

use super::{CursorError, Cursors, file_name};
use crate::disk::{self, IoContext, Storage};
use std::io::ErrorKind;

/// Whether a cursor has been taken over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TakeOver {
    /// It has, durably.
    Taken,
    /// The former name has none, or none any more.
    Nothing,
    /// Both names have one: the own one counts.
    Both,
}

impl Cursors {
    /// What [`Cursors::take_over`] would do.
    pub fn look_over(&self, former: &str, sink: &str) -> Result<TakeOver, CursorError> {
        Ok(match (self.has(former)?, self.has(sink)?) {
            (false, _) => TakeOver::Nothing,
            (true, true) => TakeOver::Both,
            (true, false) => TakeOver::Taken,
        })
    }

    /// Gives the cursor of `former` to `sink`, which must not have one itself.
    pub fn take_over(&self, former: &str, sink: &str) -> Result<TakeOver, CursorError> {
        let found = self.look_over(former, sink)?;
        if found == TakeOver::Taken {
            let [from, to] = [former, sink].map(file_name);
            // What was left of an earlier sink of this name is not what this cursor was before.
            let [from_old, to_old] = [&from, &to].map(|name| format!("{name}.old"));
            remove(&*self.storage, &to_old)?;
            match self.storage.rename(&from_old, &to_old) {
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                renamed => renamed.on(&*self.storage, "rename", &from_old)?,
            }
            let renamed = self.storage.rename(&from, &to);
            renamed.on(&*self.storage, "rename", &from)?;
            self.storage.sync().on(&*self.storage, "sync", "")?;
        }
        Ok(found)
    }

    /// Removes the cursor in `storage` of a sink that is gone for good, durably.
    pub fn forget(storage: &dyn Storage, sink: &str) -> Result<(), CursorError> {
        let name = file_name(sink);
        // The one that counts goes last: until then all of it is still to be forgotten.
        remove(storage, &format!("{name}.old"))?;
        remove(storage, &name)?;
        Ok(storage.sync().on(storage, "sync", "")?)
    }
}

fn remove(storage: &dyn Storage, name: &str) -> Result<(), disk::Error> {
    match storage.remove(name) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        removed => removed.on(storage, "remove", name),
    }
}
