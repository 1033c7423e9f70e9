//! How far a sink has come: the highest sequence below and including which everything is confirmed.
//!
//! One small text file for each sink in the directory `cursors` beside the segments, replaced as a whole:
//! written under another name, synced, renamed, the directory synced. It is saved lazily; after a crash some events
//! come twice, none is lost. A file that is not what was written is refused, never guessed at.
//!
//! ```text
//! hookline-cursor 1
//! sequence 4711
//! crc32c 1b2c3d4e
//! ```

use crate::journal::{Access, Storage, is_shortage, write_all_at};
use std::io::{self, IoSlice};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// The cursor of one sink.
#[derive(Debug)]
pub struct Cursor {
    storage: Arc<dyn Storage>,
    name: String,
    saved: u64,
    place: Place,
}

/// Why a cursor could not be read or saved.
#[derive(Debug, thiserror::Error)]
pub enum CursorError {
    /// The operating system refused.
    #[error("cannot {action} {path}: {cause}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// The file.
        path: String,
        /// What the operating system said.
        cause: io::Error,
    },
    /// The file is damaged.
    #[error(
        "{path} is not a cursor: remove the file to deliver everything in the journal again, or write the highest \
         delivered sequence into a new one"
    )]
    Damaged {
        /// The file.
        path: String,
    },
}

impl CursorError {
    /// True for what passes by itself when there is space again.
    #[must_use]
    pub fn is_shortage(&self) -> bool {
        matches!(self, CursorError::Io { cause, .. } if is_shortage(cause))
    }
}

impl Cursor {
    /// Reads the cursor of the sink `sink`; one that does not exist stands at 0, before everything.
    pub fn load(
        storage: Arc<dyn Storage>,
        sink: &str,
        floor: &Floor,
    ) -> Result<Cursor, CursorError> {
        let name = format!("{sink}.cursor");
        let saved = read(&*storage, &name)?;
        Ok(Cursor {
            storage,
            name,
            saved,
            place: floor.place(saved),
        })
    }

    /// The sequence that was saved last.
    #[must_use]
    pub fn saved(&self) -> u64 {
        self.saved
    }

    /// Goes back to `last`, the last sequence in the journal, when it stands beyond: what it had confirmed there is
    /// lost, and those sequences are about to be given to other records. Says whether that was so.
    pub fn go_back_to(&mut self, last: u64) -> Result<bool, CursorError> {
        let beyond = self.saved > last;
        if beyond {
            self.save(last)?;
        }
        Ok(beyond)
    }

    /// Saves `sequence` durably, then lets the journal know that nothing below is needed for this sink.
    pub fn save(&mut self, sequence: u64) -> Result<(), CursorError> {
        if sequence == self.saved {
            return Ok(());
        }
        let temporary = format!("{}.new", self.name);
        let failed = |action| {
            let path = self.storage.describe(&self.name);
            move |cause| CursorError::Io {
                action,
                path,
                cause,
            }
        };
        // Left behind by a crash between the two steps, or not there.
        let _ = self.storage.remove(&temporary);
        let file = self.storage.create(&temporary).map_err(failed("create"))?;
        let text = render(sequence);
        write_all_at(&*file, &mut [IoSlice::new(text.as_bytes())], 0).map_err(failed("write"))?;
        file.sync_all().map_err(failed("sync"))?;
        self.storage
            .rename(&temporary, &self.name)
            .map_err(failed("replace"))?;
        self.storage
            .sync()
            .map_err(failed("sync the directory of"))?;
        self.saved = sequence;
        self.place.set(sequence);
        Ok(())
    }
}

fn read(storage: &dyn Storage, name: &str) -> Result<u64, CursorError> {
    let failed = |cause| CursorError::Io {
        action: "read",
        path: storage.describe(name),
        cause,
    };
    let file = match storage.open(name, Access::Read) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
        Err(error) => return Err(failed(error)),
    };
    let mut text = vec![0; LENGTH_MAX];
    let mut len = 0;
    loop {
        match file.read_at(&mut text[len..], len as u64).map_err(failed)? {
            0 => break,
            more => len += more,
        }
    }
    let text = str::from_utf8(&text[..len]).unwrap_or_default();
    let sequence = text
        .lines()
        .nth(1)
        .and_then(|line| line.strip_prefix("sequence ")?.parse().ok());
    let whole = sequence.filter(|&sequence| render(sequence) == text);
    whole.ok_or_else(|| CursorError::Damaged {
        path: storage.describe(name),
    })
}

fn render(sequence: u64) -> String {
    let text = format!("hookline-cursor 1\nsequence {sequence}\n");
    format!("{text}crc32c {:08x}\n", crc32c::crc32c(text.as_bytes()))
}

/// Longer than any cursor.
const LENGTH_MAX: usize = 256;

/// The lowest sequence that any sink still needs, for the journal's retention.
#[derive(Clone, Debug)]
pub struct Floor {
    lowest: Arc<AtomicU64>,
    places: Arc<parking_lot::Mutex<Vec<Arc<AtomicU64>>>>,
}

#[derive(Debug)]
struct Place {
    floor: Floor,
    mine: Arc<AtomicU64>,
}

impl Floor {
    /// A floor that tells `lowest`; without any sink, nothing is needed.
    #[must_use]
    pub fn new(lowest: Arc<AtomicU64>) -> Floor {
        lowest.store(u64::MAX, Ordering::Relaxed);
        Floor {
            lowest,
            places: Arc::default(),
        }
    }

    fn place(&self, confirmed: u64) -> Place {
        let mine = Arc::new(AtomicU64::new(0));
        self.places.lock().push(Arc::clone(&mine));
        let place = Place {
            floor: self.clone(),
            mine,
        };
        place.set(confirmed);
        place
    }
}

impl Place {
    fn set(&self, confirmed: u64) {
        self.mine.store(confirmed + 1, Ordering::Relaxed);
        let places = self.floor.places.lock();
        let lowest = places
            .iter()
            .map(|place| place.load(Ordering::Relaxed))
            .min();
        self.floor
            .lowest
            .store(lowest.unwrap_or(u64::MAX), Ordering::Relaxed);
    }
}
