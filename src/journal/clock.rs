//! Whether the wall clock is to be believed when something goes because of its age.
//!
//! A wall clock can be set, forward and back, by seconds and by years, while Hookline runs and while it does not. So
//! nothing goes because of one look at it. It is compared with a clock that nobody sets; what it says counts once it
//! has kept pace with that one for [`SETTLED_AFTER`], beginning with the start. Meanwhile nothing goes by age, and a
//! line says so, in time for whoever knows that the clock is wrong.

use crate::disk::Storage;
use std::time::Duration;

/// Both clocks at about the same time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reading {
    /// Microseconds since 1970.
    pub(crate) wall: u64,
    /// See [`Storage::monotonic`].
    pub(crate) monotonic: Duration,
}

impl Reading {
    pub(crate) fn take(storage: &dyn Storage) -> Reading {
        let mut tries = TRIES;
        loop {
            let monotonic = storage.monotonic();
            let wall = storage.now();
            // Whoever had to wait for a core between the two would see a jump.
            let apart = storage.monotonic().saturating_sub(monotonic);
            tries -= 1;
            if tries == 0 || apart < JUMP / 4 {
                return Reading { wall, monotonic };
            }
        }
    }
}

/// Compares the clocks with each other.
pub(crate) struct ClockWatch {
    last: Reading,
    /// When the start or the last jump was, by the clock that nobody sets.
    unsettled_at: Duration,
}

/// How far the wall clock was set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Jump {
    Ahead(Duration),
    Back(Duration),
}

impl ClockWatch {
    pub(crate) fn new(start: Reading) -> ClockWatch {
        ClockWatch {
            last: start,
            unsettled_at: start.monotonic,
        }
    }

    /// Whether the wall clock was set since the last look.
    pub(crate) fn note(&mut self, reading: Reading) -> Option<Jump> {
        let passed = reading.monotonic.saturating_sub(self.last.monotonic);
        let expected = self.last.wall.saturating_add(micros(passed));
        self.last = reading;
        let by = Duration::from_micros(reading.wall.abs_diff(expected));
        if by < JUMP {
            return None;
        }
        self.unsettled_at = reading.monotonic;
        Some(if reading.wall > expected {
            Jump::Ahead(by)
        } else {
            Jump::Back(by)
        })
    }

    /// Whether the wall clock has kept pace for long enough, as of the last look.
    pub(crate) fn is_settled(&self) -> bool {
        self.last.monotonic.saturating_sub(self.unsettled_at) >= SETTLED_AFTER
    }
}

/// The time of the next commit, in microseconds since 1970, by that of the one before. A clock that is set back a
/// little is waited for, so that times rise with sequences; one that is set back by more is followed, or a commit of a
/// day when the clock was years ahead would give its time to all others.
pub(crate) fn commit_time(latest: u64, wall: u64) -> u64 {
    if latest.saturating_sub(wall) > micros(WAITED_FOR) {
        wall
    } else {
        latest.max(wall)
    }
}

/// Says what it means that the clock was set.
pub(crate) fn log_jump(jump: Jump) {
    let (Jump::Ahead(by) | Jump::Back(by)) = jump;
    let seconds = by.as_secs_f64().round();
    match jump {
        Jump::Ahead(_) => tracing::warn!(
            seconds,
            "the clock of this machine was set ahead: for ten minutes nothing leaves the journal because of its age, \
             then `retention` goes by the new time; if that is wrong, set the clock right before"
        ),
        Jump::Back(_) => tracing::warn!(
            seconds,
            "the clock of this machine was set back: new records get earlier times than the latest ones; for ten \
             minutes nothing leaves the journal because of its age, then `retention` goes by the new time"
        ),
    }
}

/// Says what it means if the clock at a start does not fit to the latest commit, which is 0 if there is none.
pub(crate) fn log_start(latest: u64, wall: u64, retention: Duration) {
    let apart = Duration::from_micros(latest.abs_diff(wall));
    let seconds = apart.as_secs();
    if latest == 0 || apart < JUMP {
        return;
    }
    if wall < latest {
        tracing::warn!(
            seconds,
            "the clock of this machine is behind the latest record in the journal: it was ahead then, or is wrong \
             now; records with a time to come count as no older than the next one that has none"
        );
    } else if apart > retention.max(Duration::from_hours(24)) {
        tracing::warn!(
            seconds,
            "by the clock of this machine the latest record in the journal is older than `retention`: in ten minutes \
             what every sink has had goes; if the clock is wrong, set it right before"
        );
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

/// How long the wall clock has to keep pace until it is believed.
pub(crate) const SETTLED_AFTER: Duration = Duration::from_mins(10);
/// What is no drift any more, between two looks.
const JUMP: Duration = Duration::from_secs(1);
/// How far a clock is set back, at most, for times to stand still until it is there again.
const WAITED_FOR: Duration = Duration::from_hours(1);
/// Pairs of looks until one is taken as it is.
const TRIES: u32 = 10;

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000;
    const YEAR: u64 = 365 * 86_400 * SECOND;
    const START: u64 = 1_700_000_000 * SECOND;

    fn reading(wall: u64, seconds: u64) -> Reading {
        Reading {
            wall,
            monotonic: Duration::from_secs(seconds),
        }
    }

    #[test]
    fn a_clock_is_believed_ten_minutes_after_a_start_and_after_each_jump() {
        for (by, ahead) in [
            (2, true),
            (2, false),
            (40 * 31_536_000, true),
            (40 * 31_536_000, false),
        ] {
            let mut watch = ClockWatch::new(reading(START, 100));
            assert!(!watch.is_settled());
            assert_eq!(watch.note(reading(START + 599 * SECOND, 699)), None);
            assert!(!watch.is_settled());
            assert_eq!(watch.note(reading(START + 600 * SECOND, 700)), None);
            assert!(watch.is_settled());
            let set = |seconds: u64| {
                let right = START + (seconds - 100) * SECOND;
                let wall = if ahead {
                    right + by * SECOND
                } else {
                    right - by * SECOND
                };
                reading(wall, seconds)
            };
            let by = Duration::from_secs(by);
            let jump = if ahead {
                Jump::Ahead(by)
            } else {
                Jump::Back(by)
            };
            assert_eq!(watch.note(set(710)), Some(jump));
            assert!(!watch.is_settled());
            assert_eq!(watch.note(set(1309)), None);
            assert!(!watch.is_settled());
            assert_eq!(watch.note(set(1310)), None);
            assert!(watch.is_settled());
        }
    }

    #[test]
    fn a_clock_that_drifts_was_not_set() {
        let mut watch = ClockWatch::new(reading(START, 0));
        for turn in 1..1000 {
            let drifted = START + turn * (10 * SECOND + 90_000);
            assert_eq!(watch.note(reading(drifted, turn * 10)), None);
        }
        assert!(watch.is_settled());
    }

    #[test]
    fn commit_times_wait_for_a_clock_that_is_back_a_little_and_follow_one_that_is_back_by_more() {
        assert_eq!(commit_time(START, START + 5), START + 5);
        assert_eq!(commit_time(START, START - 5 * SECOND), START);
        assert_eq!(commit_time(START, START - 3600 * SECOND), START);
        assert_eq!(
            commit_time(START, START - 3601 * SECOND),
            START - 3601 * SECOND
        );
        assert_eq!(commit_time(START + 30 * YEAR, START), START);
        assert_eq!(commit_time(0, 0), 0);
    }
}
