//! When a failed delivery is tried again.

use crate::event::Item;
use crate::random::Random;
use std::time::Duration;

/// Pauses that double from `min` to `max`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    /// After the first failure.
    pub min: Duration,
    /// At most, unless the receiver asks for more.
    pub max: Duration,
}

impl Backoff {
    /// The pause after so many failed attempts at `item`: half of it is chance, so that what failed together does not
    /// come back together. What the receiver asked for is kept, up to [`ASKED_MAX`].
    pub(super) fn pause(self, item: Item, attempts: u32, asked: Option<Duration>) -> Duration {
        let doubled = 1_u32
            .checked_shl(attempts.saturating_sub(1))
            .filter(|factor| *factor > 0);
        let pause = doubled.and_then(|factor| self.min.checked_mul(factor));
        let pause = pause.unwrap_or(self.max).min(self.max);
        let jittered = pause / 2 + pause.mul_f64(chance(item, attempts) / 2.0);
        jittered.max(asked.unwrap_or_default().min(ASKED_MAX))
    }
}

/// From 0 to 1, the same for the same attempt: a spread needs no secret.
fn chance(item: Item, attempts: u32) -> f64 {
    let seed = item.sequence << 20 ^ u64::from(item.index.unwrap_or(0)) << 8 ^ u64::from(attempts);
    let top = u32::try_from(Random(seed).next() >> 32).unwrap_or(0);
    f64::from(top) / f64::from(u32::MAX)
}

/// Longest pause that a receiver may ask for: it may come back sooner than it thought.
const ASKED_MAX: Duration = Duration::from_hours(1);

#[cfg(test)]
mod tests {
    use super::{ASKED_MAX, Backoff};
    use crate::event::Item;
    use std::collections::BTreeSet;
    use std::time::Duration;

    fn item(sequence: u64) -> Item {
        Item {
            sequence,
            index: Some(0),
        }
    }

    #[test]
    fn pauses_double_up_to_the_longest_and_are_spread() {
        let backoff = Backoff {
            min: Duration::from_millis(100),
            max: Duration::from_secs(10),
        };
        for (attempts, full) in [
            (1, 100),
            (2, 200),
            (3, 400),
            (8, 10_000),
            (4_000_000, 10_000),
        ] {
            let pauses: BTreeSet<Duration> = (0..50)
                .map(|sequence| backoff.pause(item(sequence), attempts, None))
                .collect();
            let full = Duration::from_millis(full);
            assert!(
                pauses
                    .iter()
                    .all(|pause| *pause >= full / 2 && *pause <= full)
            );
            assert!(pauses.len() > 40, "{pauses:?}");
        }
    }

    #[test]
    fn what_the_receiver_asks_for_is_kept_within_reason() {
        let backoff = Backoff {
            min: Duration::from_millis(100),
            max: Duration::from_secs(10),
        };
        let pause = |asked| backoff.pause(item(1), 1, Some(asked));
        assert_eq!(pause(Duration::from_secs(30)), Duration::from_secs(30));
        assert!(pause(Duration::ZERO) >= Duration::from_millis(50));
        assert_eq!(pause(Duration::MAX), ASKED_MAX);
    }
}
