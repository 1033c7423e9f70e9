//! Readers of the journal that stay open between two answers to the same consumer, so that one that goes on where it
//! stopped does not search the journal each time.

use super::consumer_position::{before, behind, whole};
use super::page::{Ask, Page};
use crate::event::{Lane, Position};
use crate::feed::{Decided, EventOutcome, Feed, FeedError, Selection, Tally};
use crate::worker::{EventBatch, Notification};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// One reader, and how far it has come.
pub(super) struct Reading {
    feed: Feed<Decided>,
    /// The batch in which a page has ended.
    current: Option<Arc<EventBatch>>,
    lane: Option<Lane>,
    /// The first event that it has not looked at.
    next: Position,
    /// Behind the last one that it has handed out; what stands from there up to `next` was left out.
    handed: Position,
    used_at: Instant,
}

impl Reading {
    pub(super) fn new(feed: Feed<Decided>, lane: Option<Lane>, next: Position) -> Reading {
        Reading {
            feed,
            current: None,
            lane,
            next,
            handed: next,
            used_at: Instant::now(),
        }
    }

    /// Fills the page until it is full, nothing more is there, or [`STEP_TIME`] is over: who leaves out nearly
    /// everything gets on in steps, and whoever does not wait for the answer any more costs no more than one.
    pub(super) fn fill(
        &mut self,
        page: &mut Page,
        ask: &Ask,
        wanted: &Selection,
    ) -> Result<(), FeedError> {
        self.used_at = Instant::now();
        while !page.is_full && self.used_at.elapsed() < STEP_TIME {
            let delivery = match self.current.take() {
                Some(delivery) => delivery,
                None => match self.advance(page) {
                    Ok(Some(delivery)) => delivery,
                    Ok(None) => {
                        page.is_at_end = true;
                        break;
                    }
                    // The next one gets the error.
                    Err(_) if page.events > 0 => break,
                    Err(error) => return Err(error),
                },
            };
            self.pass(&delivery, page, ask, wanted);
            self.current = page.is_full.then_some(delivery);
        }
        page.next = before(self.next);
        Ok(())
    }

    fn advance(&mut self, page: &mut Page) -> Result<Option<Arc<EventBatch>>, FeedError> {
        let from = self.feed.position();
        let delivery = self.feed.next_stored()?;
        let to = match &delivery {
            Some(delivery) => delivery.first_sequence().max(from),
            // Behind damage that was set aside there may be nothing yet.
            None => self.feed.position(),
        };
        page.unaccounted += (to - from).abs_diff(self.feed.take_set_aside());
        self.next = self.next.max(whole(to));
        Ok(delivery)
    }

    /// Takes what is wanted of the batch, and balances the books: every event that was made of the notifications
    /// passed is wanted, a duplicate, not wanted, of another lane, or was passed before.
    fn pass(&mut self, delivery: &EventBatch, page: &mut Page, ask: &Ask, wanted: &Selection) {
        let from = self.next.sequence;
        // Of the notifications that were passed as a whole.
        let mut passed = 0;
        for notification in delivery.notifications(from) {
            let tally = self.pass_one(&notification, page, ask, wanted);
            page.tally += Tally {
                before: 0,
                ..tally.0
            };
            if page.is_full {
                break;
            }
            passed += tally.0.all() + tally.1;
            self.next = whole(notification.sequence + 1);
        }
        let made = delivery.made_from(from) - delivery.made_from(self.next.sequence);
        page.unaccounted += made.abs_diff(passed);
    }

    /// What became of the events of one, and how many are of another lane.
    fn pass_one(
        &mut self,
        notification: &Notification<'_>,
        page: &mut Page,
        ask: &Ask,
        wanted: &Selection,
    ) -> (Tally, u64) {
        let (mut tally, mut elsewhere) = (Tally::default(), 0);
        for event in notification.events() {
            let position = event.position();
            if position < self.next {
                tally.before += 1;
                continue;
            }
            if ask.lane.is_some_and(|lane| lane != event.lane()) {
                elsewhere += 1;
                continue;
            }
            let outcome = wanted.outcome(event, notification.record.endpoint);
            if outcome == EventOutcome::Wanted {
                if !page.push(event, notification.record.body, ask.limit) {
                    self.next = position;
                    break;
                }
                self.handed = behind(position.into());
            }
            tally.count(outcome);
        }
        if tally.wanted > 0 {
            let lanes = notification.events().map(|event| event.lane());
            page.lanes.push((notification.sequence, lanes.collect()));
        }
        (tally, elsewhere)
    }

    /// True if it can go on for one who wants this.
    fn is_for(&self, next: Position, lane: Option<Lane>) -> bool {
        self.lane == lane && (self.next == next || self.handed == next)
    }
}

/// The readers that nobody reads with at the moment, few of them.
#[derive(Default)]
pub(super) struct ReaderCache(Vec<Reading>);

impl ReaderCache {
    /// The reader that stands there, if there is one.
    pub(super) fn take(&mut self, next: Position, lane: Option<Lane>) -> Option<Reading> {
        let place = self.0.iter().position(|it| it.is_for(next, lane))?;
        Some(self.0.swap_remove(place))
    }

    /// Keeps a reader, in the place of the one that was not used for longest.
    pub(super) fn put(&mut self, reading: Reading) {
        self.0.push(reading);
        while self.0.len() > SHELF_MAX || self.0.len() > 1 && self.bytes() > SHELF_BYTES {
            let oldest = self.0.iter().enumerate().min_by_key(|(_, it)| it.used_at);
            let Some((place, _)) = oldest else { return };
            self.0.swap_remove(place);
        }
    }

    fn bytes(&self) -> usize {
        let held = self.0.iter().filter_map(|it| it.current.as_ref());
        held.map(|delivery| delivery.bytes()).sum()
    }

    /// Releases those that were not used for a while, with their batch and their segment.
    pub(super) fn sweep(&mut self) {
        self.0.retain(|it| it.used_at.elapsed() < SHELF_TIME);
    }
}

/// Readers of a sink that stay open; each holds a segment, and at most a batch.
const SHELF_MAX: usize = 4;

/// Bytes of the batches that they hold, if it is more than one.
const SHELF_BYTES: usize = 16 << 20;

/// How long one stays open that nobody uses.
const SHELF_TIME: Duration = Duration::from_secs(90);

/// How long one look at the journal takes at most.
const STEP_TIME: Duration = Duration::from_millis(100);
