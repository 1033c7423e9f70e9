//! Replays to a stream.

use super::super::PAUSE_MIN;
use super::{Memory, Setting};
use crate::feed::{Replay, ReplayState, Replays};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant};

pub(super) fn until(what: &str, holds: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_mins(2);
    while !holds() {
        assert!(Instant::now() < deadline, "{what}");
        thread::sleep(PAUSE_MIN / 20);
    }
}

/// Delivers everything up to sequence `last`, and asks for what is from `from` to `to` once more.
fn asked(setting: &Setting, last: u64, (from, to): (u64, u64), rate: u32) -> (Replay, Replays) {
    let all: Vec<u64> = (1..=last).collect();
    assert_eq!(setting.drain(Memory::default()), all);
    let mut asked = Replay::new("memory", from, to, 1_750_000_000_000_000);
    asked.rate = rate;
    let replays = setting.replays();
    replays.request(&mut asked).unwrap();
    setting.stop.store(false, Ordering::Relaxed);
    (asked, replays)
}

/// A replay goes out beside what comes, from the first to the last that was asked for, and says how far it is.
#[test]
fn what_is_asked_for_once_more_goes_out_once_more() {
    let setting = Setting::new();
    setting.bench.store(6);
    let (asked, replays) = asked(&setting, 6, (2, 4), 0);
    let (_live, feed) = setting.bench.feed(7);
    let runner = setting.runner(feed);
    let mut sink = Memory {
        failures: 1,
        ..Memory::default()
    };
    let kept = Arc::clone(&sink.kept);
    let running = thread::spawn(move || runner.run(&mut sink));
    until("it ends", || {
        replays.read(&asked.id).unwrap().state.is_final()
    });
    setting.stop.store(true, Ordering::Relaxed);
    running.join().unwrap().unwrap();
    assert_eq!(*kept.lock(), [2, 3, 4]);
    let ended = replays.read(&asked.id).unwrap();
    assert_eq!(
        (ended.state, ended.delivered, ended.skipped, ended.next),
        (ReplayState::Done, 3, 0, 5),
        "what lies behind the end is not left out: nobody has asked for it"
    );
    assert_eq!(
        (setting.unaccounted(), setting.cursor().confirmed()),
        (0, 6)
    );
}

/// When the end of a replay could not be saved, the thread tried again at once, without end.
#[test]
fn a_replay_whose_end_finds_no_space_waits_for_it() {
    let setting = Setting::new();
    for _ in 0..3 {
        setting.bench.store(1);
    }
    // One a second, so that there is time to fill the disk before it ends.
    let (asked, replays) = asked(&setting, 3, (1, 3), 1);
    let (_live, feed) = setting.bench.feed(4);
    let runner = setting.runner(feed);
    let mut sink = Memory::default();
    let (kept, confirmations) = (Arc::clone(&sink.kept), Arc::clone(&sink.confirmations));
    let running = thread::spawn(move || runner.run(&mut sink));
    let state = || replays.read(&asked.id).unwrap().state;
    until("it begins", || state() == ReplayState::Running);
    setting.full.store(true, Ordering::Relaxed);
    until("all is delivered", || kept.lock().len() == 3);
    let before = confirmations.load(Ordering::Relaxed);
    thread::sleep(Duration::from_secs(2));
    let tries = confirmations.load(Ordering::Relaxed) - before;
    assert!(tries <= 20, "it tries now and then: {tries}");
    setting.full.store(false, Ordering::Relaxed);
    until("it ends when there is space", || {
        state() == ReplayState::Done
    });
    setting.stop.store(true, Ordering::Relaxed);
    running.join().unwrap().unwrap();
    assert_eq!(*kept.lock(), [1, 2, 3], "nothing went out again");
}

/// After a start, until dedupe had taken up what it remembers, a replay found that nothing more was there, and was
/// done; and one of which nothing went out did not see that it was cancelled.
#[test]
fn a_replay_waits_until_all_of_it_is_decided_and_may_be_cancelled_meanwhile() {
    for is_cancelled in [false, true] {
        let setting = Setting::new();
        setting.bench.store(6);
        let (asked, replays) = asked(&setting, 6, (2, 4), 0);
        let (_live, feed) = setting.bench.feed(7);
        let runner = setting.runner(feed);
        let mut sink = Memory::default();
        let (kept, confirmations) = (Arc::clone(&sink.kept), Arc::clone(&sink.confirmations));
        setting.bench.decided.set(0);
        let running = thread::spawn(move || runner.run(&mut sink));
        let state = || replays.read(&asked.id).unwrap().state;
        // Saved more than once, and so looked at.
        until("it looks", || confirmations.load(Ordering::Relaxed) > 2);
        assert_eq!((state(), kept.lock().len()), (ReplayState::Running, 0));
        let expected = if is_cancelled {
            replays.cancel(&asked.id).unwrap();
            ReplayState::Cancelled
        } else {
            setting.bench.decided.set(6);
            ReplayState::Done
        };
        until("it ends", || state().is_final());
        assert_eq!(state(), expected);
        let all: &[u64] = if is_cancelled { &[] } else { &[2, 3, 4] };
        assert_eq!(*kept.lock(), all);
        setting.stop.store(true, Ordering::Relaxed);
        running.join().unwrap().unwrap();
    }
}
