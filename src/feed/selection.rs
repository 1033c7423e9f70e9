//! Which events a sink wants, and what becomes of each: the sink's books.

use crate::event::{Event, Lane, Pattern};
use crate::worker::Notification;
use std::ops::AddAssign;
use std::sync::Arc;

/// What a sink asked for. Each list narrows it; an empty one does not.
#[derive(Clone, Debug, Default)]
pub struct Selection {
    pub types: Vec<Pattern>,
    /// Business numbers, as the platform identifies them.
    pub phone_number_ids: Vec<String>,
    pub wabas: Vec<String>,
    /// Endpoints, by their numbers in the journal.
    pub endpoints: Option<Vec<u16>>,
    /// What is in other lanes is had by others of the same sink.
    pub lane: Option<Lane>,
    /// Of what is delivered once more, what somebody asked for.
    pub replay: Option<Replayed>,
}

/// The part of a replay in a [`Selection`].
#[derive(Clone, Debug)]
pub struct Replayed {
    /// Name of the replay, which marks what it delivers.
    pub id: Arc<str>,
    /// The last sequence that is asked for.
    pub to: u64,
    /// What is asked for of what the sink wants.
    pub asked: Box<Selection>,
}

/// What becomes of an event at a sink.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventOutcome {
    Wanted,
    /// An earlier one said the same.
    Duplicate,
    /// The sink did not ask for it.
    Unwanted,
    /// It is no event: nobody can take its body apart, which is a dead letter of the workers.
    Dead,
    /// It is in another lane, which is had by another one of the same sink.
    Elsewhere,
}

/// How many events had which outcome.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Those that the sink is to have, or has had.
    pub wanted: u64,
    /// Those that say what an earlier one has said.
    pub duplicates: u64,
    /// Those that the sink did not ask for.
    pub unwanted: u64,
    /// Bodies that nobody can take apart, one each.
    pub dead: u64,
    /// Those that it has had before a restart, behind others that it had not.
    pub before: u64,
    /// Those in other lanes, which others of the same sink have and count.
    pub elsewhere: u64,
}

impl Selection {
    /// What becomes of an event that came to `endpoint`.
    pub fn outcome(&self, event: Event<'_>, endpoint: u16) -> EventOutcome {
        if self.lane.is_some_and(|lane| lane != event.lane()) {
            EventOutcome::Elsewhere
        } else if event.is_dead() {
            EventOutcome::Dead
        } else if event.is_duplicate() {
            EventOutcome::Duplicate
        } else if self.takes(event, endpoint) {
            EventOutcome::Wanted
        } else {
            EventOutcome::Unwanted
        }
    }

    /// False for what lies behind the end of a replay: nobody asks for that, and nobody counts it.
    pub fn reaches(&self, sequence: u64) -> bool {
        let replay = self.replay.as_ref();
        replay.is_none_or(|replay| sequence <= replay.to)
    }

    fn takes(&self, event: Event<'_>, endpoint: u16) -> bool {
        if let Some(replay) = &self.replay
            && !replay.asked.takes(event, endpoint)
        {
            return false;
        }
        let named = |names: &[String], name: Option<&str>| {
            names.is_empty() || name.is_some_and(|name| names.iter().any(|it| it == name))
        };
        let asked = self.endpoints.as_ref();
        asked.is_none_or(|endpoints| endpoints.contains(&endpoint))
            && (self.types.is_empty() || self.types.iter().any(|it| it.matches(event.kind())))
            && named(&self.phone_number_ids, event.phone_number_id())
            && named(&self.wabas, event.waba())
    }

    /// The events of a notification that the sink is to have; all of them are counted, unless
    /// [it lies behind](Selection::reaches) what is asked for.
    pub fn of<'n>(
        &'n self,
        notification: &'n Notification<'_>,
        tally: &'n mut Tally,
    ) -> impl Iterator<Item = Event<'n>> {
        let endpoint = notification.record.endpoint;
        let events = self.reaches(notification.sequence);
        let events = events.then(|| notification.events()).into_iter().flatten();
        events.filter(move |event| {
            let outcome = self.outcome(*event, endpoint);
            tally.count(outcome);
            outcome == EventOutcome::Wanted
        })
    }
}

impl Tally {
    /// Adds an event.
    pub fn count(&mut self, outcome: EventOutcome) {
        *match outcome {
            EventOutcome::Wanted => &mut self.wanted,
            EventOutcome::Duplicate => &mut self.duplicates,
            EventOutcome::Unwanted => &mut self.unwanted,
            EventOutcome::Dead => &mut self.dead,
            EventOutcome::Elsewhere => &mut self.elsewhere,
        } += 1;
    }

    /// Those that are not delivered.
    pub fn left_out(&self) -> u64 {
        self.duplicates + self.unwanted + self.dead
    }

    /// All events.
    pub fn all(&self) -> u64 {
        self.wanted + self.left_out() + self.before + self.elsewhere
    }
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Tally) {
        self.wanted += other.wanted;
        self.duplicates += other.duplicates;
        self.unwanted += other.unwanted;
        self.dead += other.dead;
        self.before += other.before;
        self.elsewhere += other.elsewhere;
    }
}
