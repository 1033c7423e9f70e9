//! Who is offered each batch, of whom some come and go while batches are offered.
//!
//! Whoever offers does not wait for a change: he looks at a number, and takes up the new set once it has moved. A feed
//! that is added hears of a batch or does not; what it was not offered it reads from the journal.

use crate::worker::{EventBatch, Live};
use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// The feeds of the sinks, as they are at the moment.
#[derive(Clone, Default)]
pub struct Receivers(Arc<Shared>);

type Lives = Arc<[Live<Arc<EventBatch>>]>;

#[derive(Default)]
struct Shared {
    /// Which change of the set this is.
    version: AtomicU64,
    set: Mutex<Lives>,
}

/// The set as whoever offers knows it.
pub(super) struct KnownReceivers {
    shared: Receivers,
    version: u64,
    lives: Lives,
}

impl Receivers {
    /// From the next batch on, or the one behind it, these are offered it.
    pub fn set(&self, lives: Vec<Live<Arc<EventBatch>>>) {
        let mut set = self.0.set.lock();
        *set = lives.into();
        self.0.version.fetch_add(1, Ordering::Release);
    }

    pub(super) fn known(&self) -> KnownReceivers {
        let mut known = KnownReceivers {
            shared: self.clone(),
            version: 0,
            lives: Arc::default(),
        };
        known.take_up();
        known
    }
}

impl KnownReceivers {
    fn take_up(&mut self) {
        let set = self.shared.0.set.lock();
        self.version = self.shared.0.version.load(Ordering::Acquire);
        self.lives = Arc::clone(&set);
    }

    /// Offers a batch to each. How many had no room for it.
    pub(super) fn offer(&mut self, delivery: &Arc<EventBatch>) -> u64 {
        if self.shared.0.version.load(Ordering::Acquire) != self.version {
            self.take_up();
        }
        let offered = self.lives.iter().map(|it| it.offer(Arc::clone(delivery)));
        offered.map(|taken| u64::from(!taken)).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::feed::tests::Bench;
    use crate::feed::{Decided, Feed};
    use crate::random::Random;
    use crate::worker::Extraction;
    use std::sync::atomic::AtomicBool;
    use std::thread;
    use std::time::Duration;

    /// Reads until it is asked to stop and has all that there is by then, or until it is cut; each sequence once, in
    /// order, from `first` on.
    fn read(mut feed: Feed<Decided>, first: u64, stop: &AtomicBool, cut: &AtomicBool) -> u64 {
        let mut next = first;
        loop {
            let stopping = stop.load(Ordering::Acquire);
            if cut.load(Ordering::Acquire) || stopping && feed.is_at_end() {
                return next - 1;
            }
            if let Some(delivery) = feed.next(Duration::from_millis(1)).expect("it reads") {
                for notification in delivery.notifications(next) {
                    assert_eq!(notification.sequence, next);
                    next += 1;
                }
            }
        }
    }

    /// Feeds come and go while batches are offered: each has everything from where it begins, once.
    #[test]
    fn whoever_comes_at_any_time_has_everything_from_where_it_begins() {
        const BATCHES: u64 = 400;
        for seed in 1..=4 {
            let (bench, receivers) = (Bench::new(), Receivers::default());
            let (stop, random) = (AtomicBool::new(false), &mut Random(seed));
            thread::scope(|scope| {
                let mut known = receivers.known();
                let mut running = Vec::new();
                for _ in 0..BATCHES {
                    if random.below(4) == 0 {
                        let first = 1 + random.below(bench.status.durable() + 1);
                        let (live, feed) = bench.feed(first);
                        let (cut, stop) = (Arc::new(AtomicBool::new(false)), &stop);
                        let mine = Arc::clone(&cut);
                        let reads = scope.spawn(move || read(feed, first, stop, &mine));
                        running.push((live, cut, reads));
                    }
                    if random.below(6) == 0 && !running.is_empty() {
                        let place = random.below(running.len() as u64);
                        let (_, cut, _) = running.swap_remove(usize::try_from(place).unwrap());
                        cut.store(true, Ordering::Release);
                    }
                    let lives = running.iter().map(|(live, ..)| live.clone());
                    receivers.set(lives.collect());
                    let count = 1 + usize::try_from(random.below(3)).unwrap();
                    let delivery = Arc::new(Extraction::new().make(bench.store(count)));
                    known.offer(&delivery);
                }
                bench.decided.set(bench.status.durable());
                stop.store(true, Ordering::Release);
                for (_, _, reads) in running {
                    assert_eq!(reads.join().unwrap(), bench.status.durable(), "seed {seed}");
                }
            });
        }
    }
}
