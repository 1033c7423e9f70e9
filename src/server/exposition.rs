//! Everything that is counted, in the text format that Prometheus reads (`OpenMetrics` 1.0).

mod delivery;
mod out;

use super::sources::{Sources, sum};
use crate::event::Lane;
use crate::http::Status;
use crate::journal;
use crate::log;
use crate::metrics::Counter;
use crate::{reactor, worker};
use out::Out;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;
use prometheus_client::registry::Registry;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// The media type of what [`render`] gives.
pub(super) const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// All metrics as text.
pub(super) fn render(sources: &Arc<Sources>) -> Result<String, fmt::Error> {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Collected(Arc::clone(sources))));
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, &registry)?;
    Ok(text)
}

struct Collected(Arc<Sources>);

impl fmt::Debug for Collected {
    /// Whatever collects has to have it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Collected")
    }
}

impl Collector for Collected {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut out = Out(encoder);
        let sources = &*self.0;
        endpoints(&mut out, sources)?;
        limits(&mut out, sources)?;
        loops(&mut out, sources)?;
        journal(&mut out, &sources.journal)?;
        workers(&mut out, &sources.workers)?;
        out.counter(
            "hookline_log_dropped",
            "Log lines that found no room or could not be written",
            log::dropped(),
        )?;
        delivery::delivery(&mut out, sources)
    }
}

fn endpoints(out: &mut Out<'_>, sources: &Sources) -> fmt::Result {
    let table = sources.table();
    let refused =
        Status::ALL.map(|status| sum(&sources.loops, |one| &one.refusals[status.index()]));
    let mut answers = Vec::new();
    let mut verified = Vec::new();
    let mut bytes = Vec::new();
    for endpoint in table.endpoints() {
        let name = endpoint.name.as_str();
        for status in Status::ALL {
            answers.push((
                [
                    ("endpoint", name.to_owned()),
                    ("code", status.code().to_string()),
                ],
                sum(&endpoint.counters, |one| &one.answers[status.index()]),
            ));
        }
        for secret in 0..crate::endpoint::SECRETS_COUNTED {
            verified.push((
                [
                    ("endpoint", name.to_owned()),
                    ("secret", secret.to_string()),
                ],
                sum(&endpoint.counters, |one| &one.verified[secret]),
            ));
        }
        bytes.push((
            [("endpoint", name.to_owned())],
            sum(&endpoint.counters, |one| &one.body_bytes),
        ));
    }
    for (status, count) in Status::ALL.iter().zip(refused) {
        answers.push((
            [
                ("endpoint", String::new()),
                ("code", status.code().to_string()),
            ],
            count,
        ));
    }
    answers.retain(|(_, count)| *count > 0);
    verified.retain(|(_, count)| *count > 0);
    out.counters(
        "hookline_http_requests",
        "Answers by endpoint and code; no endpoint: refused before routing",
        answers,
    )?;
    out.counters(
        "hookline_signatures_verified",
        "Accepted posts by the position of the secret that proved them",
        verified,
    )?;
    out.counters("hookline_body_bytes", "Bytes of accepted bodies", bytes)
}

/// So that a dashboard can put each level beside its limit.
fn limits(out: &mut Out<'_>, sources: &Sources) -> fmt::Result {
    let limits = sources.limits.iter();
    out.gauges(
        "hookline_limit",
        "Configured limits: pieces, bytes, or milliseconds, by the key of the configuration",
        limits.map(|(key, value)| ([("key", key.as_str())], *value)),
    )
}

fn loops(out: &mut Out<'_>, sources: &Sources) -> fmt::Result {
    let all = &sources.loops;
    let total = |counter: fn(&reactor::Statistics) -> &Counter| sum(all, counter);
    out.gauge(
        "hookline_connections",
        "Connections open",
        total(|one| &one.connections),
    )?;
    out.counter(
        "hookline_connections_accepted",
        "Connections accepted",
        total(|one| &one.accepted),
    )?;
    let refused = [
        ("total", total(|one| &one.refused_total)),
        ("address", total(|one| &one.refused_address)),
        ("error", total(|one| &one.accept_errors)),
    ];
    let labelled = refused.map(|(reason, count)| ([("reason", reason)], count));
    out.counters(
        "hookline_connections_refused",
        "Connections closed at once",
        labelled,
    )?;
    let timeouts = [
        ("head", total(|one| &one.head_timeouts)),
        ("body", total(|one| &one.body_timeouts)),
        ("idle", total(|one| &one.idle_timeouts)),
        ("write", total(|one| &one.write_timeouts)),
        ("linger", total(|one| &one.linger_timeouts)),
    ];
    let labelled = timeouts.map(|(stage, count)| ([("stage", stage)], count));
    out.counters(
        "hookline_timeouts",
        "Connections that took too long",
        labelled,
    )?;
    requests(out, all)
}

fn requests(out: &mut Out<'_>, all: &[Arc<reactor::Statistics>]) -> fmt::Result {
    let total = |counter: fn(&reactor::Statistics) -> &Counter| sum(all, counter);
    out.counter(
        "hookline_ack_expired",
        "503s because the journal took too long",
        total(|one| &one.expired),
    )?;
    out.counter(
        "hookline_read_pauses",
        "Times that reading paused for the journal",
        total(|one| &one.pauses),
    )?;
    out.counter(
        "hookline_pipeline_pauses",
        "Times that requests waited because their connection had too many unanswered",
        total(|one| &one.pipeline_pauses),
    )?;
    out.counter(
        "hookline_stored",
        "Bodies taken into a batch",
        total(|one| &one.stored),
    )?;
    out.gauge(
        "hookline_partial_bytes",
        "Bytes of incomplete requests, of those put back by a limit, and of unread answers",
        total(|one| &one.partial_bytes),
    )?;
    out.counter(
        "hookline_partial_refused",
        "Connections that had to give up such bytes for others to have room",
        total(|one| &one.given_up),
    )?;
    out.gauge(
        "hookline_unacknowledged_bytes",
        "Bytes that wait for the journal",
        total(|one| &one.unacknowledged_bytes),
    )?;
    out.histogram(
        "hookline_ack_seconds",
        "From arrival until durable",
        all.iter().map(|one| &one.ack_seconds),
        1e6,
    )
}

fn journal(out: &mut Out<'_>, status: &journal::Status) -> fmt::Result {
    let load = |number: &AtomicU64| number.load(Ordering::Relaxed);
    let statistics = &status.statistics;
    out.gauge(
        "hookline_journal_durable_sequence",
        "Highest durable sequence",
        status.durable(),
    )?;
    out.gauge(
        "hookline_journal_first_sequence",
        "Lowest sequence kept",
        load(&statistics.first_sequence),
    )?;
    out.gauge(
        "hookline_journal_disk_bytes",
        "Bytes of all segments",
        load(&statistics.disk_bytes),
    )?;
    out.gauge(
        "hookline_journal_held_bytes",
        "Bytes beyond max_size that are kept because a sink has not had them",
        load(&statistics.held_bytes),
    )?;
    out.gauge(
        "hookline_journal_segments",
        "Segments that hold records",
        load(&statistics.segments),
    )?;
    out.gauge(
        "hookline_journal_prepared_segments",
        "Segments ready for use",
        status.prepared(),
    )?;
    out.gauge(
        "hookline_journal_room_bytes",
        "Bytes left in the active segment",
        status.room(),
    )?;
    for state in [journal::State::Full, journal::State::Failed] {
        let name = format!("hookline_journal_{}", format!("{state:?}").to_lowercase());
        out.gauge(
            &name,
            "1 while new notifications get 503 for this reason",
            u64::from(status.state() == state),
        )?;
    }
    commits(out, statistics)
}

fn commits(out: &mut Out<'_>, statistics: &journal::Statistics) -> fmt::Result {
    let load = |number: &AtomicU64| number.load(Ordering::Relaxed);
    out.counter(
        "hookline_journal_commits",
        "Syncs",
        load(&statistics.commits),
    )?;
    out.counter(
        "hookline_journal_records",
        "Records made durable",
        load(&statistics.records),
    )?;
    out.counter(
        "hookline_journal_written_bytes",
        "Bytes of frames, padding included",
        load(&statistics.bytes),
    )?;
    out.counter(
        "hookline_journal_rolls",
        "Segments begun",
        load(&statistics.rolls),
    )?;
    out.counter(
        "hookline_journal_stalls",
        "Rolls that waited for a segment",
        load(&statistics.stalls),
    )?;
    out.histogram(
        "hookline_journal_sync_seconds",
        "Duration of a sync",
        [&statistics.sync_micros],
        1e6,
    )?;
    out.histogram(
        "hookline_journal_commit_records",
        "Records of a commit",
        [&statistics.commit_records],
        1.0,
    )
}

fn workers(out: &mut Out<'_>, all: &[Arc<worker::Statistics>]) -> fmt::Result {
    let total = |counter: fn(&worker::Statistics) -> &Counter| sum(all, counter);
    out.counter(
        "hookline_notifications",
        "Bodies taken apart",
        total(|one| &one.notifications),
    )?;
    let events = [
        total(|one| &one.events[0]),
        total(|one| &one.events[1]),
        total(|one| &one.events[2]),
    ];
    let lanes = Lane::ALL.map(Lane::name).into_iter().zip(events);
    out.counters(
        "hookline_events",
        "Events by lane",
        lanes.map(|(lane, count)| ([("lane", lane)], count)),
    )?;
    out.counter(
        "hookline_unparsed",
        "Bodies that are not JSON",
        total(|one| &one.unparsed),
    )?;
    out.counter(
        "hookline_events_unknown",
        "Events of a type that is not documented",
        total(|one| &one.unknown),
    )?;
    out.counter(
        "hookline_dedupe_overflows",
        "Batches that are decided from the journal instead",
        total(|one| &one.overflows),
    )
}
