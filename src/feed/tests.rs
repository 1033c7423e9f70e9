use super::{CLOSED_PAUSE, Decided, DecidedPosition, Durable, Feed, Feeds, RecentBatches};
use crate::disk::{Disk, Storage};
use crate::journal::batch::{Batch, Seal};
use crate::journal::{DurablePosition, Journal, Options, Status};
use crate::relay;
use crate::relay::Room;
use crate::worker::{self, EventBatch, Extraction, Inbox, Live, Worker};
use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// A batch of these bodies, as if the first had been given that sequence.
pub(crate) fn batch(first_sequence: u64, bodies: &[impl AsRef<[u8]>]) -> Batch {
    let mut batch = unsealed(bodies);
    batch.seal(&Seal {
        epoch: 1,
        salt: 0,
        first_sequence,
        committed_at: 0,
        durable: 0,
    });
    batch
}

fn unsealed(bodies: &[impl AsRef<[u8]>]) -> Batch {
    let mut batch = Batch::unpooled();
    for body in bodies {
        let body = body.as_ref();
        batch.append(1, 0, 1_750_000_000_000_000, std::iter::empty(), body);
    }
    batch
}

/// A journal on a real disk, whose committer hands every durable batch to the test.
pub(crate) struct Bench {
    dir: tempfile::TempDir,
    storage: Arc<dyn Storage>,
    pub(crate) status: Arc<Status>,
    pub(crate) decided: Arc<DecidedPosition>,
    commit: Option<relay::Sender<Batch>>,
    durable: crossbeam_channel::Receiver<Batch>,
    threads: Vec<JoinHandle<()>>,
}

impl Bench {
    pub(crate) fn new() -> Bench {
        Bench::on(tempfile::tempdir().unwrap())
    }

    fn on(dir: tempfile::TempDir) -> Bench {
        let storage: Arc<dyn Storage> = Arc::new(Disk::create(dir.path()).unwrap());
        let options = Options {
            segment_size: 256 << 10,
            largest_frame: 64 << 10,
            reserve: 64 << 10,
            ..Options::default()
        };
        let journal = Journal::open(Arc::clone(&storage), options).unwrap();
        let status = journal.status();
        let position = Arc::new(DurablePosition::new(Box::new(|| {})));
        let (give, durable) = crossbeam_channel::unbounded();
        let hand_on = Box::new(move |batch| give.send(batch).unwrap());
        let (committer, preparer) = journal.split(vec![position], hand_on);
        let (commit, inbox) = relay::channel(64);
        let threads = vec![
            std::thread::spawn(move || committer.run(&inbox).unwrap()),
            std::thread::spawn(move || preparer.run().unwrap()),
        ];
        Bench {
            dir,
            storage,
            status,
            decided: Arc::default(),
            commit: Some(commit),
            durable,
            threads,
        }
    }

    /// Stores a batch of `count` bodies and waits until it is durable.
    pub(crate) fn store(&self, count: usize) -> Batch {
        self.store_all(&vec![b"{\"object\":\"x\",\"entry\":[]}".to_vec(); count])
    }

    /// The same with these bodies.
    pub(crate) fn store_all(&self, bodies: &[Vec<u8>]) -> Batch {
        let commit = self.commit.as_ref().unwrap();
        commit.try_send(unsealed(bodies)).unwrap();
        let batch = self.durable.recv().unwrap();
        self.decided.set(batch.last_sequence());
        batch
    }

    /// Overwrites some bytes of the first segment.
    pub(crate) fn damage(&self, offset: u64) {
        let path = self.dir.path().join("00000000000000000001.segment");
        let file = File::options().write(true).open(path).unwrap();
        file.write_all_at(b"damage", offset).unwrap();
    }

    /// As a sink's, of what is stored by the time that it looks.
    pub(crate) fn feed(&self, next: u64) -> (Live<Arc<EventBatch>>, Feed<Decided>) {
        self.feed_waking(&Arc::default(), next)
    }

    /// Where no duplicate is written down.
    fn dedupe(&self) -> Arc<dyn Storage> {
        Arc::new(Disk::create(&self.dir.path().join("dedupe")).unwrap())
    }

    /// What a sink opens more feeds with.
    pub(crate) fn feeds(&self) -> Feeds {
        Feeds {
            journal: Arc::clone(&self.storage),
            status: Arc::clone(&self.status),
            decided: Arc::clone(&self.decided),
            dedupe: self.dedupe(),
            quarantine: Arc::default(),
            forms: Arc::default(),
        }
    }

    /// The same for a thread that sleeps for several.
    pub(crate) fn feed_waking(
        &self,
        sleeper: &Arc<relay::Sleeper>,
        next: u64,
    ) -> (Live<Arc<EventBatch>>, Feed<Decided>) {
        self.decided.set(self.status.durable());
        self.feeds().open(sleeper, next)
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        drop(self.commit.take());
        for thread in self.threads.drain(..) {
            thread.join().unwrap();
        }
    }
}

/// The sequences that the feed gives until it has no more.
fn drain(feed: &mut Feed<Decided>) -> Vec<u64> {
    let mut sequences = Vec::new();
    let mut from = feed.position();
    while !feed.is_at_end() {
        let next = feed.next(Duration::from_mins(2)).unwrap();
        let delivery = next.expect("it is in the journal");
        for notification in delivery.notifications(from) {
            assert_eq!(notification.events().count(), 1);
            assert_eq!(
                notification.events().next().unwrap().sequence(),
                notification.sequence
            );
            sequences.push(notification.sequence);
        }
        from = feed.position();
    }
    sequences
}

fn deliver(batch: Batch) -> Arc<EventBatch> {
    Arc::new(Extraction::new().make(batch))
}

#[test]
fn live_batches_come_without_a_look_at_the_journal() {
    let bench = Bench::new();
    let (live, mut feed) = bench.feed(1);
    for _ in 0..5 {
        assert!(live.offer(deliver(bench.store(3))));
    }
    assert_eq!(drain(&mut feed), (1..=15).collect::<Vec<_>>());
    assert!(feed.reader.is_none());
}

#[test]
fn what_found_no_room_comes_from_the_journal() {
    let bench = Bench::new();
    let (live, mut feed) = bench.feed(1);
    let mut offered = 0;
    for _ in 0..200 {
        offered += usize::from(live.offer(deliver(bench.store(2))));
    }
    assert_eq!(offered, super::arrivals::LIVE_MAX, "memory is bounded");
    assert_eq!(drain(&mut feed), (1..=400).collect::<Vec<_>>());
    // And live again, once it has caught up.
    assert!(live.offer(deliver(bench.store(1))));
    assert_eq!(drain(&mut feed), [401]);
}

/// Sixty-four batches of three megabytes waited for each sink, with events that took five times as much.
#[test]
fn what_waits_is_bounded_in_bytes_as_well() {
    let bench = Bench::new();
    let (live, mut feed) = bench.feed(1);
    let large = |sequence, bytes| deliver(batch(sequence, &[vec![b'x'; bytes]]));
    let offer = |sequence| live.offer(large(sequence, 3 << 20));
    assert_eq!((1..=20).filter(|&it| offer(it)).count(), 5);
    // What came before its turn still waits.
    feed.go_back_to(6);
    assert_eq!((7..=20).filter(|&it| offer(it)).count(), 0);
    assert!(feed.next(Duration::ZERO).unwrap().is_none());
    assert_eq!((7..=20).filter(|&it| offer(it)).count(), 5);
    assert!(feed.next(Duration::ZERO).unwrap().is_none());
    assert!(!offer(12));
    bench.decided.set(20);
    feed.go_back_to(7);
    for sequence in 7..=11 {
        let next = feed.next(Duration::ZERO).unwrap().unwrap();
        assert_eq!(next.first_sequence(), sequence);
    }
    // One that is larger than all room is taken where nothing else waits.
    assert!(live.offer(large(12, 20 << 20)));
    assert!(!offer(13));
    let next = feed.next(Duration::ZERO).unwrap().unwrap();
    assert_eq!(next.first_sequence(), 12);
    assert!(offer(13));
}

/// Four batches stayed in memory for each sink, however large they were, until others came.
#[test]
fn a_large_batch_is_shared_only_while_somebody_has_it() {
    let shared = RecentBatches::default();
    let ordinary = deliver(batch(1, &["{}"]));
    let large = deliver(batch(2, &[vec![b'x'; 2 << 20]]));
    shared.put(&ordinary);
    shared.put(&large);
    assert!(Arc::ptr_eq(&shared.find(2).unwrap(), &large));
    drop((ordinary, large));
    assert!(shared.find(1).is_some() && shared.find(2).is_none());
}

#[test]
fn batches_of_several_workers_are_put_in_order() {
    let bench = Bench::new();
    let (live, mut feed) = bench.feed(1);
    let mut deliveries: Vec<_> = (0..10).map(|_| deliver(bench.store(2))).collect();
    deliveries.swap(0, 3);
    deliveries.swap(5, 9);
    for delivery in &deliveries {
        assert!(live.offer(Arc::clone(delivery)));
    }
    assert_eq!(drain(&mut feed), (1..=20).collect::<Vec<_>>());
}

/// The only worker makes what its feed wants next, and nothing twice. What it had no room for is made from the journal,
/// and is counted all the same.
#[test]
fn the_only_worker_is_asked_by_its_feed() {
    let bench = Bench::new();
    bench.store(3);
    let (give, inbox) = relay::channel(4);
    let room = Arc::new(Room::new(1 << 20));
    let hand_on = |batch: Batch| {
        let bytes = batch.len();
        assert!(room.take(bytes));
        let sent = give.try_send(batch).is_ok();
        if !sent {
            room.give_back(bytes);
        }
        sent
    };
    let statistics = Arc::new(worker::Statistics::default());
    let worker = Worker::new(
        Inbox::new(inbox, Arc::clone(&room)),
        Extraction::new(),
        Arc::clone(&statistics),
    );
    let origin = Durable::new(Arc::clone(&bench.status), &Arc::default(), &Arc::default());
    let origin = origin.counting(3, &statistics);
    let mut feed = Feed::of_worker(worker, Arc::clone(&bench.storage), origin, 2);
    let mut given = |count: u64| {
        let (mut from, mut given) = (feed.position(), Vec::new());
        while !feed.is_at_end() {
            let batch = feed.next(Duration::from_mins(2)).unwrap().unwrap();
            given.extend(batch.notifications(from).map(|it| it.sequence));
            from = feed.position();
        }
        let counted = &statistics.events[2];
        assert_eq!(
            (statistics.notifications.get(), counted.get()),
            (count, count)
        );
        (given, statistics.overflows.get())
    };
    // What was there before is not counted: the process before has done that.
    assert_eq!(given(0), (vec![2, 3], 0));
    for _ in 0..4 {
        assert!(hand_on(bench.store(2)));
    }
    assert_eq!(given(8), ((4..=11).collect(), 0));
    for _ in 0..4 {
        assert!(hand_on(bench.store(1)));
    }
    for _ in 0..3 {
        assert!(!hand_on(bench.store(1)));
    }
    assert_eq!(given(15), ((12..=18).collect(), 3));
    // It came to these before the worker did.
    let late = [bench.store(1), bench.store(1)];
    assert_eq!(given(17), (vec![19, 20], 5));
    for batch in late {
        assert!(hand_on(batch));
    }
    // A gap that nobody fills.
    bench.store(1);
    assert!(hand_on(bench.store(1)));
    assert_eq!(given(19), (vec![21, 22], 6));
    assert!(hand_on(bench.store(1)));
    drop(give);
    bench.store(1);
    assert_eq!(given(21), (vec![23, 24], 7));
    assert_eq!(room.taken(), 0);
}

/// Once dedupe had stopped, each file sink looked for more all the time, with all of a core.
#[test]
fn who_is_offered_nothing_any_more_rests() {
    let bench = Bench::new();
    let (live, mut feed) = bench.feed(1);
    drop(live);
    let begin = Instant::now();
    assert!(feed.next(2 * CLOSED_PAUSE).unwrap().is_none());
    assert!(begin.elapsed() >= CLOSED_PAUSE);
}

#[test]
fn a_feed_begins_in_the_middle_of_a_batch() {
    let bench = Bench::new();
    bench.store(5);
    bench.store(5);
    let (_live, mut feed) = bench.feed(4);
    assert_eq!(drain(&mut feed), (4..=10).collect::<Vec<_>>());
}

#[test]
fn nothing_is_lost_when_the_workers_have_gone() {
    let bench = Bench::new();
    let (live, mut feed) = bench.feed(1);
    bench.store(3);
    drop(live);
    bench.store(3);
    assert_eq!(drain(&mut feed), (1..=6).collect::<Vec<_>>());
}

/// A sink that waited for what was set aside would look at the journal all the time, and never be done.
#[test]
fn damage_that_was_set_aside_at_the_end_is_not_waited_for() {
    let mut bench = Bench::new();
    for _ in 0..4 {
        bench.store(1);
    }
    let dir = std::mem::replace(&mut bench.dir, tempfile::tempdir().unwrap());
    drop(bench);
    // In the records of the last two frames, each of which is one block behind the block of the segment's header.
    let segment = dir.path().join("00000000000000000001.segment");
    let mut bytes = std::fs::read(&segment).unwrap();
    for frame in [3, 4] {
        bytes[frame * 4096 + 90] ^= 1;
    }
    std::fs::write(&segment, bytes).unwrap();
    let storage: Arc<dyn Storage> = Arc::new(Disk::create(dir.path()).unwrap());
    let aside = tempfile::tempdir().unwrap();
    let repaired = crate::journal::repair(&storage, &Disk::create(aside.path()).unwrap()).unwrap();
    assert_eq!(repaired.set_aside[0].hole.count, 2);
    drop(storage);

    let bench = Bench::on(dir);
    let (_live, mut feed) = bench.feed(3);
    assert!(feed.next(Duration::from_millis(50)).unwrap().is_none());
    assert_eq!((feed.position(), feed.take_set_aside()), (5, 2));
    bench.store(1);
    let next = feed.next(Duration::from_secs(20)).unwrap().unwrap();
    assert_eq!(next.first_sequence(), 5);
}

/// The lanes of a sink that had been away read and took apart the whole backlog three times.
#[test]
fn feeds_beside_each_other_take_a_batch_apart_once() {
    let bench = Bench::new();
    for _ in 0..20 {
        bench.store(2);
    }
    let (feeds, shared) = (bench.feeds(), RecentBatches::default());
    let mut lanes = [1, 1, 6].map(|next| feeds.open_beside(&shared, &Arc::default(), next).1);
    let mut next = |lane: usize| {
        let delivery = lanes[lane].next(Duration::from_secs(20)).unwrap().unwrap();
        assert!(delivery.last_sequence() < lanes[lane].position());
        delivery
    };
    let ahead = next(2);
    assert_eq!(
        ahead.first_sequence(),
        5,
        "it holds the one that comes next"
    );
    for round in 0..18 {
        let (one, other) = (next(0), next(1));
        assert_eq!(one.first_sequence(), 1 + 2 * round);
        assert!(Arc::ptr_eq(&one, &other));
        if round < 17 {
            next(2);
        }
    }
    // Whoever is far behind reads for itself.
    let (_, mut late) = feeds.open_beside(&shared, &Arc::default(), 1);
    assert_eq!(drain(&mut late), (1..=40).collect::<Vec<_>>());
}

/// Each time that a feed fell behind it read the head of every frame of the segment up to its place, and stopped at
/// damage that it had passed long ago.
#[test]
fn a_feed_goes_on_in_the_journal_behind_what_came_live() {
    let bench = Bench::new();
    let (live, mut feed) = bench.feed(1);
    for _ in 0..10 {
        assert!(live.offer(deliver(bench.store(1))));
    }
    assert_eq!(drain(&mut feed), (1..=10).collect::<Vec<_>>());
    // The third frame.
    bench.damage(3 * 4096);
    bench.store(1);
    bench.store(1);
    assert_eq!(drain(&mut feed), [11, 12]);
    assert!(live.offer(deliver(bench.store(1))));
    bench.store(1);
    assert_eq!(drain(&mut feed), [13, 14]);
}

#[test]
fn a_place_where_another_frame_stands_is_not_believed() {
    let (bench, other) = (Bench::new(), Bench::new());
    for _ in 0..10 {
        bench.store(2);
    }
    let (live, mut feed) = bench.feed(1);
    for _ in 0..5 {
        assert!(live.offer(deliver(other.store(1))));
    }
    assert_eq!(drain(&mut feed), (1..=20).collect::<Vec<_>>());
}
