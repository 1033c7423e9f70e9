//! The journal: what was answered is in it, whole, in order and once.
//!
//! # The promise
//!
//! - A record is reported durable, to an event loop or to anybody else, only after `fdatasync` has
//!   returned for the frame that holds it. What was reported stays, byte for byte, under its sequence.
//! - Sequences are one total order without a gap, across restarts. The only gaps a reader can meet are
//!   those that `hookline journal repair --quarantine` has made by setting damage aside, on request.
//! - A write or a sync that fails is the end: [`State::Failed`], nothing more is reported, and the process
//!   is to be restarted. The same pages are never synced again and believed.
//! - A directory that is moved, removed or replaced while it is in use, or a segment that is, or is truncated, is the
//!   end as well, within a second.
//! - A full disk is no error: the next segment is made ahead of its use, and while there is no space for
//!   one, the journal says [`State::Full`] before the one in use is.
//! - Recovery cuts what a power cut has torn, and never what was durable: if that is damaged, the
//!   journal does not open and says what is lost.
//!
//! # The directory
//!
//! | file | |
//! |---|---|
//! | `LOCK` | held by the process that writes; its text names it |
//! | `manifest` | the table of contents, see `manifest.rs` |
//! | `manifest.old` | the one before it, whose bytes the next one is written to |
//! | `00000000000000000007.segment` | frames, see `segment.rs`, [`frame`] and [`record`] |
//! | `….spare` | a retired segment that waits for a new life |
//! | `….tmp` | being made; of no use after a crash |
//!
//! All integers in segments are little-endian, all times are microseconds since 1970, and every format
//! has a version.
//!
//! # The threads
//!
//! [`Journal::open`] recovers, [`Journal::split`] gives the bodies of two threads: the [`Committer`]
//! takes batches from the loops, writes them, syncs and reports; the [`Preparer`] has the next segment
//! ready and retires old ones. [`Status`] is what everybody may look at, a [`DurablePosition`] is what
//! one loop looks at, and a [`Reader`] reads from any sequence on, in this process or another.
//!
//! This module knows nothing of HTTP, endpoints or events; of the crate it uses only [`crate::disk`], which
//! alone touches files, and [`crate::relay`].

#![warn(clippy::indexing_slicing, clippy::as_conversions)]

pub mod batch;
mod clock;
mod commit;
mod ending;
mod error;
pub mod frame;
mod inspect;
mod manifest;
mod names;
mod options;
mod position;
mod prepare;
mod reader;
mod rebuild;
pub mod record;
mod recovery;
mod repair;
mod retention;
mod scan;
mod seek;
mod segment;
mod status;
#[cfg(test)]
mod tests;
mod path_check;

pub use commit::{Committer, HandOn};
pub use error::JournalError;
pub use inspect::{Damage, Report, inspect, inspect_from};
pub use manifest::{Hole, Manifest};
pub use options::Options;
pub use position::DurablePosition;
pub use prepare::Preparer;
pub use reader::Reader;
pub use recovery::Recovery;
pub use repair::repair;
pub use scan::Depth;
pub use seek::{extent, first_received, received_at, sequence_at};
pub use segment::JournalId;
pub use status::{State, Statistics, Status};

use crate::disk::{self, Guard, Identity, IoContext, LockError, Storage};
use crate::relay;
use clock::{ClockWatch, Reading};
use manifest::ManifestFile;
use parking_lot::Mutex;
use path_check::Watch;
use recovery::Recovered;
use std::collections::VecDeque;
use std::io::ErrorKind;
use std::process;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// A journal that was opened for writing. [`Journal::split`] gives what its threads run.
pub struct Journal {
    storage: Arc<dyn Storage>,
    options: Options,
    lock: Arc<Guard>,
    manifest: Arc<Mutex<ManifestFile>>,
    status: Arc<Status>,
    directory: Identity,
    /// What the clocks said.
    started: Reading,
    recovered: Recovered,
}

impl Journal {
    /// Takes the directory, recovers what is in it or begins a new journal there. A new one writes its
    /// first segment to its full size before this returns.
    pub fn open(storage: Arc<dyn Storage>, options: Options) -> Result<Journal, JournalError> {
        options.check()?;
        let lock = lock(&*storage)?;
        let directory = storage
            .identity("")
            .and_then(|found| found.ok_or_else(|| ErrorKind::NotFound.into()))
            .on(&*storage, "find", "")?;
        let (manifest, recovered) = recovery::recover(&storage, &options)?;
        let report = &recovered.report;
        let room = recovered.active.size - recovered.offset;
        let status = Status::new(report.next_sequence, room, options.reserve);
        // The segment thread keeps it up to date; a consumer may ask before that one runs.
        let first_sequence = &status.statistics.first_sequence;
        first_sequence.store(report.first_sequence, Ordering::Relaxed);
        let started = Reading::take(&*storage);
        clock::log_start(recovered.latest, started.wall, options.retention);
        Ok(Journal {
            storage,
            options,
            lock: Arc::new(lock),
            manifest: Arc::new(Mutex::new(manifest)),
            status: Arc::new(status),
            directory,
            started,
            recovered,
        })
    }

    /// What recovery found.
    pub fn recovery(&self) -> &Recovery {
        &self.recovered.report
    }

    /// The journal's name, which no other one has. A copy of it has the same.
    pub fn id(&self) -> JournalId {
        self.manifest.lock().current().id
    }

    /// State, positions and statistics, for whoever watches.
    pub fn status(&self) -> Arc<Status> {
        Arc::clone(&self.status)
    }

    /// The table that gives each endpoint its number.
    pub fn endpoints(&self) -> Endpoints {
        Endpoints {
            manifest: Arc::clone(&self.manifest),
            _lock: Arc::clone(&self.lock),
        }
    }

    /// The two threads' bodies. `positions` has one entry for each event loop, in the order of
    /// [`batch::Batch::origin`]; `hand_on` gets every batch once it is durable.
    pub fn split(
        self,
        positions: Vec<Arc<DurablePosition>>,
        hand_on: HandOn,
    ) -> (Committer, Preparer) {
        let recovered = self.recovered;
        let positions: Arc<[_]> = positions.into();
        self.status.set_positions(Arc::clone(&positions));
        let (rolled_sender, rolled) = relay::channel(ROLLED_CAPACITY);
        let (ready, segments) = relay::channel(ROLLED_CAPACITY);
        let ahead = recovered.prepared.len();
        for segment in recovered.prepared.into_iter().take(ROLLED_CAPACITY) {
            if ready.try_send(segment).is_ok() {
                self.status.segment_prepared();
            }
        }
        let preparer = Preparer {
            storage: Arc::clone(&self.storage),
            options: self.options.clone(),
            manifest: self.manifest,
            status: Arc::clone(&self.status),
            rolled,
            ready,
            ahead,
            unlisted: None,
            kept: recovered.kept,
            unlinked: Vec::new(),
            spares: recovered.spares,
            clock: ClockWatch::new(self.started),
            directory: self.directory,
            _lock: Arc::clone(&self.lock),
        };
        let committer = Committer {
            storage: self.storage,
            active: recovered.active,
            offset: recovered.offset,
            forgotten: recovered.offset,
            next_sequence: recovered.report.next_sequence,
            latest: recovered.latest,
            frame_max: self.options.segment_size - segment::HEADER_BLOCK,
            sync_interval: self.options.sync_interval,
            unsynced_max: self.options.unsynced_max,
            status: self.status,
            tickets: vec![0; positions.len()],
            positions,
            hand_on,
            prepared: segments,
            rolled: rolled_sender,
            waiting: VecDeque::new(),
            unsynced: Vec::new(),
            unsynced_bytes: 0,
            unsynced_since: None,
            sync_wanted: false,
            watch: Watch::new(),
            _lock: self.lock,
        };
        (committer, preparer)
    }
}

/// The name of the journal in a directory; `None` if there is none.
pub fn stored_id(storage: &dyn Storage) -> Result<Option<JournalId>, JournalError> {
    Ok(Manifest::load(storage)?.map(|manifest| manifest.id))
}

/// Which number stands for which endpoint in the records. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Endpoints {
    manifest: Arc<Mutex<ManifestFile>>,
    _lock: Arc<Guard>,
}

impl Endpoints {
    /// The number of an endpoint's path, from 1 on. A path that is new gets one, durably; a number is
    /// never given to another path.
    pub fn number(&self, path: &str) -> Result<u16, JournalError> {
        self.manifest.lock().endpoint_number(path)
    }

    /// All numbers and paths that there ever were.
    pub fn all(&self) -> Vec<(u16, String)> {
        self.manifest.lock().current().endpoints.clone()
    }
}

/// Says why nothing can be read from `storage`: there is no journal, or its manifest cannot be read.
pub fn exists(storage: &dyn Storage) -> Result<(), JournalError> {
    Manifest::load_existing(storage).map(drop)
}

/// Takes the directory for this process, until the guard is dropped.
pub fn lock(storage: &dyn Storage) -> Result<Guard, JournalError> {
    let holder = format!("pid {}\n", process::id());
    storage.lock(LOCK, &holder).map_err(|error| match error {
        LockError::Held(holder) => JournalError::Locked {
            path: storage.describe(LOCK),
            holder,
        },
        LockError::Io(error) => disk::Error::on(storage, "lock", LOCK, error).into(),
    })
}

const LOCK: &str = "LOCK";
/// More than segments can be ready or rolled through before the other thread looks.
const ROLLED_CAPACITY: usize = 16;
