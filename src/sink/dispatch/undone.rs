//! What was taken in and is not done: waiting for its conversation, for a slot, for an answer, or for another attempt.

use super::intake::Found;
use super::order::Order;
use crate::feed::{Delivery, Item, Maker, Notification};
use crate::sink::transport::Parcel;
use foldhash::fast::RandomState;
use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Instant;

/// Where something came from, which is also how urgent it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Source {
    /// A lane, by its place.
    Lane(usize),
    /// A dead letter that is tried again.
    Letter,
    /// A replay.
    Replay,
}

impl Source {
    /// All of them, the most urgent first.
    pub(super) const ALL: [Source; 5] = [
        Source::Lane(0),
        Source::Lane(1),
        Source::Lane(2),
        Source::Letter,
        Source::Replay,
    ];

    fn place(self) -> usize {
        match self {
            Source::Lane(place) => place,
            Source::Letter => 3,
            Source::Replay => 4,
        }
    }
}

/// One of them.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) item: Item,
    pub(super) source: Source,
    pub(super) delivery: Arc<Delivery>,
    /// Events in it that are wanted.
    pub(super) events: u32,
    /// Failed attempts.
    pub(super) attempts: u32,
    /// When the first of them failed, in microseconds since 1970.
    pub(super) first_failed: Option<u64>,
    pub(super) received_at: u64,
    conversations: Vec<u64>,
    /// It has its notification for itself, instead of the batch that it came in.
    alone: bool,
}

impl Entry {
    /// The notification that it is, or is a part of.
    pub(super) fn notification(&self) -> Option<Notification<'_>> {
        self.delivery.notification(self.item.sequence)
    }

    /// True when it was never tried. Attempts alone do not tell: none are counted while the receiver is away.
    fn is_new(&self) -> bool {
        self.attempts == 0 && self.first_failed.is_none()
    }
}

#[derive(Debug, Default)]
pub(super) struct Undone {
    entries: HashMap<u64, Entry, RandomState>,
    /// By place of the source: order holds within a lane.
    orders: [Order; 5],
    ready: [VecDeque<u64>; 5],
    later: BTreeSet<(Instant, u64)>,
    /// What is under way, by the ticket of its job.
    jobs: HashMap<u64, Vec<u64>, RandomState>,
    next_ticket: u64,
    maker: Maker,
}

impl Undone {
    /// Takes something in, behind what is there of its conversations.
    pub(super) fn enter(&mut self, source: Source, found: Found, delivery: Arc<Delivery>) {
        let ticket = self.ticket();
        let order = &mut self.orders[source.place()];
        let waits_long = found.conversations.iter().any(|conversation| {
            let first = order.first(*conversation);
            let first = first.and_then(|first| self.entries.get(&first));
            first.is_some_and(|first| first.attempts > 0)
        });
        if order.enter(ticket, &found.conversations) {
            self.ready[source.place()].push_back(ticket);
        }
        let entry = Entry {
            item: found.item,
            source,
            delivery,
            events: found.events,
            attempts: found.attempts,
            first_failed: None,
            received_at: found.received_at,
            conversations: found.conversations,
            alone: false,
        };
        self.entries.insert(ticket, entry);
        if waits_long {
            self.set_apart(ticket);
        }
    }

    /// The most urgent source of `sources` from which something may go.
    pub(super) fn first_ready(&self, sources: &[Source]) -> Option<Source> {
        let mut sources = sources.iter().copied();
        sources.find(|source| self.ready(*source) > 0)
    }

    /// The most urgent source of `sources` from which something may go that was never tried; it is the next one.
    pub(super) fn first_new(&mut self, sources: &[Source]) -> Option<Source> {
        for source in sources {
            let ready = &mut self.ready[source.place()];
            let is_new = |ticket: &u64| self.entries.get(ticket).is_some_and(Entry::is_new);
            if let Some(at) = ready.iter().position(is_new) {
                let ticket = ready.remove(at)?;
                ready.push_front(ticket);
                return Some(*source);
            }
        }
        None
    }

    /// True when something from a lane may go that was never tried.
    pub(super) fn has_new(&self) -> bool {
        let mut ready = self.ready[..3].iter().flatten();
        ready.any(|ticket| self.entries.get(ticket).is_some_and(Entry::is_new))
    }

    /// How many of a source may go.
    pub(super) fn ready(&self, source: Source) -> usize {
        self.ready[source.place()].len()
    }

    /// Takes up to `batch` that may go as one job. What has failed before goes alone, so that it takes no other with
    /// it.
    pub(super) fn take(&mut self, source: Source, batch: usize) -> Option<(u64, u32, Vec<Parcel>)> {
        let ready = &mut self.ready[source.place()];
        let (mut tickets, mut parcels, mut attempt) = (Vec::new(), Vec::new(), 1);
        while parcels.len() < batch.max(1) {
            let Some(ticket) = ready.front() else { break };
            let Some(entry) = self.entries.get(ticket) else {
                ready.pop_front();
                continue;
            };
            if !entry.is_new() && !parcels.is_empty() {
                break;
            }
            parcels.push(Parcel {
                delivery: Arc::clone(&entry.delivery),
                item: entry.item,
            });
            tickets.extend(ready.pop_front());
            if !entry.is_new() {
                attempt = entry.attempts + 1;
                break;
            }
        }
        if parcels.is_empty() {
            return None;
        }
        let job = self.ticket();
        self.jobs.insert(job, tickets);
        Some((job, attempt, parcels))
    }

    /// The job has ended: the tickets that it carried.
    pub(super) fn ended(&mut self, job: u64) -> Vec<u64> {
        self.jobs.remove(&job).unwrap_or_default()
    }

    /// Deliveries under way.
    pub(super) fn under_way(&self) -> usize {
        self.jobs.len()
    }

    pub(super) fn get(&self, ticket: u64) -> Option<&Entry> {
        self.entries.get(&ticket)
    }

    pub(super) fn get_mut(&mut self, ticket: u64) -> Option<&mut Entry> {
        self.entries.get_mut(&ticket)
    }

    /// It is delivered, or somebody else's matter: its conversations go on.
    pub(super) fn done(&mut self, ticket: u64) -> Option<Entry> {
        let entry = self.entries.remove(&ticket)?;
        let place = entry.source.place();
        let mut firsts = Vec::new();
        self.orders[place].leave(ticket, &entry.conversations, |first| firsts.push(first));
        firsts.sort_unstable();
        firsts.dedup();
        for first in firsts {
            let Some(next) = self.entries.get(&first) else {
                continue;
            };
            if self.orders[place].is_first(first, &next.conversations) {
                self.ready[place].push_back(first);
            }
        }
        Some(entry)
    }

    /// It is tried again at `at`. Its conversations wait, with copies of their own.
    pub(super) fn postpone(&mut self, ticket: u64, at: Instant) {
        self.later.insert((at, ticket));
        let Some(entry) = self.entries.get(&ticket) else {
            return;
        };
        if entry.alone {
            return;
        }
        let order = &self.orders[entry.source.place()];
        let behind: Vec<u64> = entry
            .conversations
            .iter()
            .flat_map(|conversation| order.members(*conversation))
            .collect();
        self.set_apart(ticket);
        for ticket in behind {
            self.set_apart(ticket);
        }
    }

    /// What is to be tried again by `now` may go.
    pub(super) fn wake(&mut self, now: Instant) {
        while let Some((at, ticket)) = self.later.first().copied() {
            if at > now {
                return;
            }
            self.later.pop_first();
            if let Some(entry) = self.entries.get(&ticket) {
                self.ready[entry.source.place()].push_back(ticket);
            }
        }
    }

    /// When the next one is to be tried again.
    pub(super) fn next_wake(&self) -> Option<Instant> {
        self.later.first().map(|(at, _)| *at)
    }

    /// Lets go of everything from a source; what is under way ends for nobody.
    pub(super) fn forget(&mut self, source: Source) {
        self.entries.retain(|_, entry| entry.source != source);
        self.orders[source.place()] = Order::default();
        self.ready[source.place()].clear();
    }

    /// Events of the lanes that are wanted.
    pub(super) fn events(&self) -> u64 {
        let lanes = self.entries.values();
        let lanes = lanes.filter(|entry| matches!(entry.source, Source::Lane(_)));
        lanes.map(|entry| u64::from(entry.events)).sum()
    }

    /// When the oldest of a source arrived, in microseconds since 1970.
    pub(super) fn oldest(&self, source: Source) -> Option<u64> {
        let mine = self.entries.values().filter(|entry| entry.source == source);
        mine.map(|entry| entry.received_at).min()
    }

    /// Gives it a copy of its own notification, so that it does not keep the whole batch.
    fn set_apart(&mut self, ticket: u64) {
        let Some(entry) = self.entries.get_mut(&ticket) else {
            return;
        };
        if !std::mem::replace(&mut entry.alone, true)
            && let Some(alone) = entry.delivery.alone(entry.item.sequence, &mut self.maker)
        {
            entry.delivery = Arc::new(alone);
        }
    }

    fn ticket(&mut self) -> u64 {
        self.next_ticket += 1;
        self.next_ticket
    }
}
