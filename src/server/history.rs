//! What was counted some time ago, so that rates and percentiles can be computed for the last seconds, minute and hour.
//!
//! The admin thread takes a sample of the counters every five seconds and keeps those of a minute, and one a minute
//! for an hour: nothing on the way of an answer knows of it.

use crate::http::Status;
use crate::metrics::Snapshot;
use parking_lot::Mutex;
use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

/// Samples of the last hour, and since when each lane of a sink stands where it stands.
#[derive(Debug, Default)]
pub(super) struct History(Mutex<Samples>);

#[derive(Debug, Default)]
struct Samples {
    /// One every [`History::INTERVAL`], the last of them now and then taken over into `hour`.
    minute: VecDeque<Sample>,
    hour: VecDeque<Sample>,
    /// What is confirmed in each lane of each sink, and since when it has not moved though something is behind.
    still: BTreeMap<String, [(u64, Instant); 3]>,
}

/// The counters at one moment.
#[derive(Clone, Debug)]
pub(super) struct Sample {
    pub(super) at: Instant,
    /// How long answers took.
    pub(super) acks: Snapshot,
    /// Notifications taken apart.
    pub(super) notifications: u64,
    /// Events by lane.
    pub(super) events: [u64; 3],
    /// Answers by [`Status::index`].
    pub(super) answers: [u64; Status::ALL.len()],
    /// Bytes written to the journal.
    pub(super) written: u64,
}

impl History {
    /// How often [`History::record`] is to be called.
    pub(super) const INTERVAL: Duration = Duration::from_secs(5);

    /// Keeps a sample. `durable` is the last sequence that is, and `confirmed` how far each lane of each sink is.
    pub(super) fn record<'s>(
        &self,
        now: Sample,
        durable: u64,
        confirmed: impl Iterator<Item = (&'s str, [u64; 3])>,
    ) {
        let mut kept = self.0.lock();
        let still = confirmed
            .map(|(sink, confirmed)| {
                let before = kept.still.get(sink);
                let since = std::array::from_fn(|lane| {
                    let confirmed = confirmed[lane];
                    let unmoved = before.map(|lanes| lanes[lane]);
                    let unmoved =
                        unmoved.filter(|(then, _)| *then == confirmed && confirmed < durable);
                    unmoved.unwrap_or((confirmed, now.at))
                });
                (sink.to_owned(), since)
            })
            .collect();
        kept.still = still;
        let last = kept.hour.back();
        if last.is_none_or(|last| now.at - last.at >= MINUTE) {
            push(&mut kept.hour, now.clone(), HOUR_SAMPLES);
        }
        push(&mut kept.minute, now, MINUTE_SAMPLES);
    }

    /// The youngest sample that is as old as `ago` at `now`; where there is none yet, the oldest.
    pub(super) fn before(&self, now: Instant, ago: Duration) -> Option<Sample> {
        let kept = self.0.lock();
        let mut all = kept.minute.iter().rev().chain(kept.hour.iter().rev());
        let is_old = |sample: &&Sample| now.saturating_duration_since(sample.at) >= ago;
        let found = all.find(is_old).or_else(|| kept.hour.front());
        found.cloned()
    }

    /// For how long at least a lane of the sink has stood at `confirmed` with something behind.
    pub(super) fn still(&self, sink: &str, lane: usize, confirmed: u64) -> Duration {
        let kept = self.0.lock();
        let still = kept.still.get(sink).map(|lanes| lanes[lane]);
        let still = still.filter(|(then, _)| *then == confirmed);
        still.map_or(Duration::ZERO, |(_, since)| since.elapsed())
    }
}

fn push(samples: &mut VecDeque<Sample>, sample: Sample, most: usize) {
    if samples.len() == most {
        samples.pop_front();
    }
    samples.push_back(sample);
}

const MINUTE: Duration = Duration::from_mins(1);

/// Samples from a minute ago to now.
const MINUTE_SAMPLES: usize = 13;

/// Samples from an hour ago to now, and one more, since the last may be nearly a minute old.
const HOUR_SAMPLES: usize = 62;
