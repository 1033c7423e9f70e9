//! What the hash beside the stream says, and where the sink goes on.

use super::super::said::text;
use crate::event::Position;
use crate::sink::stream::positioned::{Failure, Known, Stored};
use ::redis::Value;
use std::fmt;

/// The id of an entry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct EntryId {
    pub(super) millis: u64,
    pub(super) number: u64,
}

/// The hash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct State {
    pub(super) journal: String,
    pub(super) position: Position,
    pub(super) from: Position,
    pub(super) top: EntryId,
    pub(super) base: u64,
    pub(super) moved: u64,
    pub(super) writer: String,
}

/// What was found on a connect.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Observed {
    /// `None` if there is no hash.
    pub(super) state: Option<State>,
    /// The last id of the stream; 0-0 of one that was never written to, or is not there.
    pub(super) top: EntryId,
    /// The last entry of the sink is in the stream.
    pub(super) has_own_top: bool,
    /// What a person has accepted.
    pub(super) accepted: Option<EntryId>,
}

/// Why the sink stops.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Foreign {
    /// The stream belongs to another journal.
    Journal(String),
    /// It has entries, and no sink has left a position.
    Entries,
    /// Behind the last entry of the sink, which had this id, stands another one.
    Behind(EntryId),
}

impl Observed {
    /// What the target says of the sink's position, before the cursor is asked. One that begins knows of the last
    /// `moved`.
    pub(super) fn stored(
        &self,
        journal: &str,
        known: &Known,
        moved: u64,
    ) -> Result<Stored, Foreign> {
        let begin = Stored {
            at: known.begin(),
            moved,
            writer: String::new(),
        };
        let is_accepted = self.accepted == Some(self.top);
        let Some(state) = &self.state else {
            let is_empty = self.top == EntryId::default();
            return if is_empty || is_accepted {
                Ok(begin)
            } else {
                Err(Foreign::Entries)
            };
        };
        if state.journal != journal {
            return if is_accepted {
                Ok(begin)
            } else {
                Err(Foreign::Journal(state.journal.clone()))
            };
        }
        if self.top > state.top && !is_accepted {
            return Err(Foreign::Behind(state.top));
        }
        let is_whole = self.top == state.top || self.has_own_top;
        Ok(Stored {
            at: if is_whole { state.position } else { state.from },
            moved: state.moved,
            writer: state.writer.clone(),
        })
    }

    /// What is to be added to a sequence for an id, if the first one is that of `at`: as before if that is above the
    /// last id.
    pub(super) fn base(&self, journal: &str, at: Position) -> Result<u64, Failure> {
        let own = self.state.as_ref().filter(|state| state.journal == journal);
        let before = own.map_or(0, |state| state.base);
        if EntryId::of(at, before).is_some_and(|id| id > self.top) {
            return Ok(before);
        }
        let base = (self.top.millis.checked_add(1)).and_then(|next| next.checked_sub(at.sequence));
        base.ok_or_else(|| {
            Failure::Stop(format!(
                "no id is above the last one of the stream, {}: name another stream",
                self.top
            ))
        })
    }
}

impl State {
    /// Reads the fields of the hash; `None` if they do not say a position.
    pub(super) fn parse(pairs: &[(String, &Value)]) -> Option<State> {
        let field = |name: &str| field(pairs, name);
        let number = |name: &str| field(name)?.parse::<u64>().ok();
        Some(State {
            journal: field("journal")?,
            position: field("position")?.parse().ok()?,
            from: field("from")?.parse().ok()?,
            top: EntryId::parse(&field("top")?)?,
            base: number("base")?,
            moved: number("moved")?,
            writer: field("writer").unwrap_or_default(),
        })
    }
}

/// The text of a field.
pub(super) fn field(pairs: &[(String, &Value)], name: &str) -> Option<String> {
    let found = pairs.iter().find(|(field, _)| field == name);
    found.and_then(|(_, value)| text(value))
}

impl EntryId {
    pub(super) fn parse(text: &str) -> Option<EntryId> {
        let (millis, number) = text.split_once('-')?;
        Some(EntryId {
            millis: millis.parse().ok()?,
            number: number.parse().ok()?,
        })
    }

    /// That of the event at a position.
    pub(super) fn of(at: Position, base: u64) -> Option<EntryId> {
        Some(EntryId {
            millis: at.sequence.checked_add(base)?,
            number: u64::from(at.index),
        })
    }
}

impl fmt::Display for EntryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.millis, self.number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sink::stream::positioned::CursorState;

    fn at(sequence: u64, index: u32) -> Position {
        Position { sequence, index }
    }

    fn id(millis: u64, number: u64) -> EntryId {
        EntryId { millis, number }
    }

    fn state() -> State {
        State {
            journal: "j".to_owned(),
            position: at(101, 0),
            from: at(90, 2),
            top: id(100, 1),
            base: 0,
            moved: 7,
            writer: "a.1".to_owned(),
        }
    }

    fn known() -> Known {
        Known::Cursor {
            confirmed: 50,
            state: CursorState {
                moved: 9,
                is_new: false,
                end: 200,
            },
        }
    }

    #[test]
    fn what_fits_goes_on_and_what_another_has_written_stops() {
        let found = |state: Option<State>, top| Observed {
            state,
            top,
            ..Observed::default()
        };
        let position = |found: &Observed| {
            found
                .stored("j", &known(), 9)
                .map(|stored| (stored.at, stored.moved))
        };
        // A new one, and one that goes on.
        assert_eq!(position(&found(None, id(0, 0))), Ok((at(51, 0), 9)));
        let whole = found(Some(state()), id(100, 1));
        assert_eq!(position(&whole), Ok((at(101, 0), 7)));
        // The stream was removed and made anew: the last batch is not in it.
        let anew = found(Some(state()), id(0, 0));
        assert_eq!(position(&anew), Ok((at(90, 2), 7)));
        // Others have written.
        let mut behind = found(Some(state()), id(1_796_000_000_000, 0));
        assert_eq!(position(&behind), Err(Foreign::Behind(id(100, 1))));
        behind.accepted = Some(id(1_796_000_000_000, 1));
        assert_eq!(position(&behind), Err(Foreign::Behind(id(100, 1))));
        behind.accepted = Some(behind.top);
        assert_eq!(
            position(&behind),
            Ok((at(90, 2), 7)),
            "the batch was refused"
        );
        behind.has_own_top = true;
        assert_eq!(position(&behind), Ok((at(101, 0), 7)));
        let mut foreign = found(None, id(3, 0));
        assert_eq!(position(&foreign), Err(Foreign::Entries));
        foreign.accepted = Some(foreign.top);
        assert_eq!(position(&foreign), Ok((at(51, 0), 9)));
        // Another journal, whatever the ids are.
        let other = State {
            journal: "k".to_owned(),
            ..state()
        };
        let mut other = found(Some(other), id(100, 1));
        assert_eq!(position(&other), Err(Foreign::Journal("k".to_owned())));
        other.accepted = Some(other.top);
        assert_eq!(position(&other), Ok((at(51, 0), 9)));
    }

    #[test]
    fn ids_go_on_above_what_is_there() {
        let found = |top, base| Observed {
            state: Some(State { base, ..state() }),
            top,
            ..Observed::default()
        };
        assert_eq!(found(id(100, 1), 0).base("j", at(100, 2)), Ok(0));
        assert_eq!(found(id(100, 1), 0).base("j", at(101, 0)), Ok(0));
        assert_eq!(found(id(600, 1), 500).base("j", at(101, 0)), Ok(500));
        // Moved back.
        assert_eq!(found(id(100, 1), 0).base("j", at(31, 0)), Ok(70));
        assert_eq!(found(id(600, 1), 500).base("j", at(31, 0)), Ok(570));
        // Another journal begins.
        assert_eq!(found(id(600, 1), 500).base("k", at(1, 0)), Ok(600));
        let full = found(id(u64::MAX, 3), 0).base("j", at(101, 0));
        assert!(matches!(full, Err(Failure::Stop(_))), "{full:?}");
    }

    #[test]
    fn the_hash_is_read_and_an_odd_one_is_none() {
        let values = [
            ("journal", "j"),
            ("position", "101.0"),
            ("from", "90.2"),
            ("top", "100-1"),
            ("base", "0"),
            ("moved", "7"),
            ("writer", "a.1"),
        ]
        .map(|(name, value)| (name.to_owned(), Value::BulkString(value.into())));
        let pairs: Vec<(String, &Value)> = values.iter().map(|(n, v)| (n.clone(), v)).collect();
        assert_eq!(State::parse(&pairs), Some(state()));
        assert_eq!(State::parse(&pairs[1..]), None);
    }
}
