//! The time of a loop, read once a round: no request costs a clock call.

use std::time::{Duration, Instant, SystemTime};

/// Grain of the deadlines.
const TICK: Duration = Duration::from_millis(50);

#[derive(Debug)]
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
        let unix = SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or_default();
        self.unix_us = u64::try_from(unix.as_micros()).unwrap_or(u64::MAX);
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

fn ticks(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis() / TICK.as_millis()).unwrap_or(u64::MAX)
}
