//! Time as the memory of keys counts it: by the times of arrival, but never by one of them alone.
//!
//! From one delivery to the next it moves as the times of arrival do, forward or back, yet by no more than a small part
//! of the window. So a clock that jumps ahead by a day, or by years, makes nothing old, however often it does, and one
//! that jumps ahead and comes back has moved nothing at all. Where little comes, time counts for less than it is and
//! keys stay longer; that is few keys.

/// The time, and the reading that it was last moved by, both in microseconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Clock {
    pub(super) time: u64,
    pub(super) reading: u64,
}

impl Clock {
    /// Begins with a time that is taken as it is.
    pub(super) fn new(time: u64) -> Clock {
        Clock {
            time,
            reading: time,
        }
    }

    /// Moves on to a reading of the real one.
    pub(super) fn at(self, reading: u64, window: u64) -> Clock {
        let step = self.reading.abs_diff(reading).min(window / STEPS);
        let time = if reading < self.reading {
            self.time.saturating_sub(step)
        } else {
            self.time.saturating_add(step)
        };
        Clock { time, reading }
    }
}

/// So many steps make the window at least. With 8 days, one is 11 minutes.
const STEPS: u64 = 1024;

#[cfg(test)]
mod tests {
    use super::Clock;

    const DAY: u64 = 86_400_000_000;

    #[test]
    fn it_goes_with_the_clock_and_jumps_with_nobody() {
        let now = 20_000 * DAY;
        let after = |readings: &[u64]| {
            let clock = Clock::new(now);
            let clock = readings
                .iter()
                .fold(clock, |clock, at| clock.at(*at, 8 * DAY));
            clock.time.cast_signed() - now.cast_signed()
        };
        assert_eq!(after(&[now + 5, now + 3, now + 60_000_000]), 60_000_000);
        let jumps: Vec<u64> = (0..1000).flat_map(|_| [now + DAY, now]).collect();
        assert_eq!(after(&jumps), 0);
        assert_eq!(after(&[0, now, 3 * now, now]), 0);
        let days: Vec<u64> = (1..=16).map(|day| now + day * DAY).collect();
        assert!(after(&days) < (DAY / 4).cast_signed());
    }
}
