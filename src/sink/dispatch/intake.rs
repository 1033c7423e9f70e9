//! What one lane of a sink, or a replay, has still to deliver, and how far that is.
//!
//! An intake reads its own feed and gives one item after the other, each with what it belongs to. Those that were
//! delivered before the last restart, behind one that was not, are passed over.

use super::Unit;
use super::blame::Blame;
use super::in_flight::InFlight;
use super::source::Source;
use crate::dedupe::Parties;
use crate::event::{Event, Item, Lane};
use crate::feed::{
    Decided, EventOutcome, Feed, FeedError, OPEN_MAX, Open, Progress, Selection, Tally,
};
use crate::worker::{EventBatch, Notification};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

/// Reads one feed.
pub(super) struct Intake {
    feed: Feed<Decided>,
    /// `None` takes all lanes.
    lane: Option<Lane>,
    choice: Choice,
    /// What had been reached, and what of that was open, when it was saved last.
    saved: Progress,
    /// What the batch that was read last holds and was not given yet, in order.
    waiting: VecDeque<InFlight>,
    /// Everything up to this sequence was given, or is not for this intake.
    reached: u64,
    /// What was given and is not done, with the number of attempts that have failed, and of those that count.
    given: BTreeMap<Item, (u32, u32)>,
    /// What became of the events that belong to it.
    pub(super) tally: Tally,
    /// Events that were neither here nor in another lane: 0, or there is a bug.
    pub(super) unaccounted: u64,
}

/// What an intake needs to know to choose.
#[derive(Clone, Debug)]
pub(super) struct Choice {
    pub(super) unit: Unit,
    /// Which events are for it.
    pub(super) wanted: Selection,
    pub(super) parties: Parties,
}

impl Intake {
    /// The intake of a lane that goes on from `saved`; its feed begins behind what is confirmed there.
    pub(super) fn lane(feed: Feed<Decided>, lane: Lane, saved: Progress, choice: Choice) -> Intake {
        Intake::new(feed, Some(lane), saved, choice)
    }

    /// An intake of all lanes, as far as what is wanted reaches.
    pub(super) fn replay(feed: Feed<Decided>, choice: Choice) -> Intake {
        let saved = Progress::up_to(feed.position() - 1);
        Intake::new(feed, None, saved, choice)
    }

    fn new(feed: Feed<Decided>, lane: Option<Lane>, saved: Progress, choice: Choice) -> Intake {
        let reached = feed.position() - 1;
        Intake {
            feed,
            lane,
            choice,
            saved,
            waiting: VecDeque::new(),
            reached,
            given: BTreeMap::new(),
            tally: Tally::default(),
            unaccounted: 0,
        }
    }

    /// The next one of the batch that was read last, if there is any left in it.
    pub(super) fn next(&mut self) -> Option<InFlight> {
        let given = self.waiting.pop_front()?;
        self.reached = match self.waiting.front() {
            // Not before all of a notification was given.
            Some(next) => next.item.sequence.saturating_sub(1).max(self.reached),
            None => given.batch.last_sequence(),
        };
        let tried = (given.blame.attempts, given.blame.counted);
        self.given.insert(given.item, tried);
        Some(given)
    }

    /// Reads the next batch, once all of the last one was given; false if there is none now. Of a long backlog that
    /// holds nothing for this intake, whoever calls is not kept waiting for the end.
    pub(super) fn read_on(&mut self) -> Result<bool, FeedError> {
        let from = self.feed.position();
        if !self.choice.wanted.reaches(from) {
            return Ok(false);
        }
        let Some(batch) = self.feed.next(Duration::ZERO)? else {
            // Behind damage that was set aside there may be nothing yet.
            self.reached = self.reached.max(self.feed.position() - 1);
            return Ok(false);
        };
        self.read(&batch, from);
        if self.waiting.is_empty() {
            self.reached = batch.last_sequence();
        }
        Ok(true)
    }

    /// The sequence that is read next.
    pub(super) fn position(&self) -> u64 {
        self.feed.position()
    }

    /// True when there may be something to give: not before the feed has it.
    pub(super) fn has_more(&self) -> bool {
        !self.waiting.is_empty() || self.feed.has_live()
    }

    /// True when everything that there is was given.
    pub(super) fn is_at_end(&self) -> bool {
        let position = self.feed.position();
        self.waiting.is_empty() && (self.feed.is_at_end() || !self.choice.wanted.reaches(position))
    }

    /// The item is delivered, or is somebody else's matter now.
    pub(super) fn done(&mut self, item: Item) {
        self.given.remove(&item);
    }

    /// The item was tried so often, of which so many count.
    pub(super) fn tried(&mut self, item: Item, attempts: u32, counted: u32) {
        if let Some(known) = self.given.get_mut(&item) {
            *known = (attempts, counted);
        }
    }

    /// Items that were given and are not done.
    pub(super) fn open(&self) -> usize {
        self.given.len()
    }

    /// Events that were read and not given yet.
    pub(super) fn waiting_events(&self) -> u64 {
        let all = self.waiting.iter().map(|it| u64::from(it.events));
        all.sum()
    }

    /// When the first that was read and not given arrived, in microseconds since 1970.
    pub(super) fn oldest(&self) -> Option<u64> {
        Some(self.waiting.front()?.received_at)
    }

    /// Everything up to this sequence was given, or is not for this intake.
    pub(super) fn reached(&self) -> u64 {
        self.reached
    }

    /// How far it is, as far as a cursor can say it.
    pub(super) fn progress(&self) -> Progress {
        // Until the feed has come to what was reached before, that still holds.
        let reached = self.reached.max(self.saved.reached);
        let mut open: Vec<Open> = Vec::new();
        for (&item, &(attempts, counted)) in self.given.range(..=last_of(reached)) {
            open.push(Open {
                item,
                attempts,
                counted,
            });
        }
        // Of what was read, what was not given yet; a notification may have been given in part.
        let waiting = self.waiting.iter();
        let waiting = waiting.take_while(|it| it.item.sequence <= reached);
        open.extend(waiting.map(|it| Open {
            item: it.item,
            attempts: it.blame.attempts,
            counted: it.blame.counted,
        }));
        let unread = self.feed.position();
        let ahead = self.saved.open.iter();
        open.extend(ahead.filter(|open| open.item.sequence >= unread));
        let mut reached = reached;
        if let Some(beyond) = open.get(OPEN_MAX) {
            // More than a cursor names: as if nothing behind those had been given.
            reached = beyond.item.sequence - 1;
            open.retain(|open| open.item.sequence <= reached);
        }
        let first = open.first().map(|open| open.item.sequence);
        Progress {
            confirmed: first.map_or(reached, |first| first - 1),
            reached,
            open,
        }
    }

    /// Finds what is to be delivered of a batch from sequence `from` on.
    fn read(&mut self, batch: &Arc<EventBatch>, from: u64) {
        let passed_over = batch.first_sequence().saturating_sub(from);
        self.unaccounted += passed_over.abs_diff(self.feed.take_set_aside());
        let mut all = 0;
        for notification in batch.notifications(from) {
            if !self.choice.wanted.reaches(notification.sequence) {
                return;
            }
            all += notification.events().count() as u64;
            match self.choice.unit {
                Unit::Notification => self.whole(batch, &notification),
                Unit::Event => self.each(batch, &notification),
            }
        }
        self.unaccounted += batch.made_from(from).abs_diff(all);
    }

    fn whole(&mut self, batch: &Arc<EventBatch>, notification: &Notification<'_>) {
        let endpoint = notification.record.endpoint;
        let wanted = |event: &Event<'_>| {
            self.choice.wanted.outcome(*event, endpoint) == EventOutcome::Wanted
        };
        let all = || notification.events();
        let most_urgent = all().filter(wanted).map(|event| event.lane()).min();
        let lane = most_urgent.or_else(|| all().map(|event| event.lane()).min());
        if !self.is_mine(lane.unwrap_or(Lane::Rest)) {
            return;
        }
        let item = Item {
            sequence: notification.sequence,
            index: None,
        };
        let mut tally = Tally::default();
        let wanted = self.choice.wanted.of(notification, &mut tally);
        let conversations = self.choice.parties.conversations(wanted);
        self.tally += tally;
        let events = u32::try_from(tally.wanted).unwrap_or(u32::MAX);
        let received_at = notification.record.received_at;
        self.take(InFlight {
            events,
            conversations,
            ..InFlight::new(self.source(), batch, item, received_at)
        });
    }

    fn each(&mut self, batch: &Arc<EventBatch>, notification: &Notification<'_>) {
        for event in notification.events() {
            if !self.is_mine(event.lane()) {
                continue;
            }
            let outcome = self
                .choice
                .wanted
                .outcome(event, notification.record.endpoint);
            self.tally.count(outcome);
            if outcome != EventOutcome::Wanted {
                continue;
            }
            let item = Item::from(event.position());
            let conversations = self.choice.parties.conversations([event]);
            let received_at = notification.record.received_at;
            self.take(InFlight {
                events: 1,
                conversations,
                ..InFlight::new(self.source(), batch, item, received_at)
            });
        }
    }

    fn take(&mut self, mut one: InFlight) {
        match self.attempts_before(one.item) {
            Some((attempts, counted)) if one.events > 0 => {
                one.blame = Blame::saved(attempts, counted);
                self.waiting.push_back(one);
            }
            // Delivered before the restart: it is nobody's any more.
            _ => {
                self.tally.wanted -= u64::from(one.events);
                self.tally.before += u64::from(one.events);
            }
        }
    }

    /// How often it was tried before the restart, and how many of these attempts count; `None` if it was delivered
    /// then. Whatever the unit was.
    fn attempts_before(&self, item: Item) -> Option<(u32, u32)> {
        if item.sequence > self.saved.reached {
            return Some((0, 0));
        }
        let same = |open: &&Open| {
            let either_is_whole = item.index.is_none() || open.item.index.is_none();
            open.item.sequence == item.sequence && (either_is_whole || open.item == item)
        };
        let open = self.saved.open.iter().filter(same);
        open.map(|open| (open.attempts, open.counted)).max()
    }

    fn source(&self) -> Source {
        let lane = self.lane.map(|lane| Source::Lane(lane.index()));
        lane.unwrap_or(Source::Replay)
    }

    fn is_mine(&self, lane: Lane) -> bool {
        self.lane.is_none_or(|mine| mine == lane)
    }
}

/// Behind every item of the notifications up to `sequence`.
fn last_of(sequence: u64) -> Item {
    Item {
        sequence,
        index: Some(u32::MAX),
    }
}
