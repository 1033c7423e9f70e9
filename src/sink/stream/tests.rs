mod leaving;
mod replays;

use super::{
    Confirmation, CursorSaver, Leave, PAUSE_MIN, Runner, Running, Sink, SinkError, SinkReplays,
    Statistics,
};
use crate::disk::{Access, Disk, Guard, Identity, LockError, Storage, StorageFile};
use crate::event::Pattern;
use crate::feed::tests::Bench;
use crate::feed::{Cursor, Cursors, Decided, Feed, Replays, RetentionHolds, Selection, Tally};
use crate::journal::JournalId;
use crate::log::captured;
use crate::metrics::Counter;
use crate::worker::{EventBatch, Extraction, Live};
use parking_lot::Mutex;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// Keeps the sequences of what is confirmed, and forgets the rest when a confirmation fails.
#[derive(Default)]
struct Memory {
    kept: Arc<Mutex<Vec<u64>>>,
    unconfirmed: Vec<u64>,
    confirmations: Arc<AtomicU64>,
    /// Confirmations that fail before one works.
    failures: u32,
    /// Every delivery is one event short of what it should be, and does not say so.
    skips: bool,
    /// What comes waits in `held` until it is flushed.
    gathers: bool,
    held: Vec<u64>,
}

impl Sink for Memory {
    fn deliver(
        &mut self,
        delivery: &EventBatch,
        from: u64,
        wanted: &Selection,
    ) -> io::Result<Tally> {
        let mut tally = Tally::default();
        for notification in delivery.notifications(from) {
            if wanted.of(&notification, &mut tally).count() > 0 {
                self.held.push(notification.sequence);
            }
        }
        tally.wanted -= u64::from(self.skips);
        if !self.gathers {
            self.flush()?;
        }
        Ok(tally)
    }

    fn holds_back(&self) -> bool {
        !self.held.is_empty()
    }

    fn flush(&mut self) -> io::Result<()> {
        self.unconfirmed.append(&mut self.held);
        Ok(())
    }

    fn confirm(&mut self) -> io::Result<()> {
        self.confirmations.fetch_add(1, Ordering::Relaxed);
        if self.failures > 0 {
            self.failures -= 1;
            self.unconfirmed.clear();
            return Err(io::Error::other("a disk that is going"));
        }
        self.kept.lock().append(&mut self.unconfirmed);
        Ok(())
    }

    fn confirmation(&self) -> Confirmation {
        Confirmation::Memory
    }
}

/// A directory that can be full.
#[derive(Debug)]
struct Narrow {
    disk: Disk,
    full: Arc<AtomicBool>,
}

impl Narrow {
    fn check_room(&self) -> io::Result<()> {
        if self.full.load(Ordering::Relaxed) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        Ok(())
    }
}

impl Storage for Narrow {
    fn list(&self) -> io::Result<Vec<String>> {
        self.disk.list()
    }
    fn create(&self, name: &str) -> io::Result<Box<dyn StorageFile>> {
        self.disk.create(name)
    }
    fn replace_by(
        &self,
        name: &str,
        most: u64,
        content: &mut dyn FnMut(usize) -> Vec<u8>,
    ) -> io::Result<()> {
        self.check_room()?;
        self.disk.replace_by(name, most, content)
    }
    fn exchange(&self, one: &str, other: &str) -> io::Result<()> {
        self.disk.exchange(one, other)
    }
    /// What nobody can look at is made anew, for which there is no room either.
    fn identity(&self, name: &str) -> io::Result<Option<Identity>> {
        self.check_room()?;
        self.disk.identity(name)
    }
    fn now(&self) -> u64 {
        self.disk.now()
    }
    fn monotonic(&self) -> Duration {
        self.disk.monotonic()
    }
    fn open(&self, name: &str, access: Access) -> io::Result<Box<dyn StorageFile>> {
        self.disk.open(name, access)
    }
    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.disk.rename(from, to)
    }
    fn remove(&self, name: &str) -> io::Result<()> {
        self.disk.remove(name)
    }
    fn sync(&self) -> io::Result<()> {
        self.disk.sync()
    }
    fn lock(&self, name: &str, holder: &str) -> Result<Guard, LockError> {
        self.disk.lock(name, holder)
    }
    fn describe(&self, name: &str) -> String {
        self.disk.describe(name)
    }
}

/// A runner over a journal, whose cursor lies in a directory of its own.
struct Setting {
    bench: Bench,
    dir: tempfile::TempDir,
    full: Arc<AtomicBool>,
    statistics: Arc<Statistics>,
    stop: Arc<AtomicBool>,
    leave: Arc<Leave>,
}

impl Setting {
    fn new() -> Setting {
        Setting {
            bench: Bench::new(),
            dir: tempfile::tempdir().unwrap(),
            full: Arc::default(),
            statistics: Arc::default(),
            stop: Arc::default(),
            leave: Arc::default(),
        }
    }

    fn directory(&self, name: &str) -> Arc<dyn Storage> {
        Arc::new(Narrow {
            disk: Disk::create(&self.dir.path().join(name)).unwrap(),
            full: Arc::clone(&self.full),
        })
    }

    fn cursor(&self) -> Cursor {
        let storage = self.directory("cursors");
        let journal = JournalId::parse("1").unwrap();
        let last = self.bench.status.durable();
        let cursors = Cursors::open(storage, journal, last, RetentionHolds::new(Arc::default()));
        cursors.unwrap().0.of("memory").unwrap()
    }

    fn replays(&self) -> Replays {
        Replays::open(self.directory("replays"))
    }

    fn runner(&self, feed: Feed<Decided>) -> Runner {
        Runner {
            feed,
            replays: Some(SinkReplays::new(
                "memory",
                self.replays(),
                self.bench.feeds(),
            )),
            wanted: Selection::default(),
            cursor: CursorSaver::new(self.cursor()),
            statistics: Arc::clone(&self.statistics),
            stop: Arc::clone(&self.stop),
            leave: Arc::clone(&self.leave),
        }
    }

    /// Delivers everything that is durable, and gives what the sink has kept.
    fn drain(&self, mut sink: Memory) -> Vec<u64> {
        let (_live, feed) = self.bench.feed(self.cursor().confirmed() + 1);
        self.drain_from(feed, &mut sink);
        std::mem::take(&mut *sink.kept.lock())
    }

    fn drain_from(&self, feed: Feed<Decided>, sink: &mut Memory) {
        self.stop.store(true, Ordering::Relaxed);
        self.runner(feed).run(sink).unwrap();
    }

    fn unaccounted(&self) -> u64 {
        self.statistics.unaccounted.get()
    }
}

/// Offers `deliveries` and lets the runner go to the end.
fn offer(live: &Live<Arc<EventBatch>>, deliveries: impl IntoIterator<Item = EventBatch>) {
    for delivery in deliveries {
        assert!(live.offer(Arc::new(delivery)));
    }
}

/// A file sink's `fdatasync` failed, and was tried again until it worked. But the system had dropped what it could not
/// write and reported that only once: the second sync had nothing left to do, and the cursor passed what was not there.
#[test]
fn what_a_failed_confirmation_leaves_open_is_delivered_again() {
    let setting = Setting::new();
    setting.bench.store(3);
    setting.bench.store(2);
    let sink = Memory {
        failures: 2,
        ..Memory::default()
    };
    assert_eq!(setting.drain(sink), [1, 2, 3, 4, 5]);
    assert_eq!(setting.cursor().confirmed(), 5);
    assert_eq!(setting.statistics.retries.get(), 2);
    assert_eq!(setting.unaccounted(), 0, "what comes again is no mistake");
    setting.bench.store(2);
    assert_eq!(
        setting.drain(Memory::default()),
        [6, 7],
        "and nothing twice"
    );
}

/// What a sink keeps is counted once it is written, which is before the sink waits, is confirmed, or ends.
#[test]
fn what_a_sink_keeps_does_not_wait_for_what_may_never_come() {
    let setting = Setting::new();
    setting.bench.store(3);
    let next = Extraction::new().make(setting.bench.store(2));
    let gathering = || Memory {
        gathers: true,
        ..Memory::default()
    };
    let (_live, feed) = setting.bench.feed(4);
    let mut sink = gathering();
    let mut running = Running::new(setting.runner(feed), &mut sink);
    assert!(!running.wait(false).is_zero());
    running.deliver(&next).unwrap();
    let counted = || {
        (
            setting.statistics.events.get(),
            setting.statistics.delivered.get(),
        )
    };
    assert_eq!((counted(), running.wait(false)), ((0, 0), Duration::ZERO));
    running.flush().unwrap();
    assert_eq!(counted(), (2, 5));
    assert!(!running.wait(false).is_zero());
    assert_eq!(setting.drain(gathering()), [1, 2, 3, 4, 5]);
    assert_eq!((counted(), setting.cursor().confirmed()), ((7, 5), 5));
}

/// A file could not be written, and only the log said so.
#[test]
fn what_cannot_be_written_shows_until_it_can() {
    let setting = Setting::new();
    setting.bench.store(3);
    let (_live, feed) = setting.bench.feed(1);
    let mut sink = Memory::default();
    let mut running = Running::new(setting.runner(feed), &mut sink);
    let mut attempts = 0;
    let (away, health) = (&setting.statistics.away, &setting.statistics.health);
    // That it could be written again was in no line.
    let log = captured(|| {
        let written = running.retry(|_| {
            attempts += 1;
            if attempts == 1 {
                assert_eq!(away.get(), 0);
                return Err(io::Error::other("no space"));
            }
            assert_eq!(away.get(), 1);
            let view = health.view();
            assert!(view.failing.is_some());
            let reason = view.last_failure.map(|(_, reason)| reason);
            assert_eq!(reason.as_deref(), Some("no space"));
            Ok(())
        });
        written.unwrap();
    });
    assert!(log.contains("a delivery to the sink has failed"), "{log}");
    assert!(log.contains("deliveries to the sink work again"), "{log}");
    assert_eq!((away.get(), health.failing()), (0, None));
    let sink = Memory {
        failures: 2,
        ..Memory::default()
    };
    assert_eq!(setting.drain(sink), [1, 2, 3]);
    assert_eq!((away.get(), health.failing()), (0, None));
}

/// Behind what it had delivered the journal was damaged. The sink stopped without saving its cursor, so each start
/// delivered the same events once more; and but for a line in the log, nobody saw that it had stopped.
#[test]
fn a_sink_that_comes_to_damage_keeps_what_it_has_done() {
    let setting = Setting::new();
    setting.bench.store(3);
    setting.bench.store(2);
    setting.bench.damage(8192);
    let (_live, feed) = setting.bench.feed(1);
    let error = setting.runner(feed).run(&mut Memory::default());
    assert!(matches!(error, Err(SinkError::Feed(_))), "{error:?}");
    assert_eq!(setting.cursor().confirmed(), 3);
    assert_eq!(setting.statistics.stopped.get(), 1);
}

/// The disk of the journal was full; the cursor could not be saved, and the sink stopped for good,
/// while the journal waited for it to release segments.
#[test]
fn a_full_disk_stops_no_sink() {
    let log = captured(fills_up_and_has_room_again);
    // The end of that had no line.
    assert!(
        log.contains("there is no space for the cursor of the sink"),
        "{log}"
    );
    assert!(
        log.contains("the cursor of the sink is saved again"),
        "{log}"
    );
}

fn fills_up_and_has_room_again() {
    let setting = Setting::new();
    let (live, feed) = setting.bench.feed(1);
    let runner = setting.runner(feed);
    setting.full.store(true, Ordering::Relaxed);
    let log = tracing::dispatcher::get_default(Clone::clone);
    let running = thread::spawn(move || {
        tracing::dispatcher::with_default(&log, || runner.run(&mut Memory::default()))
    });
    let until = |what: &str, condition: &dyn Fn() -> bool| {
        let deadline = Instant::now() + Duration::from_secs(20);
        while !condition() {
            assert!(Instant::now() < deadline, "{what}");
            thread::sleep(PAUSE_MIN / 20);
        }
    };
    let make = |count| Extraction::new().make(setting.bench.store(count));
    offer(&live, [make(1)]);
    until("it tries to save its cursor", &|| {
        setting.statistics.retries.get() > 0
    });
    offer(&live, [make(1)]);
    until("it delivers on", &|| {
        setting.statistics.delivered.get() == 2
    });
    setting.full.store(false, Ordering::Relaxed);
    setting.stop.store(true, Ordering::Relaxed);
    running.join().unwrap().unwrap();
    assert_eq!(setting.cursor().confirmed(), 2);
}

/// What a sink did not ask for, and what has come before, moves the cursor without a delivery, and the books balance.
#[test]
fn what_is_not_wanted_is_passed_over() {
    let setting = Setting::new();
    let (live, feed) = setting.bench.feed(1);
    let make = || Extraction::new().make(setting.bench.store(1));
    let (mut second, third) = (make(), make());
    second.mark_duplicate(0);
    offer(&live, [second, third]);
    let mut runner = setting.runner(feed);
    setting.stop.store(true, Ordering::Relaxed);
    let mut sink = Memory::default();
    let kept = Arc::clone(&sink.kept);
    runner.wanted.types = vec![Pattern::new("whatsapp.empty")];
    runner.run(&mut sink).unwrap();
    assert_eq!(*kept.lock(), [2]);

    setting.bench.store(1);
    let (_live, feed) = setting.bench.feed(3);
    let mut runner = setting.runner(feed);
    runner.wanted.types = vec![Pattern::new("whatsapp.message.*")];
    runner.run(&mut sink).unwrap();
    assert_eq!(*kept.lock(), [2]);
    assert_eq!(setting.cursor().confirmed(), 3);
    let statistics = &setting.statistics;
    let books = [
        &statistics.events,
        &statistics.duplicates,
        &statistics.unwanted,
    ];
    assert_eq!(books.map(Counter::get), [1, 1, 1]);
    assert_eq!(setting.unaccounted(), 0);
}

#[test]
fn an_event_that_is_lost_on_the_way_is_unaccounted() {
    let setting = Setting::new();
    let (live, feed) = setting.bench.feed(1);
    let mut deliveries: Vec<_> = (0..3)
        .map(|_| Extraction::new().make(setting.bench.store(2)))
        .collect();
    deliveries[1].lose_an_event();
    offer(&live, deliveries);
    setting.drain_from(feed, &mut Memory::default());
    assert_eq!(setting.unaccounted(), 1);
}

#[test]
fn an_event_that_the_sink_leaves_out_is_unaccounted() {
    let setting = Setting::new();
    setting.bench.store(4);
    let sink = Memory {
        skips: true,
        ..Memory::default()
    };
    setting.drain(sink);
    assert_eq!(setting.unaccounted(), 1);
}

#[test]
fn sequences_that_a_feed_passes_over_are_unaccounted() {
    let setting = Setting::new();
    setting.bench.store(2);
    let next = Extraction::new().make(setting.bench.store(1));
    let (_live, feed) = setting.bench.feed(1);
    let mut sink = Memory::default();
    let mut running = Running::new(setting.runner(feed), &mut sink);
    running.deliver(&next).unwrap();
    assert_eq!(setting.unaccounted(), 2);
}
