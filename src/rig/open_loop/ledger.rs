//! What came of it: counts, times, and which notifications were answered with 200.

use super::super::times::Times;
use super::connection;
use super::plan::{Name, Plan};
use super::schedule::{Kind, Post};
use std::collections::BTreeMap;
use std::io;
use std::time::Duration;

/// The counts of a run.
pub(crate) struct Ledger {
    /// Posts by why they were made: planned, redelivered, tried again.
    pub(crate) first: u64,
    pub(crate) redelivered: u64,
    pub(crate) retried: u64,
    /// By status code.
    pub(crate) answered: BTreeMap<u16, u64>,
    /// Not answered, by cause.
    pub(crate) failed: BTreeMap<String, u64>,
    /// Due and never sent, as everything before took too long.
    pub(crate) unsent: u64,
    /// Not tried again any more.
    pub(crate) given_up: u64,
    /// Under way when somebody ended the run.
    pub(crate) cut_off: u64,
    /// From the due time to the answer, of those with 200.
    pub(crate) times: Times,
    /// How many of those took no longer than each of [`MARKS`].
    pub(crate) within: [u64; MARKS.len()],
    /// Sent more than [`LATE`] after they were due, though a connection was free: this process was too slow.
    pub(crate) late: u64,
    /// The same since no connection was free.
    pub(crate) waited: u64,
    /// Most notifications that were due and not sent, at a time.
    pub(crate) waiting_max: u64,
    /// The last of the plan was sent then.
    pub(crate) last_planned: Duration,
    /// How long this process ran, and how long it was ready to and had no core.
    pub(crate) ran: Duration,
    pub(crate) queued: Duration,
    /// What was due by then was to be sent.
    pub(crate) until: Duration,
    pub(crate) elapsed: Duration,
    pub(crate) interrupted: bool,
    /// Those that were answered with 200, where somebody wants to know.
    pub(crate) stored: Option<Names>,
}

impl Ledger {
    /// Remembers which were answered with 200 if `names` are given.
    pub(crate) fn new(names: Option<Names>) -> Ledger {
        Ledger {
            first: 0,
            redelivered: 0,
            retried: 0,
            answered: BTreeMap::new(),
            failed: BTreeMap::new(),
            unsent: 0,
            given_up: 0,
            cut_off: 0,
            times: Times::default(),
            within: [0; MARKS.len()],
            late: 0,
            waited: 0,
            waiting_max: 0,
            last_planned: Duration::ZERO,
            ran: Duration::ZERO,
            queued: Duration::ZERO,
            until: Duration::ZERO,
            elapsed: Duration::ZERO,
            interrupted: false,
            stored: names,
        }
    }

    /// It is posted at `now`; no connection was free at `busy_until`.
    pub(crate) fn sends(&mut self, post: &Post, now: Duration, busy_until: Duration) {
        match post.kind {
            Kind::First => self.first += 1,
            Kind::Redelivery => self.redelivered += 1,
            Kind::Retry(_) => self.retried += 1,
        }
        if !matches!(post.kind, Kind::Retry(_)) {
            self.last_planned = now;
        }
        if now.saturating_sub(post.due) > LATE {
            let counter = if busy_until >= post.due {
                &mut self.waited
            } else {
                &mut self.late
            };
            *counter += 1;
        }
    }

    /// It was answered at `now`.
    pub(crate) fn answers(&mut self, post: &Post, status: u16, now: Duration) {
        *self.answered.entry(status).or_default() += 1;
        if status != 200 {
            return;
        }
        let time = now.saturating_sub(post.due);
        self.times.record(time);
        for (count, (mark, _)) in self.within.iter_mut().zip(MARKS) {
            *count += u64::from(time <= mark);
        }
        if let Some(names) = &mut self.stored {
            names.insert(post.name);
        }
    }

    /// It was not answered, and will not be.
    pub(crate) fn fails(&mut self, reason: String) {
        *self.failed.entry(reason).or_default() += 1;
    }

    /// The same where the socket says why.
    pub(crate) fn breaks(&mut self, error: &io::Error) {
        self.fails(connection::reason(error));
    }

    /// Planned posts, redeliveries included, that were sent.
    pub(crate) fn planned(&self) -> u64 {
        self.first + self.redelivered
    }

    /// All posts that were sent.
    pub(crate) fn sent(&self) -> u64 {
        self.planned() + self.retried
    }

    /// How many were answered with 200.
    pub(crate) fn good(&self) -> u64 {
        self.answered.get(&200).copied().unwrap_or(0)
    }

    /// How many were answered with something else, or not.
    pub(crate) fn bad(&self) -> u64 {
        let answered: u64 = self.answered.values().sum();
        let failed: u64 = self.failed.values().sum();
        answered - self.good() + failed + self.unsent
    }
}

/// A set of notifications: a bit for each that there can be.
#[derive(Clone, Debug)]
pub(crate) struct Names {
    statuses: Vec<u64>,
    messages: Vec<u64>,
}

impl Names {
    /// None of those of this plan.
    pub(crate) fn none_of(plan: &Plan) -> Names {
        let (statuses, messages) = plan.counts();
        let words = |count: u64| usize::try_from(count / 64 + 1).unwrap_or(usize::MAX);
        Names {
            statuses: vec![0; words(statuses)],
            messages: vec![0; words(messages)],
        }
    }

    /// False if it was there already.
    pub(crate) fn insert(&mut self, name: Name) -> bool {
        let (words, number) = match name {
            Name::Statuses(number) => (&mut self.statuses, number),
            Name::Message(number) => (&mut self.messages, number),
        };
        let index = usize::try_from(number / 64).unwrap_or(usize::MAX);
        let Some(word) = words.get_mut(index) else {
            return false;
        };
        let bit = 1 << (number % 64);
        let is_new = *word & bit == 0;
        *word |= bit;
        is_new
    }

    /// How many there are.
    pub(crate) fn count(&self) -> u64 {
        let words = self.statuses.iter().chain(&self.messages);
        words.map(|word| u64::from(word.count_ones())).sum()
    }

    /// Those that are not in the other set, of the same plan.
    pub(crate) fn without<'n>(&'n self, other: &'n Names) -> impl Iterator<Item = Name> + 'n {
        let of = |one: &'n [u64], other: &'n [u64]| {
            (0..)
                .zip(one.iter().zip(other))
                .flat_map(|(index, (one, other))| {
                    let left = one & !other;
                    (0..64)
                        .filter_map(move |bit| (left >> bit & 1 == 1).then_some(index * 64 + bit))
                })
        };
        let statuses = of(&self.statuses, &other.statuses).map(Name::Statuses);
        statuses.chain(of(&self.messages, &other.messages).map(Name::Message))
    }
}

/// The platform's own marks: the median that it wants, what it allows one of a hundred, and where 360dialog ends.
pub(crate) const MARKS: [(Duration, &str); 3] = [
    (Duration::from_millis(250), "250 ms"),
    (Duration::from_secs(1), "1 s"),
    (Duration::from_secs(5), "5 s"),
];

/// What is sent so much after it was due was not sent in time: the timer of the system is good for less.
const LATE: Duration = Duration::from_millis(2);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_200_has_a_time() {
        let mut ledger = Ledger::new(None);
        let post = Post {
            due: Duration::from_secs(1),
            name: Name::Message(0),
            kind: Kind::First,
        };
        let after = |millis: u64| Duration::from_millis(1000 + millis);
        ledger.answers(&post, 503, after(1));
        for millis in [250, 251, 5000, 9000] {
            ledger.answers(&post, 200, after(millis));
        }
        ledger.fails("closed before the answer".to_owned());
        assert_eq!((ledger.good(), ledger.bad()), (4, 2));
        assert_eq!(ledger.within, [1, 2, 3]);
        let near = ledger.times.at(500).abs_diff(Duration::from_millis(251));
        assert!(near < Duration::from_millis(1), "{near:?}");
        assert!(ledger.times.at(1000) >= Duration::from_secs(9));
    }

    #[test]
    fn it_is_the_generator_s_fault_only_if_a_connection_was_free() {
        let mut ledger = Ledger::new(None);
        let post = Post {
            due: Duration::from_secs(1),
            name: Name::Message(0),
            kind: Kind::First,
        };
        let now = Duration::from_secs(2);
        ledger.sends(&post, Duration::from_millis(1001), Duration::ZERO);
        assert_eq!((ledger.late, ledger.waited), (0, 0));
        ledger.sends(&post, now, Duration::from_millis(1500));
        ledger.sends(&post, now, Duration::from_millis(500));
        assert_eq!((ledger.late, ledger.waited, ledger.first), (1, 1, 3));
    }

    #[test]
    fn names_are_distinguished() {
        let plan = Plan {
            replies: 500_000,
            numbers: 12,
            time: Duration::from_secs(1),
            ..Plan::plain()
        };
        let (mut one, mut other) = (Names::none_of(&plan), Names::none_of(&plan));
        for number in [0, 63, 64, 299] {
            assert!(one.insert(Name::Statuses(number)));
            assert!(!one.insert(Name::Statuses(number)));
        }
        assert!(one.insert(Name::Message(49)) && !one.insert(Name::Message(1 << 40)));
        assert!(other.insert(Name::Statuses(63)) && other.insert(Name::Message(48)));
        assert_eq!((one.count(), other.count()), (5, 2));
        let left: Vec<_> = one.without(&other).collect();
        let statuses = [0, 64, 299].map(Name::Statuses);
        assert_eq!(left, [&statuses[..], &[Name::Message(49)]].concat());
    }
}
