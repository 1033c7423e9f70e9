//! Times that were measured, and how long most of them took.

use hdrhistogram::Histogram;
use serde_json::{Value, json};
use std::time::Duration;

/// The times, each to the microsecond or a thousandth of it, whichever is more: however many they are, they take the
/// same memory.
#[derive(Clone, Debug)]
pub(crate) struct Times {
    micros: Histogram<u64>,
    longest: Duration,
}

impl Default for Times {
    fn default() -> Times {
        let micros = Histogram::new_with_bounds(1, LONGEST_MICROS, 3);
        Times {
            micros: micros.expect("the bounds are in order, and three digits are allowed"),
            longest: Duration::ZERO,
        }
    }
}

impl Times {
    pub(crate) fn record(&mut self, time: Duration) {
        let micros = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        self.micros.saturating_record(micros);
        self.longest = self.longest.max(time);
    }

    pub(crate) fn count(&self) -> u64 {
        self.micros.len()
    }

    /// The smallest that so many of a thousand are no longer than; 0 where there is none.
    pub(crate) fn at(&self, permille: u32) -> Duration {
        if permille == 1000 {
            return self.longest;
        }
        let micros = self.micros.value_at_quantile(f64::from(permille) / 1000.0);
        Duration::from_micros(micros).min(self.longest)
    }

    /// The same for scripts, in milliseconds.
    pub(crate) fn in_milliseconds(&self, permille: u32) -> Option<f64> {
        self.measured(permille).map(as_milliseconds)
    }

    /// The same, where anything was measured.
    pub(crate) fn measured(&self, permille: u32) -> Option<Duration> {
        (!self.micros.is_empty()).then(|| self.at(permille))
    }

    /// For scripts, in milliseconds.
    pub(crate) fn json(&self) -> Value {
        let at = |permille| self.in_milliseconds(permille);
        json!({
            "p50": at(500), "p99": at(990), "p99_9": at(999), "max": at(1000), "count": self.count(),
        })
    }
}

/// An hour; nothing takes longer.
const LONGEST_MICROS: u64 = 3_600_000_000;

/// So many in this time, a second.
pub(crate) fn rate(count: u64, time: Duration) -> u64 {
    let micros = time.as_micros().max(1);
    u64::try_from(u128::from(count) * 1_000_000 / micros).unwrap_or(u64::MAX)
}

/// To the microsecond.
pub(crate) fn as_milliseconds(time: Duration) -> f64 {
    (time.as_secs_f64() * 1_000_000.0).round() / 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_those_of_the_sorted() {
        let mut all = Times::default();
        (1..=1000)
            .rev()
            .for_each(|it| all.record(Duration::from_millis(it)));
        for (permille, ms) in [(500, 500), (990, 990), (999, 999), (1000, 1000)] {
            let off = all.at(permille).abs_diff(Duration::from_millis(ms));
            assert!(off <= Duration::from_millis(1), "{permille}: {off:?}");
        }
        let mut one = Times::default();
        one.record(Duration::from_millis(1));
        assert_eq!(one.at(500), Duration::from_millis(1));
        one.record(Duration::from_hours(2));
        assert_eq!(one.at(1000), Duration::from_hours(2), "whatever it is");
        let none = Times::default();
        assert_eq!(none.at(500), Duration::ZERO);
        assert_eq!(none.json()["p50"], Value::Null);
    }

    #[test]
    fn rates_are_whole() {
        assert_eq!(rate(99, Duration::from_millis(1500)), 66);
        assert_eq!(rate(1, Duration::ZERO), 1_000_000);
    }
}
