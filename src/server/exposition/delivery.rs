//! What concerns delivery: duplicates, the sinks, and what they could not deliver.

use super::out::Out;
use crate::event::Lane;
use crate::server::overview::{LaneLevel, SinkLevel, dead_letters, removed_sinks, sinks};
use crate::server::sources::{Sources, total_of};
use std::fmt;

/// Everything behind the workers.
pub(super) fn delivery(out: &mut Out<'_>, sources: &Sources) -> fmt::Result {
    dedupe(out, sources)?;
    let all: Vec<SinkLevel> = sinks(sources).collect();
    counts(out, &all)?;
    levels(out, &all)?;
    lags(out, &all)?;
    let removed = removed_sinks(sources);
    out.gauges(
        "hookline_removed_sink_notifications",
        "Notifications that a sink has not had which is not configured any more",
        removed
            .iter()
            .map(|sink| ([("sink", sink.name.as_str())], sink.notifications)),
    )?;
    let letters = dead_letters(sources);
    out.gauges(
        "hookline_dead_letters",
        "Dead letters that there are, by sink; worker: bodies that nobody can take apart",
        letters
            .iter()
            .map(|(sink, count)| ([("sink", sink.as_str())], *count)),
    )
}

fn dedupe(out: &mut Out<'_>, sources: &Sources) -> fmt::Result {
    let dedupe = &sources.dedupe;
    out.counter(
        "hookline_feed_overflows",
        "Batches that a sink reads from the journal instead",
        dedupe.overflows.get(),
    )?;
    let lanes = Lane::ALL
        .map(Lane::name)
        .into_iter()
        .zip(&dedupe.duplicates);
    out.counters(
        "hookline_duplicates",
        "Events that say what an earlier one has said, by lane",
        lanes.map(|(lane, count)| ([("lane", lane)], count.get())),
    )?;
    out.counter(
        "hookline_dedupe_decided",
        "Events that were decided, whether they are duplicates",
        total_of(&dedupe.events),
    )?;
    out.counter(
        "hookline_dedupe_undecided",
        "Events that passed although the disk had no room for their keys",
        dedupe.undecided.get(),
    )?;
    out.gauge(
        "hookline_dedupe_keys",
        "Events that are remembered",
        dedupe.keys.get(),
    )?;
    out.gauge(
        "hookline_dedupe_bytes",
        "Bytes of memory that these take",
        dedupe.bytes.get(),
    )?;
    out.gauge(
        "hookline_dedupe_stopped",
        "1 once nothing is passed on to any sink any more; the log says why",
        dedupe.stopped.get(),
    )
}

fn counts(out: &mut Out<'_>, all: &[SinkLevel]) -> fmt::Result {
    let each = |count: fn(&SinkLevel) -> u64| {
        all.iter()
            .map(move |sink| ([("sink", sink.name.as_str())], count(sink)))
    };
    out.counters(
        "hookline_sink_events",
        "Events delivered",
        each(|sink| sink.events),
    )?;
    out.counters(
        "hookline_sink_duplicates",
        "Events not delivered because an earlier one says the same",
        each(|sink| sink.duplicates),
    )?;
    out.counters(
        "hookline_sink_unwanted",
        "Events that the sink's filters leave out",
        each(|sink| sink.unwanted),
    )?;
    out.counters(
        "hookline_sink_dead",
        "Events that were tried too often and became dead letters",
        each(|sink| sink.dead),
    )?;
    out.counters(
        "hookline_sink_dead_letters_delivered",
        "Dead letters that were delivered after all",
        each(|sink| sink.dead_letters_delivered),
    )?;
    out.counters(
        "hookline_sink_known",
        "Deliveries that the target knew already by their id and has not stored again",
        each(|sink| sink.known),
    )?;
    out.counters(
        "hookline_sink_replayed",
        "Deliveries of replays",
        each(|sink| sink.replayed),
    )?;
    out.counters(
        "hookline_sink_retries",
        "Deliveries that failed and were tried again",
        each(|sink| sink.retries),
    )
}

fn levels(out: &mut Out<'_>, all: &[SinkLevel]) -> fmt::Result {
    let each = |level: fn(&SinkLevel) -> u64| {
        all.iter()
            .map(move |sink| ([("sink", sink.name.as_str())], level(sink)))
    };
    out.gauges(
        "hookline_unaccounted_events",
        "Made from notifications and neither delivered nor in flight: 0 at all times",
        each(|sink| sink.unaccounted),
    )?;
    out.gauges(
        "hookline_sink_cursor",
        "Highest confirmed sequence",
        each(|sink| sink.confirmed),
    )?;
    out.gauges(
        "hookline_sink_away",
        "1 while the receiver takes nothing and is only probed now and then",
        each(|sink| u64::from(sink.away)),
    )?;
    out.gauges(
        "hookline_sink_failing_seconds",
        "For how long nothing was taken although something was tried; 0 if the last delivery worked",
        all.iter()
            .map(|sink| ([("sink", sink.name.as_str())], sink.failing_seconds)),
    )?;
    out.gauges(
        "hookline_sink_stopped",
        "1 once the sink has stopped for good; the log says why",
        each(|sink| u64::from(sink.stopped)),
    )
}

fn lags(out: &mut Out<'_>, all: &[SinkLevel]) -> fmt::Result {
    let labels = |sink: &SinkLevel, lane: &LaneLevel| {
        [("sink", sink.name.clone()), ("lane", lane.lane.clone())]
    };
    let each = |level: fn(&LaneLevel) -> u64| {
        all.iter().flat_map(move |sink| {
            let lanes = sink.lanes.iter();
            lanes.map(move |lane| (labels(sink, lane), level(lane)))
        })
    };
    out.gauges(
        "hookline_sink_lag_notifications",
        "Durable and not confirmed: not come to yet, or open",
        each(|lane| lane.lag_notifications),
    )?;
    out.gauges(
        "hookline_sink_lag_events",
        "Events that this may be, by how many of the lane a notification has had so far",
        each(|lane| lane.lag_events),
    )?;
    let seconds = all.iter().flat_map(|sink| {
        let lanes = sink.lanes.iter();
        lanes.map(move |lane| (labels(sink, lane), lane.lag_seconds))
    });
    out.gauges(
        "hookline_sink_lag_seconds",
        "Since the oldest that is not confirmed arrived",
        seconds,
    )?;
    out.gauges(
        "hookline_sink_open",
        "Deliveries under way, or waiting for an attempt",
        each(|lane| lane.open),
    )
}
