//! Times that were measured, for people.

use super::units::{duration, grouped};
use crate::rig::times::Times;

/// How long so many of a thousand took at most. What was never measured took no 0 ms.
pub(in crate::cli) fn percentile(times: &Times, permille: u32) -> String {
    times.measured(permille).map_or("-".to_owned(), duration)
}

/// The syncs of the probe of a disk.
pub(in crate::cli) fn syncs(times: &Times) -> String {
    let [p50, p99, p99_9, max] = [500, 990, 999, 1000].map(|it| percentile(times, it));
    let count = grouped(times.count());
    format!(
        "p50 {p50}, p99 {p99}, p99.9 {p99_9}, max {max}: {count} of 16 KiB in the same directory"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn nothing_measured_is_no_time() {
        assert_eq!(percentile(&Times::default(), 500), "-");
        let mut one = Times::default();
        one.record(Duration::from_millis(1));
        assert_eq!(percentile(&one, 500), "1.00 ms");
    }
}
