//! What it costs to hand messages to another thread: through the relay, and through crossbeam's own blocking `recv`,
//! which spins and yields before it parks; one by one and in batches; on two cores and on one.
//!
//! "on one core" is the case of a small machine, where a receiver that spins takes its time from the sender.

use core_affinity::CoreId;
use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion, Throughput, criterion_group, criterion_main};
use crossbeam_channel as crossbeam;
use hookline::testing::relay;
use std::thread;
use std::time::Duration;

criterion_group! {
    name = benches;
    config = Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1));
    targets = hand_off
}
criterion_main!(benches);

fn hand_off(criterion: &mut Criterion) {
    let cores = core_affinity::get_core_ids().unwrap_or_default();
    let (first, second) = (cores.first().copied(), cores.get(1).copied());
    let mut places = vec![("on one core", first, first)];
    if second.is_some() {
        places.push(("on two cores", first, second));
    }
    for (place, sender, receiver) in places {
        pin(sender);
        let mut group = criterion.benchmark_group(format!("{MESSAGES} messages {place}"));
        group.throughput(Throughput::Elements(MESSAGES as u64));
        for size in [1, BATCH] {
            bench::<RelayPair>(&mut group, "relay", size, receiver);
            bench::<CrossbeamPair>(&mut group, "crossbeam", size, receiver);
        }
        group.finish();
    }
}

/// Hands all messages over in batches of `size` and waits until the receiver has seen the last.
fn bench<P: Pair>(
    group: &mut BenchmarkGroup<'_, WallTime>,
    name: &str,
    size: usize,
    core: Option<CoreId>,
) {
    let (to_receiver, inbox) = P::pair();
    let (to_sender, done) = P::pair();
    let receiver = thread::spawn(move || {
        pin(core);
        let mut seen = 0;
        while let Some(batch) = P::recv(&inbox) {
            seen += batch.len();
            if seen == MESSAGES {
                seen = 0;
                P::send(&to_sender, batch);
            }
        }
    });
    group.bench_function(format!("{name}, batches of {size}"), |bencher| {
        bencher.iter(|| {
            for _ in 0..MESSAGES / size {
                P::send(&to_receiver, vec![0; size]);
            }
            P::recv(&done).expect("the receiver lives")
        });
    });
    drop(to_receiver);
    receiver.join().expect("the receiver ends with its channel");
}

/// A bounded channel of either kind. It is never full here.
trait Pair {
    type Sender: Send + 'static;
    type Receiver: Send + 'static;
    fn pair() -> (Self::Sender, Self::Receiver);
    fn send(sender: &Self::Sender, batch: Vec<u64>);
    fn recv(receiver: &Self::Receiver) -> Option<Vec<u64>>;
}

struct RelayPair;

impl Pair for RelayPair {
    type Sender = relay::Sender<Vec<u64>>;
    type Receiver = relay::Receiver<Vec<u64>>;

    fn pair() -> (Self::Sender, Self::Receiver) {
        relay::channel(MESSAGES)
    }

    fn send(sender: &Self::Sender, batch: Vec<u64>) {
        sender.try_send(batch).expect("there is room");
    }

    fn recv(receiver: &Self::Receiver) -> Option<Vec<u64>> {
        loop {
            match receiver.recv(None) {
                Ok(Some(batch)) => return Some(batch),
                Ok(None) => {}
                Err(relay::Closed) => return None,
            }
        }
    }
}

struct CrossbeamPair;

impl Pair for CrossbeamPair {
    type Sender = crossbeam::Sender<Vec<u64>>;
    type Receiver = crossbeam::Receiver<Vec<u64>>;

    fn pair() -> (Self::Sender, Self::Receiver) {
        crossbeam::bounded(MESSAGES)
    }

    fn send(sender: &Self::Sender, batch: Vec<u64>) {
        sender.try_send(batch).expect("there is room");
    }

    fn recv(receiver: &Self::Receiver) -> Option<Vec<u64>> {
        receiver.recv().ok()
    }
}

fn pin(core: Option<CoreId>) {
    if let Some(core) = core {
        core_affinity::set_for_current(core);
    }
}

/// Handed over in each iteration.
const MESSAGES: usize = 1024;

/// About what an event loop puts into one batch under load.
const BATCH: usize = 64;
