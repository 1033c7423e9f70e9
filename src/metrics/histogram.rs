//! A histogram of durations with fixed buckets, for one writer.

use super::Counter;
use std::time::Duration;

/// How often something took how long.
#[derive(Debug, Default)]
pub struct Histogram {
    buckets: [Counter; BOUNDS_US.len() + 1],
    sum_us: Counter,
}

impl Histogram {
    /// Counts `times` observations of `duration`. Only the owning thread may call this.
    pub fn observe(&self, duration: Duration, times: u64) {
        let us = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        let bucket = BOUNDS_US
            .iter()
            .position(|&bound| us <= bound)
            .unwrap_or(BOUNDS_US.len());
        self.buckets[bucket].add(times);
        self.sum_us.add(us.saturating_mul(times));
    }

    /// Upper bound in seconds and count of each bucket, not cumulated; the last bound is infinite.
    pub fn buckets(&self) -> impl Iterator<Item = (f64, u64)> {
        let seconds = BOUNDS_US
            .iter()
            .map(|&us| Duration::from_micros(us).as_secs_f64());
        seconds
            .chain([f64::INFINITY])
            .zip(self.buckets.iter().map(Counter::get))
    }

    /// Sum of all observed durations in seconds.
    #[must_use]
    pub fn sum_seconds(&self) -> f64 {
        Duration::from_micros(self.sum_us.get()).as_secs_f64()
    }

    /// Number of observations.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.buckets.iter().map(Counter::get).sum()
    }
}

/// Upper bounds in microseconds. Fine where a sync lies; 250 ms, 1 s and 5 s are the platform's own marks.
const BOUNDS_US: [u64; 15] = [
    50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000,
    1_000_000, 5_000_000,
];

#[cfg(test)]
mod tests {
    use super::{Duration, Histogram};

    #[test]
    fn observations_land_in_their_bucket() {
        let histogram = Histogram::default();
        histogram.observe(Duration::from_micros(50), 2);
        histogram.observe(Duration::from_micros(51), 1);
        histogram.observe(Duration::from_mins(1), 1);
        let counts: Vec<u64> = histogram.buckets().map(|(_, count)| count).collect();
        assert_eq!((counts[0], counts[1], counts[15]), (2, 1, 1));
        assert_eq!(histogram.count(), 4);
        assert!(histogram.sum_seconds() > 60.0);
    }
}
