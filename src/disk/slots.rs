//! Two slots in one file, written by turns and in place: what a thread saves every second or two.
//!
//! [`Storage::replace`] exchanges names, and a name is durable with a commit of the file system's own journal: three
//! syncs, and a few writes of the file system beside ours. Here a save is one write over blocks that are the file's
//! already, and one `fdatasync` that has no metadata to write; it needs no room on a full disk either. As with the two
//! meta pages of LMDB, the save before stays whole until the next one is durable.
//!
//! # The file
//!
//! Two slots of the same length, a power of two of blocks of 4096 bytes and 1 MiB at most: the first at 0, the second
//! in the middle of the file. So what tears one never touches the other. In each stands a text that
//! [`text::seal`] ends, and line feeds from there to the end of the slot:
//!
//! ```text
//! hookline-cursor 4
//! save 4711
//! …
//! crc32c 1b2c3d4e
//! ```
//!
//! A title with the version, the number of the save, the lines of whose file it is, and the CRC32C of all of that.
//! Save N stands in slot N mod 2. **What the file says is the sound slot with the higher number.** Without a sound one
//! it is damaged.
//!
//! # What holds
//!
//! - After the end of the process, a power cut or an error in the middle of a save, the file says what it said before
//!   or what it was to say. After a save it says that.
//! - The length stays what it is. A text that has outgrown its slot gets a new file with larger ones.
//! - A process **makes the file anew**, whole and durable, by [`Storage::replace`], when it saves for the first time:
//!   what it has read may be in the cache alone, after a kill or a sync that failed, and a slot that is not durable
//!   must not be the one that is relied on while the other is written. So it is after every error, and when somebody
//!   has removed or exchanged the file. What was in its place stays as `NAME.old`.
//! - Whoever reads while that goes on gets one of the last two saves, never half of one.
//! - Damage to the last save brings back the one before. Where that would do harm, [`Slots::make`] has both slots say
//!   the same.
//!
//! For one writer at a time.

use super::block::{ALIGNMENT, on_disk, padded};
use super::error::{Error, IoContext};
use super::storage::{Access, Identity, Storage, StorageFile, write_all_at};
use super::text::{self, CRC32C};
use std::fmt;
use std::io::{self, ErrorKind, IoSlice};
use std::sync::Arc;

/// Who saves into one such file.
pub(crate) struct Slots {
    storage: Arc<dyn Storage>,
    name: String,
    /// The title of what is written, with its version.
    title: &'static str,
    /// As this process has made it; `None` before that, and after an error.
    made: Option<Made>,
}

/// A file, all of which this process has written and synced.
struct Made {
    file: Box<dyn StorageFile>,
    identity: Identity,
    /// Bytes of each slot.
    slot: usize,
    /// The number of the last save, which is durable.
    last: u64,
    /// Bytes from the begin of each slot behind which there are only line feeds.
    filled: [usize; 2],
}

impl Slots {
    /// Nothing is read nor written yet.
    pub(crate) fn new(storage: Arc<dyn Storage>, name: &str, title: &'static str) -> Slots {
        Slots {
            storage,
            name: name.to_owned(),
            title,
            made: None,
        }
    }

    /// The name of the file.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Has the file say these lines, none of which is empty, durably; after an error it says them or what it said
    /// before.
    pub(crate) fn save(&mut self, lines: &str) -> Result<(), Error> {
        // It is put back when all went well.
        if let Some(mut made) = self.made.take()
            && self.is_in_place(&made)
        {
            let next = made.last.saturating_add(1);
            let text = seal(self.title, next, lines);
            if text.len() <= made.slot {
                let written = made.write(next, &text);
                written.on(&*self.storage, "save", &self.name)?;
                self.made = Some(made);
                return Ok(());
            }
        }
        self.make(lines)
    }

    /// The same in a new file, of which both slots say these lines: what was said before never comes back, whatever is
    /// damaged.
    pub(crate) fn make(&mut self, lines: &str) -> Result<(), Error> {
        self.made = None;
        let made = self.make_file(lines).on(&*self.storage, "save", &self.name);
        self.made = Some(made?);
        Ok(())
    }

    fn make_file(&self, lines: &str) -> io::Result<Made> {
        let texts = [0, 1].map(|number| seal(self.title, number, lines));
        let longest = texts.iter().map(String::len).max().unwrap_or(0);
        if longest > SLOT_MAX {
            let cause = format!("it would have {longest} bytes, and {SLOT_MAX} is the most");
            return Err(io::Error::new(ErrorKind::InvalidInput, cause));
        }
        let mut slot = 0;
        let mut replace = || {
            let content = &mut |least: usize| {
                slot = slot_for(longest.max(least.div_ceil(2)));
                let slots = texts.iter().map(|text| fill(text, slot));
                slots.collect::<Vec<_>>().concat()
            };
            self.storage.replace_by(&self.name, LENGTH_MAX, content)
        };
        replace()?;
        // The next one is written over the one before, which needs no room once there is one.
        let old = format!("{}.old", self.name);
        if self.storage.identity(&old)?.is_none() {
            replace()?;
        }
        let file = self.storage.open(&self.name, Access::Write)?;
        Ok(Made {
            identity: file.identity()?,
            file,
            slot,
            last: 1,
            filled: texts.map(|text| text.len()),
        })
    }

    /// False if somebody has removed the file, or put another one in its place: what is written into this one then is
    /// found by nobody.
    fn is_in_place(&self, made: &Made) -> bool {
        let there = self.storage.identity(&self.name);
        matches!(there, Ok(Some(there)) if there == made.identity)
    }
}

impl Made {
    fn write(&mut self, number: u64, text: &str) -> io::Result<()> {
        let (slot, filled) = match number % 2 {
            0 => (0, &mut self.filled[0]),
            _ => (self.slot, &mut self.filled[1]),
        };
        let len = text.len();
        // Whole blocks: the rest of one that was not in the cache would have to be read.
        let bytes = fill(text, padded(len.max(*filled)));
        write_all_at(&*self.file, &mut [IoSlice::new(&bytes)], on_disk(slot))?;
        self.file.sync_data()?;
        *filled = len;
        self.last = number;
        Ok(())
    }
}

impl fmt::Debug for Slots {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_tuple("Slots").field(&self.name).finish()
    }
}

/// The lines of the sound slot with the higher number, of a file of this title; `None` if there is none.
pub(crate) fn newest<'b>(bytes: &'b [u8], title: &str) -> Option<&'b str> {
    let slots = halves(bytes).map(|slot| unseal(slot, title));
    let newest = slots
        .into_iter()
        .flatten()
        .max_by_key(|(number, _)| *number);
    newest.map(|(_, lines)| lines)
}

/// Where the two slots would be, whatever is in them.
pub(crate) fn halves(bytes: &[u8]) -> [&[u8]; 2] {
    bytes.split_at(bytes.len() / 2).into()
}

fn seal(title: &str, number: u64, lines: &str) -> String {
    text::seal(format!("{title}\n{SAVE}{number}\n{lines}"), CRC32C)
}

fn unseal<'b>(slot: &'b [u8], title: &str) -> Option<(u64, &'b str)> {
    let text = text::unseal(slot, CRC32C).ok()?;
    let rest = text.strip_prefix(title)?.strip_prefix('\n')?;
    let (number, lines) = rest.strip_prefix(SAVE)?.split_once('\n')?;
    Some((number.parse().ok()?, lines))
}

/// Bytes of a slot that has room for so many.
fn slot_for(bytes: usize) -> usize {
    bytes.div_ceil(ALIGNMENT).next_power_of_two() * ALIGNMENT
}

/// The text, and line feeds behind it.
fn fill(text: &str, len: usize) -> Vec<u8> {
    let mut bytes = text.as_bytes().to_vec();
    bytes.resize(len, b'\n');
    bytes
}

/// Bytes of the longest slot: a cursor has at most a quarter of that, and a checkpoint of 20,000 files fits as well.
const SLOT_MAX: usize = 1 << 20;

/// Bytes of the longest file.
pub(crate) const LENGTH_MAX: u64 = 2 << 20;

const SAVE: &str = "save ";

#[cfg(test)]
mod tests;
