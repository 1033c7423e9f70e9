//! Where a sink goes on, of what its target says and what it knows itself.

use super::failure::Failure;
use crate::event::Position;

/// What the cursor of the sink says at the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CursorState {
    /// When a person last moved it.
    pub moved: u64,
    /// There was none.
    pub is_new: bool,
    /// The last sequence of the journal.
    pub end: u64,
}

/// What the target says of the sink's position.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::sink) struct Stored {
    /// Everything before it is in the target.
    pub(in crate::sink) at: Position,
    pub(in crate::sink) moved: u64,
    /// Who has taken it over last; empty for one that was made just now.
    pub(in crate::sink) writer: String,
}

/// What the sink knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::sink) enum Known {
    /// The first connection of the process: what the cursor says.
    Cursor { confirmed: u64, state: CursorState },
    /// The first of a replay that goes on with this sequence.
    Replay { from: u64 },
    /// A later one.
    Before {
        /// Everything before it was in the target.
        at: Position,
        /// Nothing from here on was sent.
        until: Position,
        is_replay: bool,
    },
}

/// Where it goes on, and what a person is to know of that.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::sink) struct Decision {
    pub(in crate::sink) at: Position,
    pub(in crate::sink) moved: u64,
    pub(in crate::sink) note: Option<Note>,
}

/// Why it goes on elsewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::sink) enum Note {
    /// A person has moved the cursor.
    Moved,
    /// The journal has lost its end.
    Beyond,
    /// The target has less than the cursor says.
    Behind,
}

impl Known {
    /// What the cursor says; 0 where that does not matter.
    pub(in crate::sink) fn cursor(&self) -> u64 {
        match self {
            Known::Cursor { confirmed, .. } => *confirmed,
            _ => 0,
        }
    }

    /// Where a position begins that is not there.
    pub(in crate::sink) fn begin(&self) -> Position {
        match self {
            Known::Cursor { confirmed, .. } => behind(*confirmed),
            Known::Replay { from } => behind(from.saturating_sub(1)),
            Known::Before { at, .. } => *at,
        }
    }

    /// Decides. `process` is how the names begin by which this process takes positions over.
    pub(in crate::sink) fn decide(&self, row: &Stored, process: &str) -> Result<Decision, Failure> {
        let own = |at| Decision {
            at,
            moved: row.moved,
            note: None,
        };
        match self {
            Known::Cursor { confirmed, state } => Ok(by_cursor(row, *confirmed, *state)),
            Known::Replay { from } => Ok(own(row.at.max(behind(from.saturating_sub(1))))),
            Known::Before {
                at,
                until,
                is_replay,
            } => {
                let is_ours = row.writer.is_empty() || row.writer.starts_with(process);
                if !is_ours || row.at > *until {
                    return Err(Failure::Stop(
                        "another process writes to the target as this sink, from a copy of this journal: that one goes \
                         on, and this sink has stopped; if this one is to go on, stop the other one and run \
                         `hookline sink resume`, else remove the sink from the configuration"
                            .to_owned(),
                    ));
                }
                if row.at < *at && !is_replay {
                    return Err(Failure::Behind(row.at.sequence.saturating_sub(1)));
                }
                Ok(own(row.at))
            }
        }
    }
}

fn by_cursor(row: &Stored, confirmed: u64, state: CursorState) -> Decision {
    let cursor = behind(confirmed);
    // A process that was killed before it could save its first cursor has left a row that knows of no move.
    let is_moved = row.moved != state.moved && !(row.moved == 0 && state.is_new);
    let (at, note) = if is_moved {
        (cursor, (row.at != cursor).then_some(Note::Moved))
    } else if row.at.sequence > state.end + 1 {
        (behind(state.end), Some(Note::Beyond))
    } else if row.at < cursor {
        (row.at, Some(Note::Behind))
    } else {
        (row.at, None)
    };
    Decision {
        at,
        moved: state.moved,
        note,
    }
}

/// The position of the first event behind a sequence.
pub(in crate::sink) fn behind(sequence: u64) -> Position {
    Position {
        sequence: sequence + 1,
        index: 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(sequence: u64, index: u32) -> Position {
        Position { sequence, index }
    }

    fn row(at: Position, moved: u64) -> Stored {
        Stored {
            at,
            moved,
            writer: "a.1".to_owned(),
        }
    }

    /// `(row, its move, cursor, its move, is new, end of the journal)` and where it goes on.
    #[test]
    fn the_row_is_right_unless_a_person_has_moved_the_cursor() {
        for ((stored, row_moved), (confirmed, moved, is_new), end, expected, note) in [
            // After a crash: the cursor is saved now and then.
            ((at(101, 0), 7), (90, 7, false), 200, at(101, 0), None),
            // In the middle of a notification.
            ((at(101, 3), 7), (90, 7, false), 200, at(101, 3), None),
            ((at(101, 0), 7), (100, 7, false), 100, at(101, 0), None),
            // `cursor seek`, back and on.
            (
                (at(101, 0), 7),
                (50, 8, false),
                200,
                at(51, 0),
                Some(Note::Moved),
            ),
            (
                (at(101, 3), 7),
                (150, 8, false),
                200,
                at(151, 0),
                Some(Note::Moved),
            ),
            // To just where it is.
            ((at(101, 0), 7), (100, 8, false), 200, at(101, 0), None),
            // Its file was removed.
            (
                (at(101, 0), 7),
                (0, 9, true),
                200,
                at(1, 0),
                Some(Note::Moved),
            ),
            // A disk without room for the first cursor, and a kill.
            ((at(101, 0), 0), (0, 9, true), 200, at(101, 0), None),
            // A database from a backup.
            (
                (at(80, 2), 7),
                (100, 7, false),
                200,
                at(80, 2),
                Some(Note::Behind),
            ),
            // A journal from a backup.
            (
                (at(101, 0), 7),
                (60, 7, false),
                70,
                at(71, 0),
                Some(Note::Beyond),
            ),
            ((at(101, 2), 7), (60, 7, false), 100, at(101, 2), None),
        ] {
            let state = CursorState { moved, is_new, end };
            let known = Known::Cursor { confirmed, state };
            let decision = known
                .decide(&row(stored, row_moved), "b.")
                .expect("goes on");
            let expected = Decision {
                at: expected,
                moved,
                note,
            };
            assert_eq!(decision, expected, "{stored:?} and {known:?}");
        }
    }

    #[test]
    fn what_was_sent_is_there_or_not_and_anything_else_is_somebody_elses() {
        let known = Known::Before {
            at: at(101, 0),
            until: at(141, 2),
            is_replay: false,
        };
        for there in [at(101, 0), at(120, 1), at(141, 2)] {
            let decision = known.decide(&row(there, 7), "a.").expect("goes on");
            assert_eq!((decision.at, decision.moved), (there, 7));
        }
        // A standby that lacks the end has taken over.
        let behind = known.decide(&row(at(90, 1), 7), "a.");
        assert_eq!(behind, Err(Failure::Behind(89)));
        let beyond = known.decide(&row(at(150, 0), 7), "a.");
        assert!(matches!(beyond, Err(Failure::Stop(_))), "{beyond:?}");
        let foreign = known.decide(&row(at(101, 0), 7), "b.");
        assert!(matches!(foreign, Err(Failure::Stop(_))), "{foreign:?}");
    }

    #[test]
    fn a_replay_goes_on_behind_what_a_crash_has_left() {
        let known = Known::Replay { from: 10 };
        assert_eq!(known.begin(), at(10, 0));
        for (there, expected) in [
            (at(10, 0), at(10, 0)),
            (at(30, 1), at(30, 1)),
            (at(2, 0), at(10, 0)),
        ] {
            let decision = known.decide(&row(there, 0), "a.").expect("goes on");
            assert_eq!(decision.at, expected);
        }
    }
}
