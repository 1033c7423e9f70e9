//! What a sink that delivers one by one makes of replays.

use super::{Reply, Setting, fill};
use crate::event::Lane;
use crate::feed::{Replay, ReplayState, Replays};
use crate::sink::Statistics;
use crate::sink::dispatch::Unit;
use std::cell::Cell;
use std::collections::BTreeSet;

/// Delivers a message and a status in each of 100 notifications, and gives where a replay of them is asked for.
fn delivered(setting: &Setting) -> Replays {
    fill(&setting.bench, 20, 100);
    let all = |statistics: &Statistics| statistics.events.get() == 200;
    setting.run(Unit::Event, |_, _| Reply::Take, all).unwrap();
    setting.taken.lock().clear();
    Replays::open(setting.directory("replays"))
}

/// What a replay makes of the messages among them.
fn replayed(setting: &Setting, mut replay: Replay) -> Replay {
    let replays = delivered(setting);
    replay.types = vec!["whatsapp.message.*".to_owned()];
    replays.request(&mut replay).unwrap();
    let ended = |_: &Statistics| replays.read(&replay.id).unwrap().state.is_final();
    setting.run(Unit::Event, |_, _| Reply::Take, ended).unwrap();
    replays.read(&replay.id).unwrap()
}

#[test]
fn a_replay_delivers_again_what_it_asks_for() {
    let setting = Setting::new();
    let replay = replayed(&setting, Replay::new("crm", 11, 60, NOW));
    assert_eq!(replay.state, ReplayState::Done);
    assert_eq!(
        (replay.delivered, replay.skipped, replay.next),
        (50, 50, 61)
    );
    let taken = setting.taken.lock();
    assert_eq!(taken.len(), 50);
    assert!(taken.iter().all(|(_, lane, _)| *lane == Lane::Messages));
    assert_eq!(setting.statistics.replayed.get(), 50);
}

/// After a restart in the middle of a replay, what had been left out before it was forgotten.
#[test]
fn a_replay_goes_on_counting_after_a_restart() {
    let setting = Setting::new();
    let mut before = Replay::new("crm", 11, 60, NOW);
    before.state = ReplayState::Running;
    (before.next, before.delivered, before.skipped) = (31, 20, 20);
    let replay = replayed(&setting, before);
    assert_eq!(
        (replay.delivered, replay.skipped, replay.next),
        (50, 50, 61)
    );
    assert_eq!(setting.taken.lock().len(), 30);
}

/// A replay that stops in its middle goes on with what comes next, and leaves out nothing.
#[test]
fn a_slow_replay_leaves_out_nothing_at_restarts() {
    let setting = Setting::new();
    let replays = delivered(&setting);
    let mut replay = Replay::new("crm", 1, 100, NOW);
    replay.rate = 50;
    replays.request(&mut replay).unwrap();
    for life in 0..3 {
        let some = |statistics: &Statistics| statistics.replayed.get() > 10 + 50 * life;
        setting.run(Unit::Event, |_, _| Reply::Take, some).unwrap();
        let saved = replays.read(&replay.id).unwrap();
        assert_eq!(saved.state, ReplayState::Running, "{saved:?}");
    }
    let ended = |_: &Statistics| replays.read(&replay.id).unwrap().state.is_final();
    setting.run(Unit::Event, |_, _| Reply::Take, ended).unwrap();
    let taken = setting.taken.lock();
    let different: BTreeSet<_> = taken.iter().collect();
    assert_eq!(different.len(), 200, "of {} deliveries", taken.len());
}

/// After a start, until dedupe had taken up what it remembers, a replay found that nothing more was there, and was
/// done.
#[test]
fn a_replay_waits_until_all_of_it_is_decided() {
    let setting = Setting::new();
    let replays = delivered(&setting);
    let mut replay = Replay::new("crm", 1, 100, NOW);
    replays.request(&mut replay).unwrap();
    let decided = &setting.bench.decided;
    let last = decided.get();
    let (updated, count) = (Cell::new(0), Cell::new(0));
    let ended = |_: &Statistics| {
        let saved = replays.read(&replay.id).unwrap();
        if updated.replace(saved.updated) != saved.updated {
            count.set(count.get() + 1);
        }
        // Once as it was asked for, once when it was taken up, and then when it is looked at.
        decided.set(if count.get() > 3 { last } else { 0 });
        saved.state.is_final()
    };
    setting.run(Unit::Event, |_, _| Reply::Take, ended).unwrap();
    let ended = replays.read(&replay.id).unwrap();
    assert_eq!((ended.state, ended.delivered), (ReplayState::Done, 200));
    assert_eq!(setting.taken.lock().len(), 200);
}

const NOW: u64 = 1_750_000_000_000_000;
