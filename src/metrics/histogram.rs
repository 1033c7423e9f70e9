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
        self.buckets[bucket_of(duration)].add(times);
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

/// What histograms held at one moment. Of the difference of two, percentiles can be computed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Snapshot([u64; BOUNDS_US.len() + 1]);

impl Snapshot {
    /// Adds what a histogram holds now.
    pub fn add(&mut self, histogram: &Histogram) {
        for (sum, counter) in self.0.iter_mut().zip(&histogram.buckets) {
            *sum += counter.get();
        }
    }

    /// Adds `times` observations of `duration`.
    pub fn observe(&mut self, duration: Duration, times: u64) {
        self.0[bucket_of(duration)] += times;
    }

    /// What came since `earlier`.
    #[must_use]
    pub fn since(&self, earlier: &Snapshot) -> Snapshot {
        Snapshot(std::array::from_fn(|i| {
            self.0[i].saturating_sub(earlier.0[i])
        }))
    }

    /// Number of observations.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.0.iter().sum()
    }

    /// How many took longer than `bound`; exact where a bucket ends there, as at 250 ms, 1 s and 5 s.
    #[must_use]
    pub fn longer_than(&self, bound: Duration) -> u64 {
        self.0[bucket_of(bound) + 1..].iter().sum()
    }

    /// What so many of a thousand did not exceed, as if those of a bucket were spread evenly over it; the last bound
    /// where they took longer. `None` without observations.
    #[must_use]
    pub fn quantile(&self, per_mille: u64) -> Option<Duration> {
        let rank = (self.count() * per_mille).div_ceil(1000).max(1);
        let (mut below, mut from) = (0, 0);
        for (count, bound) in self.0.iter().zip(BOUNDS_US) {
            if below + count >= rank {
                let part = (bound - from) * (rank - below) / count;
                return Some(Duration::from_micros(from + part));
            }
            below += count;
            from = bound;
        }
        (self.count() > 0).then(|| Duration::from_micros(from))
    }
}

fn bucket_of(duration: Duration) -> usize {
    let us = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
    let bounds = BOUNDS_US.iter();
    let bucket = bounds.clone().position(|&bound| us <= bound);
    bucket.unwrap_or(BOUNDS_US.len())
}

/// Upper bounds in microseconds. Fine where a sync lies; 250 ms, 1 s and 5 s are the platform's own marks.
const BOUNDS_US: [u64; 15] = [
    50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000,
    1_000_000, 5_000_000,
];

#[cfg(test)]
mod tests {
    use super::{Duration, Histogram, Snapshot};

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

    #[test]
    fn percentiles_are_those_of_what_came_between_two_snapshots() {
        let histogram = Histogram::default();
        let snapshot = || {
            let mut snapshot = Snapshot::default();
            snapshot.add(&histogram);
            snapshot
        };
        histogram.observe(Duration::from_secs(4), 1_000_000);
        let before = snapshot();
        assert_eq!(before.since(&before).quantile(500), None);
        histogram.observe(Duration::from_micros(600), 990);
        histogram.observe(Duration::from_millis(250), 8);
        histogram.observe(Duration::from_millis(251), 1);
        histogram.observe(Duration::from_mins(1), 1);
        let since = snapshot().since(&before);
        assert_eq!(since.count(), 1000);
        let us = |per_mille| since.quantile(per_mille).map(|it| it.as_micros());
        assert_eq!(us(500), Some(500 + 500 * 500 / 990));
        assert_eq!(us(990), Some(1000));
        assert_eq!(us(998), Some(250_000));
        assert_eq!(us(999), Some(500_000));
        assert_eq!(us(1000), Some(5_000_000), "and more");
        let longer = |ms| since.longer_than(Duration::from_millis(ms));
        assert_eq!((longer(250), longer(1000), longer(5000)), (2, 1, 1));
    }
}
