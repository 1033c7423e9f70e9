use super::{DedupeStage, Running};
use crate::dedupe::{Dedupe, Options, Parties, Scope};
use crate::disk::simulated::{Fault, SimulatedDisk};
use crate::feed::tests::Bench;
use crate::feed::{Durable, Feed, Receivers, RetentionHolds};
use crate::journal::JournalId;
use crate::log::captured;
use crate::worker::{EventBatch, Extraction, Live};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

fn running(bench: &Bench, memory: &SimulatedDisk) -> Running {
    running_for(
        bench,
        memory,
        Vec::new(),
        &RetentionHolds::new(Arc::default()),
    )
}

fn running_for(
    bench: &Bench,
    memory: &SimulatedDisk,
    sinks: Vec<Live<Arc<EventBatch>>>,
    floor: &RetentionHolds,
) -> Running {
    let receivers = Receivers::default();
    receivers.set(sinks);
    let status = Arc::clone(&bench.status);
    let origin = Durable::new(status, &Arc::default(), &Arc::default());
    let (_, feed) = Feed::new(bench.feeds().journal, origin, 1);
    let stage = DedupeStage {
        feed,
        parties: Parties::default(),
        hold: floor.hold(0),
        first: Box::new(|| 1),
        position: Arc::default(),
        sinks: receivers,
        quarantine: Arc::default(),
        statistics: Arc::default(),
        stop: Arc::default(),
    };
    let options = Options {
        window: 86_400_000_000,
        keys: 1000,
        scope: Scope::Endpoint,
    };
    let id = JournalId::parse("0b5ef1c60fd1b7d1a0b8a3f6a1c2d3e4").unwrap();
    let (dedupe, from) = Dedupe::open(memory.storage(), options, id, 1, 0).unwrap();
    Running::new(stage, dedupe, from)
}

/// Two warnings shared one flag that says that they were logged, and each good batch cleared it: once the memory of
/// keys could not be saved any more, a server under load said so every two seconds, for ever.
#[test]
fn what_cannot_be_saved_is_logged_once() {
    let (bench, memory) = (Bench::new(), SimulatedDisk::new(1));
    let lines = captured(|| {
        let mut running = running(&bench, &memory);
        for batch in 1..=4 {
            let delivery = Extraction::new().make(bench.store(1));
            running.decide(delivery).unwrap();
            if batch == 2 {
                memory.fail_once(1, Fault::Broken);
            }
            running.checkpoint();
            let reached = running.dedupe.checkpointed();
            assert_eq!(reached, 1, "batch {batch}");
        }
        assert_eq!(running.parts.position.get(), 4);
    });
    assert_eq!(lines.lines().count(), 1, "{lines}");
    assert!(
        lines.contains("a restart before that reads more of the journal"),
        "{lines}"
    );
}

/// A body with one message.
fn message(id: u64) -> Vec<u8> {
    format!(
        r#"{{"object":"whatsapp_business_account","entry":[{{"id":"1","changes":[{{"field":"messages","value":{{"metadata":{{"phone_number_id":"106"}},"messages":[{{"from":"15551","id":"wamid.{id}","timestamp":"1750000000","type":"text"}}]}}}}]}}]}}"#
    )
    .into_bytes()
}

/// Where the keys have no room, what comes is passed on all the same, to who reads it now and to who reads it later.
#[test]
fn a_delivery_without_room_for_its_keys_is_passed_on_as_new() {
    let mut refused = 0;
    for operation in 1..=3 {
        let (bench, memory) = (Bench::new(), SimulatedDisk::new(1));
        let (live, mut feed) = bench.feed(1);
        let floor = RetentionHolds::new(Arc::default());
        let mut running = running_for(&bench, &memory, vec![live], &floor);
        memory.fail_once(operation, Fault::NoSpace);
        for sequence in 1..=4 {
            let batch = bench.store_all(&[message(sequence)]);
            running.decide(Extraction::new().make(batch)).unwrap();
            assert_eq!(running.parts.position.get(), sequence);
            assert!(feed.has_live(), "operation {operation}: {sequence}");
            let delivery = feed.next(Duration::ZERO).unwrap().expect("it is there");
            assert_eq!(delivery.last_sequence(), sequence);
            assert!(!delivery.events().get(0).unwrap().is_duplicate());
        }
        refused += running.parts.statistics.undecided.get();
    }
    // To make the file of the keys, and to write them.
    assert!(refused >= 2, "{refused}");
}

/// What is decided and not saved may have to be decided again, so the journal must keep it, whatever sinks have had.
#[test]
fn the_journal_is_kept_up_to_the_last_checkpoint() {
    let (bench, memory) = (Bench::new(), SimulatedDisk::new(1));
    let lowest = Arc::new(AtomicU64::new(0));
    let floor = RetentionHolds::new(Arc::clone(&lowest));
    let sink = floor.hold(0);
    let mut running = running_for(&bench, &memory, Vec::new(), &floor);
    let stage = |running: &mut Running, sequence| {
        let batch = bench.store_all(&[message(sequence)]);
        running.decide(Extraction::new().make(batch)).unwrap();
        sink.set(sequence);
    };
    stage(&mut running, 1);
    stage(&mut running, 2);
    assert_eq!(lowest.load(Ordering::Relaxed), 1);
    running.checkpoint();
    assert_eq!(lowest.load(Ordering::Relaxed), 3);
    stage(&mut running, 3);
    // Only where there is no room is it given up: the journal may be what takes it.
    memory.fail_once(3, Fault::NoSpace);
    running.checkpoint();
    assert_eq!(lowest.load(Ordering::Relaxed), 4);
    stage(&mut running, 4);
    memory.fail_once(1, Fault::Broken);
    running.checkpoint();
    assert_eq!(lowest.load(Ordering::Relaxed), 3);
    stage(&mut running, 5);
    running.checkpoint();
    assert_eq!(lowest.load(Ordering::Relaxed), 3);
}

/// A batch was read from the journal while its worker still gathered: what came live then began before what was to be
/// decided next, and dedupe stopped for good.
#[test]
fn of_what_comes_together_the_begin_may_be_decided_already() {
    let (bench, memory) = (Bench::new(), SimulatedDisk::new(1));
    let (live, mut feed) = bench.feed(1);
    let floor = RetentionHolds::new(Arc::default());
    let mut running = running_for(&bench, &memory, vec![live], &floor);
    let mut gathered: Vec<_> = (1..=4)
        .map(|sequence| bench.store_all(&[message(sequence)]))
        .collect();
    let first = running.parts.feed.next(Duration::from_secs(20)).unwrap();
    running
        .decide(first.expect("it is in the journal"))
        .unwrap();
    running
        .decide(Extraction::new().make_all(&mut gathered))
        .unwrap();
    assert_eq!(running.parts.position.get(), 4);
    for (first, last) in [(1, 1), (2, 4)] {
        let delivery = feed.next(Duration::ZERO).unwrap().expect("it is there");
        assert_eq!(
            (delivery.first_sequence(), delivery.last_sequence()),
            (first, last)
        );
        assert!(delivery.events().iter().all(|event| !event.is_duplicate()));
    }
}
