//! More that fails than a cursor names, and what is behind it.

use super::{Replies, Reply, Setting, body, fill, in_order};
use crate::feed::OPEN_MAX;
use crate::sink::Statistics;
use crate::sink::dispatch::Unit;
use std::cell::Cell;

/// As many conversations as a cursor names, each with an item that fails for itself, filled their lane. Nothing behind
/// them was read any more, so nothing was ever taken, and no attempt counted: for ever.
#[test]
fn a_lane_that_is_full_of_what_fails_goes_on_one_by_one() {
    let setting = Setting {
        max_attempts: 3,
        ..Setting::new()
    };
    let crowd = OPEN_MAX + 100;
    for begin in (0..crowd).step_by(100) {
        let some: Vec<_> = (begin..begin + 100)
            .map(|it| body(10_000 + it, it))
            .collect();
        setting.bench.store_all(&some);
    }
    let behind = Cell::new(0);
    let done = |statistics: &Statistics| {
        if statistics.events.get() == 2 * behind.get() {
            let some: Vec<_> = (0..50)
                .map(|it| usize::try_from(behind.get()).unwrap() + it)
                .map(|it| body(20_000 + it % 7, 5000 + it))
                .collect();
            setting.bench.store_all(&some);
            behind.set(behind.get() + 50);
        }
        statistics.dead.get() > 0 && statistics.events.get() > 100
    };
    let poison: Box<Replies> = Box::new(|subject: &str, _: &str, _: u32| {
        if subject.starts_with("5:491") {
            Reply::Fail
        } else {
            Reply::Take
        }
    });
    setting.run_with(Unit::Event, poison, done).unwrap();
    let saved = setting.saved();
    assert!(saved.iter().all(|lane| lane.open.len() <= OPEN_MAX));
    assert_eq!(setting.statistics.unaccounted.get(), 0);
    in_order(&setting.taken);
}

/// The same for one conversation with so much behind its first item: all others stood still, too.
#[test]
fn one_long_conversation_that_fails_holds_up_no_other() {
    let setting = Setting::new();
    fill(&setting.bench, 1, OPEN_MAX + 200);
    let others: Vec<_> = (0..60).map(|it| body(1 + it % 3, 5000 + it)).collect();
    setting.bench.store_all(&others);
    let stuck = |subject: &str, _: u32| match subject {
        "5:490" => Reply::Fail,
        _ => Reply::Take,
    };
    let done = |statistics: &Statistics| statistics.events.get() == 120;
    setting.run(Unit::Event, stuck, done).unwrap();
    assert_eq!(in_order(&setting.taken).values().sum::<usize>(), 120);
    let saved = setting.saved();
    assert!(saved.iter().all(|lane| lane.open.len() <= OPEN_MAX));
    // What the cursor does not name comes again, and nothing is lost.
    let all = 2 * (OPEN_MAX as u64 + 200) + 120;
    let taken = |statistics: &Statistics| statistics.events.get() >= all;
    setting.run(Unit::Event, |_, _| Reply::Take, taken).unwrap();
    assert_eq!(
        setting.saved(),
        std::array::from_fn(|_| crate::feed::Progress::up_to(OPEN_MAX as u64 + 260))
    );
}
