//! Dead letters: what was tried too often, and what somebody wants to be tried again.

use super::in_flight::InFlight;
use super::source::Source;
use super::{Failure, Running};
use crate::dead_letter::{DeadLetter, DeadLetterError, Failures};
use crate::event::Item;
use crate::worker::{EventBatch, Extraction, Notification, Poison};
use std::collections::BTreeSet;
use std::sync::Arc;

/// Letters that are under way once more.
pub(super) struct Retried {
    items: BTreeSet<Item>,
    /// Those that cannot be read, which was logged.
    unreadable: BTreeSet<Item>,
    /// That nothing can be looked at was logged.
    logged: bool,
    maker: Extraction,
}

impl Retried {
    /// None yet. What nobody can take apart any more is not tried here either.
    pub(super) fn new(poison: &Arc<Poison>) -> Retried {
        Retried {
            items: BTreeSet::new(),
            unreadable: BTreeSet::new(),
            logged: false,
            maker: Extraction::sparing(poison),
        }
    }
}

impl Running {
    /// Makes a dead letter of what was tried too often, durably; false if that is not possible now.
    pub(super) fn make_dead_letter(&mut self, ticket: u64, failure: &Failure) -> bool {
        let Some(entry) = self.in_flight.get_mut(ticket) else {
            return true;
        };
        let Some(notification) = entry.notification() else {
            return true;
        };
        let now = self.parts.dead_letters.now();
        let failures = Failures {
            reason: failure.reason.clone(),
            attempts: entry.blame.attempts,
            first_failed: entry.first_failed.unwrap_or(now),
            last_failed: now,
            last_answer: failure.answer.clone(),
        };
        let path = self.parts.paths.of(notification.record.endpoint);
        let path = path.as_deref().unwrap_or_default();
        let (sink, index) = (&self.parts.name, entry.item.index);
        let content = self.parts.dead_letters.content_of(&notification);
        let letter = DeadLetter::sharing(content, sink, &notification, index, path, failures);
        let kept = match entry.source {
            Source::DeadLetter => self.parts.dead_letters.failed_again(&letter),
            Source::Lane(_) | Source::Replay => self.parts.dead_letters.add(&letter),
        };
        if let Err(error) = kept {
            if !std::mem::replace(&mut self.dead_letters_logged, true) {
                let sink = &self.parts.name;
                tracing::error!(sink, %error, "an event is to become a dead letter, but none can be written: it is tried on instead; make room, or give the directory to the user that serves");
            }
            return false;
        }
        self.dead_letters_logged = false;
        let (item, reason) = (letter.item, &letter.failures.reason);
        if let Some(times) = self.lines.dead.count() {
            let (sink, attempts) = (&self.parts.name, letter.failures.attempts);
            let list = self.list_dead_letters();
            tracing::error!(sink, times, %item, attempts, reason, "an event has used up its attempts, or can never be delivered, and is a dead letter now; `times` says how many since the last such line; `{list}` shows them");
        }
        let statistics = &self.parts.statistics;
        if let Some(entry) = self.in_flight.done(ticket) {
            self.breaker.became_dead_letter(entry.item);
            match entry.source {
                Source::Lane(place) => {
                    statistics.dead.add(u64::from(entry.events));
                    self.lanes[place].done(entry.item);
                }
                Source::DeadLetter => {
                    self.retried.items.remove(&entry.item);
                }
                Source::Replay => self.replay_item_done(entry.item, false),
            }
        }
        true
    }

    /// What shows the dead letters of the sink.
    pub(super) fn list_dead_letters(&self) -> String {
        let words = format!("dead-letters list --sink {}", self.parts.name);
        self.parts.dead_letters.command(&words)
    }

    /// Takes up what somebody wants to be tried again. For once a second. What is wrong with what lies there is logged,
    /// and is no reason to stop.
    pub(super) fn take_up_dead_letters(&mut self) {
        let sink = &self.parts.name;
        let retried = &mut self.retried;
        let waiting = match self.parts.dead_letters.retries() {
            Ok(waiting) => waiting,
            Err(error) => {
                if !error.is_shortage() && !std::mem::replace(&mut retried.logged, true) {
                    tracing::warn!(sink, %error, "the dead letters of the sink cannot be listed, so none is retried; other events are delivered; give the directory to the user that serves");
                }
                return;
            }
        };
        retried.logged = false;
        for item in waiting {
            if self.retried.items.len() >= RETRIED_MAX || self.in_flight.is_full(Source::DeadLetter)
            {
                return;
            }
            if self.retried.items.contains(&item) {
                continue;
            }
            let mut letter = match self.parts.dead_letters.read(item) {
                Ok(letter) => letter,
                Err(error) => {
                    self.unreadable(item, &error);
                    continue;
                }
            };
            self.retried.unreadable.remove(&item);
            if self.enters_with_others(&letter) {
                continue;
            }
            let endpoint = (self.parts.number)(&letter.endpoint);
            self.retried.maker.read_by(&self.parts.feeds.forms);
            let delivery = letter.delivery(endpoint, &mut self.retried.maker);
            if delivery.poisoned().next().is_some() {
                letter.failures.reason = format!(
                    "nobody can take its body apart any more, see worker/{}",
                    item.sequence
                );
                if let Err(error) = self.parts.dead_letters.failed_again(&letter) {
                    let sink = &self.parts.name;
                    tracing::warn!(sink, %item, %error, "a dead letter cannot be delivered, and why cannot be written into it: it stays; make room, or give it to the user that serves");
                }
                continue;
            }
            self.enter_dead_letter(&letter, &Arc::new(delivery));
        }
    }

    /// Enters a letter of a notification that is here already: all that is undone of it shares one copy.
    fn enters_with_others(&mut self, letter: &DeadLetter) -> bool {
        let sequence = letter.item.sequence;
        let here =
            (self.in_flight).copy_of(sequence, letter.received_at, letter.content.body.len());
        if let Some(delivery) = &here {
            self.enter_dead_letter(letter, delivery);
        }
        here.is_some()
    }

    fn enter_dead_letter(&mut self, letter: &DeadLetter, batch: &Arc<EventBatch>) {
        let item = letter.item;
        let notification = batch.notification(item.sequence);
        let all = notification.filter(|_| item.index.is_none());
        let one = item.index.and_then(|index| notification?.event(index));
        let events = all.iter().flat_map(Notification::events).chain(one);
        // Letters keep their order among themselves; what came after them has gone by.
        let conversations = self.parts.parties.conversations(events);
        self.retried.items.insert(item);
        self.in_flight.share(item.sequence, batch);
        self.in_flight.enter(InFlight {
            conversations,
            ..InFlight::new(Source::DeadLetter, batch, item, letter.received_at)
        });
    }

    /// The letter waits for another request: what it holds is not to be lost, nor looked at once a second.
    fn unreadable(&mut self, item: Item, error: &DeadLetterError) {
        let is_gone = matches!(error, DeadLetterError::Missing { .. });
        if is_gone || error.is_shortage() {
            return;
        }
        let withdrawn = self.parts.dead_letters.withdraw_retry(item).is_ok();
        let unreadable = &mut self.retried.unreadable;
        if unreadable.len() < RETRIED_MAX && (unreadable.insert(item) || withdrawn) {
            let sink = &self.parts.name;
            tracing::warn!(sink, %item, %error, "a dead letter cannot be read: it stays, and delivery goes on; drop it, or make it readable and retry it");
        }
    }

    /// A letter was delivered after all. When it cannot be taken away now, it is delivered once more.
    pub(super) fn dead_letter_delivered(&mut self, item: Item) {
        self.retried.items.remove(&item);
        if let Err(error) = self.parts.dead_letters.done(item) {
            let sink = &self.parts.name;
            tracing::warn!(sink, %item, %error, "a dead letter was delivered, but its file cannot be removed: it is delivered again until it can; give the directory to the user that serves");
        } else if let Some(times) = self.lines.retried.count() {
            let sink = &self.parts.name;
            tracing::info!(sink, times, %item, "a dead letter was delivered after all and is removed; `times` says how many since the last such line");
        }
    }
}

/// Letters that are tried again at a time.
const RETRIED_MAX: usize = 100;
