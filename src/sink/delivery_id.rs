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

/// Two events with its id are one. Ids of what is never a duplicate (the dashboard's test button, bodies of other
/// senders without an id) end with the sequence in this journal, which in another one is somebody else's.
fn is_known_by_its_id(event: Event<'_>) -> bool {
    let last = event.id().rsplit(':').next().unwrap_or_default();
    last.parse() != Ok(event.sequence()) && !event.has_weak_key()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Events, Extractor, Origin};

    fn id_of(body: &str, foreign: bool, identity: Identity, replay: Option<&str>) -> String {
        let origin = Origin {
            sequence: 7,
            foreign,
            ..Origin::default()
        };
        let mut events = Events::new();
        Extractor::new().extract(body.as_bytes(), origin, &mut events);
        delivery_id("j", events.get(0).expect("an event"), identity, replay)
    }

    fn message(waba: &str, number: &str) -> String {
        format!(
            "{{\"entry\": [{{\"id\": \"{waba}\", \"changes\": [{{\"field\": \"messages\", \"value\": {{\"metadata\": \
             {{\"phone_number_id\": \"{number}\"}}, \"messages\": [{{\"id\": \"wamid.A\"}}]}}}}]}}]}}"
        )
    }

    #[test]
    fn the_id_is_the_place_in_the_journal_or_the_events_own() {
        let body = message("100", "200");
        let of = |identity, replay| id_of(&body, false, identity, replay);
        assert_eq!(of(Identity::Position, None), "j-7.0");
        assert_eq!(of(Identity::Position, Some("r")), "j-7.0-r");
        assert_eq!(of(Identity::Event, None), "200:messages:wamid.A");
        assert_eq!(of(Identity::Event, Some("r")), "200:messages:wamid.A-r");
    }

    /// Two instances may have the same body at the same sequence, and both mean it.
    #[test]
    fn what_is_never_a_duplicate_keeps_the_place_in_its_journal() {
        let test_button = message("0", "123456123");
        for (body, foreign) in [
            (test_button.as_str(), false),
            ("{\"ping\": true}", true),
            ("not json", true),
            ("not json", false),
        ] {
            let id = id_of(body, foreign, Identity::Event, None);
            assert_eq!(id, "j-7.0", "{body}");
        }
    }
}
