use super::{Judge, Running};
use crate::feed::tests::Bench;
use crate::feed::{Dedupe, DedupeOptions, DedupeScope, Durable, Feed, Floor, Maker, Parties};
use crate::journal::JournalId;
use crate::journal::simulated::{Fault, SimulatedDisk};
use std::io::{Read as _, Seek as _};
use std::sync::Arc;

fn running(bench: &Bench, memory: &SimulatedDisk) -> Running {
    let status = Arc::clone(&bench.status);
    let origin = Durable::new(status, Maker::new());
    let (_, feed) = Feed::new(bench.feeds().journal, origin, 1);
    let judge = Judge {
        feed,
        parties: Parties::default(),
        place: Floor::new(Arc::default()).place(0),
        first: Box::new(|| 1),
        position: Arc::default(),
        sinks: Vec::new(),
        poison: Arc::default(),
        statistics: Arc::default(),
        stop: Arc::default(),
    };
    let options = DedupeOptions {
        window: 86_400_000_000,
        keys: 1000,
        scope: DedupeScope::Endpoint,
    };
    let id = JournalId::parse("0b5ef1c60fd1b7d1a0b8a3f6a1c2d3e4").unwrap();
    let (dedupe, from) = Dedupe::open(memory.storage(), options, id, 1, 0).unwrap();
    Running::new(judge, dedupe, from)
}

/// Two warnings shared one word of being told, and each good batch took it back: once the memory of keys could not be
/// saved any more, a server under load said so every two seconds, for ever.
#[test]
fn what_cannot_be_saved_is_told_once() {
    let (bench, memory) = (Bench::new(), SimulatedDisk::new(1));
    let said = Arc::new(tempfile::tempfile().unwrap());
    let subscriber = tracing_subscriber::fmt().with_writer(Arc::clone(&said));
    tracing::subscriber::with_default(subscriber.finish(), || {
        let mut running = running(&bench, &memory);
        for batch in 1..=4 {
            let delivery = Maker::new().make(bench.store(1));
            running.judge(delivery).unwrap();
            if batch == 2 {
                memory.fail_once(1, Fault::Broken);
            }
            running.checkpoint();
            let reached = running.dedupe.checkpointed();
            assert_eq!(reached, 1, "batch {batch}");
        }
        assert_eq!(running.parts.position.get(), 4);
    });
    let (mut said, mut lines) = (&*said, String::new());
    said.rewind().unwrap();
    said.read_to_string(&mut lines).unwrap();
    assert_eq!(lines.lines().count(), 1, "{lines}");
    assert!(lines.contains("a restart judges it again"), "{lines}");
}
