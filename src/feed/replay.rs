//! Replays: a part of the journal that somebody wants to be delivered to a sink again.
//!
//! Each is one file, `ID.json` in the directory `replays`. `hookline replay` writes it, the server takes it up within a
//! second, and from then on the server alone writes it: how far it is, about once a second, so that a restart goes on
//! from there, and how it ended. Who wants it to end before that makes the file `ID.cancel`. There is no other way to
//! talk about it, and none is needed: both may read at any time, and nothing is lost when one of them is not there. A
//! file `SINK.pull` says that the sink has a consumer, to which nothing can be replayed ([`consumers`]).
//!
//! ```json
//! {
//!   "hookline_replay": 1,
//!   "id": "20261123-014500-crm",
//!   "sink": "crm",
//!   "from": 4711, "to": 9000,
//!   "types": ["whatsapp.message.*"], "phone_number_ids": [], "rate": 100,
//!   "state": "running",
//!   "next": 5000, "delivered": 280, "skipped": 9, "failed": 0,
//!   "created": "2026-11-23T01:45:00Z", "updated": "2026-11-23T01:45:03Z"
//! }
//! ```

mod consumers;
mod error;

pub use error::ReplayError;

use super::selection::{Replayed, Selection};
use crate::disk::{self, Access, IoContext, Storage, text};
use crate::event::{Pattern, rfc3339};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::sync::Arc;

/// What is to be delivered again, and how far that is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Replay {
    #[serde(rename = "hookline_replay")]
    version: u32,
    /// Names it: when it was asked for, and the sink.
    pub id: String,
    pub sink: String,
    pub from: u64,
    pub to: u64,
    /// Patterns of types, one of which an event has to have; none for every type.
    pub types: Vec<String>,
    /// Numbers, one of which an event has to belong to; none for every event.
    pub phone_number_ids: Vec<String>,
    /// Deliveries a second at most; 0 for as many as there can be.
    pub rate: u32,
    pub state: ReplayState,
    /// Why it has failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Everything before this sequence is done.
    pub next: u64,
    /// Deliveries that were confirmed.
    pub delivered: u64,
    /// Events up to the last sequence that were left out: by the patterns and numbers, by the sink's own, or as
    /// duplicates.
    pub skipped: u64,
    /// Deliveries that became dead letters.
    pub failed: u64,
    /// When it was asked for, in microseconds since 1970.
    #[serde(with = "rfc3339")]
    pub created: u64,
    /// When it was last saved.
    #[serde(with = "rfc3339")]
    pub updated: u64,
}

/// Where a replay stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ReplayState {
    /// Nobody has taken it up yet.
    Requested,
    /// It is being delivered, or will be again when the server runs.
    Running,
    /// Everything is delivered, or a dead letter.
    Done,
    /// It cannot go on; [`Replay::reason`] says why.
    Failed,
    /// Somebody did not want it any more.
    Cancelled,
}

/// The replays of all sinks.
#[derive(Debug)]
pub struct Replays {
    storage: Arc<dyn Storage>,
    /// Files that were looked at and need no other look.
    seen: BTreeSet<String>,
    /// That nothing can be looked at was logged.
    logged: bool,
}

impl Replay {
    /// A replay of everything from sequence `from` to `to` to `sink`, asked for at `now`, in microseconds since 1970.
    pub fn new(sink: &str, from: u64, to: u64, now: u64) -> Replay {
        let at = i64::try_from(now).ok();
        let at = at.and_then(|at| Timestamp::from_microsecond(at).ok());
        let at = at.unwrap_or_default().strftime("%Y%m%d-%H%M%S");
        Replay {
            version: VERSION,
            id: format!("{at}-{sink}"),
            sink: sink.to_owned(),
            from,
            to,
            types: Vec::new(),
            phone_number_ids: Vec::new(),
            rate: 0,
            state: ReplayState::Requested,
            reason: None,
            next: from,
            delivered: 0,
            skipped: 0,
            failed: 0,
            created: now,
            updated: now,
        }
    }

    /// Which events are to be delivered.
    pub fn selection(&self) -> Selection {
        let types = self.types.iter().map(|pattern| Pattern::new(pattern));
        Selection {
            types: types.collect(),
            phone_number_ids: self.phone_number_ids.clone(),
            ..Selection::default()
        }
    }

    /// What of it a sink is to have that asks for `own`, marked as this replay's.
    pub fn wanted(&self, own: &Selection) -> Selection {
        Selection {
            replay: Some(Replayed {
                id: self.id.as_str().into(),
                to: self.to,
                asked: Box::new(self.selection()),
            }),
            ..own.clone()
        }
    }

    /// It cannot go on, for this reason; to be saved.
    pub fn fail(&mut self, reason: String) {
        self.state = ReplayState::Failed;
        self.reason = Some(reason);
    }
}

impl ReplayState {
    /// True if nothing follows.
    pub fn is_final(self) -> bool {
        !matches!(self, ReplayState::Requested | ReplayState::Running)
    }

    /// The word in the file.
    pub fn name(self) -> &'static str {
        match self {
            ReplayState::Requested => "requested",
            ReplayState::Running => "running",
            ReplayState::Done => "done",
            ReplayState::Failed => "failed",
            ReplayState::Cancelled => "cancelled",
        }
    }
}

impl Replays {
    /// The replays in `storage`.
    pub fn open(storage: Arc<dyn Storage>) -> Replays {
        Replays {
            storage,
            seen: BTreeSet::new(),
            logged: false,
        }
    }

    /// Asks for a replay, durably. Where its name is taken already, it gets another one.
    pub fn request(&self, replay: &mut Replay) -> Result<(), ReplayError> {
        let id = replay.id.clone();
        let mut number = 1;
        while self.is_there(&file_name(&replay.id)) {
            number += 1;
            replay.id = format!("{id}-{number}");
        }
        Ok(self.store(replay)?)
    }

    /// The oldest replay to this sink that has not ended: one that a restart has left, or a new one. For the server,
    /// once a second while none is under way. What cannot be read as a replay is set aside and logged.
    pub fn waiting_for(&mut self, sink: &str) -> Result<Option<Replay>, ReplayError> {
        for id in self.ids()? {
            if self.seen.contains(&id) {
                continue;
            }
            let mut replay = match self.read(&id) {
                Ok(replay) => replay,
                Err(ReplayError::Missing(_) | ReplayError::SetAside { .. }) => continue,
                Err(error) if error.is_shortage() => return Err(error),
                Err(error) => {
                    self.set_aside(&id, &error);
                    continue;
                }
            };
            if replay.sink != sink || replay.state.is_final() {
                self.seen.insert(id);
            } else if self.is_there(&cancel_name(&id)) {
                self.save(&mut replay)?;
            } else {
                return Ok(Some(replay));
            }
        }
        Ok(None)
    }

    /// Takes up the one that waits for this sink: it is running from here on, durably. Whatever is wrong with replays
    /// is logged here, and is no reason for a sink to stop.
    pub fn take_up(&mut self, sink: &str) -> Option<Replay> {
        let found = self.waiting_for(sink);
        let Ok(found) = found.map_err(|error| self.log(sink, &error)) else {
            return None;
        };
        self.logged = false;
        let mut replay = found?;
        replay.state = ReplayState::Running;
        if let Err(error) = self.save(&mut replay) {
            self.give_up(&replay.id, &error);
            return None;
        }
        if replay.state.is_final() {
            return None;
        }
        tracing::info!(sink, replay = replay.id, "a replay begins");
        Some(replay)
    }

    /// True if a replay ends because it could not be saved; then it is set aside. What passes by itself is no reason.
    pub fn give_up(&mut self, id: &str, error: &ReplayError) -> bool {
        if error.is_shortage() {
            return false;
        }
        self.set_aside(id, error);
        true
    }

    fn set_aside(&mut self, id: &str, error: &ReplayError) {
        // Nobody is to take it for one again, whether it is there under its name or not.
        self.seen.insert(id.to_owned());
        match self.storage.set_aside(&file_name(id)) {
            Ok(name) => {
                let aside = self.storage.describe(&name);
                tracing::warn!(
                    replay = id, %error, aside,
                    "a replay cannot be used and is set aside; delivery goes on; ask for the replay again"
                );
            }
            Err(why) => tracing::warn!(
                replay = id, %error, %why,
                "a replay cannot be used nor set aside; delivery goes on without it; remove the file"
            ),
        }
        // It asks for nothing any more. Where it cannot be removed it does no harm.
        let _ = self.remove(&cancel_name(id));
    }

    fn log(&mut self, sink: &str, error: &ReplayError) {
        if !error.is_shortage() && !std::mem::replace(&mut self.logged, true) {
            tracing::warn!(sink, %error, "the directory of replays cannot be read: no replay begins, and live delivery goes on; give the directory to the user that serves");
        }
    }

    /// Those that wait or run, of all sinks, the oldest first; what cannot be read is left out. For who watches.
    pub fn under_way(&mut self) -> Result<Vec<Replay>, ReplayError> {
        let mut found = Vec::new();
        for id in self.ids()? {
            if self.seen.contains(&id) {
                continue;
            }
            match self.read(&id) {
                Ok(replay) if replay.state.is_final() => drop(self.seen.insert(id)),
                Ok(replay) => found.push(replay),
                Err(_) => {}
            }
        }
        Ok(found)
    }

    /// Saves how far a replay is, durably. If somebody does not want it any more, it is [`ReplayState::Cancelled`]
    /// from here on. When it has ended, the oldest ones that have ended are removed if there are too many.
    pub fn save(&mut self, replay: &mut Replay) -> Result<(), ReplayError> {
        let cancel = cancel_name(&replay.id);
        if !replay.state.is_final() && self.is_there(&cancel) {
            replay.state = ReplayState::Cancelled;
        }
        replay.updated = self.storage.now();
        self.store(replay)?;
        if replay.state.is_final() {
            self.seen.insert(replay.id.clone());
            self.remove(&cancel)?;
            self.clear_out()?;
        }
        Ok(())
    }

    /// Lets the server know that a replay is not wanted any more.
    pub fn cancel(&self, id: &str) -> Result<(), ReplayError> {
        match self.read(id) {
            Ok(replay) if replay.state.is_final() => {
                let id = id.to_owned();
                let state = replay.state.name();
                return Err(ReplayError::Ended { id, state });
            }
            // The server sets it aside; until it looks, this is what it finds.
            Ok(_) | Err(ReplayError::Io(_) | ReplayError::Damaged { .. }) => {}
            Err(error) => return Err(error),
        }
        let name = cancel_name(id);
        let created = match self.storage.create(&name) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
            created => created.and_then(|_| self.storage.sync()),
        };
        Ok(created.on(&*self.storage, "create", &name)?)
    }

    /// Those of the sink `former` that wait or run are `sink`'s from here on, durably; says how many there were. Their
    /// names stay, for what they have delivered bears them. What cannot be read is left alone.
    pub fn take_over(&self, former: &str, sink: &str) -> Result<u64, ReplayError> {
        let mut count = 0;
        for id in self.ids()? {
            let Ok(mut replay) = self.read(&id) else {
                continue;
            };
            if replay.sink == former && !replay.state.is_final() {
                sink.clone_into(&mut replay.sink);
                self.store(&replay)?;
                count += 1;
            }
        }
        Ok(count)
    }

    /// Removes all replays of a sink that is gone for good; says how many there were.
    pub fn forget(&mut self, sink: &str) -> Result<u64, ReplayError> {
        let mut count = 0;
        for id in self.ids()? {
            if self.read(&id).is_ok_and(|replay| replay.sink == sink) {
                self.remove_all(&id)?;
                count += 1;
            }
        }
        self.storage.sync().on(&*self.storage, "sync", "")?;
        Ok(count)
    }

    /// True if somebody wants this replay to end, which the server has not seen yet.
    pub fn is_being_cancelled(&self, id: &str) -> bool {
        self.is_there(&cancel_name(id))
    }

    /// The names of all replays, the oldest first.
    pub fn ids(&self) -> Result<Vec<String>, ReplayError> {
        let names = self.storage.list().on(&*self.storage, "list", "")?;
        let ids = names.iter().filter_map(|name| name.strip_suffix(SUFFIX));
        let mut ids: Vec<_> = ids.map(str::to_owned).collect();
        // Of those of one second, one with a longer number came later.
        ids.sort_unstable_by(|one, other| {
            let key = |id: &str| (id.get(..TIME_LEN).map(str::to_owned), id.len());
            key(one).cmp(&key(other)).then_with(|| one.cmp(other))
        });
        Ok(ids)
    }

    pub fn read(&self, id: &str) -> Result<Replay, ReplayError> {
        let name = file_name(id);
        let plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
        if !id.chars().all(plain) {
            return Err(self.missing(id));
        }
        let decode = |bytes: &[u8]| match serde_json::from_slice::<Replay>(bytes) {
            Ok(replay) if replay.version > VERSION => {
                Err("a newer version of Hookline has written it".to_owned())
            }
            Ok(replay) if replay.id == id => Ok(replay),
            Ok(replay) => Err(format!("it is the replay {}", replay.id)),
            Err(error) => Err(error.to_string()),
        };
        let read = text::read_whole(&*self.storage, &name, LENGTH_MAX, decode);
        let read = read.on(&*self.storage, "read", &name)?;
        let read = read.ok_or_else(|| self.missing(id))?;
        read.map_err(|reason| ReplayError::Damaged {
            path: self.storage.describe(&name),
            reason,
        })
    }

    fn missing(&self, id: &str) -> ReplayError {
        let aside = format!("{}.aside", file_name(id));
        let id = id.to_owned();
        match self.storage.identity(&aside) {
            Ok(Some(_)) => ReplayError::SetAside {
                path: self.storage.describe(&aside),
                id,
            },
            _ => ReplayError::Missing(id),
        }
    }

    fn store(&self, replay: &Replay) -> Result<(), disk::Error> {
        let name = file_name(&replay.id);
        let bytes = serde_json::to_vec_pretty(replay).expect("texts and numbers are JSON");
        let stored = self.storage.replace(&name, &bytes);
        stored.on(&*self.storage, "replace", &name)
    }

    /// Removes the oldest of those that have ended.
    fn clear_out(&mut self) -> Result<(), ReplayError> {
        let mut ended = Vec::new();
        for id in self.ids()? {
            if self.read(&id).is_ok_and(|replay| replay.state.is_final()) {
                ended.push(id);
            }
        }
        let beyond = ended.len().saturating_sub(ENDED_MAX);
        for id in ended.drain(..beyond) {
            self.remove_all(&id)?;
        }
        Ok(())
    }

    fn remove_all(&mut self, id: &str) -> Result<(), disk::Error> {
        for name in [file_name(id), file_name(id) + ".old", cancel_name(id)] {
            self.remove(&name)?;
        }
        self.seen.remove(id);
        Ok(())
    }

    fn remove(&self, name: &str) -> Result<(), disk::Error> {
        match self.storage.remove(name) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                Err(disk::Error::on(&*self.storage, "remove", name, error))
            }
            _ => Ok(()),
        }
    }

    fn is_there(&self, name: &str) -> bool {
        self.storage.open(name, Access::Read).is_ok()
    }
}

fn file_name(id: &str) -> String {
    format!("{id}{SUFFIX}")
}

fn cancel_name(id: &str) -> String {
    format!("{id}.cancel")
}

const SUFFIX: &str = ".json";

/// Bytes of the time in a name, as in `20261123-014500`.
const TIME_LEN: usize = 15;

/// Version of the form.
const VERSION: u32 = 1;

/// Replays that have ended and are kept, for whoever asks what happened.
const ENDED_MAX: usize = 100;

/// More bytes than any replay has.
const LENGTH_MAX: u64 = 1 << 20;

#[cfg(test)]
mod tests;
