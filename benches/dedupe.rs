//! What it costs to find the duplicates among events, with a million keys remembered and forgotten in turn.
//!
//! An iteration is a delivery of 64 statuses, as a campaign makes them, each to a party of its own whose two names are
//! learned, which is the worst case; making it is not measured. The files are real ones in a temporary directory; a
//! checkpoint now and then syncs them and removes those that went, which is not measured either. Run with
//! `cargo bench --bench dedupe`; throughput is of events. `open` reads a million keys back.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use hookline::testing::dedupe::{self, Dedupe, Scope};
use hookline::testing::disk::{Disk, Storage};
use hookline::testing::journal::batch::{Batch, Seal};
use hookline::testing::journal::{Journal, JournalId, Options};
use hookline::testing::worker::{EventBatch, Extraction};
use std::sync::Arc;
use std::time::{Duration, Instant};

criterion_group!(benches, dedupe);
criterion_main!(benches);

const EVENTS: u64 = 64;
const KEYS: u64 = 1 << 20;
const OPTIONS: dedupe::Options = dedupe::Options {
    window: 8 * 86_400_000_000,
    keys: KEYS,
    scope: Scope::Endpoint,
};

fn dedupe(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("decide");
    group.throughput(Throughput::Elements(EVENTS));
    for (name, repeats) in [("all new", 0), ("2 % repeated", 50), ("all repeated", 1)] {
        let dir = tempfile::tempdir().expect("a directory");
        let storage = directory(&dir.path().join("dedupe"));
        let id = journal_id(&dir.path().join("journal"));
        let (mut dedupe, _) = Dedupe::open(storage, OPTIONS, id, 1, 0).expect("an empty directory");
        let mut source = Source::default();
        while source.keys < KEYS {
            dedupe.decide(&mut source.make()).expect("room on the disk");
        }
        source.repeats = repeats;
        group.bench_function(name, |bencher| {
            bencher.iter_custom(|iterations| {
                let mut time = Duration::ZERO;
                for iteration in 0..iterations {
                    let mut delivery = source.make();
                    let begin = Instant::now();
                    dedupe.decide(&mut delivery).expect("room on the disk");
                    time += begin.elapsed();
                    if iteration % 4096 == 0 {
                        dedupe.checkpoint().expect("room on the disk");
                    }
                }
                time
            });
        });
    }
    group.finish();

    let dir = tempfile::tempdir().expect("a directory");
    let storage = directory(&dir.path().join("dedupe"));
    let id = journal_id(&dir.path().join("journal"));
    let (mut dedupe, _) =
        Dedupe::open(Arc::clone(&storage), OPTIONS, id, 1, 0).expect("an empty directory");
    let mut source = Source::default();
    while source.keys < 1_000_000 {
        dedupe.decide(&mut source.make()).expect("room on the disk");
    }
    dedupe.checkpoint().expect("room on the disk");
    drop(dedupe);
    let mut group = criterion.benchmark_group("open");
    group.sample_size(10);
    group.throughput(Throughput::Elements(1_000_000));
    group.bench_function("a million keys", |bencher| {
        bencher.iter(|| Dedupe::open(Arc::clone(&storage), OPTIONS, id, 1, u64::MAX));
    });
    group.finish();
}

/// Deliveries of statuses in journal order.
#[derive(Default)]
struct Source {
    maker: Extraction,
    sequence: u64,
    keys: u64,
    /// One in so many says what one of the last half million has said; 0 for none.
    repeats: u64,
    made: u64,
}

impl Source {
    fn make(&mut self) -> EventBatch {
        let mut batch = Batch::unpooled();
        for _ in 0..EVENTS {
            self.made += 1;
            let is_repeated = self.repeats > 0 && self.made.is_multiple_of(self.repeats);
            let number = if is_repeated {
                self.keys - self.made.wrapping_mul(0x9e37_79b9_7f4a_7c15) % (KEYS / 2) - 1
            } else {
                self.keys += 1;
                self.keys - 1
            };
            let body = format!(
                r#"{{"object":"whatsapp_business_account","entry":[{{"id":"102290129340398","changes":[{{"field":"messages","value":{{"messaging_product":"whatsapp","metadata":{{"display_phone_number":"15550783881","phone_number_id":"106540352242922"}},"statuses":[{{"id":"wamid.HBgLMTU1NTAxMDAyMDEVAgARGBI5MUQyRkVFNjE2{number:010}=","status":"delivered","timestamp":"1790417227","recipient_id":"1555{number:07}","recipient_user_id":"US.1000000000{number:07}"}}]}}}}]}}]}}"#
            );
            let received_at = 1_750_000_000_000_000 + self.made;
            batch.append(1, 0, received_at, std::iter::empty(), body.as_bytes());
        }
        batch.seal(&Seal {
            epoch: 1,
            salt: 1,
            first_sequence: self.sequence + 1,
            committed_at: 1,
            durable: 0,
        });
        self.sequence += EVENTS;
        self.maker.make(batch)
    }
}

fn directory(path: &std::path::Path) -> Arc<dyn Storage> {
    Arc::new(Disk::create(path).expect("a directory"))
}

fn journal_id(path: &std::path::Path) -> JournalId {
    let options = Options {
        segment_size: 256 << 10,
        largest_frame: 64 << 10,
        reserve: 0,
        ..Options::default()
    };
    let journal = Journal::open(directory(path), options).expect("an empty directory");
    journal.id()
}
