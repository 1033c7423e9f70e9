//! Gathers what the page shows from the counters, and from the directories that hold dead letters and replays.

use super::{
    AckTimes, Acks, DedupeLevel, JournalLevel, LaneLevel, Overview, Receiving, RemovedSink,
    ReplayLevel, SinkLevel,
};
use crate::dead_letter;
use crate::disk::{self, Disk};
use crate::event::Lane;
use crate::feed::{ReplayError, Replays};
use crate::http::Status;
use crate::journal::State;
use crate::reactor::{Control, Phase};
use crate::server::held::Held;
use crate::server::history::Sample;
use crate::server::sources::{Sources, sum, total_of};
use crate::sink::Statistics;
use std::collections::BTreeMap;
use std::path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// Everything at a glance.
pub(in crate::server) fn overview(sources: &Sources, control: &Control) -> Overview {
    let now = disk::now();
    let sample = sources.sample();
    Overview {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        pid: std::process::id(),
        now,
        uptime_seconds: sources.about.started.elapsed().as_secs(),
        state: state(sources, control).to_owned(),
        receiving: receiving(sources, &sample),
        acks: Acks {
            minute: ack_times(sources, &sample, MINUTE),
            hour: ack_times(sources, &sample, HOUR),
        },
        journal: journal(sources, &sample, now),
        dedupe: dedupe(sources),
        sinks: sinks(sources).collect(),
        removed_sinks: removed_sinks(sources),
        dead_letters: dead_letters(sources),
        replays: replays(sources),
    }
}

/// How each sink does.
pub(in crate::server) fn sinks(sources: &Sources) -> impl Iterator<Item = SinkLevel> {
    let now = disk::now();
    let all = sources.sinks.iter().enumerate();
    all.map(move |(place, (name, confirmation, statistics))| {
        let kind = sources.about.kinds.iter().find(|(it, _)| it == name);
        let (away, health) = (statistics.away.get() > 0, statistics.health.view());
        let (last_failed, last_failure) = health.last_failure.unzip();
        SinkLevel {
            name: name.clone(),
            kind: kind.map_or("", |(_, kind)| kind).to_owned(),
            confirmation: statistics
                .confirmation()
                .unwrap_or(*confirmation)
                .name()
                .to_owned(),
            stopped: statistics.stopped.get() > 0,
            reason: statistics.reason.get().cloned(),
            away,
            away_reason: last_failure.clone().filter(|_| away),
            failing_since: health.failing.map(|it| before(now, it)),
            failing_seconds: health.failing.unwrap_or_default().as_secs_f64(),
            last_failure,
            last_failed: last_failed.map(|it| before(now, it)),
            events: statistics.events.get(),
            duplicates: statistics.duplicates.get(),
            unwanted: statistics.unwanted.get(),
            dead: statistics.dead.get(),
            dead_letters_delivered: statistics.dead_letters.get(),
            known: statistics.known.get(),
            replayed: statistics.replayed.get(),
            retries: statistics.retries.get(),
            unaccounted: statistics.unaccounted.get(),
            confirmed: statistics.confirmed.get(),
            lanes: (0..3)
                .map(|lane| lane_level(sources, (place, statistics), lane, now))
                .collect(),
        }
    })
}

/// What those leave that are not configured any more.
pub(in crate::server) fn removed_sinks(sources: &Sources) -> Vec<RemovedSink> {
    let statistics = &sources.journal.statistics;
    let first = statistics.first_sequence.load(Ordering::Relaxed);
    let removed = sources.removed().into_iter();
    removed
        .map(|sink| RemovedSink {
            notifications: sink.undelivered(first..=sources.journal.durable()),
            until: sink.until,
            name: sink.name,
        })
        .collect()
}

/// Why what is stored does not reach a sink.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::server) enum Trouble {
    /// Delivery has stopped for good, to one sink or to all.
    Stopped,
    /// Deliveries to a sink have failed for [`FAILING_MAX`], and none has worked.
    Failing,
}

/// What is wrong with delivery, if something is.
pub(in crate::server) fn trouble(sources: &Sources) -> Option<Trouble> {
    let sinks = sources.sinks.iter().map(|(_, _, statistics)| &**statistics);
    let all_stopped = sources.dedupe.stopped.get() > 0;
    all_stopped
        .then_some(Trouble::Stopped)
        .or_else(|| trouble_of(sinks, FAILING_MAX))
}

/// The same of these sinks, which may fail for less than `most`.
fn trouble_of<'s>(
    sinks: impl Iterator<Item = &'s Statistics> + Clone,
    most: Duration,
) -> Option<Trouble> {
    if sinks.clone().any(|it| it.stopped.get() > 0) {
        return Some(Trouble::Stopped);
    }
    let mut failing = sinks.filter_map(|it| it.health.failing());
    failing.any(|it| it >= most).then_some(Trouble::Failing)
}

/// For how long nothing is taken before a server is not ready in the strict sense: a restart of a receiver is shorter.
const FAILING_MAX: Duration = Duration::from_mins(1);

/// So long before `now`, in microseconds since 1970.
fn before(now: u64, ago: Duration) -> u64 {
    now.saturating_sub(u64::try_from(ago.as_micros()).unwrap_or(u64::MAX))
}

/// The number of dead letters in each directory of them; one that cannot be read is left out.
pub(in crate::server) fn dead_letters(sources: &Sources) -> BTreeMap<String, u64> {
    let sinks =
        dead_letter::list_sinks(&sources.about.dir.join("dead-letters")).unwrap_or_default();
    let sinks = sinks.into_iter();
    sinks
        .filter_map(|(name, letters)| Some((name, letters.ok()?.list().ok()?.len() as u64)))
        .collect()
}

fn lane_level(
    sources: &Sources,
    (place, statistics): (usize, &Statistics),
    lane: usize,
    now: u64,
) -> LaneLevel {
    let own = &statistics.lanes[lane];
    // In this order: what is confirmed was durable.
    let (confirmed, reached, open) = (own.confirmed.get(), own.reached.get(), own.open.get());
    let oldest = Some(own.oldest.get()).filter(|oldest| *oldest > 0);
    let durable = sources.journal.durable();
    let behind = if confirmed >= durable && open == 0 {
        0
    } else {
        // What is under way may be one that was just taken and is not open yet.
        (durable.saturating_sub(reached) + open).max(1)
    };
    let lag = match oldest {
        _ if behind == 0 => Duration::ZERO,
        Some(oldest) => Duration::from_micros(now.saturating_sub(oldest)),
        None => sources.history.still(place, lane, confirmed),
    };
    LaneLevel {
        lane: Lane::ALL[lane].name().to_owned(),
        confirmed,
        reached,
        open,
        lag_notifications: behind,
        lag_events: events_of(sources, lane, behind),
        lag_seconds: lag.as_secs_f64(),
        oldest: oldest.filter(|_| behind > 0),
    }
}

/// How many events of a lane so many notifications may hold; one each as long as nobody knows.
fn events_of(sources: &Sources, lane: usize, notifications: u64) -> u64 {
    let seen = sum(&sources.workers, |one| &one.notifications);
    if seen == 0 {
        return notifications;
    }
    let events = sum(&sources.workers, |one| &one.events[lane]);
    let all = u128::from(notifications) * u128::from(events);
    let all = u64::try_from(all.div_ceil(u128::from(seen))).unwrap_or(u64::MAX);
    all.max(u64::from(notifications > 0))
}

fn receiving(sources: &Sources, now: &Sample) -> Receiving {
    let lately = sources.history.before(now.at, LATELY);
    let lately = lately.as_ref().unwrap_or(now);
    let minute = sources.history.before(now.at, MINUTE);
    let minute = minute.as_ref().unwrap_or(now);
    let seconds = (now.at - lately.at).as_secs_f64();
    let lanes = Lane::ALL.map(Lane::name).into_iter().enumerate();
    let codes = Status::ALL
        .iter()
        .zip(now.answers.iter().zip(&minute.answers));
    Receiving {
        seconds,
        notifications_per_second: rate(now.notifications, lately.notifications, seconds),
        events_per_second: lanes
            .map(|(place, lane)| {
                let events = rate(now.events[place], lately.events[place], seconds);
                (lane.to_owned(), events)
            })
            .collect(),
        notifications: now.notifications,
        connections: sum(&sources.loops, |one| &one.connections),
        answers: codes
            .map(|(status, (now, then))| (status.code(), now.saturating_sub(*then)))
            .filter(|(_, count)| *count > 0)
            .collect(),
    }
}

fn ack_times(sources: &Sources, now: &Sample, ago: Duration) -> AckTimes {
    let then = sources.history.before(now.at, ago);
    let then = then.as_ref().unwrap_or(now);
    let acks = now.acks.since(&then.acks);
    let quantile = |per_mille| Some(acks.quantile(per_mille)?.as_secs_f64() * 1e3);
    AckTimes {
        seconds: (now.at - then.at).as_secs_f64(),
        count: acks.count(),
        p50_ms: quantile(500),
        p99_ms: quantile(990),
        p999_ms: quantile(999),
        over_250ms: acks.longer_than(Duration::from_millis(250)),
        over_1s: acks.longer_than(Duration::from_secs(1)),
        over_5s: acks.longer_than(Duration::from_secs(5)),
    }
}

fn journal(sources: &Sources, now: &Sample, now_us: u64) -> JournalLevel {
    let statistics = &sources.journal.statistics;
    let (about, since) = (
        &sources.about,
        statistics.first_commit.load(Ordering::Relaxed),
    );
    let then = sources.history.before(now.at, MINUTE);
    let then = then.as_ref().unwrap_or(now);
    let seconds = (now.at - then.at).as_secs_f64();
    let free = Disk::open(&about.dir).and_then(|disk| disk.free_bytes());
    let held = Held::of(sources);
    let is_empty = sources.journal.durable() < statistics.first_sequence.load(Ordering::Relaxed);
    JournalLevel {
        dir: path::absolute(&about.dir)
            .unwrap_or_else(|_| about.dir.clone())
            .display()
            .to_string(),
        first_sequence: statistics.first_sequence.load(Ordering::Relaxed),
        durable_sequence: sources.journal.durable(),
        disk_bytes: statistics.disk_bytes.load(Ordering::Relaxed),
        max_size: about.max_size,
        free_bytes: free.ok(),
        written_per_second: rate(now.written, then.written, seconds),
        reaches_back_seconds: if since == 0 || is_empty {
            0
        } else {
            now_us.saturating_sub(since) / 1_000_000
        },
        retention_seconds: about.retention.as_secs(),
        held_bytes: held.bytes,
        held_by: held.by,
    }
}

fn dedupe(sources: &Sources) -> DedupeLevel {
    let dedupe = &sources.dedupe;
    DedupeLevel {
        window_seconds: sources.about.window.as_secs(),
        keys_max: sources.about.keys,
        keys: dedupe.keys.get(),
        bytes: dedupe.bytes.get(),
        events: total_of(&dedupe.events),
        duplicates: total_of(&dedupe.duplicates),
        stopped: dedupe.stopped.get() > 0,
        reason: dedupe.reason.get().cloned(),
    }
}

/// Those that have not ended, as far as they can be read.
fn replays(sources: &Sources) -> Vec<ReplayLevel> {
    let mut replays = sources.replays.lock();
    if replays.is_none() {
        // There is no directory before anybody asks for one.
        let disk = Disk::open(&sources.about.dir.join("replays"));
        *replays = disk.ok().map(|disk| Replays::open(Arc::new(disk)));
    }
    let under_way = replays.as_mut().map(Replays::under_way);
    let under_way = under_way.unwrap_or_else(|| Ok::<_, ReplayError>(Vec::new()));
    let under_way = under_way.unwrap_or_default().into_iter();
    under_way
        .map(|replay| ReplayLevel {
            state: replay.state.name().to_owned(),
            id: replay.id,
            sink: replay.sink,
            from: replay.from,
            to: replay.to,
            next: replay.next,
            delivered: replay.delivered,
            failed: replay.failed,
        })
        .collect()
}

fn state(sources: &Sources, control: &Control) -> &'static str {
    match (control.phase(), sources.journal.state()) {
        (_, State::Failed) => "failed",
        (Phase::Serving, State::Full) => "full",
        (Phase::Serving, State::Open) => "serving",
        _ => "draining",
    }
}

#[expect(clippy::cast_precision_loss, reason = "a rate is read by people")]
fn rate(now: u64, then: u64, seconds: f64) -> f64 {
    if seconds > 0.0 {
        now.saturating_sub(then) as f64 / seconds
    } else {
        0.0
    }
}

/// What rates are about.
const LATELY: Duration = Duration::from_secs(10);
const MINUTE: Duration = Duration::from_mins(1);
const HOUR: Duration = Duration::from_hours(1);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sink::Failing;

    /// A receiver that answered 500 for minutes was no reason not to be ready, even in the strict sense.
    #[test]
    fn a_sink_that_only_fails_for_a_minute_is_trouble() {
        let sinks = [Statistics::default(), Statistics::default()];
        let trouble = |most| trouble_of(sinks.iter(), most);
        assert_eq!(trouble(Duration::ZERO), None);
        sinks[1]
            .health
            .failed("crm", "answered 500", Failing::Target);
        assert_eq!(trouble(FAILING_MAX), None, "not yet");
        assert_eq!(trouble(Duration::ZERO), Some(Trouble::Failing));
        sinks[1].health.taken("crm", true);
        assert_eq!(trouble(Duration::ZERO), None);
        sinks[0].stopped.set(1);
        assert_eq!(trouble(FAILING_MAX), Some(Trouble::Stopped));
    }
}
