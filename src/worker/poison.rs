//! Bodies that nobody can take apart: what is decided on them, and what is suspect.
//!
//! Such a body is **poisoned**: it gives no event to anybody, it is one dead letter in the name of the workers, and in
//! the books of every sink it is one event that is dead. This module knows the decisions, and takes bodies apart by
//! them; [`Quarantine`](crate::dead_letter::Quarantine) makes them, and writes them down.
//!
//! # What is a proof
//!
//! A **panic** is caught where it happens. The extractor is made anew and the body tried once more; a second panic
//! decides. Everybody who takes that body apart comes to the same result.
//!
//! What ends the **process** leaves no time for anything. So each extraction in a server leaves word beforehand of the
//! batch that it is at, and the next start finds that batch **suspect**. A suspect is nothing but a reason to look:
//! kills, want of memory and loss of power leave suspects too. Before anybody in the server takes a suspect batch
//! apart, a child process does: only if one of these bodies ends two children in a row, by a signal that means a fault,
//! it is poisoned. Receiving and answering wait for none of this; who wants to deliver the batch does.
//!
//! # What was delivered never changes its form
//!
//! A decision holds for every version to come and for everybody: live, read back from the journal, replayed, in
//! `tail` and in `audit`. It is taken before this process has taken that body apart, or after nobody could. A sink that
//! had events of it from a version before keeps them; nothing takes their place.
//!
//! The version before this one has decided by its marks alone, and passed such a body as one `whatsapp.unparsed`. That
//! is in the file as `condemned`, and stays what it is until somebody takes it back, as for those of its dead letters
//! that are there and not in its file. What filters have hid by this, `hookline audit` finds.
//!
//! | file in `poison` | |
//! |---|---|
//! | `marks` | 24 bytes for each maker: first and last sequence that it is at, or zeros, and their CRC32C |
//! | `verdicts` | a small text, replaced as a whole: what is suspect, and what is decided |
//!
//! ```text
//! hookline-poison 2
//! program 0.1.0
//! journal 0b5ef1c60fd1b7d1a0b8a3f6a1c2d3e4
//! suspect 4650 4713
//! condemned 17
//! poisoned 4711 9af3c1d2
//! crc32c 1b2c3d4e
//! ```
//!
//! `poisoned` names the body by its CRC32C too: if another one gets its sequence, as in a journal that was restored
//! from an older copy, that one is not meant. If the file is damaged or gone, the dead letters say what was decided.

mod decisions;
#[cfg(any(test, debug_assertions))]
mod faults;
mod guarded;
mod marks;

pub(crate) use decisions::{Decision, Decisions, FILE, Stored, VERSION};
#[cfg(test)]
pub(crate) use faults::PANICS;
pub(crate) use guarded::{ATTEMPTS, GuardedExtractor};
pub(crate) use marks::Marks;

use crate::disk::Storage;
use crate::journal::JournalId;
use parking_lot::{Condvar, Mutex, RwLock};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};

/// What is known of bodies that nobody can take apart.
#[derive(Debug, Default)]
pub struct Poison {
    bodies: RwLock<BTreeMap<u64, Decision>>,
    /// There is one at least.
    has_some: AtomicBool,
    /// What waits for a child. It is in the file, too.
    suspect: Mutex<Vec<(u64, u64)>>,
    has_suspects: AtomicBool,
    fewer_suspects: Condvar,
    /// Only in a server.
    marks: Option<Marks>,
}

impl Poison {
    /// What was decided and is suspect; what takes bodies apart leaves word in `marks`.
    pub(crate) fn new(decisions: Decisions, marks: Option<Marks>) -> Poison {
        Poison {
            has_some: AtomicBool::new(!decisions.bodies.is_empty()),
            bodies: RwLock::new(decisions.bodies),
            has_suspects: AtomicBool::new(!decisions.suspect.is_empty()),
            suspect: Mutex::new(decisions.suspect),
            fewer_suspects: Condvar::new(),
            marks,
        }
    }

    /// What is decided, for somebody else who takes the same bodies apart. Only reads.
    pub fn read(storage: &dyn Storage, journal: JournalId) -> std::io::Result<Poison> {
        let bodies = match Decisions::read(storage, journal)? {
            Stored::Whole(_, decisions) => decisions.bodies,
            Stored::None { .. } | Stored::Damaged => BTreeMap::new(),
        };
        let suspect = Vec::new();
        Ok(Poison::new(Decisions { suspect, bodies }, None))
    }

    /// The sequences of the bodies that are poisoned.
    pub fn poisoned(&self) -> Vec<u64> {
        let bodies = self.bodies.read();
        let poisoned = bodies
            .iter()
            .filter(|(_, decision)| matches!(decision, Decision::Poisoned(_)));
        poisoned.map(|(sequence, _)| *sequence).collect()
    }

    /// What is decided on this body.
    pub(crate) fn decision(&self, sequence: u64, body: &[u8]) -> Option<Decision> {
        if !self.has_some.load(Ordering::Acquire) {
            return None;
        }
        let decision = self.bodies.read().get(&sequence).copied();
        decision.filter(|decision| match decision {
            Decision::Unparsed => true,
            Decision::Poisoned(crc) => *crc == crc32c::crc32c(body),
        })
    }

    /// The body with this sequence gives no event any more.
    pub(crate) fn enter(&self, sequence: u64, body: &[u8]) {
        let mut bodies = self.bodies.write();
        bodies.insert(sequence, Decision::Poisoned(crc32c::crc32c(body)));
        // What was first was passed long ago.
        while bodies.len() > DECISIONS_MAX {
            bodies.pop_first();
        }
        self.has_some.store(true, Ordering::Release);
    }

    /// Takes a decision back; false if there is none.
    pub(crate) fn remove(&self, sequence: u64) -> bool {
        self.bodies.write().remove(&sequence).is_some()
    }

    /// All that is to be in the file.
    pub(crate) fn decisions(&self) -> Decisions {
        Decisions {
            suspect: self.suspect.lock().clone(),
            bodies: self.bodies.read().clone(),
        }
    }

    /// True while somebody may have to wait.
    pub(crate) fn has_suspects(&self) -> bool {
        self.has_suspects.load(Ordering::Acquire)
    }

    /// The first and last sequence of what is to be looked at next.
    pub(crate) fn first_suspect(&self) -> Option<(u64, u64)> {
        self.suspect.lock().first().copied()
    }

    /// Waits until none of these sequences is suspect any more.
    fn wait_for(&self, first: u64, last: u64) {
        if !self.has_suspects() {
            return;
        }
        let is_one = |range: &(u64, u64)| range.0 <= last && first <= range.1;
        let mut suspect = self.suspect.lock();
        while self.has_suspects() && suspect.iter().any(is_one) {
            self.fewer_suspects.wait(&mut suspect);
        }
    }

    /// These are not suspect any more. Who waits for them goes on at [`Poison::wake`].
    pub(crate) fn clear(&self, range: (u64, u64)) {
        self.suspect.lock().retain(|it| *it != range);
    }

    /// Who waits looks again.
    pub(crate) fn wake(&self) {
        self.fewer_suspects.notify_all();
    }

    /// Nobody waits any more, whatever is suspect.
    pub(crate) fn end_waiting(&self) {
        let waiting = self.suspect.lock();
        self.has_suspects.store(false, Ordering::Release);
        drop(waiting);
        self.wake();
    }
}

/// Decisions that are kept, as many as dead letters of one sink: each has one.
pub(crate) const DECISIONS_MAX: usize = 100_000;
