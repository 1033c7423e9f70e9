//! Where a consumer stands: between what it has had and what comes next.
//!
//! Said to and by consumers it is an [`Item`]: the last event that they have had, or a notification that they have had
//! all of. Compared it is the [`Position`] that comes next.

use crate::event::{Item, Lane, Position};
use crate::feed::{OPEN_MAX, Open, Progress};

/// What comes next for one who has had everything up to and including `after`.
pub(super) fn behind(after: Item) -> Position {
    let Item { sequence, index } = after;
    match index {
        Some(index) => Position {
            sequence,
            index: index.saturating_add(1),
        },
        None => whole(sequence.saturating_add(1)),
    }
}

/// What one has had, for whom `next` comes next.
pub(super) fn before(next: Position) -> Item {
    match next.index.checked_sub(1) {
        Some(index) => Item {
            sequence: next.sequence,
            index: Some(index),
        },
        None => Item {
            sequence: next.sequence.saturating_sub(1),
            index: None,
        },
    }
}

/// The begin of a notification.
pub(super) fn whole(sequence: u64) -> Position {
    Position { sequence, index: 0 }
}

/// What comes next in a lane. Of one that another kind of sink has left with something open, the first of it: some
/// events come again then, and none is skipped.
pub(super) fn next_of(progress: &Progress) -> Position {
    match progress.open.first() {
        Some(Open { item, .. }) => Position {
            sequence: item.sequence,
            index: item.index.unwrap_or(0),
        },
        None => whole(progress.reached + 1),
    }
}

/// What a cursor says of a lane in which `next` comes next. `lanes` are those of the events of its notification.
///
/// One with more left than a cursor can name counts as not begun.
pub(super) fn progress(lane: Lane, next: Position, lanes: &[Lane]) -> Progress {
    let passed = next.sequence.saturating_sub(1);
    let left = (0..).zip(lanes);
    let left = left.filter(|(index, its)| *index >= next.index && **its == lane);
    let open = left.map(|(index, _)| Open {
        item: Item {
            sequence: next.sequence,
            index: Some(index),
        },
        attempts: 0,
        counted: 0,
    });
    let open: Vec<Open> = open.take(OPEN_MAX + 1).collect();
    if next.index == 0 || open.len() > OPEN_MAX {
        Progress::up_to(passed)
    } else if open.is_empty() {
        Progress::up_to(next.sequence)
    } else {
        Progress {
            confirmed: passed,
            reached: next.sequence,
            open,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{before, behind, next_of, progress};
    use crate::event::Lane::{Messages, Rest, Statuses};
    use crate::event::{Item, Lane, Position};
    use crate::feed::OPEN_MAX;

    fn item(text: &str) -> Item {
        text.parse().unwrap()
    }

    #[test]
    fn what_was_had_and_what_comes_next_are_one() {
        for text in ["0", "7", "7.0", "7.3"] {
            assert_eq!(before(behind(item(text))), item(text), "{text}");
        }
        assert!(behind(item("7.3")) < behind(item("7")));
        assert!(behind(item("7")) < behind(item("8.0")));
    }

    /// What the cursor says after `had` of a notification with events of these lanes.
    fn saved(lane: Lane, had: &str, lanes: &[Lane]) -> String {
        let progress = progress(lane, behind(item(had)), lanes);
        let opens = progress.open.iter().map(|open| open.item.to_string());
        let opens: Vec<String> = opens.collect();
        format!(
            "{} {} {opens:?}, next {}",
            progress.confirmed,
            progress.reached,
            next_of(&progress)
        )
    }

    #[test]
    fn a_notification_that_was_had_in_part_has_the_rest_open() {
        let lanes = [Messages, Statuses, Messages, Messages];
        let saved = |lane, had| saved(lane, had, &lanes);
        assert_eq!(saved(Messages, "6"), "6 6 [], next 7.0");
        assert_eq!(saved(Messages, "7.0"), "6 7 [\"7.2\", \"7.3\"], next 7.2");
        assert_eq!(saved(Messages, "7.3"), "7 7 [], next 8.0");
        assert_eq!(saved(Statuses, "7.0"), "6 7 [\"7.1\"], next 7.1");
        assert_eq!(saved(Statuses, "7.1"), "7 7 [], next 8.0");
        assert_eq!(saved(Rest, "7.0"), "7 7 [], next 8.0");
    }

    #[test]
    fn one_with_too_much_left_comes_again_as_a_whole() {
        let lanes = vec![Messages; OPEN_MAX + 2];
        assert_eq!(saved(Messages, "7.0", &lanes), "6 6 [], next 7.0");
        let progress = progress(Messages, behind(item("7.1")), &lanes);
        assert_eq!(progress.open.len(), OPEN_MAX);
        assert_eq!(
            next_of(&progress),
            Position {
                sequence: 7,
                index: 2
            }
        );
    }
}
