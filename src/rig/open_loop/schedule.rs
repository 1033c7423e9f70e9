//! What is to be posted next, in the order in which it is due: the plan, and what is tried again.

use super::plan::{Name, Plan, Redelivered};
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

/// One post. All times are since the start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Post {
    pub(crate) due: Duration,
    pub(crate) name: Name,
    pub(crate) kind: Kind,
}

/// Why something is posted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    First,
    /// Though the first was answered, or may have been.
    Redelivery,
    /// It was not answered with 200; so many tries came before.
    Retry(u32),
}

/// The posts that are still to come.
pub(crate) struct Schedule {
    plan: Plan,
    /// The number whose turn it is, and what of it comes next.
    index: u64,
    turn: Turn,
    next: Option<Post>,
    retries: BinaryHeap<Reverse<Post>>,
}

/// What is due together with a notification.
#[derive(Clone, Copy, Debug)]
enum Turn {
    Itself,
    AtOnce,
    Earlier,
}

impl Schedule {
    pub(crate) fn new(plan: Plan) -> Schedule {
        let mut schedule = Schedule {
            plan,
            index: 0,
            turn: Turn::Itself,
            next: None,
            retries: BinaryHeap::new(),
        };
        schedule.next = schedule.planned();
        schedule
    }

    /// When the next one is due; `None` when there is no more.
    pub(crate) fn due(&self) -> Option<Duration> {
        let retry = self.retries.peek().map(|retry| retry.0.due);
        let next = self.next.map(|next| next.due);
        match (retry, next) {
            (Some(retry), Some(next)) => Some(retry.min(next)),
            (retry, next) => retry.or(next),
        }
    }

    /// The next one, which no longer is to come.
    pub(crate) fn take(&mut self) -> Option<Post> {
        let retry = self.retries.peek().map(|retry| retry.0);
        match (retry, self.next) {
            (Some(retry), next) if next.is_none_or(|next| retry.due < next.due) => {
                self.retries.pop();
                Some(retry)
            }
            (_, next) => {
                self.next = self.planned();
                next
            }
        }
    }

    /// Has it posted again after a pause; false where that was tried often enough, or where too many wait for it.
    pub(crate) fn retry(&mut self, failed: Post, now: Duration) -> bool {
        let tries = match failed.kind {
            Kind::First | Kind::Redelivery => 0,
            Kind::Retry(tries) => tries,
        };
        if tries >= TRIES_MAX || self.retries.len() >= RETRIES_MAX {
            return false;
        }
        self.retries.push(Reverse(Post {
            due: now + PAUSE_FIRST * (1 << tries),
            name: failed.name,
            kind: Kind::Retry(tries + 1),
        }));
        true
    }

    /// Notifications that were due by `now` and have not been taken yet.
    pub(crate) fn waiting(&self, now: Duration) -> u64 {
        let taken = self.index + u64::from(matches!(self.turn, Turn::Earlier));
        let waits = self.next.is_some_and(|next| next.due <= now);
        let waiting = self.plan.due_by(now).saturating_sub(taken);
        if waits { waiting.max(1) } else { 0 }
    }

    /// Takes everything that is left: planned posts that were due by `now`, and retries.
    pub(crate) fn give_up(&mut self, now: Duration) -> (u64, u64) {
        let retries = self.retries.len() as u64;
        self.retries.clear();
        let mut planned = 0;
        while self.next.is_some_and(|next| next.due <= now) {
            planned += 1;
            self.next = self.planned();
        }
        self.next = None;
        (planned, retries)
    }

    /// What the plan has next.
    fn planned(&mut self) -> Option<Post> {
        loop {
            let (index, plan) = (self.index, &self.plan);
            if index >= plan.count() {
                return None;
            }
            let (number, kind) = match self.turn {
                Turn::Itself => {
                    self.turn = Turn::AtOnce;
                    (Some(index), Kind::First)
                }
                Turn::AtOnce => {
                    self.turn = Turn::Earlier;
                    let again = plan.redelivered(index) == Some(Redelivered::AtOnce);
                    (again.then_some(index), Kind::Redelivery)
                }
                Turn::Earlier => {
                    self.turn = Turn::Itself;
                    self.index += 1;
                    let earlier = index.checked_sub(plan.later());
                    let again = |index: &u64| plan.redelivered(*index) == Some(Redelivered::Later);
                    (earlier.filter(again), Kind::Redelivery)
                }
            };
            if let Some(number) = number {
                let (due, name) = (self.plan.due(index), self.plan.name(number));
                return Some(Post { due, name, kind });
            }
        }
    }
}

/// How often something is tried again, and the pause before that, which doubles: the platform's back-off, which goes
/// from seconds to hours over 7 days, in the time that a test has.
pub(crate) const TRIES_MAX: u32 = 5;
const PAUSE_FIRST: Duration = Duration::from_millis(100);

/// Retries that wait at a time: 32 MB of them.
const RETRIES_MAX: usize = 1 << 19;

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    fn plan(duplicates: u64) -> Plan {
        Plan {
            replies: 250_000,
            numbers: 3,
            duplicates,
            time: Duration::from_secs(4),
            ..Plan::plain()
        }
    }

    #[test]
    fn everything_comes_once_and_some_twice_and_all_in_time() {
        let mut schedule = Schedule::new(plan(250_000));
        let mut times: BTreeMap<Name, (u32, u32)> = BTreeMap::new();
        let (mut last, mut later) = (Duration::ZERO, 0);
        while let Some(due) = schedule.due() {
            assert!(schedule.waiting(due) > 0);
            let post = schedule.take().expect("it is due");
            assert!(post.due == due && due >= last && due < Duration::from_secs(4));
            let (first, again) = times.entry(post.name).or_default();
            match post.kind {
                Kind::First => *first += 1,
                Kind::Redelivery => {
                    *again += 1;
                    later += u32::from(due > last);
                }
                Kind::Retry(_) => panic!("nothing has failed"),
            }
            last = due;
        }
        assert_eq!(times.len(), 1300);
        assert!(
            times
                .values()
                .all(|(first, again)| *first == 1 && *again <= 1)
        );
        let again: u32 = times.values().map(|(_, again)| again).sum();
        assert!((250..400).contains(&again), "{again}");
        assert_eq!(later, 0, "each beside a first one");
        assert_eq!((schedule.take(), schedule.waiting(last)), (None, 0));
    }

    #[test]
    fn a_retry_comes_when_it_is_due_and_not_for_ever() {
        let mut schedule = Schedule::new(plan(0));
        let mut failed = schedule.take().expect("a first one");
        let (mut pauses, mut tries) = (Vec::new(), 0);
        while schedule.retry(failed, failed.due) {
            let (mut last, from) = (Duration::ZERO, failed.due);
            tries += 1;
            while !matches!(failed.kind, Kind::Retry(its) if its == tries) {
                failed = schedule.take().expect("the retry is there");
                assert!(failed.due >= last);
                last = failed.due;
            }
            pauses.push(failed.due.abs_diff(from).as_millis());
        }
        assert_eq!(pauses, [100, 200, 400, 800, 1600]);
    }

    #[test]
    fn what_is_given_up_is_counted() {
        let mut schedule = Schedule::new(plan(0));
        let first = schedule.take().expect("a first one");
        assert!(schedule.retry(first, first.due));
        let now = Duration::from_millis(999);
        assert_eq!(schedule.waiting(now), 324);
        assert_eq!(schedule.give_up(now), (324, 1));
        assert_eq!((schedule.due(), schedule.take()), (None, None));
    }
}
