//! How far a sink has come in one lane.

use crate::event::{Item, Lane};
use crate::journal::frame::NUMBER_END;
use std::collections::BTreeSet;
use std::ops::RangeInclusive;

/// What is confirmed in a lane: everything up to `confirmed`, and up to `reached` all but what is `open`.
///
/// A sink that waits for one conversation goes on with the others; so that a crash does not repeat all of those,
/// the few that are open are named.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Highest sequence of which, and below which, everything is confirmed.
    pub confirmed: u64,
    /// Highest sequence of which, and below which, everything is confirmed or open.
    pub reached: u64,
    /// What is not confirmed between the two, in order.
    pub open: Vec<Open>,
}

/// Something that a sink has not had, although it has had what stands behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Open {
    pub item: Item,
    pub attempts: u32,
    /// How many of these attempts count towards its being given up.
    pub counted: u32,
}

/// The progress in each lane, in the order of [`Lane::ALL`].
pub type Lanes = [Progress; Lane::COUNT];

impl Progress {
    /// Everything up to `sequence` is confirmed.
    pub fn up_to(sequence: u64) -> Progress {
        Progress {
            confirmed: sequence,
            reached: sequence,
            open: Vec::new(),
        }
    }

    /// The same in a journal that ends with `last`.
    pub(super) fn within(&self, last: u64) -> Progress {
        let open = self.open.iter().copied();
        Progress {
            confirmed: self.confirmed.min(last),
            reached: self.reached.min(last),
            open: open.filter(|open| open.item.sequence <= last).collect(),
        }
    }

    /// False for what no sink says: an end before the begin, or open ones that are out of place.
    pub(super) fn is_sound(&self) -> bool {
        let places =
            |open: &Open| (self.confirmed + 1..=self.reached).contains(&open.item.sequence);
        self.confirmed <= self.reached
            && self.reached < NUMBER_END
            && self.open.iter().all(places)
            && self.open.is_sorted_by(|one, next| one.item < next.item)
    }
}

/// The lowest of all lanes: everything up to it is confirmed.
pub fn confirmed(lanes: &Lanes) -> u64 {
    let all = lanes.iter().map(|lane| lane.confirmed);
    all.min().unwrap_or(0)
}

/// Notifications that a sink has not had, of a journal that has these sequences. Some of them may have nothing for it.
pub fn undelivered(lanes: &Lanes, there: RangeInclusive<u64>) -> u64 {
    let reached = lanes.iter().map(|lane| lane.reached).min();
    let reached = reached.unwrap_or(0).max(there.start().saturating_sub(1));
    let open = lanes.iter().flat_map(|lane| &lane.open);
    let open: BTreeSet<u64> = open
        .map(|open| open.item.sequence)
        .filter(|sequence| *sequence <= reached && there.contains(sequence))
        .collect();
    there.end().saturating_sub(reached) + open.len() as u64
}

/// The highest of all lanes: nothing behind it was ever delivered and saved.
pub fn reached(lanes: &Lanes) -> u64 {
    let all = lanes.iter().map(|lane| lane.reached);
    all.max().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::{Lanes, NUMBER_END, Open, Progress, RangeInclusive, undelivered};

    fn open(item: &str) -> Open {
        Open {
            item: item.parse().unwrap(),
            attempts: 1,
            counted: 0,
        }
    }

    #[test]
    fn what_no_sink_says_is_not_sound() {
        let progress = |confirmed, reached, open: &[Open]| Progress {
            confirmed,
            reached,
            open: open.to_vec(),
        };
        assert!(progress(3, 9, &[open("4.0"), open("4.1"), open("9")]).is_sound());
        assert!(!progress(9, 3, &[]).is_sound());
        assert!(!progress(3, 9, &[open("3.0")]).is_sound());
        assert!(!progress(3, 9, &[open("10")]).is_sound());
        assert!(!progress(3, 9, &[open("5"), open("4")]).is_sound());
        assert!(!progress(3, NUMBER_END, &[]).is_sound());
        assert_eq!(
            progress(3, 9, &[open("4.0"), open("9")]).within(5),
            progress(3, 5, &[open("4.0")])
        );
    }

    /// What is open in two lanes, or stands behind where the slowest lane has come, is one notification.
    #[test]
    fn what_is_undelivered_is_counted_once() {
        let at = |confirmed, reached, items: &[&str]| Progress {
            confirmed,
            reached,
            open: items.iter().map(|it| open(it)).collect(),
        };
        let lanes: Lanes = [
            at(3, 9, &["4.0", "4.1", "8"]),
            at(3, 6, &["4.2", "5"]),
            at(9, 9, &[]),
        ];
        assert_eq!(undelivered(&lanes, 1..=9), 3 + 2, "7 to 9, 4 and 5");
        assert_eq!(undelivered(&lanes, 5..=9), 3 + 1);
        assert_eq!(undelivered(&lanes, 8..=9), 2);
        let nothing = RangeInclusive::new(5, 4);
        assert_eq!(
            undelivered(&Lanes::default(), nothing),
            0,
            "an empty journal"
        );
        let all = std::array::from_fn(|_| Progress::up_to(9));
        assert_eq!(undelivered(&all, 1..=9), 0);
        assert_eq!(undelivered(&all, 1..=12), 3);
    }
}
