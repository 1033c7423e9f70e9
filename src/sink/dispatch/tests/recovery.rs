//! Receivers that come back, and what the log says of both.

use super::outages::{Switch, dead_letters, innocent, outage};
use super::{Setting, body, fill, in_order};
use crate::log::captured;
use crate::sink::Statistics;
use crate::sink::dispatch::{Backoff, Unit};
use std::time::Duration;

/// With pauses that no test waits for.
fn long_outage() -> (Setting, Switch) {
    let (mut setting, switch) = outage();
    setting.backoff = Backoff {
        min: Duration::from_hours(1),
        max: Duration::from_hours(1),
    };
    (setting, switch)
}

/// A receiver was back, and took what was new; what had failed meanwhile waited for its own pause, which may be
/// minutes.
#[test]
fn once_anything_is_taken_again_what_waited_for_that_goes_at_once() {
    for (batch, unit) in [(1, Unit::Event), (20, Unit::Event), (1, Unit::Notification)] {
        let (mut setting, switch) = long_outage();
        setting.batch = batch;
        fill(&setting.bench, 3, 40);
        let done = |statistics: &Statistics| {
            let failing = statistics.health.failing();
            if failing.is_some_and(|it| it > Duration::from_secs(2)) && switch.is_away() {
                switch.set(false);
                setting.bench.store_all(&[body(77, 9000)]);
            }
            statistics.events.get() == 82
        };
        setting
            .run_with(unit, switch.replies(innocent), done)
            .unwrap();
        assert_eq!(in_order(&setting.taken).values().sum::<usize>(), 82);
        assert_eq!(
            (setting.statistics.dead.get(), dead_letters(&setting)),
            (0, 0)
        );
        assert_eq!(setting.statistics.health.failing(), None);
    }
}

/// With nothing new to try it with, a receiver was tried again when its one conversation's pause was over.
#[test]
fn a_single_conversation_is_tried_before_its_long_pause_is_over() {
    let (setting, switch) = long_outage();
    fill(&setting.bench, 1, 20);
    let done = |statistics: &Statistics| {
        switch.set(statistics.retries.get() < 2);
        statistics.events.get() == 40
    };
    setting
        .run_with(Unit::Event, switch.replies(innocent), done)
        .unwrap();
    assert_eq!(in_order(&setting.taken).values().sum::<usize>(), 40);
}

/// A receiver answered 500 for minutes to a few conversations: nothing in the log said so, nor that it was over.
#[test]
fn a_few_conversations_that_fail_are_logged_and_that_they_work_again() {
    let log = captured(|| {
        let (mut setting, switch) = outage();
        setting.max_attempts = u32::MAX;
        fill(&setting.bench, 2, 20);
        let done = |statistics: &Statistics| {
            switch.set(statistics.retries.get() < 30);
            statistics.events.get() == 40
        };
        setting
            .run_with(Unit::Event, switch.replies(innocent), done)
            .unwrap();
        let last = setting.statistics.health.view().last_failure;
        assert_eq!(last.map(|it| it.1).as_deref(), Some("a test"));
    });
    let lines: Vec<&str> = log
        .lines()
        .filter(|it| it.contains("sink=\"crm\""))
        .collect();
    assert!(
        lines[0].contains("WARN") && lines[0].contains("reason=\"a test\""),
        "{log}"
    );
    let works = |line: &&&str| line.contains("deliveries to the sink work again");
    assert_eq!(lines.iter().filter(works).count(), 1, "{log}");
}
