//! How the deliveries of a sink go: what the log, `status`, the metrics and `/readyz?strict` say of it.
//!
//! A sink **fails** from the first delivery that its target has not taken until it takes one, or rejects one for
//! itself: that is an answer of a target that works. What counts as an attempt is not decided here.

use crate::log::Repeats;
use parking_lot::Mutex;
use std::time::{Duration, Instant};

/// Has to know of every delivery that has ended.
#[derive(Debug, Default)]
pub struct Health {
    state: Mutex<State>,
    failing: Repeats,
}

#[derive(Debug, Default)]
struct State {
    /// Since when nothing was taken although something was tried.
    since: Option<Instant>,
    /// How many failed since the last line that said that deliveries work.
    failed: u64,
    /// How many of them since something was taken last.
    in_a_row: u64,
    last: Option<(Instant, String)>,
    /// When the first of these lines that is still true was logged: deliveries fail.
    warned: Option<Instant>,
}

/// What is to be seen of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HealthView {
    /// For how long nothing has been taken although something was tried; `None` if the last delivery worked.
    pub failing: Option<Duration>,
    /// How long ago the last delivery failed, and why. It stays when others have worked since.
    pub last_failure: Option<(Duration, String)>,
}

/// What has failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failing {
    /// Perhaps all deliveries do.
    Target,
    /// Just this one: the target has looked at it and does not take it.
    Item,
    /// The target is known to be away, which was logged.
    KnownAway,
}

impl Health {
    /// A delivery was not taken and is tried again. For how long nothing came of any before, if this shows that the
    /// target works.
    pub fn failed(&self, sink: &str, reason: &str, failing: Failing) -> Option<Duration> {
        let now = Instant::now();
        let mut state = self.state.lock();
        state.last = Some((now, reason.to_owned()));
        state.failed += 1;
        let mut before = None;
        if failing == Failing::Item {
            before = state.works();
        } else {
            state.since.get_or_insert(now);
            state.in_a_row += 1;
        }
        let is_logged = failing == Failing::KnownAway;
        if !is_logged && let Some(times) = self.failing.count() {
            state.warned.get_or_insert(now);
            drop(state);
            tracing::warn!(
                sink,
                times,
                reason,
                "a delivery to the sink has failed and is tried again after a pause: its events wait in the journal; correct what `reason` names; `times` says how many failed since the last such line"
            );
        }
        before
    }

    /// It is known that the target is away, and that was logged.
    pub fn is_away(&self) {
        self.state.lock().warned.get_or_insert_with(Instant::now);
    }

    /// The target has taken something; `retried` if that had failed before. For how long nothing was taken before, if
    /// something had failed.
    pub fn taken(&self, sink: &str, retried: bool) -> Option<Duration> {
        let mut state = self.state.lock();
        // While others pass, one that fails is the end of nothing when the next one is taken.
        let is_news = state.in_a_row > 1 || retried;
        let before = state.works();
        if is_news && let Some(warned) = state.warned.take() {
            let (failed, seconds) = (
                std::mem::take(&mut state.failed),
                warned.elapsed().as_secs(),
            );
            drop(state);
            tracing::info!(
                sink,
                failed,
                seconds,
                "deliveries to the sink work again, and what waited goes out; `failed` says how many have failed, and `seconds` for how long"
            );
        }
        before
    }

    /// There is nothing that could fail any more.
    pub fn has_nothing_left(&self) {
        self.state.lock().works();
    }

    /// For how long nothing has been taken although something was tried.
    #[must_use]
    pub fn failing(&self) -> Option<Duration> {
        self.state.lock().since.map(|since| since.elapsed())
    }

    /// What `status` shows.
    #[must_use]
    pub fn view(&self) -> HealthView {
        let (state, now) = (self.state.lock(), Instant::now());
        let last = state.last.as_ref();
        HealthView {
            failing: state.since.map(|since| now - since),
            last_failure: last.map(|(at, reason)| (now - *at, reason.clone())),
        }
    }
}

impl State {
    /// It does, or nothing says otherwise any more; for how long it did not.
    fn works(&mut self) -> Option<Duration> {
        self.in_a_row = 0;
        self.since.take().map(|since| since.elapsed())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::captured;

    use Failing::{Item, KnownAway, Target};

    fn lines(log: &str) -> Vec<&str> {
        let kind = |line: &str| match line {
            line if line.contains("has failed and is tried") => "fails",
            line if line.contains("work again") => "works",
            _ => "?",
        };
        log.lines().map(kind).collect()
    }

    /// A receiver answered 500 for minutes, and no line said so: only that it was away was logged, and that takes
    /// several conversations.
    #[test]
    fn the_first_failure_and_the_end_of_all_have_a_line() {
        let log = captured(|| {
            let health = Health::default();
            assert_eq!(health.taken("crm", false), None);
            for _ in 0..100 {
                assert_eq!(health.failed("crm", "answered 500", Target), None);
            }
            assert!(health.failing().is_some());
            assert!(health.taken("crm", true).is_some());
            assert_eq!((health.taken("crm", true), health.failing()), (None, None));
            let last = health.view().last_failure.map(|(_, reason)| reason);
            assert_eq!(last.as_deref(), Some("answered 500"));
        });
        assert_eq!(lines(&log), ["fails", "works"], "{log}");
        assert!(
            log.contains("sink=\"crm\" times=1 reason=\"answered 500\""),
            "{log}"
        );
        assert!(log.contains("failed=100 seconds="), "{log}");
    }

    #[test]
    fn one_item_that_fails_while_others_pass_is_not_the_sink() {
        let log = captured(|| {
            let health = Health::default();
            for _ in 0..9 {
                health.failed("crm", "answered 500", Target);
                assert!(health.taken("crm", false).is_some());
                health.failed("crm", "answered 400", Item);
                assert_eq!(health.failing(), None);
            }
        });
        assert_eq!(lines(&log), ["fails"], "{log}");
    }

    /// What was under way when it went away, and probes, are no news.
    #[test]
    fn a_target_that_is_known_to_be_away_has_no_line_but_at_the_end() {
        let log = captured(|| {
            let health = Health::default();
            health.is_away();
            for _ in 0..9 {
                health.failed("crm", "answered 500", KnownAway);
            }
            health.taken("crm", false);
        });
        assert_eq!(lines(&log), ["works"], "{log}");
    }

    #[test]
    fn with_nothing_left_nothing_fails() {
        let health = Health::default();
        health.failed("crm", "answered 500", Target);
        health.has_nothing_left();
        assert_eq!(health.failing(), None);
    }
}
