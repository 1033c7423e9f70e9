//! A stream that is asked to end where it stands.

use super::replays::until;
use super::{Memory, Setting, offer};
use crate::sink::SinkError;
use crate::worker::Extraction;
use std::sync::Arc;
use std::thread;

/// It ends where it stands: what was delivered is confirmed and saved, what is behind that is for whoever goes on.
#[test]
fn who_is_to_leave_begins_nothing_more() {
    let setting = Setting::new();
    let (live, feed) = setting.bench.feed(1);
    let make = |count| Extraction::new().make(setting.bench.store(count));
    offer(&live, [make(2)]);
    let runner = setting.runner(feed);
    let mut sink = Memory::default();
    let kept = Arc::clone(&sink.kept);
    let running = thread::spawn(move || runner.run(&mut sink));
    until("it delivers", || setting.statistics.delivered.get() == 2);
    setting.leave.ask();
    running.join().unwrap().unwrap();
    assert_eq!(
        (setting.cursor().confirmed(), &kept.lock()[..]),
        (2, &[1, 2][..])
    );
    make(3);
    let (_live, feed) = setting.bench.feed(3);
    setting.runner(feed).run(&mut Memory::default()).unwrap();
    assert_eq!(setting.cursor().confirmed(), 2);
    assert_eq!(setting.statistics.stopped.get(), 0);
}

/// It does not wait for a target that is away, and that is no reason to call it stopped.
#[test]
fn who_is_to_leave_does_not_wait_for_its_target() {
    let setting = Setting::new();
    let (live, feed) = setting.bench.feed(1);
    offer(&live, [Extraction::new().make(setting.bench.store(2))]);
    let runner = setting.runner(feed);
    let mut sink = Memory {
        failures: u32::MAX,
        ..Memory::default()
    };
    let running = thread::spawn(move || runner.run(&mut sink));
    until("it fails", || setting.statistics.retries.get() > 0);
    setting.leave.ask();
    let ended = running.join().unwrap();
    assert!(matches!(ended, Err(SinkError::Unfinished(_))), "{ended:?}");
    assert_eq!(
        (
            setting.cursor().confirmed(),
            setting.statistics.stopped.get()
        ),
        (0, 0)
    );
}
