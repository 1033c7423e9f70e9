//! A sink that delivers one by one, asked to end where it stands.

use super::{Reply, Setting, fill, in_order};
use crate::sink::dispatch::Unit;
use crate::sink::{Leave, Statistics};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

/// Runs until so much was taken, and asks it to leave then.
fn leaves_after(setting: &Setting, events: u64, reply: fn(&str, u32) -> Reply) {
    let leave = |statistics: &Statistics| {
        if statistics.events.get() + statistics.retries.get() >= events {
            setting.leave.ask();
        }
        false
    };
    setting.run(Unit::Event, reply, leave).unwrap();
}

/// Again and again it leaves with much before it, and another one goes on: each event is taken once, in order.
#[test]
fn who_goes_on_begins_where_the_other_one_has_left() {
    let mut setting = Setting::new();
    fill(&setting.bench, 7, 600);
    for events in [1, 50, 51, 400, 700] {
        setting.leave = Arc::new(Leave::new(Duration::from_mins(1)));
        leaves_after(&setting, events, |_, _| Reply::Take);
        assert!(
            setting.taken.lock().len() < 1200,
            "it does not wait for the rest"
        );
        assert_eq!(setting.statistics.unaccounted.get(), 0);
    }
    setting.leave = Arc::default();
    let all = |statistics: &Statistics| statistics.events.get() == 1200;
    setting.run(Unit::Event, |_, _| Reply::Take, all).unwrap();
    let taken = setting.taken.lock().len();
    let ids: BTreeSet<String> = setting.taken.lock().iter().map(|it| it.2.clone()).collect();
    assert_eq!((taken, ids.len()), (1200, 1200));
    in_order(&setting.taken);
    assert_eq!(setting.statistics.unaccounted.get(), 0);
}

/// What fails, and waits for its next attempt, is left to whoever goes on.
#[test]
fn what_fails_does_not_hold_it_up() {
    let mut setting = Setting::new();
    setting.leave = Arc::new(Leave::new(Duration::from_mins(1)));
    fill(&setting.bench, 7, 40);
    leaves_after(&setting, 5, |_, _| Reply::Fail);
    assert_eq!(setting.taken.lock().len(), 0);
    assert_eq!(setting.statistics.stopped.get(), 0);
    setting.leave = Arc::default();
    let all = |statistics: &Statistics| statistics.events.get() == 80;
    setting.run(Unit::Event, |_, _| Reply::Take, all).unwrap();
    assert_eq!(setting.taken.lock().len(), 80);
    in_order(&setting.taken);
}
