//! Rows on their way into the table: how their texts lie in the buffer, and their columns.

use crate::event::{self, Event, Position};
use crate::sink::stream::positioned::Rows;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Where the texts of a row end, and what is no text.
#[derive(Debug)]
pub(in crate::sink) struct PostgresRow {
    /// Behind the one before: id, source, type, subject, data.
    ends: [usize; 5],
    has_subject: bool,
    /// Microseconds since 1970.
    time: u64,
    received: u64,
    lane: &'static str,
}

/// The columns of some rows, as a statement takes them.
#[derive(Debug, Default)]
pub(super) struct Columns<'r> {
    pub(super) sequence: Vec<i64>,
    pub(super) index: Vec<i32>,
    pub(super) id: Vec<&'r str>,
    pub(super) source: Vec<&'r str>,
    pub(super) kind: Vec<&'r str>,
    pub(super) subject: Vec<Option<&'r str>>,
    pub(super) time: Vec<SystemTime>,
    pub(super) received: Vec<SystemTime>,
    pub(super) lane: Vec<&'static str>,
    pub(super) data: Vec<&'r str>,
}

/// Adds an event. `id` where that is not its own.
pub(super) fn push(
    rows: &mut Rows<PostgresRow>,
    event: Event<'_>,
    raw_body: &[u8],
    id: Option<&str>,
) {
    rows.push(event.position(), |out| {
        let mut ends = [0; 5];
        let subject = event.subject();
        let texts = [
            id.unwrap_or(event.id()),
            event.source(),
            event.kind(),
            subject.unwrap_or_default(),
        ];
        for (text, end) in texts.into_iter().zip(&mut ends) {
            out.extend_from_slice(text.as_bytes());
            *end = out.len();
        }
        push_data(out, event, raw_body);
        ends[4] = out.len();
        PostgresRow {
            ends,
            has_subject: subject.is_some(),
            time: event.time(),
            received: event.received_at(),
            lane: event.lane().name(),
        }
    });
}

/// The data as JSON; of a body that is none, the bytes in base64.
fn push_data(out: &mut Vec<u8>, event: Event<'_>, raw_body: &[u8]) {
    let start = out.len();
    event::render_json_data(event, raw_body, out);
    let data = &out[start..];
    if simdutf8::basic::from_utf8(data).is_err() {
        // What is JSON is UTF-8; if a bug says otherwise, that is no reason to stop.
        let text = serde_json::Value::from(String::from_utf8_lossy(data)).to_string();
        out.truncate(start);
        out.extend_from_slice(text.as_bytes());
    }
}

/// The days on which all of them were received, counted from 1970, each once.
pub(super) fn days(rows: &Rows<PostgresRow>) -> Vec<i64> {
    let day = |row: &PostgresRow| i64::try_from(capped(row.received) / DAY_MICROS).unwrap_or(0);
    let mut days: Vec<i64> = rows.first(rows.len()).map(|(.., row)| day(row)).collect();
    days.sort_unstable();
    days.dedup();
    days
}

/// The first `count` as columns; `by_id` in the order of their ids, so that two writers never wait for each other.
pub(super) fn columns(rows: &Rows<PostgresRow>, count: usize, by_id: bool) -> Columns<'_> {
    let texts = rows.texts();
    let mut first: Vec<(Position, usize, &PostgresRow)> = rows.first(count).collect();
    if by_id {
        first.sort_by_key(|(_, start, row)| text(texts, *start, row, 0));
    }
    let mut columns = Columns::default();
    for (Position { sequence, index }, start, row) in first {
        let text = |at| text(texts, start, row, at);
        columns.sequence.push(whole(sequence));
        columns.index.push(i32::try_from(index).unwrap_or(i32::MAX));
        columns.id.push(text(0));
        columns.source.push(text(1));
        columns.kind.push(text(2));
        columns.subject.push(row.has_subject.then(|| text(3)));
        columns.time.push(time(row.time));
        columns.received.push(time(row.received));
        columns.lane.push(row.lane);
        columns.data.push(text(4));
    }
    columns
}

fn text<'t>(texts: &'t [u8], start: usize, row: &PostgresRow, at: usize) -> &'t str {
    let start = at.checked_sub(1).map_or(start, |before| row.ends[before]);
    let text = texts.get(start..row.ends[at]).unwrap_or_default();
    simdutf8::basic::from_utf8(text).unwrap_or_default()
}

/// A sequence as the table has it.
pub(super) fn whole(sequence: u64) -> i64 {
    i64::try_from(sequence).unwrap_or(i64::MAX)
}

fn time(micros: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_micros(capped(micros))
}

/// A clock that is beyond the year 9999 tells nothing.
fn capped(micros: u64) -> u64 {
    micros.min(YEAR_9999)
}

const DAY_MICROS: u64 = 86_400_000_000;

/// The last microsecond of it.
const YEAR_9999: u64 = 253_402_300_799_999_999;
