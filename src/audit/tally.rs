//! What one thread of an audit counts. Sums do not depend on who counted what.

use super::repeats::{Key, hash_of};
use super::standing::{EventState, Standing};
use crate::dedupe::Scope;
use crate::event::Lane;
use crate::journal::record;
use crate::worker::EventBatch;
use std::collections::{BTreeMap, HashMap};

/// Counts of notifications and events.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    pub notifications: u64,
    /// Bytes of the bodies.
    pub bytes: u64,
    /// Notifications by number of the endpoint, and whether they were answered before they were durable.
    pub endpoints: BTreeMap<(u16, bool), u64>,
    /// Times of arrival of the first and the last one, microseconds since 1970.
    pub arrivals: Option<(u64, u64)>,
    /// Events, as the extraction has counted them.
    pub received: u64,
    /// Events by type; the types that are too many under [`OTHER_KINDS`].
    pub kinds: HashMap<String, u64, foldhash::fast::RandomState>,
    /// Events in the order of [`Lane::ALL`].
    pub lanes: [u64; 3],
    /// Bodies that are not JSON, or cannot be taken apart.
    pub unparsed: u64,
    /// Bodies without any update.
    pub empty: u64,
    /// Events that say what an earlier one has said, as far as the server has decided.
    pub duplicates: u64,
    /// Why duplicates are not known as such.
    pub unmarked: Option<String>,
    /// In the order of the sinks that are audited.
    pub sinks: Vec<SinkTally>,
}

/// What concerns one sink.
#[derive(Clone, Debug, Default)]
pub struct SinkTally {
    /// Events that it has confirmed.
    pub delivered: u64,
    /// Events that it was spared.
    pub duplicate: u64,
    /// Events that its filters leave out.
    pub unwanted: u64,
    /// Events that are among its dead letters.
    pub dead: u64,
    /// Events that it has not confirmed.
    pub in_flight: u64,
    /// Notifications that have passed it, of which it has had nothing, and that are no dead letter.
    pub hidden: u64,
    /// Sequence of the first one.
    pub hidden_first: Option<u64>,
    /// Notifications that hold events in flight.
    pub waiting: u64,
    /// When the first of those came, microseconds since 1970.
    pub waiting_since: Option<u64>,
}

impl SinkTally {
    /// Events that are accounted for.
    pub(super) fn sum(&self) -> u64 {
        self.delivered + self.duplicate + self.unwanted + self.dead + self.in_flight
    }
}

impl Tally {
    /// Nothing yet, of so many sinks.
    pub fn new(sinks: usize) -> Tally {
        Tally {
            sinks: vec![SinkTally::default(); sinks],
            ..Tally::default()
        }
    }

    /// Counts everything from sequence `from` on for these sinks, and appends the keys of the events.
    pub fn take(
        &mut self,
        delivery: &EventBatch,
        from: u64,
        sinks: &[Standing],
        scope: Scope,
        keys: &mut Vec<Key>,
    ) {
        self.received += delivery.made_from(from);
        for notification in delivery.notifications(from) {
            let record = notification.record;
            self.notifications += 1;
            self.bytes += record.body.len() as u64;
            let early = record.flags & record::FLAG_RECEIVED != 0;
            *self.endpoints.entry((record.endpoint, early)).or_default() += 1;
            self.arrivals = joined(
                self.arrivals,
                Some((record.received_at, record.received_at)),
            );
            for event in notification.events() {
                self.lanes[event.lane().index()] += 1;
                self.unparsed += u64::from(event.unparsed().is_some());
                self.empty += u64::from(event.kind() == EMPTY);
                self.duplicates += u64::from(event.is_duplicate());
                if event.is_dead() {
                    self.count_kind(POISONED, 1);
                    continue;
                }
                self.count_kind(event.kind(), 1);
                keys.push(Key {
                    group: scope.group_of(event),
                    hash: hash_of(event.id()),
                    weak: event.has_weak_key(),
                });
            }
            let lane = notification.events().map(|event| event.lane()).min();
            let lane = lane.unwrap_or(Lane::Rest);
            for (standing, sink) in sinks.iter().zip(&mut self.sinks) {
                let in_flight = sink.in_flight;
                for event in notification.events() {
                    *match standing.state_of(event, lane, record.endpoint) {
                        EventState::Delivered => &mut sink.delivered,
                        EventState::Duplicate => &mut sink.duplicate,
                        EventState::Unwanted => &mut sink.unwanted,
                        EventState::Dead => &mut sink.dead,
                        EventState::InFlight => &mut sink.in_flight,
                        EventState::Hidden => {
                            let first = Some(event.sequence());
                            sink.hidden_first = earliest(sink.hidden_first, first);
                            &mut sink.hidden
                        }
                    } += 1;
                }
                if sink.in_flight > in_flight {
                    sink.waiting += 1;
                    sink.waiting_since = earliest(sink.waiting_since, Some(record.received_at));
                }
            }
        }
    }

    /// Adds what another thread has counted.
    pub fn add(&mut self, other: &Tally) {
        self.notifications += other.notifications;
        self.bytes += other.bytes;
        for (key, count) in &other.endpoints {
            *self.endpoints.entry(*key).or_default() += count;
        }
        self.arrivals = joined(self.arrivals, other.arrivals);
        self.received += other.received;
        for (kind, count) in &other.kinds {
            self.count_kind(kind, *count);
        }
        for (mine, theirs) in self.lanes.iter_mut().zip(other.lanes) {
            *mine += theirs;
        }
        self.unparsed += other.unparsed;
        self.empty += other.empty;
        self.duplicates += other.duplicates;
        if self.unmarked.is_none() {
            self.unmarked.clone_from(&other.unmarked);
        }
        for (mine, theirs) in self.sinks.iter_mut().zip(&other.sinks) {
            mine.delivered += theirs.delivered;
            mine.duplicate += theirs.duplicate;
            mine.unwanted += theirs.unwanted;
            mine.dead += theirs.dead;
            mine.in_flight += theirs.in_flight;
            mine.hidden += theirs.hidden;
            mine.hidden_first = earliest(mine.hidden_first, theirs.hidden_first);
            mine.waiting += theirs.waiting;
            mine.waiting_since = earliest(mine.waiting_since, theirs.waiting_since);
        }
    }

    fn count_kind(&mut self, kind: &str, count: u64) {
        if let Some(counted) = self.kinds.get_mut(kind) {
            *counted += count;
        } else {
            let known = self.kinds.len() < KINDS_MAX;
            let kind = if known { kind } else { OTHER_KINDS };
            *self.kinds.entry(kind.to_owned()).or_default() += count;
        }
    }
}

fn earliest(a: Option<u64>, b: Option<u64>) -> Option<u64> {
    [a, b].into_iter().flatten().min()
}

fn joined(a: Option<(u64, u64)>, b: Option<(u64, u64)>) -> Option<(u64, u64)> {
    let both = || [a, b].into_iter().flatten();
    let first = both().map(|(first, _)| first).min()?;
    let last = both().map(|(_, last)| last).max()?;
    Some((first, last))
}

/// What an unknown sender calls its fields is no reason to take memory without a bound.
const KINDS_MAX: usize = 1000;
const OTHER_KINDS: &str = "(further types)";

/// In the place of a type: a body that nobody can take apart gives no event.
const POISONED: &str = "(no event: cannot be taken apart)";

/// The type of a body without any update.
const EMPTY: &str = "whatsapp.empty";
