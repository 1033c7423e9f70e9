//! The answer as a screen of text, or as JSON.

use super::super::report::table::{Table, labelled};
use super::super::report::units::{as_configured, bytes, counted, grouped, span, whole};
use crate::cli::report::times::syncs;
use crate::config::format_size;
use crate::rig::estimate::{Bearer, Estimate, FULL, Share};
use crate::rig::measure::{Component, float};
use serde_json::{Map, Value, json};
use std::fmt::Write as _;

/// For people.
pub(super) fn text(estimate: &Estimate) -> String {
    let (cost, disk, limits) = (&estimate.cost, &estimate.disk, &estimate.limits);
    let mut text = String::new();
    let mut line = |label: &str, value: String| text.push_str(&labelled(label, value));
    let (messages, replies) = (estimate.asked.messages, estimate.asked.reply_ratio);
    let messages = counted(messages, "message");
    let webhooks = counted(estimate.asked.webhooks(), "webhook");
    let asked = format!("{messages}/s and {replies} replies to each: {webhooks}/s");
    line("asked", asked);
    let stored = counted(cost.stored(), "notification");
    let (seconds, cores) = (cost.elapsed.as_secs_f64(), counted(limits.cores, "core"));
    let measured = format!("{stored} in {seconds:.1} s, with the senders on the same {cores}");
    line("measured", measured);
    let (file_system, free) = (disk.file_system.describe(), bytes(disk.free));
    line("file system", format!("{file_system}; {free} free"));
    line("fdatasync", syncs(&disk.syncs));
    let bandwidth = bytes(disk.bandwidth);
    let bandwidth = format!("{bandwidth}/s, 4 MiB and a sync at a time");
    line("bandwidth", bandwidth);
    let full = FULL * 100.0;
    let mut table = Table::new(&format!(
        " | >for a webhook | >at work | >carries, at {full:.0} %"
    ));
    for share in &estimate.shares {
        let cost = match share.bearer {
            Bearer::Disk => format!("{:.0} bytes", share.cost),
            Bearer::Threads(_) | Bearer::Cores => format!("{:.2} µs", share.cost),
        };
        table.row(&[
            &name(share.bearer, estimate),
            &cost,
            &format_args!("{:.1} %", used(share, estimate) * 100.0),
            &format_args!("{}/s", grouped(share.carries)),
        ]);
    }
    // Writing to a string cannot fail.
    let _ = write!(text, "\n{table}");
    text.push('\n');
    for (label, value) in conclusions(estimate) {
        text.push_str(&labelled(label, value));
    }
    let _ = writeln!(text, "\n{}", conclusion(estimate));
    text
}

fn conclusions(estimate: &Estimate) -> Vec<(&'static str, String)> {
    let limits = &estimate.limits;
    let written = estimate.written();
    let lasts = |bytes| span(estimate.lasts(bytes).as_secs());
    let needs = |bearer| estimate.needs(bearer);
    vec![
        (
            "takes",
            format!(
                "server.loops = {}, server.workers = {}, and {}; here {}, {} and {}",
                needs(Bearer::Threads(Component::Loops)),
                needs(Bearer::Threads(Component::Workers)),
                counted(needs(Bearer::Cores), "core"),
                limits.loops,
                limits.workers,
                limits.cores,
            ),
        ),
        (
            "journal",
            format!(
                "{} an hour at this rate; journal.max_size, {}, is {} of it, and what is free is {}",
                bytes(whole(written * 3600.0)),
                format_size(limits.max_size),
                lasts(limits.max_size),
                lasts(estimate.disk.free),
            ),
        ),
        (
            "retention",
            format!(
                "{} of it without a pause take {}",
                as_configured(limits.retention),
                bytes(estimate.retained()),
            ),
        ),
        (
            "dedupe",
            format!(
                "dedupe.keys, {}, knows the repeats of {}; dedupe.window, {}, has up to {} keys",
                grouped(limits.keys),
                span(estimate.remembers().as_secs()),
                as_configured(limits.window),
                grouped(estimate.keys()),
            ),
        ),
    ]
}

fn conclusion(estimate: &Estimate) -> String {
    let asked = counted(estimate.asked.messages, "message");
    let weakest = estimate.weakest();
    let name = name(weakest.bearer, estimate);
    if !estimate.answers_in_time() {
        return format!(
            "It does not carry {asked}/s: the disk is too slow, an answer waits for up to two syncs, and the platform \
             wants half of them within 250 ms."
        );
    }
    if estimate.carries() {
        return format!(
            "It carries {asked}/s {:.1} times over; the limit is {name}.",
            estimate.times()
        );
    }
    let remedy = match weakest.bearer {
        Bearer::Threads(Component::Loops) => "raise server.loops",
        Bearer::Threads(Component::Workers) => "raise server.workers",
        Bearer::Threads(_) => "it is one thread, so spread the numbers over several machines",
        Bearer::Cores => "it takes more of them",
        Bearer::Disk => "it takes a faster one",
    };
    format!(
        "It does not carry {asked}/s, but {:.0} % of them; the limit is {name}: {remedy}.",
        (estimate.times() * 100.0).floor()
    )
}

fn name(bearer: Bearer, estimate: &Estimate) -> String {
    let limits = &estimate.limits;
    match bearer {
        Bearer::Threads(Component::Loops) => counted(limits.loops, "event loop"),
        Bearer::Threads(Component::Workers) => counted(limits.workers, "worker"),
        Bearer::Threads(Component::Sink) => "each sink".to_owned(),
        Bearer::Threads(part) => part.name().to_owned(),
        Bearer::Cores => format!("the {}", counted(limits.cores, "core")),
        Bearer::Disk => "the disk".to_owned(),
    }
}

/// Of the bearer, at the rate that is asked.
fn used(share: &Share, estimate: &Estimate) -> f64 {
    FULL * float(estimate.asked.webhooks()) / float(share.carries.max(1))
}

/// For scripts.
pub(super) fn json(estimate: &Estimate) -> Value {
    let (cost, disk, limits) = (&estimate.cost, &estimate.disk, &estimate.limits);
    let key = |bearer| match bearer {
        Bearer::Threads(part) => part.name(),
        Bearer::Cores => "cores",
        Bearer::Disk => "disk",
    };
    let shares: Map<_, _> = estimate.shares.iter().map(|share| {
        let unit = match share.bearer {
            Bearer::Disk => "bytes",
            Bearer::Threads(_) | Bearer::Cores => "microseconds",
        };
        let value = json!({
            unit: rounded(share.cost), "used": rounded(used(share, estimate)), "webhooks_per_second": share.carries,
        });
        (key(share.bearer).to_owned(), value)
    }).collect();
    let needs = |bearer| estimate.needs(bearer);
    json!({
        "carries": estimate.carries(),
        "times": rounded(estimate.times()),
        "limit": if estimate.answers_in_time() { key(estimate.weakest().bearer) } else { "fdatasync" },
        "messages_per_second": estimate.asked.messages,
        "reply_ratio": estimate.asked.reply_ratio,
        "webhooks_per_second": estimate.asked.webhooks(),
        "at_work_at_most": FULL,
        "measured": {
            "seconds": cost.elapsed.as_secs_f64(), "notifications": cost.stored(), "written_bytes": cost.bytes,
        },
        "shares": shares,
        "file_system": disk.file_system.name,
        "is_memory": disk.file_system.is_memory,
        "free_bytes": disk.free,
        "bandwidth_bytes_per_second": disk.bandwidth,
        "fdatasync_milliseconds": disk.syncs.json(),
        "configured": { "loops": limits.loops, "workers": limits.workers, "cores": limits.cores },
        "takes": {
            "loops": needs(Bearer::Threads(Component::Loops)),
            "workers": needs(Bearer::Threads(Component::Workers)),
            "cores": needs(Bearer::Cores),
        },
        "journal": {
            "bytes_per_second": rounded(estimate.written()),
            "retention_seconds": limits.retention.as_secs(),
            "retained_bytes": estimate.retained(),
            "max_size": limits.max_size,
            "max_size_seconds": estimate.lasts(limits.max_size).as_secs(),
            "free_seconds": estimate.lasts(disk.free).as_secs(),
        },
        "dedupe": {
            "keys": limits.keys,
            "keys_seconds": estimate.remembers().as_secs(),
            "window_seconds": limits.window.as_secs(),
            "window_keys": estimate.keys(),
        },
    })
}

/// To the thousandth.
fn rounded(number: f64) -> f64 {
    (number * 1000.0).round() / 1000.0
}
