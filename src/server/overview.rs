//! What a receiver does at the moment, on one page: the answer to `GET /status` on the admin listener.
//!
//! The form is that of [`Overview`] as JSON. Who reads it takes what it knows and leaves out the rest, so a field may
//! be added at any time; one that is missing is 0 or empty.

mod survey;

pub(super) use survey::{Trouble, dead_letters, overview, removed_sinks, sinks, trouble};

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Everything at a glance. Times are microseconds since 1970.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Overview {
    pub version: String,
    /// Number of the process.
    pub pid: u32,
    /// When this was written.
    pub now: u64,
    /// Seconds since the start.
    pub uptime_seconds: u64,
    /// `serving`, `draining`, `full` or `failed`.
    pub state: String,
    /// What comes in.
    pub receiving: Receiving,
    /// How long answers take.
    pub acks: Acks,
    /// What the journal holds.
    pub journal: JournalLevel,
    /// Which repeats are known.
    pub dedupe: DedupeLevel,
    /// Where events go, in the order of the configuration.
    pub sinks: Vec<SinkLevel>,
    /// Sinks that have a cursor and are not in the configuration any more.
    pub removed_sinks: Vec<RemovedSink>,
    /// Dead letters that there are, by the directories that they lie in: sinks, also such that are gone, and `worker`.
    pub dead_letters: BTreeMap<String, u64>,
    /// Replays that wait or run.
    pub replays: Vec<ReplayLevel>,
}

/// What comes in.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Receiving {
    /// Seconds that the rates are about: ten, or since the start.
    pub seconds: f64,
    /// Notifications a second.
    pub notifications_per_second: f64,
    /// Events a second by lane.
    pub events_per_second: BTreeMap<String, f64>,
    /// Notifications taken apart since the start.
    pub notifications: u64,
    /// Connections open.
    pub connections: u64,
    /// Answers of the last minute by code.
    pub answers: BTreeMap<u16, u64>,
}

/// How long answers to posts took, from arrival until the post was durable, as the platform saw it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Acks {
    /// In the last minute.
    pub minute: AckTimes,
    /// In the last hour.
    pub hour: AckTimes,
}

/// How long the answers of some time took. The 503s to those that waited for `ack_deadline` are among them.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct AckTimes {
    /// Seconds that this is about; fewer than it should be as long as the process is young.
    pub seconds: f64,
    /// Answers.
    pub count: u64,
    /// Half of them took no longer, in milliseconds; computed from a histogram, so about. 5000 stands for all that is
    /// longer.
    pub p50_ms: Option<f64>,
    /// All but one of a hundred took no longer.
    pub p99_ms: Option<f64>,
    /// All but one of a thousand took no longer.
    pub p999_ms: Option<f64>,
    /// Answers that took longer than 250 ms, which is the platform's own mark for the median.
    pub over_250ms: u64,
    /// Answers that took longer than 1 s.
    pub over_1s: u64,
    /// Answers that took longer than 5 s.
    pub over_5s: u64,
}

/// What the journal holds, and what it has room for.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct JournalLevel {
    pub dir: String,
    /// Lowest sequence.
    pub first_sequence: u64,
    /// Highest sequence that is durable.
    pub durable_sequence: u64,
    /// Bytes of its files.
    pub disk_bytes: u64,
    /// Bytes beyond which the oldest goes before its time, once every sink has had it.
    pub max_size: u64,
    /// Bytes that the file system has left for it; `None` if that is not known.
    pub free_bytes: Option<u64>,
    /// Bytes a second that are written, over the last minute.
    pub written_per_second: f64,
    /// Seconds since the oldest that it holds.
    pub reaches_back_seconds: u64,
    /// Seconds for which it is to hold what every sink has had.
    pub retention_seconds: u64,
    /// Bytes beyond `max_size` that are kept because a sink has not had them.
    pub held_bytes: u64,
    /// The sinks that have not had the oldest of them.
    pub held_by: Vec<String>,
}

/// Which repeats are known.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct DedupeLevel {
    /// Seconds for which an event is remembered.
    pub window_seconds: u64,
    /// Events remembered at most.
    pub keys_max: u64,
    /// Events remembered now.
    pub keys: u64,
    /// Bytes of memory that they take.
    pub bytes: u64,
    /// Events decided since the start.
    pub events: u64,
    /// Those of them that were duplicates.
    pub duplicates: u64,
    /// True once nothing is passed on to any sink any more.
    pub stopped: bool,
    pub reason: Option<String>,
}

/// How a sink does. Counts are since the start.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct SinkLevel {
    pub name: String,
    pub kind: String,
    /// What a delivered event survives: `memory`, `replicated` or `fsynced`.
    pub confirmation: String,
    /// True once it has stopped for good; its events stay in the journal.
    pub stopped: bool,
    pub reason: Option<String>,
    /// True while the receiver is thought to be away, and gets nothing but a probe now and then.
    pub away: bool,
    /// What it said last, or why it was not reached.
    pub away_reason: Option<String>,
    /// Since when nothing was taken although something was tried, in microseconds since 1970; `None` if the last
    /// delivery worked.
    pub failing_since: Option<u64>,
    /// Seconds since then.
    pub failing_seconds: f64,
    /// Why the last delivery failed that did, also when others have worked since.
    pub last_failure: Option<String>,
    /// When it did.
    pub last_failed: Option<u64>,
    /// Events delivered.
    pub events: u64,
    /// Events not delivered because an earlier one says the same.
    pub duplicates: u64,
    /// Events that its filters leave out.
    pub unwanted: u64,
    /// Events that became dead letters.
    pub dead: u64,
    /// Dead letters delivered after all.
    pub dead_letters_delivered: u64,
    /// Deliveries that the target knew already and has not stored again.
    pub known: u64,
    /// Deliveries of replays.
    pub replayed: u64,
    /// Deliveries that failed and were tried again.
    pub retries: u64,
    /// Events that neither went out nor wait to: 0, or there is a bug.
    pub unaccounted: u64,
    /// Highest sequence confirmed in all lanes.
    pub confirmed: u64,
    /// How it does in each lane.
    pub lanes: Vec<LaneLevel>,
}

/// How a sink does in a lane; about a second old.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct LaneLevel {
    pub lane: String,
    /// Everything up to this sequence is confirmed.
    pub confirmed: u64,
    /// Everything up to this sequence is confirmed or under way.
    pub reached: u64,
    /// Deliveries under way, or waiting for an attempt.
    pub open: u64,
    /// Notifications that are durable and not confirmed: those that it has not come to, of which some may have
    /// nothing for this lane, and what is open. 0 once everything is confirmed.
    pub lag_notifications: u64,
    /// Events that this may be, by how many of this lane a notification has had since the start; 0 only if nothing is
    /// behind.
    pub lag_events: u64,
    /// Seconds since the oldest that is not confirmed arrived. Where nothing is under way although something is
    /// behind, since when it has been seen not to move, which is less. 0 once everything is confirmed.
    pub lag_seconds: f64,
    /// When the oldest under way arrived.
    pub oldest: Option<u64>,
}

/// A sink that is not in the configuration any more.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct RemovedSink {
    pub name: String,
    /// Notifications that are stored and that it has not had.
    pub notifications: u64,
    /// Back in the configuration before this time, in microseconds since 1970, it misses nothing.
    pub until: u64,
}

/// A replay that waits or runs.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ReplayLevel {
    pub id: String,
    pub sink: String,
    /// `requested` or `running`.
    pub state: String,
    pub from: u64,
    pub to: u64,
    /// Everything before this sequence is done.
    pub next: u64,
    /// Deliveries that were confirmed.
    pub delivered: u64,
    /// Deliveries that became dead letters.
    pub failed: u64,
}
