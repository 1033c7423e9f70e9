//! Times that were measured, and how long most of them took.

use crate::cli::figures::{as_milliseconds, grouped, milliseconds};
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

    /// The same for people: what was never measured took no 0 ms.
    pub(crate) fn told(&self, permille: usize) -> String {
        self.some(permille).map_or("-".to_owned(), milliseconds)
    }

    /// The same for scripts, in milliseconds.
    pub(crate) fn in_milliseconds(&self, permille: usize) -> Option<f64> {
        self.some(permille).map(as_milliseconds)
    }

    fn some(&self, permille: usize) -> Option<Duration> {
        (!self.0.is_empty()).then(|| self.at(permille))
    }

    /// For people, of syncs of the probe.
    pub(crate) fn syncs_told(&self) -> String {
        let at = |permille| self.told(permille);
        format!(
            "p50 {}, p99 {}, p99.9 {}, max {}: {} of 16 KiB in the same directory",
            at(500),
            at(990),
            at(999),
            at(1000),
            grouped(self.count() as u64),
        )
    }

    /// For scripts, in milliseconds.
    pub(crate) fn json(&self) -> Value {
        let at = |permille| self.in_milliseconds(permille);
        json!({
            "p50": at(500), "p99": at(990), "p99_9": at(999), "max": at(1000), "count": self.count(),
        })
    }
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
        assert_eq!(one.told(500), "1.00 ms");
        let none = Times::default();
        assert_eq!(none.at(500), Duration::ZERO);
        assert_eq!(none.told(500), "-");
        assert_eq!(none.json()["p50"], Value::Null);
    }
}
