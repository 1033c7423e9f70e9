//! The overview as a screen of text.

use super::super::report::table::Table;
use super::super::report::units::{self, bytes, counted, grouped, span, whole};
use crate::disk::command;
use crate::event::Lane;
use crate::server::{AckTimes, JournalLevel, LaneLevel, Overview, SinkLevel};
use std::fmt::Write as _;
use std::io::{self, Write};
use std::path::Path;
use std::time::Duration;

/// Writes all of it, some 20 lines and three more for each sink.
pub(super) fn write(out: &mut impl Write, overview: &Overview) -> io::Result<()> {
    let Overview {
        version,
        pid,
        uptime_seconds,
        state,
        ..
    } = overview;
    let up = span(*uptime_seconds);
    writeln!(
        out,
        "hookline {version}, process {pid}, up {up}: {state}{}",
        match state.as_str() {
            "full" => "; the disk is full, new notifications get 503",
            "failed" => "; the journal has failed, the process is about to exit",
            _ => "",
        }
    )?;
    receiving(out, overview)?;
    acks(out, overview)?;
    journal(out, &overview.journal)?;
    dedupe(out, overview)?;
    for sink in &overview.sinks {
        self::sink(out, sink, overview)?;
    }
    if overview.sinks.is_empty() {
        let tail = command("tail", Path::new(&overview.journal.dir));
        writeln!(out, "\nno sinks: `{tail}` reads the events")?;
    }
    rest(out, overview)
}

fn receiving(out: &mut impl Write, overview: &Overview) -> io::Result<()> {
    let receiving = &overview.receiving;
    let mut lanes = String::new();
    let mut all = 0.0;
    for lane in Lane::ALL {
        let rate = receiving.events_per_second.get(lane.name());
        let rate = rate.copied().unwrap_or_default();
        all += rate;
        let _ = write!(lanes, ", {} {}", lane.name(), per_second(rate)); // a String takes everything
    }
    writeln!(
        out,
        "\nreceiving   {} notifications, {} events{lanes}; {}",
        per_second(receiving.notifications_per_second),
        per_second(all),
        counted(receiving.connections, "connection"),
    )?;
    let answers = receiving.answers.iter();
    let answers: Vec<_> = answers
        .map(|(code, count)| format!("{} × {code}", grouped(*count)))
        .collect();
    let answers = if answers.is_empty() {
        "none".to_owned()
    } else {
        answers.join(", ")
    };
    writeln!(out, "answers     in the last minute: {answers}")
}

fn acks(out: &mut impl Write, overview: &Overview) -> io::Result<()> {
    let mut table =
        Table::new("acks | >count | >p50 | >p99 | >p99.9 | >> 250 ms | >> 1 s | >> 5 s");
    for (name, times) in [
        ("minute", &overview.acks.minute),
        ("hour", &overview.acks.hour),
    ] {
        let AckTimes {
            count,
            over_250ms,
            over_1s,
            over_5s,
            ..
        } = *times;
        table.row(&[
            &format_args!("  {name}"),
            &grouped(count),
            &milliseconds(times.p50_ms),
            &milliseconds(times.p99_ms),
            &milliseconds(times.p999_ms),
            &share(over_250ms, count),
            &share(over_1s, count),
            &share(over_5s, count),
        ]);
    }
    writeln!(out)?;
    table.write(out)
}

fn journal(out: &mut impl Write, journal: &JournalLevel) -> io::Result<()> {
    let JournalLevel {
        dir,
        first_sequence: first,
        durable_sequence: last,
        disk_bytes,
        max_size,
        ..
    } = journal;
    let held = if last < first {
        "empty".to_owned()
    } else {
        let back = span(journal.reaches_back_seconds);
        format!(
            "sequences {first} to {last}, back to {back} ago (retention {})",
            span(journal.retention_seconds)
        )
    };
    writeln!(out, "\njournal     {dir}: {held}")?;
    let free = journal.free_bytes;
    let free = free.map_or_else(|| "not known".to_owned(), bytes);
    writeln!(
        out,
        "            {} of {} (max_size), disk has {free} left, {}/s written{}",
        bytes(*disk_bytes),
        bytes(*max_size),
        bytes(whole(journal.written_per_second)),
        lasts(journal),
    )
}

/// For how long there is room at this rate, or why there is none.
fn lasts(journal: &JournalLevel) -> String {
    if journal.held_bytes > 0 {
        let by = match &journal.held_by[..] {
            [] => "what is not delivered".to_owned(),
            names => format!("sink {}", names.join(", ")),
        };
        let over = bytes(journal.held_bytes);
        return format!(
            "\n            HELD by {by}: {over} over max_size are kept until it has had them"
        );
    }
    let left = journal.max_size.saturating_sub(journal.disk_bytes);
    let left = left.min(journal.free_bytes.unwrap_or(left));
    match whole(journal.written_per_second) {
        0 => String::new(),
        _ if journal.disk_bytes >= journal.max_size => ": the oldest goes as new comes".to_owned(),
        rate => format!(": room for {}", span(left / rate)),
    }
}

fn dedupe(out: &mut impl Write, overview: &Overview) -> io::Result<()> {
    let dedupe = &overview.dedupe;
    writeln!(
        out,
        "dedupe      {} of {} keys in {}, window {}; {} of {} were duplicates",
        grouped(dedupe.keys),
        grouped(dedupe.keys_max),
        bytes(dedupe.bytes),
        span(dedupe.window_seconds),
        grouped(dedupe.duplicates),
        counted(dedupe.events, "event"),
    )?;
    if dedupe.stopped {
        let reason = dedupe.reason.as_deref().unwrap_or("see the log");
        writeln!(out, "            STOPPED, nothing is delivered: {reason}")?;
    }
    Ok(())
}

fn sink(out: &mut impl Write, sink: &SinkLevel, overview: &Overview) -> io::Result<()> {
    writeln!(
        out,
        "\nsink {} ({}, {}){}",
        sink.name,
        sink.kind,
        sink.confirmation,
        sink_state(sink)
    )?;
    // What is still the case stands in the line above.
    if let (Some(reason), None, false) = (&sink.last_failure, sink.failing_since, sink.stopped) {
        let at = sink.last_failed.unwrap_or(overview.now);
        let ago = span(overview.now.saturating_sub(at) / 1_000_000);
        writeln!(out, "  works; a delivery failed {ago} ago: {reason}")?;
    }
    let letters = overview.dead_letters.get(&sink.name).copied();
    let mut counts = format!("  {} delivered", grouped(sink.events));
    for (count, what) in [
        (sink.duplicates, "duplicate"),
        (sink.unwanted, "filtered out"),
        (sink.retries, "retried"),
        (sink.known, "known to the target already"),
        (sink.replayed, "replayed"),
        (letters.unwrap_or(0), "in the dead letters"),
        (sink.unaccounted, "UNACCOUNTED"),
    ] {
        if count > 0 {
            let _ = write!(counts, ", {} {what}", grouped(count)); // a String takes everything
        }
    }
    writeln!(out, "{counts}")?;
    let quiet = |lane: &LaneLevel| lane.lag_notifications == 0 && lane.open == 0;
    if sink.lanes.iter().all(quiet) {
        return writeln!(
            out,
            "  everything up to sequence {} is confirmed",
            sink.confirmed
        );
    }
    let mut table = Table::new("|");
    for lane in &sink.lanes {
        let behind = if quiet(lane) {
            "nothing behind".to_owned()
        } else {
            format!(
                "about {} behind, the oldest {} old, {} open, confirmed up to {}",
                counted(lane.lag_events, "event"),
                span(whole(lane.lag_seconds)),
                grouped(lane.open),
                lane.confirmed,
            )
        };
        table.row(&[&format_args!("  {}", lane.lane), &behind]);
    }
    table.write(out)
}

/// What is wrong with it, if something is.
fn sink_state(sink: &SinkLevel) -> String {
    let since = |reason: &str| format!("for {}: {reason}", span(whole(sink.failing_seconds)));
    let last = sink.last_failure.as_deref();
    match (&sink.reason, last, sink.stopped, sink.away) {
        (Some(reason), _, true, _) => format!("; STOPPED: {reason}"),
        (None, _, true, _) => "; STOPPED: see the log".to_owned(),
        (_, Some(reason), _, true) => format!("; AWAY, only probed, {}", since(reason)),
        (_, None, _, true) => "; AWAY: the receiver takes nothing, and is probed".to_owned(),
        (_, Some(reason), _, _) if sink.failing_since.is_some() => {
            format!("; FAILING, tried again, {}", since(reason))
        }
        _ => String::new(),
    }
}

fn rest(out: &mut impl Write, overview: &Overview) -> io::Result<()> {
    let sinks = &overview.sinks;
    let mut begun = false;
    let mut part = |out: &mut dyn Write| {
        if std::mem::replace(&mut begun, true) {
            Ok(())
        } else {
            writeln!(out)
        }
    };
    for sink in &overview.removed_sinks {
        part(out)?;
        writeln!(
            out,
            "sink {} is not in the configuration; it has not had {}; back before {} it misses nothing",
            sink.name,
            counted(sink.notifications, "notification"),
            units::time(Some(sink.until)),
        )?;
    }
    for (name, count) in &overview.dead_letters {
        if *count > 0 && !sinks.iter().any(|sink| sink.name == *name) {
            part(out)?;
            let letters = counted(*count, "dead letter");
            let list = format!("dead-letters list --sink {name}");
            let list = command(&list, Path::new(&overview.journal.dir));
            writeln!(out, "{letters} of {name}; see `{list}`")?;
        }
    }
    for replay in &overview.replays {
        part(out)?;
        writeln!(
            out,
            "replay {} to {}: {}, sequence {} of {} to {}; {} delivered, {}",
            replay.id,
            replay.sink,
            replay.state,
            replay.next,
            replay.from,
            replay.to,
            grouped(replay.delivered),
            counted(replay.failed, "dead letter"),
        )?;
    }
    Ok(())
}

fn per_second(rate: f64) -> String {
    if rate > 0.0 && rate < 10.0 {
        format!("{rate:.1}/s")
    } else {
        format!("{}/s", grouped(whole(rate)))
    }
}

fn milliseconds(ms: Option<f64>) -> String {
    match ms {
        None => "-".to_owned(),
        Some(ms) if ms >= 5000.0 => "> 5 s".to_owned(),
        Some(ms) => units::duration(Duration::from_secs_f64(ms.max(0.0) / 1000.0)),
    }
}

/// Of so many; never 0 % unless it is none.
fn share(part: u64, all: u64) -> String {
    if all == 0 {
        return "-".to_owned();
    }
    if part == 0 {
        return "0 %".to_owned();
    }
    let hundredths = (u128::from(part) * 10_000).div_ceil(u128::from(all));
    format!("{}.{:02} %", hundredths / 100, hundredths % 100)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::{Acks, RemovedSink, ReplayLevel};

    #[test]
    fn numbers_are_shown_as_people_read_them() {
        assert_eq!(
            [0, 999, 1000, 1_234_567].map(grouped),
            ["0", "999", "1,000", "1,234,567"]
        );
        assert_eq!(share(0, 0), "-");
        assert_eq!(share(0, 9), "0 %");
        assert_eq!(share(1, 1_000_000), "0.01 %");
        assert_eq!(share(1, 3), "33.34 %");
        let times = [None, Some(0.123), Some(45.6), Some(1500.0), Some(5000.0)];
        assert_eq!(
            times.map(milliseconds),
            ["-", "0.12 ms", "45.60 ms", "1.50 s", "> 5 s"]
        );
        assert_eq!(
            [0.0, 2.5, 1499.6].map(per_second),
            ["0/s", "2.5/s", "1,500/s"]
        );
    }

    /// It said "room for 0s", and nobody saw why.
    #[test]
    fn who_holds_the_journal_is_named() {
        let level = |held: u64, by: &[&str]| JournalLevel {
            disk_bytes: 4096,
            max_size: 4096,
            written_per_second: 1e6,
            held_bytes: held,
            held_by: by.iter().map(|it| (*it).to_owned()).collect(),
            ..JournalLevel::default()
        };
        let held = lasts(&level(4096, &["crm", "erp"]));
        assert!(
            held.ends_with(
                "HELD by sink crm, erp: 4 KiB over max_size are kept until it has had them"
            ),
            "{held}"
        );
        assert_eq!(lasts(&level(0, &[])), ": the oldest goes as new comes");
        let room = JournalLevel {
            max_size: 61_004_096,
            ..level(0, &[])
        };
        assert_eq!(lasts(&room), ": room for 1m 1s");
    }

    #[test]
    fn what_is_wrong_is_said_where_it_is() {
        let lane = |name: &str, behind| LaneLevel {
            lane: name.to_owned(),
            lag_notifications: behind,
            lag_events: behind * 2,
            lag_seconds: 61.2,
            open: behind.min(3),
            ..LaneLevel::default()
        };
        let sink = |name: &str, stopped, away, behind| SinkLevel {
            name: name.to_owned(),
            kind: "http".to_owned(),
            confirmation: "memory".to_owned(),
            stopped,
            away,
            reason: stopped.then(|| "410 Gone".to_owned()),
            last_failure: away.then(|| "answered 500".to_owned()),
            failing_seconds: 72.0,
            lanes: vec![
                lane("messages", behind),
                lane("statuses", 0),
                lane("rest", 0),
            ],
            ..SinkLevel::default()
        };
        let overview = Overview {
            state: "full".to_owned(),
            acks: Acks::default(),
            sinks: vec![
                sink("crm", true, false, 1000),
                sink("erp", false, true, 1),
                sink("log", false, false, 0),
                SinkLevel {
                    last_failure: Some("exit status: 3".to_owned()),
                    failing_since: Some(1),
                    ..sink("bus", false, false, 1)
                },
                SinkLevel {
                    last_failure: Some("answered 502".to_owned()),
                    last_failed: Some(0),
                    ..sink("back", false, false, 0)
                },
            ],
            now: 5_000_000,
            removed_sinks: vec![RemovedSink {
                name: "gone".to_owned(),
                notifications: 3,
                until: 1_795_398_300_000_000,
            }],
            dead_letters: [("crm".to_owned(), 7), ("gone".to_owned(), 1)].into(),
            replays: vec![ReplayLevel {
                id: "20261123-014500-crm".to_owned(),
                ..ReplayLevel::default()
            }],
            ..Overview::default()
        };
        let mut text = Vec::new();
        write(&mut text, &overview).expect("a Vec takes everything");
        let text = String::from_utf8(text).expect("text");
        for line in [
            "the disk is full, new notifications get 503",
            "sink crm (http, memory); STOPPED: 410 Gone\n  0 delivered, 7 in the dead letters\n  messages  about 2,000 \
             events behind, the oldest 1m 1s old, 3 open, confirmed up to 0\n  statuses  nothing behind\n",
            "sink erp (http, memory); AWAY, only probed, for 1m 12s: answered 500\n",
            "sink bus (http, memory); FAILING, tried again, for 1m 12s: exit status: 3\n",
            "sink back (http, memory)\n  works; a delivery failed 5s ago: answered 502\n",
            "sink log (http, memory)\n  0 delivered\n  everything up to sequence 0 is confirmed\n",
            "sink gone is not in the configuration; it has not had 3 notifications; back before 2026-11-23",
            "1 dead letter of gone; ",
            "replay 20261123-014500-crm to ",
        ] {
            assert!(text.contains(line), "{line}\n{text}");
        }
    }
}
