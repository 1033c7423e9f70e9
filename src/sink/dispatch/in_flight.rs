//! What was taken in and is not done: waiting for its conversation, for a slot, for an answer, or for another attempt.

mod early;

use super::blame::Blame;
use super::order::Order;
use super::source::Source;
use crate::event::Item;
use crate::sink::transport::{BatchItem, Failure};
use crate::worker::{EventBatch, Extraction, Notification};
use foldhash::fast::RandomState;
use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::{Arc, Weak};
use std::time::Instant;

/// One of them.
pub(super) struct InFlight {
    pub(super) item: Item,
    pub(super) source: Source,
    pub(super) batch: Arc<EventBatch>,
    /// Events in it that are wanted.
    pub(super) events: u32,
    pub(super) blame: Blame,
    /// When it failed for the first time, in microseconds since 1970.
    pub(super) first_failed: Option<u64>,
    /// When it arrived, in microseconds since 1970.
    pub(super) received_at: u64,
    /// The conversations that it must keep its order in, each once.
    pub(super) conversations: Vec<u64>,
    /// It has its notification for itself, instead of the batch that it came in.
    pub(super) alone: bool,
    /// It may be tried again before its time, once the receiver works.
    pub(super) may_hurry: bool,
    /// It is to be given up with this, and not to be delivered any more.
    pub(super) given_up: Option<Failure>,
}

/// Of a conversation that fails, the next one is sent ahead of the first to see whether the receiver takes that.
#[derive(Debug)]
pub(super) struct Ahead {
    /// What fails; it waits.
    pub(super) first: u64,
    /// The next one.
    pub(super) probe: u64,
    pub(super) failure: Failure,
}

impl InFlight {
    /// An item of this batch that arrived then: in no conversation, and never tried.
    pub(super) fn new(
        source: Source,
        batch: &Arc<EventBatch>,
        item: Item,
        received_at: u64,
    ) -> InFlight {
        InFlight {
            item,
            source,
            batch: Arc::clone(batch),
            events: 0,
            blame: Blame::default(),
            first_failed: None,
            received_at,
            conversations: Vec::new(),
            alone: false,
            may_hurry: false,
            given_up: None,
        }
    }

    /// The notification that it is, or is a part of.
    pub(super) fn notification(&self) -> Option<Notification<'_>> {
        self.batch.notification(self.item.sequence)
    }

    /// True if most of the batch that it keeps in memory is not its own notification.
    fn is_little(&self) -> bool {
        let own = self.notification().map_or(0, |it| it.record.body.len());
        own < self.batch.bytes() / 8
    }

    /// True when it was never tried. Attempts alone do not tell: one that did not reach the receiver is none.
    pub(super) fn is_new(&self) -> bool {
        self.blame.attempts == 0 && self.first_failed.is_none()
    }
}

#[derive(Default)]
pub(super) struct InFlightSet {
    entries: HashMap<u64, InFlight, RandomState>,
    /// By place of the source: order holds within a lane.
    orders: [Order; 5],
    ready: [VecDeque<u64>; 5],
    later: BTreeSet<(Instant, u64)>,
    /// What is under way, by the ticket of its attempt.
    attempts: HashMap<u64, Vec<u64>, RandomState>,
    ahead: Option<Ahead>,
    next_ticket: u64,
    maker: Extraction,
    /// Notifications that were copied, by sequence, as long as something of them is undone.
    copies: HashMap<u64, Weak<EventBatch>, RandomState>,
    /// How many entries keep a batch in memory, by place and [`address`] of the batch.
    held: HashMap<(usize, usize), usize, RandomState>,
    /// Bytes of these by place: each batch once and as a whole, however many entries keep it, and however little of it
    /// they are.
    bytes: [usize; 5],
    /// Notifications that were copied, and taken apart for it.
    #[cfg(test)]
    copied: u64,
}

impl InFlightSet {
    /// Takes something in, behind what is there of its conversations.
    pub(super) fn enter(&mut self, one: InFlight) {
        let ticket = self.ticket();
        let source = one.source;
        let order = &mut self.orders[source.place()];
        let waits_long = one.conversations.iter().any(|conversation| {
            let first = order.first(*conversation);
            let first = first.and_then(|first| self.entries.get(&first));
            first.is_some_and(|first| !first.is_new())
        });
        if order.enter(ticket, &one.conversations) {
            self.ready[source.place()].push_back(ticket);
        }
        let is_little = self.bytes[source.place()] > BYTES_MAX / 2 && one.is_little();
        self.hold(source.place(), &one.batch);
        self.entries.insert(ticket, one);
        if waits_long || is_little {
            self.set_apart(ticket);
        }
    }

    /// The most urgent source of `sources` from which something may go.
    pub(super) fn first_ready(&self, sources: &[Source]) -> Option<Source> {
        let mut sources = sources.iter().copied();
        sources.find(|source| self.ready(*source) > 0)
    }

    /// The most urgent source of `sources` from which a probe may go: what was sent ahead, or what was never tried. It
    /// is the next one.
    pub(super) fn first_probe(&mut self, sources: &[Source]) -> Option<Source> {
        let ahead = sources.iter().find(|source| self.is_ahead_of(**source));
        ahead.copied().or_else(|| self.first_new(sources))
    }

    /// True if the next one of this source is what was sent ahead.
    fn is_ahead_of(&self, source: Source) -> bool {
        let next = self.ready[source.place()].front();
        next.is_some() && next == self.ahead.as_ref().map(|it| &it.probe)
    }

    fn first_new(&mut self, sources: &[Source]) -> Option<Source> {
        for source in sources {
            let ready = &mut self.ready[source.place()];
            let is_new = |ticket: &u64| self.entries.get(ticket).is_some_and(InFlight::is_new);
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
        ready.any(|ticket| self.entries.get(ticket).is_some_and(InFlight::is_new))
    }

    /// True when something from this source that was never tried may go, or is under way.
    pub(super) fn tries_new(&self, source: Source) -> bool {
        let ready = self.ready[source.place()].iter();
        let under_way = self.attempts.values().flatten();
        let mut entries = ready.chain(under_way).filter_map(|it| self.entries.get(it));
        entries.any(|entry| entry.source == source && entry.is_new())
    }

    /// True while something is sent ahead of what fails.
    pub(super) fn is_asking(&self) -> bool {
        self.ahead.is_some()
    }

    /// Sends what comes next in the conversations of `first`, which has failed like that and waits from here on. False
    /// if there is nothing that waits for this one alone, or something is sent ahead already.
    pub(super) fn send_ahead(&mut self, first: u64, failure: &Failure) -> bool {
        let Some(entry) = self.entries.get(&first).filter(|_| !self.is_asking()) else {
            return false;
        };
        let place = entry.source.place();
        let conversations_of = |ticket| Some(&*self.entries.get(&ticket)?.conversations);
        let next = self.orders[place].behind(first, &entry.conversations, conversations_of);
        let Some(probe) = next else { return false };
        self.ready[place].push_front(probe);
        let failure = failure.clone();
        self.ahead = Some(Ahead {
            first,
            probe,
            failure,
        });
        true
    }

    /// What was sent ahead, if it is among those that have ended now.
    pub(super) fn take_ahead(&mut self, tickets: &[u64]) -> Option<Ahead> {
        self.ahead.take_if(|it| tickets.contains(&it.probe))
    }

    /// Something else has answered the question: what is still to be sent ahead waits again, and the first of its
    /// conversation may go.
    pub(super) fn call_back(&mut self) {
        let waits = Source::ALL.into_iter().find(|it| self.is_ahead_of(*it));
        if let Some(source) = waits
            && let Some(Ahead { first, .. }) = self.ahead.take()
            && let Some(next) = self.ready[source.place()].front_mut()
        {
            *next = first;
        }
    }

    /// It is not delivered any more, but given up with this when it is its time.
    pub(super) fn give_up_later(&mut self, ticket: u64, failure: Failure) {
        if let Some(entry) = self.entries.get_mut(&ticket) {
            entry.given_up = Some(failure);
        }
    }

    /// How many of a source may go.
    pub(super) fn ready(&self, source: Source) -> usize {
        self.ready[source.place()].len()
    }

    /// Takes up to `batch` that may go as one attempt. What has failed before goes alone, so that it takes no other
    /// with it.
    pub(super) fn take(
        &mut self,
        source: Source,
        batch: usize,
    ) -> Option<(u64, u32, Vec<BatchItem>)> {
        let ready = &mut self.ready[source.place()];
        let (mut tickets, mut items, mut number) = (Vec::new(), Vec::new(), 1);
        while items.len() < batch.max(1) {
            let Some(ticket) = ready.front() else { break };
            let Some(entry) = self.entries.get(ticket) else {
                ready.pop_front();
                continue;
            };
            let ahead = self.ahead.as_ref().map(|it| &it.probe);
            let goes_alone = !entry.is_new() || ahead == Some(ticket);
            if goes_alone && !items.is_empty() {
                break;
            }
            number = entry.blame.attempts.saturating_add(1);
            items.push(BatchItem {
                batch: Arc::clone(&entry.batch),
                item: entry.item,
            });
            tickets.extend(ready.pop_front());
            if goes_alone {
                break;
            }
        }
        if items.is_empty() {
            return None;
        }
        let attempt = self.ticket();
        self.attempts.insert(attempt, tickets);
        Some((attempt, number, items))
    }

    /// The attempt has ended: the tickets that it carried.
    pub(super) fn ended(&mut self, attempt: u64) -> Vec<u64> {
        self.attempts.remove(&attempt).unwrap_or_default()
    }

    /// Deliveries under way.
    pub(super) fn under_way(&self) -> usize {
        self.attempts.len()
    }

    pub(super) fn get(&self, ticket: u64) -> Option<&InFlight> {
        self.entries.get(&ticket)
    }

    pub(super) fn get_mut(&mut self, ticket: u64) -> Option<&mut InFlight> {
        self.entries.get_mut(&ticket)
    }

    /// It is delivered, or somebody else's matter: its conversations go on.
    pub(super) fn done(&mut self, ticket: u64) -> Option<InFlight> {
        let entry = self.entries.remove(&ticket)?;
        let place = entry.source.place();
        self.release(place, &entry.batch);
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

    /// What is to be tried again by `now` may go. Gives what is to be given up.
    pub(super) fn wake(&mut self, now: Instant) -> Vec<(u64, Failure)> {
        let mut given_up = Vec::new();
        while let Some((at, ticket)) = self.later.first().copied() {
            if at > now {
                break;
            }
            self.later.pop_first();
            let Some(entry) = self.entries.get_mut(&ticket) else {
                continue;
            };
            match entry.given_up.take() {
                Some(failure) => given_up.push((ticket, failure)),
                None => self.ready[entry.source.place()].push_back(ticket),
            }
        }
        given_up
    }

    /// When the next one is to be tried again.
    pub(super) fn next_wake(&self) -> Option<Instant> {
        self.later.first().map(|(at, _)| *at)
    }

    /// Drops everything from a source; what is under way ends for nobody.
    pub(super) fn forget(&mut self, source: Source) {
        self.entries.retain(|_, entry| entry.source != source);
        self.orders[source.place()] = Order::default();
        self.ready[source.place()].clear();
        self.held.retain(|(place, _), _| *place != source.place());
        self.bytes[source.place()] = 0;
        let entries = &self.entries;
        self.ahead.take_if(|it| !entries.contains_key(&it.first));
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

    /// True when the batches that what is undone from this source keeps in memory take as many bytes as they may.
    pub(super) fn is_full(&self, source: Source) -> bool {
        self.bytes[source.place()] >= BYTES_MAX
    }

    /// The same for what is read one at a time beyond that.
    pub(super) fn is_full_beyond(&self, source: Source) -> bool {
        self.bytes[source.place()] >= 2 * BYTES_MAX
    }

    /// The copy of a notification that is here already. A letter may be of another journal, where its sequence was
    /// that of another notification.
    pub(super) fn copy_of(
        &self,
        sequence: u64,
        received_at: u64,
        length: usize,
    ) -> Option<Arc<EventBatch>> {
        let copy = self.copies.get(&sequence)?.upgrade()?;
        let record = copy.notification(sequence)?.record;
        let is_same = record.received_at == received_at && record.body.len() == length;
        is_same.then_some(copy)
    }

    /// This is a notification alone, which others that belong to it may share.
    pub(super) fn share(&mut self, sequence: u64, alone: &Arc<EventBatch>) {
        if self.copies.len() > 2 * self.entries.len() + COPIES_SLACK {
            self.copies.retain(|_, copy| copy.strong_count() > 0);
        }
        self.copies.insert(sequence, Arc::downgrade(alone));
    }

    /// Gives it a copy of its own notification, so that it does not keep the whole batch. All that belongs to the
    /// notification shares one, which is taken apart once.
    fn set_apart(&mut self, ticket: u64) {
        let Some(entry) = self.entries.get_mut(&ticket) else {
            return;
        };
        if std::mem::replace(&mut entry.alone, true) {
            return;
        }
        let (sequence, delivery) = (entry.item.sequence, Arc::clone(&entry.batch));
        let record = delivery.notification(sequence).map(|it| it.record);
        let shared = record.and_then(|it| self.copy_of(sequence, it.received_at, it.body.len()));
        let alone = shared.or_else(|| {
            let alone = Arc::new(self.maker.alone(&delivery, sequence)?);
            self.share(sequence, &alone);
            #[cfg(test)]
            {
                self.copied += 1;
            }
            Some(alone)
        });
        if let Some(alone) = alone
            && let Some(entry) = self.entries.get_mut(&ticket)
        {
            let place = entry.source.place();
            entry.batch = Arc::clone(&alone);
            self.hold(place, &alone);
            self.release(place, &delivery);
        }
    }

    /// One entry more keeps this batch in memory.
    fn hold(&mut self, place: usize, batch: &Arc<EventBatch>) {
        let entries = self.held.entry((place, address(batch))).or_default();
        *entries += 1;
        if *entries == 1 {
            self.bytes[place] += batch.bytes();
        }
    }

    /// One less does.
    fn release(&mut self, place: usize, batch: &Arc<EventBatch>) {
        let key = (place, address(batch));
        let Some(entries) = self.held.get_mut(&key) else {
            return;
        };
        *entries -= 1;
        if *entries == 0 {
            self.held.remove(&key);
            self.bytes[place] -= batch.bytes();
        }
    }

    fn ticket(&mut self) -> u64 {
        self.next_ticket += 1;
        self.next_ticket
    }
}

/// Names a batch as long as somebody has it.
fn address(batch: &Arc<EventBatch>) -> usize {
    Arc::as_ptr(batch).addr()
}

/// Bytes of the batches that what is undone from one source keeps in memory, at most, and those of one more.
const BYTES_MAX: usize = 32 << 20;

/// Copies that nobody holds any more, and that are known all the same.
const COPIES_SLACK: usize = 64;

#[cfg(test)]
mod tests;
