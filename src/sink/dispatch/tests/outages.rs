//! Receivers that are away, and items that are to blame themselves.

use super::{Replies, Reply, Setting, body, fill, in_order};
use crate::dead_letter::DeadLetters;
use crate::feed::{Progress, Replay, Replays};
use crate::log::captured;
use crate::sink::Statistics;
use crate::sink::dispatch::Unit;
use parking_lot::Mutex;
use std::cell::Cell;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Whether a receiver is away, and how often it was asked for what.
#[derive(Clone, Default)]
pub(super) struct Switch {
    is_away: Arc<AtomicBool>,
    asked: Arc<Mutex<BTreeMap<String, u32>>>,
}

impl Switch {
    /// Fails with everything while it is away, and always with what `is_poison` says of the `id`.
    pub(super) fn replies(&self, is_poison: fn(&str) -> bool) -> Box<Replies> {
        let switch = self.clone();
        Box::new(move |_, id, _| {
            *switch.asked.lock().entry(id.to_owned()).or_default() += 1;
            if is_poison(id) || switch.is_away() {
                Reply::Fail
            } else {
                Reply::Take
            }
        })
    }

    pub(super) fn is_away(&self) -> bool {
        self.is_away.load(Ordering::Relaxed)
    }

    pub(super) fn set(&self, is_away: bool) {
        self.is_away.store(is_away, Ordering::Relaxed);
    }
}

/// Three attempts, and a receiver that is away.
pub(super) fn outage() -> (Setting, Switch) {
    let setting = Setting {
        max_attempts: 3,
        ..Setting::new()
    };
    let switch = Switch::default();
    switch.set(true);
    (setting, switch)
}

pub(super) fn innocent(_: &str) -> bool {
    false
}

pub(super) fn dead_letters(setting: &Setting) -> usize {
    let letters = DeadLetters::open(setting.directory("letters")).unwrap();
    letters.list().unwrap().len()
}

/// Everything that was tried while a receiver was away became a dead letter when there were fewer than eight
/// conversations.
#[test]
fn an_outage_costs_one_conversation_one_dead_letter_at_most() {
    let (setting, switch) = outage();
    fill(&setting.bench, 1, 20);
    let done = |statistics: &Statistics| {
        if statistics.retries.get() > 60 {
            switch.set(false);
        }
        statistics.events.get() + statistics.dead.get() == 40
    };
    setting
        .run_with(Unit::Event, switch.replies(innocent), done)
        .unwrap();
    assert!(
        setting.statistics.dead.get() <= 1,
        "it came back just between two probes"
    );
    assert_eq!(dead_letters(&setting) as u64, setting.statistics.dead.get());
    in_order(&setting.taken);
    assert_eq!(setting.statistics.unaccounted.get(), 0);
}

#[test]
fn an_outage_costs_a_thousand_conversations_nothing() {
    for (batch, unit) in [(1, Unit::Event), (20, Unit::Event), (1, Unit::Notification)] {
        let (mut setting, switch) = outage();
        setting.batch = batch;
        fill(&setting.bench, 1000, 1000);
        let away = Cell::new(0);
        let done = |statistics: &Statistics| {
            away.set(away.get().max(statistics.away.get()));
            if statistics.retries.get() > 60 && away.get() > 0 {
                switch.set(false);
            }
            statistics.events.get() == 2000
        };
        setting
            .run_with(unit, switch.replies(innocent), done)
            .unwrap();
        assert_eq!(
            (setting.statistics.dead.get(), dead_letters(&setting)),
            (0, 0)
        );
        assert_eq!(in_order(&setting.taken).values().sum::<usize>(), 2000);
        assert_eq!(setting.statistics.unaccounted.get(), 0);
    }
}

/// Nobody can tell about an item with nothing behind it. It waits until somebody can.
#[test]
fn a_single_item_waits_until_another_one_tells() {
    let (setting, switch) = outage();
    switch.set(false);
    setting.bench.store_all(&[body(0, 0)]);
    let poison = |id: &str| id.contains("00000");
    let shown = Cell::new(false);
    let done = |statistics: &Statistics| {
        if statistics.retries.get() > 60 && statistics.away.get() == 1 && !shown.replace(true) {
            assert_eq!(statistics.dead.get(), 0);
            setting.bench.store_all(&[body(0, 1)]);
        }
        statistics.events.get() + statistics.dead.get() == 4
    };
    setting
        .run_with(Unit::Event, switch.replies(poison), done)
        .unwrap();
    assert!(shown.get());
    assert_eq!(
        (setting.statistics.dead.get(), dead_letters(&setting)),
        (2, 2)
    );
}

/// One item in the middle of a conversation is refused for ever, and there is nothing else: the next one tells.
#[test]
fn the_next_of_its_conversation_tells_that_an_item_is_to_blame() {
    let (setting, switch) = outage();
    switch.set(false);
    fill(&setting.bench, 1, 20);
    let poison = |id: &str| id.contains("00007");
    let done = |statistics: &Statistics| statistics.events.get() + statistics.dead.get() == 40;
    setting
        .run_with(Unit::Event, switch.replies(poison), done)
        .unwrap();
    assert_eq!(
        (setting.statistics.dead.get(), dead_letters(&setting)),
        (2, 2)
    );
    assert_eq!(in_order(&setting.taken).values().sum::<usize>(), 38);
    for (id, times) in &*switch.asked.lock() {
        let most = if poison(id) { 3..=5 } else { 1..=1 };
        assert!(most.contains(times), "{id}: {times}");
    }
    assert_eq!(setting.statistics.unaccounted.get(), 0);
}

/// While others are taken each failure counts: it is given up after just so many.
#[test]
fn what_fails_while_others_pass_is_given_up_after_so_many_attempts() {
    let (setting, switch) = outage();
    switch.set(false);
    setting.bench.store_all(&[body(0, 0)]);
    let others = Cell::new(0);
    let done = |statistics: &Statistics| {
        if statistics.dead.get() < 2 && statistics.events.get() == 2 * others.get() {
            others.set(others.get() + 1);
            let number = usize::try_from(others.get()).unwrap();
            setting.bench.store_all(&[body(1 + number % 5, number)]);
        }
        statistics.dead.get() == 2
    };
    let poison = |id: &str| id.contains("00000");
    setting
        .run_with(Unit::Event, switch.replies(poison), done)
        .unwrap();
    let letters = DeadLetters::open(setting.directory("letters")).unwrap();
    for one in letters.list().unwrap() {
        // Now and then nothing else is taken between two attempts, on a busy machine more often.
        let attempts = letters.read(one.item).unwrap().failures.attempts;
        assert!((3..=30).contains(&attempts), "{attempts}");
    }
    assert_eq!(setting.statistics.away.get(), 0);
}

/// "Not now" is never about the item, however many others are taken meanwhile.
#[test]
fn what_the_receiver_has_no_time_for_is_never_given_up() {
    let (setting, _) = outage();
    fill(&setting.bench, 20, 100);
    let others = Cell::new(0);
    let done = |statistics: &Statistics| {
        if statistics.retries.get() < 120 && statistics.events.get() >= 190 + 2 * others.get() {
            others.set(others.get() + 1);
            let number = usize::try_from(others.get()).unwrap();
            setting.bench.store_all(&[body(8, 1000 + number)]);
        }
        statistics.events.get() == 200 + 2 * others.get()
    };
    let busy = |subject: &str, attempt: u32| match subject {
        "5:497" if attempt < 60 => Reply::Busy,
        _ => Reply::Take,
    };
    setting.run(Unit::Event, busy, done).unwrap();
    assert!(others.get() > 3);
    assert_eq!(
        (setting.statistics.dead.get(), dead_letters(&setting)),
        (0, 0)
    );
}

/// Once more items had failed for themselves than wait for a slot, nothing behind them was read, so the receiver was
/// thought away for ever.
#[test]
fn many_items_that_are_to_blame_hold_up_nothing_behind_them() {
    let (setting, switch) = outage();
    switch.set(false);
    let many: Vec<_> = (0..60).map(|it| body(it, it)).collect();
    setting.bench.store_all(&many);
    let others = Cell::new(0);
    let done = |statistics: &Statistics| {
        if statistics.dead.get() < 120 && statistics.events.get() == 2 * others.get() {
            others.set(others.get() + 1);
            let number = 100 + usize::try_from(others.get()).unwrap();
            setting.bench.store_all(&[body(100 + number % 5, number)]);
        }
        statistics.dead.get() == 120
    };
    let poison = |id: &str| id.contains("wamid.000");
    setting
        .run_with(Unit::Event, switch.replies(poison), done)
        .unwrap();
    assert_eq!(dead_letters(&setting), 120);
    assert_eq!(setting.statistics.unaccounted.get(), 0);
}

#[test]
fn a_restart_in_an_outage_costs_nothing() {
    let (setting, switch) = outage();
    fill(&setting.bench, 3, 20);
    for _ in 0..5 {
        let before = setting.statistics.retries.get();
        let some = |statistics: &Statistics| statistics.retries.get() > before + 12;
        setting
            .run_with(Unit::Event, switch.replies(innocent), some)
            .unwrap();
        let saved = setting.saved();
        let open = saved.iter().flat_map(|lane| &lane.open);
        assert!(open.clone().any(|open| open.attempts > 0), "{saved:?}");
        assert!(open.clone().all(|open| open.counted == 0), "{saved:?}");
    }
    switch.set(false);
    let done = |statistics: &Statistics| statistics.events.get() == 40;
    setting
        .run_with(Unit::Event, switch.replies(innocent), done)
        .unwrap();
    assert_eq!(
        (setting.statistics.dead.get(), dead_letters(&setting)),
        (0, 0)
    );
    assert_eq!(in_order(&setting.taken).values().sum::<usize>(), 40);
}

/// Stopped in the middle of a body that had been given as a whole before, its cursor had named items twice and out of
/// order, and was refused at the next start.
#[test]
fn restarts_within_one_body_lose_and_repeat_nothing() {
    let (setting, switch) = outage();
    let statuses: Vec<String> = (0..300)
        .map(|it| {
            format!(
                r#"{{"id":"wamid.{it:05}","status":"sent","timestamp":"1","recipient_id":"49{it}"}}"#
            )
        })
        .collect();
    let body = format!(
        r#"{{"object":"whatsapp_business_account","entry":[{{"id":"1","changes":[{{"field":"messages","value":{{"metadata":{{"phone_number_id":"5"}},"statuses":[{}]}}}}]}}]}}"#,
        statuses.join(",")
    );
    setting.bench.store_all(&[body.into_bytes()]);
    for units in [Unit::Event, Unit::Notification, Unit::Event] {
        let open = || -> usize { setting.saved().iter().map(|lane| lane.open.len()).sum() };
        let asked = setting.statistics.retries.get();
        for more in [700, 5, 40] {
            let before = setting.statistics.retries.get();
            let some = |statistics: &Statistics| statistics.retries.get() >= before + more;
            setting
                .run_with(units, switch.replies(innocent), some)
                .unwrap();
            assert!((1..=300).contains(&open()));
        }
        assert!(setting.statistics.retries.get() > asked);
    }
    switch.set(false);
    let done = |statistics: &Statistics| statistics.events.get() == 300;
    setting
        .run_with(Unit::Event, switch.replies(innocent), done)
        .unwrap();
    let taken = in_order(&setting.taken);
    assert!(taken.len() == 300 && taken.values().all(|times| *times == 1));
}

/// What counts is kept over a restart.
#[test]
fn what_has_counted_counts_after_a_restart() {
    let (setting, _) = outage();
    setting.bench.store_all(&[body(0, 0)]);
    let reply = |subject: &str, _: u32| match subject {
        "5:490" => Reply::Reject,
        _ => Reply::Take,
    };
    let dead = |statistics: &Statistics| statistics.dead.get() == 2;
    for life in 1..=3 {
        let tried = |statistics: &Statistics| statistics.retries.get() >= 2 * life;
        setting.run(Unit::Event, reply, tried).unwrap();
    }
    setting.run(Unit::Event, reply, dead).unwrap();
    assert!(setting.statistics.retries.get() <= 8);
}

#[test]
fn an_outage_costs_replays_and_dead_letters_nothing() {
    let (setting, switch) = outage();
    fill(&setting.bench, 3, 20);
    let refuse = |_: &str, _: u32| Reply::Reject;
    let dead = |statistics: &Statistics| statistics.dead.get() == 40;
    setting.run(Unit::Event, refuse, dead).unwrap();
    let letters = DeadLetters::open(setting.directory("letters")).unwrap();
    for one in letters.list().unwrap() {
        letters.request_retry(one.item).unwrap();
    }
    let replays = Replays::open(setting.directory("replays"));
    let mut replay = Replay::new("crm", 1, 20, 1_750_000_000_000_000);
    replays.request(&mut replay).unwrap();
    let before = setting.statistics.retries.get();
    let done = |statistics: &Statistics| {
        if statistics.retries.get() > before + 100 {
            switch.set(false);
        }
        let letters = letters.list().unwrap();
        let is_done = replays.read(&replay.id).unwrap().state.is_final();
        is_done && letters.iter().all(|letter| !letter.retry)
    };
    setting
        .run_with(Unit::Event, switch.replies(innocent), done)
        .unwrap();
    let replay = replays.read(&replay.id).unwrap();
    assert_eq!(replay.delivered + replay.failed, 40);
    // One at most, if the receiver came back just between two probes.
    let left = letters.list().unwrap().len() as u64;
    assert!(replay.failed <= left && left <= 1, "{replay:?}, {left}");
    assert!(setting.statistics.dead_letters.get() + left >= 40);
    assert_eq!(setting.statistics.unaccounted.get(), 0);
}

/// A letter for which there is no room is written when there is, and nothing is lost meanwhile.
#[test]
fn a_dead_letter_that_cannot_be_written_is_none_yet() {
    let setting = Setting {
        max_attempts: 2,
        ..Setting::new()
    };
    setting.bench.store_all(&[body(0, 0)]);
    // A directory where the letter is to be written.
    let letters = setting.dir.path().join("letters");
    let in_its_way = ["1.0.json", "1.1.json"].map(|name| letters.join(name));
    let blocked = in_its_way.clone();
    let reject: Box<Replies> = Box::new(move |_, _, _| {
        for path in &blocked {
            let _ = std::fs::create_dir(path);
        }
        Reply::Reject
    });
    let tried = |statistics: &Statistics| statistics.retries.get() > 30;
    setting.run_with(Unit::Event, reject, tried).unwrap();
    let statistics = &setting.statistics;
    assert_eq!((statistics.dead.get(), statistics.events.get()), (0, 0));
    let saved = setting.saved();
    assert_eq!(
        (saved[0].open.len(), saved[1].open.len()),
        (1, 1),
        "{saved:?}"
    );
    for path in &in_its_way {
        std::fs::remove_dir(path).unwrap();
    }
    let dead = |statistics: &Statistics| statistics.dead.get() == 2;
    setting
        .run(Unit::Event, |_, _| Reply::Reject, dead)
        .unwrap();
    assert_eq!(dead_letters(&setting), 2);
    assert_eq!(statistics.unaccounted.get(), 0);
}

/// What is refused for ever while others are taken becomes a dead letter, its conversation goes on, and whoever puts
/// the receiver right has it delivered after all.
#[test]
fn what_is_tried_too_often_is_a_dead_letter_until_it_is_retried() {
    let setting = Setting {
        max_attempts: 3,
        ..Setting::new()
    };
    fill(&setting.bench, 20, 100);
    let stuck = |subject: &str, _: u32| {
        if subject == "5:497" {
            Reply::Fail
        } else {
            Reply::Take
        }
    };
    let others = Cell::new(0);
    let is_dead = |statistics: &Statistics| {
        let delivered = 190 + 2 * others.get() as u64;
        if statistics.events.get() < delivered {
            return false;
        }
        if statistics.dead.get() < 10 {
            // The receiver takes others all the time.
            setting.bench.store_all(&[body(8, 1000 + others.get())]);
            others.set(others.get() + 1);
            return false;
        }
        true
    };
    setting.run(Unit::Event, stuck, is_dead).unwrap();
    let (others, all) = (others.get(), 100 + others.get() as u64);
    assert_eq!(
        setting.saved(),
        std::array::from_fn(|_| Progress::up_to(all))
    );
    let letters = DeadLetters::open(setting.directory("letters")).unwrap();
    let listed = letters.list().unwrap();
    assert_eq!(listed.len(), 10);
    for one in &listed {
        let letter = letters.read(one.item).unwrap();
        assert!(letter.failures.attempts >= 3);
        assert_eq!(&*letter.endpoint, "/webhook");
        assert_eq!(letter.subject.as_deref(), Some("5:497"));
        letters.request_retry(one.item).unwrap();
    }
    let done = |statistics: &Statistics| statistics.dead_letters.get() == 10;
    // What was retried with success was in no line.
    let log = captured(|| setting.run(Unit::Event, |_, _| Reply::Take, done).unwrap());
    assert_eq!(log.matches("delivered after all").count(), 2, "{log}");
    assert!(
        log.contains("times=1 item=") && log.contains("times=9"),
        "{log}"
    );
    assert!(letters.list().unwrap().is_empty());
    // In order among themselves, too.
    let taken = in_order(&setting.taken).values().sum::<usize>();
    assert_eq!(taken, 200 + 2 * others);
    assert_eq!(
        setting.statistics.events.get(),
        190 + 2 * others as u64,
        "a letter is no event of a lane"
    );
    assert_eq!(setting.statistics.unaccounted.get(), 0);
}
