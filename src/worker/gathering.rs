//! Waiting for company, of a stage behind the answer.
//!
//! The answer has left long ago, so nothing there is urgent; and whatever is done once for several batches (a mark, the
//! keys of dedupe, a write, a wake of each thread that follows) costs a part of what it would cost for each. So a stage
//! that has been idle starts at once, and one that has just run waits until [`GATHER_TIME`] after its last start, or
//! does not wait where [`GATHER_BYTES`] are there already.

use std::thread;
use std::time::{Duration, Instant};

/// When a stage was last given something.
#[derive(Debug, Default)]
pub struct Gathering(Option<Instant>);

impl Gathering {
    /// It is given something now.
    pub fn start(&mut self) {
        self.0 = Some(Instant::now());
    }

    /// How long it still waits for company, where so many bytes wait for it.
    pub fn left(&self, bytes: usize) -> Duration {
        match self.0 {
            Some(started) if bytes < GATHER_BYTES => GATHER_TIME.saturating_sub(started.elapsed()),
            _ => Duration::ZERO,
        }
    }

    /// Waits for company, up to `timeout`; false if there is no time left for that. Nobody wakes who waits: that would
    /// cost what this saves.
    #[must_use]
    pub fn wait(&self, bytes: usize, timeout: Option<Duration>) -> bool {
        let left = self.left(bytes);
        thread::sleep(timeout.map_or(left, |it| it.min(left)));
        !left.is_zero()
    }
}

/// How long a stage that has just run waits for company.
pub(super) const GATHER_TIME: Duration = Duration::from_millis(2);

/// Bytes of batches that are company enough, and are taken at once beside the last one. Whoever has an event of a batch
/// open keeps all of it in memory, so it does not get much larger than the batch of a loop.
pub const GATHER_BYTES: usize = 64 << 10;

#[cfg(test)]
mod tests {
    use super::{Duration, GATHER_BYTES, GATHER_TIME, Gathering};

    #[test]
    fn who_was_idle_or_has_enough_does_not_wait() {
        let mut gathering = Gathering::default();
        assert!(!gathering.wait(0, None));
        gathering.start();
        assert!(!gathering.wait(GATHER_BYTES, None));
        assert!(gathering.left(0) <= GATHER_TIME);
        while gathering.wait(0, Some(Duration::from_micros(100))) {}
        assert_eq!(gathering.left(0), Duration::ZERO);
    }
}
