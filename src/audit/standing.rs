//! Where a sink stands: what became of each event, as its cursor, its filters and its dead letters tell.
//!
//! A cursor speaks of lanes, see [`feed::Progress`]. A sink that delivers notifications as a whole delivers each in the
//! lane of its most urgent event; which sinks do is not known here. So an event is in flight as long as its own lane
//! or that one has not reached it, and as long as it, or the notification as a whole, is named as open in any of them.
//! For a sink that delivers event by event that may last a moment longer than it has to.

use crate::event::{Event, Item, Lane, Unparsed};
use crate::feed::{self, Lanes, Saved, Selection, StoredCursor};
use crate::journal::JournalId;
use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::Arc;

/// What is known of one sink before the journal is read.
pub struct Standing {
    pub name: String,
    /// How far it has come.
    pub lanes: Lanes,
    /// What of that is open.
    open: BTreeSet<Item>,
    pub dead_letters: BTreeSet<Item>,
    /// Notifications that nobody can take apart, and those among the dead letters of the workers.
    pub poisoned: Arc<BTreeSet<u64>>,
    /// What its filters let through; `None` if that is not known.
    pub wanted: Option<Selection>,
    /// Sequences that were retired before it had them.
    pub retired: u64,
    /// Why its cursor counts as 0.
    pub problem: Option<String>,
}

/// What became of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventState {
    Delivered,
    Duplicate,
    Unwanted,
    Dead,
    InFlight,
    /// It has passed the sink, which has had nothing of it, and it is no dead letter.
    Hidden,
}

impl Standing {
    /// `retired` are the sequences that are asked for and not in the journal any more.
    pub fn of(found: StoredCursor, id: JournalId, retired: Range<u64>) -> Standing {
        let (lanes, problem) = match found.saved {
            Ok(saved) if saved.journal == id => (saved.lanes, None),
            Ok(Saved { journal, .. }) => (
                Lanes::default(),
                Some(format!(
                    "its cursor belongs to the journal {journal}: with the next start, everything is delivered to it"
                )),
            ),
            Err(error) => (Lanes::default(), Some(error.to_string())),
        };
        let open = lanes.iter().flat_map(|lane| &lane.open);
        let open: BTreeSet<Item> = open.map(|open| open.item).collect();
        let reached = lanes.iter().map(|lane| lane.reached).min().unwrap_or(0);
        // A sink that never had anything begins with the oldest record that there is.
        let begin = if feed::reached(&lanes) > 0 {
            retired.start.max(reached.saturating_add(1))
        } else {
            retired.end
        };
        let before: BTreeSet<u64> = open.iter().map(|item| item.sequence).collect();
        let before = before
            .range(retired.start..begin.min(retired.end).max(retired.start))
            .count();
        Standing {
            name: found.sink,
            lanes,
            open,
            dead_letters: BTreeSet::new(),
            poisoned: Arc::default(),
            wanted: None,
            retired: retired.end.saturating_sub(begin) + before as u64,
            problem,
        }
    }

    /// What became of an event of a notification that came to `endpoint`, and whose most urgent one is in `urgent`.
    pub fn state_of(&self, event: Event<'_>, urgent: Lane, endpoint: u16) -> EventState {
        let reached = |lane: Lane| self.lanes[lane.index()].reached;
        let reached = reached(event.lane()).min(reached(urgent));
        let is_kept = || self.poisoned.contains(&event.sequence());
        if event.sequence() > reached || names(&self.open, event) {
            EventState::InFlight
        } else if event.is_dead() {
            if is_kept() {
                EventState::Dead
            } else {
                EventState::Hidden
            }
        } else if event.is_duplicate() {
            EventState::Duplicate
        } else if self.leaves_out(event, endpoint) {
            match event.unparsed() {
                // Its filter has left out what somebody made of the body, and not what is in it.
                Some(Unparsed::Crashed) if is_kept() => EventState::Dead,
                Some(Unparsed::Crashed) => EventState::Hidden,
                _ => EventState::Unwanted,
            }
        } else if names(&self.dead_letters, event) {
            EventState::Dead
        } else {
            EventState::Delivered
        }
    }

    fn leaves_out(&self, event: Event<'_>, endpoint: u16) -> bool {
        let wanted = self.wanted.as_ref();
        wanted.is_some_and(|it| it.outcome(event, endpoint) == feed::EventOutcome::Unwanted)
    }
}

/// Whether the event is among these, by itself or with its notification.
fn names(items: &BTreeSet<Item>, event: Event<'_>) -> bool {
    let sequence = event.sequence();
    let item = |index| Item { sequence, index };
    !items.is_empty() && (items.contains(&item(None)) || items.contains(&item(Some(event.index()))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::feed::tests::Bench;
    use crate::feed::{Open, Progress};
    use crate::worker::{Extraction, Poison};
    use serde_json::{Value, json};

    fn saved(lanes: Lanes) -> StoredCursor {
        StoredCursor {
            sink: "events".to_owned(),
            saved: Ok(Saved {
                journal: JournalId::parse("1").expect("a name"),
                lanes,
                moved: 0,
            }),
        }
    }

    fn standing(lanes: Lanes, retired: Range<u64>) -> Standing {
        Standing::of(
            saved(lanes),
            JournalId::parse("1").expect("a name"),
            retired,
        )
    }

    fn progress(reached: u64, open: &[&str]) -> Progress {
        let open = open.iter().map(|item| Open {
            item: item.parse().expect("an item"),
            attempts: 1,
            counted: 0,
        });
        Progress {
            confirmed: 0,
            reached,
            open: open.collect(),
        }
    }

    /// What retention took from a sink that was out of the configuration was only logged in one line, at its return.
    #[test]
    fn what_was_retired_before_a_sink_had_it_is_named() {
        let retired = |sequence, retired| {
            let lanes = std::array::from_fn(|_| Progress::up_to(sequence));
            standing(lanes, retired).retired
        };
        // The journal begins with 21.
        assert_eq!(retired(10, 1..21), 10);
        assert_eq!(retired(19, 1..21), 1);
        assert_eq!(retired(20, 1..21), 0);
        assert_eq!(retired(35, 1..21), 0);
        assert_eq!(retired(10, 15..21), 6, "with --after");
        assert_eq!(
            retired(10, Range { start: 30, end: 21 }),
            0,
            "of what is asked for"
        );
        assert_eq!(retired(0, 1..21), 0, "it begins with what there is");
        let lanes = [
            progress(30, &["7.0", "7.1", "25"]),
            progress(18, &[]),
            progress(40, &[]),
        ];
        assert_eq!(standing(lanes, 1..21).retired, 2 + 1, "19, 20, and 7");
    }

    /// What becomes of a status and of the message behind it, both of notification 5.
    fn fates(standing: &Standing) -> [EventState; 2] {
        let change = |array: &str, update: Value| json!({ "field": "messages", "value": { "metadata": { "phone_number_id": "5" }, array: [update] } });
        let status = json!({ "id": "a", "status": "sent", "recipient_id": "49", "timestamp": "1" });
        let message = json!({ "id": "b", "from": "49", "type": "text", "timestamp": "1" });
        let changes = [change("statuses", status), change("messages", message)];
        let body = json!({
            "object": "whatsapp_business_account",
            "entry": [{ "id": "1", "changes": changes }],
        });
        let mut bodies = vec![b"{}".to_vec(); 4];
        bodies.push(body.to_string().into_bytes());
        let delivery = Extraction::default().make(Bench::new().store_all(&bodies));
        let notification = delivery.notification(5).expect("it is there");
        let fates = notification
            .events()
            .map(|event| standing.state_of(event, Lane::Messages, 1));
        fates.collect::<Vec<_>>().try_into().expect("two events")
    }

    #[test]
    fn an_event_is_confirmed_when_its_lane_has_passed_it_and_it_is_not_open() {
        use EventState::{Dead, Delivered, InFlight, Unwanted};
        let at = |messages: Progress, statuses: Progress| {
            standing([messages, statuses, progress(0, &[])], 1..1)
        };
        let passed = || progress(9, &[]);
        assert_eq!(fates(&at(passed(), passed())), [Delivered, Delivered]);
        assert_eq!(
            fates(&at(passed(), progress(4, &[]))),
            [InFlight, Delivered]
        );
        // As a whole it goes with its message.
        assert_eq!(fates(&at(progress(4, &[]), passed())), [InFlight, InFlight]);
        assert_eq!(
            fates(&at(progress(9, &["5"]), passed())),
            [InFlight, InFlight]
        );
        assert_eq!(
            fates(&at(progress(9, &["5.1"]), passed())),
            [Delivered, InFlight]
        );
        assert_eq!(
            fates(&at(progress(9, &["4", "6.0"]), passed())),
            [Delivered, Delivered]
        );

        let mut known = at(progress(9, &["5.1"]), passed());
        known.dead_letters = ["5.0", "5.1"].map(|it| it.parse().expect("an item")).into();
        assert_eq!(
            fates(&known),
            [Dead, InFlight],
            "the cursor has not passed that letter"
        );
        known.wanted = Some(Selection {
            types: vec![crate::event::Pattern::new("whatsapp.message.*")],
            ..Selection::default()
        });
        assert_eq!(fates(&known), [Unwanted, InFlight]);
    }

    /// A version before has passed it as `whatsapp.unparsed`: what a filter left out for that was never delivered.
    #[test]
    fn what_a_filter_hid_is_found() {
        let dir = tempfile::tempdir().expect("a directory");
        let text = "hookline-poison 1\nprogram 0.1.0\n\
                    journal 00000000000000000000000000000001\ncondemned 2\n";
        let crc = crc32c::crc32c(text.as_bytes());
        let written = std::fs::write(
            dir.path().join("verdicts"),
            format!("{text}crc32c {crc:08x}\n"),
        );
        written.expect("written");
        let id = JournalId::parse("00000000000000000000000000000001").expect("a name");
        let disk = crate::disk::Disk::open(dir.path()).expect("there");
        let poison = Poison::read(&disk, id).expect("readable");
        let bodies = vec![b"{}".to_vec(); 3];
        let delivery = Extraction::sparing(&Arc::new(poison)).make(Bench::new().store_all(&bodies));
        let fate = |standing: &Standing| {
            let event = delivery.events().get(1).expect("there");
            standing.state_of(event, Lane::Rest, 1)
        };
        let mut standing = standing(std::array::from_fn(|_| Progress::up_to(9)), 1..1);
        assert_eq!(fate(&standing), EventState::Delivered);
        standing.wanted = Some(Selection {
            types: vec![crate::event::Pattern::new("whatsapp.message.*")],
            ..Selection::default()
        });
        assert_eq!(fate(&standing), EventState::Hidden);
        standing.poisoned = Arc::new([2].into());
        assert_eq!(fate(&standing), EventState::Dead);
    }
}
