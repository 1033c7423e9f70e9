//! Where the numbers are that the admin pages show.

use super::history::{History, Sample};
use super::removed::Removed;
use crate::config::{Config, Setting};
use crate::endpoint::Table;
use crate::feed::{self, Replays};
use crate::journal;
use crate::metrics::{Counter, Snapshot};
use crate::sink::{self, Confirmation};
use crate::{reactor, worker};
use parking_lot::Mutex;
use std::ops::Deref;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// Where the numbers are.
pub(super) struct Sources {
    pub(super) journal: Arc<journal::Status>,
    pub(super) loops: Vec<Arc<reactor::Statistics>>,
    pub(super) workers: Vec<Arc<worker::Statistics>>,
    pub(super) dedupe: Arc<feed::DedupeStatistics>,
    pub(super) sinks: Vec<(String, Confirmation, Arc<sink::Statistics>)>,
    /// Keys of the configuration and their values.
    pub(super) limits: Vec<(String, u64)>,
    table: Mutex<Arc<Table>>,
    removed: Mutex<Vec<Removed>>,
    /// What was counted before.
    pub(super) history: History,
    /// What is asked for once more, as far as its files were looked at.
    pub(super) replays: Mutex<Option<Replays>>,
    pub(super) about: About,
}

/// What is shown of the configuration beside numbers.
pub(super) struct About {
    pub(super) started: Instant,
    pub(super) dir: PathBuf,
    pub(super) retention: Duration,
    pub(super) max_size: u64,
    pub(super) ack_deadline: Duration,
    /// How long, and how many, events are remembered.
    pub(super) window: Duration,
    pub(super) keys: u64,
    /// Names and types of the sinks.
    pub(super) kinds: Vec<(String, &'static str)>,
}

impl Sources {
    pub(super) fn new(
        config: &Config,
        journal: Arc<journal::Status>,
        table: Arc<Table>,
    ) -> Sources {
        let key = |setting: &Setting| format!("{}.{}", setting.section, setting.key);
        let numbers = config.numbers.iter();
        let in_force = |setting: &Setting, value: u64| match setting.key {
            // The operating system may allow fewer.
            "max_connections" => config.server.max_connections as u64,
            "max_connections_per_address" => config.server.max_connections_per_address as u64,
            _ => value,
        };
        Sources {
            journal,
            loops: Vec::new(),
            workers: Vec::new(),
            dedupe: Arc::default(),
            sinks: Vec::new(),
            limits: numbers
                .map(|(setting, value)| (key(setting), in_force(setting, *value)))
                .collect(),
            table: Mutex::new(table),
            removed: Mutex::default(),
            history: History::default(),
            replays: Mutex::default(),
            about: About {
                started: Instant::now(),
                dir: config.journal.dir.clone(),
                retention: config.journal.retention,
                max_size: config.journal.max_size,
                ack_deadline: config.server.ack_deadline,
                window: config.dedupe.window,
                keys: config.dedupe.keys as u64,
                kinds: config
                    .sinks
                    .iter()
                    .map(|sink| (sink.name.clone(), sink.kind.name()))
                    .collect(),
            },
        }
    }

    pub(super) fn table(&self) -> Arc<Table> {
        Arc::clone(&self.table.lock())
    }

    pub(super) fn set_table(&self, table: Arc<Table>) {
        *self.table.lock() = table;
    }

    /// The sinks that have a cursor and are not configured any more.
    pub(super) fn removed(&self) -> Vec<Removed> {
        self.removed.lock().clone()
    }

    pub(super) fn set_removed(&self, removed: Vec<Removed>) {
        *self.removed.lock() = removed;
    }

    /// What is counted now.
    pub(super) fn sample(&self) -> Sample {
        let mut acks = Snapshot::default();
        for one in &self.loops {
            acks.add(&one.ack_seconds);
        }
        // The platform saw these take as long as the deadline.
        let expired = sum(&self.loops, |one| &one.expired);
        acks.observe(self.about.ack_deadline, expired);
        let table = self.table();
        let counters = || table.endpoints().iter().flat_map(|it| it.counters.iter());
        let written = &self.journal.statistics.bytes;
        Sample {
            at: Instant::now(),
            acks,
            notifications: sum(&self.workers, |one| &one.notifications),
            events: std::array::from_fn(|lane| sum(&self.workers, |one| &one.events[lane])),
            answers: std::array::from_fn(|status| {
                let answered = counters().map(|it| it.answers[status].get());
                answered.sum::<u64>() + sum(&self.loops, |one| &one.refusals[status])
            }),
            written: written.load(Ordering::Relaxed),
        }
    }

    /// Keeps a sample of what is counted now.
    pub(super) fn record(&self) {
        let lanes = self.sinks.iter().map(|(_, _, sink)| &sink.lanes);
        let confirmed = lanes.map(|lanes| std::array::from_fn(|lane| lanes[lane].confirmed.get()));
        self.history
            .record(self.sample(), self.journal.durable(), confirmed);
    }
}

/// The sum of one counter of each.
pub(super) fn sum<P: Deref>(all: &[P], counter: impl Fn(&P::Target) -> &Counter) -> u64 {
    all.iter().map(|one| counter(one).get()).sum()
}

/// The sum of these.
pub(super) fn total_of(counters: &[Counter]) -> u64 {
    counters.iter().map(Counter::get).sum()
}
