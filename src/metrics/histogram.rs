//! A histogram with fixed buckets, for one writer.

use super::Counter;
use std::marker::PhantomData;
use std::time::Duration;

/// Where buckets end.
pub trait Bounds {
    /// Upper bounds in ascending order, [`BUCKETS_MAX`] at most with one more bucket for what is larger.
    const UPPER: &'static [u64];

    /// The bucket of a value.
    fn bucket(value: u64) -> usize {
        let bucket = Self::UPPER.iter().position(|&bound| value <= bound);
        bucket.unwrap_or(Self::UPPER.len())
    }
}

/// Microseconds until an answer. Fine where a sync lies; 250 ms, 1 s and 5 s are the platform's own marks.
#[derive(Debug, Default)]
pub struct AnswerTimes;

impl Bounds for AnswerTimes {
    const UPPER: &'static [u64] = &[
        50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000,
        1_000_000, 5_000_000,
    ];
}

/// Powers of two from 1 to 2^22, four million: microseconds as well as records.
#[derive(Debug, Default)]
pub struct PowersOfTwo;

impl Bounds for PowersOfTwo {
    const UPPER: &'static [u64] = &{
        let mut bounds = [1; BUCKETS_MAX - 1];
        let mut power = 1;
        while power < bounds.len() {
            bounds[power] = bounds[power - 1] * 2;
            power += 1;
        }
        bounds
    };

    fn bucket(value: u64) -> usize {
        let bits = u64::BITS - value.saturating_sub(1).leading_zeros();
        (bits as usize).min(Self::UPPER.len())
    }
}

/// How often something took how long, or was how much.
#[derive(Debug, Default)]
pub struct Histogram<B = AnswerTimes> {
    buckets: [Counter; BUCKETS_MAX],
    sum: Counter,
    bounds: PhantomData<B>,
}

impl<B: Bounds> Histogram<B> {
    /// Counts `times` observations of `duration`, in microseconds. Only the owning thread may call this.
    pub fn observe(&self, duration: Duration, times: u64) {
        self.add(micros(duration), times);
    }

    /// Counts `times` observations of `value`. Only the owning thread may call this.
    pub fn add(&self, value: u64, times: u64) {
        self.buckets[B::bucket(value)].add(times);
        self.sum.add(value.saturating_mul(times));
    }

    /// Upper bound and count of each bucket, not cumulated; the last bucket has no bound.
    pub fn buckets(&self) -> impl Iterator<Item = (Option<u64>, u64)> {
        let bounds = B::UPPER.iter().map(|bound| Some(*bound)).chain([None]);
        bounds.zip(self.buckets.iter().map(Counter::get))
    }

    /// Sum of all observed values.
    pub fn sum(&self) -> u64 {
        self.sum.get()
    }

    /// Number of observations.
    pub fn count(&self) -> u64 {
        self.buckets.iter().map(Counter::get).sum()
    }
}

/// What histograms of answers held at one moment. Of the difference of two, percentiles can be computed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Snapshot([u64; BUCKETS_MAX]);

impl Snapshot {
    /// Adds what a histogram holds now.
    pub fn add(&mut self, histogram: &Histogram) {
        for (sum, counter) in self.0.iter_mut().zip(&histogram.buckets) {
            *sum += counter.get();
        }
    }

    /// Adds `times` observations of `duration`.
    pub fn observe(&mut self, duration: Duration, times: u64) {
        self.0[AnswerTimes::bucket(micros(duration))] += times;
    }

    /// What came since `earlier`.
    pub fn since(&self, earlier: &Snapshot) -> Snapshot {
        Snapshot(std::array::from_fn(|i| {
            self.0[i].saturating_sub(earlier.0[i])
        }))
    }

    /// Number of observations.
    pub fn count(&self) -> u64 {
        self.0.iter().sum()
    }

    /// How many took longer than `bound`; exact where a bucket ends there, as at 250 ms, 1 s and 5 s.
    pub fn longer_than(&self, bound: Duration) -> u64 {
        self.0[AnswerTimes::bucket(micros(bound)) + 1..]
            .iter()
            .sum()
    }

    /// What so many of a thousand did not exceed, as if those of a bucket were spread evenly over it; the last bound
    /// where they took longer. `None` without observations.
    pub fn quantile(&self, per_mille: u64) -> Option<Duration> {
        let rank = (self.count() * per_mille).div_ceil(1000).max(1);
        let (mut below, mut from) = (0, 0);
        for (count, bound) in self.0.iter().zip(AnswerTimes::UPPER) {
            if below + count >= rank {
                let part = (bound - from) * (rank - below) / count;
                return Some(Duration::from_micros(from + part));
            }
            below += count;
            from = *bound;
        }
        (self.count() > 0).then(|| Duration::from_micros(from))
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

/// Room for the buckets of any bounds.
const BUCKETS_MAX: usize = 24;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn observations_land_in_their_bucket() {
        let histogram: Histogram = Histogram::default();
        histogram.observe(Duration::from_micros(50), 2);
        histogram.observe(Duration::from_micros(51), 1);
        histogram.observe(Duration::from_mins(1), 1);
        let counts: Vec<u64> = histogram.buckets().map(|(_, count)| count).collect();
        assert_eq!((counts[0], counts[1], counts[15]), (2, 1, 1));
        assert_eq!(histogram.count(), 4);
        assert!(histogram.sum() > 60_000_000);
    }

    #[test]
    fn powers_of_two_are_found_as_any_bounds_are() {
        struct Listed;
        impl Bounds for Listed {
            const UPPER: &'static [u64] = PowersOfTwo::UPPER;
        }
        let edges = PowersOfTwo::UPPER
            .iter()
            .flat_map(|bound| [bound - 1, *bound, bound + 1]);
        for value in edges.chain([u64::MAX]) {
            assert_eq!(PowersOfTwo::bucket(value), Listed::bucket(value), "{value}");
        }
        let histogram: Histogram<PowersOfTwo> = Histogram::default();
        for value in [0, 1, 2, 3, 4, 5, u64::MAX >> 1] {
            histogram.add(value, 1);
        }
        let counts: Vec<_> = histogram.buckets().collect();
        let expected = [(Some(1), 2), (Some(2), 1), (Some(4), 2), (Some(8), 1)];
        assert_eq!(counts[..4], expected);
        assert_eq!(counts.last(), Some(&(None, 1)));
    }

    #[test]
    fn percentiles_are_those_of_what_came_between_two_snapshots() {
        let histogram: Histogram = Histogram::default();
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
