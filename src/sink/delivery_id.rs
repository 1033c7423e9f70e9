//! The id by which a target tells a delivery that it has had already: `JOURNAL-SEQ.INDEX`, and `-REPLAY` behind it for
//! a replay, which is wanted twice.
//!
//! It is not the event's `id`, which names the update: a second notification of the same update, and an update in two
//! journals, have the same. Where several instances share one target, [`Identity::Event`] makes it of the event's own
//! id all the same, so that a notification that is sent again to another instance is stored once. What is never a
//! duplicate, or differs in nothing from what says the same (see [`Event::has_weak_key`]), keeps the delivery's.

use crate::event::Event;
use std::fmt::Write as _;

/// What the id is made of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Identity {
    /// The position in this journal.
    #[default]
    Position,
    /// The event's own id.
    Event,
}

impl Identity {
    /// What the configuration calls it.
    pub fn name(self) -> &'static str {
        match self {
            Identity::Position => "position",
            Identity::Event => "event",
        }
    }
}

/// The id of an event of the journal with this id, as text.
pub fn delivery_id(
    journal: &str,
    event: Event<'_>,
    identity: Identity,
    replay: Option<&str>,
) -> String {
    let mut id = String::with_capacity(64);
    if identity == Identity::Event && is_known_by_its_id(event) {
        id.push_str(event.id());
    } else {
        // A string takes everything.
        let _ = write!(id, "{journal}-{}", event.position());
    }
    if let Some(replay) = replay {
        id.push('-');
        id.push_str(replay);
    }
    id
}

/// Two events with its id are one. The dashboard's test button ends its ids with the sequence in this journal.
fn is_known_by_its_id(event: Event<'_>) -> bool {
    let test = event.id().rsplit_once(":test:");
    let is_test = test.is_some_and(|(_, at)| at.parse() == Ok(event.sequence()));
    !is_test && !event.has_weak_key()
}
