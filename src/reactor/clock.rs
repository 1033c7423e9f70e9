//! The time of a loop, read once a round: no request costs a clock call.

use crate::disk;
use std::time::{Duration, Instant};

/// Grain of the deadlines, in milliseconds. A second is a whole number of them.
const TICK_MS: u32 = 50;
const TICK: Duration = Duration::from_millis(TICK_MS as u64);

pub(super) struct Clock {
    started: Instant,
    /// Start of this round.
    pub(super) now: Instant,
    /// The same in microseconds since 1970.
    pub(super) unix_us: u64,
}

impl Clock {
    pub(super) fn new() -> Clock {
        let now = Instant::now();
        let mut clock = Clock {
            started: now,
            now,
            unix_us: 0,
        };
        clock.read();
        clock
    }

    /// Starts a round.
    pub(super) fn read(&mut self) {
        self.now = Instant::now();
        self.unix_us = disk::now();
    }

    pub(super) fn unix_seconds(&self) -> u64 {
        self.unix_us / 1_000_000
    }

    /// Ticks since the loop started.
    pub(super) fn tick(&self) -> u64 {
        ticks(self.now - self.started)
    }

    /// The tick at which `after` has passed, counted from now.
    pub(super) fn tick_after(&self, after: Duration) -> u64 {
        self.tick() + ticks(after) + 1
    }

    /// How long it is from now until `tick`.
    pub(super) fn until(&self, tick: u64) -> Duration {
        let at = TICK.saturating_mul(u32::try_from(tick).unwrap_or(u32::MAX));
        (self.started + at).saturating_duration_since(self.now)
    }
}

/// Once a turn: its parts are divided by constants, the whole would be a division of 128 bits.
pub(super) fn ticks(duration: Duration) -> u64 {
    let of_seconds = duration.as_secs().saturating_mul(u64::from(1000 / TICK_MS));
    of_seconds.saturating_add(u64::from(duration.subsec_millis() / TICK_MS))
}

#[cfg(test)]
mod tests {
    use super::{TICK, ticks};
    use std::time::Duration;

    #[test]
    fn ticks_are_whole_and_never_overflow() {
        for (millis, expected) in [
            (0, 0),
            (49, 0),
            (50, 1),
            (999, 19),
            (1000, 20),
            (61_049, 1220),
        ] {
            assert_eq!(ticks(Duration::from_millis(millis)), expected, "{millis}");
        }
        assert_eq!(ticks(TICK * 7), 7);
        assert_eq!(ticks(Duration::MAX), u64::MAX);
    }
}
