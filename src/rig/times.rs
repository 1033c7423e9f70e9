//! Times that were measured, and how long most of them took.

use serde_json::{Value, json};
use std::time::Duration;

/// The times, sorted.
#[derive(Clone, Debug, Default)]
pub(crate) struct Times(Vec<Duration>);

impl Times {
    pub(crate) fn new(mut times: Vec<Duration>) -> Times {
        times.sort_unstable();
        Times(times)
    }

    pub(crate) fn count(&self) -> usize {
        self.0.len()
    }

    /// The smallest that so many of a thousand are no longer than; 0 where there is none.
    pub(crate) fn at(&self, permille: usize) -> Duration {
        let rank = (self.0.len() * permille).div_ceil(1000).max(1);
        self.0.get(rank - 1).copied().unwrap_or_default()
    }

    /// The same for scripts, in milliseconds.
    pub(crate) fn in_milliseconds(&self, permille: usize) -> Option<f64> {
        self.measured(permille).map(as_milliseconds)
    }

    /// The same, where anything was measured.
    pub(crate) fn measured(&self, permille: usize) -> Option<Duration> {
        (!self.0.is_empty()).then(|| self.at(permille))
    }

    /// For scripts, in milliseconds.
    pub(crate) fn json(&self) -> Value {
        let at = |permille| self.in_milliseconds(permille);
        json!({
            "p50": at(500), "p99": at(990), "p99_9": at(999), "max": at(1000), "count": self.count(),
        })
    }
}

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
        let all = Times::new((1..=1000).rev().map(Duration::from_millis).collect());
        for (permille, ms) in [(500, 500), (990, 990), (999, 999), (1000, 1000)] {
            assert_eq!(all.at(permille), Duration::from_millis(ms));
        }
        let one = Times::new(vec![Duration::from_millis(1)]);
        assert_eq!(one.at(500), Duration::from_millis(1));
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
