//! At most so many deliveries a second.

use std::time::{Duration, Instant};

/// A bucket of tokens, which holds as many as a tenth of a second brings, and at least one.
#[derive(Debug)]
pub(super) struct Rate {
    /// Time that one token takes; zero where there is no limit.
    each: Duration,
    /// How far in the past the next token may lie.
    most: Duration,
    /// When the next token comes, or came.
    next: Option<Instant>,
}

impl Rate {
    /// So many a second; 0 for no limit.
    pub(super) fn new(a_second: u64) -> Rate {
        let each = match u32::try_from(a_second).unwrap_or(u32::MAX) {
            0 => Duration::ZERO,
            a_second => Duration::from_secs(1) / a_second,
        };
        Rate {
            each,
            most: BURST.max(each),
            next: None,
        }
    }

    /// When the next one may go, if that is not now.
    pub(super) fn wait(&self, now: Instant) -> Option<Instant> {
        self.next.filter(|next| *next > now)
    }

    /// Takes so many tokens at `now`, whether there are as many or not.
    pub(super) fn take(&mut self, now: Instant, count: u64) {
        if self.each.is_zero() {
            return;
        }
        let count = u32::try_from(count).unwrap_or(u32::MAX);
        let oldest = now.checked_sub(self.most).unwrap_or(now);
        self.next = Some(self.next.unwrap_or(oldest).max(oldest) + self.each * count);
    }
}

const BURST: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests {
    use super::Rate;
    use std::time::{Duration, Instant};

    #[test]
    fn no_more_than_the_rate_goes() {
        for a_second in [1, 7, 1000, 50_000] {
            let mut rate = Rate::new(a_second);
            let begin = Instant::now();
            let (mut now, mut taken) = (begin, 0);
            while now < begin + Duration::from_secs(10) {
                while rate.wait(now).is_none() {
                    rate.take(now, 1);
                    taken += 1;
                }
                now += Duration::from_millis(13);
            }
            let most = 10 * a_second + a_second / 10 + 2;
            assert!(
                taken <= most && taken >= 9 * a_second,
                "{a_second}: {taken}"
            );
        }
        let mut free = Rate::new(0);
        let now = Instant::now();
        free.take(now, 1);
        assert_eq!(free.wait(now), None);
    }
}
