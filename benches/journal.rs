//! What one batch costs the event loop (append) and the commit thread (seal), without a disk.

use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use hookline::testing::journal::batch::{Batch, Pool, Seal};
use std::hint::black_box;

const BATCH_SIZE: usize = 128 << 10;
const SEAL: Seal = Seal {
    epoch: 1,
    salt: 0x9e37_79b9,
    first_sequence: 1,
    committed_at: 1_700_000_000_000_000,
    durable: 0,
};

/// A batch of at least `BATCH_SIZE` bytes.
fn fill(mut batch: Batch, body: &[u8]) -> Batch {
    let headers: [(&[u8], &[u8]); 2] = [
        (b"content-type", b"application/json"),
        (b"x-hub-signature-256", &[b'0'; 71]),
    ];
    while batch.len() < BATCH_SIZE {
        batch.append(1, 0, 1_700_000_000_000_000, headers.into_iter(), body);
    }
    batch
}

fn journal(criterion: &mut Criterion) {
    let pool = Pool::new(64, BATCH_SIZE + (8 << 10));
    let mut group = criterion.benchmark_group("append");
    for size in [500, 2000, 8000] {
        let body = vec![b'x'; size];
        let records = fill(pool.batch(), &body).count();
        group.throughput(Throughput::Elements(u64::from(records)));
        group.bench_function(BenchmarkId::from_parameter(size), |bencher| {
            bencher.iter(|| fill(pool.batch(), black_box(&body)).len());
        });
    }
    group.finish();

    let mut group = criterion.benchmark_group("seal");
    let body = vec![b'x'; 2000];
    group.throughput(Throughput::Bytes(BATCH_SIZE as u64));
    group.bench_function("128 KiB", |bencher| {
        bencher.iter_batched_ref(
            || fill(pool.batch(), &body),
            |batch| batch.seal(black_box(&SEAL)),
            BatchSize::SmallInput,
        );
    });
    group.finish();

    let mut batch = fill(pool.batch(), &body);
    batch.seal(&SEAL);
    let frame = batch.frame().to_vec();
    let mut group = criterion.benchmark_group("read");
    group.throughput(Throughput::Bytes(frame.len() as u64));
    group.bench_function("128 KiB", |bencher| {
        bencher.iter_batched(
            || frame.clone(),
            |frame| Batch::from_frame(frame, SEAL.salt).expect("sealed above"),
            BatchSize::SmallInput,
        );
    });
    group.finish();
}

criterion_group!(benches, journal);
criterion_main!(benches);
