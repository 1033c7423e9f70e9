//! What a machine carries, computed from what a notification costs. Arithmetic alone: nothing here measures anything.
//!
//! The platform's own formula for what a receiver has to take: webhooks a second = 3 × messages out + messages in,
//! since each message that goes out is sent, delivered and read.
//!
//! A part is taken to carry what keeps it at work for [`FULL`] of the time: beyond that a queue grows with every
//! hiccup, and times of answers with it. The machine carries what its weakest part does. All of it holds for an even
//! pace, for bodies with one update each, and for the network that was measured, which is that of one machine with
//! itself.

use super::file_system::FileSystem;
use super::measure::{Component, Cost, float};
use super::times::Times;
use crate::disk::block::ALIGNMENT;
use crate::journal::frame::HEADER_LEN;
use crate::journal::record::FIXED_LEN;
use std::time::Duration;

/// What is to be carried.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asked {
    /// Messages out, a second.
    pub(crate) messages: u64,
    /// Messages in for each of them.
    pub(crate) reply_ratio: f64,
}

impl Asked {
    /// Posts a second.
    pub(crate) fn webhooks(&self) -> u64 {
        3 * self.messages + round_up(float(self.messages) * self.reply_ratio)
    }
}

/// The disk of the journal.
#[derive(Clone, Debug)]
pub(crate) struct Disk {
    pub(crate) file_system: FileSystem,
    /// Bytes that are free.
    pub(crate) free: u64,
    /// Bytes a second, 4 MiB at a time with a sync for each.
    pub(crate) bandwidth: u64,
    /// Of 16 KiB each.
    pub(crate) syncs: Times,
}

/// What is configured, and what there is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) loops: u64,
    pub(crate) workers: u64,
    pub(crate) cores: u64,
    pub(crate) retention: Duration,
    pub(crate) max_size: u64,
    pub(crate) keys: u64,
    pub(crate) window: Duration,
}

/// What carries a part of the load.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bearer {
    /// Threads of the server.
    Threads(Component),
    /// All of them together.
    Cores,
    /// Bytes to the disk.
    Disk,
}

/// How much of its bearer the load takes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Share {
    pub(crate) bearer: Bearer,
    /// Microseconds of a processor for each notification; for the disk, bytes.
    pub(crate) cost: f64,
    /// Notifications a second that it carries.
    pub(crate) carries: u64,
}

/// The answer.
#[derive(Clone, Debug)]
pub(crate) struct Estimate {
    pub(crate) asked: Asked,
    pub(crate) cost: Cost,
    pub(crate) disk: Disk,
    pub(crate) limits: Limits,
    /// In the order in which a notification meets them.
    pub(crate) shares: Vec<Share>,
}

impl Estimate {
    pub(crate) fn new(asked: Asked, cost: Cost, disk: Disk, limits: Limits) -> Estimate {
        let mut estimate = Estimate {
            asked,
            cost,
            disk,
            limits,
            shares: Vec::new(),
        };
        for part in Component::ALL {
            // Parts of which there is one, whatever is configured.
            let threads = match part {
                Component::Loops => limits.loops,
                Component::Workers => limits.workers,
                // It runs on the thread of the only worker.
                Component::Dedupe if limits.workers == 1 => continue,
                Component::Commit | Component::Dedupe | Component::Sink => 1,
                Component::Rest => continue,
            };
            estimate.add(
                Bearer::Threads(part),
                cost.micros(part),
                threads * 1_000_000,
            );
        }
        estimate.add(
            Bearer::Cores,
            estimate.all_micros(),
            limits.cores * 1_000_000,
        );
        estimate.add(Bearer::Disk, estimate.record(), estimate.disk.bandwidth);
        estimate
    }

    /// A share of a bearer that has so much in a second, in units of `cost`.
    fn add(&mut self, bearer: Bearer, cost: f64, has: u64) {
        let carries = round_down(float(has) * FULL / cost.max(f64::MIN_POSITIVE));
        self.shares.push(Share {
            bearer,
            cost,
            carries,
        });
    }

    /// Microseconds of all threads.
    fn all_micros(&self) -> f64 {
        Component::ALL
            .into_iter()
            .map(|part| self.cost.micros(part))
            .sum()
    }

    /// Bytes of a record with its headers, at their mean.
    pub(crate) fn record(&self) -> f64 {
        let beside = float((FIXED_LEN + KEPT_HEADERS) as u64);
        float(self.cost.bodies) / float(self.cost.stored().max(1)) + beside
    }

    pub(crate) fn weakest(&self) -> Share {
        let weakest = self.shares.iter().min_by_key(|share| share.carries);
        *weakest.expect("made with some")
    }

    /// How many times what is asked is carried.
    pub(crate) fn times(&self) -> f64 {
        float(self.weakest().carries) / float(self.asked.webhooks())
    }

    /// An answer waits for the sync that is under way, and then for its own; the platform wants the median below this.
    pub(crate) fn answers_in_time(&self) -> bool {
        self.disk.syncs.at(500) * 2 <= MEDIAN_MAX
    }

    /// Whether this machine, as it is configured, carries it.
    pub(crate) fn carries(&self) -> bool {
        self.weakest().carries >= self.asked.webhooks() && self.answers_in_time()
    }

    /// Threads of a part, or cores, that it takes.
    pub(crate) fn needs(&self, bearer: Bearer) -> u64 {
        let share = self.shares.iter().find(|share| share.bearer == bearer);
        let cost = share.map_or(0.0, |share| share.cost);
        round_up(float(self.asked.webhooks()) * cost / (1e6 * FULL)).max(1)
    }

    /// Bytes that the journal grows by in a second at the rate that is asked. What comes during a sync shares a frame
    /// for each loop, and a frame takes whole blocks, so at a low rate each notification takes one.
    pub(crate) fn written(&self) -> f64 {
        let rate = float(self.asked.webhooks());
        let in_commit = (rate * self.disk.syncs.at(500).as_secs_f64()).max(1.0);
        let frames = in_commit.min(float(self.limits.loops));
        let frame = float(HEADER_LEN as u64) + in_commit / frames * self.record();
        let block = float(ALIGNMENT as u64);
        rate / in_commit * frames * (frame / block).ceil() * block
    }

    /// Bytes of this rate for as long as it is retained.
    pub(crate) fn retained(&self) -> u64 {
        round_up(self.written() * self.limits.retention.as_secs_f64())
    }

    /// How long so many bytes last.
    pub(crate) fn lasts(&self, bytes: u64) -> Duration {
        Duration::from_secs_f64(float(bytes) / self.written())
    }

    /// Events of this rate in the window of dedupe.
    pub(crate) fn keys(&self) -> u64 {
        self.asked.webhooks() * self.limits.window.as_secs()
    }

    /// How long it takes to have so many keys.
    pub(crate) fn remembers(&self) -> Duration {
        Duration::from_secs(self.limits.keys / self.asked.webhooks()).min(self.limits.window)
    }
}

fn round_up(number: f64) -> u64 {
    whole(number.ceil())
}

fn round_down(number: f64) -> u64 {
    whole(number.floor())
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "saturates, and nothing here is negative"
)]
fn whole(number: f64) -> u64 {
    number as u64
}

/// How much of the time a part may be at work.
pub(crate) const FULL: f64 = 0.7;

/// What the platform asks of the median.
const MEDIAN_MAX: Duration = Duration::from_millis(250);

/// `content-type: application/json` and `x-hub-signature-256`, as a record keeps them.
const KEPT_HEADERS: usize = (4 + 12 + 16) + (4 + 19 + 71);

#[cfg(test)]
mod tests {
    use super::*;

    /// Two cores, a loop of 10 µs, a worker of 20 µs with dedupe, 5 µs each for the others, and a disk of 100 MB/s.
    fn estimate(messages: u64, sync: Duration) -> Estimate {
        estimate_of(messages, sync, 1, [10, 5, 20, 0, 5, 0])
    }

    fn estimate_of(messages: u64, sync: Duration, workers: u64, micros: [u64; 6]) -> Estimate {
        let cost = Cost {
            elapsed: Duration::from_secs(1),
            processor: micros.map(|micros| Duration::from_micros(micros * 1000)),
            counts: [1000; Component::ALL.len()],
            bytes: 4096 * 1000,
            bodies: 650 * 1000,
        };
        let mut syncs = Times::default();
        syncs.record(sync);
        let disk = Disk {
            file_system: FileSystem::default(),
            free: 100 << 30,
            bandwidth: 100_000_000,
            syncs,
        };
        let limits = Limits {
            loops: 1,
            workers,
            cores: 2,
            retention: Duration::from_hours(24),
            max_size: 50 << 30,
            keys: 10_000_000,
            window: Duration::from_hours(24),
        };
        let asked = Asked {
            messages,
            reply_ratio: 0.3,
        };
        Estimate::new(asked, cost, disk, limits)
    }

    #[test]
    fn each_message_is_three_statuses_and_the_replies() {
        for (messages, reply_ratio, webhooks) in [
            (1000, 0.3, 3300),
            (80, 0.0, 240),
            (80, 0.3, 264),
            (1, 0.3, 4),
            (1000, 2.0, 5000),
        ] {
            let asked = Asked {
                messages,
                reply_ratio,
            };
            assert_eq!(asked.webhooks(), webhooks);
        }
    }

    #[test]
    fn the_weakest_part_decides() {
        let estimate = estimate(1000, Duration::from_micros(100));
        let carried: Vec<_> = estimate.shares.iter().map(|share| share.carries).collect();
        // Loops, commit, worker, sink; 40 µs on two cores; 800 bytes a record.
        let expected = [70_000, 140_000, 35_000, 140_000, 35_000, 87_500];
        assert_eq!(carried, expected);
        assert!(estimate.carries());
        assert!((estimate.times() - 35_000.0 / 3300.0).abs() < 1e-9);

        let estimate = estimate_of(1000, Duration::from_micros(100), 2, [10, 5, 20, 5, 5, 0]);
        let carried: Vec<_> = estimate.shares.iter().map(|share| share.carries).collect();
        // The two workers, and dedupe; 45 µs on two cores.
        let expected = [70_000, 140_000, 70_000, 140_000, 140_000, 31_111, 87_500];
        assert_eq!(carried, expected);
        assert_eq!(estimate.weakest().bearer, Bearer::Cores);
    }

    #[test]
    fn it_says_what_more_would_take() {
        let estimate = estimate(20_000, Duration::from_micros(100));
        assert!(!estimate.carries());
        // 66,000 a second.
        assert_eq!(estimate.needs(Bearer::Threads(Component::Loops)), 1);
        assert_eq!(estimate.needs(Bearer::Threads(Component::Workers)), 2);
        assert_eq!(estimate.needs(Bearer::Cores), 4);
    }

    #[test]
    fn a_slow_disk_answers_late_whatever_it_carries() {
        let slow = estimate(80, Duration::from_millis(126));
        assert!(!slow.carries() && !slow.answers_in_time());
        assert!(estimate(80, Duration::from_millis(125)).carries());
    }

    #[test]
    fn notifications_that_come_during_a_sync_share_a_frame() {
        // One at a time takes a block each.
        let alone = estimate(1000, Duration::from_micros(100));
        assert!((alone.written() - 3300.0 * 4096.0).abs() < 1.0);
        // 33 at a time: 64 + 33 × 800 bytes are seven blocks.
        let shared = estimate(1000, Duration::from_millis(10));
        assert!((shared.written() - 100.0 * 7.0 * 4096.0).abs() < 1.0);
        assert_eq!(alone.retained(), 3300 * 4096 * 86_400);
        assert_eq!(alone.lasts(3300 * 4096 * 60), Duration::from_mins(1));
    }

    #[test]
    fn keys_are_one_for_each_event() {
        let estimate = estimate(1000, Duration::from_micros(100));
        assert_eq!(estimate.keys(), 3300 * 86_400);
        assert_eq!(estimate.remembers(), Duration::from_secs(10_000_000 / 3300));
        let few = self::estimate(1, Duration::from_micros(100));
        assert_eq!(few.remembers(), Duration::from_hours(24));
    }
}
