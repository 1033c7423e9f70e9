//! A line that could come a thousand times comes now and then, and says how often.

use parking_lot::Mutex;
use std::time::{Duration, Instant};

/// One kind of line about one subject. The first is logged at once; what follows within [`Repeats::INTERVAL`] of a line
/// is counted, and the next line says how many it stands for:
///
/// ```
/// # use hookline::testing::log::Repeats;
/// # let (sink, error) = ("crm", "refused");
/// let failures = Repeats::default();
/// // Each time:
/// if let Some(times) = failures.count() {
///     tracing::warn!(sink, times, error, "delivery fails");
/// }
/// // Now and then, so that the last ones are logged although no other follows:
/// if let Some(times) = failures.left() {
///     tracing::warn!(sink, times, "deliveries have failed since the last line");
/// }
/// ```
#[derive(Debug, Default)]
pub struct Repeats(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    logged_at: Option<Instant>,
    /// Counted since then.
    unlogged: u64,
}

impl Repeats {
    /// The least time between two lines.
    pub const INTERVAL: Duration = Duration::from_secs(10);

    /// Counts one more. With a number the line is to be logged now, and stands for so many, this one included; without
    /// one it has been logged a moment ago.
    pub fn count(&self) -> Option<u64> {
        self.count_at(Instant::now())
    }

    /// How many have had no line, if there are any and a line is due.
    pub fn left(&self) -> Option<u64> {
        self.left_at(Instant::now())
    }

    /// The same at once: for who ends, or sees the trouble end. The next one is logged at once again.
    pub fn end(&self) -> Option<u64> {
        let state = std::mem::take(&mut *self.0.lock());
        Some(state.unlogged).filter(|&times| times > 0)
    }

    fn count_at(&self, now: Instant) -> Option<u64> {
        let mut state = self.0.lock();
        state.unlogged += 1;
        state.take(now)
    }

    fn left_at(&self, now: Instant) -> Option<u64> {
        let mut state = self.0.lock();
        if state.unlogged == 0 {
            return None;
        }
        state.take(now)
    }
}

impl State {
    fn take(&mut self, now: Instant) -> Option<u64> {
        let recent = |at| now.saturating_duration_since(at) < Repeats::INTERVAL;
        if self.logged_at.is_some_and(recent) {
            return None;
        }
        self.logged_at = Some(now);
        Some(std::mem::take(&mut self.unlogged))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thousand_are_one_line_and_another_that_counts_them() {
        let (repeats, start) = (Repeats::default(), Instant::now());
        assert_eq!(repeats.left_at(start), None);
        let lines = (0..1000).filter_map(|_| repeats.count_at(start));
        assert_eq!(lines.collect::<Vec<_>>(), [1]);
        assert_eq!(repeats.left_at(start), None, "a line was logged just now");
        let later = start + Repeats::INTERVAL;
        assert_eq!(repeats.left_at(later), Some(999));
        assert_eq!(repeats.left_at(later + Repeats::INTERVAL), None);
        assert_eq!(repeats.count_at(later + Repeats::INTERVAL), Some(1));
    }

    #[test]
    fn the_next_line_counts_what_had_none() {
        let (repeats, start) = (Repeats::default(), Instant::now());
        assert_eq!(repeats.count_at(start), Some(1));
        assert_eq!(repeats.count_at(start), None);
        assert_eq!(repeats.count_at(start + Repeats::INTERVAL), Some(2));
    }

    #[test]
    fn at_the_end_what_had_no_line_is_counted_at_once() {
        let repeats = Repeats::default();
        assert_eq!(repeats.count(), Some(1));
        assert_eq!(repeats.end(), None);
        assert_eq!(repeats.count(), Some(1), "after an end it begins anew");
        assert_eq!(repeats.count(), None);
        assert_eq!(repeats.end(), Some(1));
    }
}
